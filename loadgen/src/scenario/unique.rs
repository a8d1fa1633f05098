//! Many submits of few uniques: one run must answer them all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Args;
use gearshard::protocol::packet::{Command, Packet};

use super::{Measure, new_run, with_fleet};
use crate::abort::Abort;
use crate::engine::fleet::Target;
use crate::engine::ledger::Fault;
use crate::engine::payload::Stamp;
use crate::engine::plan::{Kind, Picks};
use crate::engine::progress::Unit;
use crate::engine::role::{Order, Role, Turn};
use crate::engine::run::Uniques;
use crate::options::values::{payload_bytes, positive};
use crate::options::{Common, Workers};
use crate::report::Report;

/// `unique`
#[derive(Args, Debug)]
pub(crate) struct Unique {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Function name
    #[arg(long, value_name = "NAME", default_value = "loadgen", help_heading = "Jobs")]
    pub(crate) function: String,
    /// Bytes of payload, at least 16
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = payload_bytes, help_heading = "Jobs")]
    pub(crate) size: usize,
    /// Different uniques, each of which is run once
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = positive, help_heading = "Jobs")]
    pub(crate) uniques: u32,
    /// How often each client submits each unique
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = positive, help_heading = "Jobs")]
    pub(crate) repeat: u32,
    /// Client connections; every one of them submits every unique
    #[arg(long, value_name = "C", default_value_t = 8, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) clients: u32,
    /// Submits that each client keeps unanswered by JOB_CREATED
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) inflight: u32,
    #[command(flatten)]
    pub(crate) workers: Workers,
}

/// After so long without a packet, no worker is going to get another job.
const SILENCE: Duration = Duration::from_millis(100);

/// The handle that the server gave for a job, the same for whoever submits its unique.
type Handles = Arc<Mutex<HashMap<u64, Vec<u8>>>>;

impl Measure for Unique {
    fn common(&self) -> &Common {
        &self.common
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        measure(self, target, report, "foreground", Kind::FOREGROUND)?;
        measure(self, target, report, "background", Kind::BACKGROUND)
    }
}

fn measure(
    options: &Unique,
    target: Target,
    report: &mut Report,
    name: &str,
    kind: Kind,
) -> Result<(), Abort> {
    let function = options.function.clone().into_bytes();
    let run = new_run(Picks::one(options.size), Picks::one(function), Uniques::Each);
    with_fleet(&run, target, report, |fleet, report| {
        fleet.seat(options.workers.roles(0..1))?;
        let handles = Handles::default();
        fleet.seat((0..options.clients).map(|_| Sharer::new(kind, options, Arc::clone(&handles))))?;
        let uniques = u64::from(options.uniques);
        let submits = uniques * u64::from(options.repeat) * u64::from(options.clients);
        // Nobody works yet, so that all have been submitted when the first one runs.
        let submitted = fleet.until(Unit::Accepted, submits, &[Order::Submit])?;
        let (unit, count) = if kind.background { (Unit::Ran, uniques) } else { (Unit::Answered, submits) };
        let worked = fleet.until(unit, count, &[Order::Work])?;
        // A job that was not shared, or an answer too many, would come now.
        fleet.quiet(SILENCE);
        report.phase(format!("submit, {name}"), &submitted);
        report.phase(format!("{}, {name}", if kind.background { "run" } else { "answer" }), &worked);
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        report.figure(
            format!("runs a submit, {name}"),
            run.progress.total(Unit::Ran) as f64 / submits as f64,
            "",
        );
        Ok(())
    })
}

/// What a client knows of one unique.
#[derive(Clone, Default)]
struct Share {
    /// WORK_COMPLETEs that are still to come.
    expected: u32,
    /// When it was last submitted.
    submitted: Option<Instant>,
}

/// A client that submits every unique a number of times, and expects as many answers.
struct Sharer {
    kind: Kind,
    in_flight: usize,
    /// Submits to make, counted down.
    left: u64,
    shares: Vec<Share>,
    /// Submits that JOB_CREATED has not answered.
    uncreated: VecDeque<(u64, Instant)>,
    handles: Handles,
}

