//! Which jobs have run, and everything that went wrong.
//!
//! Shared by all threads; a job's number is marked when a worker gets it, so a
//! second run is noticed whichever thread sees it. Jobs that never come back
//! are found by the fleet when a phase stalls.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{OnceLock, RwLock};

use serde::{Deserialize, Serialize};

const CHUNK_WORDS: usize = 1 << 14;
const CHUNKS: usize = 1 << 13;

/// Runs whose jobs are remembered; the one seen first is forgotten for another.
const RUNS_MAX: usize = 16;

/// A set of job numbers that grows as they come.
struct Marks(Vec<OnceLock<Box<[AtomicU64]>>>);

impl Marks {
    fn new() -> Self {
        Self((0..CHUNKS).map(|_| OnceLock::new()).collect())
    }

    /// Marks `number`; false when it was marked before, nothing when no job has it.
    fn mark(&self, number: u64) -> Option<bool> {
        let word = usize::try_from(number / 64).ok()?;
        let chunk = self.0.get(word / CHUNK_WORDS)?;
        let words = chunk.get_or_init(|| (0..CHUNK_WORDS).map(|_| AtomicU64::new(0)).collect());
        let bit = 1 << (number % 64);
        Some(words[word % CHUNK_WORDS].fetch_or(bit, Relaxed) & bit == 0)
    }
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What went wrong, counted while it happens.
        #[derive(Default)]
        struct Counters { $($name: AtomicU64,)* }

        /// What went wrong in a run.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct Faults { $($(#[$doc])* pub(crate) $name: u64,)* }

        /// One kind of fault.
        #[allow(non_camel_case_types, reason = "named as the report's fields are")]
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Fault { $($(#[$doc])* $name,)* }

        impl Ledger {
            /// Counts `times` faults.
            pub(crate) fn fault(&self, fault: Fault, times: u64) {
                let counter = match fault { $(Fault::$name => &self.counters.$name,)* };
                counter.fetch_add(times, Relaxed);
            }

            /// All faults so far.
            pub(crate) fn faults(&self) -> Faults {
                Faults { $($name: self.counters.$name.load(Relaxed),)* }
            }
        }

        impl Faults {
            /// Names and counts.
            pub(crate) fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// Adds another run's faults.
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

faults! {
    /// Accepted or submitted, and never came back.
    lost,
    /// Ran, or was answered, more than once.
    duplicated,
    /// Came after what it should have come before.
    reordered,
    /// Payload or result not as it was sent.
    damaged,
    /// The result's handle is not the one that JOB_CREATED gave for this job.
    mismatched,
    /// Answered with an ERROR packet.
    refused,
    /// WORK_FAIL or WORK_EXCEPTION, though no worker sent one.
    failed,
    /// A packet that nobody asked for.
    unexpected,
    /// A job of some other run.
    foreign,
    /// Connections that the server closed.
    disconnected,
}

/// The books of one run.
pub(crate) struct Ledger {
    /// The tag of this run, and its jobs: threads mark them without a lock.
    own: (u32, Marks),
    /// Jobs of other runs by their tags, which only workers alone see.
    others: RwLock<Vec<(u32, Marks)>>,
    counters: Counters,
}

impl Ledger {
    /// The books of the run with this tag.
    pub(crate) fn new(tag: u32) -> Self {
        Self { own: (tag, Marks::new()), others: RwLock::default(), counters: Counters::default() }
    }

    /// A worker got this job of the run with this tag. Counts a fault when one
    /// has had it before.
    pub(crate) fn ran(&self, tag: u32, number: u64) {
        let (own, marks) = &self.own;
        match if tag == *own { marks.mark(number) } else { self.mark_other(tag, number) } {
            Some(true) => {}
            Some(false) => self.fault(Fault::duplicated, 1),
            None => self.fault(Fault::damaged, 1),
        }
    }

    fn mark_other(&self, tag: u32, number: u64) -> Option<bool> {
        let known = |others: &Vec<(u32, Marks)>| others.iter().position(|(run, _)| *run == tag);
        let others = self.others.read().expect("no holder panics");
        if let Some(place) = known(&others) {
            return others[place].1.mark(number);
        }
        drop(others);
        let mut others = self.others.write().expect("no holder panics");
        // Another thread may have been faster.
        let place = known(&others).unwrap_or_else(|| {
            if others.len() == RUNS_MAX {
                others.remove(0);
            }
            others.push((tag, Marks::new()));
            others.len() - 1
        });
        others[place].1.mark(number)
    }
}

impl Faults {
    /// Whether anything at all went wrong.
    pub(crate) fn any(&self) -> bool {
        self.list().iter().any(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_runs_twice_is_a_fault() {
        let ledger = Ledger::new(1);
        for number in [0, 63, 64, (CHUNK_WORDS as u64) * 64, 3 * (CHUNK_WORDS as u64) * 64 + 1] {
            ledger.ran(1, number);
            ledger.ran(2, number);
        }
        assert!(!ledger.faults().any());
        ledger.ran(1, 64);
        assert_eq!(ledger.faults(), Faults { duplicated: 1, ..Faults::default() });
        ledger.ran(1, u64::MAX);
        assert_eq!(ledger.faults(), Faults { duplicated: 1, damaged: 1, ..Faults::default() });
    }
}
