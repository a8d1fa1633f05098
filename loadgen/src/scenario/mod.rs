//! The scenarios: which clients and workers there are, and what they go through.

pub(crate) mod bg;
pub(crate) mod big;
pub(crate) mod connect;
pub(crate) mod depth;
pub(crate) mod durable;
pub(crate) mod echo;
pub(crate) mod fg;
pub(crate) mod flow;
pub(crate) mod functions;
mod length;
pub(crate) mod load;
pub(crate) mod mixed;
pub(crate) mod neighbour;
pub(crate) mod prio;
pub(crate) mod sleepers;
pub(crate) mod unique;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::abort::Abort;
use crate::engine::conversation::Greeting;
use crate::engine::fleet::{Fleet, Outcome, Target};
use crate::engine::payload::Payloads;
use crate::engine::plan::Picks;
use crate::engine::run::{Run, Uniques};
use crate::engine::stop;
use crate::options::{Common, Jobs, Scenario};
use crate::report::Report;

/// What a scenario is told and does.
pub(crate) trait Measure {
    /// The options that all scenarios have.
    fn common(&self) -> &Common;

    /// How a conversation with the server begins.
    ///
    /// # Errors
    /// When the options do not fit each other.
    fn greeting(&self) -> Result<Greeting, Abort> {
        Ok(Greeting::gearman())
    }

    /// The server that it starts itself, as a command line; without one there is a
    /// server to connect to.
    ///
    /// # Errors
    /// When the options do not fit each other.
    fn starts(&self) -> Result<Option<String>, Abort> {
        Ok(None)
    }

    /// Measures, and puts into the report what came of it.
    ///
    /// # Errors
    /// When it ended before its time.
    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort>;
}

/// Runs the chosen scenario.
///
/// # Errors
/// When it could not start; what goes wrong later is in the report.
pub(crate) fn run(scenario: &Scenario) -> Result<Report, Abort> {
    let (name, scenario) = scenario.named();
    let target = scenario.common().target();
    if let Some(process) = target.process {
        process.usage().map_err(|error| Abort(format!("cannot read what --server-pid uses: {error}")))?;
    }
    // A fleet too large for the limit fails to connect, and says so.
    let _ = rlimit::increase_nofile_limit(rlimit::INFINITY);
    let server = if let Some(command) = scenario.starts()? {
        stop::listen_as_parent()?;
        command
    } else {
        stop::listen()?;
        crate::engine::connection::connect(target.server, &scenario.greeting()?)
            .map_err(|error| Abort(format!("cannot connect to {}: {error}", target.server)))?;
        target.server.to_string()
    };

    let mut report = Report::new(name, server);
    if let Err(abort) = scenario.run(target, &mut report) {
        report.abort(abort);
    }
    Ok(report)
}

/// A run with one function, as the options describe it.
fn one_function(jobs: &Jobs) -> Run {
    with_functions(jobs, vec![jobs.function.clone().into_bytes()])
}

/// A run with these functions.
fn with_functions(jobs: &Jobs, functions: Vec<Vec<u8>>) -> Run {
    new_run(Picks::one(jobs.size), Picks::in_turn(functions), jobs.unique)
}

/// A run with jobs of these sizes for these functions.
fn new_run(sizes: Picks<usize>, functions: Picks<Vec<u8>>, uniques: Uniques) -> Run {
    // Tells jobs of this run from what an earlier one left in the server.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let tag = since_epoch.subsec_nanos() ^ std::process::id().rotate_left(16);
    Run::new(Payloads::new(tag, sizes), functions, uniques)
}

/// Adds how many times as much `one` cost as `other`: in the server's processor
/// time where that is known, in time where it is not.
fn compare(report: &mut Report, name: &str, one: &Outcome, other: &Outcome) {
    if let (Some(one), Some(other)) = (one.used.server, other.used.server) {
        let ratio = one.cpu_us_per_job / other.cpu_us_per_job.max(f64::MIN_POSITIVE);
        report.figure(name, ratio, "x processor time");
    } else {
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let each = |outcome: &Outcome| outcome.elapsed.as_secs_f64() / outcome.jobs.max(1) as f64;
        report.figure(name, each(one) / each(other).max(f64::MIN_POSITIVE), "x time");
    }
}

/// Takes `steps` with a fleet for `run`, and reports what went wrong in it even
/// when they fail.
fn with_fleet<T>(
    run: &Arc<Run>,
    target: Target,
    report: &mut Report,
    steps: impl FnOnce(&mut Fleet, &mut Report) -> Result<T, Abort>,
) -> Result<T, Abort> {
    let outcome = Fleet::start(run, target).and_then(|mut fleet| steps(&mut fleet, report));
    report.faults(&run.ledger.faults());
    outcome
}
