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
pub mod refusing;
pub mod rows;
pub mod writer;

use crate::queue::change::{Change, NotKept, StoredJob};
pub use error::StoreError;

/// Something that keeps jobs.
///
/// Changes come in the order in which they happened. An error is final, but for
/// [`Full`](StoreError::Full) and [`Away`](StoreError::Away): what was handed
/// over since the last success may or may not be kept, and nothing more is taken.
pub trait Store: Send {
    /// Writes `changes`. They are safe from an end of the process when this
    /// returns, and from a loss of power after the next [`sync`](Self::sync).
    ///
    /// # Errors
    /// When they cannot be written.
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// Jobs of the last write that it did not keep, though it took the rest.
    fn take_refused(&mut self) -> Vec<(u64, NotKept)> {
        Vec::new()
    }

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

    /// Why there is no room, if so.
    fn closed(&self) -> Option<NotKept> {
        (!self.has_room()).then_some(NotKept::Full)
    }

    /// Puts a bounded part of what is kept in order. Whether there is more to do at once.
    ///
    /// # Errors
    /// When the store is damaged or cannot be written.
    fn tidy(&mut self) -> Result<bool, StoreError>;

    /// Makes everything safe; nothing comes after it.
    ///
    /// # Errors
    /// When that cannot be known.
    fn close(&mut self) -> Result<(), StoreError> {
        self.sync()
    }
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        (**self).write(changes)
    }

    fn take_refused(&mut self) -> Vec<(u64, NotKept)> {
        (**self).take_refused()
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

    fn closed(&self) -> Option<NotKept> {
        (**self).closed()
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        (**self).tidy()
    }

    fn close(&mut self) -> Result<(), StoreError> {
        (**self).close()
    }
}
