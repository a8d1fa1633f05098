//! What the command line accepts, and in which words it refuses: gearmand's.
//! Every case runs beside Debian's gearmand 1.1.20.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use support::process::{Finished, Process, TempDir};
use support::{Kind, Peers};

/// Files that a run must not leave; `Process` keeps its streams in these.
const STREAMS: [&str; 3] = [".stdin", ".stdout", ".stderr"];

/// Accepted by both with `--check-args`.
const ACCEPTED: &[&[&str]] = &[
    &[],
    &["--backlog=10"],
    &["-b", "10"],
    &["-b10"],
    &["--backlog=+3"],
    &["--daemon"],
    &["-d"],
    &["--coredump"],
    &["--file-descriptors=10"],
    &["-f", "0"],
    &["--help"],
    &["-h"],
    &["--version"],
    &["-V"],
    &["--exceptions"],
    &["--keepalive"],
    &["--keepalive-idle=10", "--keepalive-interval=3", "--keepalive-count=10"],
    &["--keepalive-idle=-1"],
    &["--log-file=tmp/foo"],
    &["--log-file=stderr"],
    &["-l", "tmp/foo"],
    &["--listen=10"],
    &["-L", "10"],
    &["-L", ""],
    &["--port=10"],
    &["-p", "10"],
    &["-p4730"],
    &["--port=gearman"],
    &["--pid-file=tmp/gearmand.pid"],
    &["-P", "tmp/gearmand.pid"],
    &["--round-robin"],
    &["-dR"],
    &["-dRt3"],
    &["-dRt", "3"],
    &["--syslog"],
    &["--threads=10"],
    &["-t", "8"],
    &["-t0"],
    &["--user=nosuchuser"],
    &["-u", "nobody"],
    &["--verbose=FATAL"],
    &["--verbose=ALERT"],
    &["--verbose=CRITICAL"],
    &["--verbose=ERROR"],
    &["--verbose=WARNING"],
    &["--verbose=NOTICE"],
    &["--verbose=INFO"],
    &["--verbose", "DEBUG"],
    &["--worker-wakeup=4"],
    &["-w", "300"],
    &["--job-retries=4"],
    &["--job-retries", "-1"],
    &["-j-1"],
    &["-j", "255"],
    &["--job-handle-prefix=my_own_private_handle"],
    &["--hashtable-buckets=2000"],
    &["--config-file=/etc/gearmand.conf"],
    &["--protocol=http", "--http-port=8090"],
    &["--protocol=unheard-of"],
    &["--queue-type=builtin"],
    &["--queue-type=unheard-of"],
    &["-q", "libsqlite3", "--libsqlite3-db=a.db", "--libsqlite3-table=t", "--store-queue-on-shutdown"],
    &["-q", "Postgres", "--libpq-conninfo", "host=/tmp dbname=x", "--libpq-table=t"],
    &["-q", "MySQL", "--mysql-host=h", "--mysql-port=3306", "--mysql-user=u", "--mysql-password=p"],
    &["--mysql-db=d", "--mysql-table=t"],
    &["-q", "redis", "--redis-server=h", "--redis-port=6379", "--redis-password=p", "--redis-prefix=x"],
    &["-q", "libmemcached", "--libmemcached-servers=h:11211", "--libmemcached-prefix=x"],
    &["--ssl", "--ssl-ca-file=a", "--ssl-certificate=b", "--ssl-key=c"],
    &["--"],
];

