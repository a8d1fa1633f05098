//! Bits that change on the disk are noticed, and never become another job.

use gearshard::queue::change::{Change, StoredJob};
use gearshard::storage::StoreError;

use super::sim_disk::SimDisk;
use super::{assert_same, commit, job, numbers, open};

const SEGMENT_BYTES: u64 = 64 << 10;

/// A log of so many jobs, each its own batch, and the jobs.
fn filled(jobs: u64, segments: usize) -> (SimDisk, Vec<StoredJob>) {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let jobs: Vec<StoredJob> = (1..=jobs).map(|number| job(number, 300)).collect();
    for job in &jobs {
        commit(&mut log, &[Change::Added(job.clone())]);
    }
    drop(log);
    let mut files = 0;
    disk.each_file(|_, _| files += 1);
    assert_eq!(files, segments);
    (disk, jobs)
}

#[derive(Debug, Default)]
struct Counts {
    refused: u64,
    cut: u64,
    harmless: u64,
}

/// Opens a damaged log: it is refused with a place, or gives back the first
/// jobs, whole, of which at most `cut_max` are missing at the end.
fn judge(disk: &SimDisk, jobs: &[StoredJob], cut_max: usize, counts: &mut Counts) {
    match open(disk, SEGMENT_BYTES) {
        Err(StoreError::Damaged { file, .. }) => {
            assert!(file.extension().is_some_and(|extension| extension == "wal"));
            counts.refused += 1;
        }
        Err(error) => panic!("{error}"),
        Ok((_, found)) => {
            assert!(found.len() + cut_max >= jobs.len(), "jobs are lost in silence: {:?}", numbers(&found));
            found.iter().zip(jobs).for_each(|(found, given)| assert_same(found, given));
            if found.len() == jobs.len() {
                counts.harmless += 1;
            } else {
                counts.cut += 1;
            }
        }
    }
}

/// Changes the bytes of the `file`th file.
fn change(disk: &SimDisk, file: usize, change: impl FnOnce(&mut Vec<u8>)) {
    let (mut at, mut change) = (0, Some(change));
    disk.each_file(|_, bytes| {
        if at == file {
            change.take().expect("one file has this place")(bytes);
        }
        at += 1;
    });
}

/// Changes one bit after the other of a file, from `first` on. Every log is
/// opened as it was: opening one gives space back.
fn flip(disk: &SimDisk, jobs: &[StoredJob], file: usize, first: usize, step: usize) -> Counts {
    let mut counts = Counts::default();
    let mut length = 0;
    change(disk, file, |bytes| length = bytes.len());
    for bit in (first..length * 8).step_by(step) {
        let damaged = disk.copy();
        change(&damaged, file, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        judge(&damaged, jobs, 1, &mut counts);
    }
    counts
}

#[test]
fn every_bit_of_a_log_that_changes_is_noticed() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (disk, jobs) = filled(150, 1);
    let all: Vec<Counts> = std::thread::scope(|scope| {
        let flips: Vec<_> = (0..threads)
            .map(|thread| (disk.copy(), &jobs, thread))
            .map(|(disk, jobs, thread)| scope.spawn(move || flip(&disk, jobs, 0, thread, threads)))
            .collect();
        flips.into_iter().map(|flips| flips.join().unwrap()).collect()
    });
    let sum = |of: fn(&Counts) -> u64| all.iter().map(of).sum::<u64>();
    let (refused, cut, harmless) =
        (sum(|counts| counts.refused), sum(|counts| counts.cut), sum(|counts| counts.harmless));
    assert_eq!(refused + cut + harmless, SEGMENT_BYTES * 8);
    assert!(refused > 400_000, "{all:?}");
    assert!(cut > 0 && cut <= 400 * 8, "only the last batch may be cut off: {all:?}");
}

#[test]
fn a_segment_that_another_follows_loses_nothing_in_silence() {
    let (disk, jobs) = filled(250, 2);
    let counts = flip(&disk, &jobs, 0, 0, 31);
    assert!(counts.refused > 0 && counts.cut == 0, "{counts:?}");
}

#[test]
fn random_damage_never_makes_another_job() {
    let (disk, jobs) = filled(250, 2);
    let long = std::env::var_os("GEARSHARD_LONG").is_some();
    let mut random = fastrand::Rng::with_seed(7);
    let mut counts = Counts::default();
    for _ in 0..if long { 100_000 } else { 5_000 } {
        let damaged = disk.copy();
        change(&damaged, random.usize(..2), |bytes| {
            let start = random.usize(..bytes.len());
            let length = random.usize(1..=512).min(bytes.len() - start);
            bytes[start..start + length].iter_mut().for_each(|byte| *byte = random.u8(..));
        });
        // Several of the last batches may be hit at once.
        judge(&damaged, &jobs, 3, &mut counts);
    }
    assert!(counts.refused > 0 && counts.harmless > 0, "{counts:?}");
}
