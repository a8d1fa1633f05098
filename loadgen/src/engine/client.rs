//! A client: keeps a number of jobs in flight until the quota is used up.
//!
//! JOB_CREATED names no request, so answers to submits are matched in order. A
//! result carries its job's payload and with it the job's slot here.

use std::collections::VecDeque;
use std::time::Instant;

use gearshard::protocol::packet::{Command, Packet};

use crate::engine::ledger::Fault;
use crate::engine::payload::{Damage, Stamp};
use crate::engine::plan::Kind;
use crate::engine::progress::{Began, Unit};
use crate::engine::role::{Order, Role, Turn};
use crate::engine::run::Run;

/// How jobs are submitted, and when they count as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Done with WORK_COMPLETE.
    Foreground,
    /// Done with JOB_CREATED.
    Background,
    /// As the run's plan says for each job.
    Planned,
}

impl Mode {
    fn kind(self, run: &Run, number: u64) -> Kind {
        match self {
            Self::Foreground => Kind::FOREGROUND,
            Self::Background => Kind::BACKGROUND,
            Self::Planned => *run.kinds.of(number),
        }
    }
}

enum Slot {
    Free,
    Submitted {
        number: u64,
        at: Began,
    },
    Created {
        number: u64,
        at: Began,
        handle: Vec<u8>,
    },
    /// Answered, but JOB_CREATED has not come.
    Early,
}