/// Refused by both with `--check-args`, in these words.
const REFUSED: &[(&[&str], &str)] = &[
    (&["word"], "unrecognised option 'word'"),
    (&["--", "word"], "unrecognised option 'word'"),
    (&["-"], "unrecognised option '-'"),
    (&[""], "unrecognised option"),
    (&["--threads=1", "extra"], "unrecognised option 'extra'"),
    (&["@file"], "unrecognised option '@file'"),
    (&["--log"], "unrecognised option '--log'"),
    (&["--foo"], "unrecognised option '--foo'"),
    (&["--foo=3"], "unrecognised option '--foo=3'"),
    (&["--PORT=3"], "unrecognised option '--PORT=3'"),
    (&["--=3"], "unrecognised option '--=3'"),
    (&["-x"], "unrecognised option '-x'"),
    (&["-xyz"], "unrecognised option '-xyz'"),
    (&["-v"], "unrecognised option '-v'"),
    (&["-vvv"], "unrecognised option '-vvv'"),
    (&["-dRz"], "unrecognised option '-dRz'"),
    (&["-d1"], "unrecognised option '-d1'"),
    (&["--verbose=BAD", "--foo"], "unrecognised option '--foo'"),
    (&["--config-file", "/nonexistent", "--foo"], "unrecognised option '--foo'"),
    (&["--verbose=BAD"], "Invalid value for --verbose supplied"),
    (&["--verbose=info"], "Invalid value for --verbose supplied"),
    (&["--port"], "the required argument for option '--port' is missing"),
    (&["-p"], "the required argument for option '--port' is missing"),
    (&["--port", "-d"], "the required argument for option '--port' is missing"),
    (&["-dRt"], "the required argument for option '--threads' is missing"),
    (&["--config-file"], "the required argument for option '--config-file' is missing"),
    (&["--ssl-ca-file"], "the required argument for option '--ssl-ca-file' is missing"),
    (&["--port="], "the argument for option '--port' should follow immediately after the equal sign"),
    (&["--daemon="], "the argument for option '--daemon' should follow immediately after the equal sign"),
    (&["--daemon=1"], "option '--daemon' does not take any arguments"),
    (&["--check-args=1"], "option '--check-args' does not take any arguments"),
    (&["--port", "1", "--port", "2"], "option '--port' cannot be specified more than once"),
    (&["--port=1", "-p2"], "option '--port' cannot be specified more than once"),
    (&["-d", "-d"], "option '--daemon' cannot be specified more than once"),
    (&["-dd"], "option '--daemon' cannot be specified more than once"),
    (&["--check-args"], "option '--check-args' cannot be specified more than once"),
    (&["--threads=abc"], "the argument ('abc') for option '--threads' is invalid"),
    (&["-tabc"], "the argument ('abc') for option '--threads' is invalid"),
    (&["--threads", ""], "the argument for option '--threads' is invalid"),
    (&["--backlog=1.5"], "the argument ('1.5') for option '--backlog' is invalid"),
    (&["--backlog= 3"], "the argument (' 3') for option '--backlog' is invalid"),
    (&["--backlog=0x10"], "the argument ('0x10') for option '--backlog' is invalid"),
    (&["-w", "x"], "the argument ('x') for option '--worker-wakeup' is invalid"),
    (&["--keepalive-idle", "x"], "the argument ('x') for option '--keepalive-idle' is invalid"),
    (&["--file-descriptors=abc"], "the argument ('abc') for option '--file-descriptors' is invalid"),
    (&["--mysql-port=abc"], "the argument ('abc') for option '--mysql-port' is invalid"),
    (&["--job-retries=x"], "the argument ('x') for option '--job-retries' is invalid"),
    (&["--hashtable-buckets=x"], "the argument ('x') for option '--hashtable-buckets' is invalid"),
    (&["--hashtable-buckets=0"], "hashtable-buckets has to be greater than 0"),
    (&["--config-file=/nonexistent"], "Could not open configuration file."),
];

/// Refused here and not by gearmand 1.1.20, or the other way round.
struct Different {
    args: &'static [&'static str],
    /// What we say; nothing when we accept it.
    ours: &'static str,
    /// Whether gearmand accepts it.
    accepted_there: bool,
    why: &'static str,
}

