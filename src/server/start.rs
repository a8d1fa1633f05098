//! From the command line to a running server, and to an exit code.
//!
//! The order is gearmand's (gearmand-spec.md, section 14): options, descriptors,
//! user, background, signals, pid file, log, sockets. What fails before the log
//! is open is told on standard error behind the program's name, and every
//! failure ends in exit code 1.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::daemon::{self, Starting};
use super::log::{Level, LogWriter, reason, tell_stderr};
use super::signals::Signals;
use super::{Listen, LocalAddress, Options, Server, banner, import, process, trial, wal_tool};
use crate::config::{self, Config, Environment, Refused, Request};
use crate::pid_file::PidFile;
use crate::protocol::handle::HandlePrefix;
use crate::shard::settings::Settings;

/// Does what the command line says. `arguments` begin with the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>, environment: Environment<'_>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let program =
        arguments.next().map_or_else(|| "gearshard".into(), |name| name.to_string_lossy().into_owned());
    let words: Vec<OsString> = arguments.collect();
    if words.first().is_some_and(|word| word == "wal") {
        return end(&program, wal_tool::run(&words[1..]));
    }
    if words.first().is_some_and(|word| word == "import") {
        let done = config::parse_import(&words[1..]).map_err(|refused| explain(&program, refused));
        return end(&program, done.and_then(import::run));
    }
    let done = match config::parse(&words, environment) {
        Ok(Request::Check) => Ok(()),
        Ok(Request::Help(text)) => print(&text),
        Ok(Request::Version) => print(&version()),
        Ok(Request::Serve(config)) => serve(&program, &config),
        Err(refused) => Err(explain(&program, refused)),
    };
    end(&program, done)
}

