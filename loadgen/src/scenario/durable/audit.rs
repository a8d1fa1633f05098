//! What a worker makes of a job: which it is, whether it is as it was submitted, and
//! whether it may run.

use std::collections::VecDeque;
use std::sync::Arc;

use super::books::{Books, Ran};
use crate::engine::ledger::Fault;
use crate::engine::payload::{Damage, Stamp};
use crate::engine::plan::Level;
use crate::engine::progress::Unit;
use crate::engine::role::Turn;
use crate::engine::run::Run;
use crate::engine::worker::{Assigned, Check};

/// Stands in the stamp of a job's payload, so that each of its bytes follows from the number.
pub(super) fn seal(number: u64) -> u32 {
    let [.., a, b, c, d] = crate::engine::plan::scatter(number).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// What a worker has sent, in order; the server answers GRAB_JOB only.
enum Sent {
    GrabJob,
    Result(u64),
}

/// Checks the jobs of one worker.
pub(super) struct Audit {
    books: Arc<Books>,
    sent: VecDeque<Sent>,
    /// While no jobs are submitted: the level of the last job of each function, after
    /// which none of a higher one may come.
    levels: Option<Vec<Level>>,
}

impl Audit {
    /// For a worker beside clients.
    pub(super) fn new(books: Arc<Books>) -> Self {
        Self { books, sent: VecDeque::new(), levels: None }
    }

    /// For a worker while nobody submits: jobs must come by priority.
    pub(super) fn by_priority(books: Arc<Books>, functions: usize) -> Self {
        Self { levels: Some(vec![Level::High; functions]), ..Self::new(books) }
    }

    fn note(&mut self, turn: &mut Turn<'_>, number: u64, intact: bool) {
        let run = turn.run;
        let ran = self.books.ran(number);
        match ran {
            Ran::First => turn.tally.count(Unit::Ran),
            Ran::Twice => run.ledger.fault(Fault::duplicated, 1),
            Ran::Unconfirmed | Ran::Again | Ran::Unknown => {}
        }
        if !intact || ran == Ran::Unknown {
            run.ledger.fault(Fault::damaged, 1);
        }
        if let Some(last) = self.levels.as_mut().map(|levels| &mut levels[run.functions.place(number)]) {
            let level = run.kinds.of(number).level;
            if std::mem::replace(last, level) > level {
                run.ledger.fault(Fault::reordered, 1);
            }
        }
        self.sent.push_back(Sent::Result(number));
    }
}

impl Check for Audit {
    fn grabbed(&mut self) {
        self.sent.push_back(Sent::GrabJob);
    }

    fn answered(&mut self) {
        // Results that were sent before what is answered have been read.
        while let Some(Sent::Result(number)) = self.sent.pop_front() {
            self.books.ended(number);
        }
    }

    fn assigned(&mut self, turn: &mut Turn<'_>, job: &Assigned<'_>) {
        match identify(turn.run, job) {
            Identity::Intact(number) => self.note(turn, number, true),
            Identity::Damaged(number) => self.note(turn, number, false),
            Identity::Nobody => turn.run.ledger.fault(Fault::damaged, 1),
            Identity::Foreign => turn.run.ledger.fault(Fault::foreign, 1),
        }
    }
}

/// Which job it is.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    /// This one, as it was submitted.
    Intact(u64),
    /// This one, by its unique or by its payload; something of it is not as it was submitted.
    Damaged(u64),
    /// None of this run that could be told.
    Nobody,
    /// One of another run.
    Foreign,
}

fn identify(run: &Run, job: &Assigned<'_>) -> Identity {
    let by_unique = job.unique.and_then(|unique| run.number_of(unique));
    match (run.payloads.read(job.data), by_unique) {
        (Ok(Stamp { number, slot }), _) if slot == seal(number) => {
            let as_submitted = job.function == run.function_of(number)
                && job.unique.is_none_or(|unique| unique == run.unique_of(number).as_bytes());
            if as_submitted { Identity::Intact(number) } else { Identity::Damaged(number) }
        }
        (_, Some(number)) => Identity::Damaged(number),
        (Err(Damage::Foreign), None) => Identity::Foreign,
        (Ok(_) | Err(Damage::Damaged), None) => Identity::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::payload::Payloads;
    use crate::engine::plan::Picks;
    use crate::engine::run::Uniques;

    fn run(tag: u32) -> Run {
        let functions = Picks::in_turn(vec![b"a".to_vec(), b"b".to_vec()]);
        Run::new(Payloads::new(tag, Picks::one(64)), functions, Uniques::Each)
    }

    fn payload(run: &Run, number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        run.payloads.write(Stamp { number, slot: seal(number) }, &mut bytes);
        bytes
    }

    #[test]
    fn a_job_is_known_by_what_is_left_of_it() {
        let run = run(7);
        let unique = run.unique_of(4);
        let unique = unique.as_bytes();
        let as_is = payload(&run, 4);
        let of = |function: &[u8], unique, data: &[u8]| {
            identify(&run, &Assigned { handle: b"", function, unique, data })
        };
        assert_eq!(of(b"a", Some(unique), &as_is), Identity::Intact(4));
        assert_eq!(of(b"a", None, &as_is), Identity::Intact(4));
        assert_eq!(of(b"b", Some(unique), &as_is), Identity::Damaged(4));
        assert_eq!(of(b"a", Some(b"other"), &as_is), Identity::Damaged(4));
        for at in 0..as_is.len() {
            let mut changed = as_is.clone();
            changed[at] ^= 1;
            assert_eq!(of(b"a", Some(unique), &changed), Identity::Damaged(4), "byte {at}");
            assert!(!matches!(of(b"a", None, &changed), Identity::Intact(_)), "byte {at}");
        }
        assert_eq!(of(b"a", Some(unique), &as_is[..40]), Identity::Damaged(4));
        assert_eq!(of(b"a", Some(b""), b""), Identity::Nobody);
        let other = super::tests::run(8);
        assert_eq!(of(b"a", Some(other.unique_of(4).as_bytes()), &payload(&other, 4)), Identity::Foreign);
    }

    #[test]
    fn a_run_has_ended_when_something_behind_its_result_is_answered() {
        use std::time::{Duration, Instant};

        let books = Arc::new(Books::open(Duration::ZERO));
        (0..3).for_each(|number| books.submitted(number));
        let mut audit = Audit::new(Arc::clone(&books));
        // Two GRAB_JOBs ahead; job 0 comes, then job 1 for the second one.
        audit.grabbed();
        audit.grabbed();
        for number in 0..3 {
            audit.answered();
            books.ran(number);
            audit.sent.push_back(Sent::Result(number));
            audit.grabbed();
        }
        books.killed(Instant::now());
        // Only the third answer was to what was asked behind a result, that of job 0.
        assert_eq!([0, 1, 2].map(|number| books.ran(number)), [Ran::Twice, Ran::Again, Ran::Again]);
    }
}
