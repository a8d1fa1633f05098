//! `--store-queue-on-shutdown`: rows are written once, when the server ends.
//!
//! As gearmand: while the server runs nothing is written, and rows that were
//! there are taken out once they are jobs. Whatever ends the process without
//! its consent loses them all.

use std::collections::BTreeMap;

use super::Engine;
use super::store::RowStore;
use crate::queue::change::{Change, NotKept, StoredJob};
use crate::storage::{Store, StoreError};

/// A store of one shard that keeps its jobs in memory until it is closed.
#[derive(Debug)]
pub struct AtEnd<E> {
    rows: RowStore<E>,
    jobs: BTreeMap<u64, StoredJob>,
    /// Jobs whose rows are still there.
    read: Vec<Change>,
    refused: Vec<(u64, NotKept)>,
}

impl<E: Engine> AtEnd<E> {
    /// Keeps what is in `rows`, which was not replayed yet.
    pub const fn new(rows: RowStore<E>) -> Self {
        Self { rows, jobs: BTreeMap::new(), read: Vec::new(), refused: Vec::new() }
    }
}

impl<E: Engine> Store for AtEnd<E> {
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        for change in changes {
            match change {
                Change::Added(job) => match self.rows.row(job) {
                    Ok(_) => drop(self.jobs.insert(job.number, job.clone())),
                    Err(why) => self.refused.push((job.number, NotKept::Unfit(why))),
                },
                Change::Removed { number } => drop(self.jobs.remove(number)),
                Change::Altered { .. } => {}
            }
        }
        Ok(())
    }

    fn take_refused(&mut self) -> Vec<(u64, NotKept)> {
        std::mem::take(&mut self.refused)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn replay(&mut self, each: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        let Self { rows, jobs, read, .. } = self;
        rows.replay(&mut |job| {
            read.push(Change::Removed { number: job.number });
            jobs.insert(job.number, job.clone());
            each(job);
        })
    }

    fn read(&mut self, numbers: &[u64], bytes_max: usize) -> Result<Vec<StoredJob>, StoreError> {
        self.rows.read(numbers, bytes_max)
    }

    /// It is looked at again until the rows are taken out.
    fn has_room(&self) -> bool {
        self.rows.has_room()
    }

    fn closed(&self) -> Option<NotKept> {
        self.rows.closed()
    }

    /// Empties the table once its rows are jobs.
    fn tidy(&mut self) -> Result<bool, StoreError> {
        if !self.read.is_empty() {
            match self.rows.write(&self.read) {
                Ok(()) => self.read.clear(),
                Err(StoreError::Away) => {}
                Err(error) => return Err(error),
            }
        }
        self.rows.tidy()
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let jobs = self.jobs.len();
        let mut changes = std::mem::take(&mut self.read);
        changes.extend(std::mem::take(&mut self.jobs).into_values().map(Change::Added));
        let refused = match self.rows.write(&changes) {
            Ok(()) => self.rows.take_refused().len(),
            Err(StoreError::Away) => jobs,
            Err(error) => return Err(error),
        };
        match refused {
            0 => self.rows.close(),
            jobs => Err(StoreError::Unkept { jobs }),
        }
    }
}
