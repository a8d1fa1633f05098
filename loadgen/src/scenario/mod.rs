//! The scenarios: which clients and workers there are, and what they go through.

pub(crate) mod bg;
pub(crate) mod depth;
pub(crate) mod fg;
pub(crate) mod functions;
pub(crate) mod sleepers;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::abort::Abort;
use crate::engine::payload::Payloads;
use crate::engine::plan::Picks;
use crate::engine::run::Run;
use crate::options::{Jobs, Options, Scenario};
use crate::report::Report;

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
    // A fleet too large for the limit fails to connect, and says so.
    let _ = rlimit::increase_nofile_limit(rlimit::INFINITY);
    crate::engine::connection::connect(target.server)
        .map_err(|error| Abort(format!("cannot connect to {}: {error}", target.server)))?;

    let mut report = Report::new(options.scenario.name(), target.server.to_string());
    let outcome = match &options.scenario {
        Scenario::Fg(fg) => fg::run(fg, target, &mut report),
        Scenario::Bg(bg) => bg::run(bg, target, &mut report),
        Scenario::Depth(depth) => depth::run(depth, target, &mut report),
        Scenario::Sleepers(sleepers) => sleepers::run(sleepers, target, &mut report),
        Scenario::Functions(functions) => functions::run(functions, target, &mut report),
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
    // Tells jobs of this run from what an earlier one left in the server.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let tag = since_epoch.subsec_nanos() ^ std::process::id().rotate_left(16);
    Arc::new(Run::new(Payloads::new(tag, Picks::one(jobs.size)), Picks::in_turn(functions), jobs.unique))
}

/// Takes `steps`, and reports what went wrong in `run` even when they fail.
fn booked(
    run: &Arc<Run>,
    report: &mut Report,
    steps: impl FnOnce(&mut Report) -> Result<(), Abort>,
) -> Result<(), Abort> {
    let outcome = steps(report);
    report.faults(&run.ledger.faults());
    outcome
}
