//! Background jobs, submitted and drained at the same time.

use std::sync::Arc;

use clap::Args;

use super::length::Length;
use super::load::{Open, Side, Woken};
use super::{Measure, one_function, with_fleet};
use crate::abort::Abort;
use crate::engine::client::Mode;
use crate::engine::fleet::Target;
use crate::engine::progress::Unit;
use crate::options::{Common, Load};
use crate::report::Report;

/// `flow`
#[derive(Args, Debug)]
pub(crate) struct Flow {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Which side runs here; the other may run on another host
    #[arg(long, value_enum, default_value = "both", help_heading = "Clients and workers")]
    pub(crate) side: Side,
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
        let run = Arc::new(self.side.run(one_function(jobs)));
        with_fleet(&run, target, report, |fleet, report| {
            let (workers, clients) = (workers.roles(0..1), clients.roles(Mode::Background));
            if !self.side.begin(fleet, report, workers, clients, self.length.extent())? {
                return Ok(());
            }
            // The clients may be faster than the workers: what is queued when the
            // time is up is drained, and the draining is part of the phase.
            let unit = if self.side.works() { Unit::Ran } else { Unit::Accepted };
            self.open.warm_up(fleet, unit, self.length.warmup())?;
            let woken = Woken::count(&run, unit);
            self.open.measure(fleet, report, "flow", unit, self.length.extent())?;
            if self.side.works() {
                woken.report(&run, unit, report);
            }
            Ok(())
        })
    }
}
