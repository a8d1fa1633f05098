//! Background jobs, submitted and drained at the same time.

use std::sync::Arc;

use clap::Args;

use super::length::Length;
use super::load::{Open, Woken};
use super::{Measure, one_function, with_fleet};
use crate::abort::Abort;
use crate::engine::client::Mode;
use crate::engine::fleet::Target;
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::options::{Common, Load};
use crate::report::Report;

/// `flow`
#[derive(Args, Debug)]
pub(crate) struct Flow {
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) open: Open,
    #[command(flatten)]
    pub(crate) length: Length,
}

impl Measure for Flow {
    fn common(&self) -> &Common {
        &self.load.common
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        let Load { jobs, clients, workers, .. } = &self.load;
        let run = Arc::new(one_function(jobs));
        with_fleet(&run, target, report, |fleet, report| {
            fleet.seat(workers.roles(0..1))?;
            fleet.seat(clients.roles(Mode::Background))?;
            fleet.settle(Order::Work)?;
            self.open.warm_up(fleet, Unit::Ran, self.length.warmup())?;
            // The clients may be faster than the workers: what is queued when the
            // time is up is drained, and the draining is part of the phase.
            let woken = Woken::count(&run, Unit::Ran);
            self.open.measure(fleet, report, "flow", Unit::Ran, self.length.extent())?;
            woken.report(&run, Unit::Ran, report);
            Ok(())
        })
    }
}
