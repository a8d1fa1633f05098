//! How the cost of a job depends on how many are queued.

use std::sync::Arc;

use clap::Args;

use super::{Measure, compare, one_function, with_fleet};
use crate::abort::Abort;
use crate::engine::client::Mode;
use crate::engine::fleet::{Extent, Target};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::options::values::count;
use crate::options::{Common, Load};
use crate::report::Report;

/// `depth`
#[derive(Args, Debug)]
pub(crate) struct Depth {
    #[command(flatten)]
    pub(crate) load: Load,
    /// First depth that is measured from
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count, help_heading = "Extent")]
    pub(crate) from: u64,
    /// Last depth, a power of ten times the first
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = count, help_heading = "Extent")]
    pub(crate) to: u64,
}

impl Measure for Depth {
    fn common(&self) -> &Common {
        &self.load.common
    }

    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        let Load { jobs, clients, workers, .. } = &self.load;
        let run = Arc::new(one_function(jobs));
        with_fleet(&run, target, report, |fleet, report| {
            fleet.seat(clients.roles(Mode::Background))?;
            fleet.seat(workers.roles(0..1))?;
            let rss_empty = fleet.rss_at_rest()?;

            let mut queued = self.from;
            let mut decades = vec![(queued, fleet.submit(Extent::Jobs(queued), Unit::Accepted)?)];
            while queued < self.to {
                let next = queued.saturating_mul(10).min(self.to);
                let outcome = fleet.submit(Extent::Jobs(next - queued), Unit::Accepted)?;
                decades.push((next, outcome));
                queued = next;
            }
            for (depth, outcome) in &decades {
                report.phase(format!("enqueue to {depth}"), outcome);
            }
            let rss_full = fleet.rss_at_rest()?;
            report.phase("drain", &fleet.until(Unit::Ran, queued, &[Order::Work])?);
            let rss_drained = fleet.rss_at_rest()?;

            // The jobs before the first decade find a server that is not warm yet.
            if let [_, (near, shallow), .., (far, deep)] = decades.as_slice() {
                compare(report, &format!("enqueue to {far} / to {near}"), deep, shallow);
            }
            if let (Some(empty), Some(full), Some(drained)) = (rss_empty, rss_full, rss_drained) {
                let (empty, full, drained) = (empty as f64, full as f64, drained as f64);
                let growth = (full - empty).max(1.0);
                let each = growth / queued as f64;
                report.figure("memory a job", each, "bytes");
                let carried = (jobs.size + run.unique_of(0).as_bytes().len()) as f64;
                report.figure("memory a job beyond payload and unique", each - carried, "bytes");
                report.figure("memory grown at full depth", growth / 1e6, "MB");
                report.figure("memory kept after the drain", (drained - empty) / 1e6, "MB");
                report.figure("share of it kept after the drain", (drained - empty) / growth, "");
            }
            Ok(())
        })
    }
}
