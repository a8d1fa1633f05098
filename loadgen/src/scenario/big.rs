//! Large payloads: how many bytes go through the server, and how much memory it
//! needs beside those that are under way.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;

use super::load::Open;
use super::{Measure, new_run, with_fleet};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Extent, Target};
use crate::engine::plan::Picks;
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::run::Uniques;
use crate::engine::worker::{Grab, Worker};
use crate::options::Common;
use crate::options::values::{count, payload_bytes, positive};
use crate::process::Process;
use crate::report::Report;

/// `big`
#[derive(Args, Debug)]
pub(crate) struct Big {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Function name
    #[arg(long, value_name = "NAME", default_value = "loadgen", help_heading = "Jobs")]
    pub(crate) function: String,
    /// Bytes of payload, one size after the other
    #[arg(long, value_name = "BYTES,...", default_value = "1mi,64mi", value_delimiter = ',', value_parser = payload_bytes, help_heading = "Jobs")]
    pub(crate) sizes: Vec<usize>,
    /// Client connections
    #[arg(long, value_name = "C", default_value_t = 4, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) clients: u32,
    /// Jobs that each client keeps unanswered
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) inflight: u32,
    /// Worker connections
    #[arg(long, value_name = "M", default_value_t = 4, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) workers: u32,
    /// Bytes of payload to submit in each size, at least one job for each that may be under way
    #[arg(long, value_name = "BYTES", default_value = "4gi", value_parser = count, help_heading = "Extent")]
    pub(crate) volume: u64,
    #[command(flatten)]
    pub(crate) open: Open,
}

/// How often the server's memory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

impl Measure for Big {
    fn common(&self) -> &Common {
        &self.common
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        self.sizes.iter().try_for_each(|&size| self.measure(target, report, size))
    }
}

impl Big {
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn measure(&self, target: Target, report: &mut Report, size: usize) -> Result<(), Abort> {
        let function = self.function.clone().into_bytes();
        let run = Arc::new(new_run(Picks::one(size), Picks::one(function), Uniques::Each));
        let under_way = u64::from(self.clients) * u64::from(self.inflight);
        let count = Extent::Jobs((self.volume / size as u64).max(under_way));
        let name = format!("{size} bytes");
        with_fleet(&run, target, report, |fleet, report| {
            fleet.seat((0..self.workers).map(|_| Worker::new(0..1, Grab::Uniq, 1)))?;
            fleet.seat((0..self.clients).map(|_| Client::new(Mode::Foreground, self.inflight)))?;
            fleet.settle(Order::Work)?;
            let (phases, memory) = watched(target.process, || {
                // The first ones make buffers grow, here and there; not counted.
                fleet.submit(Extent::Jobs(under_way), Unit::Answered)?;
                self.open.measure(fleet, report, &name, Unit::Answered, count)
            })?;
            for (name, outcome) in phases {
                // Every payload goes to the worker, and comes back as the result.
                let relayed = 2.0 * size as f64 * outcome.jobs as f64;
                let rate = relayed / outcome.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
                report.figure(format!("{name}: relayed, there and back"), rate / 1e9, "GB/s");
            }
            let Some(Memory { before, most }) = memory else { return Ok(()) };
            let grown = most.saturating_sub(before) as f64;
            report.figure(format!("{name}: memory grown"), grown / 1e6, "MB");
            // In an open loop that depends on how the server keeps up.
            if self.open.pace.rate.is_none() {
                let in_flight = (under_way * size as u64) as f64;
                report.figure(format!("{name}: in flight"), in_flight / 1e6, "MB");
                report.figure(format!("{name}: memory grown / in flight"), grown / in_flight, "x");
            }
            Ok(())
        })
    }
}

/// Resident memory of the server.
#[derive(Clone, Copy, Debug)]
struct Memory {
    before: u64,
    most: u64,
}

/// Looks at the memory of `process`, if it is known, while `steps` are taken.
fn watched<T>(
    process: Option<Process>,
    steps: impl FnOnce() -> Result<T, Abort>,
) -> Result<(T, Option<Memory>), Abort> {
    let Some(process) = process else { return Ok((steps()?, None)) };
    let before = process.usage()?.rss_bytes;
    let (done, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let mut most = before;
            while ended.recv_timeout(LOOK_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                // A server that has gone is noticed where its connections end.
                most = most.max(process.usage().map_or(0, |usage| usage.rss_bytes));
            }
            most
        });
        let outcome = steps();
        drop(done);
        let most = watch.join().map_err(|_| Abort("watching the server's memory failed".to_owned()))?;
        Ok((outcome?, Some(Memory { before, most })))
    })
}
