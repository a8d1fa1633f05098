//! All logs of a server: one for each shard, in one directory.
//!
//! Log 0 lies in `0000` and so on; `lock` keeps a second server off. A server
//! that has more or fewer shards than the one before moves each job to the log
//! of its new owner: it is safe there before it is taken out of the old one,
//! and a job that a crash has left in both is one job.

use std::path::{Path, PathBuf};

use hashbrown::HashSet;

use super::Store;
use super::disk::{Lock, RealDisk};
use super::error::StoreError;
use super::log::{self, Inspection, Log, LogOptions, Recovered, SEGMENT_BYTES};
use crate::queue::change::{Change, StoredJob};

/// Changes that are written at once when jobs are moved.
const MOVED_AT_ONCE: usize = 1024;

/// The logs of a server, opened.
pub struct Logs {
    /// One for each shard.
    pub logs: Vec<Log<RealDisk>>,
    /// The jobs of each shard, in the order of their numbers.
    pub jobs: Vec<Vec<StoredJob>>,
    /// The highest number of a job; 0 when there is none.
    pub number_max: u64,
    /// Bytes of last writes that were cut short; nobody was told that they are safe.
    pub dropped_bytes: u64,
    /// Keeps other servers off as long as it lives.
    pub lock: Lock,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").field("logs", &self.logs.len()).finish_non_exhaustive()
    }
}

/// Opens the logs in `directory`, which is made if it is not there, for so many
/// shards; `owner` tells which of them a function belongs to.
///
/// # Errors
/// When another process has the directory, or something in it cannot be read,
/// written, or is damaged.
pub fn open(directory: &Path, shards: u16, owner: impl Fn(&[u8]) -> u16) -> Result<Logs, StoreError> {
    let lock = lock(directory)?;
    let count = logs_in(directory)?.max(shards);
    let opened = open_all(directory, count, shards)?;
    let (mut logs, recovered): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
    let number_max = recovered.iter().map(|found| found.number_max).max().unwrap_or(0);
    let dropped_bytes = recovered.iter().map(|found| found.dropped_bytes).sum();
    let jobs = settle(&mut logs, recovered, shards, owner)?;
    for (log, path) in logs.drain(usize::from(shards)..).zip(usize::from(shards)..) {
        drop(log);
        let path = path_of(directory, path);
        std::fs::remove_dir_all(&path).map_err(StoreError::io("remove", path))?;
    }
    Ok(Logs { logs, jobs, number_max, dropped_bytes, lock })
}

/// Reads every log in `directory`, which no server may be using, and changes
/// nothing; `each` is given its number and what it holds.
///
/// # Errors
/// When another process has the directory, or a file cannot be read.
pub fn inspect(
    directory: &Path,
    mut each: impl FnMut(u16, Inspection) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let count = logs_in(directory)?;
    let _lock = lock(directory)?;
    for number in 0..count {
        each(number, log::inspect(&disk_of(directory, number)?)?)?;
    }
    Ok(())
}

/// Puts a new log with `jobs` in the place of one that is damaged; where the old one is kept.
///
/// # Errors
/// When a file cannot be written or moved.
pub fn replace(directory: &Path, number: u16, jobs: Vec<StoredJob>) -> Result<PathBuf, StoreError> {
    let path = path_of(directory, number.into());
    let beside = |suffix: &str| directory.join(format!("{number:04}.{suffix}"));
    let moved = |from: &Path, to: &Path| std::fs::rename(from, to).map_err(StoreError::io("rename", from));
    let new = beside("new");
    if new.exists() {
        // Of a repair that was cut short.
        std::fs::remove_dir_all(&new).map_err(StoreError::io("remove", &new))?;
    }
    let disk = RealDisk::open(new.clone()).map_err(StoreError::io("use", &new))?;
    let options = LogOptions { log: number.into(), shards: 1, segment_bytes: SEGMENT_BYTES };
    let (mut log, _) = Log::open(disk, options)?;
    let mut jobs = jobs.into_iter().map(Change::Added).peekable();
    while jobs.peek().is_some() {
        log.write(&jobs.by_ref().take(MOVED_AT_ONCE).collect::<Vec<_>>())?;
    }
    log.sync()?;
    drop(log);
    let kept = (1..).map(|copy| beside(&format!("damaged-{copy}"))).find(|path| !path.exists());
    let kept = kept.expect("some number is free");
    moved(&path, &kept)?;
    moved(&new, &path)?;
    Ok(kept)
}

