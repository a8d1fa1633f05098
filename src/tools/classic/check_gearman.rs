//! `check_gearman`: a plugin for Nagios and its kin. It watches the queues of a
//! server, or sends a job and looks at the answer.
//!
//! Flags, output and exit codes are those of mod_gearman's plugin. On purpose not the
//! same: the worst of several queues decides (there the last one does), `-p` counts, and
//! what `-h` prints is in our words.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::getopt::Found;
use super::queues::{Queues, address, bad_option, options, queues};
use crate::client::{Client, ClientError, Job, ServerAddress};
use crate::protocol::number::atoi;
use crate::tools::ctl::text::shown;

/// As for `getopt`.
const LETTERS: &str = "vVhaH:t:w:c:W:C:q:s:e:p:u:x";
/// The unique of a test job, unless another is given.
const UNIQUE: &str = "check";

/// What a plugin's exit code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// A line of output and an exit code.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    text: String,
    code: u8,
}

impl Report {
    fn new(state: State, text: &str) -> Self {
        Self { text: format!("check_gearman {} - {text}", state.name()), code: state as u8 }
    }
}

#[derive(Debug)]
struct Options {
    servers: Vec<ServerAddress>,
    timeout: Duration,
    jobs: Limits,
    workers: Limits,
    queue: Option<String>,
    send: Option<Vec<u8>>,
    background: bool,
    expect: Option<String>,
    unique: Vec<u8>,
    verbose: bool,
    needs_worker: bool,
}

/// From how many on there is a warning, and an alarm; 0 is never.
#[derive(Clone, Copy, Debug)]
struct Limits {
    warning: u64,
    critical: u64,
}

/// Runs `check_gearman`; the first argument is its name.
pub(super) fn main(args: Vec<OsString>) -> ExitCode {
    let report = match read(args) {
        Ok(options) => {
            watch(&options);
            check(&options)
        }
        Err(report) => report,
    };
    // Nobody may be there to read.
    let _ = writeln!(io::stdout().lock(), "{}", report.text);
    ExitCode::from(report.code)
}

fn read(args: Vec<OsString>) -> Result<Options, Report> {
    let mut read = Options {
        servers: Vec::new(),
        timeout: Duration::from_secs(10),
        jobs: Limits { warning: 10, critical: 100 },
        workers: Limits { warning: 25, critical: 50 },
        queue: None,
        send: None,
        background: false,
        expect: None,
        unique: UNIQUE.into(),
        verbose: false,
        needs_worker: false,
    };
    let (name, found) = options(LETTERS, args);
    let (mut hosts, mut port) = (Vec::new(), None);
    let number = |value: &[u8]| u64::from(atoi(value));
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    for option in found {
        match option {
            Found::Flag(b'V') => {
                let version = concat!("check_gearman: version ", env!("CARGO_PKG_VERSION"), " of gearshard");
                return Err(Report { text: version.to_owned(), code: State::Unknown as u8 });
            }
            Found::Flag(b'v') => read.verbose = true,
            Found::Flag(b'a') => read.background = true,
            Found::Flag(b'x') => read.needs_worker = true,
            Found::Flag(_) => return Err(usage()),
            Found::Value(b'H', value) => hosts.push(value),
            Found::Value(b'p', value) => port = Some(text(value)),
            Found::Value(b't', value) => read.timeout = Duration::from_secs(number(&value)),
            Found::Value(b'w', value) => read.jobs.warning = number(&value),
            Found::Value(b'c', value) => read.jobs.critical = number(&value),
            Found::Value(b'W', value) => read.workers.warning = number(&value),
            Found::Value(b'C', value) => read.workers.critical = number(&value),
            Found::Value(b'q', value) => read.queue = Some(text(value)),
            Found::Value(b's', value) => read.send = Some(value),
            Found::Value(b'e', value) => read.expect = Some(text(value)),
            Found::Value(_, value) => read.unique = value,
            Found::Unknown(letter) => {
                bad_option(&name, letter, "invalid option");
                return Err(usage());
            }
            Found::Missing(letter) => {
                bad_option(&name, letter, "option requires an argument");
                return Err(usage());
            }
        }
    }
    let wrong =
        |text: &str| Report { text: format!("Error - {text}\n\n{USAGE}"), code: State::Unknown as u8 };
    for host in hosts {
        let server = match &port {
            Some(port) if !host.contains(&b':') => address(&[&*host, b":", port.as_bytes()].concat()),
            _ => address(&host),
        };
        read.servers.push(server.map_err(|error| wrong(&error.to_string()))?);
    }
    if read.servers.is_empty() {
        return Err(wrong("no hostname given"));
    }
    if read.send.is_some() && read.queue.is_none() {
        return Err(wrong("need queue (-q) when sending job"));
    }
    Ok(read)
}

