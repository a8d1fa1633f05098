//! Options that scenarios share, by what they describe.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use clap::Args;

use super::Output;
use super::values::{address, payload_bytes, positive};
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::Target;
use crate::engine::run::Uniques;
use crate::engine::watch::Show;
use crate::engine::worker::{Grab, Worker};
use crate::process::Process;

/// What scenarios have that load a server with one function's jobs.
#[derive(Args, Clone, Debug)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) workers: Workers,
}

/// The server, and the generator itself.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// The server
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4730", value_parser = address, help_heading = "Server")]
    pub(crate) server: SocketAddr,
    /// Process id of the server, on this machine: measures its processor time, switches and memory
    #[arg(long, value_name = "PID", help_heading = "Server")]
    pub(crate) server_pid: Option<u32>,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, help_heading = "Generator")]
    pub(crate) threads: u32,
    /// Give up when the server says nothing for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, help_heading = "Generator")]
    pub(crate) patience: u64,
    /// Show how it is going on stderr even when that is not a terminal
    #[arg(long, conflicts_with = "quiet", help_heading = "Generator")]
    pub(crate) progress: bool,
    /// Never show how it is going
    #[arg(long, help_heading = "Generator")]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Common {
    pub(crate) fn target(&self) -> Target {
        Target {
            server: self.server,
            process: self.server_pid.map(Process),
            threads: self.threads as usize,
            patience: Duration::from_secs(self.patience),
            show: match (self.progress, self.quiet) {
                (true, _) => Show::Always,
                (_, true) => Show::Never,
                (false, false) => Show::OnTerminal,
            },
        }
    }
}

/// What the jobs are.
#[derive(Args, Clone, Debug)]
pub(crate) struct Jobs {
    /// Function name
    #[arg(long, value_name = "NAME", default_value = "loadgen", help_heading = "Jobs")]
    pub(crate) function: String,
    /// Bytes of payload, at least 16
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = payload_bytes, help_heading = "Jobs")]
    pub(crate) size: usize,
    /// Uniques of the jobs
    #[arg(long, value_enum, default_value = "each", help_heading = "Jobs")]
    pub(crate) unique: Uniques,
}

/// What jobs of several functions are called.
#[derive(Args, Clone, Debug)]
pub(crate) struct Names {
    /// Start of the functions' names
    #[arg(long, value_name = "NAME", default_value = "loadgen", help_heading = "Jobs")]
    pub(crate) function: String,
    /// Uniques of the jobs
    #[arg(long, value_enum, default_value = "each", help_heading = "Jobs")]
    pub(crate) unique: Uniques,
}

/// The submitting side.
#[derive(Args, Clone, Debug)]
pub(crate) struct Clients {
    /// Client connections
    #[arg(long, value_name = "C", default_value_t = 8, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) clients: u32,
    /// Jobs that each client keeps unanswered
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) inflight: u32,
}

impl Clients {
    /// The clients.
    pub(crate) fn roles(&self, mode: Mode) -> impl Iterator<Item = Client> {
        (0..self.clients).map(move |_| Client::new(mode, self.inflight))
    }
}

/// The working side.
#[derive(Args, Clone, Debug)]
pub(crate) struct Workers {
    /// Worker connections
    #[arg(long, value_name = "M", default_value_t = 16, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) workers: u32,
    /// GRAB_JOBs that each worker keeps unanswered while there are jobs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) grabs: u32,
    /// Which packet the workers ask with
    #[arg(long, value_enum, default_value = "uniq", help_heading = "Clients and workers")]
    pub(crate) grab: Grab,
}

impl Workers {
    /// The workers, all with the same functions of the run.
    pub(crate) fn roles(&self, functions: Range<usize>) -> impl Iterator<Item = Worker> {
        (0..self.workers).map(move |_| Worker::new(functions.clone(), self.grab, self.grabs))
    }
}