const DIFFERENT: &[Different] = &[
    Different {
        args: &["--listen=a", "--listen=b"],
        ours: "",
        accepted_there: false,
        why: "several addresses are a feature of ours",
    },
    Different { args: &["-t=3"], ours: "", accepted_there: false, why: "what is meant is plain" },
    Different {
        args: &["-q", "libtokyocabinet", "--libtokyocabinet-file=x", "--libtokyocabinet-optimize"],
        ours: "",
        accepted_there: false,
        why: "Debian builds gearmand without it",
    },
    Different {
        args: &["--port", "--foo"],
        ours: "unrecognised option '--foo'",
        accepted_there: true,
        why: "a mistyped option is no port",
    },
    Different {
        args: &["--port=99999"],
        ours: "the argument ('99999') for option '--port' is invalid: a port is a number up to 65535, or the \
               name of a service",
        accepted_there: true,
        why: "gearmand's resolver makes it 34463",
    },
    Different {
        args: &["--threads=-1"],
        ours: "the argument ('-1') for option '--threads' is invalid: it must be between 0 and 1024",
        accepted_there: true,
        why: "gearmand makes it 4294967295",
    },
    Different {
        args: &["--backlog", "-1"],
        ours: "the argument ('-1') for option '--backlog' is invalid: it must be between 0 and 2147483647",
        accepted_there: true,
        why: "gearmand makes it 4294967295",
    },
    Different {
        args: &["--keepalive-idle=0"],
        ours: "the argument ('0') for option '--keepalive-idle' is invalid: it is a number of seconds, or -1 \
               for the system's",
        accepted_there: true,
        why: "the system refuses it, and gearmand goes on without",
    },
    Different {
        args: &["--job-retries=-2"],
        ours: "job-retries must be -1 (no limit), 0 (no retries), or between 1 and 255",
        accepted_there: true,
        why: "as gearmand 2.0",
    },
    Different {
        args: &["--job-retries=256"],
        ours: "job-retries must be -1 (no limit), 0 (no retries), or between 1 and 255",
        accepted_there: true,
        why: "as gearmand 2.0",
    },
    Different {
        args: &["--job-handle-prefix=a prefix of quite a few more than 42 characters"],
        ours: "the argument ('a prefix of quite a few more than 42 characters') for option '--job-handle-prefix' is \
               invalid: at most 42 bytes of text, to leave room for the number of a job",
        accepted_there: true,
        why: "gearmand cuts the number off, and handles of two jobs are the same",
    },
];

/// Options that only we have, with `--check-args`; an empty message accepts.
const OURS: &[(&[&str], &str)] = &[
    (&["--no-pin"], ""),
    (&["--max-connections=100"], ""),
    (&["--max-packet-size=64K"], ""),
    (&["--max-packet-size=4G"], ""),
    (
        &["--max-packet-size=5G"],
        "the argument ('5G') for option '--max-packet-size' is invalid: it must be between 1K and 4G",
    ),
    (
        &["--max-packet-size=big"],
        "the argument ('big') for option '--max-packet-size' is invalid: a size is a number of bytes, or a \
         number with K, M or G such as 64K, 10M or 1G",
    ),
    (&["--queue-type=wal", "--wal-dir=/x", "--durability=always"], ""),
    (&["-q", "WAL", "--wal-dir", "x", "--durability", "interval:50"], ""),
    (&["--durability=none"], ""),
    (&["--queue-type=wal"], "--queue-type=wal needs --wal-dir=DIR, the directory to keep jobs in"),
    (
        &["--durability=interval:0"],
        "the argument ('interval:0') for option '--durability' is invalid: it is always, interval:MS such as \
         interval:50, or none",
    ),
    (&["--wal-failure=refuse"], ""),
    (
        &["--wal-failure=maybe"],
        "the argument ('maybe') for option '--wal-failure' is invalid: it is stop or refuse",
    ),
    (&["--max-memory=0"], ""),
    (&["--max-memory=50%"], ""),
    (&["--max-memory=2G"], ""),
    (&["--max-queue-memory=1G"], ""),
    (
        &["--max-memory=101%"],
        "the argument ('101%') for option '--max-memory' is invalid: a size is a number of bytes, or a number \
         with K, M or G such as 64K, 10M or 1G",
    ),
    (&["--write-buffer=64M", "--write-stall=500ms", "--packet-timeout=0"], ""),
    (
        &["--packet-timeout=1d"],
        "the argument ('1d') for option '--packet-timeout' is invalid: a time is a number of seconds, or a \
         number with ms, s, m or h such as 500ms, 30s or 2m",
    ),
    (
        &["--write-stall=0"],
        "the argument ('0') for option '--write-stall' is invalid: it must be more than 0",
    ),
    (&["--functions-per-worker=1", "--max-functions=4294967295"], ""),
    (
        &["--functions-per-worker=0"],
        "the argument ('0') for option '--functions-per-worker' is invalid: it must be between 1 and \
         4294967295",
    ),
    (&["-L", "[::1]:4731", "-L", "unix:/tmp/x", "-L", "localhost:gearman"], ""),
    (&["--retry=resize:attempts=5,on=lost,timeout,fail,backoff=1s,max-backoff=5m,then=drop"], ""),
    (&["--retry", "a:b:attempts=1", "--retry=*:off", "--max-dead=0"], ""),
    (
        &["--retry=resize"],
        "the argument ('resize') for option '--retry' is invalid: it is a function, a colon and a policy, such \
         as resize:attempts=5 or *:attempts=5",
    ),
    (
        &["--retry=:attempts=5"],
        "the argument (':attempts=5') for option '--retry' is invalid: it is a function, a colon and a policy, \
         such as resize:attempts=5 or *:attempts=5",
    ),
    (
        &["--retry=resize:tries=5"],
        "the argument ('resize:tries=5') for option '--retry' is invalid: 'tries' is no setting: a policy is off, \
         or some of attempts=N, on=lost,timeout,fail, backoff=TIME, max-backoff=TIME and then=dead or then=drop, \
         with commas between",
    ),
    (
        &["--retry=f:attempts=5,backoff=1.5s"],
        "the argument ('f:attempts=5,backoff=1.5s') for option '--retry' is invalid: backoff='1.5s': it is whole \
         seconds, or a number with s, m, h or d such as 5m",
    ),
    (
        &["--max-dead=-1"],
        "the argument ('-1') for option '--max-dead' is invalid: it must be between 0 and 4294967295",
    ),
];

