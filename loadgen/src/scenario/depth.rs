//! How the cost of a job depends on how many are queued.

use std::sync::Arc;

use clap::Args;

use super::{booked, compare, one_function};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Extent, Fleet, Target};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::worker::Worker;
use crate::options::values::count;
use crate::options::{Clients, Common, Jobs, Workers};
use crate::report::Report;

/// `depth`
#[derive(Args, Debug)]
pub(crate) struct Depth {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) workers: Workers,
    /// First depth that is measured from
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count, help_heading = "Extent")]
    pub(crate) from: u64,
    /// Last depth, a power of ten times the first
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = count, help_heading = "Extent")]
    pub(crate) to: u64,
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn run(options: &Depth, target: Target, report: &mut Report) -> Result<(), Abort> {
    let run = one_function(&options.jobs);
    booked(&run, report, |report| {
        let mut fleet = Fleet::start(Arc::clone(&run), target)?;
        for _ in 0..options.clients.clients {
            fleet.seat(Client::new(Mode::Background, options.clients.inflight))?;
        }
        for _ in 0..options.workers.workers {
            fleet.seat(Worker::new(0..1, options.workers.grab, options.workers.grabs))?;
        }
        fleet.settle(Order::Register(1))?;
        let rss_empty = fleet.rss_at_rest()?;

        let mut queued = options.from;
        let mut decades = vec![(queued, fleet.submit(Extent::Jobs(queued), Unit::Accepted, &[])?)];
        while queued < options.to {
            let next = queued.saturating_mul(10).min(options.to);
            let outcome = fleet.submit(Extent::Jobs(next - queued), Unit::Accepted, &[])?;
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
            let carried = (options.jobs.size + run.unique_of(0).as_bytes().len()) as f64;
            report.figure("memory a job beyond payload and unique", each - carried, "bytes");
            report.figure("memory grown at full depth", growth / 1e6, "MB");
            report.figure("memory kept after the drain", (drained - empty) / 1e6, "MB");
            report.figure("share of it kept after the drain", (drained - empty) / growth, "");
        }
        Ok(())
    })
}
