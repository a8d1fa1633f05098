//! Foreground jobs.

use std::sync::Arc;

use clap::Args;

use super::length::Length;
use super::load::{Open, Side, Woken, fifo_can_be_checked};
use super::{Measure, new_run, with_fleet, with_functions};
use crate::abort::Abort;
use crate::engine::client::Mode;
use crate::engine::fleet::{Extent, Target};
use crate::engine::plan::Picks;
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::run::Run;
use crate::engine::worker::InOrder;
use crate::options::values::{count, positive};
use crate::options::{Clients, Common, Load, Workers};
use crate::report::Report;

/// `fg`
#[derive(Args, Debug)]
pub(crate) struct Fg {
    #[command(flatten)]
    pub(crate) load: Load,
    /// More workers of the same function that only sleep, and work when woken
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Clients and workers")]
    pub(crate) sleepers: u32,
    /// Jobs that all clients keep unanswered together, each submitting in its turn, instead of --inflight each
    #[arg(long, value_name = "N", conflicts_with_all = ["inflight", "rate"], value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) together: Option<u32>,
    /// Functions that every worker serves; jobs go to each of them in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, help_heading = "Jobs")]
    pub(crate) functions: u32,
    /// More functions that every worker serves, and nobody submits to
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Jobs")]
    pub(crate) idle_functions: u32,
    /// Background jobs that wait meanwhile in a function without workers; enqueued before, drained after that
    #[arg(long, value_name = "N", default_value = "0", value_parser = count, help_heading = "Jobs")]
    pub(crate) backlog: u64,
    /// Functions of the backlog
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, help_heading = "Jobs")]
    pub(crate) backlog_functions: u32,
    /// Which side runs here; the other may run on another host
    #[arg(long, value_enum, default_value = "both", help_heading = "Clients and workers")]
    pub(crate) side: Side,
    /// Check that jobs run in the order of their submission; needs one client, one worker and one function
    #[arg(long, conflicts_with = "functions", help_heading = "Clients and workers")]
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
        if self.backlog == 0 {
            return self.foreground(target, report);
        }
        if self.side != Side::Both {
            return Err(Abort("--backlog needs both sides here".to_owned()));
        }
        let Load { jobs, clients, workers, .. } = &self.load;
        let backlog =
            with_functions(jobs, names(&format!("{}-backlog", jobs.function), self.backlog_functions));
        let backlog = Arc::new(backlog);
        with_fleet(&backlog, target, report, |fleet, report| {
            fleet.seat(clients.roles(Mode::Background))?;
            report.phase("enqueue the backlog", &fleet.submit(Extent::Jobs(self.backlog), Unit::Accepted)?);
            self.foreground(target, report)?;
            fleet.seat(workers.roles(0..self.backlog_functions as usize))?;
            report.phase("drain the backlog", &fleet.until(Unit::Ran, self.backlog, &[Order::Work])?);
            Ok(())
        })
    }
}

impl Fg {
    fn foreground(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        let Load { clients, workers, .. } = &self.load;
        let clients =
            Clients { inflight: if self.together.is_some() { 0 } else { clients.inflight }, ..*clients };
        let all = Workers { workers: workers.workers + self.sleepers, ..workers.clone() };
        if self.fifo {
            fifo_can_be_checked(clients.clients, all.workers, self.side)?;
        }
        let mut plan = self.plan();
        plan.together = self.together.map_or(0, u64::from).div_ceil(target.threads as u64);
        let run = Arc::new(self.side.run(plan));
        with_fleet(&run, target, report, |fleet, report| {
            let workers = all.roles(0..run.functions.values().len());
            let workers = workers.map(|worker| worker.in_order(InOrder::fifo(self.fifo)));
            let clients = clients.roles(Mode::Foreground);
            if !self.side.begin(fleet, report, workers, clients, self.length.extent())? {
                return Ok(());
            }
            self.open.warm_up(fleet, Unit::Answered, self.length.warmup())?;
            let woken = Woken::count(&run, Unit::Answered);
            self.open.measure(fleet, report, "foreground", Unit::Answered, self.length.extent())?;
            if self.side.works() {
                woken.report(&run, Unit::Answered, report);
            }
            Ok(())
        })
    }

    fn plan(&self) -> Run {
        let jobs = &self.load.jobs;
        let all = names(&jobs.function, self.functions.saturating_add(self.idle_functions));
        let functions = Picks::first_in_turn(all, self.functions as usize);
        new_run(Picks::one(jobs.size), functions, jobs.unique)
    }
}

/// So many functions: one with the bare name, or several with names of one length.
pub(super) fn names(name: &str, count: u32) -> Vec<Vec<u8>> {
    match count {
        1 => vec![name.as_bytes().to_vec()],
        _ => (0..count).map(|index| format!("{name}-{index:06}").into_bytes()).collect(),
    }
}
