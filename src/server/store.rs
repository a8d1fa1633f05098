//! The store of a server: opened before the server runs, one thread a shard.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use crossbeam_channel::{Sender, bounded, unbounded};
use hashbrown::HashMap;

use super::control::Control;
use super::log::{Level, Log};
use super::options::{Durability, EngineOptions, OnFailure, StoreOptions};
use super::{ServerError, engines, or_abort, policies, system};
use crate::queue::change::StoredJob;
use crate::reactor::event_loop::Parts;
use crate::reactor::{self, Clock, Delivery, PolicyChange};
use crate::shard::ids::ShardId;
use crate::shard::placement::{owner_of, owner_of_job};
use crate::storage::disk::Lock;
use crate::storage::imported;
use crate::storage::logs::{self, Logs};
use crate::storage::refusing::Refusing;
use crate::storage::rows::at_end::AtEnd;
use crate::storage::rows::replay::{Replay, replay as replay_rows};
use crate::storage::rows::store::RowStore;
use crate::storage::rows::{EngineError, News, Tell};
use crate::storage::{Store, StoreError, writer};

/// Jobs that are brought to a shard at once, and how often more than it has taken in.
const REPLAYED_AT_ONCE: usize = 256;
const REPLAYED_AHEAD: usize = 16;

/// What a server found in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Jobs that are not over.
    pub jobs: usize,
    /// Bytes of last writes that were cut short. Nobody was told that they are safe.
    pub dropped_bytes: u64,
}

/// A store whose jobs wait to be taken in.
pub(super) struct OpenStore {
    opened: Opened,
    kept: Kept,
}

enum Opened {
    Log {
        logs: Logs,
        durability: Durability,
        on_failure: OnFailure,
        directory: PathBuf,
        policies: policies::Kept,
    },
    Rows(Rows),
}

/// What a store that keeps a row for each job was opened with.
struct Rows {
    /// One for each shard.
    stores: Vec<Box<dyn Store>>,
    jobs: usize,
    /// The highest number of a job; 0 when there is none.
    number_max: u64,
}

/// What a store runs on.
pub(super) struct Started {
    /// Threads that will say that they have closed.
    pub(super) threads: usize,
    /// To be kept until all of them have ended.
    pub(super) lock: Option<Lock>,
}

impl OpenStore {
    pub(super) fn open(options: &StoreOptions, shards: u16, log: &Log) -> Result<Self, ServerError> {
        let owner = |function: &[u8]| owner_of(function, shards).0;
        Ok(match options {
            StoreOptions::Log { directory, durability, on_failure } => {
                let logs = logs::open(directory, shards, owner).map_err(ServerError::Store)?;
                imported::settle(directory, |number| logs.keeps(number)).map_err(ServerError::Store)?;
                let kept = Kept { jobs: logs.jobs(), dropped_bytes: logs.dropped_bytes };
                let policies = policies::read(directory).map_err(ServerError::Store)?;
                let (durability, on_failure, directory) = (*durability, *on_failure, directory.clone());
                Self { opened: Opened::Log { logs, durability, on_failure, directory, policies }, kept }
            }
            StoreOptions::Rows(engine) => {
                let unusable = |error: EngineError| {
                    let queue_type = engine.queue_type();
                    ServerError::Store(StoreError::Engine { queue_type, what: error.to_string() })
                };
                let rows = Rows::open(engine, shards, &teller(log)).map_err(unusable)?;
                let jobs = rows.jobs;
                Self { opened: Opened::Rows(rows), kept: Kept { jobs, dropped_bytes: 0 } }
            }
        })
    }

    pub(super) const fn kept(&self) -> Kept {
        self.kept
    }

    /// Owners of jobs whose numbers name another shard.
    pub(super) fn moved(&self, shards: u16) -> HashMap<u64, ShardId> {
        // Rows are given new numbers at every start.
        let Opened::Log { logs, .. } = &self.opened else { return HashMap::new() };
        let owners = (0..shards).map(ShardId).zip(&logs.logs);
        let numbers = owners.flat_map(|(owner, log)| log.numbers().map(move |number| (number, owner)));
        numbers.filter(|&(number, owner)| owner_of_job(number, shards) != owner).collect()
    }

    /// The retry policies that operators have set.
    pub(super) fn policies(&self) -> Option<&policies::Kept> {
        match &self.opened {
            Opened::Log { policies, .. } => Some(policies),
            Opened::Rows(_) => None,
        }
    }

