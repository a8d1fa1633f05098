//! Servers that are killed and restarted under load: every foreground job gives
//! its caller the right result once, every background job that a server took
//! and that did not die since has run, and nothing is left open.
//!
//! A file of its own, because it counts the descriptors of its process.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use gearshard::client::{Client, Job, OnLoss, ServerAddress, Spread, Worker};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use support::{Kind, Server, wait_until};

const SERVERS: usize = 3;
const WORKERS: usize = 8;
const CLIENTS: usize = 8;

fn kills() -> usize {
    if support::long_mode() { 300 } else { 30 }
}

/// What clients and workers have in common.
#[derive(Default)]
struct Record {
    over: AtomicBool,
    /// How often each server was killed.
    lives: [AtomicU64; SERVERS],
    foreground: AtomicU64,
    /// Background jobs with the server that took them and its life.
    taken: Mutex<Vec<(String, usize, u64)>>,
    ran: Mutex<HashSet<String>>,
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn worker(addresses: &[ServerAddress], record: &Arc<Record>) -> Worker {
    let record = Arc::clone(record);
    Worker::builder(addresses.to_vec())
        .reconnect(Duration::from_millis(5), Duration::from_millis(100))
        .function("double", |job| {
            let number: u64 = std::str::from_utf8(job.workload())?.parse()?;
            if number.is_multiple_of(7) {
                job.data("<")?;
            }
            if number.is_multiple_of(64) {
                thread::sleep(Duration::from_millis(3));
            }
            Ok((2 * number).to_string())
        })
        .function("note", move |job| {
            record.ran.lock().unwrap().insert(String::from_utf8(job.take_workload())?);
            Ok("")
        })
        .start()
        .unwrap()
}

fn client(number: usize, addresses: &[ServerAddress], record: &Record) {
    let mut servers = addresses.to_vec();
    servers.rotate_left(number % SERVERS);
    let spread = if number.is_multiple_of(2) { Spread::ByUnique } else { Spread::FirstThatAnswers };
    let client = Client::builder(servers)
        .spread(spread)
        .on_loss(OnLoss::Resubmit(10_000))
        .patience(support::DEADLINE)
        .job_timeout(Some(support::DEADLINE))
        .build()
        .unwrap();
    let right = |number: u64| match number % 7 {
        0 => format!("<{}", 2 * number),
        _ => (2 * number).to_string(),
    };
    for round in 0.. {
        if record.over.load(SeqCst) {
            return;
        }
        let first = round * 100;
        let jobs = (first..first + 30)
            .map(|job| Job::new("double", job.to_string()).unique(format!("client {number}, job {job}")));
        let mut results: Vec<(u64, String)> = client
            .run_all(jobs, 10)
            .map(|(job, result)| (first + job, String::from_utf8(result.unwrap()).unwrap()))
            .collect();
        results.sort();
        let expected: Vec<_> = (first..first + 30).map(|job| (job, right(job))).collect();
        assert_eq!(results, expected, "each right, each once");
        let single = client.run(Job::new("double", "21")).unwrap();
        assert_eq!(single, b"<42");
        record.foreground.fetch_add(31, SeqCst);

        let name = format!("client {number}, round {round}");
        let before: Vec<u64> = record.lives.iter().map(|lives| lives.load(SeqCst)).collect();
        let handle = client.submit_background(Job::new("note", name.clone())).unwrap();
        let server = addresses.iter().position(|address| Some(address) == handle.server()).unwrap();
        record.taken.lock().unwrap().push((name, server, before[server]));
    }
}

fn storm(kind: Kind) {
    let descriptors_before = descriptors();
    let mut servers: Vec<Server> = (0..SERVERS).map(|_| Server::start(kind, &[])).collect();
    let addresses: Vec<ServerAddress> = servers.iter().map(|server| server.address().into()).collect();
    let record = Arc::new(Record::default());
    let workers: Vec<Worker> = (0..WORKERS).map(|_| worker(&addresses, &record)).collect();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (addresses, record) = (&addresses, &record);
            scope.spawn(move || client(number, addresses, record));
        }
        for kill in 0..kills() {
            let jobs = record.foreground.load(SeqCst);
            wait_until("work goes on", || record.foreground.load(SeqCst) >= jobs + 100);
            let victim = (kill * 2) % SERVERS;
            record.lives[victim].fetch_add(1, SeqCst);
            servers[victim].kill();
            wait_until("work goes on without it", || record.foreground.load(SeqCst) >= jobs + 200);
            servers[victim] = Server::start_on(kind, &[], servers[victim].port());
        }
        record.over.store(true, SeqCst);
    });
    let lives: Vec<u64> = record.lives.iter().map(|lives| lives.load(SeqCst)).collect();
    let taken = record.taken.lock().unwrap();
    let owed: Vec<&String> =
        taken.iter().filter(|(_, server, life)| lives[*server] == *life).map(|(name, ..)| name).collect();
    assert!(!owed.is_empty(), "some were taken in the last life of a server");
    wait_until("every background job has run that nobody may have lost", || {
        let ran = record.ran.lock().unwrap();
        owed.iter().all(|name| ran.contains(*name))
    });
    for server in &servers {
        wait_until("only the workers and whoever asks are connected", || {
            server.admin("workers").lines().count() == WORKERS + 1 && server.counts("double") == (0, 0, 8)
        });
    }
    for worker in &workers {
        worker.stop();
    }
    workers.into_iter().for_each(Worker::join);
    drop(servers);
    wait_until("nothing is left open", || descriptors() == descriptors_before);
}

// One after the other: they count the descriptors of one process.
#[test]
fn jobs_survive_a_storm() {
    storm(Kind::Gearshard);
    storm(Kind::Gearmand);
}
