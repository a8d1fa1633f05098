//! ECHO_REQ round trips: what a server costs that does nothing but answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use gearshard::protocol::packet::{Command, Packet};

use super::length::Length;
use super::load::Open;
use super::{Measure, new_run, with_fleet};
use crate::abort::Abort;
use crate::engine::fleet::Target;
use crate::engine::ledger::Fault;
use crate::engine::payload::Stamp;
use crate::engine::plan::Picks;
use crate::engine::progress::{Began, Unit};
use crate::engine::role::{Order, Role, Turn};
use crate::engine::run::Uniques;
use crate::options::values::payload_bytes;
use crate::options::{Clients, Common};
use crate::report::Report;

/// `echo`
#[derive(Args, Debug)]
pub(crate) struct Echo {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Bytes in an ECHO_REQ, at least 16
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = payload_bytes, help_heading = "Jobs")]
    pub(crate) size: usize,
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) open: Open,
    #[command(flatten)]
    pub(crate) length: Length,
}

impl Measure for Echo {
    fn common(&self) -> &Common {
        &self.common
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        let run = Arc::new(new_run(Picks::one(self.size), Picks::one(Vec::new()), Uniques::None));
        with_fleet(&run, target, report, |fleet, report| {
            fleet.seat((0..self.clients.clients).map(|_| Pinger::new(self.clients.inflight)))?;
            self.open.warm_up(fleet, Unit::Answered, self.length.warmup())?;
            self.open.measure(fleet, report, "echo", Unit::Answered, self.length.extent())?;
            Ok(())
        })
    }
}

/// Keeps a number of ECHO_REQs unanswered. Answers must come in the order of
/// the questions, with the same bytes.
struct Pinger {
    in_flight: usize,
    /// Unanswered questions, the first to be answered in front.
    asked: VecDeque<(u64, Began)>,
    /// Questions whose answer has not come though that of a later one has.
    passed_over: Vec<u64>,
}

impl Pinger {
    fn new(in_flight: u32) -> Self {
        Self { in_flight: in_flight as usize, asked: VecDeque::new(), passed_over: Vec::new() }
    }

    fn ask_what_may_be(&mut self, turn: &mut Turn<'_>) {
        while self.asked.len() + self.passed_over.len() < self.in_flight {
            let Some(number) = turn.next_job() else { return };
            self.ask(turn, number, turn.now.into());
        }
    }

    fn ask(&mut self, turn: &mut Turn<'_>, number: u64, at: Began) {
        turn.send_payload(Command::EchoReq, &[], Stamp { number, slot: 0 });
        self.asked.push_back((number, at));
    }

    fn answered(&mut self, turn: &mut Turn<'_>, answer: &[u8]) {
        let Ok(stamp) = turn.run.payloads.read(answer) else {
            // Nobody else asks on this connection: it is the answer to the first question.
            turn.run.ledger.fault(Fault::damaged, 1);
            if self.asked.pop_front().is_some() {
                self.done(turn);
            }
            return;
        };
        if let Some(place) = self.asked.iter().position(|&(number, _)| number == stamp.number) {
            self.passed_over.extend(self.asked.drain(..place).map(|(number, _)| number));
            if let Some((number, at)) = self.asked.pop_front() {
                turn.took(number, at);
            }
            self.done(turn);
        } else if let Some(place) = self.passed_over.iter().position(|&number| number == stamp.number) {
            turn.run.ledger.fault(Fault::reordered, 1);
            self.passed_over.swap_remove(place);
            self.done(turn);
        } else {
            turn.run.ledger.fault(Fault::duplicated, 1);
        }
    }

    fn done(&mut self, turn: &mut Turn<'_>) {
        turn.tally.count(Unit::Answered);
        self.ask_what_may_be(turn);
    }
}

impl Role for Pinger {
    fn order(&mut self, turn: &mut Turn<'_>, order: Order) {
        if order == Order::Submit {
            self.ask_what_may_be(turn);
        }
    }

    fn packet(&mut self, turn: &mut Turn<'_>, packet: &Packet<'_>) {
        match packet.command {
            Command::EchoRes => self.answered(turn, packet.data),
            Command::Error => {
                turn.run.ledger.fault(Fault::refused, 1);
                if self.asked.pop_front().is_some() {
                    self.done(turn);
                }
            }
            _ => turn.run.ledger.fault(Fault::unexpected, 1),
        }
    }

    fn takes_arrivals(&self) -> bool {
        true
    }

    fn arrival(&mut self, turn: &mut Turn<'_>, number: u64, due: Instant) {
        turn.tally.count(Unit::Submitted);
        self.ask(turn, number, Began::late(due, turn.now));
    }

    fn in_flight(&self) -> u64 {
        (self.asked.len() + self.passed_over.len()) as u64
    }
}
