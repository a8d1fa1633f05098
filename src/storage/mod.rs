//! Where jobs are kept that must outlive the process.
//!
//! A shard says what changes ([`Change`]); a store thread of its own writes
//! that to a [`Store`] and tells how far it is safe. Nothing here knows
//! workers, packets or which shard waits.
//!
//! Kept at all times: what is acknowledged is on disk; a job that is read back
//! has every byte that was given; damage is told with its place and never
//! passed over.

pub mod disk;
pub mod error;
pub mod imported;
pub mod log;
pub mod logs;
pub mod rows;
pub mod writer;

use crate::queue::change::{Change, StoredJob};
pub use error::StoreError;

/// Something that keeps jobs.
///
/// Changes come in the order in which they happened. An error is final: what
/// was handed over since the last success may or may not be kept, and nothing
/// more is taken.
pub trait Store: Send {
    /// Writes `changes`. They are safe from an end of the process when this
    /// returns, and from a loss of power after the next [`sync`](Self::sync).
    ///
    /// # Errors
    /// When they cannot be written.
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// Makes all that was written safe.
    ///
    /// # Errors
    /// When that cannot be known.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Gives every job that is kept to `each`, in the order in which they are to
    /// be served. Comes once, before anything else.
    ///
    /// # Errors
    /// When not all can be read.
    fn replay(&mut self, each: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError>;

    /// Jobs that are kept, in the order of `numbers`: the first one, and as many
    /// more as have about `bytes_max` bytes together.
    ///
    /// # Errors
    /// When one cannot be read, or is not here.
    fn read(&mut self, numbers: &[u64], bytes_max: usize) -> Result<Vec<StoredJob>, StoreError>;

    /// Whether there is room for more jobs; what ends jobs is always taken.
    fn has_room(&self) -> bool;

    /// Puts a bounded part of what is kept in order. Whether there is more to do at once.
    ///
    /// # Errors
    /// When the store is damaged or cannot be written.
    fn tidy(&mut self) -> Result<bool, StoreError>;
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        (**self).write(changes)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        (**self).sync()
    }

    fn replay(&mut self, each: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        (**self).replay(each)
    }

    fn read(&mut self, numbers: &[u64], bytes_max: usize) -> Result<Vec<StoredJob>, StoreError> {
        (**self).read(numbers, bytes_max)
    }

    fn has_room(&self) -> bool {
        (**self).has_room()
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        (**self).tidy()
    }
}
