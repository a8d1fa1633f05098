//! What happens to jobs that must outlive the process, as a store is told it.

use super::body::Body;
use super::job::{Priority, workload_at};
use super::name::Name;

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
    /// Workers that lost it so far.
    pub losses: u16,
}

impl StoredJob {
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
    /// A worker lost it; how many have so far.
    Lost {
        /// Its number.
        number: u64,
        /// The count.
        losses: u16,
    },
    /// It is over.
    Removed {
        /// Its number.
        number: u64,
    },
}

/// What a store has done with the changes of a shard.
#[derive(Debug, Default)]
pub struct Progress {
    /// So many changes, counted from the start, are stored or refused.
    pub changes: u64,
    /// Jobs among them that it had no space for, in order.
    pub refused: Vec<u64>,
    /// It takes no more jobs for now.
    pub full: bool,
}
