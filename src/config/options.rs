//! The table of options: names, values and help.
//!
//! gearmand's own options keep their names, letters and meaning (gearmand-spec.md,
//! section 14); ours stand under headings of their own. What a value must look
//! like is not known here: every value is taken as it was typed, and checked by
//! [`read`](super::read) after all words were read, which is gearmand's order.

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, Command};

/// The config file that may be missing.
pub const DEFAULT_CONFIG_FILE: &str = "/etc/gearmand.conf";
/// Where the log goes when nobody says.
pub const DEFAULT_LOG_FILE: &str = "/var/log/gearmand.log";
/// The pid file whose failure is forgiven.
pub const DEFAULT_PID_FILE: &str = "/var/gearmand.pid";
/// Gearman's registered port.
pub const DEFAULT_PORT: &str = "4730";
/// Connections that may wait to be accepted.
pub const DEFAULT_BACKLOG: u32 = 1024;

/// Names the option that asks only for a check; unknown in config files.
pub(super) const CHECK_ARGS: &str = "check-args";
/// Catches the words of a config file that are no options.
pub(super) const STRAY_WORDS: &str = "stray words";

/// Everything that may stand on the command line.
pub(super) fn command_line() -> Command {
    let check = flag(CHECK_ARGS, None, "Check the options, create nothing, and exit");
    all().arg(check.help_heading("Process"))
}

/// Everything that may stand in a config file. Other words are passed over,
/// and, as in gearmand, the start of a long name is enough there.
pub(super) fn config_file() -> Command {
    let stray = Arg::new(STRAY_WORDS).num_args(0..).value_parser(OsStringValueParser::new());
    all().infer_long_args(true).arg(stray)
}

fn all() -> Command {
    let command = Command::new("gearshard")
        .about("A Gearman job server for machines with many cores.")
        .after_help(AFTER_HELP)
        .help_template("{about}\n\nUsage: gearshard [OPTIONS]\n\n{all-args}{after-help}")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .no_binary_name(true)
        .term_width(80);
    let command = command.next_help_heading("Listening").args(listening());
    let command = command.next_help_heading("Jobs and workers").args(jobs());
    let command = command.next_help_heading("Process").args(process());
    let command = command.next_help_heading("Log").args(log());
    let command = command.next_help_heading("Added by gearshard").args(limits());
    let command = command.next_help_heading("TLS and HTTP (gearmand's; not built into this version)");
    let command = command.args(protocols());
    let command = command.next_help_heading("Stored queues").args(queues());
    let command = command.next_help_heading("Stored queues of gearmand's kinds").args(gearmands_queues());
    command.args(unbuilt_queues())
}

fn listening() -> Vec<Arg> {
    let listen = value(
        "listen",
        'L',
        "ADDRESS",
        "HOST, HOST:PORT, [::1]:PORT or unix:/path; may be given several times [default: every address of \
         the machine]",
    );
    vec![
        listen.action(ArgAction::Append),
        value(
            "port",
            'p',
            "PORT",
            "Number or service name, for every --listen without a port of its own [default: 4730]",
        ),
        value(
            "backlog",
            'b',
            "N",
            "Connections that may wait to be accepted [default: 1024; gearmand's is 32]",
        ),
        flag("keepalive", None, "Find out about dead peers with TCP keepalive"),
        long(
            "keepalive-idle",
            "SECONDS",
            "Quiet time before the first probe; -1 is the system's [default: -1]",
        ),
        long("keepalive-interval", "SECONDS", "Time between two probes; -1 is the system's [default: -1]"),
        long("keepalive-count", "N", "Lost probes that mean a dead peer; -1 is the system's [default: -1]"),
    ]
}

fn jobs() -> Vec<Arg> {
    vec![
        value(
            "job-retries",
            'j',
            "N",
            "Attempts at a job whose workers are lost: -1 is no limit, 0 as 1 means one attempt [default: -1]",
        ),
        long("job-handle-prefix", "TEXT", "What job handles start with [default: H:<host name>]"),
        value(
            "worker-wakeup",
            'w',
            "N",
            "Sleepers to wake for a job; 0 is all of them, as gearmand's default is [default: one, and another \
             if it does not come]",
        ),
        flag("exceptions", None, "Send WORK_EXCEPTION to every client, not only to those that ask for it"),
        flag("round-robin", Some('R'), "Accepted; a worker's functions always take turns"),
        long("hashtable-buckets", "N", "Accepted; tables grow by themselves"),
    ]
}

