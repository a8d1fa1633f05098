//! The thread that writes a shard's changes to its store.
//!
//! While one batch is written and synced the next one gathers: a single job is
//! written at once, thousands together cost one sync. Whoever handed changes
//! over is told how far they are safe and never waits.
//!
//! A store that is full or away gets no jobs: they are refused at once. What
//! ends jobs is owed to it until it takes it again; it costs an entry for each
//! job that the store has, however long that lasts.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use hashbrown::HashSet;

use super::Store;
use super::error::StoreError;
use crate::queue::change::{Change, News, NotKept, Order, Progress, ReadBack};

/// Changes are gathered up to about so many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// Jobs are read back up to about so many bytes at a time.
const READ_BYTES: usize = 4 << 20;
/// A store that is full or away is looked at again after this time.
const CLOSED_PAUSE: Duration = Duration::from_millis(100);
/// Ends that are owed and written at once.
const PAID_AT_ONCE: usize = 1024;
/// For so long ends that are owed are tried again when the server ends.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// When what was written is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before anybody is told that it is safe: nothing is lost with the power.
    Always,
    /// So long after it was written at most: that much may be lost with the power.
    Interval(Duration),
    /// When the system does it by itself, and at the end.
    Never,
}

/// Writes what comes through `changes`, batch by batch and in order, until all
/// senders are gone; then everything is synced. `confirm` hears how far it has got.
///
/// # Errors
/// When the store fails. Nothing that was not confirmed can be relied on then.
pub fn run<S: Store>(
    store: S,
    durability: Durability,
    orders: Receiver<Order>,
    tell: impl Fn(News),
) -> Result<(), StoreError> {
    let writer = Writer {
        store,
        durability,
        tell,
        receiver: orders,
        pending: VecDeque::new(),
        asked: Vec::new(),
        owed: BTreeMap::new(),
        closed: None,
        done: 0,
        told: (0, None),
        unsynced_since: None,
    };
    writer.run()
}

struct Writer<S, C> {
    store: S,
    durability: Durability,
    tell: C,
    receiver: Receiver<Order>,
    /// Handed over and not written yet.
    pending: VecDeque<Change>,
    /// Jobs to be read.
    asked: Vec<Vec<u64>>,
    /// What the store has not taken yet of what it must take, by job.
    owed: BTreeMap<u64, Change>,
    /// Why it did not.
    closed: Option<NotKept>,
    /// Changes that are written, refused or owed.
    done: u64,
    /// What was confirmed last: changes, and why no jobs are taken.
    told: (u64, Option<NotKept>),
    unsynced_since: Option<Instant>,
}

impl<S: Store, C: Fn(News)> Writer<S, C> {
    fn run(mut self) -> Result<(), StoreError> {
        let mut more = self.store.tidy()?;
        loop {
            let open = self.gather(more);
            if !open && self.pending.is_empty() {
                return self.finish();
            }
            self.read()?;
            self.pay()?;
            let refused = self.write_batch()?;
            self.sync_if_due()?;
            self.tell(refused);
            more = self.store.tidy()?;
            self.tell(Vec::new());
        }
    }

