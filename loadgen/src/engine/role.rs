//! What a connection to a Gearman server does: the interface between a crew and
//! its clients and workers.

use std::time::Instant;

use gearshard::protocol::encode::{encode, encode_head};
use gearshard::protocol::packet::{Command, Magic, Packet};

use crate::engine::payload::Stamp;
use crate::engine::progress::{Began, Tally, Unit};
use crate::engine::run::Run;

/// What a scenario wants done; every connection gets every order and ignores
/// those that are not for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Clients: submit as long as the quota allows.
    Submit,
    /// Workers: run jobs.
    Work,
    /// Workers: finish the jobs at hand and ask for no more.
    Rest,
    /// Workers: sleep, and run jobs when woken.
    Sleep,
    /// Workers: register all functions this many times, dropping them all in between.
    Register(u32),
    /// Workers: ask this many times for a job though there is none.
    GrabInVain(u32),
    /// Everybody: send a barrier, and wait for the answer.
    Echo,
}

/// One side of a connection to a Gearman server.
pub(crate) trait Role: Send {
    /// Says what is to be said once, when the connection is there.
    fn seated(&mut self, _turn: &mut Turn<'_>) {}
    /// Handles an order.
    fn order(&mut self, turn: &mut Turn<'_>, order: Order);
    /// Handles a packet from the server.
    fn packet(&mut self, turn: &mut Turn<'_>, packet: &Packet<'_>);
    /// Whether it submits jobs when they are due.
    fn takes_arrivals(&self) -> bool {
        false
    }
    /// Submits the job `number` that was due at `due`; only for those that take arrivals.
    fn arrival(&mut self, _turn: &mut Turn<'_>, _number: u64, _due: Instant) {}
    /// Jobs that this side has submitted and not heard the end of.
    fn in_flight(&self) -> u64 {
        0
    }
}

/// What a role works with during one turn of its crew's loop.
pub(crate) struct Turn<'a> {
    /// What all threads share.
    pub(crate) run: &'a Run,
    /// This thread's counts.
    pub(crate) tally: &'a mut Tally,
    /// When the connection was found ready.
    pub(crate) now: Instant,
    /// What is to be sent.
    pub(crate) output: &'a mut Vec<u8>,
}

impl Turn<'_> {
    /// The number of the next job of a closed loop, if there is one to submit.
    pub(crate) fn next_job(&mut self) -> Option<u64> {
        let number = self.next_number()?;
        self.tally.count(Unit::Submitted);
        Some(number)
    }

    /// The same, for somebody who counts it as submitted later on.
    pub(crate) fn next_number(&mut self) -> Option<u64> {
        self.tally.chunk.next().or_else(|| {
            self.tally.chunk = self.run.quota.take();
            self.tally.chunk.next()
        })
    }

    /// The job `number` has come to its end.
    pub(crate) fn took(&mut self, number: u64, from: Began) {
        self.tally.took(from, self.now);
        for part in self.run.parts_of(number) {
            self.tally.took_in(part, from, self.now);
        }
    }

    /// Sends a packet.
    pub(crate) fn send(&mut self, command: Command, args: &[&[u8]], data: &[u8]) {
        encode(self.output, Magic::Request, command, args, data);
    }

    /// Sends a packet whose data is the payload of a job.
    pub(crate) fn send_payload(&mut self, command: Command, args: &[&[u8]], stamp: Stamp) {
        encode_head(self.output, Magic::Request, command, args, self.run.payloads.bytes_of(stamp.number));
        self.run.payloads.write(stamp, self.output);
    }
}