fn process() -> Vec<Arg> {
    vec![
        flag("help", Some('h'), "Print this help and exit"),
        flag("version", Some('V'), "Print the version and exit"),
        value(
            "threads",
            't',
            "N",
            "Shards, event loops on a core each; 0 is one for every core [default: 0; gearmand's is 4]",
        ),
        long(
            "config-file",
            "FILE",
            "Read options from FILE too; the command line wins [default: /etc/gearmand.conf]",
        ),
        flag("daemon", Some('d'), "Go to the background once the server is ready"),
        value("pid-file", 'P', "FILE", "Write the process id to FILE [default: /var/gearmand.pid]"),
        value("user", 'u', "NAME", "Switch to this user; only root can"),
        value(
            "file-descriptors",
            'f',
            "N",
            "Descriptors that the process may open; connections are a few fewer [default: all it is allowed]",
        ),
        flag("coredump", None, "Write a core file after a crash"),
    ]
}

fn log() -> Vec<Arg> {
    vec![
        value(
            "log-file",
            'l',
            "FILE",
            "Where to log: a path, stderr, or none [default: /var/log/gearmand.log, or stderr when that \
             cannot be opened]",
        ),
        long(
            "verbose",
            "LEVEL",
            "FATAL, ALERT, CRITICAL, ERROR, WARNING, NOTICE, INFO or DEBUG [default: ERROR]",
        ),
        flag("syslog", None, "Log to syslog as well"),
    ]
}

fn limits() -> Vec<Arg> {
    vec![
        flag("try", None, "Once started, see one job through, print each step, and go on serving"),
        long(
            "retry",
            "FUNCTION:POLICY",
            "How the jobs of a function are tried again, instead of --job-retries; * is every function without its \
             own, and may be given several times. A policy is one word: attempts=N, on=lost,timeout,fail (after \
             what; fail is WORK_FAIL of background jobs) [default: lost,timeout], backoff=TIME and \
             max-backoff=TIME (the wait before an attempt, which doubles) and then=dead or then=drop (whether a \
             background job is kept as a dead letter in the end) [default: dead], with commas between; off is none",
        )
        .action(ArgAction::Append),
        long("max-dead", "N", "Dead letters that a function keeps; the oldest go first [default: 100000]"),
        flag("no-pin", None, "Let the system move the shards' threads between cores"),
        long("max-connections", "N", "Open connections; 0 is what the descriptors allow [default: 0]"),
        long("max-packet-size", "SIZE", "The largest packet, at most 4G [default: 1G]"),
        long(
            "max-memory",
            "SIZE",
            "Memory for jobs and buffers, or a share of all there is; at the limit submits get an ERROR and \
             workers go on; 0 is no limit [default: 75%]",
        ),
        long(
            "max-queue-memory",
            "SIZE",
            "With --queue-type=wal: memory for jobs, above which the workloads of those that wait are in the log \
             only and are read back before their turn; 0 is no bound [default: half of --max-memory]",
        ),
        long("write-buffer", "SIZE", "Bytes that may wait for a peer that reads slowly [default: 64M]"),
        long(
            "write-stall",
            "TIME",
            "A peer with bytes waiting that reads none for so long is cut off [default: 30s]",
        ),
        long("packet-timeout", "TIME", "A packet must be complete after so long; 0 is never [default: 60s]"),
        long("functions-per-worker", "N", "Functions that one worker may register [default: 10000]"),
        long("max-functions", "N", "Functions that the server keeps in all [default: 1000000]"),
    ]
}

fn protocols() -> Vec<Arg> {
    vec![
        value("protocol", 'r', "NAME", "Serve another protocol too: http"),
        long("http-port", "PORT", "Port of --protocol=http"),
        flag("ssl", None, "Speak TLS on the Gearman port"),
        long("ssl-ca-file", "FILE", "Certificates to trust"),
        long("ssl-certificate", "FILE", "The server's certificate"),
        long("ssl-key", "FILE", "The key of the certificate"),
    ]
}