/// Config files, and what both say to them; an empty message accepts.
const CONFIG_FILES: &[(&str, &str)] = &[
    ("", ""),
    ("--port 4731", ""),
    ("--port=4731 --listen 127.0.0.1\n-dR\n", ""),
    ("# a comment\nkey=value and words\n--port=4731", ""),
    ("--verb=INFO", ""),
    ("--foo", "unrecognised option '--foo'"),
    ("--check-args", "unrecognised option '--check-args'"),
    ("--port", "the required argument for option '--port' is missing"),
    ("--port=1\n--port=2", "option '--port' cannot be specified more than once"),
    ("\n--threads=abc", "the argument ('abc') for option '--threads' is invalid"),
    ("--verbose=BAD", "Invalid value for --verbose supplied"),
];

/// A server under the name `gearmand`, with an empty environment.
fn command(kind: Kind, args: &[&str]) -> Command {
    let mut command = match kind {
        Kind::Gearshard => Command::new(env!("CARGO_BIN_EXE_gearshard")),
        Kind::Gearmand => Command::new(Peers::require().path("usr/sbin/gearmand")),
    };
    command.env_clear().arg0("gearmand").args(args);
    if kind == Kind::Gearmand {
        command.env("LD_LIBRARY_PATH", Peers::require().library_path());
    }
    command
}

fn run(kind: Kind, args: &[&str]) -> Finished {
    Process::run(command(kind, args), b"")
}

/// Runs with `--check-args` in an empty directory, which must stay empty. The
/// message is what stands behind the name; accepting says nothing at all.
fn check(kind: Kind, args: &[&str]) -> Result<(), String> {
    let dir = TempDir::new();
    let path = dir.path().to_owned();
    let args: Vec<&str> = ["--check-args"].iter().chain(args).copied().collect();
    let mut process = Process::start_in(dir, command(kind, &args), b"");
    let status = process.wait(support::DEADLINE);
    assert_eq!(process.stdout(), "", "{kind:?} {args:?} prints something");
    assert_eq!(left_behind(&path), Vec::<String>::new(), "{kind:?} {args:?} creates files");
    let stderr = process.stderr();
    match status.code() {
        Some(0) => {
            assert_eq!(stderr, "", "{kind:?} {args:?} is accepted with a complaint");
            Ok(())
        }
        Some(1) => {
            let message = stderr.strip_prefix("gearmand: ").and_then(|text| text.strip_suffix('\n'));
            Err(message.unwrap_or_else(|| panic!("{kind:?} {args:?} says {stderr:?}")).to_owned())
        }
        _ => panic!("{kind:?} {args:?} ends with {status}: {stderr}"),
    }
}

fn left_behind(dir: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !STREAMS.contains(&name.as_str())).collect()
}

#[test]
fn what_gearmand_accepts_is_accepted() {
    for args in ACCEPTED {
        for kind in [Kind::Gearshard, Kind::Gearmand] {
            assert_eq!(check(kind, args), Ok(()), "{kind:?} {args:?}");
        }
    }
}

#[test]
fn what_gearmand_refuses_is_refused_in_its_words() {
    for (args, message) in REFUSED {
        for kind in [Kind::Gearshard, Kind::Gearmand] {
            assert_eq!(check(kind, args), Err((*message).to_owned()), "{kind:?} {args:?}");
        }
    }
}

