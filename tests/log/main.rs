//! The log of durable jobs, on simulated and real disks that lose power, rot,
//! fail and run full.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod bit_rot;
mod disk_errors;
mod full;
mod model;
mod power_loss;
mod sim_disk;

use gearshard::protocol::retry::Cause;
use gearshard::queue::body::Body;
use gearshard::queue::change::{Change, Death, RetryState, StoredJob};
use gearshard::queue::job::Priority;
use gearshard::queue::name::Name;
use gearshard::storage::log::{Log, LogOptions};
use gearshard::storage::{Store, StoreError};
use sim_disk::SimDisk;

/// A log with small segments, so that tests see many.
fn options(segment_bytes: u64) -> LogOptions {
    LogOptions { log: 0, shards: 1, segment_bytes }
}

fn open(disk: &SimDisk, segment_bytes: u64) -> Result<(Log<SimDisk>, Vec<StoredJob>), StoreError> {
    let (mut log, _) = Log::open(disk.clone(), options(segment_bytes))?;
    let mut jobs = Vec::new();
    log.replay(&mut |job| jobs.push(job))?;
    assert_eq!(log.jobs(), jobs.len());
    // They are read one by one as they are together.
    let some: Vec<u64> = numbers(&jobs).into_iter().rev().step_by(3).take(20).collect();
    let read = log.read(&some, usize::MAX)?;
    assert_eq!(numbers(&read), some);
    for job in read {
        assert_same(&job, &jobs[jobs.binary_search_by_key(&job.number, |job| job.number).unwrap()]);
    }
    Ok((log, jobs))
}

/// A job that can be told from every other, of about `bytes` bytes.
fn job(number: u64, bytes: usize) -> StoredJob {
    let unique = format!("unique-{number}");
    let mut body = format!("{unique}\0").into_bytes();
    let mut random = fastrand::Rng::with_seed(number);
    body.extend(std::iter::repeat_with(|| random.u8(..)).take(bytes));
    StoredJob {
        number,
        function: Name::from(format!("function-{}", number % 7).as_bytes()),
        body: Body::copy(&body),
        unique_bytes: unique.len().try_into().unwrap(),
        reducer_bytes: 0,
        priority: Priority::FROM_HIGH[(number % 3) as usize],
        not_before_s: if number.is_multiple_of(5) { number } else { 0 },
        losses: 0,
        death: None,
    }
}

/// Whether a job came back as it was given, but for what its runs have made of it.
fn assert_same(found: &StoredJob, given: &StoredJob) {
    let parts = |job: &StoredJob| {
        let lengths = (job.unique_bytes, job.reducer_bytes);
        (job.number, job.function.to_vec(), job.body.to_vec(), lengths, job.priority)
    };
    assert!(parts(found) == parts(given), "job {} came back as another one", given.number);
}

/// What runs may have made of a job: it waits for its next one, or is a dead letter.
fn state(seed: u64) -> RetryState {
    let losses = (seed % 5) as u16 + 1;
    if seed.is_multiple_of(3) {
        let death = Some(Death { cause: Cause::Timeout, at_s: 1 << 33 | seed });
        return RetryState { losses, not_before_s: 0, death };
    }
    RetryState { losses, not_before_s: if seed.is_multiple_of(2) { 0 } else { 1 << 34 | seed }, death: None }
}

fn numbers(jobs: &[StoredJob]) -> Vec<u64> {
    jobs.iter().map(|job| job.number).collect()
}

/// Writes changes and makes them safe.
fn commit(log: &mut Log<SimDisk>, changes: &[Change]) {
    log.write(changes).unwrap();
    log.sync().unwrap();
}

#[test]
fn jobs_come_back_in_order_with_all_their_parts() {
    let disk = SimDisk::new(1);
    let (mut log, found) = open(&disk, 1 << 16).unwrap();
    assert!(found.is_empty());
    let jobs: Vec<StoredJob> = (1..=100).map(|number| job(number, number as usize * 10)).collect();
    for job in &jobs {
        commit(&mut log, &[Change::Added(job.clone())]);
    }
    let altered = |number| Change::Altered { number, state: state(number) };
    commit(&mut log, &[altered(7), altered(8), altered(9), Change::Removed { number: 8 }]);
    drop(log);
    for _ in 0..3 {
        let (_, found) = open(&disk, 1 << 16).unwrap();
        let expected: Vec<u64> = (1..=100).filter(|&number| number != 8).collect();
        assert_eq!(numbers(&found), expected);
        for found in &found {
            assert_same(found, &jobs[found.number as usize - 1]);
            let given = &jobs[found.number as usize - 1];
            let expected = if [7, 9].contains(&found.number) { state(found.number) } else { given.state() };
            assert_eq!(found.state(), expected);
        }
    }
}

#[test]
fn a_job_longer_than_a_segment_has_one_of_its_own() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1 << 14).unwrap();
    let long = job(2, 1 << 20);
    commit(&mut log, &[Change::Added(job(1, 10))]);
    commit(&mut log, &[Change::Added(long.clone())]);
    commit(&mut log, &[Change::Added(job(3, 10))]);
    let (_, found) = open(&disk, 1 << 14).unwrap();
    assert_eq!(numbers(&found), [1, 2, 3]);
    assert_same(&found[1], &long);
}

#[test]
fn what_is_over_gives_its_space_back_though_some_jobs_stay() {
    const SEGMENT_BYTES: u64 = 1 << 14;
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let mut most = 0;
    for number in 1..=2_000 {
        commit(&mut log, &[Change::Added(job(number, 200))]);
        // One in a hundred stays.
        if number % 100 != 0 {
            commit(&mut log, &[Change::Removed { number }]);
        }
        if number == 100 {
            commit(&mut log, &[Change::Altered { number, state: state(7) }]);
        }
        if number == 200 {
            commit(&mut log, &[Change::Altered { number, state: state(9) }]);
        }
        while log.tidy().unwrap() {}
        most = most.max(disk.used());
    }
    assert!(most <= 8 * SEGMENT_BYTES, "{most} bytes for 20 jobs of 200");
    let (_, found) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(numbers(&found), (1..=20).map(|number| number * 100).collect::<Vec<u64>>());
    assert_eq!((found[0].state(), found[1].state()), (state(7), state(9)));
    found.iter().for_each(|found| assert_same(found, &job(found.number, 200)));
}

#[test]
fn a_missing_file_is_noticed() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1 << 14).unwrap();
    for number in 1..=200 {
        commit(&mut log, &[Change::Added(job(number, 200))]);
    }
    drop(log);
    let mut names = Vec::new();
    disk.each_file(|name, _| names.push(name.to_owned()));
    assert!(names.len() >= 3, "{names:?}");
    for name in &names[..names.len() - 1] {
        use gearshard::storage::disk::Disk;
        let disk = disk.copy();
        disk.remove(name).unwrap();
        let error = open(&disk, 1 << 14).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("missing"), "{error}");
    }
}