/// Ends the program when its time is over, whatever it waits for.
fn watch(options: &Options) {
    if options.timeout.is_zero() {
        return;
    }
    let (timeout, server) = (options.timeout, options.servers.last().cloned());
    let _detached = std::thread::spawn(move || {
        std::thread::sleep(timeout);
        let server = server.map_or_else(String::new, |server| server.to_string());
        // Nobody may be there to read.
        let _ = writeln!(io::stdout().lock(), "timeout while waiting for {server}");
        std::process::exit(State::Critical as i32);
    });
}

fn check(options: &Options) -> Report {
    if let (Some(text), Some(queue)) = (&options.send, &options.queue) {
        return send(options, queue, text);
    }
    // As mod_gearman: of several servers the last one is looked at.
    let server = options.servers.last().expect("there is one, or the options are wrong");
    // The watch looks at the time.
    match queues(server, Duration::from_secs(3600)) {
        Ok(found) => judge(options, &found),
        Err(text) => Report::new(State::Critical, &text),
    }
}

fn judge(options: &Options, found: &Queues) -> Report {
    let Options { jobs, workers, needs_worker, .. } = options;
    let looked_at: Vec<_> = found
        .queues
        .iter()
        .filter(|queue| options.queue.as_ref().is_none_or(|wanted| wanted.as_bytes() == queue.name))
        .collect();
    let (mut state, mut text) = (State::Ok, String::new());
    for queue in &looked_at {
        let (name, waiting) = (shown(&queue.name), queue.waiting());
        let plural = if waiting > 1 { "s" } else { "" };
        let reached = |limit: u64, count: u64| limit > 0 && count >= limit;
        let (worse, words) = if waiting > 0 && queue.workers == 0 {
            (State::Critical, format!("{waiting} job{plural} without any worker"))
        } else if reached(jobs.critical, waiting) {
            (State::Critical, format!("{waiting} waiting job{plural}"))
        } else if reached(workers.critical, queue.workers) {
            (State::Critical, format!("{} worker", queue.workers))
        } else if *needs_worker && queue.workers == 0 {
            (State::Critical, "no worker".to_owned())
        } else if reached(jobs.warning, waiting) {
            (State::Warning, format!("{waiting} waiting job{plural}"))
        } else if reached(workers.warning, queue.workers) {
            (State::Warning, format!("{} worker", queue.workers))
        } else {
            continue;
        };
        state = state.max(worse);
        write!(text, "Queue {name} has {words}. ").expect("a string takes everything");
    }
    match &options.queue {
        Some(queue) if looked_at.is_empty() => {
            (state, text) = (State::Warning, format!("Queue {queue} not found"))
        }
        _ => {}
    }
    if state == State::Ok {
        let running: u64 = looked_at.iter().map(|queue| queue.running).sum();
        let waiting: u64 = looked_at.iter().map(|queue| queue.waiting()).sum();
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        text = format!(
            "{running} job{} running and {waiting} job{} waiting. Version: {}",
            plural(running),
            plural(waiting),
            found.version
        );
    }
    if !found.queues.is_empty() {
        text.push('|');
    }
    for queue in looked_at {
        let name = shown(&queue.name);
        write!(
            text,
            "'{name}_waiting'={};{};{};0 '{name}_running'={} '{name}_worker'={};{};{};0 ",
            queue.waiting(),
            jobs.warning,
            jobs.critical,
            queue.running,
            queue.workers,
            workers.warning,
            workers.critical
        )
        .expect("a string takes everything");
    }
    Report::new(state, &text)
}

fn send(options: &Options, queue: &str, text: &[u8]) -> Report {
    let sent = submit(options, queue, text);
    if options.verbose {
        let words = match &sent {
            Ok(result) => format!("code:   ok\nresult: {}", String::from_utf8_lossy(result)),
            Err(error) => format!("code:   {error}\nresult: (null)"),
        };
        // Nobody may be there to read.
        let _ = writeln!(io::stderr().lock(), "{words}");
    }
    let result = match sent {
        Ok(result) => String::from_utf8_lossy(&result).into_owned(),
        Err(error) => return Report::new(State::Critical, &format!("job failed: {error}")),
    };
    let sent = String::from_utf8_lossy(text);
    match &options.expect {
        Some(expect) if !options.background && result.contains(expect) => {
            Report::new(State::Ok, &format!("send worker '{sent}' response: '{result}'"))
        }
        Some(expect) if !options.background => Report::new(
            State::Critical,
            &format!("send worker: '{sent}' response: '{result}', expected '{expect}'"),
        ),
        // Workers that know plugins answer with an exit code, a colon and the text.
        _ => match result.as_bytes() {
            [code @ b'0'..=b'9', b':', ..] => Report { text: result[2..].to_owned(), code: code - b'0' },
            _ => Report::new(State::Ok, &result),
        },
    }
}

