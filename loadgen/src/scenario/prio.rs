//! Three priorities, drained by one worker: the order is checked strictly, and
//! the cost is compared with that of the same jobs without priorities.

use std::sync::Arc;

use clap::Args;

use super::{Measure, compare, new_run, with_fleet};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Extent, Outcome, Target};
use crate::engine::plan::{Kind, Level, Picks};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::worker::{Grab, Worker};
use crate::options::values::{count, positive};
use crate::options::{Common, Jobs};
use crate::report::Report;

/// `prio`
#[derive(Args, Debug)]
pub(crate) struct Prio {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    /// Jobs that the one client keeps unanswered while it enqueues
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) inflight: u32,
    /// GRAB_JOBs that the one worker keeps unanswered while it drains
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) grabs: u32,
    /// Jobs to enqueue and drain, a third of them of each priority
    #[arg(long, value_name = "N", default_value = "60000", value_parser = count, help_heading = "Extent")]
    pub(crate) count: u64,
    /// How often, by turns with and without priorities
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = positive, help_heading = "Extent")]
    pub(crate) rounds: u32,
}

/// Enqueued lowest first, so that a server without priorities is noticed at once.
const LEVELS: [Level; 3] = [Level::Low, Level::Normal, Level::High];

struct Costs {
    enqueue: Outcome,
    drain: Outcome,
}

impl Measure for Prio {
    fn common(&self) -> &Common {
        &self.common
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        let (mut with, mut without): (Option<Costs>, Option<Costs>) = (None, None);
        for _ in 0..self.rounds {
            let levels = LEVELS.map(|level| Kind { background: true, level }).to_vec();
            add(&mut with, measure(self, target, report, Picks::in_turn(levels))?);
            add(&mut without, measure(self, target, report, Picks::one(Kind::BACKGROUND))?);
        }
        if let (Some(with), Some(without)) = (with, without) {
            report.phase("enqueue, three priorities", &with.enqueue);
            report.phase("drain, three priorities", &with.drain);
            report.phase("enqueue, one priority", &without.enqueue);
            report.phase("drain, one priority", &without.drain);
            for (name, with, without) in
                [("enqueue", &with.enqueue, &without.enqueue), ("drain", &with.drain, &without.drain)]
            {
                compare(report, &format!("{name}: three priorities / one"), with, without);
            }
        }
        Ok(())
    }
}

fn add(sum: &mut Option<Costs>, more: Costs) {
    *sum = Some(match sum.take() {
        None => more,
        Some(sum) => Costs { enqueue: sum.enqueue.and(more.enqueue), drain: sum.drain.and(more.drain) },
    });
}

fn measure(options: &Prio, target: Target, report: &mut Report, kinds: Picks<Kind>) -> Result<Costs, Abort> {
    let function = options.jobs.function.clone().into_bytes();
    let mut run = new_run(Picks::one(options.jobs.size), Picks::one(function), options.jobs.unique);
    Arc::get_mut(&mut run).expect("nobody else has it yet").kinds = kinds;
    with_fleet(&run, target, report, |fleet, _| {
        fleet.seat([Worker::new(0..1, Grab::Uniq, options.grabs).in_order(true)])?;
        fleet.seat([Client::new(Mode::Planned, options.inflight)])?;
        let enqueue = fleet.submit(Extent::Jobs(options.count), Unit::Accepted)?;
        let drain = fleet.until(Unit::Ran, options.count, &[Order::Work])?;
        Ok(Costs { enqueue, drain })
    })
}
