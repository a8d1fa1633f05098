//! The rows of one shard's jobs: numbers become keys, changes become rows.
//!
//! Of several changes to one row in a batch the last one counts. A row that
//! cannot be kept is refused alone. When the engine goes away, nothing is taken
//! until it is back; it is asked again and again.
//!
//! What a job's runs have made of it, and its reducer, have no place in a row.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};

use super::replay::{Found, Keys};
use super::{Engine, EngineError, Key, News, Row, Tell, key};
use crate::queue::change::{Change, NotKept, StoredJob};
use crate::storage::{Store, StoreError};

/// An engine that is away is tried again so long after the last try.
const RETRY: Duration = Duration::from_millis(500);
/// Rows that the engine would not take out, tried again at once.
const STUCK_AT_ONCE: usize = 64;
const MADE_KEY: &str = "Unique has the form of a key that the durable queue makes, choose another";

/// A store of one shard in somebody else's engine.
pub struct RowStore<E> {
    engine: E,
    /// What was found at the start, until it is replayed.
    found: Vec<StoredJob>,
    /// Rows of jobs that are not over.
    keys: Keys,
    /// Whose each row is. A dead letter leaves its row to the next job with its unique.
    owners: HashMap<Arc<Key>, u64>,
    /// When an engine that is away is tried next.
    retry: Option<Instant>,
    /// Jobs of the last write that are not kept.
    refused: Vec<(u64, NotKept)>,
    /// Rows that the engine would not take out, and when they are tried again.
    stuck: Vec<Key>,
    stuck_retry: Instant,
    tell: Tell,
}

impl<E: std::fmt::Debug> std::fmt::Debug for RowStore<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowStore").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// What a batch comes to.
#[derive(Default)]
struct Batch<'a> {
    /// Numbers and rows, in the order in which they came.
    new: Vec<(u64, Row<'a>)>,
    gone: Vec<Key>,
}

impl<'a> Batch<'a> {
    fn rows(&self) -> Vec<Row<'a>> {
        self.new.iter().map(|(_, row)| row.clone()).collect()
    }
}

impl<E: Engine> RowStore<E> {
    /// A store in `engine`, where this was found.
    pub fn new(engine: E, Found { jobs: found, keys }: Found, tell: Tell) -> Self {
        let owners = keys.iter().map(|(&number, key)| (Arc::clone(key), number)).collect();
        Self {
            engine,
            found,
            keys,
            owners,
            retry: None,
            refused: Vec::new(),
            stuck: Vec::new(),
            stuck_retry: Instant::now(),
            tell,
        }
    }