#[test]
fn differences_from_gearmand_are_these() {
    for different in DIFFERENT {
        let Different { args, ours, accepted_there, why } = different;
        let expected = if ours.is_empty() { Ok(()) } else { Err((*ours).to_owned()) };
        assert_eq!(check(Kind::Gearshard, args), expected, "{args:?}: {why}");
        assert_eq!(check(Kind::Gearmand, args).is_ok(), *accepted_there, "{args:?}: {why}");
        assert_ne!(expected.is_ok(), *accepted_there, "{args:?} is no difference");
    }
}

#[test]
fn own_options_say_what_they_take() {
    for (args, message) in OURS {
        let expected = if message.is_empty() { Ok(()) } else { Err((*message).to_owned()) };
        assert_eq!(check(Kind::Gearshard, args), expected, "{args:?}");
    }
}

#[test]
fn every_option_of_the_help_is_in_a_table() {
    let help = run(Kind::Gearshard, &["--help"]).success().text();
    let tables = ACCEPTED.iter().chain(OURS.iter().map(|(args, _)| args));
    let known: Vec<&str> =
        tables.flat_map(|args| args.iter()).map(|arg| arg.split('=').next().unwrap()).collect();
    let options = help
        .lines()
        .filter_map(|line| line.get(..6).filter(|start| start.trim().len() < 4).and(line.get(6..)));
    let mut counted = 0;
    for option in options.filter(|text| text.starts_with("--")).map(|text| text.split(' ').next().unwrap()) {
        counted += 1;
        // `--check-args` stands before every case; `--try` has tests of its own.
        assert!(known.contains(&option) || ["--check-args", "--try"].contains(&option), "{option}");
    }
    assert!(counted > 40, "only {counted} options found in:\n{help}");
}

#[test]
fn config_files_are_read_as_gearmand_reads_them() {
    for (text, message) in CONFIG_FILES {
        for kind in [Kind::Gearshard, Kind::Gearmand] {
            let dir = TempDir::new();
            let path = dir.path().join("g.conf");
            std::fs::write(&path, text).unwrap();
            let argument = format!("--config-file={}", path.display());
            let said = check(kind, &[&argument]);
            if message.is_empty() {
                assert_eq!(said, Ok(()), "{kind:?} {text:?}");
                continue;
            }
            // We also say where.
            let said = said.expect_err("the message is not empty");
            let line = text.lines().count();
            let place = if kind == Kind::Gearshard {
                format!(" ({}, line {line})", path.display())
            } else {
                String::new()
            };
            assert_eq!(said, format!("{message}{place}"), "{kind:?} {text:?}");
        }
    }
}

#[test]
fn comments_in_config_files_hide_options_here() {
    let dir = TempDir::new();
    let path = dir.path().join("g.conf");
    std::fs::write(&path, "# use --foo for the foo\n--port=4731 # not --bar\n").unwrap();
    let argument = format!("--config-file={}", path.display());
    assert_eq!(check(Kind::Gearshard, &[&argument]), Ok(()));
    assert_eq!(check(Kind::Gearmand, &[&argument]), Err("unrecognised option '--foo'".to_owned()));
}

#[test]
fn the_command_line_wins_over_the_config_file() {
    for kind in [Kind::Gearshard, Kind::Gearmand] {
        let dir = TempDir::new();
        let path = dir.path().join("g.conf");
        std::fs::write(&path, "--verbose=BAD").unwrap();
        let argument = format!("--config-file={}", path.display());
        assert_eq!(check(kind, &[&argument, "--verbose=INFO"]), Ok(()), "{kind:?}");
    }
}

#[test]
fn help_is_readable_at_80_columns() {
    for argument in ["-h", "--help"] {
        let help = run(Kind::Gearshard, &[argument]).success();
        assert_eq!(help.stderr, "");
        let text = help.text();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "too wide: {line}");
        }
        let headings = ["Listening:", "Process:", "Log:", "Added by gearshard:", "Signals:", "Examples:"];
        let places: Vec<usize> = headings.iter().map(|heading| text.find(heading).expect(heading)).collect();
        assert!(places.is_sorted(), "{places:?}");
    }
}