fn lock(directory: &Path) -> Result<Lock, StoreError> {
    Lock::take(directory)
        .map_err(StoreError::io("use", directory))?
        .ok_or_else(|| StoreError::InUse { directory: directory.to_owned() })
}

fn disk_of(directory: &Path, number: u16) -> Result<RealDisk, StoreError> {
    let path = path_of(directory, number.into());
    RealDisk::open(path.clone()).map_err(StoreError::io("use", path))
}

fn path_of(directory: &Path, log: usize) -> PathBuf {
    directory.join(format!("{log:04}"))
}

/// How many logs a directory has: one more than the highest number.
fn logs_in(directory: &Path) -> Result<u16, StoreError> {
    let mut count = 0;
    for entry in std::fs::read_dir(directory).map_err(StoreError::io("list", directory))? {
        let name = entry.map_err(StoreError::io("list", directory))?.file_name();
        let number = name.to_str().filter(|name| name.len() == 4).and_then(|name| name.parse::<u16>().ok());
        count = count.max(number.map_or(0, |number| number + 1));
    }
    Ok(count)
}

/// Opens logs 0 to `count`, all at the same time.
fn open_all(
    directory: &Path,
    count: u16,
    shards: u16,
) -> Result<Vec<(Log<RealDisk>, Recovered)>, StoreError> {
    let open_one = |number: u16| {
        let disk = disk_of(directory, number)?;
        let options = LogOptions { log: number.into(), shards: shards.into(), segment_bytes: SEGMENT_BYTES };
        Log::open(disk, options)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || open_one(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("opening a log does not panic")).collect()
    })
}

/// Brings every job to the log of its owner; the jobs of each shard.
fn settle(
    logs: &mut [Log<RealDisk>],
    recovered: Vec<Recovered>,
    shards: u16,
    owner: impl Fn(&[u8]) -> u16,
) -> Result<Vec<Vec<StoredJob>>, StoreError> {
    let mut jobs: Vec<Vec<StoredJob>> = (0..shards).map(|_| Vec::new()).collect();
    // Strangers: jobs in the log of a shard that is not their owner.
    let mut strangers = Vec::new();
    for (log, found) in recovered.into_iter().enumerate() {
        for job in found.jobs {
            let owner = usize::from(owner(&job.function));
            if owner == log {
                jobs[owner].push(job);
            } else {
                strangers.push((log, owner, job));
            }
        }
    }
    if strangers.is_empty() {
        return Ok(jobs);
    }
    let known: Vec<HashSet<u64>> =
        jobs.iter().map(|jobs| jobs.iter().map(|job| job.number).collect()).collect();
    let mut ends: Vec<Vec<Change>> = logs.iter().map(|_| Vec::new()).collect();
    let mut arrivals: Vec<Vec<StoredJob>> = (0..shards).map(|_| Vec::new()).collect();
    for (log, owner, job) in strangers {
        ends[log].push(Change::Removed { number: job.number });
        if !known[owner].contains(&job.number) {
            arrivals[owner].push(job);
        }
    }
    for ((log, jobs), mut arrivals) in logs.iter_mut().zip(&mut jobs).zip(arrivals) {
        arrivals.sort_unstable_by_key(|job| job.number);
        arrivals.dedup_by_key(|job| job.number);
        for some in arrivals.chunks(MOVED_AT_ONCE) {
            log.write(&some.iter().cloned().map(Change::Added).collect::<Vec<_>>())?;
        }
        log.sync()?;
        jobs.extend(arrivals);
        jobs.sort_unstable_by_key(|job| job.number);
    }
    // Only now: every job is safe where it belongs.
    for (log, ends) in logs.iter_mut().zip(ends).take(usize::from(shards)) {
        for some in ends.chunks(MOVED_AT_ONCE) {
            log.write(some)?;
        }
        log.sync()?;
    }
    Ok(jobs)
}
