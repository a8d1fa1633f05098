//! What a store is asked to do, and what is confirmed.

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
fn written(durability: Durability, groups: &[&[Change]], seen: &Recorder) -> (Vec<String>, Vec<Progress>) {
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
    let lost = |losses| Change::Altered { number: 8, state: RetryState { losses, ..RetryState::default() } };
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
