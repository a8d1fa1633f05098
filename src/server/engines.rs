//! The engine of each queue type that is gearmand's.

use super::options::EngineOptions;
use crate::storage::rows::{Engine, EngineError};

/// Connects to the engine that these options name.
///
/// # Errors
/// When it cannot be used, or is not built in.
pub(super) fn open(options: &EngineOptions) -> Result<Box<dyn Engine>, EngineError> {
    match options {
        #[cfg(feature = "memcached")]
        EngineOptions::Memcached { servers, prefix } => {
            use crate::storage::rows::memcached::Memcached;
            Ok(Box::new(Memcached::open(servers, prefix)?))
        }
        #[cfg(feature = "mysql")]
        EngineOptions::MySql { host, port, user, password, database, table } => {
            use crate::storage::rows::mysql::{Login, MySql};
            Ok(Box::new(MySql::open(&Login { host, port: *port, user, password, database }, table)?))
        }
        #[cfg(feature = "postgres")]
        EngineOptions::Postgres { conninfo, table } => {
            use crate::storage::rows::postgres::Postgres;
            Ok(Box::new(Postgres::open(conninfo, table)?))
        }
        #[cfg(feature = "redis")]
        EngineOptions::Redis { server, port, password, prefix } => {
            use crate::storage::rows::redis::Redis;
            Ok(Box::new(Redis::open(server, *port, password, prefix)?))
        }
        #[cfg(feature = "sqlite")]
        EngineOptions::Sqlite { file, table, .. } => {
            use crate::storage::rows::sqlite::Sqlite;
            Ok(Box::new(Sqlite::open(file, table)?))
        }
        #[allow(unreachable_patterns, reason = "it depends on the features")]
        other => Err(EngineError::Refused(format!("{} is not built into this version", other.queue_type()))),
    }
}

/// As [`open`], one for each of so many shards.
///
/// # Errors
/// As [`open`].
pub(super) fn open_for(options: &EngineOptions, shards: u16) -> Result<Vec<Box<dyn Engine>>, EngineError> {
    match options {
        // A file takes one writer at a time, and they are to take turns.
        #[cfg(feature = "sqlite")]
        EngineOptions::Sqlite { file, table, .. } => {
            use crate::storage::rows::{shared::Shared, sqlite::Sqlite};
            let shared = Shared::new(Sqlite::open(file, table)?, Sqlite::holds);
            Ok((0..shards).map(|_| Box::new(shared.clone()) as Box<dyn Engine>).collect())
        }
        other => (0..shards).map(|_| open(other)).collect(),
    }
}
