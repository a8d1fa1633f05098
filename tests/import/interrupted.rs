//! Imports that are killed, and repeated.

use std::collections::HashMap;
use std::time::Duration;

use super::support::long_mode;
use super::support::process::TempDir;
use super::support::redis::Redis;
use super::*;

const FUNCTIONS: [&str; 3] = ["one", "two", "three"];

/// Starts imports and kills them after random times until one comes to its
/// end; `between` is called after each kill. How many were killed.
fn interrupt(
    redis: &Redis,
    dir: &Path,
    random: &mut fastrand::Rng,
    mut between: impl FnMut(&mut fastrand::Rng),
) -> usize {
    // The later, the longer they may take: one will get through.
    let mut limit_us = 20_000;
    for killed in 0.. {
        let mut running = Process::start(import_command(&redis.server_args(), dir), b"");
        std::thread::sleep(Duration::from_micros(random.u64(..limit_us)));
        limit_us += limit_us / 5;
        let ended = running.exit_status();
        running.kill();
        if let Some(status) = ended {
            assert!(status.success(), "{}", running.stderr());
            return killed;
        }
        between(random);
    }
    unreachable!("there is no end to numbers")
}

fn jobs(count: usize) -> Vec<Row<'static>> {
    (0..count).map(|n| row(FUNCTIONS[n % 3], &format!("{n}"), format!("data {n}").as_bytes())).collect()
}

#[test]
fn after_any_number_of_kills_every_job_is_there_once_and_in_order() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let redis = Redis::start(&[]);
    // Several batches.
    let jobs = jobs(20_000);
    engine(&redis).apply(&jobs, &[]).unwrap();
    let mut killed = 0;
    for _ in 0..if long_mode() { 20 } else { 1 } {
        let dir = TempDir::new();
        killed += interrupt(&redis, dir.path(), &mut random, |_| ());
        let dumped = dump(dir.path());
        assert_eq!(dumped.len(), jobs.len());
        for (rest, function) in FUNCTIONS.iter().enumerate() {
            let of_function = dumped.iter().map(|line| line.split('\t')).filter_map(|mut fields| {
                (fields.next() == Some(function)).then(|| fields.next().unwrap().parse::<usize>().unwrap())
            });
            assert!(of_function.eq((rest..jobs.len()).step_by(3)), "{function}: in order, each once");
        }
        let again = import(&redis.server_args(), dir.path()).success();
        assert_eq!(again.text(), counted(jobs.len(), 0, jobs.len(), 0));
    }
    eprintln!("{killed} killed");
    assert!(killed > 1);
}

#[test]
fn servers_that_run_in_between_run_every_job_once() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let redis = Redis::start(&[]);
    let jobs = jobs(12_000);
    engine(&redis).apply(&jobs, &[]).unwrap();
    let dir = TempDir::new();
    let mut ran = Vec::new();
    interrupt(&redis, dir.path(), &mut random, |random| {
        // Jobs that are over have left the log, too.
        if random.bool() {
            let mut server = server(dir.path());
            ran.extend(drain(&server, &FUNCTIONS));
            assert!(server.stop().success());
        }
    });
    let server = server(dir.path());
    ran.extend(drain(&server, &FUNCTIONS));
    let mut times: HashMap<Vec<u8>, usize> = HashMap::new();
    for (_, unique, data) in ran {
        assert_eq!(data, [b"data ", &unique[..]].concat());
        *times.entry(unique).or_default() += 1;
    }
    assert_eq!(times.len(), jobs.len());
    assert!(times.values().all(|&times| times == 1), "{:?}", times.iter().find(|(_, times)| **times > 1));
}
