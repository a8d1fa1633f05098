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

/// A worker for some of the run's functions.
pub(crate) struct Worker {
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
    order: InOrder,
    /// The last job, or that of each level.
    last: [Option<(Level, u64)>; 3],
    /// GRAB_JOBs still to be sent in vain.
    in_vain: u32,
}

impl Worker {
    /// A worker for the run's functions `functions` that keeps `grabs` GRAB_JOBs unanswered.
    pub(crate) fn new(functions: std::ops::Range<usize>, grab: Grab, grabs: u32) -> Self {
        Self {
            functions,
            grab,
            grabs,
            unanswered: 0,
            asleep: false,
            sleeps: false,
            rests: false,
            order: InOrder::Any,
            last: [None; 3],
            in_vain: 0,
        }
    }

    /// Jobs must come in this order: there is one client and one such worker.
    pub(crate) fn in_order(self, order: InOrder) -> Self {
        Self { order, ..self }
    }

    fn grab(&mut self, turn: &mut Turn<'_>) {
        let command = match self.grab {
            Grab::Job => Command::GrabJob,
            Grab::Uniq => Command::GrabJobUniq,
            Grab::All => Command::GrabJobAll,
        };
        turn.send(command, &[], &[]);
        self.unanswered += 1;
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

    fn assigned(
        &mut self,
        turn: &mut Turn<'_>,
        handle: &[u8],
        function: &[u8],
        unique: Option<&[u8]>,
        data: &[u8],
    ) {
        let run = turn.run;
        let read = if run.any_run {
            run.payloads.read_any(data)
        } else {
            run.payloads.read(data).map(|stamp| (run.payloads.run(), stamp))
        };
        match read {
            Ok((tag, stamp)) => {
                let as_submitted = function == turn.run.function_of(stamp.number)
                    && unique.is_none_or(|unique| unique == turn.run.unique_in(tag, stamp.number).as_bytes());
                if !as_submitted {
                    turn.run.ledger.fault(Fault::damaged, 1);
                }
                turn.run.ledger.ran(tag, stamp.number);
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
            Err(Damage::Foreign) => turn.run.ledger.fault(Fault::foreign, 1),
            Err(Damage::Damaged) => {
                turn.run.ledger.fault(Fault::damaged, 1);
                turn.tally.count(Unit::Ran);
            }
        }
        turn.send(Command::WorkComplete, &[handle], data);
        self.unanswered = self.unanswered.saturating_sub(1);
        if !self.rests {
            self.grab_up_to(turn, self.grabs);
        }
    }

    fn missed(&mut self, turn: &mut Turn<'_>) {
        turn.tally.count(Unit::Missed);
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.in_vain > 0 {
            self.in_vain -= 1;
            self.grab(turn);
        } else if self.unanswered == 0 && self.sleeps && !self.rests {
            self.sleep(turn);
        }
    }
}

impl Role for Worker {
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
            Command::JobAssign => self.assigned(turn, first, second, None, packet.data),
            Command::JobAssignUniq | Command::JobAssignAll => {
                self.assigned(turn, first, second, Some(third), packet.data);
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
