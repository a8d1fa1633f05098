//! An engine that is killed again and again under load.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use gearshard::protocol::packet::Command;

use crate::Leaves;
use crate::support::{Server, wait_until};
use crate::talk::{drain, grab, worker};

const KILLS: usize = 3;
const CLIENTS: usize = 3;
const IN_FLIGHT: usize = 32;
/// Jobs that are acknowledged between two kills, at least.
const STEP: usize = 300;

#[derive(Default)]
struct Record {
    over: AtomicBool,
    acknowledged: Mutex<Vec<Vec<u8>>>,
    ran: Mutex<BTreeSet<Vec<u8>>>,
    refused: AtomicUsize,
    /// Foreground jobs that have come and gone.
    foreground: AtomicUsize,
}

impl Record {
    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }
}

fn submit(server: &Server, client: usize, record: &Record) {
    let mut connection = server.connect();
    for round in 0.. {
        if record.is_over() {
            return;
        }
        let uniques: Vec<Vec<u8>> =
            (0..IN_FLIGHT).map(|number| format!("{client}-{round}-{number}").into_bytes()).collect();
        for unique in &uniques {
            connection.send(Command::SubmitJobBg, &[b"f", unique], unique);
        }
        for unique in uniques {
            match connection.read_packet().command {
                Command::JobCreated => record.acknowledged.lock().unwrap().push(unique),
                Command::Error => drop(record.refused.fetch_add(1, SeqCst)),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Runs background jobs: their ends come to the engine while it is away too.
fn run(server: &Server, record: &Record) {
    let mut worker = worker(server, &[b"f"]);
    while !record.is_over() {
        let Some((handle, job)) = grab(&mut worker) else {
            thread::yield_now();
            continue;
        };
        assert_eq!(job.unique, job.data);
        assert!(record.ran.lock().unwrap().insert(job.unique), "a job runs once");
        worker.send(Command::WorkComplete, &[&handle], b"");
    }
    worker.settle();
}

fn run_in_foreground(server: &Server, record: &Record) {
    let (mut client, mut worker) = (server.connect(), worker(server, &[b"g"]));
    while !record.is_over() {
        client.send(Command::SubmitJob, &[b"g", b""], b"x");
        client.expect(Command::JobCreated);
        let (handle, _) = grab(&mut worker).unwrap();
        worker.send(Command::WorkComplete, &[&handle], b"y");
        client.expect(Command::WorkComplete);
        record.foreground.fetch_add(1, SeqCst);
    }
}

pub(crate) fn nothing_acknowledged_is_lost_when_the_engine_is_killed_under_load<K: Leaves>() {
    let mut store = K::start();
    let mut server = store.serve(2);
    let record = Record::default();
    thread::scope(|scope| {
        let (server, record) = (&server, &record);
        for client in 0..CLIENTS {
            scope.spawn(move || submit(server, client, record));
        }
        scope.spawn(|| run(server, record));
        scope.spawn(|| run_in_foreground(server, record));
        for _ in 0..KILLS {
            let before = record.acknowledged();
            wait_until("jobs are acknowledged", || record.acknowledged() >= before + STEP);
            store.stop_engine();
            let refused = record.refused.load(SeqCst);
            wait_until("jobs are refused", || record.refused.load(SeqCst) > refused + CLIENTS * IN_FLIGHT);
            let rounds = record.foreground.load(SeqCst);
            wait_until("foreground jobs go on", || record.foreground.load(SeqCst) > rounds + 100);
            store.start_engine();
        }
        let before = record.acknowledged();
        wait_until("jobs are acknowledged again", || record.acknowledged() > before);
        record.over.store(true, SeqCst);
    });
    server.kill();
    let mut seen = record.ran.into_inner().unwrap();
    seen.extend(drain(&store.serve(2), &[b"f"]).into_iter().map(|job| job.unique));
    let acknowledged = record.acknowledged.into_inner().unwrap();
    let lost: Vec<_> = acknowledged.iter().filter(|unique| !seen.contains(*unique)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
}
