//! What all threads of a run share.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use crate::engine::ledger::Ledger;
use crate::engine::parts::Parts;
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

/// Most numbers that a thread takes at once.
const CHUNK_MAX: u64 = 64;

/// A thread takes at most this part of what is left.
const SHARES: u64 = 64;

/// Jobs that may be submitted: numbers are taken up to a limit.
pub(crate) struct Quota {
    next: AtomicU64,
    end: AtomicU64,
}

impl Quota {
    /// Takes the next jobs' numbers, if there are jobs to submit: few of many,
    /// so that every thread gets its share of them.
    pub(crate) fn take(&self) -> Range<u64> {
        let mut end = 0;
        let some = |next| {
            let left = self.end.load(SeqCst).saturating_sub(next);
            end = next + (left / SHARES).clamp(1, CHUNK_MAX).min(left);
            (left > 0).then_some(end)
        };
        match self.next.fetch_update(SeqCst, SeqCst, some) {
            Ok(next) => next..end,
            Err(_) => 0..0,
        }
    }

    /// Numbers up to `next` have been used by jobs that no quota was taken for.
    pub(crate) fn skip_to(&self, next: u64) {
        self.next.fetch_max(next, SeqCst);
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

    /// How many numbers have been given out. Not all of them need be used: how
    /// many jobs there are is counted by `Unit::Submitted`.
    pub(crate) fn numbered(&self) -> u64 {
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
    /// Jobs whose latencies are kept apart.
    pub(crate) parts: Parts,
    /// Whether jobs have uniques.
    pub(crate) uniques: Uniques,
    /// Whether the jobs of other runs are welcome: there are only workers here.
    pub(crate) any_run: bool,
    /// Whether the server is being killed: a connection that ends then is no fault.
    pub(crate) dying: AtomicBool,
    /// Jobs that the clients of a thread keep in flight together, in turns; 0 when each has its own.
    pub(crate) together: u64,
    /// Which jobs may still be submitted.
    pub(crate) quota: Quota,
    /// What went wrong.
    pub(crate) ledger: Ledger,
    /// What has been done.
    pub(crate) progress: Progress,
}

impl Run {
    pub(crate) fn new(payloads: Payloads, functions: Picks<Vec<u8>>, uniques: Uniques) -> Self {
        let ledger = Ledger::new(payloads.run());
        Self {
            payloads,
            functions,
            kinds: Picks::one(Kind::FOREGROUND),
            parts: Parts::default(),
            uniques,
            any_run: false,
            dying: AtomicBool::new(false),
            together: 0,
            quota: Quota { next: AtomicU64::new(0), end: AtomicU64::new(0) },
            ledger,
            progress: Progress::new(),
        }
    }

    /// The same, with the latencies of jobs of different kinds, sizes and functions kept apart.
    pub(crate) fn in_parts(mut self) -> Self {
        self.parts = Parts::of(&self.kinds, self.payloads.sizes(), &self.functions);
        self
    }

    /// The parts that a job counts in.
    pub(crate) fn parts_of(&self, number: u64) -> impl Iterator<Item = usize> {
        self.parts.with(move || {
            [self.kinds.place(number), self.payloads.sizes().place(number), self.functions.place(number)]
        })
    }

    /// The function of a job.
    pub(crate) fn function_of(&self, number: u64) -> &[u8] {
        self.functions.of(number)
    }

    /// The unique of a job: run and number in hexadecimal, or nothing.
    pub(crate) fn unique_of(&self, number: u64) -> Unique {
        self.unique_in(self.payloads.run(), number)
    }

    /// The job of this run that has this unique.
    pub(crate) fn number_of(&self, unique: &[u8]) -> Option<u64> {
        let number = u64::from_str_radix(std::str::from_utf8(unique.get(8..)?).ok()?, 16).ok()?;
        (self.unique_of(number).as_bytes() == unique).then_some(number)
    }

    /// The unique of a job of the run with this tag.
    pub(crate) fn unique_in(&self, tag: u32, number: u64) -> Unique {
        match self.uniques {
            Uniques::None => Unique { bytes: [0; 24], length: 0 },
            Uniques::Each => {
                let mut bytes = [0; 24];
                write_hex(u64::from(tag), &mut bytes[..8]);
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
        assert!(run.quota.take().is_empty());
        assert_eq!(run.quota.allow(2), 2);
        assert_eq!((run.quota.take(), run.quota.take()), (0..1, 1..2));
        assert!(run.quota.take().is_empty());
        assert_eq!(run.quota.allow(u64::MAX), u64::MAX);
        assert_eq!(run.quota.take(), 2..2 + CHUNK_MAX);
        run.quota.close();
        assert!(run.quota.take().is_empty());
        run.quota.skip_to(1000);
        assert_eq!(run.quota.numbered(), 1000);
        run.quota.skip_to(10);
        assert_eq!(run.quota.numbered(), 1000);
    }

    #[test]
    fn threads_that_take_at_once_get_every_number_once() {
        let run = run(Uniques::None);
        run.quota.allow(100_000);
        let take_all = || {
            let mut taken = Vec::new();
            loop {
                match run.quota.take() {
                    some if some.is_empty() => return taken,
                    some => taken.extend(some),
                }
            }
        };
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take_all)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        assert_eq!(all, (0..100_000).collect::<Vec<_>>());
    }

    #[test]
    fn functions_and_uniques_follow_from_the_number() {
        let run = run(Uniques::Each);
        assert_eq!((run.function_of(2), run.function_of(3)), (&b"a"[..], &b"b"[..]));
        assert_eq!(run.unique_of(0x1f).as_bytes(), b"000000ab000000000000001f");
        assert_eq!(run.number_of(b"000000ab000000000000001f"), Some(0x1f));
        for other in
            [&b"000000ac000000000000001f"[..], b"000000ab000000000000001F", b"000000ab1f", b"", b"\xff"]
        {
            assert_eq!(run.number_of(other), None);
        }
    }
}
