//! What is known of every job: whether the server acknowledged it, and its runs.
//!
//! A server's time from a start to the next kill is a life. A run has ended when the
//! server has answered something that the worker asked behind the result: it has read
//! the result then. A job may run again only when it was in flight at a kill, that is:
//! its last run came in an earlier life and had not ended, or had ended so shortly
//! before the kill that the server is allowed to forget it.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

/// Locks, so that threads seldom wait for each other.
const SHELVES: u64 = 64;

#[derive(Clone, Copy, Default)]
struct Job {
    submitted: bool,
    acknowledged: bool,
    runs: u32,
    /// That of its last run.
    life: u32,
    /// When its last run ended: a millisecond more than there were since the books were opened.
    ended: Option<NonZeroU32>,
}

/// What a run is to its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// The first one, of a job that was acknowledged.
    First,
    /// The first one, of a job that was not, or not yet.
    Unconfirmed,
    /// One more, as it may be.
    Again,
    /// One more, which must not be.
    Twice,
    /// There is no such job.
    Unknown,
}

/// The books of one run.
pub(super) struct Books {
    opened: Instant,
    /// A job that ended so long before a kill, or longer, must not run again; zero: nor any that had ended.
    unsynced: Duration,
    shelves: Vec<Mutex<Vec<Job>>>,
    /// When each life ended.
    kills: RwLock<Vec<Duration>>,
    in_flight: AtomicU64,
    forgotten: AtomicU64,
    forgotten_ms_max: AtomicU64,
}

/// How many jobs there are of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) submitted: u64,
    pub(super) acknowledged: u64,
    /// Acknowledged, and never ran.
    pub(super) missing: u64,
    /// Ran, and was never acknowledged.
    pub(super) unconfirmed: u64,
    /// Runs of jobs that were in flight at a kill.
    pub(super) in_flight: u64,
    /// Runs of jobs that had ended before the kill.
    pub(super) forgotten: u64,
    /// The longest time between such an end and the kill.
    pub(super) forgotten_ms_max: u64,
}

impl Books {
    /// New ones, where the server may forget what ended less than `unsynced` before a kill.
    pub(super) fn open(unsynced: Duration) -> Self {
        Self {
            opened: Instant::now(),
            unsynced,
            shelves: (0..SHELVES).map(|_| Mutex::default()).collect(),
            kills: RwLock::default(),
            in_flight: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            forgotten_ms_max: AtomicU64::new(0),
        }
    }

    /// A client sends this job.
    pub(super) fn submitted(&self, number: u64) {
        let (mut jobs, place) = self.shelf(number);
        if jobs.len() <= place {
            jobs.resize(place + 1, Job::default());
        }
        jobs[place].submitted = true;
    }

    /// A client has received JOB_CREATED for it.
    pub(super) fn acknowledged(&self, number: u64) {
        self.with(number, |job| job.acknowledged = true);
    }

    /// A worker has got it.
    pub(super) fn ran(&self, number: u64) -> Ran {
        let kills = self.kills.read().expect("no holder panics");
        let life = u32::try_from(kills.len()).expect("kills are counted in u32");
        let ran = self.with(number, |job| {
            let before = std::mem::replace(job, Job { runs: job.runs + 1, life, ended: None, ..*job });
            match before.ended {
                _ if before.runs == 0 && before.acknowledged => Ran::First,
                _ if before.runs == 0 => Ran::Unconfirmed,
                _ if before.life == life => Ran::Twice,
                None => {
                    self.in_flight.fetch_add(1, Relaxed);
                    Ran::Again
                }
                Some(ended) => {
                    let ended = Duration::from_millis(u64::from(ended.get() - 1));
                    self.forgot(kills[before.life as usize].saturating_sub(ended))
                }
            }
        });
        ran.unwrap_or(Ran::Unknown)
    }

    /// A job came again that had ended so long before the kill.
    fn forgot(&self, before: Duration) -> Ran {
        self.forgotten.fetch_add(1, Relaxed);
        let ms = u64::try_from(before.as_millis()).unwrap_or(u64::MAX);
        self.forgotten_ms_max.fetch_max(ms, Relaxed);
        if before < self.unsynced { Ran::Again } else { Ran::Twice }
    }

    /// The last run of this job has ended.
    pub(super) fn ended(&self, number: u64) {
        let ms = u32::try_from(self.opened.elapsed().as_millis()).unwrap_or(u32::MAX);
        self.with(number, |job| job.ended = Some(NonZeroU32::MIN.saturating_add(ms)));
    }