impl Sharer {
    fn new(kind: Kind, options: &Unique, handles: Handles) -> Self {
        Self {
            kind,
            in_flight: options.inflight as usize,
            left: u64::from(options.uniques) * u64::from(options.repeat),
            shares: vec![Share::default(); options.uniques as usize],
            uncreated: VecDeque::new(),
            handles,
        }
    }

    fn submit_what_may_be(&mut self, turn: &mut Turn<'_>) {
        while self.left > 0 && self.uncreated.len() < self.in_flight {
            self.left -= 1;
            let number = self.left % self.shares.len() as u64;
            let run = turn.run;
            let unique = run.unique_of(number);
            let args = [run.function_of(number), unique.as_bytes()];
            turn.send_payload(self.kind.command(), &args, Stamp { number, slot: 0 });
            self.uncreated.push_back((number, turn.now));
            if !self.kind.background {
                let share = &mut self.shares[number as usize];
                share.expected += 1;
                share.submitted = Some(turn.now);
            }
        }
    }

    fn created(&mut self, turn: &mut Turn<'_>, handle: &[u8]) {
        let Some((number, at)) = self.uncreated.pop_front() else {
            return turn.run.ledger.fault(Fault::unexpected, 1);
        };
        let mut handles = self.handles.lock().expect("no holder panics");
        if handles.entry(number).or_insert_with(|| handle.to_vec()) != handle {
            turn.run.ledger.fault(Fault::mismatched, 1);
        }
        drop(handles);
        if self.kind.background {
            turn.tally.took(at, turn.now);
        }
        turn.tally.count(Unit::Accepted);
        self.submit_what_may_be(turn);
    }

    fn completed(&mut self, turn: &mut Turn<'_>, handle: &[u8], result: &[u8]) {
        let Ok(stamp) = turn.run.payloads.read(result) else {
            turn.run.ledger.fault(Fault::damaged, 1);
            return turn.tally.count(Unit::Answered);
        };
        let Some(share) = self.shares.get_mut(stamp.number as usize).filter(|share| share.expected > 0)
        else {
            return turn.run.ledger.fault(Fault::duplicated, 1);
        };
        share.expected -= 1;
        if let Some(at) = share.submitted {
            turn.tally.took(at, turn.now);
        }
        let handles = self.handles.lock().expect("no holder panics");
        if handles.get(&stamp.number).is_none_or(|created| created != handle) {
            turn.run.ledger.fault(Fault::mismatched, 1);
        }
        turn.tally.count(Unit::Answered);
    }

    fn refused(&mut self, turn: &mut Turn<'_>) {
        turn.run.ledger.fault(Fault::refused, 1);
        let Some((number, _)) = self.uncreated.pop_front() else { return };
        turn.tally.count(Unit::Accepted);
        if !self.kind.background {
            self.shares[number as usize].expected -= 1;
            turn.tally.count(Unit::Answered);
        }
        self.submit_what_may_be(turn);
    }
}

impl Role for Sharer {
    fn order(&mut self, turn: &mut Turn<'_>, order: Order) {
        if order == Order::Submit {
            self.submit_what_may_be(turn);
        }
    }

    fn packet(&mut self, turn: &mut Turn<'_>, packet: &Packet<'_>) {
        match packet.command {
            Command::JobCreated => self.created(turn, packet.args[0]),
            Command::WorkComplete => self.completed(turn, packet.args[0], packet.data),
            Command::WorkFail | Command::WorkException => {
                turn.run.ledger.fault(Fault::failed, 1);
                turn.tally.count(Unit::Answered);
            }
            Command::Error => self.refused(turn),
            _ => turn.run.ledger.fault(Fault::unexpected, 1),
        }
    }

    fn in_flight(&self) -> u64 {
        let expected: u64 = self.shares.iter().map(|share| u64::from(share.expected)).sum();
        expected.max(self.uncreated.len() as u64)
    }
}
