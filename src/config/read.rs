//! From words to a [`Config`].
//!
//! The order is gearmand's: the command line is split into options, then the
//! config file, then values are checked. What the command line gives, the file
//! does not change.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::file::ConfigFile;
use super::values::{duration, invalid, number, percentage, policy, size};
use super::words::{self, Refused};
use super::{
    Config, Environment, ImportRequest, Limits, LogTarget, LogTo, Process, Request, memory_available,
    options, stores,
};
use crate::protocol::handle::PREFIX_BYTES_MAX;
use crate::server::Keepalive;
use crate::server::log::{Level, reason};
use crate::shard::ids::SHARDS_MAX;
use crate::shard::settings::{Retries, Wakeup};

const U32: RangeInclusive<i64> = 0..=u32::MAX as i64;
/// Reads the command line without the program's name, and the config file.
pub fn parse(words: &[OsString], environment: Environment<'_>) -> Result<Request, Refused> {
    let given = given(words)?;
    let config = config(&given, environment)?;
    Ok(if given.flag(options::CHECK_ARGS) {
        Request::Check
    } else if given.flag("help") {
        Request::Help(options::command_line().render_help().to_string())
    } else if given.flag("version") {
        Request::Version
    } else {
        Request::Serve(Box::new(config))
    })
}

/// Reads the words behind `gearshard import`, which are a server's, and the
/// config file. Only what says where from and where to counts.
pub fn parse_import(words: &[OsString]) -> Result<ImportRequest, Refused> {
    let given = given(words)?;
    if given.flag("help") {
        return Ok(ImportRequest::Help);
    }
    let (source, directory) = stores::import(&given)?;
    Ok(ImportRequest::Import { source, directory, threads: threads(&given)? })
}

fn given(words: &[OsString]) -> Result<Given, Refused> {
    let command_line = Part(words::parse(options::command_line(), words)?);
    let mut given = Given { command_line, file: None, unread: None };
    open_config_file(&mut given)?;
    Ok(given)
}

fn threads(given: &Given) -> Result<u16, Refused> {
    Ok(given.count("threads", 0, 0..=SHARDS_MAX as i64)? as u16)
}

/// What was given, and where.
pub(super) struct Given {
    command_line: Part,
    file: Option<(ConfigFile, Part)>,
    /// Why the default config file, which is there, does not count.
    unread: Option<String>,
}

/// The options of one source.
struct Part(ArgMatches);

impl Part {
    fn values(&self, option: &str) -> Vec<OsString> {
        self.0.get_many(option).into_iter().flatten().cloned().collect()
    }

    fn has(&self, option: &str) -> bool {
        // The config file does not know every option.
        self.0.try_contains_id(option).unwrap_or(false)
            && self.0.value_source(option) == Some(ValueSource::CommandLine)
    }
}

impl Given {
    pub(super) fn flag(&self, option: &str) -> bool {
        self.command_line.has(option) || self.file.as_ref().is_some_and(|(_, part)| part.has(option))
    }

    /// All values of `option`, checked. Those of the file only when the command
    /// line has none; a refusal then says where in the file.
    fn all<T>(&self, option: &str, check: impl Fn(&OsStr) -> Result<T, Refused>) -> Result<Vec<T>, Refused> {
        if self.command_line.has(option) {
            return self.command_line.values(option).iter().map(|value| check(value)).collect();
        }
        let Some((file, part)) = self.file.as_ref().filter(|(_, part)| part.has(option)) else {
            return Ok(Vec::new());
        };
        let values: Result<Vec<T>, Refused> = part.values(option).iter().map(|value| check(value)).collect();
        values.map_err(|refused| in_file(refused, file))
    }

    pub(super) fn get<T>(
        &self,
        option: &str,
        check: impl Fn(&OsStr) -> Result<T, Refused>,
    ) -> Result<Option<T>, Refused> {
        Ok(self.all(option, check)?.pop())
    }

    pub(super) fn text(&self, option: &str) -> Result<Option<String>, Refused> {
        self.get(option, |value| Ok(value.to_string_lossy().into_owned()))
    }

