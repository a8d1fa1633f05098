//! Three priorities, drained by one worker: the order is checked strictly, and
//! the cost is compared with that of the same jobs without priorities.

use std::sync::Arc;

use clap::Args;
use gearshard::protocol::packet::{Command, Packet};

use super::{booked, new_run};
use crate::abort::Abort;
use crate::engine::client::{Client, Mode};
use crate::engine::fleet::{Extent, Fleet, Outcome, Target};
use crate::engine::ledger::Fault;
use crate::engine::plan::{Kind, Level, Picks};
use crate::engine::progress::Unit;
use crate::engine::role::{Order, Role, Turn};
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

pub(super) fn run(options: &Prio, target: Target, report: &mut Report) -> Result<(), Abort> {
    let (mut with, mut without): (Option<Costs>, Option<Costs>) = (None, None);
    for _ in 0..options.rounds {
        let levels = LEVELS.map(|level| Kind { background: true, level }).to_vec();
        add(&mut with, measure(options, target, report, Picks::in_turn(levels))?);
        add(&mut without, measure(options, target, report, Picks::one(Kind::BACKGROUND))?);
    }
    if let (Some(with), Some(without)) = (with, without) {
        report.phase("enqueue, three priorities", &with.enqueue);
        report.phase("drain, three priorities", &with.drain);
        report.phase("enqueue, one priority", &without.enqueue);
        report.phase("drain, one priority", &without.drain);
        for (name, with, without) in
            [("enqueue", &with.enqueue, &without.enqueue), ("drain", &with.drain, &without.drain)]
        {
            super::compare(report, &format!("{name}: three priorities / one"), with, without);
        }
    }
    Ok(())
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
    booked(&run, report, |_| {
        let mut fleet = Fleet::start(Arc::clone(&run), target)?;
        fleet.seat(Strict { worker: Worker::new(0..1, Grab::Uniq, options.grabs), last: None })?;
        fleet.seat(Client::new(Mode::Planned, options.inflight))?;
        fleet.settle(Order::Register(1))?;
        let enqueue = fleet.submit(Extent::Jobs(options.count), Unit::Accepted, &[])?;
        let drain = fleet.until(Unit::Ran, options.count, &[Order::Work])?;
        Ok(Costs { enqueue, drain })
    })
}

/// A worker that must get all high jobs first, all low ones last, and those of
/// one priority in the order in which they were submitted.
struct Strict {
    worker: Worker,
    last: Option<(Level, u64)>,
}

impl Role for Strict {
    fn order(&mut self, turn: &mut Turn<'_>, order: Order) {
        self.worker.order(turn, order);
    }

    fn packet(&mut self, turn: &mut Turn<'_>, packet: &Packet<'_>) {
        let assigned =
            matches!(packet.command, Command::JobAssign | Command::JobAssignUniq | Command::JobAssignAll);
        // What is wrong with a payload the worker itself will say.
        if assigned && let Ok(stamp) = turn.run.payloads.read(packet.data) {
            let this = (turn.run.kinds.of(stamp.number).level, stamp.number);
            // Having the same again is another fault, which the books show.
            if self.last.is_some_and(|last| this < last) {
                turn.run.ledger.fault(Fault::reordered, 1);
            }
            self.last = Some(this);
        }
        self.worker.packet(turn, packet);
    }
}
