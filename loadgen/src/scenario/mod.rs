//! The scenarios: which clients and workers there are, and what they go through.

pub(crate) mod bg;
pub(crate) mod big;
pub(crate) mod connect;
pub(crate) mod depth;
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
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::abort::Abort;
use crate::engine::conversation::Greeting;
use crate::engine::fleet::Outcome;
use crate::engine::ledger::Fault;
use crate::engine::payload::Payloads;
use crate::engine::plan::Picks;
use crate::engine::progress::Unit;
use crate::engine::run::{Run, Uniques};
use crate::engine::stop;
use crate::options::{Jobs, Options, Scenario};
use crate::report::Report;

/// How often a waiting scenario looks whether all is done.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Runs the chosen scenario.
///
/// # Errors
/// When it could not start; what goes wrong later is in the report.
pub(crate) fn run(options: &Options) -> Result<Report, Abort> {
    let common = options.common();
    let target = common.target();
    if let Some(process) = target.process {
        process.usage().map_err(|error| Abort(format!("cannot read what --server-pid uses: {error}")))?;
    }
    stop::listen()?;
    // A fleet too large for the limit fails to connect, and says so.
    let _ = rlimit::increase_nofile_limit(rlimit::INFINITY);
    let greeting = match &options.scenario {
        Scenario::Neighbour(neighbour) => neighbour.greeting()?,
        _ => Greeting::gearman(),
    };
    crate::engine::connection::connect(target.server, &greeting)
        .map_err(|error| Abort(format!("cannot connect to {}: {error}", target.server)))?;

    let mut report = Report::new(options.scenario.name(), target.server.to_string());
    let outcome = match &options.scenario {
        Scenario::Fg(fg) => fg::run(fg, target, &mut report),
        Scenario::Bg(bg) => bg::run(bg, target, &mut report),
        Scenario::Depth(depth) => depth::run(depth, target, &mut report),
        Scenario::Sleepers(sleepers) => sleepers::run(sleepers, target, &mut report),
        Scenario::Functions(functions) => functions::run(functions, target, &mut report),
        Scenario::Echo(echo) => echo::run(echo, target, &mut report),
        Scenario::Flow(flow) => flow::run(flow, target, &mut report),
        Scenario::Prio(prio) => prio::run(prio, target, &mut report),
        Scenario::Mixed(mixed) => mixed::run(mixed, target, &mut report),
        Scenario::Unique(unique) => unique::run(unique, target, &mut report),
        Scenario::Big(big) => big::run(big, target, &mut report),
        Scenario::Connect(connect) => connect::run(connect, target, &mut report),
        Scenario::Neighbour(neighbour) => neighbour::run(neighbour, target, &mut report),
    };
    if let Err(abort) = outcome {
        report.abort(abort);
    }
    Ok(report)
}

/// A run with one function, as the options describe it.
fn one_function(jobs: &Jobs) -> Arc<Run> {
    with_functions(jobs, vec![jobs.function.clone().into_bytes()])
}

/// A run with these functions.
fn with_functions(jobs: &Jobs, functions: Vec<Vec<u8>>) -> Arc<Run> {
    new_run(Picks::one(jobs.size), Picks::in_turn(functions), jobs.unique)
}

/// A run with jobs of these sizes for these functions.
fn new_run(sizes: Picks<usize>, functions: Picks<Vec<u8>>, uniques: Uniques) -> Arc<Run> {
    // Tells jobs of this run from what an earlier one left in the server.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let tag = since_epoch.subsec_nanos() ^ std::process::id().rotate_left(16);
    Arc::new(Run::new(Payloads::new(tag, sizes), functions, uniques))
}

/// Waits until workers have run every job that was submitted.
///
/// # Errors
/// When nothing comes for so long as `patience`; the missing jobs are in the books.
fn all_run(run: &Run, patience: Duration) -> Result<(), Abort> {
    let mut last = (Instant::now(), run.progress.total(Unit::Received));
    loop {
        let missing = run.progress.total(Unit::Submitted).saturating_sub(run.progress.total(Unit::Ran));
        if missing == 0 {
            return Ok(());
        }
        let received = run.progress.total(Unit::Received);
        if received != last.1 {
            last = (Instant::now(), received);
        } else if last.0.elapsed() > patience {
            run.ledger.fault(Fault::lost, missing);
            return Err(Abort(format!(
                "nothing came for {} s; {missing} jobs have not run",
                patience.as_secs()
            )));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Adds how many times as much `one` cost as `other`: in the server's processor
/// time where that is known, in time where it is not.
fn compare(report: &mut Report, name: &str, one: &Outcome, other: &Outcome) {
    if let (Some(one), Some(other)) = (one.server, other.server) {
        let ratio = one.cpu_us_per_job / other.cpu_us_per_job.max(f64::MIN_POSITIVE);
        report.figure(name, ratio, "x processor time");
    } else {
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let each = |outcome: &Outcome| outcome.elapsed.as_secs_f64() / outcome.jobs.max(1) as f64;
        report.figure(name, each(one) / each(other).max(f64::MIN_POSITIVE), "x time");
    }
}

/// Takes `steps`, and reports what went wrong in `run` even when they fail.
fn booked<T>(
    run: &Arc<Run>,
    report: &mut Report,
    steps: impl FnOnce(&mut Report) -> Result<T, Abort>,
) -> Result<T, Abort> {
    let outcome = steps(report);
    report.faults(&run.ledger.faults());
    outcome
}

/// How often a second something is to happen.
fn per_second(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (1e-3..=1e7).contains(&rate) => Ok(rate),
        _ => Err("is not a number from 0.001 to 10,000,000".to_owned()),
    }
}