#[test]
fn the_version_has_gearmands_shape() {
    for argument in ["-V", "--version"] {
        let ours = run(Kind::Gearshard, &[argument]).success();
        let theirs = run(Kind::Gearmand, &[argument]).success();
        let shape = |finished: &Finished| {
            let text = finished.text();
            let line = text.strip_prefix('\n').and_then(|text| text.strip_suffix('\n')).unwrap().to_owned();
            let (name, rest) = line.split_once(' ').unwrap();
            let (version, bugs) = rest.split_once(" - ").unwrap();
            assert!(!bugs.is_empty() && !bugs.contains('\n'));
            (name.to_owned(), version.to_owned())
        };
        assert_eq!(shape(&ours), ("gearshard".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        assert_eq!(shape(&theirs).0, "gearmand");
    }
}

/// Starts that fail, in gearmand's words on both sides.
#[test]
fn failing_starts_end_with_1_and_gearmands_words() {
    let cases: &[(&[&str], &str)] = &[
        (&["--user=nosuchuser"], "Could not find user : nosuchuser"),
        (&["--protocol=foo"], "Unknown protocol module : foo"),
        (&["--queue-type=foo"], "Error while initializing the queue : foo"),
        (
            &["--file-descriptors=4294967295"],
            "Failed to set limit for the number of file descriptors.  Try running as root or giving a smaller \
             value to -f. (Operation not permitted)",
        ),
    ];
    for (args, message) in cases {
        let message = match args[0].starts_with("--user") && !support::server::is_root() {
            true => "Must be root to switch users.",
            false => message,
        };
        for kind in [Kind::Gearshard, Kind::Gearmand] {
            let all: Vec<&str> = ["--log-file=none", "--pid-file=x.pid", "--listen=127.0.0.1", "--port=0"]
                .iter()
                .chain(*args)
                .copied()
                .collect();
            let finished = run(kind, &all);
            assert_eq!(finished.status.code(), Some(1), "{kind:?} {args:?}");
            assert_eq!(finished.stderr, format!("gearmand: {message}\n"), "{kind:?} {args:?}");
        }
    }
}

#[test]
fn what_is_not_built_in_says_so_and_creates_nothing() {
    let queues = [
        ("libsqlite3", cfg!(feature = "sqlite")),
        ("Postgres", cfg!(feature = "postgres")),
        ("postgres", cfg!(feature = "postgres")),
        ("MySQL", cfg!(feature = "mysql")),
        ("redis", cfg!(feature = "redis")),
        ("libmemcached", cfg!(feature = "memcached")),
        ("libtokyocabinet", false),
        ("libdrizzle", false),
    ];
    let queues = queues.iter().filter(|(_, built)| !built).map(|(name, _)| format!("--queue-type={name}"));
    let queues: Vec<String> = queues.collect();
    for option in queues.iter().map(String::as_str).chain(["--ssl", "--protocol=http"]) {
        let dir = TempDir::new();
        let path = dir.path().to_owned();
        let args = ["--pid-file=x.pid", "--log-file=x.log", "--listen=127.0.0.1", "--port=0", option];
        let mut process = Process::start_in(dir, command(Kind::Gearshard, &args), b"");
        assert_eq!(process.wait(support::DEADLINE).code(), Some(1), "{option}");
        let stderr = process.stderr();
        assert!(stderr.contains(&format!("{option} is not built into this version")), "{stderr}");
        assert_eq!(left_behind(&path), Vec::<String>::new(), "{option}");
    }
}

/// The value of a shell variable in a defaults file, lines joined.
fn shell_variable(text: &str, name: &str) -> Vec<String> {
    let value = text.split_once(&format!("\n{name}=\"")).unwrap().1.split_once('"').unwrap().0;
    value.replace("\\\n", " ").split_whitespace().map(str::to_owned).collect()
}

/// Debian's users may keep their own file, so the unit must go with both.
#[test]
fn the_unit_goes_with_our_defaults_and_with_debians() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let unit = std::fs::read_to_string(packaging.join("gearman-job-server.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let ours = std::fs::read_to_string(packaging.join("gearman-job-server.default")).unwrap();
    let debians = std::fs::read_to_string(Peers::require().path("etc/default/gearman-job-server")).unwrap();
    for defaults in [ours, debians] {
        let params = shell_variable(&defaults, "PARAMS");
        assert!(params.contains(&"--daemon".to_owned()), "the unit is of type forking: {params:?}");
        let unit_args = start.split_whitespace().skip(1).filter(|word| *word != "$PARAMS");
        let args: Vec<&str> = unit_args.chain(params.iter().map(String::as_str)).collect();
        assert!(args.len() > params.len(), "{start}");
        assert_eq!(check(Kind::Gearshard, &args), Ok(()), "{args:?}");
    }
}