    pub(super) fn number(&self, option: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Refused> {
        self.get(option, |value| number(option, value, range.clone()))
    }

    /// A count that is not negative.
    pub(super) fn count(
        &self,
        option: &str,
        default: usize,
        range: RangeInclusive<i64>,
    ) -> Result<usize, Refused> {
        let given = self.number(option, range)?;
        Ok(given.map_or(default, |count| usize::try_from(count).expect("the range has no negative number")))
    }

    fn size(&self, option: &str, default: u64, range: RangeInclusive<u64>) -> Result<u64, Refused> {
        Ok(self.get(option, |value| size(option, value, range.clone()))?.unwrap_or(default))
    }

    fn duration(&self, option: &str, default: Duration) -> Result<Duration, Refused> {
        Ok(self.get(option, |value| duration(option, value))?.unwrap_or(default))
    }
}

fn in_file(refused: Refused, file: &ConfigFile) -> Refused {
    let place = file.place(&refused.about);
    Refused { message: format!("{} ({place})", refused.message), ..refused }
}

fn open_config_file(given: &mut Given) -> Result<(), Refused> {
    let path = given.get("config-file", |value| Ok(PathBuf::from(value)))?;
    let path = path.unwrap_or_else(|| options::DEFAULT_CONFIG_FILE.into());
    let is_default = path == Path::new(options::DEFAULT_CONFIG_FILE);
    let file = match ConfigFile::open(&path) {
        Ok(file) => file,
        // As gearmand: nobody has to have the default file.
        Err(error) if is_default && error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let why = format!("{}: {}", path.display(), reason(&error));
            if is_default {
                given.unread = Some(format!("{why}; its options do not count"));
                return Ok(());
            }
            let message = "Could not open configuration file.".to_owned();
            return Err(Refused { message, about: "--config-file".to_owned(), hint: Some(why) });
        }
    };
    let matches = words::parse(options::config_file(), &file.words);
    let part = Part(matches.map_err(|refused| in_file(refused, &file))?);
    given.file = Some((file, part));
    Ok(())
}

fn config(given: &Given, environment: Environment<'_>) -> Result<Config, Refused> {
    Ok(Config {
        log: log(given)?,
        listen: given.all("listen", |value| Ok(value.to_string_lossy().into_owned()))?,
        port: port(given, environment)?,
        backlog: given
            .number("backlog", 0..=i64::from(i32::MAX))?
            .map_or(options::DEFAULT_BACKLOG, |n| n as u32),
        keepalive: keepalive(given)?,
        retries: retries(given)?,
        policies: given.all("retry", |value| policy("retry", value))?.into_iter().collect(),
        dead_max: given.count("max-dead", 100_000, U32)?,
        handle_prefix: given.get("job-handle-prefix", handle_prefix)?,
        wakeup: wakeup(given)?,
        exceptions: given.flag("exceptions"),
        threads: threads(given)?,
        pin: !given.flag("no-pin"),
        trial: given.flag("try"),
        limits: limits(given)?,
        process: process(given)?,
        store: stores::store(given)?,
        unbuilt: unbuilt(given)?,
        warnings: warnings(given),
    })
}

fn log(given: &Given) -> Result<LogTo, Refused> {
    let level = given.get("verbose", |value| {
        let message = "Invalid value for --verbose supplied".to_owned();
        value.to_str().and_then(Level::from_name).ok_or_else(|| Refused {
            hint: Some(format!("--verbose takes one of {}", Level::ALL.map(Level::name).join(", "))),
            ..Refused::option("verbose", message)
        })
    })?;
    let target = given.get("log-file", |value| {
        Ok(match value.to_str() {
            Some("stderr") => LogTarget::Stderr,
            Some("none") => LogTarget::None,
            _ => LogTarget::File(value.into()),
        })
    })?;
    Ok(LogTo {
        target: target.unwrap_or_else(|| LogTarget::File(options::DEFAULT_LOG_FILE.into())),
        level: level.unwrap_or(Level::Error),
        syslog: given.flag("syslog"),
    })
}

