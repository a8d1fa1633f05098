//! Workers with many functions beside the same number of workers with few.

use std::ops::Range;
use std::sync::Arc;

use clap::Args;

use super::{booked, with_functions};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Extent, Fleet, Outcome, Target};
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

pub(super) fn run(options: &Functions, target: Target, report: &mut Report) -> Result<(), Abort> {
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
        if let (Some(few), Some(many)) = (few.server, many.server) {
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
    let name = |index| format!("{}-{}-{index}", options.jobs.function, shape.total).into_bytes();
    let run = with_functions(&options.jobs, (0..shape.total).map(name).collect());
    let mut costs = None;
    booked(&run, report, |report| {
        let mut fleet = Fleet::start(Arc::clone(&run), target)?;
        for worker in 0..workers {
            fleet.seat(Worker::new(functions_of(worker, shape), Grab::Uniq, 1))?;
        }
        for _ in 0..options.clients.clients {
            fleet.seat(Client::new(Mode::Background, options.clients.inflight))?;
        }
        let per_worker = options.count.div_ceil(u64::from(workers));
        let rounds = times(per_worker.div_ceil(u64::from(shape.each)));
        // The first time the server makes the functions' acquaintance; not counted.
        fleet.settle(Order::Register(1))?;
        let mut register = fleet.settle(Order::Register(rounds))?;
        register.recount(u64::from(rounds) * u64::from(shape.each) * u64::from(workers));

        let vain = times(per_worker);
        let all = u64::from(vain) * u64::from(workers);
        let vain = fleet.until(Unit::Missed, all, &[Order::GrabInVain(vain)])?;
        let enqueue = fleet.submit(Extent::Jobs(options.count), Unit::Accepted, &[])?;
        let drain = fleet.until(Unit::Ran, options.count, &[Order::Work])?;
        for (what, outcome) in
            [("register", &register), ("grab in vain", &vain), ("enqueue", &enqueue), ("drain", &drain)]
        {
            report.phase(format!("{what}, {} of {}", shape.each, shape.total), outcome);
        }
        costs = Some(Costs { register, vain, enqueue, drain });
        Ok(())
    })?;
    Ok(costs.expect("all was measured"))
}

fn functions_of(worker: u32, shape: &Shape) -> Range<usize> {
    let first = (worker * shape.each % shape.total) as usize;
    first..first + shape.each as usize
}

fn times(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
