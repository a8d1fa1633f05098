//! Three priorities, drained by one worker: the order is checked strictly, and
//! the cost is compared with that of the same jobs without priorities. In an
//! open loop the worker works while jobs come, and each priority's latency is
//! kept apart.

use std::sync::Arc;

use clap::Args;

use super::load::Open;
use super::{Measure, compare, one_function, with_fleet};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Extent, Fleet, Outcome, Target};
use crate::engine::plan::{Kind, Level, Picks};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::run::Run;
use crate::engine::worker::{Grab, InOrder, Worker};
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
    /// How often, by turns with and without priorities; not in an open loop
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = positive, help_heading = "Extent")]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) open: Open,
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
        if self.open.pace.rate.is_some() {
            return self.answer(target, report);
        }
        let (mut with, mut without): (Option<Costs>, Option<Costs>) = (None, None);
        for _ in 0..self.rounds {
            let levels = LEVELS.map(|level| Kind { background: true, level }).to_vec();
            add(&mut with, self.enqueue_and_drain(target, report, Picks::in_turn(levels))?);
            add(&mut without, self.enqueue_and_drain(target, report, Picks::one(Kind::BACKGROUND))?);
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

impl Prio {
    fn plan(&self, kinds: Picks<Kind>) -> Run {
        let mut run = one_function(&self.jobs);
        run.kinds = kinds;
        run
    }

    fn enqueue_and_drain(
        &self,
        target: Target,
        report: &mut Report,
        kinds: Picks<Kind>,
    ) -> Result<Costs, Abort> {
        let run = Arc::new(self.plan(kinds));
        with_fleet(&run, target, report, |fleet, _| {
            self.seat(fleet, InOrder::All)?;
            let enqueue = fleet.submit(Extent::Jobs(self.count), Unit::Accepted)?;
            let drain = fleet.until(Unit::Ran, self.count, &[Order::Work])?;
            Ok(Costs { enqueue, drain })
        })
    }

    /// Foreground jobs of all priorities as they are due.
    fn answer(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        let levels = LEVELS.map(|level| Kind { background: false, level }).to_vec();
        let run = Arc::new(self.plan(Picks::in_turn(levels)).in_parts());
        with_fleet(&run, target, report, |fleet, report| {
            self.seat(fleet, InOrder::Level)?;
            fleet.settle(Order::Work)?;
            self.open.measure(fleet, report, "three priorities", Unit::Answered, Extent::Jobs(self.count))?;
            Ok(())
        })
    }

    fn seat(&self, fleet: &mut Fleet, order: InOrder) -> Result<(), Abort> {
        fleet.seat([Worker::new(0..1, Grab::Uniq, self.grabs).in_order(order)])?;
        fleet.seat([Client::new(Mode::Planned, self.inflight)])
    }
}

fn add(sum: &mut Option<Costs>, more: Costs) {
    *sum = Some(match sum.take() {
        None => more,
        Some(sum) => Costs { enqueue: sum.enqueue.and(more.enqueue), drain: sum.drain.and(more.drain) },
    });
}
