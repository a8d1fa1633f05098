//! A full disk refuses jobs, takes their ends, and goes on when there is space.

use gearshard::queue::change::Change;
use gearshard::storage::{Store, StoreError};

use super::sim_disk::SimDisk;
use super::{commit, job, numbers, open};

const SEGMENT_BYTES: u64 = 16 << 10;

#[test]
fn a_full_disk_refuses_jobs_and_goes_on_by_itself() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    disk.set_space(4 * SEGMENT_BYTES);
    let mut number = 0;
    for _ in 0..5 {
        // Fill it.
        let first = number + 1;
        loop {
            while log.tidy().unwrap() {}
            match log.write(&[Change::Added(job(number + 1, 300))]) {
                Ok(()) => number += 1,
                Err(StoreError::Full) => break,
                Err(error) => panic!("{error}"),
            }
            log.sync().unwrap();
        }
        assert!(!log.has_room() && number > first + 50);
        // Every job can end, one at a time.
        for number in first..=number {
            commit(&mut log, &[Change::Removed { number }]);
            log.tidy().unwrap();
        }
        while log.tidy().unwrap() {}
        assert!(log.has_room());
    }
    drop(log);
    assert!(open(&disk, SEGMENT_BYTES).unwrap().1.is_empty());
}

#[test]
fn a_full_disk_at_the_start_is_no_reason_to_end() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    for number in 1..=10 {
        commit(&mut log, &[Change::Added(job(number, 300))]);
    }
    drop(log);
    disk.set_space(disk.used());
    let (mut log, found) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(found.len(), 10);
    assert!(!log.tidy().unwrap() && !log.has_room());
    assert!(matches!(log.write(&[Change::Added(job(11, 10))]), Err(StoreError::Full)));
    disk.set_space(u64::MAX);
    log.tidy().unwrap();
    assert!(log.has_room());
    commit(&mut log, &[Change::Added(job(11, 10)), Change::Removed { number: 1 }]);
    assert_eq!(numbers(&open(&disk, SEGMENT_BYTES).unwrap().1), (2..=11).collect::<Vec<u64>>());
}
