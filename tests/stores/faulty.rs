//! An engine that fails in every way, under the real writer and its thread.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, unbounded};
use gearshard::queue::body::Body;
use gearshard::queue::change::{Change, News as StoreNews, NotKept, Order, Progress, StoredJob};
use gearshard::queue::job::Priority;
use gearshard::queue::name::Name;
use gearshard::storage::StoreError;
use gearshard::storage::rows::replay::{Found, replay};
use gearshard::storage::rows::store::RowStore;
use gearshard::storage::rows::{BadRow, Engine, EngineError, Key, News, Row, Tell};
use gearshard::storage::writer::{self, Durability};

use crate::support::wait_until;

/// What is in the engine, and how it is to fail.
#[derive(Default)]
struct Table {
    rows: Vec<Row<'static>>,
    bad: Vec<BadRow>,
    /// Calls of `apply` and of `connect`.
    applied: usize,
    connected: usize,
    /// Goes away at this call of `apply`, before or after it has written.
    lost_at: Option<usize>,
    lost_after_writing: bool,
    /// So many times it cannot be connected to, once it is away.
    refuses_connections: usize,
    away: bool,
    /// Refuses whatever has such a key.
    refuses: Option<Vec<u8>>,
    /// `apply` waits for it.
    gate: Option<Receiver<()>>,
}

#[derive(Clone, Default)]
struct Faulty(Arc<Mutex<Table>>);

impl Faulty {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap()
    }

    fn keys(&self) -> Vec<String> {
        self.table().rows.iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()).collect()
    }
}

