//! One job.

use super::Filing;
use super::body::Body;
use super::change::Death;
use super::packed::Place;
use crate::protocol::retry::Cause;

/// The three lanes of a function; a greater one is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// SUBMIT_JOB_LOW and _BG.
    Low,
    /// SUBMIT_JOB, _BG, _EPOCH and reduce jobs.
    Normal,
    /// SUBMIT_JOB_HIGH and _BG.
    High,
}

impl Priority {
    /// Every priority, the first to be served first.
    pub const FROM_HIGH: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// For indexing tables of priorities: low 0, normal 1, high 2.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// For sets of priorities: its one bit of three.
    #[must_use]
    pub const fn bit(self) -> u8 {
        1 << self.index()
    }
}

/// Eight bytes that need no more alignment than four, and so leave no gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Halves([u32; 2]);

impl Halves {
    /// In halves.
    #[must_use]
    pub const fn new(whole: u64) -> Self {
        Self([(whole >> 32) as u32, whole as u32])
    }

    /// As a whole.
    #[must_use]
    pub const fn whole(self) -> u64 {
        (self.0[0] as u64) << 32 | self.0[1] as u64
    }
}

/// Someone outside the queue, a worker or a client, as the caller names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Party(Halves);

impl Party {
    /// The party that the caller names so.
    #[must_use]
    pub const fn new(name: u64) -> Self {
        Self(Halves::new(name))
    }

    /// The caller's name for it.
    #[must_use]
    pub const fn name(self) -> u64 {
        self.0.whole()
    }
}

/// A client that waits for a job, and under which ticket it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who waits.
    pub client: Party,
    /// The client's own name for the job.
    pub ticket: u32,
}

/// The clients of a job; nearly always none or one.
#[derive(Debug, Default)]
pub enum Clients {
    /// Nobody waits.
    #[default]
    None,
    /// One client.
    One(Waiting),
    /// Several, in the order they came; also one client several times.
    Many(Box<Vec<Waiting>>),
}

impl Clients {
    /// All of them, in the order they came.
    #[must_use]
    pub fn as_slice(&self) -> &[Waiting] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    /// Adds one.
    pub fn push(&mut self, waiting: Waiting) {
        match self {
            Self::None => *self = Self::One(waiting),
            Self::One(first) => *self = Self::Many(Box::new(vec![*first, waiting])),
            Self::Many(many) => many.push(waiting),
        }
    }

    /// Removes one; whether it was there.
    pub fn remove(&mut self, waiting: Waiting) -> bool {
        match self {
            Self::None => false,
            Self::One(one) if *one == waiting => {
                *self = Self::None;
                true
            }
            Self::One(_) => false,
            Self::Many(many) => match many.iter().position(|&one| one == waiting) {
                Some(at) => {
                    many.remove(at);
                    if many.is_empty() {
                        *self = Self::None;
                    }
                    true
                }
                None => false,
            },
        }
    }
}

/// A job in the hands of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Who has it.
    pub worker: Party,
    /// Monotonic microseconds by which it must end; `u64::MAX` for no limit.
    pub deadline_us: u64,
    /// From the last WORK_STATUS.
    pub numerator: u32,
    /// From the last WORK_STATUS.
    pub denominator: u32,
}

/// Who has to do with a job: kept apart, since most jobs of a deep queue have
/// no clients and all of them have no worker.
#[derive(Debug, Default)]
pub(super) struct Parties {
    /// Who waits for it.
    pub(super) clients: Clients,
    /// Who has it; set as long as the job's state says so.
    pub(super) running: Option<Running>,
}

/// Where a job is. It is in exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In its lane's list, between these two (indexes, or [`super::lane::END`]).
    Queued {
        /// The one to be served before it.
        previous: u32,
        /// The one to be served after it.
        next: u32,
    },
    /// In its lane by its sequence, because it may not go to the tail.
    Placed,
    /// Not to be run before its time.
    Scheduled {
        /// Unix time in seconds when it becomes runnable.
        due_s: Halves,
    },
    /// With a worker.
    Running,
    /// Nowhere: a dead letter, which is kept and not run.
    DeadLetter {
        /// What ended its last run.
        cause: Cause,
        /// Unix time in seconds when that was.
        at_s: Halves,
    },
}

impl State {
    /// How it became a dead letter, if it is one.
    #[must_use]
    pub const fn death(self) -> Option<Death> {
        match self {
            Self::DeadLetter { cause, at_s } => Some(Death { cause, at_s: at_s.whole() }),
            _ => None,
        }
    }
}

/// For whom a job is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// For the clients that wait; not any more when they have left.
    Foreground,
    /// Even if nobody waits.
    Background,
    /// The same, and a store keeps it.
    Durable,
    /// Cancelled while it ran: nobody is told, and it is not run again.
    Dead,
}

/// Where in a job's body its workload starts: behind the unique and, if it has
/// one, the reducer, with a NUL after each.
#[must_use]
pub const fn workload_at(unique_bytes: u16, reducer_bytes: u16) -> usize {
    let reducer = if reducer_bytes == 0 { 0 } else { reducer_bytes as usize + 1 };
    unique_bytes as usize + 1 + reducer
}

/// Where a job's unique, reducer and workload are, as [`workload_at`] says.
#[derive(Debug)]
pub(super) enum Stored {
    /// In an allocation of their own; always so while the job runs.
    Shared(Body),
    /// Packed with those of other jobs.
    Packed(Place),
    /// The workload is in the store only; what stands before it is packed, or
    /// [`Place::NOWHERE`] when that is the NUL behind an empty unique.
    Spilled(Place),
}

/// One job, as it is kept: what every job needs, on one cache line.
#[derive(Debug)]
pub struct Job {
    /// The number in its handle; grows with time and is never used again.
    pub number: u64,
    /// Its place in the order of its lane; smaller is served first.
    pub sequence: u64,
    pub(super) stored: Stored,
    /// Where it is.
    pub state: State,
    /// Index of its [`Parties`], or [`NO_PARTIES`].
    pub(super) parties: u32,
    /// Index of its function.
    pub function: u32,
    /// Under what it is filed in the unique index, as long as it is.
    pub(super) filing: Filing,
    /// Runs so far that came to nothing; stays at the largest number.
    pub losses: u16,
    /// Length of the unique.
    pub unique_bytes: u16,
    /// Length of the reducer behind it; 0 for none.
    pub reducer_bytes: u16,
    /// Its lane.
    pub priority: Priority,
    /// For whom it is run.
    pub standing: Standing,
}

/// Stands for the parties of a job that has none.
pub(super) const NO_PARTIES: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_small() {
        assert!(size_of::<Job>() <= 64, "{} bytes", size_of::<Job>());
    }

    #[test]
    fn clients_are_kept_in_order_and_removed_one_at_a_time() {
        let waiting = |ticket| Waiting { client: Party::new(1), ticket };
        let mut clients = Clients::default();
        for ticket in [1, 2, 2] {
            clients.push(waiting(ticket));
        }
        assert!(clients.remove(waiting(2)));
        assert_eq!(clients.as_slice(), [waiting(1), waiting(2)]);
        assert!(!clients.remove(waiting(3)));
        assert!(clients.remove(waiting(1)) && clients.remove(waiting(2)));
        assert!(clients.as_slice().is_empty());
    }
}
