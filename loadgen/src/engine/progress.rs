//! How far a phase is, counted by every thread and waited for by one.
//!
//! A thread counts into its own [`Tally`] and adds it up once a turn; the one
//! whose addition reaches the goal reports the moment at which it did.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use hdrhistogram::Histogram;

/// What can be counted and waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A job submitted.
    Submitted,
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
    /// The answer to a barrier received.
    Echoed,
    /// A connection that ended because its server was killed.
    Ended,
    /// Any packet received.
    Received,
}

const UNITS: usize = Unit::Received as usize + 1;

/// When a job began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    /// When it was to be sent; in a closed loop that is when it was.
    due: Instant,
    sent: Instant,
    scheduled: bool,
}

impl Began {
    /// A job that was to be sent at `due` and was sent at `sent`.
    pub(crate) const fn late(due: Instant, sent: Instant) -> Self {
        Self { due, sent, scheduled: true }
    }
}

impl From<Instant> for Began {
    fn from(sent: Instant) -> Self {
        Self { due: sent, sent, scheduled: false }
    }
}

/// Latencies in nanoseconds.
pub(crate) struct Latencies {
    /// From the moment at which a job was to be sent until its end.
    pub(crate) latency: Histogram<u64>,
    /// Open loop: from the moment at which it was sent.
    pub(crate) uncorrected: Histogram<u64>,
    /// Open loop: from the moment at which it was to be sent until it was, by
    /// this generator's own fault.
    pub(crate) lateness: Histogram<u64>,
    /// As `latency`, of the run's parts; those at the end may be missing.
    pub(crate) parts: Vec<Histogram<u64>>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let [latency, uncorrected, lateness] = std::array::from_fn(|_| latency_histogram());
        Self { latency, uncorrected, lateness, parts: Vec::new() }
    }

    /// Hands over what was recorded, and begins afresh.
    pub(crate) fn take(&mut self) -> Self {
        // A new histogram is a large allocation that an empty one does not need.
        let take = |from: &mut Histogram<u64>| {
            if from.is_empty() {
                Histogram::new_with_bounds(1, 2, 0).expect("constant bounds are in order")
            } else {
                std::mem::replace(from, latency_histogram())
            }
        };
        Self {
            latency: take(&mut self.latency),
            uncorrected: take(&mut self.uncorrected),
            lateness: take(&mut self.lateness),
            parts: self.parts.iter_mut().map(take).collect(),
        }
    }

    /// Adds what another thread, or the same one later, has recorded.
    pub(crate) fn add(&mut self, other: &Self) {
        let all = [&mut self.latency, &mut self.uncorrected, &mut self.lateness];
        for (all, more) in all.into_iter().zip([&other.latency, &other.uncorrected, &other.lateness]) {
            add(all, more);
        }
        add_parts(&mut self.parts, &other.parts);
    }
}

/// Adds what may be empty, and is then of other bounds.
fn add(all: &mut Histogram<u64>, more: &Histogram<u64>) {
    if !more.is_empty() {
        all.add(more).expect("all histograms that are not empty have the same bounds");
    }
}

/// Adds each of `more` to the one at its place.
pub(crate) fn add_parts(all: &mut Vec<Histogram<u64>>, more: &[Histogram<u64>]) {
    all.resize_with(all.len().max(more.len()), latency_histogram);
    for (all, more) in all.iter_mut().zip(more) {
        add(all, more);
    }
}

/// One thread's counts and latencies.
pub(crate) struct Tally {
    counts: [u64; UNITS],
    pub(crate) latencies: Latencies,
    /// Numbers of jobs that this thread may submit.
    pub(crate) chunk: Range<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { counts: [0; UNITS], latencies: Latencies::new(), chunk: 0..0 }
    }

    /// Counts one.
    pub(crate) fn count(&mut self, unit: Unit) {
        self.counts[unit as usize] += 1;
    }

    /// Records how long a job took.
    pub(crate) fn took(&mut self, from: impl Into<Began>, to: Instant) {
        let from = from.into();
        self.latencies.latency.saturating_record(ns(from.due, to));
        if from.scheduled {
            self.latencies.uncorrected.saturating_record(ns(from.sent, to));
        }
    }

    /// Records how long a job of this part took.
    pub(crate) fn took_in(&mut self, part: usize, from: Began, to: Instant) {
        let parts = &mut self.latencies.parts;
        if parts.len() <= part {
            parts.resize_with(part + 1, latency_histogram);
        }
        parts[part].saturating_record(ns(from.due, to));
    }

    /// Records how late this thread was to send a job.
    pub(crate) fn late(&mut self, due: Instant, sent: Instant) {
        self.latencies.lateness.saturating_record(ns(due, sent));
    }

    /// Records a job that was due at `due` and was still not sent at `at`.
    pub(crate) fn never_sent(&mut self, due: Instant, at: Instant) {
        self.latencies.latency.saturating_record(ns(due, at));
    }
}

fn ns(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
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

    /// Adds a thread's counts of one turn. A count that is nobody's goal costs
    /// one addition a turn and nothing else.
    pub(crate) fn add(&self, tally: &mut Tally) {
        let mut goal_came_nearer = false;
        for (unit, count) in tally.counts.iter_mut().enumerate() {
            if *count > 0 {
                self.counts[unit].fetch_add(*count, SeqCst);
                *count = 0;
                goal_came_nearer |= unit as u64 == self.goal_unit.load(SeqCst);
            }
        }
        if goal_came_nearer {
            self.check();
        }
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_is_timed_from_when_its_job_was_due() {
        let mut tally = Tally::new();
        let due = Instant::now();
        let (sent, answered) = (due + Duration::from_millis(30), due + Duration::from_millis(40));
        tally.took(Began::late(due, sent), answered);
        tally.took(sent, answered);
        tally.late(due, sent);
        tally.never_sent(due, answered);
        let near = |ns: u64, ms: u64| (ms * 1_000_000).abs_diff(ns) < ms * 1000;
        let first = tally.latencies.take();
        assert_eq!((first.latency.len(), first.uncorrected.len(), first.lateness.len()), (3, 1, 1));
        assert!(near(first.latency.max(), 40) && near(first.latency.min(), 10));
        assert!(near(first.uncorrected.max(), 10) && near(first.lateness.max(), 30));
        let mut all = Latencies::new();
        all.add(&first);
        all.add(&tally.latencies.take());
        assert_eq!(all.latency.len(), 3);
    }

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
