//! One job.

use super::body::Body;

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
}

/// Someone outside the queue, a worker or a client, as the caller names it.
///
/// Kept in halves: aligned to 4 bytes it leaves no gaps beside the small
/// fields of [`Waiting`] and [`Running`], and a job takes 96 bytes, not 104.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Party([u32; 2]);

impl Party {
    /// The party that the caller names so.
    #[must_use]
    pub const fn new(name: u64) -> Self {
        Self([(name >> 32) as u32, name as u32])
    }

    /// The caller's name for it.
    #[must_use]
    pub const fn name(self) -> u64 {
        (self.0[0] as u64) << 32 | self.0[1] as u64
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
    /// Not to be run before this unix time in seconds.
    Scheduled {
        /// When it becomes runnable.
        due_s: u64,
    },
    /// With a worker.
    Running(Running),
}

/// For whom a job is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// For the clients that wait; not any more when they have left.
    Foreground,
    /// Even if nobody waits.
    Background,
    /// Cancelled while it ran: nobody is told, and it is not run again.
    Dead,
}

/// One job.
#[derive(Debug)]
pub struct Job {
    /// The number in its handle; grows with time and is never used again.
    pub number: u64,
    /// Its place in the order of its lane; smaller is served first.
    pub sequence: u64,
    /// Unique, reducer and workload, one after the other.
    pub body: Body,
    /// Where it is.
    pub state: State,
    /// Who waits for it.
    pub clients: Clients,
    /// Index of its function.
    pub function: u32,
    /// Hash under which it is filed in the unique index.
    pub(super) unique_hash: u32,
    /// Workers that lost it so far; stays at the largest number.
    pub losses: u16,
    /// Length of the unique in `body`.
    pub unique_bytes: u16,
    /// Length of the reducer behind it.
    pub reducer_bytes: u16,
    /// Its lane.
    pub priority: Priority,
    /// For whom it is run.
    pub standing: Standing,
}

impl Job {
    /// The unique that it was submitted with; possibly empty.
    #[must_use]
    pub fn unique(&self) -> &[u8] {
        &self.body[..usize::from(self.unique_bytes)]
    }

    /// The reducer; empty for a plain job.
    #[must_use]
    pub fn reducer(&self) -> &[u8] {
        let start = usize::from(self.unique_bytes);
        &self.body[start..start + usize::from(self.reducer_bytes)]
    }

    /// The workload.
    #[must_use]
    pub fn workload(&self) -> &[u8] {
        &self.body[usize::from(self.unique_bytes) + usize::from(self.reducer_bytes)..]
    }

    /// What `running` of the state says, if a worker has the job.
    #[must_use]
    pub fn running(&self) -> Option<&Running> {
        match &self.state {
            State::Running(running) => Some(running),
            _ => None,
        }
    }

    /// Whether it is not to be run again when its worker is lost: cancelled,
    /// or left by all its clients.
    #[must_use]
    pub fn is_unwanted(&self) -> bool {
        match self.standing {
            Standing::Foreground => self.clients.as_slice().is_empty(),
            Standing::Background => false,
            Standing::Dead => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_small() {
        assert!(size_of::<Job>() <= 96, "{} bytes", size_of::<Job>());
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
