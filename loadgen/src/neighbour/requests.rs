//! What a client has asked and not heard of, and what a worker makes of a job:
//! the books, the same for every protocol.

use std::collections::VecDeque;
use std::time::Instant;

use super::wire::CR_LF;
use super::{NAME_BYTES, Work};
use crate::engine::ledger::Fault;
use crate::engine::payload::{Damage, Stamp};
use crate::engine::progress::Unit;
use crate::engine::role::Turn;

/// A client's jobs in flight: ended by their answers, found by the stamp in the
/// payload, or by being accepted, in the order of their submission.
pub(super) struct Requests {
    slots: Vec<Option<(u64, Instant)>>,
    free: Vec<u32>,
    /// Slots of jobs that have not been accepted, where that ends them.
    unaccepted: VecDeque<u32>,
}

impl Requests {
    /// For a client that keeps `in_flight` jobs going.
    pub(super) fn new(in_flight: u32) -> Self {
        Self {
            slots: vec![None; in_flight as usize],
            free: (0..in_flight).rev().collect(),
            unaccepted: VecDeque::new(),
        }
    }

    /// The next job, if there is one and room for it.
    pub(super) fn next(&mut self, turn: &mut Turn<'_>) -> Option<Stamp> {
        let slot = *self.free.last()?;
        let number = turn.next_job()?;
        self.free.pop();
        self.slots[slot as usize] = Some((number, turn.now));
        Some(Stamp { number, slot })
    }

    /// As [`next`](Self::next), of a job that ends when it is accepted.
    pub(super) fn next_to_accept(&mut self, turn: &mut Turn<'_>) -> Option<Stamp> {
        let stamp = self.next(turn)?;
        self.unaccepted.push_back(stamp.slot);
        Some(stamp)
    }

    /// Submits what may be, each job behind what `head` writes before so many bytes; one
    /// that is to be answered begins with the name of where its `results` go.
    pub(super) fn submit(
        &mut self,
        turn: &mut Turn<'_>,
        work: Work,
        results: &[u8],
        head: impl Fn(&mut Vec<u8>, usize),
    ) {
        let results = if work == Work::Fg { results } else { &[] };
        let next = if work == Work::Fg { Self::next } else { Self::next_to_accept };
        while let Some(stamp) = next(self, turn) {
            head(turn.output, results.len() + turn.run.payloads.bytes_of(stamp.number));
            turn.output.extend_from_slice(results);
            turn.run.payloads.write(stamp, turn.output);
            turn.output.extend_from_slice(CR_LF);
        }
    }

    /// The first job that was not accepted yet is.
    pub(super) fn accepted(&mut self, turn: &mut Turn<'_>) {
        let Some(slot) = self.unaccepted.pop_front() else {
            return turn.run.ledger.fault(Fault::unexpected, 1);
        };
        turn.tally.count(Unit::Accepted);
        self.end(turn, slot);
    }

    /// A result came.
    pub(super) fn answered(&mut self, turn: &mut Turn<'_>, result: &[u8]) {
        let stamp = match turn.run.payloads.read(result) {
            Ok(stamp) => stamp,
            // Whose answer it was cannot be known: one will be missing as well.
            Err(Damage::Damaged) => return turn.run.ledger.fault(Fault::damaged, 1),
            Err(Damage::Foreign) => return turn.run.ledger.fault(Fault::foreign, 1),
        };
        match self.slots.get(stamp.slot as usize) {
            Some(Some((number, _))) if *number == stamp.number => {
                turn.tally.count(Unit::Answered);
                self.end(turn, stamp.slot);
            }
            _ => turn.run.ledger.fault(Fault::duplicated, 1),
        }
    }

    fn end(&mut self, turn: &mut Turn<'_>, slot: u32) {
        let (_, at) = self.slots[slot as usize].take().expect("a job in flight has its slot");
        turn.tally.took(at, turn.now);
        turn.tally.count(Unit::Done);
        self.free.push(slot);
    }

    /// How many are in flight.
    pub(super) fn count(&self) -> u64 {
        (self.slots.len() - self.free.len()) as u64
    }
}

/// A worker has got a job that [`Requests::submit`] has sent: checks it, and gives the
/// name of where its result goes and the payload, if somebody waits for them.
pub(super) fn ran_for<'a>(turn: &mut Turn<'_>, work: Work, job: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    match (work, job.split_at_checked(NAME_BYTES)) {
        (Work::Flow, _) => {
            ran(turn, job);
            None
        }
        (Work::Fg, Some((results, payload))) => {
            ran(turn, payload);
            Some((results, payload))
        }
        (Work::Fg, None) => {
            turn.run.ledger.fault(Fault::damaged, 1);
            None
        }
    }
}