/// As gearmand: the environment counts when the port is the default one, even
/// when that was given.
fn port(given: &Given, environment: Environment<'_>) -> Result<String, Refused> {
    let port = given.get("port", |value| {
        let text = value.to_str().filter(|text| !text.is_empty());
        let text =
            text.filter(|text| text.parse::<u16>().is_ok() || !text.bytes().all(|b| b.is_ascii_digit()));
        let allowed = "a port is a number up to 65535, or the name of a service";
        text.map(str::to_owned).ok_or_else(|| invalid("port", value, Some(allowed)))
    })?;
    let port = port.unwrap_or_else(|| options::DEFAULT_PORT.to_owned());
    let from_environment = environment("GEARMAND_PORT").filter(|value| !value.is_empty());
    Ok(match from_environment {
        Some(value) if port == options::DEFAULT_PORT => value.to_string_lossy().into_owned(),
        _ => port,
    })
}

fn keepalive(given: &Given) -> Result<Keepalive, Refused> {
    // -1 is the system's; 0 is refused by the kernel, so it is refused here.
    let value = |option: &str, allowed: &str| {
        given.get(option, |value| match number(option, value, -1..=32_767)? {
            0 => Err(invalid(option, value, Some(allowed))),
            -1 => Ok(None),
            n => Ok(Some(n as u32)),
        })
    };
    const SECONDS: &str = "it is a number of seconds, or -1 for the system's";
    let idle = value("keepalive-idle", SECONDS)?.flatten();
    let interval = value("keepalive-interval", SECONDS)?.flatten();
    let count = value("keepalive-count", "it is a number of probes, or -1 for the system's")?.flatten();
    let seconds = |n: Option<u32>| n.map(|n| Duration::from_secs(n.into()));
    if !given.flag("keepalive") {
        return Ok(Keepalive::default());
    }
    Ok(Keepalive { idle: seconds(idle), interval: seconds(interval), count })
}

fn retries(given: &Given) -> Result<Retries, Refused> {
    let given =
        given.get("job-retries", |value| match number("job-retries", value, i64::MIN..=i64::MAX)? {
            -1 => Ok(Retries::Unlimited),
            n @ 0..=255 => Ok(Retries::Attempts(n as u32)),
            _ => {
                let message = "job-retries must be -1 (no limit), 0 (no retries), or between 1 and 255";
                Err(Refused::option("job-retries", message.to_owned()))
            }
        })?;
    Ok(given.unwrap_or(Retries::Unlimited))
}

fn handle_prefix(value: &OsStr) -> Result<String, Refused> {
    let text = value.to_str().filter(|text| text.len() <= PREFIX_BYTES_MAX);
    let allowed = format!("at most {PREFIX_BYTES_MAX} bytes of text, to leave room for the number of a job");
    text.map(str::to_owned).ok_or_else(|| invalid("job-handle-prefix", value, Some(&allowed)))
}

fn wakeup(given: &Given) -> Result<Wakeup, Refused> {
    Ok(match given.number("worker-wakeup", U32)? {
        None => Wakeup::OnePerJob,
        Some(0) => Wakeup::All,
        Some(n) => Wakeup::Count(n as u32),
    })
}

fn limits(given: &Given) -> Result<Limits, Refused> {
    const K: u64 = 1 << 10;
    const M: u64 = 1 << 20;
    const G: u64 = 1 << 30;
    let packet_bytes = given.size("max-packet-size", G, K..=4 * G)?;
    let write_buffer = given.size("write-buffer", 64 * M, 64 * K..=64 * G)?;
    let memory_bytes = memory(given, "max-memory", memory_share(75))?;
    Ok(Limits {
        connections: given.count("max-connections", 0, U32)?,
        // The length field of a packet cannot say 4 GiB; the server takes a little less.
        packet_bytes: u32::try_from(packet_bytes).unwrap_or(u32::MAX),
        memory_bytes,
        queue_memory_bytes: memory(given, "max-queue-memory", memory_bytes.map(|bytes| bytes / 2))?,
        write_buffer_bytes: usize::try_from(write_buffer).unwrap_or(usize::MAX),
        write_stall: write_stall(given)?,
        packet_timeout: given.duration("packet-timeout", Duration::from_secs(60))?,
        functions_per_worker: given.count("functions-per-worker", 10_000, 1..=*U32.end())?,
        functions: given.count("max-functions", 1_000_000, 1..=*U32.end())?,
    })
}

