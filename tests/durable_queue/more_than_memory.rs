//! More jobs than memory: their workloads wait in the log.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use gearshard::client::Worker;
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};

use crate::log_args;
use crate::support::process::TempDir;
use crate::support::{Server, long_mode, wait_until};

const WORKLOAD_BYTES: usize = 1024;
const IN_FLIGHT: usize = 1000;

/// Jobs, the bound that the server is given, and what it may use in all: MiB.
fn size() -> (u64, u64, u64) {
    if long_mode() { (10_000_000, 600, 1024) } else { (1_000_000, 64, 128) }
}

/// 1 KiB that only this job has.
fn workload(number: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(WORKLOAD_BYTES, 0);
    random.fill(&mut bytes[8..]);
    bytes
}

/// Submits jobs without uniques, as many client libraries do.
fn fill(server: &Server, jobs: u64) {
    let mut connection = server.connect();
    for first in (0..jobs).step_by(IN_FLIGHT) {
        let numbers = first..jobs.min(first + IN_FLIGHT as u64);
        let mut bytes = Vec::new();
        for number in numbers.clone() {
            let args: [&[u8]; 2] = [b"deep", b""];
            encode(&mut bytes, Magic::Request, Command::SubmitJobBg, &args, &workload(number));
        }
        connection.send_bytes(&bytes);
        numbers.for_each(|_| drop(connection.expect(Command::JobCreated)));
    }
}

/// Which jobs have run.
struct Seen {
    bits: Mutex<Vec<u64>>,
    count: AtomicU64,
    wrong: AtomicU64,
}

impl Seen {
    fn note(&self, bytes: &[u8]) {
        let number = bytes.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
        let mut bits = self.bits.lock().unwrap();
        let word = usize::try_from(number / 64).ok().and_then(|at| bits.get_mut(at));
        let fresh = word.filter(|word| **word & (1u64 << (number % 64)) == 0);
        match fresh {
            Some(word) if workload(number) == bytes => *word |= 1u64 << (number % 64),
            _ => drop(self.wrong.fetch_add(1, SeqCst)),
        }
        self.count.fetch_add(1, SeqCst);
    }
}

#[test]
fn jobs_beyond_the_bound_keep_their_workloads_in_the_log_and_run_unchanged() {
    let (jobs, bound, most) = size();
    let dir = TempDir::new();
    let mut args = log_args(dir.path(), 1).to_vec();
    args.push(format!("--max-queue-memory={bound}M"));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut server = Server::gearshard(&args);
    fill(&server, jobs);
    assert_eq!(server.counts("deep").0, jobs);
    let filled = server.process().memory_bytes("VmHWM") >> 20;

    // A restart brings them back without bringing their workloads into memory.
    server.kill();
    let mut server = Server::gearshard(&args);
    assert_eq!(server.counts("deep").0, jobs);
    let seen = Arc::new(Seen {
        bits: Mutex::new(vec![0; jobs.div_ceil(64) as usize]),
        count: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
    });
    let note = Arc::clone(&seen);
    let worker = Worker::builder([server.address().into()])
        .grab_ahead(32)
        .function("deep", move |job| {
            note.note(job.workload());
            Ok("")
        })
        .start()
        .unwrap();
    let mut last = 0;
    while seen.count.load(SeqCst) < jobs {
        let before = std::mem::replace(&mut last, seen.count.load(SeqCst));
        wait_until("the queue gets shorter", || seen.count.load(SeqCst) > before);
    }
    worker.stop();
    let drained = server.process().memory_bytes("VmHWM") >> 20;
    eprintln!("{jobs} jobs: {filled} MiB when filled, {drained} MiB at most when drained after a restart");
    assert_eq!((seen.count.load(SeqCst), seen.wrong.load(SeqCst)), (jobs, 0));
    assert_eq!(server.counts("deep").0, 0);
    assert!(filled <= most && drained <= most, "{filled} and {drained} MiB are more than {most}");
}