    /// Starts a thread for each store and gives every shard its jobs. Each thread
    /// says `closed` when it ends, and if it was for an error, which one, and
    /// the server ends.
    pub(super) fn start(
        self,
        event_loops: &mut [Parts],
        control: &Control,
        closed: &mpsc::Sender<()>,
        failed: &mpsc::Sender<StoreError>,
        log: &Log,
    ) -> Result<Started, ServerError> {
        let mut started = Started { threads: 0, lock: None };
        let mut kept_policies = None;
        let (stores, number_max, durability) = match self.opened {
            Opened::Log { logs, durability, on_failure, directory, policies } => {
                let Logs { logs, number_max, lock, .. } = logs;
                started.lock = Some(lock);
                kept_policies = Some(keep_policies(directory, policies, log, closed)?);
                started.threads += 1;
                let always = durability == Durability::Always;
                let stores = logs.into_iter().map(|kept| match on_failure {
                    OnFailure::Stop => Box::new(kept) as Box<dyn Store>,
                    OnFailure::Refuse => Box::new(Refusing::new(kept, always, failure_teller(log))),
                });
                (stores.collect(), number_max, durability)
            }
            Opened::Rows(Rows { stores, number_max, .. }) => (stores, number_max, Durability::Always),
        };
        for (parts, mut store) in event_loops.iter_mut().zip(stores) {
            let home = parts.addresses[parts.id.index()].clone();
            let (orders, receiver) = unbounded();
            let (kept, jobs) = bounded(REPLAYED_AHEAD);
            let (failed, control, closed) = (failed.clone(), control.clone(), closed.clone());
            let body = move || {
                let tell = move |news| {
                    // A shard that is gone waits for nothing.
                    let _gone = home.send(Delivery::Store(news));
                };
                let kept_up = or_abort(|| {
                    replay(&mut *store, kept)?;
                    writer::run(store, durability, receiver, tell)
                });
                if let Err(error) = kept_up {
                    // Nobody listens any more when the server did not wait for us.
                    let _left_behind = failed.send(error);
                    control.stop();
                }
                let _left_behind = closed.send(());
            };
            let name = format!("store-{}", parts.id.index());
            let spawned = std::thread::Builder::new().name(name).spawn(body);
            spawned.map_err(system("a thread for each store"))?;
            started.threads += 1;
            let policies = kept_policies.clone();
            parts.kept = Some(reactor::Kept { jobs, number_max, orders, policies });
        }
        Ok(started)
    }
}

/// Starts the thread that keeps retry policies; it says `closed` when it ends.
fn keep_policies(
    directory: PathBuf,
    policies: policies::Kept,
    log: &Log,
    closed: &mpsc::Sender<()>,
) -> Result<Sender<PolicyChange>, ServerError> {
    let (sender, receiver) = unbounded();
    let (log, closed) = (Arc::clone(log), closed.clone());
    let body = move || {
        or_abort(|| policies::run(&directory, policies, &receiver, &log));
        let _left_behind = closed.send(());
    };
    let spawned = std::thread::Builder::new().name("retries".to_owned()).spawn(body);
    spawned.map_err(system("a thread for the retry policies"))?;
    Ok(sender)
}

/// Brings all that a store keeps to its shard, and then drops `kept`.
fn replay(store: &mut dyn Store, kept: Sender<Vec<StoredJob>>) -> Result<(), StoreError> {
    let mut some = Vec::with_capacity(REPLAYED_AT_ONCE);
    store.replay(&mut |job| {
        some.push(job);
        if some.len() == REPLAYED_AT_ONCE {
            // A shard that is gone waits for nothing.
            let _gone = kept.send(std::mem::replace(&mut some, Vec::with_capacity(REPLAYED_AT_ONCE)));
        }
    })?;
    let _gone = kept.send(some);
    drop(kept);
    Ok(())
}

impl Rows {
    /// Opens the engine of a queue type, and reads what it has.
    fn open(options: &EngineOptions, shards: u16, tell: &Tell) -> Result<Self, EngineError> {
        let mut engines = engines::open_for(options, shards)?;
        engines[0].warnings()?.iter().for_each(|why| tell(&News::Unsafe(why)));
        let now_us = Clock::start().now().unix_us;
        let owner = |function: &[u8]| owner_of(function, shards).0;
        let Replay { shards, number_max } = replay_rows(&mut engines[0], shards, owner, now_us, tell)?;
        let jobs = shards.iter().map(|found| found.jobs.len()).sum();
        let at_end = matches!(options, EngineOptions::Sqlite { on_shutdown: true, .. });
        let stores = engines.into_iter().zip(shards).map(|(engine, found)| {
            let rows = RowStore::new(engine, found, Arc::clone(tell));
            if at_end { Box::new(AtEnd::new(rows)) as Box<dyn Store> } else { Box::new(rows) }
        });
        Ok(Self { stores: stores.collect(), jobs, number_max })
    }
}

/// Puts the failure of a log on disk into the server's.
fn failure_teller(log: &Log) -> impl Fn(&StoreError) + Send + use<> {
    let log = Arc::clone(log);
    move |error| log(Level::Error, format_args!("Background jobs are refused from now on: {error}"))
}

/// Puts what happens to an engine into the log.
fn teller(log: &Log) -> Tell {
    let log = Arc::clone(log);
    Arc::new(move |news| {
        let level = match news {
            News::Away(_) | News::Refused(..) | News::Bad(_) | News::MoreBad(_) => Level::Error,
            News::Twice(_) | News::Unsafe(_) => Level::Warning,
            News::Back => Level::Notice,
        };
        log(level, format_args!("{news}"));
    })
}
