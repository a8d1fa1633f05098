//! A look at a log from outside, whole or damaged.

use super::reader::replay;
use super::scan::{Scan, scan};
use crate::queue::change::StoredJob;
use crate::storage::disk::Disk;
use crate::storage::error::StoreError;

/// What a log holds, damaged or not.
pub struct Inspection<D: Disk> {
    disk: D,
    scan: Scan<D::File>,
}

impl<D: Disk> Inspection<D> {
    /// Reads a log that no server uses, and changes nothing. `read` hears of
    /// every so many bytes that were read.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn of(disk: D, read: &mut dyn FnMut(u64)) -> Result<Self, StoreError> {
        let scan = scan(&disk, read)?;
        Ok(Self { disk, scan })
    }

    /// Files that are in use.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.scan.segments.len()
    }

    /// Bytes of those files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.scan.segments.iter().map(|found| found.bytes).sum()
    }

    /// Batches that are whole.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.scan.batches
    }

    /// Jobs that are not over. In a damaged log some may be missing, and
    /// others may be over already.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.scan.places.len()
    }

    /// Bytes of a last write that was cut short; nobody was told that it is safe.
    #[must_use]
    pub fn dropped_bytes(&self) -> u64 {
        self.scan.dropped_bytes
    }

    /// Everything that is damaged.
    #[must_use]
    pub fn problems(&self) -> &[StoreError] {
        &self.scan.problems
    }

    /// Gives every job to `each`, in the order of their numbers.
    ///
    /// # Errors
    /// Those of `each`, and when a job cannot be read.
    pub fn replay<E: From<StoreError>>(&self, each: impl FnMut(StoredJob) -> Result<(), E>) -> Result<(), E> {
        replay(&self.disk, &self.scan.segments, &self.scan.places, each)
    }
}
