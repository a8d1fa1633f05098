//! A worker: asks for jobs, checks them, and sends the payload back as the result.

use gearshard::protocol::packet::{Command, Packet};

use crate::engine::ledger::Fault;
use crate::engine::payload::Damage;
use crate::engine::plan::Level;
use crate::engine::progress::Unit;
use crate::engine::role::{Order, Role, Turn};

/// How a worker asks for jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Grab {
    /// GRAB_JOB
    Job,
    /// GRAB_JOB_UNIQ
    Uniq,
    /// GRAB_JOB_ALL
    All,
}

/// The order that jobs must come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InOrder {
    Any,
    /// By priority, and as they were submitted: all are before the worker begins.
    All,
    /// As they were submitted, among those of one priority.
    Level,
}

impl InOrder {
    /// As they were submitted, if that `is` wanted; all have one priority.
    pub(crate) const fn fifo(is: bool) -> Self {
        if is { Self::Level } else { Self::Any }
    }
}

/// GRAB_JOBs sent ahead while asking in vain.
const VAIN_GRABS_AHEAD: u32 = 16;

/// A job that a worker was assigned.
pub(crate) struct Assigned<'a> {
    pub(crate) handle: &'a [u8],
    pub(crate) function: &'a [u8],
    /// Where the worker asks for it.
    pub(crate) unique: Option<&'a [u8]>,
    pub(crate) data: &'a [u8],
}

/// What a worker makes of its jobs, whose payloads it sends back.
pub(crate) trait Check: Send {
    /// A GRAB_JOB is sent.
    fn grabbed(&mut self) {}
    /// A GRAB_JOB was answered.
    fn answered(&mut self) {}
    /// A job came; its result is sent behind this.
    fn assigned(&mut self, turn: &mut Turn<'_>, job: &Assigned<'_>);
}

/// Counts a job that has run before, is not as it was submitted, or comes out of order.
pub(crate) struct Once {
    order: InOrder,
    /// The last job, or that of each level.
    last: [Option<(Level, u64)>; 3],
}

impl Check for Once {
    fn assigned(&mut self, turn: &mut Turn<'_>, job: &Assigned<'_>) {
        let run = turn.run;
        let read = if run.any_run {
            run.payloads.read_any(job.data)
        } else {
            run.payloads.read(job.data).map(|stamp| (run.payloads.run(), stamp))
        };
        match read {
            Ok((tag, stamp)) => {
                let as_submitted = job.function == run.function_of(stamp.number)
                    && job.unique.is_none_or(|unique| unique == run.unique_in(tag, stamp.number).as_bytes());
                if !as_submitted {
                    run.ledger.fault(Fault::damaged, 1);
                }
                run.ledger.ran(tag, stamp.number);
                let this = (run.kinds.of(stamp.number).level, stamp.number);
                let last = match self.order {
                    InOrder::Any => None,
                    InOrder::All => Some(&mut self.last[0]),
                    InOrder::Level => Some(&mut self.last[this.0 as usize]),
                };
                // Having the same again is another fault, which the books show.
                if last.and_then(|last| last.replace(this)).is_some_and(|last| this < last) {
                    run.ledger.fault(Fault::reordered, 1);
                }
                turn.tally.count(Unit::Ran);
            }
            Err(Damage::Foreign) => run.ledger.fault(Fault::foreign, 1),
            Err(Damage::Damaged) => {
                run.ledger.fault(Fault::damaged, 1);
                turn.tally.count(Unit::Ran);
            }
        }
    }
}

/// A worker for some of the run's functions.
pub(crate) struct Worker<C = Once> {
    /// First of its functions, and how many follow each other from there.
    functions: std::ops::Range<usize>,
    grab: Grab,
    /// GRAB_JOBs that it keeps unanswered while there are jobs.
    grabs: u32,
    /// GRAB_JOBs that are unanswered.
    unanswered: u32,
    asleep: bool,
    /// Whether it sleeps when there is no job; not while it asks in vain.
    sleeps: bool,
    /// Whether it is to ask for no more jobs.
    rests: bool,
    /// GRAB_JOBs still to be sent in vain.
    in_vain: u32,
    check: C,
}