/// What a client makes of the answers to its submits.
pub(crate) trait Submitter {
    /// JOB_CREATED.
    fn created(&mut self, turn: &mut Turn<'_>, handle: &[u8]);
    /// WORK_COMPLETE.
    fn completed(&mut self, turn: &mut Turn<'_>, handle: &[u8], result: &[u8]);
    /// WORK_FAIL or WORK_EXCEPTION, which has been counted.
    fn failed(&mut self, turn: &mut Turn<'_>, handle: &[u8]);
    /// ERROR, which has been counted.
    fn refused(&mut self, turn: &mut Turn<'_>);

    /// Handles a packet from the server.
    fn hear(&mut self, turn: &mut Turn<'_>, packet: &Packet<'_>) {
        match packet.command {
            Command::JobCreated => self.created(turn, packet.args[0]),
            Command::WorkComplete => self.completed(turn, packet.args[0], packet.data),
            Command::WorkFail | Command::WorkException => {
                turn.run.ledger.fault(Fault::failed, 1);
                self.failed(turn, packet.args[0]);
            }
            Command::Error => {
                turn.run.ledger.fault(Fault::refused, 1);
                self.refused(turn);
            }
            _ => turn.run.ledger.fault(Fault::unexpected, 1),
        }
    }
}

/// A client: in a closed loop it keeps jobs in flight, in an open one it submits
/// what is due.
pub(crate) struct Client {
    mode: Mode,
    /// Jobs of a closed loop; there are more slots when an open one needed them.
    in_flight: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots whose JOB_CREATED has not come, in order of submission.
    uncreated: VecDeque<u32>,
    /// Handle buffers to use again.
    spare: Vec<Vec<u8>>,
}

impl Client {
    /// A client that keeps `in_flight` jobs going.
    pub(crate) fn new(mode: Mode, in_flight: u32) -> Self {
        Self {
            mode,
            in_flight: in_flight as usize,
            slots: (0..in_flight).map(|_| Slot::Free).collect(),
            free: (0..in_flight).rev().collect(),
            uncreated: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    fn submit_what_may_be(&mut self, turn: &mut Turn<'_>) {
        while self.slots.len() - self.free.len() < self.in_flight {
            let Some(number) = turn.next_job() else { return };
            self.submit(turn, number, turn.now.into());
        }
    }

    fn submit(&mut self, turn: &mut Turn<'_>, number: u64, at: Began) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            u32::try_from(self.slots.len() - 1).expect("slots are counted in u32")
        });
        let run = turn.run;
        let command = self.mode.kind(run, number).command();
        let unique = run.unique_of(number);
        let args = [run.function_of(number), unique.as_bytes()];
        turn.send_payload(command, &args, Stamp { number, slot });
        self.slots[slot as usize] = Slot::Submitted { number, at };
        self.uncreated.push_back(slot);
    }

    fn answered(&mut self, turn: &mut Turn<'_>, handle: &[u8], stamp: Stamp) {
        match self.slots.get(stamp.slot as usize) {
            Some(Slot::Created { number, at, handle: created }) if *number == stamp.number => {
                if created != handle {
                    let fault =
                        if self.created_for_another(handle) { Fault::reordered } else { Fault::mismatched };
                    turn.run.ledger.fault(fault, 1);
                }
                turn.took(*number, *at);
                turn.tally.count(Unit::Answered);
                turn.tally.count(Unit::Done);
                self.release(stamp.slot);
                self.submit_what_may_be(turn);
            }
            Some(&Slot::Submitted { number, at }) if number == stamp.number => {
                turn.run.ledger.fault(Fault::reordered, 1);
                turn.took(number, at);
                turn.tally.count(Unit::Answered);
                turn.tally.count(Unit::Done);
                self.slots[stamp.slot as usize] = Slot::Early;
            }
            // Another job has the slot by now, or none: this one was answered before.
            _ => turn.run.ledger.fault(Fault::duplicated, 1),
        }
    }

    /// Whether JOB_CREATED gave this handle to another job in flight: then the
    /// answers to the two submits have changed places.
    fn created_for_another(&self, handle: &[u8]) -> bool {
        self.slots
            .iter()
            .any(|slot| matches!(slot, Slot::Created { handle: created, .. } if created == handle))
    }

    /// The job with this handle ended otherwise than it should.
    fn gave_up(&mut self, turn: &mut Turn<'_>, handle: &[u8]) {
        let held = |slot: &Slot| matches!(slot, Slot::Created { handle: created, .. } if created == handle);
        let Some(slot) = self.slots.iter().position(held) else {
            return turn.run.ledger.fault(Fault::unexpected, 1);
        };
        turn.tally.count(Unit::Answered);
        turn.tally.count(Unit::Done);
        self.release(u32::try_from(slot).expect("slots are counted in u32"));
        self.submit_what_may_be(turn);
    }

    fn release(&mut self, slot: u32) {
        let old = std::mem::replace(&mut self.slots[slot as usize], Slot::Free);
        if let Slot::Created { mut handle, .. } = old {
            handle.clear();
            self.spare.push(handle);
        }
        self.free.push(slot);
    }
}

impl Submitter for Client {
    fn created(&mut self, turn: &mut Turn<'_>, handle: &[u8]) {
        let Some(slot) = self.uncreated.pop_front() else {
            return turn.run.ledger.fault(Fault::unexpected, 1);
        };
        turn.tally.count(Unit::Accepted);
        let (number, at) = match self.slots[slot as usize] {
            Slot::Submitted { number, at } => (number, at),
            Slot::Early => {
                self.release(slot);
                return self.submit_what_may_be(turn);
            }
            Slot::Free | Slot::Created { .. } => unreachable!("it waits for JOB_CREATED"),
        };
        if self.mode.kind(turn.run, number).background {
            turn.took(number, at);
            turn.tally.count(Unit::Done);
            self.release(slot);
            self.submit_what_may_be(turn);
        } else {
            let mut kept = self.spare.pop().unwrap_or_default();
            kept.extend_from_slice(handle);
            self.slots[slot as usize] = Slot::Created { number, at, handle: kept };
        }
    }

    fn completed(&mut self, turn: &mut Turn<'_>, handle: &[u8], result: &[u8]) {
        match turn.run.payloads.read(result) {
            Ok(stamp) => self.answered(turn, handle, stamp),
            Err(Damage::Foreign) => turn.run.ledger.fault(Fault::foreign, 1),
            Err(Damage::Damaged) => {
                turn.run.ledger.fault(Fault::damaged, 1);
                self.gave_up(turn, handle);
            }
        }
    }

    fn failed(&mut self, turn: &mut Turn<'_>, handle: &[u8]) {
        self.gave_up(turn, handle);
    }

    fn refused(&mut self, turn: &mut Turn<'_>) {
        if let Some(slot) = self.uncreated.pop_front() {
            let background = match self.slots[slot as usize] {
                Slot::Submitted { number, .. } => self.mode.kind(turn.run, number).background,
                Slot::Early => {
                    // It has been counted with its answer.
                    self.release(slot);
                    return self.submit_what_may_be(turn);
                }
                Slot::Free | Slot::Created { .. } => unreachable!("it waits for JOB_CREATED"),
            };
            turn.tally.count(if background { Unit::Accepted } else { Unit::Answered });
            turn.tally.count(Unit::Done);
            self.release(slot);
            self.submit_what_may_be(turn);
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
        self.hear(turn, packet);
    }

    fn takes_arrivals(&self) -> bool {
        true
    }

    fn arrival(&mut self, turn: &mut Turn<'_>, number: u64, due: Instant) {
        turn.tally.count(Unit::Submitted);
        self.submit(turn, number, Began::late(due, turn.now));
    }

    fn in_flight(&self) -> u64 {
        (self.slots.len() - self.free.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use gearshard::protocol::packet::Magic;

    use super::*;
    use crate::engine::payload::Payloads;
    use crate::engine::plan::Picks;
    use crate::engine::progress::Tally;
    use crate::engine::run::Uniques;

    /// Two jobs in flight, and these packets from the server.
    fn reordered_in(answers: &[(Command, &'static [u8], u64)]) -> (u64, u64) {
        let functions = Picks::one(b"f".to_vec());
        let run = Run::new(Payloads::new(1, Picks::one(16)), functions, Uniques::None);
        let (mut tally, mut output) = (Tally::new(), Vec::new());
        let mut turn = Turn { run: &run, tally: &mut tally, now: Instant::now(), output: &mut output };
        let mut client = Client::new(Mode::Foreground, 2);
        run.quota.allow(2);
        client.order(&mut turn, Order::Submit);
        for &(command, handle, number) in answers {
            let mut payload = Vec::new();
            let slot = u32::try_from(number).unwrap();
            run.payloads.write(Stamp { number, slot }, &mut payload);
            let data: &[u8] = if command == Command::WorkComplete { &payload } else { &[] };
            let mut bytes = Vec::new();
            gearshard::protocol::encode::encode(&mut bytes, Magic::Response, command, &[handle], data);
            let decoded = gearshard::protocol::decode::decode(&bytes, u32::MAX).unwrap();
            let Some((gearshard::protocol::decode::Frame::Binary(packet), _)) = decoded else {
                panic!("a whole packet")
            };
            client.packet(&mut turn, &packet);
        }
        let faults = run.ledger.faults();
        assert_eq!(faults.list().iter().map(|(_, count)| count).sum::<u64>(), faults.reordered);
        (faults.reordered, client.in_flight())
    }

    #[test]
    fn answers_that_change_places_are_noticed_and_all_jobs_end() {
        use Command::{JobCreated, WorkComplete};
        let made = |handle| (JobCreated, handle, 0);
        let in_order = [made(&b"a"[..]), made(b"b"), (WorkComplete, b"b", 1), (WorkComplete, b"a", 0)];
        assert_eq!(reordered_in(&in_order), (0, 0));
        let swapped = [made(&b"b"[..]), made(b"a"), (WorkComplete, b"a", 0)];
        assert_eq!(reordered_in(&swapped), (1, 1));
        let early = [(WorkComplete, &b"a"[..], 0), made(b"a"), made(b"b"), (WorkComplete, b"b", 1)];
        assert_eq!(reordered_in(&early), (1, 0));
    }
}
