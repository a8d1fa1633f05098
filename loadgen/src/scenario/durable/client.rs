//! Submits background jobs, and notes which the server has acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use gearshard::protocol::packet::{Command, Packet};

use super::audit::seal;
use super::books::Books;
use crate::engine::ledger::Fault;
use crate::engine::payload::Stamp;
use crate::engine::progress::Unit;
use crate::engine::role::{Order, Role, Turn};

/// A client that keeps a number of submits unanswered.
pub(super) struct Client {
    in_flight: usize,
    books: Arc<Books>,
    /// Submits that JOB_CREATED has not answered.
    uncreated: VecDeque<(u64, Instant)>,
}

impl Client {
    pub(super) fn new(in_flight: u32, books: Arc<Books>) -> Self {
        Self { in_flight: in_flight as usize, books, uncreated: VecDeque::new() }
    }

    fn submit_what_may_be(&mut self, turn: &mut Turn<'_>) {
        while self.uncreated.len() < self.in_flight {
            let Some(number) = turn.next_job() else { return };
            let run = turn.run;
            let unique = run.unique_of(number);
            let args = [run.function_of(number), unique.as_bytes()];
            self.books.submitted(number);
            turn.send_payload(run.kinds.of(number).command(), &args, Stamp { number, slot: seal(number) });
            self.uncreated.push_back((number, turn.now));
        }
    }
}

impl Role for Client {
    fn order(&mut self, turn: &mut Turn<'_>, order: Order) {
        if order == Order::Submit {
            self.submit_what_may_be(turn);
        }
    }

    fn packet(&mut self, turn: &mut Turn<'_>, packet: &Packet<'_>) {
        let refused = packet.command == Command::Error;
        if !refused && packet.command != Command::JobCreated {
            return turn.run.ledger.fault(Fault::unexpected, 1);
        }
        let Some((number, at)) = self.uncreated.pop_front() else {
            return turn.run.ledger.fault(Fault::unexpected, 1);
        };
        if refused {
            turn.run.ledger.fault(Fault::refused, 1);
        } else {
            self.books.acknowledged(number);
            turn.took(number, at.into());
        }
        turn.tally.count(Unit::Accepted);
        self.submit_what_may_be(turn);
    }

    fn in_flight(&self) -> u64 {
        self.uncreated.len() as u64
    }
}
