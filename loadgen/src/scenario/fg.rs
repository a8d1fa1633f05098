//! Foreground jobs.

use clap::Args;

use super::length::Length;
use super::load::{Open, Side, Woken, fifo_can_be_checked, serve};
use super::{Measure, one_function, with_fleet};
use crate::abort::Abort;
use crate::engine::client::Mode;
use crate::engine::fleet::Target;
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::options::{Common, Load, Workers};
use crate::report::Report;

/// `fg`
#[derive(Args, Debug)]
pub(crate) struct Fg {
    #[command(flatten)]
    pub(crate) load: Load,
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

impl Measure for Fg {
    fn common(&self) -> &Common {
        &self.load.common
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        let Load { jobs, clients, workers, .. } = &self.load;
        let all = Workers { workers: workers.workers + self.sleepers, ..workers.clone() };
        if self.fifo {
            fifo_can_be_checked(clients.clients, all.workers, self.side)?;
        }
        let run = self.side.run(one_function(jobs));
        with_fleet(&run, target, report, |fleet, report| {
            if self.side.works() {
                fleet.seat(all.roles(0..1).map(|worker| worker.in_order(self.fifo)))?;
            }
            if self.side == Side::Worker {
                return serve(fleet, report, self.length.extent());
            }
            fleet.seat(clients.roles(Mode::Foreground))?;
            fleet.settle(Order::Work)?;
            self.open.warm_up(fleet, Unit::Answered, &self.length)?;
            let woken = Woken::count(&run, Unit::Answered);
            self.open.measure(fleet, report, "foreground", Unit::Answered, &self.length)?;
            if self.side.works() {
                woken.report(&run, Unit::Answered, report);
            }
            Ok(())
        })
    }
}
