//! What the server is told: command line, config file and environment.
//!
//! The options are gearmand's, with ours on top (gearmand-spec.md, sections 14
//! and 15). Nothing here opens a socket, starts a thread or creates a file:
//! `--check-args` must leave no trace. What a value means for the server is
//! decided by whoever reads the [`Config`].

mod file;
mod memory;
mod options;
mod port;
mod read;
mod stores;
mod values;
mod words;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::server::log::Level;
use crate::server::{EngineOptions, Keepalive, StoreOptions};
use crate::shard::settings::{Policies, Retries, Wakeup};

pub use memory::available as memory_available;
pub use options::{DEFAULT_BACKLOG, DEFAULT_CONFIG_FILE, DEFAULT_LOG_FILE, DEFAULT_PID_FILE, DEFAULT_PORT};
pub use read::{parse, parse_import};
pub use values::show_size;
pub use words::Refused;

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// `--check-args`: the options are good; do nothing.
    Check,
    /// `--help`: print this text.
    Help(String),
    /// `--version`.
    Version,
    /// Run the server.
    Serve(Box<Config>),
}

/// What the words behind `gearshard import` ask for.
#[derive(Debug)]
pub enum ImportRequest {
    /// `--help`.
    Help,
    /// Bring jobs into a log.
    Import {
        /// From where.
        source: EngineOptions,
        /// The directory of the log.
        directory: PathBuf,
        /// Number of shards; 0 is one for every core.
        threads: u16,
    },
}

/// How to run the server.
#[derive(Debug)]
pub struct Config {
    /// Every `--listen`; none means every address of the machine.
    pub listen: Vec<String>,
    /// Number or name of the port for addresses without their own.
    pub port: String,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// TCP keepalive; the system's values unless `--keepalive` was given.
    pub keepalive: Keepalive,
    /// How often a job is tried.
    pub retries: Retries,
    /// The same for single functions, and when.
    pub policies: Policies,
    /// Dead letters of a function.
    pub dead_max: usize,
    /// What handles start with; without one, `H:` and the host's name.
    pub handle_prefix: Option<String>,
    /// How many sleepers a job wakes.
    pub wakeup: Wakeup,
    /// Whether every connection gets exceptions.
    pub exceptions: bool,
    /// Number of shards; 0 is one for every core.
    pub threads: u16,
    /// Whether shards stay on their cores.
    pub pin: bool,
    /// Whether to see one job through after the start.
    pub trial: bool,
    /// Bounds on what peers can make the server hold.
    pub limits: Limits,
    /// How it lives among the system's processes.
    pub process: Process,
    /// Where it says what it does.
    pub log: LogTo,
    /// Where background jobs are kept; `None` is memory.
    pub store: Option<StoreOptions>,
    /// Why this version cannot run it, when options ask for what is not built in.
    pub unbuilt: Option<String>,
    /// Options that were given and do nothing, each as a sentence.
    pub warnings: Vec<String>,
}

impl Config {
    /// The number of [`port`](Self::port).
    pub fn port_number(&self) -> io::Result<u16> {
        port::port_number(&self.port)
    }
}

/// Bounds on what peers can make the server hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; 0 is what the descriptors allow.
    pub connections: usize,
    /// Bytes of the largest packet.
    pub packet_bytes: u32,
    /// Bytes of jobs and buffers; `None` is no limit.
    pub memory_bytes: Option<u64>,
    /// Bytes of jobs above which workloads are in the log only; `None` is no bound.
    pub queue_memory_bytes: Option<u64>,
    /// Bytes that may wait for one peer.
    pub write_buffer_bytes: usize,
    /// How long such a peer may read nothing.
    pub write_stall: Duration,
    /// When a packet must be complete; zero is never.
    pub packet_timeout: Duration,
    /// Functions of one worker.
    pub functions_per_worker: usize,
    /// Functions of the server.
    pub functions: usize,
}

/// How the server lives among the system's processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Whether to go to the background.
    pub daemon: bool,
    /// Where the process id is written.
    pub pid_file: PathBuf,
    /// Whom to become.
    pub user: Option<String>,
    /// Descriptors to allow; 0 is all that are allowed.
    pub file_descriptors: u64,
    /// Whether a crash leaves a core file.
    pub coredump: bool,
}

/// Where the server says what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTo {
    /// The main destination.
    pub target: LogTarget,
    /// The least grave level that is written.
    pub level: Level,
    /// Whether syslog gets every line too.
    pub syslog: bool,
}

/// The main destination of log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// Nowhere.
    None,
    /// A file, opened for appending.
    File(PathBuf),
}

/// The environment, as far as it is asked for.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;