/// Nobody can read in no time at all, so zero is refused rather than meant.
fn write_stall(given: &Given) -> Result<Duration, Refused> {
    let given = given.get("write-stall", |value| match duration("write-stall", value)? {
        Duration::ZERO => Err(invalid("write-stall", value, Some("it must be more than 0"))),
        stall => Ok(stall),
    })?;
    Ok(given.unwrap_or(Duration::from_secs(30)))
}

/// A number of bytes or a share of what there is; 0 is no bound.
fn memory(given: &Given, option: &str, default: Option<u64>) -> Result<Option<u64>, Refused> {
    let given = given.get(option, |value| {
        if let Some(percent) = percentage(value) {
            return Ok(memory_share(percent));
        }
        match size(option, value, 0..=u64::MAX)? {
            0 => Ok(None),
            bytes => Ok(Some(bytes)),
        }
    })?;
    Ok(given.unwrap_or(default))
}

fn memory_share(percent: u64) -> Option<u64> {
    memory_available().map(|bytes| bytes / 100 * percent)
}

fn process(given: &Given) -> Result<Process, Refused> {
    let buckets = given.number("hashtable-buckets", U32)?;
    if buckets == Some(0) {
        let message = "hashtable-buckets has to be greater than 0".to_owned();
        return Err(Refused::option("hashtable-buckets", message));
    }
    let pid_file = given.get("pid-file", |value| Ok(PathBuf::from(value)))?;
    Ok(Process {
        daemon: given.flag("daemon"),
        pid_file: pid_file.unwrap_or_else(|| options::DEFAULT_PID_FILE.into()),
        user: given.text("user")?,
        file_descriptors: given.count("file-descriptors", 0, U32)? as u64,
        coredump: given.flag("coredump"),
    })
}

/// The first thing that is asked for and cannot be had.
fn unbuilt(given: &Given) -> Result<Option<String>, Refused> {
    if let Some(reason) = stores::unbuilt(given)? {
        return Ok(Some(reason));
    }
    if given.flag("ssl") {
        return Ok(Some(
            "--ssl is not built into this version; leave it out, and let a TLS proxy listen in front"
                .to_owned(),
        ));
    }
    Ok(given.text("protocol")?.map(|name| match name.as_str() {
        "http" => "--protocol=http is not built into this version; leave it out".to_owned(),
        _ => format!("Unknown protocol module : {name}"),
    }))
}

/// Options that belong to one that was not given, and a file that could not be read.
fn warnings(given: &Given) -> Vec<String> {
    let queue = given.text("queue-type").ok().flatten();
    let belongs = |option: &str| match option.split_once('-').unwrap_or((option, "")) {
        ("ssl", _) => Some("--ssl".to_owned()),
        ("http", _) => Some("--protocol=http".to_owned()),
        ("keepalive", _) if !given.flag("keepalive") => Some("--keepalive".to_owned()),
        _ => stores::queue_of(option)
            .filter(|needed| queue.as_deref().is_none_or(|queue| !queue.eq_ignore_ascii_case(needed)))
            .map(|needed| format!("--queue-type={needed}")),
    };
    let command = options::command_line();
    let named =
        command.get_arguments().map(|argument| argument.get_id().as_str()).filter(|id| given.flag(id));
    let needs = named.filter_map(|option| belongs(option).map(|needed| (option, needed)));
    let needs = needs.map(|(option, needed)| format!("--{option} has no effect without {needed}"));
    needs.chain(given.unread.clone()).collect()
}
