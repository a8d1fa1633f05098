//! A fleet of sleeping workers and a single job: how many are woken for it.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::{Measure, one_function, with_fleet};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Extent, Outcome, Target};
use crate::engine::progress::{Unit, latency_histogram};
use crate::engine::role::Order;
use crate::engine::worker::{Grab, Worker};
use crate::options::values::{count, positive, seconds};
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
    /// Clients of the foreground jobs, with one job in flight each
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) clients: u32,
    /// Workers that are there with and without the sleepers
    #[arg(long, value_name = "M", default_value_t = 16, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) workers: u32,
    /// Seconds of foreground jobs, once without the sleepers and once with them; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = seconds, help_heading = "Extent")]
    pub(crate) duration: f64,
    /// Background jobs, one after the other
    #[arg(long, value_name = "N", default_value = "10", value_parser = count, help_heading = "Extent")]
    pub(crate) count: u64,
}

/// After so long without a packet, nobody else is going to be woken.
const SILENCE: Duration = Duration::from_millis(300);

impl Measure for Sleepers {
    fn common(&self) -> &Common {
        &self.common
    }

    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        one_by_one(self, target, report)?;
        if self.duration == 0.0 {
            return Ok(());
        }
        let without = working(self, target, report, 0, "working, no sleepers")?;
        let with = working(self, target, report, self.sleepers, "working beside sleepers")?;
        let rate = |of: &Outcome| of.jobs as f64 / of.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let ratio = rate(&with) / rate(&without).max(f64::MIN_POSITIVE);
        report.figure("rate beside sleepers / without", ratio, "x");
        Ok(())
    }
}

/// So many workers of the one function.
fn workers(count: u32) -> impl Iterator<Item = Worker> {
    (0..count).map(|_| Worker::new(0..1, Grab::Uniq, 1))
}

/// Foreground jobs for the workers, and so many sleepers that could run them as well.
#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn working(
    options: &Sleepers,
    target: Target,
    report: &mut Report,
    sleepers: u32,
    name: &str,
) -> Result<Outcome, Abort> {
    let run = Arc::new(one_function(&options.jobs));
    with_fleet(&run, target, report, |fleet, report| {
        fleet.seat(workers(options.workers + sleepers))?;
        fleet.seat((0..options.clients).map(|_| Client::new(Mode::Foreground, 1)))?;
        fleet.settle(Order::Sleep)?;
        let woken = run.progress.total(Unit::Woken);
        let time = Extent::Time(Duration::from_secs_f64(options.duration));
        let outcome = fleet.submit(time, Unit::Answered)?;
        let woken = run.progress.total(Unit::Woken) - woken;
        report.phase(name, &outcome);
        report.figure(format!("NOOPs a job, {name}"), woken as f64 / outcome.jobs.max(1) as f64, "");
        Ok(outcome)
    })
}

/// Single background jobs, each of which finds everybody asleep.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn one_by_one(options: &Sleepers, target: Target, report: &mut Report) -> Result<(), Abort> {
    let run = Arc::new(one_function(&options.jobs));
    with_fleet(&run, target, report, |fleet, report| {
        let rss_empty = fleet.rss_at_rest()?;
        fleet.seat(workers(options.sleepers))?;
        fleet.seat([Client::new(Mode::Background, 1)])?;
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
            let outcome = fleet.submit(Extent::Jobs(1), Unit::Ran)?;
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
