//! A server that is killed again and again under load.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use gearshard::client::{Client, ClientError, Job, OnLoss, ServerAddress, Worker};

use super::{Kind, Server, wait_until};

const CLIENTS: u64 = 4;
const IN_FLIGHT: usize = 256;
const AHEAD: usize = 8;

/// How long the loop is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How often the server is killed.
    pub kills: u64,
    /// Jobs that are acknowledged between two kills, at least.
    pub step: u64,
}

/// The workload of a job: its number, and bytes that only this job has.
fn workload(number: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    let length = random.usize(0..200);
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(length));
    bytes
}

fn job(number: u64) -> Job {
    let job = Job::new("keep", workload(number)).unique(format!("u{number}"));
    match number % 3 {
        0 => job.high(),
        1 => job.low(),
        _ => job,
    }
}

/// What the clients were told and what the workers have seen.
#[derive(Default)]
struct Record {
    life: AtomicU64,
    over: AtomicBool,
    next: AtomicU64,
    acknowledged: Mutex<Vec<u64>>,
    /// The lives of the server in which a job ran.
    runs: Mutex<HashMap<u64, Vec<u64>>>,
    corrupt: AtomicU64,
}

/// Submits until the run is over; a connection that goes is made anew.
fn submit(address: &ServerAddress, record: &Record) {
    let builder =
        || Client::builder([address.clone()]).on_loss(OnLoss::Report).patience(Duration::from_secs(30));
    while !record.over.load(SeqCst) {
        let client = builder().build().unwrap();
        let mut batch = client.batch();
        let mut numbers = HashMap::new();
        let mut broken = false;
        while !broken && !record.over.load(SeqCst) {
            while batch.len() < IN_FLIGHT {
                let number = record.next.fetch_add(1, SeqCst);
                match batch.submit_background(job(number)) {
                    Ok(tag) => drop(numbers.insert(tag, number)),
                    Err(_) => {
                        broken = true;
                        break;
                    }
                }
            }
            let mut acknowledged = Vec::new();
            for _ in 0..IN_FLIGHT / 2 {
                match batch.next_result() {
                    Some((tag, Ok(_))) => acknowledged.push(numbers.remove(&tag).unwrap()),
                    Some((_, Err(ClientError::Refused { code, text }))) => panic!("{code}: {text}"),
                    Some((_, Err(_))) | None => broken = true,
                }
            }
            record.acknowledged.lock().unwrap().extend(acknowledged);
        }
    }
}

fn worker(address: &ServerAddress, record: &'static Record) -> Worker {
    Worker::builder([address.clone()])
        .reconnect(Duration::from_millis(2), Duration::from_millis(50))
        .grab_ahead(AHEAD)
        .function("keep", move |running| {
            let bytes = running.workload();
            let number = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
            match number.filter(|&number| workload(number) == bytes) {
                Some(number) if running.unique() == format!("u{number}").as_bytes() => {
                    let life = record.life.load(SeqCst);
                    record.runs.lock().unwrap().entry(number).or_default().push(life);
                }
                _ => drop(record.corrupt.fetch_add(1, SeqCst)),
            }
            Ok("")
        })
        .start()
        .unwrap()
}

/// Kills a server that is told `args` under load, and starts it again, and so
/// on: every job that was acknowledged must run, and twice only when it was in
/// flight at a kill.
pub fn run(args: &[String], Size { kills, step }: Size) {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let record: &'static Record = Box::leak(Box::default());
    let mut server = Server::gearshard(&args);
    let port = server.port();
    let address: ServerAddress = server.address().into();
    let mut random = fastrand::Rng::with_seed(7);
    thread::scope(|scope| {
        let client = || {
            let address = &address;
            scope.spawn(move || submit(address, record))
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
        let worker = worker(&address, record);
        for _ in 0..kills {
            let before = record.acknowledged.lock().unwrap().len() as u64;
            let step = random.u64(step..step * 3 / 2);
            wait_until("jobs are acknowledged", || {
                record.acknowledged.lock().unwrap().len() as u64 >= before + step
            });
            server.kill();
            record.life.fetch_add(1, SeqCst);
            server = Server::start_on(Kind::Gearshard, &args, port);
        }
        record.over.store(true, SeqCst);
        // What they still hear of is still to run.
        clients.into_iter().for_each(|client| client.join().unwrap());
        wait_until("everything has run", || server.counts("keep").0 == 0);
        worker.stop();
    });
    let acknowledged = record.acknowledged.lock().unwrap();
    let runs = record.runs.lock().unwrap();
    let lost: Vec<u64> = acknowledged.iter().copied().filter(|number| !runs.contains_key(number)).collect();
    let again = runs.values().filter(|lives| lives.len() > 1).count() as u64;
    let kills_met = record.life.load(SeqCst);
    eprintln!(
        "{} jobs acknowledged, {kills_met} kills, {} lost, {} corrupt, {again} ran again",
        acknowledged.len(),
        lost.len(),
        record.corrupt.load(SeqCst)
    );
    assert!(acknowledged.len() as u64 >= kills * step);
    assert_eq!(record.corrupt.load(SeqCst), 0);
    assert!(lost.is_empty(), "lost: {lost:?}");
    // What the worker had in hand at a kill it may finish in the next life, where it runs again.
    let twice = runs.values().flat_map(|lives| lives.windows(2)).filter(|pair| pair[0] == pair[1]).count();
    assert!(twice as u64 <= kills * (AHEAD as u64 + 1), "{twice} jobs ran twice in one life");
    // Assigned when the server was killed, or done and not on disk yet.
    assert!(again <= kills * 2_000, "{again} jobs ran again");
}