    /// The server was killed at this moment, and nothing of that life is going to be heard any more.
    pub(super) fn killed(&self, at: Instant) {
        let at = at.saturating_duration_since(self.opened);
        self.kills.write().expect("no holder panics").push(at);
    }

    /// Adds up.
    pub(super) fn sums(&self) -> Sums {
        let mut sums = Sums {
            in_flight: self.in_flight.load(Relaxed),
            forgotten: self.forgotten.load(Relaxed),
            forgotten_ms_max: self.forgotten_ms_max.load(Relaxed),
            ..Sums::default()
        };
        for shelf in &self.shelves {
            for job in shelf.lock().expect("no holder panics").iter() {
                sums.submitted += u64::from(job.submitted);
                sums.acknowledged += u64::from(job.acknowledged);
                sums.missing += u64::from(job.acknowledged && job.runs == 0);
                sums.unconfirmed += u64::from(!job.acknowledged && job.runs > 0);
            }
        }
        sums
    }

    /// Works on a job that was submitted.
    fn with<T>(&self, number: u64, work: impl FnOnce(&mut Job) -> T) -> Option<T> {
        let (mut jobs, place) = self.shelf(number);
        jobs.get_mut(place).filter(|job| job.submitted).map(work)
    }

    fn shelf(&self, number: u64) -> (MutexGuard<'_, Vec<Job>>, usize) {
        let jobs = self.shelves[(number % SHELVES) as usize].lock().expect("no holder panics");
        (jobs, usize::try_from(number / SHELVES).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Books with acknowledged jobs of these numbers.
    fn books(unsynced_ms: u64, numbers: &[u64]) -> Books {
        let books = Books::open(Duration::from_millis(unsynced_ms));
        for &number in numbers {
            books.submitted(number);
            books.acknowledged(number);
        }
        books
    }

    /// A kill so long after the books were opened.
    fn kill_after(books: &Books, ms: u64) {
        books.killed(books.opened + Duration::from_millis(ms));
    }

    #[test]
    fn every_acknowledged_job_is_missing_until_it_runs() {
        let books = books(0, &[0, 1, 64, 6400]);
        books.submitted(2);
        assert_eq!((books.ran(64), books.ran(2)), (Ran::First, Ran::Unconfirmed));
        for unknown in [3, 128, 6401, u64::MAX] {
            assert_eq!(books.ran(unknown), Ran::Unknown);
        }
        // The acknowledgement may be read after the run, and may still come.
        books.submitted(5);
        assert_eq!(books.ran(5), Ran::Unconfirmed);
        books.acknowledged(5);
        let expected = Sums { submitted: 6, acknowledged: 5, missing: 3, unconfirmed: 1, ..Sums::default() };
        assert_eq!(books.sums(), expected);
    }

    #[test]
    fn a_job_runs_again_only_when_it_was_in_flight_at_a_kill() {
        let books = books(0, &[1, 2, 3]);
        assert_eq!([1, 2].map(|number| books.ran(number)), [Ran::First; 2]);
        books.ended(2);
        assert_eq!(books.ran(1), Ran::Twice, "nothing was killed");
        kill_after(&books, 1_000_000);
        assert_eq!((books.ran(1), books.ran(2), books.ran(3)), (Ran::Again, Ran::Twice, Ran::First));
        let sums = books.sums();
        assert_eq!((sums.in_flight, sums.forgotten, sums.missing), (1, 1, 0));
        assert!((900_000..=1_000_000).contains(&sums.forgotten_ms_max), "{}", sums.forgotten_ms_max);
        // It was in flight once, and then ended.
        books.ended(1);
        kill_after(&books, 2_000_000);
        kill_after(&books, 3_000_000);
        assert_eq!((books.ran(1), books.ran(3)), (Ran::Twice, Ran::Again));
    }

    #[test]
    fn what_ended_shortly_before_a_kill_may_be_forgotten_if_that_is_allowed() {
        for (unsynced, expected) in [(0, Ran::Twice), (50, Ran::Again)] {
            let books = books(unsynced, &[1]);
            books.ran(1);
            books.ended(1);
            // In the same millisecond, or before it.
            kill_after(&books, 0);
            assert_eq!((books.ran(1), books.sums().forgotten), (expected, 1));
        }
        let books = books(50, &[1]);
        books.ran(1);
        books.ended(1);
        kill_after(&books, 1_000_000);
        assert_eq!(books.ran(1), Ran::Twice);
    }
}
