//! Foreground jobs, closed loop.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::{booked, one_function};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Extent, Fleet, Target};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::worker::Worker;
use crate::options::values::{count, seconds};
use crate::options::{Clients, Common, Jobs, Workers};
use crate::report::Report;

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

pub(super) fn run(options: &Fg, target: Target, report: &mut Report) -> Result<(), Abort> {
    let run = one_function(&options.jobs);
    booked(&run, report, |report| {
        let mut fleet = Fleet::start(Arc::clone(&run), target)?;
        for _ in 0..options.sleepers + options.workers.workers {
            fleet.seat(Worker::new(0..1, options.workers.grab, options.workers.grabs))?;
        }
        for _ in 0..options.clients.clients {
            fleet.seat(Client::new(Mode::Foreground, options.clients.inflight))?;
        }
        fleet.settle(Order::Register(1))?;
        fleet.settle(Order::Work)?;

        if options.warmup > 0.0 {
            let warmup = Extent::Time(Duration::from_secs_f64(options.warmup));
            fleet.submit(warmup, Unit::Answered, &[])?;
        }
        let woken = run.progress.total(Unit::Woken);
        let outcome = fleet.submit(options.extent(), Unit::Answered, &[])?;
        let woken = run.progress.total(Unit::Woken) - woken;
        report.phase("foreground", &outcome);
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        report.figure("NOOPs", woken as f64 / outcome.jobs.max(1) as f64, "a job");
        Ok(())
    })
}
