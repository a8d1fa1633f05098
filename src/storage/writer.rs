//! The thread that writes a shard's changes to its store.
//!
//! While one batch is written and synced the next one gathers: a single job is
//! written at once, thousands together cost one sync. Whoever handed changes
//! over is told how far they are safe and never waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use hashbrown::HashSet;

use super::Store;
use super::error::StoreError;
use crate::queue::change::{Change, News, Order, Progress, ReadBack};

/// Changes are gathered up to about so many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// Jobs are read back up to about so many bytes at a time.
const READ_BYTES: usize = 4 << 20;
/// A full disk is looked at again after this time.
const FULL_PAUSE: Duration = Duration::from_millis(100);

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
        done: 0,
        told: (0, false),
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
    /// Changes that are written or refused.
    done: u64,
    /// What was confirmed last: changes, and whether there is no space.
    told: (u64, bool),
    unsynced_since: Option<Instant>,
}

impl<S: Store, C: Fn(News)> Writer<S, C> {
    fn run(mut self) -> Result<(), StoreError> {
        let mut more = self.store.tidy()?;
        loop {
            let open = self.gather(more);
            if !open && self.pending.is_empty() {
                return self.store.sync();
            }
            self.read()?;
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
        let full = (!self.store.has_room()).then_some(FULL_PAUSE);
        sync.into_iter().chain(full).min()
    }

    /// Writes the first of what is pending; the jobs for which there was no space.
    fn write_batch(&mut self) -> Result<Vec<u64>, StoreError> {
        let mut bytes = 0;
        let fits = |change: &&Change| {
            bytes += bytes_of(change);
            bytes <= BATCH_BYTES
        };
        let count = self.pending.iter().take_while(fits).count().max(1).min(self.pending.len());
        let mut batch: Vec<Change> = self.pending.drain(..count).collect();
        leave_out_what_is_over(&mut batch);
        let mut refused = Vec::new();
        if count == 0 {
            return Ok(refused);
        }
        match self.store.write(&batch) {
            Err(StoreError::Full) => {
                batch.retain(|change| match change {
                    Change::Added(job) => {
                        refused.push(job.number);
                        false
                    }
                    _ => true,
                });
                self.write_ends(&batch)?;
            }
            written => written?,
        }
        self.done += count as u64;
        self.unsynced_since.get_or_insert_with(Instant::now);
        refused.sort_unstable();
        Ok(refused)
    }

    /// Writes what must be written, as soon as there is space.
    fn write_ends(&mut self, batch: &[Change]) -> Result<(), StoreError> {
        loop {
            match self.store.write(batch) {
                Err(StoreError::Full) => {
                    self.tell(Vec::new());
                    std::thread::sleep(FULL_PAUSE);
                    self.store.tidy()?;
                }
                written => return written,
            }
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

    /// Confirms, if there is anything to say.
    fn tell(&mut self, refused: Vec<u64>) {
        let told = (self.done, !self.store.has_room());
        if std::mem::replace(&mut self.told, told) != told {
            (self.tell)(News::Stored(Progress { changes: self.done, refused, full: told.1 }));
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

    /// Hands each group over when the one before is confirmed; the calls that
    /// the store saw, and what was confirmed.
    fn written(
        durability: Durability,
        groups: &[&[Change]],
        seen: &Recorder,
    ) -> (Vec<String>, Vec<Progress>) {
        let (confirm, confirmed) = mpsc::channel();
        let tell = move |news| match news {
            News::Stored(progress) => confirm.send(progress).unwrap(),
            News::Read(read) => panic!("nobody has asked for {read:?}"),
        };
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
        assert_eq!((last.changes, &last.refused[..], last.full), (3, &[2, 3][..], true));
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