fn queues() -> Vec<Arg> {
    vec![
        value(
            "queue-type",
            'q',
            "NAME",
            "builtin is memory: jobs are gone when the server stops. wal is a log on disk: background jobs that \
             were acknowledged outlive anything. libsqlite3, Postgres, MySQL, redis and libmemcached are \
             gearmand's, with its tables and keys [default: builtin]",
        ),
        long(
            "wal-dir",
            "DIR",
            "Directory of --queue-type=wal, for this server alone; made if it is not there",
        ),
        long(
            "durability",
            "WHEN",
            "When a job in the wal is acknowledged. always: when it is on disk. interval:MS: when it is written; \
             it is on disk MS milliseconds later. none: when it is written; it is on disk when the system sees \
             fit. A loss of power loses what is not on disk, the end of the server alone loses nothing \
             [default: always]",
        ),
        long(
            "wal-failure",
            "WHAT",
            "When the wal cannot be written any more. stop: the server ends, with exit code 1. refuse: it refuses \
             background jobs, serves everything else, and tells the log [default: stop]",
        ),
    ]
}

/// gearmand's options of its stores, with its defaults.
fn gearmands_queues() -> Vec<Arg> {
    vec![
        long("libsqlite3-db", "FILE", "Database of --queue-type=libsqlite3; made if it is not there"),
        long("libsqlite3-table", "NAME", "Its table [default: gearman_queue]"),
        flag(
            "store-queue-on-shutdown",
            None,
            "Of libsqlite3: write nothing while running, and all background jobs at a clean end; a crash loses \
             them",
        ),
        long("libpq-conninfo", "TEXT", "How to reach the database of --queue-type=Postgres"),
        long("libpq-table", "NAME", "Its table [default: queue]"),
        long("mysql-host", "NAME", "Server of --queue-type=MySQL [default: localhost]"),
        long("mysql-port", "PORT", "Its port [default: 3306]"),
        long("mysql-user", "NAME", "Its user"),
        long("mysql-password", "TEXT", "The user's password"),
        long("mysql-db", "NAME", "Its database"),
        long("mysql-table", "NAME", "Its table [default: gearman_queue]"),
        long("redis-server", "NAME", "Server of --queue-type=redis [default: 127.0.0.1]"),
        long("redis-port", "PORT", "Its port [default: 6379]"),
        long("redis-password", "TEXT", "Its password"),
        long("redis-prefix", "TEXT", "What its keys start with [default: _gear_]"),
        long("libmemcached-servers", "LIST", "Servers of --queue-type=libmemcached"),
        long("libmemcached-prefix", "TEXT", "What its keys start with [default: gear_]"),
    ]
}

/// Options of queues that are never built in: read, checked, and left out of the help.
fn unbuilt_queues() -> [Arg; 2] {
    [long("libtokyocabinet-file", "VALUE", ""), flag("libtokyocabinet-optimize", None, "")]
        .map(|argument| argument.hide(true))
}

fn flag(name: &'static str, letter: Option<char>, help: &'static str) -> Arg {
    Arg::new(name).long(name).short(letter).action(ArgAction::SetTrue).help(help)
}

fn value(name: &'static str, letter: char, what: &'static str, help: &'static str) -> Arg {
    long(name, what, help).short(letter)
}

fn long(name: &'static str, what: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(what)
        .value_parser(OsStringValueParser::new())
        .allow_negative_numbers(true)
        .help(help)
}

const AFTER_HELP: &str = "\
SIZE is a number of bytes or one with K, M or G: 64K, 10M, 1G.
TIME is a number of seconds or one with ms, s, m or h: 500ms, 30s, 2m.

Commands, each with a --help of its own:
  gearshard wal ...     Looks at a log of --queue-type=wal, or repairs it.
  gearshard import ...  Brings the jobs of one of gearmand's stores into a log.

Signals:
  TERM, INT  Stop at once. Queued and running jobs are gone: clients of
             foreground jobs see their connection end and submit elsewhere.
  USR1       Graceful stop, as gearmand: no new connections; exit once the last
             job is done.
  USR2       Drain: submits get an ERROR, workers may still come; exit once
             the last job is done. Use it to replace a server without losing
             queued background jobs.
  HUP        Open the log file again, after it was rotated.

Environment and files:
  GEARMAND_PORT        The port, where it is not given or given as 4730.
  /etc/gearmand.conf   Options as on the command line. A word that starts with #
                       begins a comment, to the end of the line.

Examples:
  gearshard --listen=localhost --log-file=stderr --verbose=INFO
  gearshard --listen=127.0.0.1 --listen='[::1]:4731' --listen=unix:/run/g.sock
  gearshard --daemon --pid-file=/run/gearman/gearmand.pid --user=gearman
  gearshard --threads=8 --max-memory=4G --max-packet-size=10M
  gearshard --check-args $PARAMS";
