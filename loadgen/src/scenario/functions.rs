//! Workers with many functions beside the same number of workers with few.

use std::ops::Range;
use std::sync::Arc;

use clap::Args;

use super::{Measure, compare, with_fleet, with_functions};
use crate::abort::Abort;
use crate::engine::client::Mode;
use crate::engine::fleet::{Extent, Outcome, Target};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::worker::{Grab, Worker};
use crate::options::values::{count, positive};
use crate::options::{Clients, Common, Jobs};
use crate::report::Report;

/// `functions`
#[derive(Args, Debug)]
pub(crate) struct Functions {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    #[command(flatten)]
    pub(crate) clients: Clients,
    /// Functions in all
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = positive, help_heading = "Extent")]
    pub(crate) total: u32,
    /// Functions of each worker; there are total / each workers
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = positive, help_heading = "Extent")]
    pub(crate) each: u32,
    /// The same workers with so few functions, the same for all, to compare with
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = positive, help_heading = "Extent")]
    pub(crate) beside: u32,
    /// Instead of that only compare so many functions in all, jobs and workers staying the same
    #[arg(long, value_name = "N,...", value_delimiter = ',', num_args = 0..=1, default_missing_value = "1,10,100,1000,10000,100000", value_parser = positive, help_heading = "Extent")]
    pub(crate) spread: Option<Vec<u32>>,
    /// Workers of --spread, which share the functions between them
    #[arg(long, value_name = "M", default_value_t = 16, value_parser = positive, requires = "spread", help_heading = "Clients and workers")]
    pub(crate) workers: u32,
    /// Operations of each kind
    #[arg(long, value_name = "N", default_value = "100000", value_parser = count, help_heading = "Extent")]
    pub(crate) count: u64,
}

/// How functions are spread over workers.
struct Shape {
    /// Functions in all.
    total: u32,
    /// Functions of each worker.
    each: u32,
}

struct Costs {
    register: Outcome,
    vain: Outcome,
    enqueue: Outcome,
    drain: Outcome,
}

impl Measure for Functions {
    fn common(&self) -> &Common {
        &self.common
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        match &self.spread {
            Some(counts) => spread(self, counts, target, report),
            None => beside(self, target, report),
        }
    }
}

/// The same jobs and workers with one number of functions after the other.
fn spread(options: &Functions, counts: &[u32], target: Target, report: &mut Report) -> Result<(), Abort> {
    let mut fewest: Option<(u32, Outcome, Outcome)> = None;
    for &total in counts {
        let name = |index| format!("{}-{total:06}-{index:06}", options.jobs.function).into_bytes();
        let run = Arc::new(with_functions(&options.jobs, (0..total).map(name).collect()));
        let (enqueue, drain) = with_fleet(&run, target, report, |fleet, _| {
            let share = |worker| share_of(worker, options.workers, total);
            fleet.seat((0..options.workers).map(|worker| Worker::new(share(worker), Grab::Uniq, 1)))?;
            fleet.seat(options.clients.roles(Mode::Background))?;
            let enqueue = fleet.submit(Extent::Jobs(options.count), Unit::Accepted)?;
            Ok((enqueue, fleet.until(Unit::Ran, options.count, &[Order::Work])?))
        })?;
        report.phase(format!("enqueue, {total} functions"), &enqueue);
        report.phase(format!("drain, {total} functions"), &drain);
        if let Some((few, few_enqueue, few_drain)) = &fewest {
            compare(report, &format!("enqueue: {total} functions / {few}"), &enqueue, few_enqueue);
            compare(report, &format!("drain: {total} functions / {few}"), &drain, few_drain);
        } else {
            fewest = Some((total, enqueue, drain));
        }
    }
    Ok(())
}

/// Every function has a worker, and every worker has a function.
fn share_of(worker: u32, workers: u32, total: u32) -> Range<usize> {
    let bound = |worker: u32| (u64::from(worker) * u64::from(total) / u64::from(workers)) as usize;
    if total < workers {
        let only = (worker % total) as usize;
        return only..only + 1;
    }
    bound(worker)..bound(worker + 1)
}

/// Workers with many functions beside workers with few.
fn beside(options: &Functions, target: Target, report: &mut Report) -> Result<(), Abort> {
    let workers = (options.total / options.each).max(1);
    // The small one first: a server may keep functions for ever.
    let few =
        measure(options, target, report, workers, &Shape { total: options.beside, each: options.beside })?;
    let many = measure(
        options,
        target,
        report,
        workers,
        &Shape { total: workers * options.each, each: options.each },
    )?;
    let pairs = [
        ("register", &few.register, &many.register),
        ("grab in vain", &few.vain, &many.vain),
        ("enqueue", &few.enqueue, &many.enqueue),
        ("drain", &few.drain, &many.drain),
    ];
    for (name, few, many) in pairs {
        if let (Some(few), Some(many)) = (few.used.server, many.used.server) {
            let ratio = many.cpu_us_per_job / few.cpu_us_per_job.max(f64::MIN_POSITIVE);
            report.figure(format!("{name}: many functions / few"), ratio, "x processor time");
        }
    }
    Ok(())
}

fn measure(
    options: &Functions,
    target: Target,
    report: &mut Report,
    workers: u32,
    shape: &Shape,
) -> Result<Costs, Abort> {
    let name = |index| format!("{}-{:06}-{index:06}", options.jobs.function, shape.total).into_bytes();
    let run = Arc::new(with_functions(&options.jobs, (0..shape.total).map(name).collect()));
    with_fleet(&run, target, report, |fleet, report| {
        // Seated, the server makes the functions' acquaintance; that is not counted.
        fleet.seat((0..workers).map(|worker| Worker::new(functions_of(worker, shape), Grab::Uniq, 1)))?;
        fleet.seat(options.clients.roles(Mode::Background))?;
        let per_worker = options.count.div_ceil(u64::from(workers));
        let rounds = times(per_worker.div_ceil(u64::from(shape.each)));
        let mut register = fleet.settle(Order::Register(rounds))?;
        register.recount(u64::from(rounds) * u64::from(shape.each) * u64::from(workers));

        let vain = times(per_worker);
        let all = u64::from(vain) * u64::from(workers);
        let vain = fleet.until(Unit::Missed, all, &[Order::GrabInVain(vain)])?;
        let enqueue = fleet.submit(Extent::Jobs(options.count), Unit::Accepted)?;
        let drain = fleet.until(Unit::Ran, options.count, &[Order::Work])?;
        for (what, outcome) in
            [("register", &register), ("grab in vain", &vain), ("enqueue", &enqueue), ("drain", &drain)]
        {
            report.phase(format!("{what}, {} of {}", shape.each, shape.total), outcome);
        }
        Ok(Costs { register, vain, enqueue, drain })
    })
}

fn functions_of(worker: u32, shape: &Shape) -> Range<usize> {
    let first = (worker * shape.each % shape.total) as usize;
    first..first + shape.each as usize
}

fn times(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_a_worker() {
        for (workers, total) in [(16, 1), (16, 3), (16, 16), (16, 17), (3, 100_000)] {
            let mut seen = vec![0; total as usize];
            for worker in 0..workers {
                let share = share_of(worker, workers, total);
                assert!(!share.is_empty());
                share.for_each(|function| seen[function] += 1);
            }
            assert!(seen.iter().all(|&times| times >= 1), "{workers} {total}");
        }
    }
}