impl Worker {
    /// A worker for the run's functions `functions` that keeps `grabs` GRAB_JOBs unanswered.
    pub(crate) fn new(functions: std::ops::Range<usize>, grab: Grab, grabs: u32) -> Self {
        Self::checked_by(Once { order: InOrder::Any, last: [None; 3] }, functions, grab, grabs)
    }

    /// Jobs must come in this order: there is one client and one such worker.
    pub(crate) fn in_order(mut self, order: InOrder) -> Self {
        self.check.order = order;
        self
    }
}

impl<C: Check> Worker<C> {
    /// As [`new`](Worker::new), with another check.
    pub(crate) fn checked_by(check: C, functions: std::ops::Range<usize>, grab: Grab, grabs: u32) -> Self {
        Self {
            functions,
            grab,
            grabs,
            unanswered: 0,
            asleep: false,
            sleeps: false,
            rests: false,
            in_vain: 0,
            check,
        }
    }

    fn grab(&mut self, turn: &mut Turn<'_>) {
        let command = match self.grab {
            Grab::Job => Command::GrabJob,
            Grab::Uniq => Command::GrabJobUniq,
            Grab::All => Command::GrabJobAll,
        };
        turn.send(command, &[], &[]);
        self.unanswered += 1;
        self.check.grabbed();
    }

    fn grab_up_to(&mut self, turn: &mut Turn<'_>, wanted: u32) {
        self.asleep = false;
        while self.unanswered < wanted {
            self.grab(turn);
        }
    }

    fn sleep(&mut self, turn: &mut Turn<'_>) {
        turn.send(Command::PreSleep, &[], &[]);
        self.asleep = true;
    }

    fn register(&mut self, turn: &mut Turn<'_>, times: u32) {
        for time in 0..times {
            if time > 0 {
                turn.send(Command::ResetAbilities, &[], &[]);
            }
            for function in self.functions.clone() {
                let run = turn.run;
                turn.send(Command::CanDo, &[&run.functions.values()[function]], &[]);
            }
        }
    }

    fn assigned(&mut self, turn: &mut Turn<'_>, job: &Assigned<'_>) {
        self.answered();
        self.check.assigned(turn, job);
        turn.send(Command::WorkComplete, &[job.handle], job.data);
        if !self.rests {
            self.grab_up_to(turn, self.grabs);
        }
    }

    fn answered(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.check.answered();
    }

    fn missed(&mut self, turn: &mut Turn<'_>) {
        turn.tally.count(Unit::Missed);
        self.answered();
        if self.in_vain > 0 {
            self.in_vain -= 1;
            self.grab(turn);
        } else if self.unanswered == 0 && self.sleeps && !self.rests {
            self.sleep(turn);
        }
    }
}

impl<C: Check> Role for Worker<C> {
    fn seated(&mut self, turn: &mut Turn<'_>) {
        self.register(turn, 1);
    }

    fn order(&mut self, turn: &mut Turn<'_>, order: Order) {
        match order {
            Order::Work => {
                self.rests = false;
                self.sleeps = true;
                self.grab_up_to(turn, self.grabs);
            }
            Order::Rest => self.rests = true,
            Order::Sleep => {
                self.rests = false;
                self.sleeps = true;
                self.sleep(turn);
            }
            Order::Register(times) => self.register(turn, times),
            Order::GrabInVain(times) => {
                self.sleeps = false;
                let ahead = times.min(VAIN_GRABS_AHEAD);
                self.in_vain = times - ahead;
                self.grab_up_to(turn, ahead);
            }
            Order::Submit | Order::Echo => {}
        }
    }

    fn packet(&mut self, turn: &mut Turn<'_>, packet: &Packet<'_>) {
        let [first, second, third, ..] = packet.args;
        match packet.command {
            Command::JobAssign | Command::JobAssignUniq | Command::JobAssignAll => {
                let unique = (packet.command != Command::JobAssign).then_some(third);
                self.assigned(turn, &Assigned { handle: first, function: second, unique, data: packet.data });
            }
            Command::NoJob => self.missed(turn),
            Command::Noop => {
                turn.tally.count(Unit::Woken);
                if self.asleep && !self.rests {
                    self.grab_up_to(turn, self.grabs);
                }
            }
            Command::Error => turn.run.ledger.fault(Fault::refused, 1),
            _ => turn.run.ledger.fault(Fault::unexpected, 1),
        }
    }
}
