//! What a server is told before it starts.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::log::Log;
use crate::shard::settings::Settings;
pub use crate::storage::writer::Durability;

/// Gearman's port.
pub const PORT: u16 = 4730;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Every address of this machine, IPv4 and IPv6.
    Any {
        /// TCP port; 0 takes a free one.
        port: u16,
    },
    /// Every address that a name or a literal address stands for.
    Host {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// TCP port; 0 takes a free one.
        port: u16,
    },
    /// A unix stream socket.
    Unix(PathBuf),
}

impl Listen {
    /// Reads `host`, `host:port`, `::1`, `[::1]`, `[::1]:port` or `unix:/path`.
    #[must_use]
    pub fn parse(text: &str, port: u16) -> Self {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::Unix(path.into());
        }
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, given) = match bracketed {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => match text.split_once(':') {
                Some((host, rest)) if !rest.contains(':') => (host, Some(rest)),
                _ => (text, None),
            },
        };
        match given.map(str::parse) {
            None => Self::Host { host: host.to_owned(), port },
            Some(Ok(port)) => Self::Host { host: host.to_owned(), port },
            // Not a port: let the resolver say what is wrong with the whole.
            Some(Err(_)) => Self::Host { host: text.to_owned(), port },
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any { port } => write!(f, "any address, port {port}"),
            Self::Host { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// TCP keepalive of accepted connections; it is always on. `None` leaves a
/// value to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// Unanswered probes after which the connection is given up.
    pub count: Option<u32>,
}

/// What a server does when its log cannot be written or synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It ends.
    Stop,
    /// It refuses background jobs and serves everything else.
    Refuse,
}

/// Where background jobs are kept, and how safely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOptions {
    /// A log of our own.
    Log {
        /// The directory of the log; made if it is not there. One server at a time.
        directory: PathBuf,
        /// When a job is safe.
        durability: Durability,
        /// What becomes of the server when the disk fails.
        on_failure: OnFailure,
    },
    /// A row for each job, as gearmand keeps them. A job is safe when the engine says so.
    Rows(EngineOptions),
}

/// Whose rows, and how to reach them. Texts that nobody has given are empty.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineOptions {
    /// `libsqlite3`.
    Sqlite {
        /// The database; made if it is not there.
        file: PathBuf,
        /// The table; made if it is not there.
        table: String,
        /// Write nothing until the server ends.
        on_shutdown: bool,
    },
    /// `Postgres`.
    Postgres {
        /// libpq's connection string.
        conninfo: String,
        /// The table; made if it is not there.
        table: String,
    },
    /// `MySQL`.
    MySql {
        /// Name or address of the server.
        host: String,
        /// Its TCP port.
        port: u16,
        /// Who logs in.
        user: String,
        /// With which password.
        password: String,
        /// The database.
        database: String,
        /// The table; made if it is not there.
        table: String,
    },
    /// `redis`.
    Redis {
        /// Name or address of the server.
        server: String,
        /// Its TCP port.
        port: u16,
        /// The password.
        password: String,
        /// What keys start with.
        prefix: String,
    },
    /// `libmemcached`.
    Memcached {
        /// libmemcached's list of servers.
        servers: String,
        /// What keys start with.
        prefix: String,
    },
}

// Passwords stay out of logs.
impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.queue_type())
    }
}

impl EngineOptions {
    /// gearmand's name of the queue type.
    #[must_use]
    pub const fn queue_type(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "libsqlite3",
            Self::Postgres { .. } => "Postgres",
            Self::MySql { .. } => "MySQL",
            Self::Redis { .. } => "redis",
            Self::Memcached { .. } => "libmemcached",
        }
    }
}

/// Everything a server needs to know; the defaults are those of the command line.
#[derive(Clone)]
pub struct Options {
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Connections that the kernel keeps until they are accepted.
    pub backlog: u32,
    /// For how long an address in use is tried again; zero tries once.
    pub bind_patience: Duration,
    /// Event loops; 0 for one a core. Overrides `settings.shards`.
    pub shards: u16,
    /// Whether several shards are pinned to a core each, where that is allowed.
    pub pin: bool,
    /// What the shards are told.
    pub settings: Settings,
    /// Where background jobs are kept; `None` keeps them in memory only.
    /// Overrides `settings.durable`.
    pub store: Option<StoreOptions>,
    /// TCP keepalive.
    pub keepalive: Keepalive,
    /// Connections at a time; `None` for as many as the descriptor limit
    /// allows, less some for everything else.
    pub max_connections: Option<usize>,
    /// Bytes of jobs and unsent or unfinished packets in all above which
    /// submits are refused; `None` for no ceiling.
    pub max_memory: Option<u64>,
    /// Bytes of jobs in all above which the workloads of those that wait in the
    /// log are only there; `None` for no bound. Of no use without a log.
    pub max_queue_memory: Option<u64>,
    /// The longest packet body; at most [`RELAYED_BODY_BYTES_MAX`](crate::protocol::encode::RELAYED_BODY_BYTES_MAX) counts.
    pub packet_bytes_max: u32,
    /// A connection with so many unsent bytes is cut rather than given more.
    pub write_buffer_max: usize,
    /// A connection that takes none of its unsent bytes for so long is cut.
    pub write_stall: Duration,
    /// A connection that gets on too slowly with an unfinished packet for so
    /// long is cut; zero switches this off.
    pub packet_timeout: Duration,
    /// Where log lines go.
    pub log: Log,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Any { port: PORT }],
            backlog: 1024,
            bind_patience: Duration::from_secs(20),
            shards: 0,
            pin: true,
            settings: Settings::default(),
            store: None,
            keepalive: Keepalive::default(),
            max_connections: None,
            max_memory: None,
            max_queue_memory: None,
            packet_bytes_max: 1 << 30,
            write_buffer_max: 64 << 20,
            write_stall: Duration::from_secs(30),
            packet_timeout: Duration::from_secs(60),
            log: Arc::new(|_, _| ()),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_read_as_users_write_them() {
        let host = |host: &str, port| Listen::Host { host: host.to_owned(), port };
        let cases = [
            ("localhost", host("localhost", 7)),
            ("localhost:80", host("localhost", 80)),
            ("127.0.0.1", host("127.0.0.1", 7)),
            ("::1", host("::1", 7)),
            ("[::1]", host("::1", 7)),
            ("[::1]:80", host("::1", 80)),
            ("host:http", host("host:http", 7)),
            ("unix:/run/g.sock", Listen::Unix("/run/g.sock".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(Listen::parse(text, 7), expected, "{text}");
        }
        assert_eq!(host("::1", 80).to_string(), "[::1]:80");
    }
}
