//! A store whose failure is not the server's.

use super::Store;
use super::error::StoreError;
use crate::queue::change::{Change, NotKept, StoredJob};

/// After an error of the store inside it, jobs are refused and everything else
/// goes on. What was acknowledged is in that store and comes back at a start
/// when the cause is gone; ends of jobs are lost, so that those run again.
pub struct Refusing<S, T> {
    store: S,
    /// Whether what is written has to be safe before it is told to be.
    always: bool,
    /// Hears the error.
    tell: T,
    failed: Option<StoreError>,
}

impl<S: Store, T: Fn(&StoreError)> Refusing<S, T> {
    /// Goes on without `store` when that fails.
    pub const fn new(store: S, always: bool, tell: T) -> Self {
        Self { store, always, tell, failed: None }
    }

    /// What becomes of a result: an error that is final closes the store.
    fn note<R>(&mut self, result: Result<R, StoreError>) -> Result<R, StoreError> {
        match result {
            Err(error) if !matches!(error, StoreError::Full | StoreError::Away) => {
                (self.tell)(&error);
                self.failed = Some(error);
                Err(StoreError::Away)
            }
            result => result,
        }
    }
}

impl<S: Store, T: Fn(&StoreError) + Send> Store for Refusing<S, T> {
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if self.failed.is_some() {
            return Err(StoreError::Away);
        }
        let mut written = self.store.write(changes);
        if written.is_ok() && self.always {
            // An error of a later sync would come when the jobs cannot be refused any more.
            written = self.store.sync();
        }
        self.note(written)
    }

    fn take_refused(&mut self) -> Vec<(u64, NotKept)> {
        self.store.take_refused()
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.failed.is_some() || self.always {
            return Ok(());
        }
        let synced = self.store.sync();
        self.note(synced).or(Ok(()))
    }

    fn replay(&mut self, each: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        self.store.replay(each)
    }

    fn read(&mut self, numbers: &[u64], bytes_max: usize) -> Result<Vec<StoredJob>, StoreError> {
        self.store.read(numbers, bytes_max)
    }

    fn has_room(&self) -> bool {
        self.closed().is_none()
    }

    fn closed(&self) -> Option<NotKept> {
        if self.failed.is_some() { Some(NotKept::Failed) } else { self.store.closed() }
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        if self.failed.is_some() {
            return Ok(false);
        }
        let tidied = self.store.tidy();
        self.note(tidied).or(Ok(false))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.store.close(),
        }
    }
}
