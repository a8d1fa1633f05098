//! From the rows that are there at the start to the jobs of each shard.
//!
//! Rows know no numbers, so their jobs get new ones, in the engine's order:
//! handles do not outlive a restart, as in gearmand. New numbers are above all
//! that are in made keys, so that no new job takes the row of an old one.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::job::job_of;
use super::key::BY_DATA;
use super::{BadRow, Engine, EngineError, Key, News, Row, Tell};
use crate::queue::change::StoredJob;

/// Bad rows that are told one by one.
const TOLD_MAX: usize = 20;

/// Names of the rows of jobs, by number.
pub type Keys = HashMap<u64, Arc<Key>>;

/// What was found of one shard.
#[derive(Debug, Default)]
pub struct Found {
    /// Its jobs in the order of their numbers.
    pub jobs: Vec<StoredJob>,
    /// Their rows.
    pub keys: Keys,
}

/// What was found.
#[derive(Debug)]
pub struct Replay {
    /// By shard.
    pub shards: Vec<Found>,
    /// No job has a higher number.
    pub number_max: u64,
}

/// Reads every row. `owner` tells which of so many shards a function belongs to;
/// `now_us` is the time in microseconds since 1970.
///
/// Where gearmand would coalesce two rows, the first is the job, and the other
/// is taken out.
///
/// # Errors
/// When not all can be read.
pub fn replay(
    engine: &mut dyn Engine,
    shards: u16,
    owner: impl Fn(&[u8]) -> u16,
    now_us: u64,
    tell: &Tell,
) -> Result<Replay, EngineError> {
    let mut all = All::default();
    engine.read(&mut |row| match row.and_then(|row| all.take(&row)) {
        Ok(()) => {}
        Err(bad) => {
            all.bad += 1;
            if all.bad <= TOLD_MAX {
                tell(&News::Bad(&bad));
            }
        }
    })?;
    if all.bad > TOLD_MAX {
        tell(&News::MoreBad(all.bad - TOLD_MAX));
    }
    if !all.twice.is_empty() {
        all.twice.iter().for_each(|key| tell(&News::Twice(key)));
        engine.apply(&[], &all.twice)?;
    }
    let count = u64::from(shards);
    let mut next = now_us.max(all.made_max) / count;
    let mut replay = Replay { shards: (0..shards).map(|_| Found::default()).collect(), number_max: 0 };
    for (mut job, key) in all.jobs {
        next += 1;
        let owner = owner(&job.function);
        job.number = next * count + u64::from(owner);
        let found = &mut replay.shards[usize::from(owner)];
        found.keys.insert(job.number, Arc::new(key));
        replay.number_max = job.number;
        found.jobs.push(job);
    }
    replay.number_max = replay.number_max.max(all.made_max);
    Ok(replay)
}

#[derive(Default)]
struct All {
    /// Without their numbers.
    jobs: Vec<(StoredJob, Key)>,
    keys: HashSet<Key>,
    /// Functions and workloads of jobs that are compared by these.
    by_data: HashSet<(Key, Box<[u8]>)>,
    twice: Vec<Key>,
    made_max: u64,
    bad: usize,
}

impl All {
    fn take(&mut self, row: &Row<'_>) -> Result<(), BadRow> {
        let name = row.name();
        let bad = |what: &str| BadRow { row: name.to_string(), what: what.to_owned() };
        let (job, number) = job_of(row).map_err(bad)?;
        if self.keys.contains(&name) {
            return Err(bad("it has the key of an earlier row, with which it goes"));
        }
        if job.unique() == BY_DATA {
            let function = Key { key: [].into(), function: name.function.clone() };
            if !self.by_data.insert((function, (*row.data).into())) {
                self.twice.push(name);
                return Ok(());
            }
        }
        self.made_max = self.made_max.max(number);
        self.keys.insert(name.clone());
        self.jobs.push((job, name));
        Ok(())
    }
}
