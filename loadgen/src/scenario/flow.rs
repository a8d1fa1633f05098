//! Background jobs, submitted and drained at the same time.

use std::sync::Arc;

use clap::Args;

use super::length::Length;
use super::{booked, one_function};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Fleet, Target};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::worker::Worker;
use crate::options::{Clients, Common, Jobs, Workers};
use crate::report::Report;

/// `flow`
#[derive(Args, Debug)]
pub(crate) struct Flow {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) workers: Workers,
    #[command(flatten)]
    pub(crate) length: Length,
}

pub(super) fn run(options: &Flow, target: Target, report: &mut Report) -> Result<(), Abort> {
    let run = one_function(&options.jobs);
    booked(&run, report, |report| {
        let mut fleet = Fleet::start(Arc::clone(&run), target)?;
        for _ in 0..options.workers.workers {
            fleet.seat(Worker::new(0..1, options.workers.grab, options.workers.grabs))?;
        }
        for _ in 0..options.clients.clients {
            fleet.seat(Client::new(Mode::Background, options.clients.inflight))?;
        }
        fleet.settle(Order::Register(1))?;
        fleet.settle(Order::Work)?;
        if let Some(warmup) = options.length.warmup() {
            fleet.submit(warmup, Unit::Ran, &[])?;
        }
        // The clients may be faster than the workers: what is queued when the
        // time is up is drained, and the draining is part of the phase.
        let woken = run.progress.total(Unit::Woken);
        let outcome = fleet.submit(options.length.extent(), Unit::Ran, &[])?;
        let woken = run.progress.total(Unit::Woken) - woken;
        report.phase("flow", &outcome);
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        report.figure("NOOPs", woken as f64 / outcome.jobs.max(1) as f64, "a job");
        Ok(())
    })
}
