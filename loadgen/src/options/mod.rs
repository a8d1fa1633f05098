//! The command line: what every scenario is told the same way is in [`groups`];
//! each scenario has its own options beside its code.

pub(crate) mod groups;
pub(crate) mod output;
pub(crate) mod values;

use clap::{Parser, Subcommand};

pub(crate) use self::groups::{Clients, Common, Jobs, Load, Names, Workers};
pub(crate) use self::output::Output;
use crate::compare::Compare;
use crate::relay::Relay;
use crate::report::stored::Stored;
use crate::scenario::Measure;
use crate::scenario::bg::Bg;
use crate::scenario::big::Big;
use crate::scenario::connect::Connect;
use crate::scenario::depth::Depth;
use crate::scenario::durable::Durable;
use crate::scenario::echo::Echo;
use crate::scenario::fg::Fg;
use crate::scenario::flow::Flow;
use crate::scenario::functions::Functions;
use crate::scenario::mixed::Mixed;
use crate::scenario::neighbour::Neighbour;
use crate::scenario::prio::Prio;
use crate::scenario::sleepers::Sleepers;
use crate::scenario::unique::Unique;

/// Load generator for any Gearman server: every reply is checked, and lost,
/// duplicated or damaged jobs fail the run.
///
/// Exits with 0 when every job was accounted for, 1 when not, 2 when the run
/// could not start or its report could not be written.
#[derive(Debug, Parser)]
#[command(name = "gearshard-loadgen", version)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) program: Program,
}

/// What to be.
#[derive(Debug, Subcommand)]
pub(crate) enum Program {
    #[command(flatten)]
    Load(Box<Scenario>),
    /// The physical limit: a server that only passes jobs and results on, without queues
    Relay(Relay),
    /// Servers side by side: starts them, runs a scenario against each in turn, compares the medians
    Compare(Compare),
    /// Stored reports in another form, those of several servers side by side
    Report(Stored),
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Foreground jobs, closed loop: clients submit and wait, workers send the payload back
    Fg(Fg),
    /// Background jobs: first enqueue all, then drain
    Bg(Bg),
    /// Background jobs: submitted and drained at the same time, counted when they run
    Flow(Flow),
    /// A storm of connections: time to connect and get a first answer
    Connect(Connect),
    /// ECHO_REQ round trips: what is left of the server when it has no jobs to handle
    Echo(Echo),
    /// Enqueue ever more jobs, 1,000 to 10 million if you like: cost per decade, memory a job, drain, memory after
    Depth(Depth),
    /// Many sleeping workers: who is woken for a job, and what they cost those that work
    Sleepers(Sleepers),
    /// Many functions: workers with many beside workers with few, or 1 to 100,000 in all with --spread
    Functions(Functions),
    /// High, normal and low jobs drained by one worker: the order is checked, the cost compared with no priorities
    Prio(Prio),
    /// Jobs of all kinds, sizes and functions, by weight
    Mixed(Mixed),
    /// Many submits of the same uniques: one run must answer them all, foreground and background
    Unique(Unique),
    /// Large payloads: bytes a second, and the server's memory against the bytes in flight
    Big(Big),
    /// What survives: background jobs are submitted, the server is killed and started again, every acknowledged job must run
    Durable(Durable),
    /// The nearest work on NATS, Redis or beanstalkd: what other protocols take for it
    Neighbour(Neighbour),
}

impl Scenario {
    /// Its name on the command line, and what it does.
    pub(crate) fn named(&self) -> (&'static str, &dyn Measure) {
        match self {
            Self::Fg(it) => ("fg", it),
            Self::Bg(it) => ("bg", it),
            Self::Depth(it) => ("depth", it),
            Self::Sleepers(it) => ("sleepers", it),
            Self::Functions(it) => ("functions", it),
            Self::Echo(it) => ("echo", it),
            Self::Flow(it) => ("flow", it),
            Self::Prio(it) => ("prio", it),
            Self::Mixed(it) => ("mixed", it),
            Self::Unique(it) => ("unique", it),
            Self::Big(it) => ("big", it),
            Self::Connect(it) => ("connect", it),
            Self::Durable(it) => ("durable", it),
            Self::Neighbour(it) => ("neighbour", it),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
    }
}
