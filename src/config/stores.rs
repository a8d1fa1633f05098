//! Which store jobs are kept in, and its options.
//!
//! Names and defaults of gearmand's stores are gearmand's (gearmand-spec.md,
//! section 14); what an option's text means is for the store to say.

use std::path::PathBuf;

use super::read::Given;
use super::values::{durability, on_failure};
use super::words::Refused;
use crate::server::{Durability, EngineOptions, OnFailure, StoreOptions};

/// A queue type that `--queue-type` knows; the case of letters does not matter.
struct QueueType {
    name: &'static str,
    /// The start of its options' names.
    options: &'static str,
    /// What builds it; nothing ever builds those without.
    feature: Option<&'static str>,
    built: bool,
}

const fn queue_type(
    name: &'static str,
    options: &'static str,
    feature: Option<&'static str>,
    built: bool,
) -> QueueType {
    QueueType { name, options, feature, built }
}

/// The log on disk.
const WAL: &str = "wal";

const QUEUE_TYPES: [QueueType; 9] = [
    queue_type("builtin", "", None, true),
    queue_type(WAL, "wal", None, true),
    queue_type("libsqlite3", "libsqlite3", Some("sqlite"), cfg!(feature = "sqlite")),
    queue_type("Postgres", "libpq", Some("postgres"), cfg!(feature = "postgres")),
    queue_type("MySQL", "mysql", Some("mysql"), cfg!(feature = "mysql")),
    queue_type("redis", "redis", Some("redis"), cfg!(feature = "redis")),
    queue_type("libmemcached", "libmemcached", Some("memcached"), cfg!(feature = "memcached")),
    queue_type("libtokyocabinet", "libtokyocabinet", None, false),
    queue_type("libdrizzle", "libdrizzle", None, false),
];

fn chosen(given: &Given) -> Result<Option<&'static QueueType>, Refused> {
    let name = given.text("queue-type")?.unwrap_or_else(|| "builtin".to_owned());
    Ok(QUEUE_TYPES.iter().find(|known| known.name.eq_ignore_ascii_case(&name)))
}

/// The queue type that an option belongs to.
pub(super) fn queue_of(option: &str) -> Option<&'static str> {
    let start = match option {
        "durability" | "wal-failure" => WAL,
        "store-queue-on-shutdown" => "libsqlite3",
        _ => option.split_once('-')?.0,
    };
    QUEUE_TYPES.iter().find(|known| known.options == start).map(|known| known.name)
}

/// Why the queue type cannot be had, if it cannot.
pub(super) fn unbuilt(given: &Given) -> Result<Option<String>, Refused> {
    let asked = given.text("queue-type")?.unwrap_or_default();
    Ok(match chosen(given)? {
        None => Some(format!("Error while initializing the queue : {asked}")),
        Some(QueueType { built: true, .. }) => None,
        Some(QueueType { feature: Some(feature), .. }) => Some(format!(
            "--queue-type={asked} is not built into this version; build one that has it with `cargo build \
             --release --features {feature}`, or keep jobs in a log with --queue-type=wal --wal-dir=DIR"
        )),
        Some(QueueType { feature: None, .. }) => Some(format!(
            "--queue-type={asked} is not built into this version; choose another, such as --queue-type=wal \
             --wal-dir=DIR"
        )),
    })
}

/// Where background jobs are kept; `None` is memory.
pub(super) fn store(given: &Given) -> Result<Option<StoreOptions>, Refused> {
    // Bad values are refused whether or not they are used, as in gearmand.
    let log_durability = given.get("durability", |value| durability("durability", value))?;
    let on_failure = given.get("wal-failure", |value| on_failure("wal-failure", value))?;
    let mysql_port = port(given, "mysql-port", 3306)?;
    let redis_port = port(given, "redis-port", 6379)?;
    let Some(QueueType { name, built: true, .. }) = chosen(given)? else { return Ok(None) };
    let text = |option: &str, default: &str| -> Result<String, Refused> {
        Ok(given.text(option)?.unwrap_or_else(|| default.to_owned()))
    };
    Ok(Some(StoreOptions::Rows(match *name {
        WAL => {
            let directory = path(given, "wal-dir", "DIR, the directory to keep jobs in")?;
            let durability = log_durability.unwrap_or(Durability::Always);
            let on_failure = on_failure.unwrap_or(OnFailure::Stop);
            return Ok(Some(StoreOptions::Log { directory, durability, on_failure }));
        }
        "libsqlite3" => EngineOptions::Sqlite {
            file: path(given, "libsqlite3-db", "FILE, the database to keep jobs in")?,
            table: text("libsqlite3-table", "gearman_queue")?,
            on_shutdown: given.flag("store-queue-on-shutdown"),
        },
        "Postgres" => EngineOptions::Postgres {
            conninfo: text("libpq-conninfo", "")?,
            table: text("libpq-table", "queue")?,
        },
        "MySQL" => EngineOptions::MySql {
            host: text("mysql-host", "localhost")?,
            port: mysql_port,
            user: text("mysql-user", "")?,
            password: text("mysql-password", "")?,
            database: text("mysql-db", "")?,
            table: text("mysql-table", "gearman_queue")?,
        },
        "redis" => EngineOptions::Redis {
            server: text("redis-server", "127.0.0.1")?,
            port: redis_port,
            password: text("redis-password", "")?,
            prefix: text("redis-prefix", "_gear_")?,
        },
        "libmemcached" => EngineOptions::Memcached {
            servers: text("libmemcached-servers", "")?,
            prefix: text("libmemcached-prefix", "gear_")?,
        },
        _ => return Ok(None),
    })))
}

/// The store to import from, and the directory of the log to import into.
pub(super) fn import(given: &Given) -> Result<(EngineOptions, PathBuf), Refused> {
    if let Some(reason) = unbuilt(given)? {
        return Err(Refused::option("queue-type", reason));
    }
    let Some(StoreOptions::Rows(source)) = store(given)? else {
        let message =
            "import needs --queue-type with one of gearmand's stores and its options, to import from";
        return Err(Refused::option("queue-type", message.to_owned()));
    };
    let directory = given.get("wal-dir", |value| Ok(PathBuf::from(value)))?;
    let directory = directory.filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| {
        let message = "import needs --wal-dir=DIR, the directory of the log to import into".to_owned();
        Refused::option("wal-dir", message)
    })?;
    Ok((source, directory))
}

fn port(given: &Given, option: &str, default: u16) -> Result<u16, Refused> {
    let port = given.number(option, 0..=65_535)?;
    Ok(port.and_then(|port| u16::try_from(port).ok()).unwrap_or(default))
}

/// The path that a queue type cannot do without.
fn path(given: &Given, option: &str, what: &str) -> Result<PathBuf, Refused> {
    let path = given.get(option, |value| Ok(PathBuf::from(value)))?;
    path.filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| {
        let queue = queue_of(option).unwrap_or_default();
        Refused::option(option, format!("--queue-type={queue} needs --{option}={what}"))
    })
}
