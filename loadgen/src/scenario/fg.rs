//! Foreground jobs, closed loop.

use std::sync::Arc;
use std::time::Duration;

use super::{booked, one_function};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Extent, Fleet, Target};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::worker::Worker;
use crate::options::Fg;
use crate::report::Report;

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