impl Table {
    fn write(&mut self, new: &[Row<'_>], gone: &[Key]) {
        self.rows.retain(|row| {
            let is = |key: &[u8], function: &[u8]| *row.key == *key && *row.function == *function;
            !gone.iter().any(|key| is(&key.key, &key.function))
                && !new.iter().any(|new| is(&new.key, &new.function))
        });
        let owned = |bytes: &Cow<'_, [u8]>| Cow::Owned(bytes.to_vec());
        self.rows.extend(new.iter().map(|row| Row {
            key: owned(&row.key),
            function: owned(&row.function),
            priority: row.priority,
            data: owned(&row.data),
            not_before_s: row.not_before_s,
        }));
    }
}

impl Engine for Faulty {
    fn holds(&self, row: &Row<'_>) -> Result<(), &'static str> {
        if row.not_before_s > 100 { Err("Time is too late") } else { Ok(()) }
    }

    fn apply(&mut self, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError> {
        let gate = self.table().gate.take();
        if let Some(gate) = gate {
            gate.recv().unwrap();
        }
        let mut table = self.table();
        let names: BTreeSet<_> = new.iter().map(|row| (row.key.to_vec(), row.function.to_vec())).collect();
        let goes: BTreeSet<_> = gone.iter().map(|key| (key.key.to_vec(), key.function.to_vec())).collect();
        assert!(names.len() == new.len() && goes.len() == gone.len(), "no key stands in either twice");
        table.applied += 1;
        if table.lost_at == Some(table.applied) {
            table.away = true;
            if table.lost_after_writing {
                table.write(new, gone);
            }
        }
        if table.away {
            return Err(EngineError::Lost("gone".to_owned()));
        }
        if let Some(refused) = &table.refuses
            && names.iter().chain(&goes).any(|(key, _)| key == refused)
        {
            return Err(EngineError::Refused("I don't like it".to_owned()));
        }
        table.write(new, gone);
        Ok(())
    }

    fn read(&mut self, each: &mut dyn FnMut(Result<Row<'static>, BadRow>)) -> Result<(), EngineError> {
        let rows = self.table().rows.clone();
        let bad = self.table().bad.clone();
        bad.into_iter().for_each(|bad| each(Err(bad)));
        rows.into_iter().for_each(|row| each(Ok(row)));
        Ok(())
    }

    fn connect(&mut self) -> Result<(), EngineError> {
        let mut table = self.table();
        table.connected += 1;
        if table.refuses_connections > 0 {
            table.refuses_connections -= 1;
            return Err(EngineError::Refused("not yet".to_owned()));
        }
        table.away = false;
        Ok(())
    }
}

/// What the operator is told.
fn listener() -> (Tell, Arc<Mutex<Vec<String>>>) {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&told);
    (Arc::new(move |news: &News<'_>| heard.lock().unwrap().push(news.to_string())), told)
}

/// A store's thread, and what it has confirmed.
struct Run {
    changes: Option<Sender<Order>>,
    confirmed: Receiver<Progress>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
    handed: u64,
    last: Progress,
    refused: BTreeMap<u64, NotKept>,
}

impl Run {
    fn start(engine: &Faulty) -> Self {
        let (tell, _) = listener();
        let store = RowStore::new(engine.clone(), Found::default(), tell);
        let (changes, receiver) = unbounded();
        let (confirm, confirmed) = mpsc::channel();
        let body = move || {
            let tell = |news| match news {
                StoreNews::Stored(progress) => drop(confirm.send(progress)),
                StoreNews::Read(_) => panic!("nothing is read"),
            };
            writer::run(store, Durability::Always, receiver, tell)
        };
        Self {
            changes: Some(changes),
            confirmed,
            thread: Some(thread::spawn(body)),
            handed: 0,
            last: Progress::default(),
            refused: BTreeMap::new(),
        }
    }

    fn hand_over(&mut self, changes: Vec<Change>) {
        self.handed += changes.len() as u64;
        self.changes.as_ref().unwrap().send(Order::Keep(changes)).unwrap();
    }

    fn hear(&mut self) {
        let progress = self.confirmed.recv().unwrap();
        self.refused.extend(progress.refused.iter().copied());
        self.last = progress;
    }

    /// Hands changes over and waits until they are stored or refused.
    fn write(&mut self, changes: Vec<Change>) {
        self.hand_over(changes);
        while self.last.changes < self.handed {
            self.hear();
        }
    }

    fn end(&mut self) -> Result<(), StoreError> {
        self.changes = None;
        self.thread.take().unwrap().join().unwrap()
    }
}

fn job(number: u64, unique: &str) -> StoredJob {
    let length = u16::try_from(unique.len()).unwrap();
    StoredJob {
        number,
        function: Name::from(&b"work"[..]),
        body: Body::joined(&[unique.as_bytes(), b"load"], None),
        unique_bytes: length,
        reducer_bytes: 0,
        priority: Priority::Normal,
        not_before_s: 0,
        losses: 0,
        death: None,
    }
}

fn added(number: u64) -> Change {
    Change::Added(job(number, &format!("u{number}")))
}

const fn removed(number: u64) -> Change {
    Change::Removed { number }
}

/// Adds and ends of jobs in several batches, with the engine away in the middle.
fn play(lost_at: usize, lost_after_writing: bool, refuses_connections: usize) {
    let engine = Faulty::default();
    *engine.table() =
        Table { lost_at: Some(lost_at), lost_after_writing, refuses_connections, ..Table::default() };
    let mut run = Run::start(&engine);
    let mut expected: BTreeSet<u64> = BTreeSet::new();
    for round in 0..6 {
        let first = round * 4 + 1;
        let mut changes: Vec<Change> = (first..first + 4).map(added).collect();
        // Of the round before, and one of this: it was there already or was refused.
        let ends = [first.saturating_sub(2), first + 1];
        changes.extend(ends.iter().filter(|&&number| number > 0).map(|&number| removed(number)));
        expected.extend(first..first + 4);
        run.write(changes);
        expected.retain(|number| !ends.contains(number));
    }
    expected.retain(|number| !run.refused.contains_key(number));
    run.end().unwrap();
    let what =
        format!("lost at {lost_at}, after writing: {lost_after_writing}, {refuses_connections} refusals");
    let found: BTreeSet<String> = engine.keys().into_iter().collect();
    let expected: BTreeSet<String> = expected.iter().map(|number| format!("u{number}")).collect();
    assert_eq!(found, expected, "{what}: acknowledged is there, refused and ended is not");
    assert_eq!(run.refused.is_empty(), refuses_connections == 0, "{what}: a new connection is enough");
    assert!(run.refused.values().all(|&why| why == NotKept::Away), "{what}");
}

#[test]
fn whenever_the_engine_goes_away_what_is_acknowledged_is_there_and_nothing_else() {
    thread::scope(|scope| {
        for lost_at in 1..=6 {
            for lost_after_writing in [false, true] {
                for refuses_connections in [0, 1, 3] {
                    scope.spawn(move || play(lost_at, lost_after_writing, refuses_connections));
                }
            }
        }
    });
}

#[test]
fn an_engine_that_is_away_is_asked_again_and_again_and_gets_no_jobs_until_it_answers() {
    let engine = Faulty::default();
    *engine.table() = Table { lost_at: Some(1), refuses_connections: usize::MAX, ..Table::default() };
    let mut run = Run::start(&engine);
    run.write(vec![added(1)]);
    assert_eq!(run.last.closed, Some(NotKept::Away));
    let applied = engine.table().applied;
    run.write(vec![added(2)]);
    assert_eq!((run.refused.len(), engine.table().applied), (2, applied), "refused without asking it");
    wait_until("it is asked again", || engine.table().connected >= 4);
    engine.table().refuses_connections = 0;
    while run.last.closed.is_some() {
        run.hear();
    }
    run.write(vec![added(3)]);
    run.end().unwrap();
    assert_eq!(engine.keys(), ["u3"]);
}

#[test]
fn a_row_that_is_refused_takes_no_other_along() {
    let engine = Faulty::default();
    engine.table().refuses = Some(b"u2".to_vec());
    let mut run = Run::start(&engine);
    let (open, gate) = mpsc::channel();
    engine.table().gate = Some(gate);
    run.hand_over(vec![added(9)]);
    let mut late = job(4, "late");
    late.not_before_s = 1000;
    run.hand_over(vec![added(1), added(2), added(3), Change::Added(late)]);
    open.send(()).unwrap();
    run.write(Vec::new());
    let why = [(2, NotKept::Refused), (4, NotKept::Unfit("Time is too late"))];
    assert_eq!(run.refused, BTreeMap::from(why));
    assert_eq!(engine.keys(), ["u9", "u1", "u3"]);
    run.end().unwrap();
}

#[test]
fn a_row_that_the_engine_will_not_take_out_is_tried_again_and_holds_nobody_up() {
    let engine = Faulty::default();
    let mut run = Run::start(&engine);
    run.write(vec![added(1), added(2)]);
    engine.table().refuses = Some(b"u1".to_vec());
    run.write(vec![removed(1), removed(2), added(3)]);
    assert_eq!((engine.keys(), run.last.closed), (vec!["u1".to_owned(), "u3".to_owned()], None));
    engine.table().refuses = None;
    let mut next = 10;
    wait_until("it is gone", || {
        run.write(vec![added(next)]);
        next += 1;
        !engine.keys().contains(&"u1".to_owned())
    });
    engine.table().refuses = Some(b"u3".to_vec());
    run.write(vec![removed(3)]);
    assert!(matches!(run.end(), Err(StoreError::Owed { jobs: 1 })), "told at the end");
}

#[test]
fn while_a_slow_engine_writes_the_next_batch_gathers_and_the_last_change_of_a_row_counts() {
    let engine = Faulty::default();
    let (open, gate) = mpsc::channel();
    engine.table().gate = Some(gate);
    let mut run = Run::start(&engine);
    run.hand_over(vec![added(1)]);
    wait_until("it writes", || engine.table().gate.is_none());
    // The same unique again and again, as after cancels of running jobs.
    run.hand_over(vec![added(2), removed(1)]);
    for number in 3..50 {
        run.hand_over(vec![Change::Added(job(number, "u1")), removed(number)]);
    }
    run.hand_over(vec![Change::Added(job(50, "u1"))]);
    open.send(()).unwrap();
    run.write(Vec::new());
    assert_eq!((engine.keys(), engine.table().applied), (vec!["u2".to_owned(), "u1".to_owned()], 2));
    run.write(vec![removed(50)]);
    run.end().unwrap();
    assert_eq!(engine.keys(), ["u2"]);
}

#[test]
fn a_server_that_ends_without_its_engine_says_what_it_owes() {
    let engine = Faulty::default();
    let mut run = Run::start(&engine);
    run.write(vec![added(1), added(2)]);
    *engine.table() = Table { lost_at: Some(1), refuses_connections: usize::MAX, ..Table::default() };
    run.write(vec![removed(1), removed(2)]);
    assert!(matches!(run.end(), Err(StoreError::Owed { jobs: 2 })));
}

#[test]
fn jobs_without_a_unique_and_with_a_dash_have_rows_of_their_own_and_come_back_as_they_were() {
    let engine = Faulty::default();
    let mut run = Run::start(&engine);
    run.write(vec![
        Change::Added(job(0x11, "")),
        Change::Added(job(0x12, "")),
        Change::Added(job(0x13, "-")),
        Change::Added(job(0x14, "u")),
    ]);
    run.end().unwrap();
    assert_eq!(
        engine.keys(),
        ["gearshard::0000000000000011", "gearshard::0000000000000012", "gearshard:-:0000000000000013", "u"]
    );
    let (tell, _) = listener();
    let found = replay(&mut engine.clone(), 1, |_| 0, 0, &tell).unwrap();
    let Found { jobs, keys } = &found.shards[0];
    assert_eq!(jobs.iter().map(StoredJob::unique).collect::<Vec<_>>(), [b"".as_slice(), b"", b"-", b"u"]);
    assert!(jobs.iter().all(|job| job.workload() == b"load" && job.number > 0x13), "no key is made twice");
    assert!(jobs.iter().all(|job| keys.contains_key(&job.number)));
}

fn row(key: &'static str, function: &'static str, data: &'static str) -> Row<'static> {
    let bytes = |text: &'static str| Cow::Borrowed(text.as_bytes());
    let (key, function, data) = (bytes(key), bytes(function), bytes(data));
    Row { key, function, priority: Priority::High, data, not_before_s: 7 }
}

#[test]
fn rows_are_jobs_of_the_shards_of_their_functions_in_the_engines_order() {
    let engine = Faulty::default();
    let rows = [row("a", "f1", "1"), row("b", "f0", "2"), row("c", "f1", "3"), row("b", "f1", "4")];
    engine.table().rows = rows.to_vec();
    let (tell, told) = listener();
    let owner = |function: &[u8]| u16::from(function == b"f1");
    let found = replay(&mut engine.clone(), 3, owner, 1_000, &tell).unwrap();
    let numbers: Vec<Vec<u64>> =
        found.shards.iter().map(|found| found.jobs.iter().map(|job| job.number).collect()).collect();
    assert!(numbers[0].len() == 1 && numbers[1].len() == 3 && numbers[2].is_empty());
    for (shard, numbers) in numbers.iter().enumerate() {
        assert!(numbers.is_sorted() && numbers.iter().all(|number| number % 3 == shard as u64));
        assert!(numbers.iter().all(|&number| number > 1_000 && number <= found.number_max));
    }
    let job = &found.shards[1].jobs[1];
    assert_eq!((job.unique(), job.workload()), (&b"c"[..], &b"3"[..]));
    assert_eq!((job.priority, job.not_before_s), (Priority::High, 7));
    assert!(told.lock().unwrap().is_empty());
}

#[test]
fn of_two_rows_that_coalesce_the_first_is_the_job_and_the_other_goes() {
    let engine = Faulty::default();
    engine.table().rows = vec![
        row("-", "f", "same"),
        row("gearshard:-:0000000000000001", "f", "same"),
        row("gearshard:-:0000000000000002", "f", "other"),
        row("gearshard:-:0000000000000003", "g", "same"),
        row("gearshard::0000000000000004", "f", "same"),
    ];
    let (tell, told) = listener();
    let found = replay(&mut engine.clone(), 1, |_| 0, 0, &tell).unwrap();
    assert_eq!(found.shards[0].jobs.len(), 4);
    assert_eq!(engine.keys().len(), 4);
    assert!(!engine.keys().contains(&"gearshard:-:0000000000000001".to_owned()));
    assert!(told.lock().unwrap()[0].contains("coalesces with an earlier row"));
}

#[test]
fn rows_that_are_no_jobs_are_told_a_few_and_counted() {
    let engine = Faulty::default();
    let bad = |at| BadRow { row: format!("row {at}"), what: "odd".to_owned() };
    engine.table().bad = (0..1000).map(bad).collect();
    engine.table().rows =
        vec![row("a", "f", "1"), row("a", "f", "2"), row("a\0b", "f", "3"), row("a", "f\0", "3")];
    let (tell, told) = listener();
    let found = replay(&mut engine.clone(), 1, |_| 0, 0, &tell).unwrap();
    assert_eq!(found.shards[0].jobs.len(), 1);
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 21);
    assert_eq!(told[20], "Left alone in the durable queue: 983 more rows");
    assert_eq!(engine.table().rows.len(), 4, "left alone");
}

#[test]
fn a_row_goes_with_the_last_job_that_has_it() {
    let engine = Faulty::default();
    let mut run = Run::start(&engine);
    // A dead letter leaves its unique to another job, and goes after or before it.
    run.write(vec![Change::Added(job(1, "u"))]);
    run.write(vec![Change::Added(job(2, "u"))]);
    run.write(vec![removed(1)]);
    assert_eq!(engine.keys(), ["u"], "it is the second job's");
    run.write(vec![removed(2)]);
    assert_eq!(engine.keys(), [""; 0]);
    run.write(vec![Change::Added(job(3, "u")), Change::Added(job(4, "u")), removed(3)]);
    assert_eq!(engine.keys(), ["u"]);
    run.write(vec![removed(4), Change::Added(job(5, "u"))]);
    assert_eq!(engine.keys(), ["u"]);
    run.end().unwrap();
}
