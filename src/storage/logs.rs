//! All logs of a server: one for each shard, in one directory.
//!
//! Log 0 lies in `0000` and so on; `lock` keeps a second server off. A server
//! that has more or fewer shards than the one before moves each job to the log
//! of its new owner: it is safe there before it is taken out of the old one,
//! and a job that a crash has left in both is one job.

use std::path::{Path, PathBuf};

use super::Store;
use super::disk::{Lock, RealDisk};
use super::error::StoreError;
use super::log::{Inspection, Log, LogOptions, Recovered, SEGMENT_BYTES};
use crate::queue::change::Change;

/// Changes that are written at once when jobs are moved.
const MOVED_AT_ONCE: usize = 1024;
/// Their bytes, but for the last one's.
const MOVED_BYTES: usize = 4 << 20;

/// The logs of a server, opened.
pub struct Logs {
    /// One for each shard.
    pub logs: Vec<Log<RealDisk>>,
    /// The highest number of a job; 0 when there is none.
    pub number_max: u64,
    /// Bytes of last writes that were cut short; nobody was told that they are safe.
    pub dropped_bytes: u64,
    /// Keeps other servers off as long as it lives.
    pub lock: Lock,
}

impl Logs {
    /// How many jobs there are.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.logs.iter().map(Log::jobs).sum()
    }

    /// Whether there is a job with this number.
    #[must_use]
    pub fn keeps(&self, number: u64) -> bool {
        self.logs.iter().any(|log| log.keeps(number))
    }
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
    if !logs.iter().all(Log::is_settled) {
        settle(&mut logs, owner)?;
    }
    for (log, path) in logs.drain(usize::from(shards)..).zip(usize::from(shards)..) {
        drop(log);
        let path = path_of(directory, path);
        std::fs::remove_dir_all(&path).map_err(StoreError::io("remove", path))?;
    }
    Ok(Logs { logs, number_max, dropped_bytes, lock })
}

/// Reads every log in `directory`, which no server may be using, and changes
/// nothing; `each` is given its number and what it holds, `read` hears how many
/// bytes were read so far, and of how many.
///
/// # Errors
/// Those of `each`, when another process has the directory, and when a file
/// cannot be read.
pub fn inspect(
    directory: &Path,
    mut read: impl FnMut(u64, u64),
    mut each: impl FnMut(u16, Inspection<RealDisk>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let count = logs_in(directory)?;
    let _lock = lock(directory)?;
    let (mut sum, total) = (0, (0..count).map(|number| bytes_in(&path_of(directory, number.into()))).sum());
    for number in 0..count {
        let found = Inspection::of(disk_of(directory, number)?, &mut |bytes| {
            sum += bytes;
            read(sum, total);
        });
        each(number, found?)?;
    }
    Ok(())
}

/// Puts a new log with the jobs of one that is damaged in its place; where the old one is kept.
///
/// # Errors
/// When a file cannot be read, written or moved.
pub fn replace(directory: &Path, number: u16, found: &Inspection<RealDisk>) -> Result<PathBuf, StoreError> {
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
    let mut some = Vec::new();
    let mut bytes = 0;
    found.replay::<StoreError>(|job| {
        bytes += job.body.len();
        some.push(Change::Added(job));
        if some.len() >= MOVED_AT_ONCE || bytes >= MOVED_BYTES {
            bytes = 0;
            log.write(&std::mem::take(&mut some))?;
        }
        Ok(())
    })?;
    log.write(&some)?;
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

/// Bytes of the files in a directory, as far as they can be seen.
fn bytes_in(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
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
    // Each has a segment in memory while it reads.
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let mut opened = Vec::with_capacity(count.into());
    for some in (0..count).collect::<Vec<u16>>().chunks(at_once) {
        let some: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = some.iter().map(|&number| scope.spawn(move || open_one(number))).collect();
            threads.into_iter().map(|thread| thread.join().expect("opening a log does not panic")).collect()
        });
        opened.extend(some.into_iter().collect::<Result<Vec<_>, _>>()?);
    }
    Ok(opened)
}

/// Brings every job to the log of its owner.
fn settle(logs: &mut [Log<RealDisk>], owner: impl Fn(&[u8]) -> u16) -> Result<(), StoreError> {
    let mut ends: Vec<Vec<u64>> = Vec::new();
    for from in 0..logs.len() {
        // Strangers: jobs in the log of a shard that is not their owner.
        let mut strangers = Vec::new();
        logs[from].each_job::<StoreError>(|job| {
            if usize::from(owner(&job.function)) != from {
                strangers.push(job.number);
            }
            Ok(())
        })?;
        let mut left = &strangers[..];
        while !left.is_empty() {
            let some = logs[from].read(&left[..left.len().min(MOVED_AT_ONCE)], MOVED_BYTES)?;
            left = &left[some.len()..];
            let mut arrivals: Vec<Vec<Change>> = logs.iter().map(|_| Vec::new()).collect();
            for job in some {
                let to = usize::from(owner(&job.function));
                // A crash has left it in both.
                if !logs[to].keeps(job.number) {
                    arrivals[to].push(Change::Added(job));
                }
            }
            for (log, arrivals) in logs.iter_mut().zip(arrivals) {
                log.write(&arrivals)?;
            }
        }
        ends.push(strangers);
    }
    for log in logs.iter_mut() {
        log.sync()?;
    }
    // Only now: every job is safe where it belongs.
    for (log, ends) in logs.iter_mut().zip(ends) {
        for some in ends.chunks(MOVED_AT_ONCE) {
            log.write(&some.iter().map(|&number| Change::Removed { number }).collect::<Vec<_>>())?;
        }
        log.sync()?;
    }
    Ok(())
}
