//! One engine for all shards: for a database that takes one writer at a time.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::{BadRow, Engine, EngineError, Key, Row};

/// Whether a schema can keep a row.
pub type Holds = fn(&Row<'_>) -> Result<(), &'static str>;

/// An engine behind a lock that goes round: whoever waits has the next turn.
#[derive(Debug)]
pub struct Shared<E> {
    engine: Arc<Mutex<E>>,
    /// Asked for each row, so without the lock.
    holds: Holds,
}

impl<E> Clone for Shared<E> {
    fn clone(&self) -> Self {
        Self { engine: Arc::clone(&self.engine), holds: self.holds }
    }
}

impl<E: Engine> Shared<E> {
    /// Shares `engine`, whose schema `holds` knows.
    pub fn new(engine: E, holds: Holds) -> Self {
        Self { engine: Arc::new(Mutex::new(engine)), holds }
    }

    fn with<T>(&self, act: impl FnOnce(&mut E) -> T) -> T {
        let mut engine = self.engine.lock();
        let result = act(&mut engine);
        MutexGuard::unlock_fair(engine);
        result
    }
}

impl<E: Engine> Engine for Shared<E> {
    fn holds(&self, row: &Row<'_>) -> Result<(), &'static str> {
        (self.holds)(row)
    }

    fn apply(&mut self, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError> {
        self.with(|engine| engine.apply(new, gone))
    }

    fn read(&mut self, each: &mut dyn FnMut(Result<Row<'static>, BadRow>)) -> Result<(), EngineError> {
        self.with(|engine| engine.read(each))
    }

    fn connect(&mut self) -> Result<(), EngineError> {
        self.with(E::connect)
    }
}
