//! What all threads of a run share.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::engine::ledger::Ledger;
use crate::engine::payload::Payloads;
use crate::engine::plan::{Kind, Picks};
use crate::engine::progress::Progress;

/// Which unique a job is submitted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Uniques {
    /// Every job has its own, of 24 bytes.
    Each,
    /// Jobs have none.
    None,
}

/// Jobs that may be submitted: numbers are taken one by one up to a limit.
pub(crate) struct Quota {
    next: AtomicU64,
    end: AtomicU64,
}

impl Quota {
    /// Takes the next job's number, if there is one to submit.
    pub(crate) fn take(&self) -> Option<u64> {
        let below_end = |next| (next < self.end.load(SeqCst)).then_some(next + 1);
        self.next.fetch_update(SeqCst, SeqCst, below_end).ok()
    }

    /// Allows `more` jobs, and says how many there are then in all.
    pub(crate) fn allow(&self, more: u64) -> u64 {
        let end = self.next.load(SeqCst).saturating_add(more);
        self.end.store(end, SeqCst);
        end
    }

    /// Allows no more jobs.
    pub(crate) fn close(&self) {
        self.end.store(0, SeqCst);
    }

    /// How many numbers have been taken.
    pub(crate) fn taken(&self) -> u64 {
        self.next.load(SeqCst)
    }
}

/// Everything that the clients and workers of a run have in common.
pub(crate) struct Run {
    /// What jobs carry.
    pub(crate) payloads: Payloads,
    /// Which function a job goes to.
    pub(crate) functions: Picks<Vec<u8>>,
    /// How a job is submitted by clients that leave it to the plan.
    pub(crate) kinds: Picks<Kind>,
    /// Whether jobs have uniques.
    pub(crate) uniques: Uniques,
    /// Which jobs may still be submitted.
    pub(crate) quota: Quota,
    /// What went wrong.
    pub(crate) ledger: Ledger,
    /// What has been done.
    pub(crate) progress: Progress,
}

impl Run {
    pub(crate) fn new(payloads: Payloads, functions: Picks<Vec<u8>>, uniques: Uniques) -> Self {
        Self {
            payloads,
            functions,
            kinds: Picks::one(Kind::FOREGROUND),
            uniques,
            quota: Quota { next: AtomicU64::new(0), end: AtomicU64::new(0) },
            ledger: Ledger::new(),
            progress: Progress::new(),
        }
    }

    /// The function of a job.
    pub(crate) fn function_of(&self, number: u64) -> &[u8] {
        self.functions.of(number)
    }

    /// The unique of a job: run and number in hexadecimal, or nothing.
    pub(crate) fn unique_of(&self, number: u64) -> Unique {
        match self.uniques {
            Uniques::None => Unique { bytes: [0; 24], length: 0 },
            Uniques::Each => {
                let mut bytes = [0; 24];
                write_hex(u64::from(self.payloads.run()), &mut bytes[..8]);
                write_hex(number, &mut bytes[8..]);
                Unique { bytes, length: 24 }
            }
        }
    }
}

/// A unique, kept on the stack.
pub(crate) struct Unique {
    bytes: [u8; 24],
    length: usize,
}

impl Unique {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn write_hex(mut value: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(uniques: Uniques) -> Run {
        let functions = Picks::in_turn(vec![b"a".to_vec(), b"b".to_vec()]);
        Run::new(Payloads::new(0xab, Picks::one(16)), functions, uniques)
    }

    #[test]
    fn numbers_are_taken_up_to_the_limit_and_go_on_where_they_stopped() {
        let run = run(Uniques::None);
        assert_eq!(run.quota.take(), None);
        assert_eq!(run.quota.allow(2), 2);
        assert_eq!((run.quota.take(), run.quota.take(), run.quota.take()), (Some(0), Some(1), None));
        assert_eq!(run.quota.allow(u64::MAX), u64::MAX);
        assert_eq!(run.quota.take(), Some(2));
        run.quota.close();
        assert_eq!(run.quota.take(), None);
        assert_eq!(run.quota.taken(), 3);
    }

    #[test]
    fn functions_and_uniques_follow_from_the_number() {
        let run = run(Uniques::Each);
        assert_eq!((run.function_of(2), run.function_of(3)), (&b"a"[..], &b"b"[..]));
        assert_eq!(run.unique_of(0x1f).as_bytes(), b"000000ab000000000000001f");
    }
}