fn end(program: &str, done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            tell_stderr(&format!("{program}: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// gearmand's shape: a line feed, then name, version and where bugs go.
fn version() -> String {
    format!("\ngearshard {} - README.md says where to report bugs\n", env!("CARGO_PKG_VERSION"))
}

/// gearmand's message, and for a person at a terminal what to do about it.
fn explain(program: &str, refused: Refused) -> String {
    match refused.hint {
        Some(hint) if io::stderr().is_terminal() => format!("{}\n{program}: {hint}", refused.message),
        _ => refused.message,
    }
}

fn print(text: &str) -> Result<(), String> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // As in `--help | head -1`: the reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| format!("cannot write to standard output: {}", reason(&error))),
    }
}

fn serve(program: &str, config: &Config) -> Result<(), String> {
    if let Some(reason) = &config.unbuilt {
        return Err(reason.clone());
    }
    process::refuse_huge_pages();
    process::allow_descriptors(config.process.file_descriptors)?;
    if config.process.coredump {
        process::allow_core_file()?;
    }
    if let Some(user) = &config.process.user {
        process::become_user(user)?;
    }
    let starting = match config.process.daemon {
        true => Some(
            daemon::detach()
                .map_err(|error| format!("Could not go to the background. ({})", reason(&error)))?,
        ),
        false => None,
    };
    let signals =
        Signals::catch().map_err(|error| format!("Could not catch signals. ({})", reason(&error)))?;
    let pid_file = write_pid_file(&config.process.pid_file)?.map(Arc::new);
    if let Some(pid_file) = &pid_file {
        signals.remove_at_end(pid_file);
    }
    let log = LogWriter::open(&config.log, program);
    signals.reopen(&log);
    run(config, &log, &signals, starting).map_err(|message| {
        // The caller tells standard error.
        if !log.is_stderr() {
            log.sink()(Level::Error, format_args!("{message}"));
        }
        message
    })
}

fn run(
    config: &Config,
    log: &LogWriter,
    signals: &Signals,
    starting: Option<Starting>,
) -> Result<(), String> {
    let sink = log.sink();
    let options = options(config, log).map_err(|error| error.to_string())?;
    sink(
        Level::Info,
        format_args!(
            "Starting up with pid {}, verbose is set to {}",
            std::process::id(),
            config.log.level.name()
        ),
    );
    // A port in use is tried for a while, which a person should know.
    log.show_warnings(io::stderr().is_terminal());
    let bound = Server::bind(options);
    log.show_warnings(false);
    let server = bound.map_err(|error| error.to_string())?;
    introduce(config, log, &server);
    signals.control(server.control());
    if let Some(starting) = starting {
        starting
            .ready()
            .map_err(|error| format!("Could not let go of the terminal. ({})", reason(&error)))?;
    }
    if config.trial {
        try_out(&server)?;
    }
    server.run().map_err(|error| error.to_string())
}

/// Has a thread of its own play client and worker, while this one serves them.
fn try_out(server: &Server) -> Result<(), String> {
    let address = server.local_addresses().iter().find_map(LocalAddress::tcp);
    let mut address = address.ok_or("--try needs a TCP address to --listen on")?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let trial = move || {
        let seen = trial::first_job(address, |step| tell_stderr(&step.to_string()));
        tell_stderr(&match seen {
            Ok(()) => format!("The server works; it goes on serving {address}. Ctrl-C ends it."),
            Err(error) => format!("The trial job did not come through: {error}"),
        });
    };
    let started = std::thread::Builder::new().name("trial".to_owned()).spawn(trial);
    started.map(drop).map_err(|error| format!("Could not start a thread. ({})", reason(&error)))
}

/// As gearmand: only a pid file that somebody asked for has to be there.
fn write_pid_file(path: &Path) -> Result<Option<PidFile>, String> {
    match PidFile::create(path) {
        Ok(pid_file) => Ok(Some(pid_file)),
        Err(_) if path == Path::new(config::DEFAULT_PID_FILE) => Ok(None),
        Err(error) => {
            let path = path.display();
            Err(format!("Could not open pid file for writing: {path} ({})", reason(&error)))
        }
    }
}

fn options(config: &Config, log: &LogWriter) -> io::Result<Options> {
    let port = config.port_number()?;
    let listen = match &config.listen[..] {
        [] => vec![Listen::Any { port }],
        listen => listen.iter().map(|text| Listen::parse(text, port)).collect(),
    };
    let limits = &config.limits;
    Ok(Options {
        listen,
        backlog: config.backlog,
        shards: config.threads,
        pin: config.pin,
        settings: settings(config),
        store: config.store.clone(),
        keepalive: config.keepalive,
        max_connections: (limits.connections > 0).then_some(limits.connections),
        max_memory: limits.memory_bytes,
        max_queue_memory: limits.queue_memory_bytes,
        packet_bytes_max: limits.packet_bytes,
        write_buffer_max: limits.write_buffer_bytes,
        write_stall: limits.write_stall,
        packet_timeout: limits.packet_timeout,
        log: log.sink(),
        ..Options::default()
    })
}

fn settings(config: &Config) -> Settings {
    let shards = match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        shards => shards.into(),
    };
    let prefix = config.handle_prefix.clone().unwrap_or_else(|| format!("H:{}", process::host_name()));
    Settings {
        handle_prefix: HandlePrefix::new(&prefix),
        wakeup: config.wakeup,
        retries: config.retries,
        policies: config.policies.clone(),
        dead_max: config.dead_max,
        exceptions: config.exceptions,
        verbose: config.log.level.name().to_owned(),
        pid: std::process::id(),
        report_accepted: config.log.level >= Level::Notice,
        worker_functions_max: config.limits.functions_per_worker,
        // Names spread over the shards, but not quite evenly.
        functions_max: config.limits.functions.div_ceil(shards),
        ..Settings::default()
    }
}

/// Says what was started, in the log, and to a person who may not see the log.
fn introduce(config: &Config, log: &LogWriter, server: &Server) {
    let sink = log.sink();
    let banner = banner::lines(config, server);
    let warnings = banner::warnings(config, server);
    banner.iter().for_each(|line| sink(Level::Info, format_args!("{}", line.trim_start())));
    warnings.iter().for_each(|warning| sink(Level::Warning, format_args!("{warning}")));
    let log_shows_it = log.is_stderr() && log.shows(Level::Info);
    if !log_shows_it && (log.is_stderr() || io::stderr().is_terminal()) {
        banner.iter().for_each(|line| tell_stderr(line));
        let seen = log.is_stderr() && log.shows(Level::Warning);
        warnings.iter().filter(|_| !seen).for_each(|warning| tell_stderr(&format!("  warning    {warning}")));
    }
}
