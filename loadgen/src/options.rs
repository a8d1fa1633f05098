//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::engine::fleet::{Extent, Target};
use crate::engine::payload::STAMP_BYTES;
use crate::engine::run::Uniques;
use crate::engine::worker::Grab;
use crate::process::Process;

/// Load generator for any Gearman server: every reply is checked, and lost,
/// duplicated or damaged jobs fail the run.
///
/// Exits with 0 when every job was accounted for, 1 when not, 2 when the run
/// could not start.
#[derive(Debug, Parser)]
#[command(name = "gearshard-loadgen", version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Foreground jobs, closed loop: clients submit and wait, workers send the payload back
    Fg(Fg),
    /// Background jobs: first enqueue all, then drain
    Bg(Bg),
    /// Enqueue from 1,000 to 1,000,000 jobs: cost per decade, memory a job, drain, memory after
    Depth(Depth),
    /// Many sleeping workers and single background jobs: who is woken, how soon it is acknowledged
    Sleepers(Sleepers),
    /// Workers with many functions beside workers with few: cost of registering and grabbing
    Functions(Functions),
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
    /// Print the report as JSON
    #[arg(long, help_heading = "Generator")]
    pub(crate) json: bool,
}

impl Common {
    pub(crate) fn target(&self) -> Target {
        Target {
            server: self.server,
            process: self.server_pid.map(Process),
            threads: self.threads as usize,
            patience: Duration::from_secs(self.patience),
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

/// `fg`
#[derive(Args, Debug)]
pub(crate) struct Fg {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) workers: Workers,
    /// More workers of the same function that only sleep, and work when woken
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Clients and workers")]
    pub(crate) sleepers: u32,
    /// Jobs to measure; the default is to measure for --duration
    #[arg(long, value_name = "N", value_parser = count, conflicts_with = "duration", help_heading = "Extent")]
    pub(crate) count: Option<u64>,
    /// Seconds to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds, help_heading = "Extent")]
    pub(crate) duration: f64,
    /// Seconds before the measurement, not counted
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds, help_heading = "Extent")]
    pub(crate) warmup: f64,
}

impl Fg {
    pub(crate) fn extent(&self) -> Extent {
        self.count.map_or_else(|| Extent::Time(Duration::from_secs_f64(self.duration)), Extent::Jobs)
    }
}

/// `bg`
#[derive(Args, Debug)]
pub(crate) struct Bg {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) workers: Workers,
    /// Jobs to enqueue and drain
    #[arg(long, value_name = "N", default_value = "300000", value_parser = count, help_heading = "Extent")]
    pub(crate) count: u64,
    /// Jobs to enqueue and drain before that, not counted
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count, help_heading = "Extent")]
    pub(crate) warmup: u64,
}

/// `depth`
#[derive(Args, Debug)]
pub(crate) struct Depth {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) workers: Workers,
    /// First depth that is measured from
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count, help_heading = "Extent")]
    pub(crate) from: u64,
    /// Last depth, a power of ten times the first
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = count, help_heading = "Extent")]
    pub(crate) to: u64,
}

/// `sleepers`
#[derive(Args, Debug)]
pub(crate) struct Sleepers {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    /// Sleeping workers
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) sleepers: u32,
    /// Background jobs, one after the other
    #[arg(long, value_name = "N", default_value = "10", value_parser = count, help_heading = "Extent")]
    pub(crate) count: u64,
}

/// `functions`
#[derive(Args, Debug)]
pub(crate) struct Functions {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    #[command(flatten)]
    pub(crate) clients: Clients,
    /// Functions in all
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = positive, help_heading = "Extent")]
    pub(crate) total: u32,
    /// Functions of each worker; there are total / each workers
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = positive, help_heading = "Extent")]
    pub(crate) each: u32,
    /// The same workers with so few functions, the same for all, to compare with
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = positive, help_heading = "Extent")]
    pub(crate) beside: u32,
    /// Operations of each kind
    #[arg(long, value_name = "N", default_value = "100000", value_parser = count, help_heading = "Extent")]
    pub(crate) count: u64,
}

impl Scenario {
    /// Its name on the command line.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Fg(_) => "fg",
            Self::Bg(_) => "bg",
            Self::Depth(_) => "depth",
            Self::Sleepers(_) => "sleepers",
            Self::Functions(_) => "functions",
        }
    }
}

impl Options {
    /// Whether the report is wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        self.common().json
    }

    /// What all scenarios have.
    pub(crate) fn common(&self) -> &Common {
        match &self.scenario {
            Scenario::Fg(fg) => &fg.common,
            Scenario::Bg(bg) => &bg.common,
            Scenario::Depth(depth) => &depth.common,
            Scenario::Sleepers(sleepers) => &sleepers.common,
            Scenario::Functions(functions) => &functions.common,
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("{error}; give HOST:PORT"))?;
    found.next().ok_or_else(|| "the name has no address".to_owned())
}

fn positive(text: &str) -> Result<u32, String> {
    match count(text)?.try_into() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("is too large".to_owned()),
    }
}

/// A number, with `_` or `,` anywhere and `k` or `m` behind it.
fn count(text: &str) -> Result<u64, String> {
    let plain: String = text.chars().filter(|letter| !matches!(letter, '_' | ',')).collect();
    let (digits, factor) = match plain.to_ascii_lowercase() {
        text if text.ends_with('k') => (text[..text.len() - 1].to_owned(), 1_000),
        text if text.ends_with('m') => (text[..text.len() - 1].to_owned(), 1_000_000),
        text => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| "is not a number".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "is too large".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..1e6).contains(&seconds) => Ok(seconds),
        _ => Err("is not a number of seconds".to_owned()),
    }
}

fn payload_bytes(text: &str) -> Result<usize, String> {
    let bytes = usize::try_from(count(text)?).map_err(|error| error.to_string())?;
    if bytes < STAMP_BYTES {
        return Err(format!("a payload needs {STAMP_BYTES} bytes to be told from others"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }

    #[test]
    fn counts_may_be_written_as_people_do() {
        assert_eq!(count("1_000"), Ok(1000));
        assert_eq!(count("1,000"), Ok(1000));
        assert_eq!(count("300k"), Ok(300_000));
        assert_eq!(count("1M"), Ok(1_000_000));
        assert!(count("many").is_err() && count("99999999999999999m").is_err());
        assert!(positive("0").is_err() && payload_bytes("15").is_err() && seconds("-1").is_err());
    }
}
