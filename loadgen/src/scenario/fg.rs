//! Foreground jobs.

use std::sync::Arc;

use clap::Args;

use super::length::Length;
use super::load::{Open, Side, Woken, fifo_can_be_checked, serve};
use super::{booked, one_function};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Fleet, Target};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::worker::Worker;
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
    /// Which side runs here; the other may run on another host
    #[arg(long, value_enum, default_value = "both", help_heading = "Clients and workers")]
    pub(crate) side: Side,
    /// Check that jobs run in the order of their submission; needs one client and one worker
    #[arg(long, help_heading = "Clients and workers")]
    pub(crate) fifo: bool,
    #[command(flatten)]
    pub(crate) open: Open,
    #[command(flatten)]
    pub(crate) length: Length,
}

pub(super) fn run(options: &Fg, target: Target, report: &mut Report) -> Result<(), Abort> {
    let workers = options.sleepers + options.workers.workers;
    if options.fifo {
        fifo_can_be_checked(options.clients.clients, workers, options.side)?;
    }
    let run = options.side.run(one_function(&options.jobs));
    booked(&run, report, |report| {
        let mut fleet = Fleet::start(Arc::clone(&run), target)?;
        for _ in 0..if options.side.works() { workers } else { 0 } {
            let worker = Worker::new(0..1, options.workers.grab, options.workers.grabs);
            fleet.seat(if options.fifo { worker.in_order() } else { worker })?;
        }
        for _ in 0..if options.side.submits() { options.clients.clients } else { 0 } {
            fleet.seat(Client::new(Mode::Foreground, options.clients.inflight))?;
        }
        fleet.settle(Order::Register(1))?;
        if options.side == Side::Worker {
            return serve(&mut fleet, report, options.length.extent());
        }
        fleet.settle(Order::Work)?;
        options.open.warm_up(&mut fleet, Unit::Answered, &options.length)?;
        let woken = Woken::count(&run, Unit::Answered);
        options.open.measure(&mut fleet, report, "foreground", Unit::Answered, &options.length)?;
        if options.side.works() {
            woken.report(&run, Unit::Answered, report);
        }
        Ok(())
    })
}
