//! How far a phase is, counted by every thread and waited for by one.
//!
//! A thread counts into its own [`Tally`] and adds it up once a turn; the one
//! whose addition reaches the goal reports the moment at which it did.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use hdrhistogram::Histogram;

/// What can be counted and waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// JOB_CREATED received.
    Accepted,
    /// WORK_COMPLETE received by a client.
    Answered,
    /// A job whose client has nothing more to wait for.
    Done,
    /// A job run by a worker.
    Ran,
    /// NO_JOB received.
    Missed,
    /// NOOP received.
    Woken,
    /// ECHO_RES received for a barrier.
    Echoed,
    /// Any packet received.
    Received,
}

const UNITS: usize = Unit::Received as usize + 1;

/// One thread's counts and latencies.
pub(crate) struct Tally {
    counts: [u64; UNITS],
    /// Nanoseconds from a submit to its end.
    pub(crate) latency: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { counts: [0; UNITS], latency: latency_histogram() }
    }

    /// Counts one.
    pub(crate) fn count(&mut self, unit: Unit) {
        self.counts[unit as usize] += 1;
    }

    /// Records how long a job took.
    pub(crate) fn took(&mut self, from: Instant, to: Instant) {
        let ns = u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(ns);
    }
}

/// Three digits from 100 ns to 10 minutes.
pub(crate) fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 600_000_000_000, 3).expect("constant bounds are in order")
}

/// The sum of all threads' counts, and the goal of the running phase.
pub(crate) struct Progress {
    counts: [AtomicU64; UNITS],
    goal: Mutex<Option<Goal>>,
    goal_unit: AtomicU64,
    goal_count: AtomicU64,
}

struct Goal {
    reached: std::sync::mpsc::Sender<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            goal: Mutex::new(None),
            goal_unit: AtomicU64::new(0),
            goal_count: AtomicU64::new(u64::MAX),
        }
    }

    /// How many there have been since the start.
    pub(crate) fn total(&self, unit: Unit) -> u64 {
        self.counts[unit as usize].load(SeqCst)
    }

    /// Sends the time on `reached`, once, when `unit` has come to `count` in all.
    pub(crate) fn aim(&self, unit: Unit, count: u64, reached: std::sync::mpsc::Sender<Instant>) {
        *self.goal.lock().expect("no holder panics") = Some(Goal { reached });
        self.goal_unit.store(unit as u64, SeqCst);
        self.goal_count.store(count, SeqCst);
        self.check();
    }

    /// Changes the count of the goal that was set by [`aim`](Self::aim).
    pub(crate) fn move_goal(&self, count: u64) {
        self.goal_count.store(count, SeqCst);
        self.check();
    }

    /// Adds a thread's counts of one turn.
    pub(crate) fn add(&self, tally: &mut Tally) {
        for (count, total) in tally.counts.iter_mut().zip(&self.counts) {
            if *count > 0 {
                total.fetch_add(*count, SeqCst);
                *count = 0;
            }
        }
        self.check();
    }

    fn check(&self) {
        let unit = self.goal_unit.load(SeqCst) as usize;
        if self.counts[unit].load(SeqCst) < self.goal_count.load(SeqCst) {
            return;
        }
        if let Some(goal) = self.goal.lock().expect("no holder panics").take() {
            self.goal_count.store(u64::MAX, SeqCst);
            // The waiting side may have given up.
            let _ = goal.reached.send(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goal_is_reported_once_and_may_be_met_in_advance() {
        let progress = Progress::new();
        let mut tally = Tally::new();
        let (sender, reached) = std::sync::mpsc::channel();
        progress.aim(Unit::Ran, 2, sender.clone());
        tally.count(Unit::Ran);
        progress.add(&mut tally);
        assert!(reached.try_recv().is_err());
        tally.count(Unit::Ran);
        progress.add(&mut tally);
        assert!(reached.try_recv().is_ok());
        tally.count(Unit::Ran);
        progress.add(&mut tally);
        assert!(reached.try_recv().is_err());
        progress.aim(Unit::Ran, u64::MAX, sender);
        assert!(reached.try_recv().is_err());
        progress.move_goal(3);
        assert!(reached.try_recv().is_ok());
    }
}