    /// Takes in what has been handed over; waits for it unless there is more
    /// to do by itself. Whether there can be more.
    fn gather(&mut self, busy: bool) -> bool {
        let mut bytes: usize = self.pending.iter().map(bytes_of).sum();
        if self.pending.is_empty() && !busy {
            let first = match self.patience() {
                None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(patience) => self.receiver.recv_timeout(patience),
            };
            match first {
                Ok(order) => bytes += self.take_in(order),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        while bytes < BATCH_BYTES
            && let Ok(order) = self.receiver.try_recv()
        {
            bytes += self.take_in(order);
        }
        true
    }

    /// About how many bytes they are.
    fn take_in(&mut self, order: Order) -> usize {
        match order {
            Order::Keep(changes) => {
                let bytes = changes.iter().map(bytes_of).sum();
                self.pending.extend(changes);
                bytes
            }
            Order::Read(numbers) => {
                self.asked.push(numbers);
                0
            }
        }
    }

    /// Reads what it was asked for: somebody waits to run it.
    fn read(&mut self) -> Result<(), StoreError> {
        for mut numbers in std::mem::take(&mut self.asked) {
            let jobs = self.store.read(&numbers, READ_BYTES)?;
            let left = numbers.split_off(jobs.len());
            (self.tell)(News::Read(ReadBack { jobs, left }));
        }
        Ok(())
    }

    /// How long nothing has to be done when nothing comes; `None` for ever.
    fn patience(&self) -> Option<Duration> {
        let sync = match (self.durability, self.unsynced_since) {
            (Durability::Interval(interval), Some(since)) => Some(interval.saturating_sub(since.elapsed())),
            _ => None,
        };
        let closed = self.closed().map(|_| CLOSED_PAUSE);
        sync.into_iter().chain(closed).min()
    }

    /// Writes the first of what is pending; the jobs that are not kept.
    fn write_batch(&mut self) -> Result<Vec<(u64, NotKept)>, StoreError> {
        let mut bytes = 0;
        let fits = |change: &&Change| {
            bytes += bytes_of(change);
            bytes <= BATCH_BYTES
        };
        let count = self.pending.iter().take_while(fits).count().max(1).min(self.pending.len());
        let mut batch: Vec<Change> = self.pending.drain(..count).collect();
        leave_out_what_is_over(&mut batch);
        if count == 0 {
            return Ok(Vec::new());
        }
        // What is owed comes first.
        let closed = if self.owed.is_empty() { self.attempt(&batch)? } else { self.closed };
        let mut refused = match closed {
            None => self.store.take_refused(),
            Some(why) => self.put_off(batch, why)?,
        };
        self.done += count as u64;
        self.unsynced_since.get_or_insert_with(Instant::now);
        refused.sort_unstable_by_key(|&(number, _)| number);
        Ok(refused)
    }

    /// Has the store write `changes`; why it takes none for now, if so.
    fn attempt(&mut self, changes: &[Change]) -> Result<Option<NotKept>, StoreError> {
        self.closed = match self.store.write(changes) {
            Ok(()) => None,
            Err(StoreError::Full) => Some(NotKept::Full),
            Err(StoreError::Away) => Some(NotKept::Away),
            Err(error) => return Err(error),
        };
        Ok(self.closed)
    }

    /// Refuses the jobs of a batch that the store did not take, and owes it the rest.
    fn put_off(&mut self, mut batch: Vec<Change>, why: NotKept) -> Result<Vec<(u64, NotKept)>, StoreError> {
        let mut refused = Vec::new();
        let added = |change: &Change| match change {
            Change::Added(job) => Some(job.number),
            _ => None,
        };
        refused.extend(batch.iter().filter_map(added).map(|number| (number, why)));
        batch.retain(|change| added(change).is_none());
        if why == NotKept::Full && self.owed.is_empty() && self.attempt(&batch)?.is_none() {
            return Ok(refused);
        }
        self.owed.extend(batch.into_iter().map(|change| (change.number(), change)));
        if why == NotKept::Away {
            // It may have been written before whoever keeps it went away.
            let gone = |&(number, _): &(u64, NotKept)| (number, Change::Removed { number });
            self.owed.extend(refused.iter().map(gone));
        }
        Ok(refused)
    }

    /// Writes what is owed, as far as the store takes it.
    fn pay(&mut self) -> Result<(), StoreError> {
        while !self.owed.is_empty() {
            let some: Vec<Change> = self.owed.values().take(PAID_AT_ONCE).cloned().collect();
            if self.attempt(&some)?.is_some() {
                return Ok(());
            }
            self.unsynced_since.get_or_insert_with(Instant::now);
            for change in &some {
                self.owed.remove(&change.number());
            }
        }
        Ok(())
    }

    /// All senders are gone: what is owed is tried for a while.
    fn finish(mut self) -> Result<(), StoreError> {
        let end = Instant::now() + END_PATIENCE;
        loop {
            self.pay()?;
            if self.owed.is_empty() {
                return self.store.close();
            }
            if Instant::now() >= end {
                self.store.close()?;
                return Err(StoreError::Owed { jobs: self.owed.len() });
            }
            std::thread::sleep(CLOSED_PAUSE);
            self.store.tidy()?;
        }
    }

    fn sync_if_due(&mut self) -> Result<(), StoreError> {
        let Some(since) = self.unsynced_since else { return Ok(()) };
        let due = match self.durability {
            Durability::Always => true,
            Durability::Interval(interval) => since.elapsed() >= interval,
            Durability::Never => false,
        };
        if due {
            self.store.sync()?;
            self.unsynced_since = None;
        }
        Ok(())
    }

    /// Why no jobs are taken for now, if so.
    fn closed(&self) -> Option<NotKept> {
        let owing = self.closed.filter(|_| !self.owed.is_empty());
        self.store.closed().or(owing)
    }

    /// Confirms, if there is anything to say.
    fn tell(&mut self, refused: Vec<(u64, NotKept)>) {
        let told = (self.done, self.closed());
        if std::mem::replace(&mut self.told, told) != told {
            (self.tell)(News::Stored(Progress { changes: self.done, refused, closed: told.1 }));
        }
    }
}

/// About how much room a change takes.
fn bytes_of(change: &Change) -> usize {
    match change {
        Change::Added(job) => 64 + job.function.len() + job.body.len(),
        _ => 24,
    }
}

/// Leaves out the jobs that have begun and ended in one batch.
fn leave_out_what_is_over(batch: &mut Vec<Change>) {
    if !batch.iter().any(|change| matches!(change, Change::Removed { .. })) {
        return;
    }
    let mut begun = HashSet::new();
    let mut over = HashSet::new();
    for change in batch.iter() {
        match change {
            Change::Added(job) => drop(begun.insert(job.number)),
            Change::Removed { number } if begun.contains(number) => drop(over.insert(*number)),
            _ => {}
        }
    }
    batch.retain(|change| !over.contains(&change.number()));
}

#[cfg(test)]
mod tests;
