//! Background jobs: enqueue them all, then drain.

use std::sync::Arc;

use clap::Args;

use super::load::{Side, fifo_can_be_checked};
use super::{Measure, one_function, with_fleet};
use crate::abort::Abort;
use crate::engine::client::Mode;
use crate::engine::fleet::{Extent, Fleet, Target};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::worker::InOrder;
use crate::options::values::count;
use crate::options::{Common, Load};
use crate::report::Report;

/// `bg`
#[derive(Args, Debug)]
pub(crate) struct Bg {
    #[command(flatten)]
    pub(crate) load: Load,
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

impl Measure for Bg {
    fn common(&self) -> &Common {
        &self.load.common
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        if self.fifo {
            fifo_can_be_checked(self.load.clients.clients, self.load.workers.workers, self.side)?;
        }
        if self.warmup > 0 && self.side == Side::Both {
            let run = Arc::new(one_function(&self.load.jobs));
            with_fleet(&run, target, report, |fleet, _| self.enqueue_and_drain(fleet, self.warmup, None))?;
        }
        let run = Arc::new(self.side.run(one_function(&self.load.jobs)));
        with_fleet(&run, target, report, |fleet, report| {
            self.enqueue_and_drain(fleet, self.count, Some(report))
        })
    }
}

impl Bg {
    fn enqueue_and_drain(
        &self,
        fleet: &mut Fleet,
        count: u64,
        mut report: Option<&mut Report>,
    ) -> Result<(), Abort> {
        if self.side.submits() {
            fleet.seat(self.load.clients.roles(Mode::Background))?;
            let enqueued = fleet.submit(Extent::Jobs(count), Unit::Accepted)?;
            if let Some(report) = &mut report {
                report.phase("enqueue", &enqueued);
            }
        }
        if self.side.works() {
            fleet.seat(
                self.load.workers.roles(0..1).map(|worker| worker.in_order(InOrder::fifo(self.fifo))),
            )?;
            let drained = fleet.until(Unit::Ran, count, &[Order::Work])?;
            if let Some(report) = &mut report {
                report.phase("drain", &drained);
            }
            if self.side == Side::Worker {
                fleet.rest()?;
            }
        }
        Ok(())
    }
}