/// A worker has got a job: checks it, and notes that it ran.
pub(super) fn ran(turn: &mut Turn<'_>, payload: &[u8]) {
    match turn.run.payloads.read(payload) {
        Ok(stamp) => turn.run.ledger.ran(turn.run.payloads.run(), stamp.number),
        Err(Damage::Damaged) => turn.run.ledger.fault(Fault::damaged, 1),
        Err(Damage::Foreign) => return turn.run.ledger.fault(Fault::foreign, 1),
    }
    turn.tally.count(Unit::Ran);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::payload::Payloads;
    use crate::engine::plan::Picks;
    use crate::engine::progress::Tally;
    use crate::engine::run::{Run, Uniques};

    fn with_turn(work: impl FnOnce(&mut Turn<'_>)) -> Vec<(&'static str, u64)> {
        let run = Run::new(Payloads::new(1, Picks::one(64)), Picks::one(Vec::new()), Uniques::None);
        run.quota.allow(100);
        let (mut tally, mut output) = (Tally::new(), Vec::new());
        work(&mut Turn { run: &run, tally: &mut tally, now: Instant::now(), output: &mut output });
        run.ledger.faults().list().into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn payload(turn: &Turn<'_>, stamp: Stamp) -> Vec<u8> {
        let mut bytes = Vec::new();
        turn.run.payloads.write(stamp, &mut bytes);
        bytes
    }

    #[test]
    fn every_job_is_answered_once() {
        let faults = with_turn(|turn| {
            let mut requests = Requests::new(2);
            let first = requests.next(turn).unwrap();
            let second = requests.next(turn).unwrap();
            assert!(requests.next(turn).is_none());
            // In any order.
            requests.answered(turn, &payload(turn, second));
            requests.answered(turn, &payload(turn, first));
            assert_eq!(requests.count(), 0);
            let third = requests.next(turn).unwrap();
            assert_ne!(third.number, first.number);
            requests.answered(turn, &payload(turn, first));
            requests.answered(turn, &payload(turn, second));
            assert_eq!(requests.count(), 1);
        });
        assert_eq!(faults, [("duplicated", 2)]);
    }

    #[test]
    fn what_was_changed_or_is_anothers_is_noticed_on_both_sides() {
        let faults = with_turn(|turn| {
            let mut requests = Requests::new(1);
            let stamp = requests.next(turn).unwrap();
            let mut bytes = payload(turn, stamp);
            ran(turn, &bytes);
            ran(turn, &bytes);
            bytes[60] ^= 1;
            ran(turn, &bytes);
            requests.answered(turn, &bytes);
            // The tag of the run.
            bytes[12] ^= 1;
            ran(turn, &bytes);
            requests.answered(turn, &bytes);
            assert_eq!(requests.count(), 1);
        });
        assert_eq!(faults, [("duplicated", 1), ("damaged", 2), ("foreign", 2)]);
    }

    #[test]
    fn a_job_names_where_its_result_goes_if_it_has_one() {
        let head = |out: &mut Vec<u8>, length: usize| out.extend_from_slice(format!("{length}:").as_bytes());
        let faults = with_turn(|turn| {
            let results = b"0000000a.00001";
            for (work, length) in [(Work::Fg, 78), (Work::Flow, 64)] {
                turn.output.clear();
                Requests::new(1).submit(turn, work, results, head);
                let sent = std::mem::take(turn.output);
                let job = sent.strip_prefix(format!("{length}:").as_bytes()).unwrap();
                let job = job.strip_suffix(CR_LF).unwrap();
                assert_eq!(job.len(), length);
                let expected = (work == Work::Fg).then(|| (&results[..], &job[NAME_BYTES..]));
                assert_eq!(ran_for(turn, work, job), expected);
            }
            assert_eq!(ran_for(turn, Work::Fg, b"short"), None);
        });
        assert_eq!(faults, [("damaged", 1)]);
    }

    #[test]
    fn acceptance_ends_jobs_in_their_order() {
        let faults = with_turn(|turn| {
            let mut requests = Requests::new(2);
            requests.next_to_accept(turn).unwrap();
            requests.next_to_accept(turn).unwrap();
            requests.accepted(turn);
            assert_eq!(requests.count(), 1);
            requests.accepted(turn);
            assert_eq!(requests.count(), 0);
            requests.accepted(turn);
        });
        assert_eq!(faults, [("unexpected", 1)]);
    }
}
