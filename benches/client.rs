//! Jobs per second of processor time, of clients and workers together: this
//! library's beside libgearman's, on the same server, in turns.
//!
//! `cargo bench --bench client` prints the table of tuning.md, in less than a
//! minute on a quiet machine. Needs the peers of `tests/run --setup`.
//!
//! Processor time is what the kernel accounts to the two processes when they
//! have ended (getrusage), their start included: some milliseconds each.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::unwrap_used, reason = "in a benchmark a panic is the report")]

#[path = "../tests/support/mod.rs"]
mod support;

use gearshard::client::{Client, Job, ServerAddress, Worker};
use nix::sys::resource::{UsageWho, getrusage};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Peers, Process, Server, wait_until};

const WORKLOAD: &str = "a workload of some bytes";
const IN_FLIGHT: usize = 1000;
const ROUNDS: usize = 5;

/// How a client goes about its jobs.
#[derive(Clone, Copy)]
struct Mode {
    name: &'static str,
    /// How many there are for libgearman, and for a worker that grabs one by one.
    jobs: u64,
    /// And for a worker that grabs ahead.
    jobs_ahead: u64,
}

const MODES: [Mode; 2] = [
    Mode { name: "one", jobs: 10_000, jobs_ahead: 10_000 },
    Mode { name: "parallel", jobs: 30_000, jobs_ahead: 300_000 },
];

/// Whose client and worker.
#[derive(Clone, Copy)]
struct Side {
    name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Libgearman,
    /// Our worker, with so many grabs; over a unix socket if so said.
    Ours {
        ahead: u32,
        unix: bool,
    },
}

impl Mode {
    const fn jobs_of(self, side: Side) -> u64 {
        match side.kind {
            Kind::Ours { ahead: 2.., .. } => self.jobs_ahead,
            _ => self.jobs,
        }
    }
}

const SIDES: [Side; 5] = [
    Side { name: "libgearman", kind: Kind::Libgearman },
    Side { name: "gearshard", kind: Kind::Ours { ahead: 1, unix: false } },
    Side { name: "gearshard, unix socket", kind: Kind::Ours { ahead: 1, unix: true } },
    Side { name: "gearshard, grab_ahead(64)", kind: Kind::Ours { ahead: 64, unix: false } },
    Side { name: "the same, unix socket", kind: Kind::Ours { ahead: 64, unix: true } },
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "--child-worker", servers, ahead] => serve(servers, ahead.parse().unwrap()),
        [_, "--child-client", mode, servers, jobs] => submit(mode, servers, jobs.parse().unwrap()),
        _ => compare(),
    }
}

fn serve(servers: &str, ahead: usize) {
    let builder = Worker::builder(ServerAddress::list(servers).unwrap()).grab_ahead(ahead);
    builder.function("same", |job| Ok(job.take_workload())).run().unwrap();
}

fn submit(mode: &str, servers: &str, jobs: u64) {
    let client = Client::connect(servers).unwrap();
    // As libgearman's side: every job has a unique.
    let job = |number: u64| Job::new("same", WORKLOAD).unique(number.to_string());
    if mode == "one" {
        for number in 0..jobs {
            assert_eq!(client.run(job(number)).unwrap().len(), WORKLOAD.len());
        }
    } else {
        let results = client.run_all((0..jobs).map(job), IN_FLIGHT);
        let right = results.filter(|(_, result)| result.as_ref().unwrap().len() == WORKLOAD.len()).count();
        assert_eq!(right as u64, jobs);
    }
    println!("done");
    std::thread::park();
}

/// Compiles libgearman's side, against the unpacked library.
fn libgearman() -> PathBuf {
    let peers = Peers::require();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("throughput");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-o"]).arg(&program);
    compiler.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/throughput.c"));
    compiler.arg("-I").arg(peers.path("usr/include"));
    for directory in std::env::split_paths(&peers.library_path()) {
        compiler.arg("-L").arg(&directory).arg("-Wl,-rpath-link").arg(directory);
    }
    Process::run(
        {
            compiler.arg("-lgearman");
            compiler
        },
        b"",
    )
    .success();
    program
}

/// Processor time of client and worker, and the time that passed.
#[derive(Clone, Copy)]
struct Figures {
    client: Duration,
    worker: Duration,
    wall: Duration,
}

/// Processor time of all processes that have been started from here and have ended.
fn spent() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    [usage.user_time(), usage.system_time()]
        .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000))
        .into_iter()
        .sum()
}

/// Ends it; what it cost.
fn cost(mut process: Process) -> Duration {
    let before = spent();
    process.kill();
    spent() - before
}

fn measure(side: Side, mode: Mode, server: &Server, libgearman: &Path) -> Figures {
    let jobs = mode.jobs_of(side).to_string();
    let own = || Command::new(std::env::current_exe().unwrap());
    let (mut worker, mut client);
    match side.kind {
        Kind::Libgearman => {
            let servers = server.address().to_string();
            (worker, client) = (Peers::require().command(libgearman), Peers::require().command(libgearman));
            worker.args(["worker", &servers]);
            client.args([mode.name, &servers, &jobs]);
        }
        Kind::Ours { ahead, unix } => {
            let servers = if unix { unix_address(server.dir()) } else { server.address().to_string() };
            (worker, client) = (own(), own());
            worker.args(["--child-worker", &servers, &ahead.to_string()]);
            client.args(["--child-client", mode.name, &servers, &jobs]);
        }
    }
    let worker = Process::start(worker, b"");
    wait_until("the worker serves", || server.counts("same").2 == 1);
    let start = Instant::now();
    let mut client = Process::start(client, b"");
    client.wait_for_output("done");
    let wall = start.elapsed();
    let figures = Figures { client: cost(client), worker: cost(worker), wall };
    wait_until("the worker has left", || server.counts("same").2 == 0);
    figures
}

fn unix_address(dir: &Path) -> String {
    format!("unix:{}", dir.join("sock").display())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare() {
    let libgearman = libgearman();
    let server = Server::gearshard(&["--threads=1", "--listen=127.0.0.1", "--listen=unix:sock"]);
    for mode in MODES {
        println!("\n{}: medians of {ROUNDS} rounds in turns", mode.name);
        let mut figures: [Vec<Figures>; SIDES.len()] = Default::default();
        for _ in 0..ROUNDS {
            for (side, figures) in SIDES.into_iter().zip(&mut figures) {
                figures.push(measure(side, mode, &server, &libgearman));
            }
        }
        let mut base = None;
        for (side, figures) in SIDES.into_iter().zip(figures) {
            let micros = |time: Duration| time.as_secs_f64() * 1e6 / mode.jobs_of(side) as f64;
            let of = |part: fn(&Figures) -> Duration| median(figures.iter().map(part).map(micros).collect());
            let both: Vec<f64> =
                figures.iter().map(|figures| micros(figures.client + figures.worker)).collect();
            let (least, most) =
                both.iter().fold((f64::MAX, 0.0_f64), |(least, most), &us| (least.min(us), most.max(us)));
            let us = median(both);
            let base = *base.get_or_insert(us);
            println!(
                "{:26} {:9.0} jobs per CPU second ({:.2} x), {:.2} us a job ({least:.2}..{most:.2}): client {:.2}, worker {:.2}; {:.2} us passed",
                side.name,
                1e6 / us,
                base / us,
                us,
                of(|figures| figures.client),
                of(|figures| figures.worker),
                of(|figures| figures.wall),
            );
        }
    }
}
