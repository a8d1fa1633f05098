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
mod tests {
    use std::sync::mpsc;
    use std::sync::{Arc, Mutex};
    use std::thread::JoinHandle;

    use crossbeam_channel::{Sender, unbounded};

    use super::*;
    use crate::queue::body::Body;
    use crate::queue::change::{RetryState, StoredJob};
    use crate::queue::job::Priority;
    use crate::queue::name::Name;

    fn added(number: u64) -> Change {
        Change::Added(StoredJob {
            number,
            function: Name::from(&b"work"[..]),
            body: Body::copy(b"\0load"),
            unique_bytes: 0,
            reducer_bytes: 0,
            priority: Priority::Normal,
            not_before_s: 0,
            losses: 0,
            death: None,
        })
    }

    /// What a store was asked, and what it is to answer.
    #[derive(Default)]
    struct Seen {
        calls: Vec<String>,
        full: bool,
        away: bool,
        broken: bool,
    }

    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Seen>>);

    impl Store for Recorder {
        fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
            let mut seen = self.0.lock().unwrap();
            if seen.broken {
                return Err(StoreError::Poisoned);
            }
            if seen.away {
                return Err(StoreError::Away);
            }
            if seen.full && changes.iter().any(|change| matches!(change, Change::Added(_))) {
                return Err(StoreError::Full);
            }
            let names = changes.iter().map(|change| match change {
                Change::Added(job) => format!("+{}", job.number),
                Change::Altered { number, .. } => format!("!{number}"),
                Change::Removed { number } => format!("-{number}"),
            });
            let names: String = names.collect();
            seen.calls.push(names);
            Ok(())
        }

        fn sync(&mut self) -> Result<(), StoreError> {
            self.0.lock().unwrap().calls.push("sync".to_owned());
            Ok(())
        }

        fn replay(&mut self, _: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
            Ok(())
        }

        fn read(&mut self, numbers: &[u64], _: usize) -> Result<Vec<StoredJob>, StoreError> {
            // One at a time.
            let Change::Added(job) = added(numbers[0]) else { unreachable!() };
            Ok(vec![job])
        }

        fn has_room(&self) -> bool {
            !self.0.lock().unwrap().full
        }

        fn tidy(&mut self) -> Result<bool, StoreError> {
            Ok(false)
        }
    }

    fn start(
        durability: Durability,
        seen: &Recorder,
        tell: impl Fn(News) + Send + 'static,
    ) -> (Sender<Order>, JoinHandle<Result<(), StoreError>>) {
        let (sender, receiver) = unbounded();
        let seen = seen.clone();
        (sender, std::thread::spawn(move || run(seen, durability, receiver, tell)))
    }

    /// What hears of progress, and where that can be heard.
    fn progress() -> (impl Fn(News) + Send + 'static, mpsc::Receiver<Progress>) {
        let (confirm, confirmed) = mpsc::channel();
        let tell = move |news| match news {
            News::Stored(progress) => confirm.send(progress).unwrap(),
            News::Read(read) => panic!("nobody has asked for {read:?}"),
        };
        (tell, confirmed)
    }

    /// Hands each group over when the one before is confirmed; the calls that
    /// the store saw, and what was confirmed.
    fn written(
        durability: Durability,
        groups: &[&[Change]],
        seen: &Recorder,
    ) -> (Vec<String>, Vec<Progress>) {
        let (tell, confirmed) = progress();
        let (sender, thread) = start(durability, seen, tell);
        let mut all = Vec::new();
        let mut handed = 0;
        for group in groups {
            sender.send(Order::Keep(group.to_vec())).unwrap();
            handed += group.len() as u64;
            while all.last().is_none_or(|last: &Progress| last.changes < handed) {
                all.push(confirmed.recv().unwrap());
            }
        }
        drop(sender);
        thread.join().unwrap().unwrap();
        (std::mem::take(&mut seen.0.lock().unwrap().calls), all)
    }

    #[test]
    fn a_batch_is_synced_before_it_is_confirmed_and_jobs_that_are_over_are_left_out() {
        let seen = Recorder::default();
        let lost = Change::Altered { number: 2, state: RetryState { losses: 1, ..RetryState::default() } };
        let over = [added(2), lost, added(3), Change::Removed { number: 2 }];
        let (calls, confirmed) = written(Durability::Always, &[&[added(1)], &over], &seen);
        assert_eq!(calls, ["+1", "sync", "+3", "sync", "sync"]);
        assert_eq!(confirmed.iter().map(|progress| progress.changes).collect::<Vec<_>>(), [1, 5]);
        let (calls, _) = written(Durability::Never, &[&[added(1)], &[Change::Removed { number: 1 }]], &seen);
        assert_eq!(calls, ["+1", "-1", "sync"]);
    }

    #[test]
    fn what_was_written_is_synced_after_the_interval_though_nothing_follows() {
        let seen = Recorder::default();
        let interval = Durability::Interval(Duration::from_millis(5));
        let (sender, thread) = start(interval, &seen, |_| ());
        sender.send(Order::Keep(vec![added(1)])).unwrap();
        while seen.0.lock().unwrap().calls.len() < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(seen.0.lock().unwrap().calls, ["+1", "sync"]);
        drop(sender);
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn without_space_jobs_are_refused_and_ends_are_taken() {
        let seen = Recorder::default();
        seen.0.lock().unwrap().full = true;
        let changes = [Change::Removed { number: 1 }, added(3), added(2)];
        let (calls, confirmed) = written(Durability::Always, &[&changes], &seen);
        assert_eq!(calls, ["-1", "sync", "sync"]);
        let last = confirmed.last().unwrap();
        assert_eq!((last.changes, last.closed), (3, Some(NotKept::Full)));
        assert_eq!(last.refused, [2, 3].map(|number| (number, NotKept::Full)));
    }

    #[test]
    fn while_a_store_is_away_jobs_are_refused_and_ends_are_owed() {
        let seen = Recorder::default();
        seen.0.lock().unwrap().away = true;
        let (tell, confirmed) = progress();
        let (sender, thread) = start(Durability::Always, &seen, tell);
        let lost =
            |losses| Change::Altered { number: 8, state: RetryState { losses, ..RetryState::default() } };
        let groups: [&[Change]; 3] =
            [&[added(5)], &[lost(1), lost(2), Change::Removed { number: 7 }], &[added(6)]];
        for (group, refused) in groups.into_iter().zip([Some(5), None, Some(6)]) {
            sender.send(Order::Keep(group.to_vec())).unwrap();
            let progress = confirmed.recv().unwrap();
            assert_eq!(progress.refused, Vec::from_iter(refused.map(|number| (number, NotKept::Away))));
            assert_eq!(progress.closed, Some(NotKept::Away), "though it takes in what comes");
        }
        seen.0.lock().unwrap().away = false;
        let progress = confirmed.recv().unwrap();
        assert_eq!((progress.changes, progress.closed), (5, None));
        // What was refused may have been written before it went.
        let calls = seen.0.lock().unwrap().calls.clone();
        assert_eq!(calls.iter().filter(|call| *call != "sync").collect::<Vec<_>>(), ["-5-6-7!8"]);
        drop(sender);
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn jobs_are_read_back_and_what_was_too_much_is_named() {
        let (tell, told) = mpsc::channel();
        let (sender, thread) =
            start(Durability::Always, &Recorder::default(), move |news| tell.send(news).unwrap());
        sender.send(Order::Read(vec![7, 8, 9])).unwrap();
        let News::Read(ReadBack { jobs, left }) = told.recv().unwrap() else { panic!("jobs were asked for") };
        assert_eq!((jobs[0].number, &left[..]), (7, &[8, 9][..]));
        drop(sender);
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn an_error_ends_it_and_nothing_is_confirmed() {
        let seen = Recorder::default();
        seen.0.lock().unwrap().broken = true;
        let tell = |news: News| panic!("{news:?}");
        let (sender, thread) = start(Durability::Always, &seen, tell);
        sender.send(Order::Keep(vec![added(1)])).unwrap();
        assert!(matches!(thread.join().unwrap(), Err(StoreError::Poisoned)));
    }
}