    /// The row of a job.
    ///
    /// # Errors
    /// When the schema cannot keep it; why.
    pub(super) fn row<'a>(&self, job: &'a StoredJob) -> Result<Row<'a>, &'static str> {
        if key::made(job.unique()).is_some() {
            return Err(MADE_KEY);
        }
        let row = Row {
            key: key::key_of(job.unique(), job.number),
            function: Cow::Borrowed(&job.function),
            priority: job.priority,
            data: Cow::Borrowed(job.workload()),
            not_before_s: job.not_before_s,
        };
        self.engine.holds(&row).map(|()| row)
    }

    /// Leaves of each row's changes the last one.
    fn fold<'a>(&mut self, changes: &'a [Change]) -> Batch<'a> {
        let mut rows: Vec<Option<(u64, Row<'a>)>> = Vec::new();
        // By key: where its row is among those, or that it goes.
        let mut last: HashMap<Arc<Key>, Option<usize>> = HashMap::new();
        let mut order = Vec::new();
        for change in changes {
            let (name, at) = match change {
                Change::Added(job) => match self.row(job) {
                    Ok(row) => {
                        let name = Arc::new(row.name());
                        self.keys.insert(job.number, Arc::clone(&name));
                        self.owners.insert(Arc::clone(&name), job.number);
                        rows.push(Some((job.number, row)));
                        (name, Some(rows.len() - 1))
                    }
                    Err(why) => {
                        self.refused.push((job.number, NotKept::Unfit(why)));
                        continue;
                    }
                },
                Change::Removed { number } => match self.keys.get(number) {
                    Some(name) if self.owners.get(name).is_none_or(|owner| owner == number) => {
                        (Arc::clone(name), None)
                    }
                    // It was refused, or another job has its row.
                    _ => continue,
                },
                Change::Altered { .. } => continue,
            };
            match last.insert(Arc::clone(&name), at) {
                None => order.push(name),
                Some(Some(before)) => rows[before] = None,
                Some(None) => {}
            }
        }
        let goes = order.iter().filter(|name| last[*name].is_none());
        let gone = goes.map(|name| Key::clone(name)).collect();
        Batch { new: rows.into_iter().flatten().collect(), gone }
    }

    /// A job is over or was refused.
    fn forget(&mut self, number: u64) {
        if let Some(name) = self.keys.remove(&number)
            && self.owners.get(&name) == Some(&number)
        {
            self.owners.remove(&name);
        }
    }

    /// Has the engine apply it, over a new connection if the old one is gone.
    fn apply(&mut self, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError> {
        match self.engine.apply(new, gone) {
            Err(EngineError::Lost(_)) => {
                self.engine.connect().map_err(|error| as_lost(&error))?;
                self.engine.apply(new, gone)
            }
            done => done,
        }
    }

    /// As [`apply`](Self::apply); what the engine refuses is left out.
    fn apply_what_can_be(&mut self, batch: &Batch<'_>) -> Result<(), EngineError> {
        if batch.new.is_empty() && batch.gone.is_empty() {
            return Ok(());
        }
        match self.apply(&batch.rows(), &batch.gone) {
            Err(EngineError::Refused(what)) if batch.new.len() + batch.gone.len() == 1 => {
                self.leave_out(batch.new.first(), batch.gone.first(), &what);
                return Ok(());
            }
            Err(EngineError::Refused(_)) => {}
            done => return done,
        }
        for key in &batch.gone {
            match self.apply(&[], std::slice::from_ref(key)) {
                Err(EngineError::Refused(what)) => self.leave_out(None, Some(key), &what),
                done => done?,
            }
        }
        for new in &batch.new {
            match self.apply(std::slice::from_ref(&new.1), &[]) {
                Err(EngineError::Refused(what)) => self.leave_out(Some(new), None, &what),
                done => done?,
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, new: Option<&(u64, Row<'_>)>, gone: Option<&Key>, what: &str) {
        if let Some((number, row)) = new {
            (self.tell)(&News::Refused(&row.name(), what));
            self.refused.push((*number, NotKept::Refused));
        }
        if let Some(key) = gone {
            (self.tell)(&News::Refused(key, what));
            self.stuck.push(key.clone());
            self.stuck_retry = Instant::now() + RETRY;
        }
    }

    /// Tries some of the rows again that the engine would not take out.
    fn retry_stuck(&mut self) -> Result<(), EngineError> {
        let some: Vec<Key> = self.stuck.drain(..self.stuck.len().min(STUCK_AT_ONCE)).collect();
        for (at, key) in some.iter().enumerate() {
            match self.apply(&[], std::slice::from_ref(key)) {
                Ok(()) => {}
                Err(EngineError::Refused(_)) => self.stuck.push(key.clone()),
                Err(lost) => {
                    self.stuck.extend_from_slice(&some[at..]);
                    return Err(lost);
                }
            }
        }
        self.stuck_retry = Instant::now() + RETRY;
        Ok(())
    }

    fn went_away(&mut self, what: &str) {
        (self.tell)(&News::Away(what));
        self.retry = Some(Instant::now() + RETRY);
    }
}

/// Whatever keeps an engine from being connected to, it is tried again.
fn as_lost(error: &EngineError) -> EngineError {
    EngineError::Lost(error.to_string())
}

impl<E: Engine> Store for RowStore<E> {
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.refused.clear();
        if self.retry.is_some() {
            return Err(StoreError::Away);
        }
        let batch = self.fold(changes);
        if !self.stuck.is_empty() {
            let new: HashSet<Key> = batch.new.iter().map(|(_, row)| row.name()).collect();
            self.stuck.retain(|key| !new.contains(key));
        }
        if let Err(error) = self.apply_what_can_be(&batch) {
            self.went_away(&error.to_string());
            return Err(StoreError::Away);
        }
        for change in changes {
            if let Change::Removed { number } = change {
                self.forget(*number);
            }
        }
        for number in self.refused.iter().map(|&(number, _)| number).collect::<Vec<_>>() {
            self.forget(number);
        }
        Ok(())
    }

    fn take_refused(&mut self) -> Vec<(u64, NotKept)> {
        std::mem::take(&mut self.refused)
    }

    /// The engine answers only when all is safe.
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn replay(&mut self, each: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        std::mem::take(&mut self.found).into_iter().for_each(each);
        Ok(())
    }

    /// Workloads are kept in memory beside their rows; nothing is read twice.
    fn read(&mut self, numbers: &[u64], _bytes_max: usize) -> Result<Vec<StoredJob>, StoreError> {
        numbers.first().map_or(Ok(Vec::new()), |&number| Err(StoreError::Unknown { number }))
    }

    fn has_room(&self) -> bool {
        self.retry.is_none()
    }

    fn closed(&self) -> Option<NotKept> {
        self.retry.map(|_| NotKept::Away)
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        if self.retry.is_some_and(|at| Instant::now() >= at) {
            match self.engine.connect() {
                Ok(()) => {
                    self.retry = None;
                    (self.tell)(&News::Back);
                }
                Err(_) => self.retry = Some(Instant::now() + RETRY),
            }
        }
        if self.retry.is_none()
            && !self.stuck.is_empty()
            && Instant::now() >= self.stuck_retry
            && let Err(error) = self.retry_stuck()
        {
            self.went_away(&error.to_string());
        }
        Ok(false)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if self.retry.is_none() && !self.stuck.is_empty() {
            // The rest is told below.
            let _away = self.retry_stuck();
        }
        match self.stuck.len() {
            0 => Ok(()),
            jobs => Err(StoreError::Owed { jobs }),
        }
    }
}
