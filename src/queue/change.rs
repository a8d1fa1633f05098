//! What happens to jobs that must outlive the process, as a store is told it.

use super::body::Body;
use super::job::{Priority, workload_at};
use super::name::Name;
use crate::protocol::retry::Cause;

/// A job as it is stored.
#[derive(Clone, Debug)]
pub struct StoredJob {
    /// The number in its handle.
    pub number: u64,
    /// Its function.
    pub function: Name,
    /// Unique, reducer if any, and workload, with a NUL between each two.
    pub body: Body,
    /// Length of the unique in `body`.
    pub unique_bytes: u16,
    /// Length of the reducer behind it; 0 for none.
    pub reducer_bytes: u16,
    /// Its lane.
    pub priority: Priority,
    /// Unix seconds before which it is not run; 0 for at once.
    pub not_before_s: u64,
    /// Runs so far that came to nothing.
    pub losses: u16,
    /// Set once it is a dead letter.
    pub death: Option<Death>,
}

/// How a job became a dead letter: one that is kept, and not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// What ended its last run.
    pub cause: Cause,
    /// Unix seconds when that was.
    pub at_s: u64,
}

/// What a job's runs have made of it so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryState {
    /// Runs that came to nothing.
    pub losses: u16,
    /// Unix seconds before which it is not run; 0 for at once, and for a dead letter.
    pub not_before_s: u64,
    /// Set once it is a dead letter.
    pub death: Option<Death>,
}

impl StoredJob {
    /// What its runs have made of it.
    #[must_use]
    pub const fn state(&self) -> RetryState {
        RetryState { losses: self.losses, not_before_s: self.not_before_s, death: self.death }
    }

    /// The same job, with what its runs have made of it since.
    #[must_use]
    pub fn with(self, state: RetryState) -> Self {
        let RetryState { losses, not_before_s, death } = state;
        Self { losses, not_before_s, death, ..self }
    }

    /// The unique; empty when there is none.
    #[must_use]
    pub fn unique(&self) -> &[u8] {
        &self.body[..usize::from(self.unique_bytes)]
    }

    /// What it is run on.
    #[must_use]
    pub fn workload(&self) -> &[u8] {
        &self.body[workload_at(self.unique_bytes, self.reducer_bytes)..]
    }
}

/// What happened to a job.
#[derive(Clone, Debug)]
pub enum Change {
    /// It was submitted.
    Added(StoredJob),
    /// A run came to nothing, or a dead letter was requeued.
    Altered {
        /// Its number.
        number: u64,
        /// What it is from now on.
        state: RetryState,
    },
    /// It is over.
    Removed {
        /// Its number.
        number: u64,
    },
}

impl Change {
    /// The number of its job.
    #[must_use]
    pub const fn number(&self) -> u64 {
        match self {
            Self::Added(job) => job.number,
            Self::Altered { number, .. } | Self::Removed { number } => *number,
        }
    }
}

/// Why a store does not keep a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// There is no space.
    Full,
    /// Whoever keeps the jobs cannot be reached.
    Away,
    /// The disk has failed; it is not tried again.
    Failed,
    /// Whoever keeps the jobs said no to this one; the log says why.
    Refused,
    /// There is no place for such a job; why, in words for whoever submitted it.
    Unfit(&'static str),
}

/// What a store has done with the changes of a shard.
#[derive(Debug, Default)]
pub struct Progress {
    /// So many changes, counted from the start, are stored or refused.
    pub changes: u64,
    /// Jobs among them that it does not keep, in the order of their numbers.
    pub refused: Vec<(u64, NotKept)>,
    /// Why it takes no more jobs for now, if so.
    pub closed: Option<NotKept>,
}

/// What a store answers when it is asked for jobs.
#[derive(Debug)]
pub struct ReadBack {
    /// Those that it has read, in the order in which they were asked for.
    pub jobs: Vec<StoredJob>,
    /// Those behind them: they were too much for one answer.
    pub left: Vec<u64>,
}

/// What a store is told.
#[derive(Debug)]
pub enum Order {
    /// To keep changes, in order.
    Keep(Vec<Change>),
    /// To read jobs that it keeps, the most urgent first.
    Read(Vec<u64>),
}

/// What a store tells.
#[derive(Debug)]
pub enum News {
    /// It has got on.
    Stored(Progress),
    /// Jobs that it was asked for.
    Read(ReadBack),
}
