//! Jobs per second of processor time, of clients and workers together: this
//! library's beside libgearman's, on the same server, in turns.
//!
//! `cargo bench --bench client` prints the table of tuning.md. Needs the peers
//! of `tests/run --setup`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::unwrap_used, reason = "in a benchmark a panic is the report")]

#[path = "../tests/support/mod.rs"]
mod support;

use gearshard::client::{Client, Job, ServerAddress, Worker};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Peers, Process, Server, wait_until};

const WORKLOAD: &str = "a workload of some bytes";
const IN_FLIGHT: usize = 1000;
const ROUNDS: usize = 3;

/// How a client goes about its jobs: one after the other, or many at once.
const MODES: [&str; 2] = ["one", "parallel"];

/// Whose client and worker.
#[derive(Clone, Copy)]
struct Side {
    name: &'static str,
    /// Of our worker; none for libgearman.
    ahead: Option<usize>,
    /// Jobs of each mode: the system counts processor time in hundredths of a second, so
    /// there are as many as take some half a second of it, and no more.
    jobs: [u64; MODES.len()],
}

const SIDES: [Side; 3] = [
    Side { name: "libgearman", ahead: None, jobs: [20_000, 50_000] },
    Side { name: "gearshard", ahead: Some(1), jobs: [20_000, 50_000] },
    Side { name: "gearshard, grab_ahead(64)", ahead: Some(64), jobs: [20_000, 200_000] },
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

fn measure(side: Side, mode: &str, jobs: u64, server: &Server, libgearman: &Path) -> Figures {
    let servers = server.address().to_string();
    let jobs = jobs.to_string();
    let (worker, client) = match side.ahead {
        None => {
            let mut worker = Peers::require().command(libgearman);
            worker.args(["worker", &servers]);
            let mut client = Peers::require().command(libgearman);
            client.args([mode, &servers, &jobs]);
            (worker, client)
        }
        Some(ahead) => {
            let own = std::env::current_exe().unwrap();
            let mut worker = Command::new(&own);
            worker.args(["--child-worker", &servers, &ahead.to_string()]);
            let mut client = Command::new(own);
            client.args(["--child-client", mode, &servers, &jobs]);
            (worker, client)
        }
    };
    let worker = Process::start(worker, b"");
    wait_until("the worker serves", || server.counts("same").2 == 1);
    let (worker_before, start) = (worker.cpu_time(), Instant::now());
    let mut client = Process::start(client, b"");
    client.wait_for_output("done");
    let wall = start.elapsed();
    let figures = Figures { client: client.cpu_time(), worker: worker.cpu_time() - worker_before, wall };
    drop((worker, client));
    wait_until("the worker has left", || server.counts("same").2 == 0);
    figures
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare() {
    let libgearman = libgearman();
    let server = Server::gearshard(&["--threads=1"]);
    for (place, mode) in MODES.into_iter().enumerate() {
        println!("\n{mode}, median of {ROUNDS} rounds");
        let mut figures: [Vec<Figures>; SIDES.len()] = Default::default();
        for _ in 0..ROUNDS {
            for (side, figures) in SIDES.into_iter().zip(&mut figures) {
                figures.push(measure(side, mode, side.jobs[place], &server, &libgearman));
            }
        }
        let mut base = None;
        for (side, figures) in SIDES.into_iter().zip(figures) {
            let jobs = side.jobs[place];
            let micros = |time: Duration| time.as_secs_f64() * 1e6 / jobs as f64;
            let of = |part: fn(&Figures) -> Duration| median(figures.iter().map(part).map(micros).collect());
            let both: Vec<f64> =
                figures.iter().map(|figures| micros(figures.client + figures.worker)).collect();
            let (least, most) =
                both.iter().fold((f64::MAX, 0.0_f64), |(least, most), &us| (least.min(us), most.max(us)));
            let us = median(both);
            let base = *base.get_or_insert(us);
            println!(
                "{:26} {jobs} jobs, {:.0} per CPU second ({:.2} x), {:.2} us a job ({least:.2}..{most:.2}): client {:.2}, worker {:.2}; {:.2} us passed",
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