fn submit(options: &Options, queue: &str, text: &[u8]) -> Result<Vec<u8>, ClientError> {
    let client = Client::builder(options.servers.clone()).build()?;
    let job = Job::new(queue, text).unique(options.unique.clone()).high();
    if options.background {
        client.submit_background(job)?;
        return Ok(b"sending background job succeded".to_vec());
    }
    client.run(job)
}

const USAGE: &str = "\
usage: check_gearman -H HOST[:PORT] [options]

Watch the queues of a job server:
  -q QUEUE    only this one
  -w NUMBER   warning from so many waiting jobs on, in a queue    [10]
  -c NUMBER   critical from so many waiting jobs on, in a queue   [100]
  -W NUMBER   warning from so many workers on, of a queue         [25]
  -C NUMBER   critical from so many workers on, of a queue        [50]
  -x          critical when a queue has no worker
A limit of 0 is none. Jobs that wait without any worker are always critical.

Send a job and look at its result:
  -q QUEUE    to this queue
  -s TEXT     with this workload
  -e TEXT     critical unless the result contains this
  -u UNIQUE   with this unique                                    [check]
  -a          in the background; nothing is looked at

  -H HOST     the job server; several may be given for a job
  -p PORT     its port, unless -H names one                       [4730]
  -t SECONDS  critical when it takes longer                       [10]
  -v          tell more on standard error
  -V          the version
  -h          this text

Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown.
Performance data: 'QUEUE_waiting'=N;WARN;CRIT;0 'QUEUE_running'=N 'QUEUE_worker'=N;WARN;CRIT;0";

fn usage() -> Report {
    Report { text: USAGE.to_owned(), code: State::Unknown as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::admin::FunctionStatus;

    fn judged(args: &[&str], queues: &[(&str, u64, u64, u64)]) -> (String, u8) {
        let args = ["check_gearman", "-H", "localhost"].iter().chain(args).map(OsString::from).collect();
        let queues = queues.iter().map(|&(name, total, running, workers)| FunctionStatus {
            name: name.into(),
            total,
            running,
            workers,
        });
        let found = Queues { queues: queues.collect(), version: "1.2".to_owned() };
        let report = judge(&read(args).unwrap(), &found);
        (report.text, report.code)
    }

    #[test]
    fn limits_decide_about_each_queue() {
        type Case = (&'static [&'static str], (u64, u64, u64), &'static str, u8);
        let cases: [Case; 8] = [
            (&[], (3, 1, 2), "check_gearman OK - 1 job running and 2 jobs waiting. Version: 1.2", 0),
            (&[], (1, 0, 0), "check_gearman CRITICAL - Queue q has 1 job without any worker. ", 2),
            (&["-w1", "-c9"], (3, 1, 2), "check_gearman WARNING - Queue q has 2 waiting jobs. ", 1),
            (&["-w1", "-c2"], (3, 1, 2), "check_gearman CRITICAL - Queue q has 2 waiting jobs. ", 2),
            (&["-W2"], (0, 0, 2), "check_gearman WARNING - Queue q has 2 worker. ", 1),
            (&["-C2"], (0, 0, 2), "check_gearman CRITICAL - Queue q has 2 worker. ", 2),
            (&["-x"], (0, 0, 0), "check_gearman CRITICAL - Queue q has no worker. ", 2),
            (
                &["-w0", "-c0"],
                (999, 0, 1),
                "check_gearman OK - 0 jobs running and 999 jobs waiting. Version: 1.2",
                0,
            ),
        ];
        for (args, (total, running, workers), text, code) in cases {
            let (said, exit) = judged(args, &[("q", total, running, workers)]);
            assert_eq!((said.split('|').next(), exit), (Some(text), code), "{args:?}");
        }
    }

    #[test]
    fn the_worst_queue_decides() {
        let (text, code) = judged(&["-w1"], &[("a", 1, 0, 0), ("b", 1, 0, 1)]);
        assert_eq!(code, 2);
        assert_eq!(
            text,
            "check_gearman CRITICAL - Queue a has 1 job without any worker. Queue b has 1 waiting job. |\
             'a_waiting'=1;1;100;0 'a_running'=0 'a_worker'=0;25;50;0 \
             'b_waiting'=1;1;100;0 'b_running'=0 'b_worker'=1;25;50;0 "
        );
        let missing = judged(&["-q", "c"], &[("a", 1, 0, 0)]);
        assert_eq!(missing, ("check_gearman WARNING - Queue c not found|".to_owned(), 1));
    }
}
