//! Background jobs: enqueue them all, then drain.

use std::sync::Arc;

use clap::Args;

use super::load::{Side, fifo_can_be_checked};
use super::{booked, one_function};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Extent, Fleet, Target};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::run::Run;
use crate::engine::worker::Worker;
use crate::options::values::count;
use crate::options::{Clients, Common, Jobs, Workers};
use crate::report::Report;

/// `bg`
#[derive(Args, Debug)]
pub(crate) struct Bg {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) workers: Workers,
    /// Which side runs here: clients enqueue, or workers drain what was enqueued elsewhere
    #[arg(long, value_enum, default_value = "both", help_heading = "Clients and workers")]
    pub(crate) side: Side,
    /// Check that jobs run in the order of their submission; needs one client and one worker
    #[arg(long, help_heading = "Clients and workers")]
    pub(crate) fifo: bool,
    /// Jobs to enqueue and drain
    #[arg(long, value_name = "N", default_value = "300000", value_parser = count, help_heading = "Extent")]
    pub(crate) count: u64,
    /// Jobs to enqueue and drain before that, not counted; none when only one side runs here
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count, help_heading = "Extent")]
    pub(crate) warmup: u64,
}

pub(super) fn run(options: &Bg, target: Target, report: &mut Report) -> Result<(), Abort> {
    if options.fifo {
        fifo_can_be_checked(options.clients.clients, options.workers.workers, options.side)?;
    }
    if options.warmup > 0 && options.side == Side::Both {
        let run = one_function(&options.jobs);
        booked(&run, report, |_| enqueue_and_drain(options, target, &run, options.warmup, None))?;
    }
    let run = options.side.run(one_function(&options.jobs));
    booked(&run, report, |report| enqueue_and_drain(options, target, &run, options.count, Some(report)))
}

fn enqueue_and_drain(
    options: &Bg,
    target: Target,
    run: &Arc<Run>,
    count: u64,
    mut report: Option<&mut Report>,
) -> Result<(), Abort> {
    let mut fleet = Fleet::start(Arc::clone(run), target)?;
    if options.side.submits() {
        for _ in 0..options.clients.clients {
            fleet.seat(Client::new(Mode::Background, options.clients.inflight))?;
        }
        let enqueued = fleet.submit(Extent::Jobs(count), Unit::Accepted, &[])?;
        if let Some(report) = &mut report {
            report.phase("enqueue", &enqueued);
        }
    }
    if options.side.works() {
        for _ in 0..options.workers.workers {
            let worker = Worker::new(0..1, options.workers.grab, options.workers.grabs);
            fleet.seat(if options.fifo { worker.in_order() } else { worker })?;
        }
        fleet.settle(Order::Register(1))?;
        let drained = fleet.until(Unit::Ran, count, &[Order::Work])?;
        if let Some(report) = &mut report {
            report.phase("drain", &drained);
        }
        if options.side == Side::Worker {
            fleet.rest()?;
        }
    }
    Ok(())
}
