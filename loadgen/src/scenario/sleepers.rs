//! A fleet of sleeping workers and a single job: how many are woken for it.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::{booked, one_function};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Extent, Fleet, Outcome, Target};
use crate::engine::progress::{Unit, latency_histogram};
use crate::engine::role::Order;
use crate::engine::worker::{Grab, Worker};
use crate::options::values::{count, positive};
use crate::options::{Common, Jobs};
use crate::report::Report;

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

/// After so long without a packet, nobody else is going to be woken.
const SILENCE: Duration = Duration::from_millis(300);

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn run(options: &Sleepers, target: Target, report: &mut Report) -> Result<(), Abort> {
    let run = one_function(&options.jobs);
    booked(&run, report, |report| {
        let mut fleet = Fleet::start(Arc::clone(&run), target)?;
        let rss_empty = fleet.rss_at_rest()?;
        for _ in 0..options.sleepers {
            fleet.seat(Worker::new(0..1, Grab::Uniq, 1))?;
        }
        fleet.seat(Client::new(Mode::Background, 1))?;
        fleet.settle(Order::Register(1))?;
        fleet.settle(Order::Sleep)?;
        if let (Some(empty), Some(asleep)) = (rss_empty, fleet.rss_at_rest()?) {
            let each = asleep.saturating_sub(empty) as f64 / f64::from(options.sleepers);
            report.figure("memory a sleeping worker", each, "bytes");
        }

        let mut acknowledged = latency_histogram();
        let mut noops_most = 0;
        let mut all: Option<Outcome> = None;
        let woken_before = run.progress.total(Unit::Woken);
        for _ in 0..options.count {
            let woken = run.progress.total(Unit::Woken);
            // From the submit until a worker has the job.
            let outcome = fleet.submit(Extent::Jobs(1), Unit::Ran, &[])?;
            fleet.quiet(SILENCE);
            noops_most = noops_most.max(run.progress.total(Unit::Woken) - woken);
            acknowledged.add(&outcome.latency).expect("all histograms have the same bounds");
            all = Some(match all {
                None => outcome,
                Some(so_far) => so_far.and(outcome),
            });
        }
        let noops = run.progress.total(Unit::Woken) - woken_before;
        if let Some(all) = &all {
            report.phase("one job at a time", all);
        }
        report.figure("NOOPs a job", noops as f64 / options.count.max(1) as f64, "");
        report.figure("most NOOPs for one job", noops_most as f64, "");
        Ok(())
    })
}
