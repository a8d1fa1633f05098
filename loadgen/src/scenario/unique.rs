//! Many submits of few uniques: one run must answer them all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Args;
use gearshard::protocol::packet::Packet;

use super::load::Open;
use super::{Measure, new_run, with_fleet};
use crate::abort::Abort;
use crate::engine::client::Submitter;
use crate::engine::fleet::{Extent, Target};
use crate::engine::ledger::Fault;
use crate::engine::payload::Stamp;
use crate::engine::plan::{Kind, Picks};
use crate::engine::progress::{Began, Unit};
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
    #[command(flatten)]
    pub(crate) open: Open,
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

impl Unique {
    /// Submits that each client makes.
    fn submits_of_each(&self) -> u64 {
        u64::from(self.uniques) * u64::from(self.repeat)
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
    let run = Arc::new(new_run(Picks::one(options.size), Picks::one(function), Uniques::Each));
    with_fleet(&run, target, report, |fleet, report| {
        fleet.seat(options.workers.roles(0..1))?;
        let handles = Handles::default();
        fleet.seat((0..options.clients).map(|_| Sharer::new(kind, options, Arc::clone(&handles))))?;
        let uniques = u64::from(options.uniques);
        let submits = options.submits_of_each() * u64::from(options.clients);
        // Nobody works yet, so that all have been submitted when the first one runs.
        let name_of = |what: &str| format!("{what}, {name}");
        let extent = Extent::Jobs(submits);
        options.open.measure(fleet, report, &name_of("submit"), Unit::Accepted, extent)?;
        let (unit, count) = if kind.background { (Unit::Ran, uniques) } else { (Unit::Answered, submits) };
        let worked = fleet.until(unit, count, &[Order::Work])?;
        // A job that was not shared, or an answer too many, would come now.
        fleet.quiet(SILENCE);
        report.phase(name_of(if kind.background { "run" } else { "answer" }), &worked);
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let runs = run.progress.total(Unit::Ran) as f64 / submits as f64;
        report.figure(name_of("runs a submit"), runs, "");
        Ok(())
    })
}

/// What a client knows of one unique.
#[derive(Clone, Default)]
struct Share {
    /// WORK_COMPLETEs that are still to come.
    expected: u32,
    /// When it was last submitted.
    submitted: Option<Began>,
}

/// A client that submits every unique a number of times, or those of the submits
/// that are due, and expects an answer to each submit.
struct Sharer {
    kind: Kind,
    in_flight: usize,
    /// In a closed loop: submits to make, counted down.
    left: u64,
    /// Clients that do the same.
    clients: u64,
    shares: Vec<Share>,
    /// Submits that JOB_CREATED has not answered.
    uncreated: VecDeque<(u64, Began)>,
    handles: Handles,
}

impl Sharer {
    fn new(kind: Kind, options: &Unique, handles: Handles) -> Self {
        Self {
            kind,
            in_flight: options.inflight as usize,
            left: if options.open.pace.rate.is_some() { 0 } else { options.submits_of_each() },
            clients: u64::from(options.clients),
            shares: vec![Share::default(); options.uniques as usize],
            uncreated: VecDeque::new(),
            handles,
        }
    }

    fn submit_what_may_be(&mut self, turn: &mut Turn<'_>) {
        while self.left > 0 && self.uncreated.len() < self.in_flight {
            self.left -= 1;
            self.submit(turn, self.left, turn.now.into());
        }
    }

    fn submit(&mut self, turn: &mut Turn<'_>, submit: u64, at: Began) {
        let number = submit % self.shares.len() as u64;
        turn.tally.count(Unit::Submitted);
        let run = turn.run;
        let unique = run.unique_of(number);
        let args = [run.function_of(number), unique.as_bytes()];
        turn.send_payload(self.kind.command(), &args, Stamp { number, slot: 0 });
        self.uncreated.push_back((number, at));
        if !self.kind.background {
            let share = &mut self.shares[number as usize];
            share.expected += 1;
            share.submitted = Some(at);
        }
    }
}

impl Submitter for Sharer {
    fn created(&mut self, turn: &mut Turn<'_>, handle: &[u8]) {
        let Some((number, at)) = self.uncreated.pop_front() else {
            return turn.run.ledger.fault(Fault::unexpected, 1);
        };
        let mut handles = self.handles.lock().expect("no holder panics");
        if handles.entry(number).or_insert_with(|| handle.to_vec()) != handle {
            turn.run.ledger.fault(Fault::mismatched, 1);
        }
        drop(handles);
        turn.took(number, at);
        turn.tally.count(Unit::Accepted);
        self.submit_what_may_be(turn);
    }

    fn completed(&mut self, turn: &mut Turn<'_>, handle: &[u8], result: &[u8]) {
        let Ok(stamp) = turn.run.payloads.read(result) else {
            turn.run.ledger.fault(Fault::damaged, 1);
            return turn.tally.count(Unit::Answered);
        };
        let share = self.shares.get_mut(stamp.number as usize).filter(|share| share.expected > 0);
        let Some(share) = share else { return turn.run.ledger.fault(Fault::duplicated, 1) };
        share.expected -= 1;
        if let Some(at) = share.submitted {
            turn.took(stamp.number, at);
        }
        let handles = self.handles.lock().expect("no holder panics");
        if handles.get(&stamp.number).is_none_or(|created| created != handle) {
            turn.run.ledger.fault(Fault::mismatched, 1);
        }
        turn.tally.count(Unit::Answered);
    }

    fn failed(&mut self, turn: &mut Turn<'_>, _handle: &[u8]) {
        turn.tally.count(Unit::Answered);
    }

    fn refused(&mut self, turn: &mut Turn<'_>) {
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
        self.hear(turn, packet);
    }

    fn takes_arrivals(&self) -> bool {
        true
    }

    fn arrival(&mut self, turn: &mut Turn<'_>, number: u64, due: Instant) {
        // The clients get the numbers in turn: each unique once from each of them.
        self.submit(turn, number / self.clients, Began::late(due, turn.now));
    }

    /// Answers to the jobs come only when all have been submitted.
    fn in_flight(&self) -> u64 {
        self.uncreated.len() as u64
    }
}
