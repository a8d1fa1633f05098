//! Background jobs, submitted and drained at the same time.

use std::sync::Arc;

use clap::Args;

use super::length::Length;
use super::load::{Open, Woken};
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
    pub(crate) open: Open,
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
        options.open.warm_up(&mut fleet, Unit::Ran, &options.length)?;
        // The clients may be faster than the workers: what is queued when the
        // time is up is drained, and the draining is part of the phase.
        let woken = Woken::count(&run, Unit::Ran);
        options.open.measure(&mut fleet, report, "flow", Unit::Ran, &options.length)?;
        woken.report(&run, Unit::Ran, report);
        Ok(())
    })
}
