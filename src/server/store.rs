//! The store of a server: opened before the server runs, one thread a shard.

use std::sync::mpsc;

use crossbeam_channel::unbounded;
use hashbrown::HashMap;

use super::control::Control;
use super::options::{Durability, EngineOptions, StoreOptions};
use super::{ServerError, or_abort, system};
use crate::queue::change::StoredJob;
use crate::reactor::event_loop::Parts;
use crate::reactor::{self, Delivery};
use crate::shard::ids::ShardId;
use crate::shard::placement::{owner_of, owner_of_job};
use crate::storage::disk::Lock;
use crate::storage::logs::{self, Logs};
use crate::storage::{Store, StoreError, writer};

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
    Log { logs: Logs, durability: Durability },
    Rows(Rows),
}

/// What a store that keeps a row for each job was opened with.
struct Rows {
    /// One for each shard, and its jobs in the order of their numbers.
    stores: Vec<(Box<dyn Store>, Vec<StoredJob>)>,
    /// The highest number of a job; 0 when there is none.
    number_max: u64,
}

impl OpenStore {
    pub(super) fn open(options: &StoreOptions, shards: u16) -> Result<Self, ServerError> {
        let owner = |function: &[u8]| owner_of(function, shards).0;
        Ok(match options {
            StoreOptions::Log { directory, durability } => {
                let logs = logs::open(directory, shards, owner).map_err(ServerError::Store)?;
                let kept = Kept { jobs: logs.jobs(), dropped_bytes: logs.dropped_bytes };
                Self { opened: Opened::Log { logs, durability: *durability }, kept }
            }
            StoreOptions::Rows(engine) => {
                let rows = Rows::open(engine).map_err(ServerError::Store)?;
                let jobs = rows.stores.iter().map(|(_, jobs)| jobs.len()).sum();
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

    /// Starts a thread for each store and gives every shard its jobs. Each thread
    /// says `closed` when it ends, and if it was for an error, which one, and
    /// the server ends. The lock is to be kept until all have ended.
    pub(super) fn start(
        self,
        event_loops: &mut [Parts],
        control: &Control,
        closed: &mpsc::Sender<()>,
        failed: &mpsc::Sender<StoreError>,
    ) -> Result<Option<Lock>, ServerError> {
        let (Rows { stores, number_max }, durability, lock) = match self.opened {
            Opened::Log { logs, durability } => {
                let (rows, lock) = jobs_of(logs).map_err(ServerError::Store)?;
                (rows, durability, Some(lock))
            }
            Opened::Rows(rows) => (rows, Durability::Always, None),
        };
        for (parts, (store, jobs)) in event_loops.iter_mut().zip(stores) {
            let home = parts.addresses[parts.id.index()].clone();
            let (changes, receiver) = unbounded();
            let (failed, control, closed) = (failed.clone(), control.clone(), closed.clone());
            let body = move || {
                let confirm = move |progress| {
                    // A shard that is gone waits for nothing.
                    let _gone = home.send(Delivery::Stored(progress));
                };
                if let Err(error) = or_abort(|| writer::run(store, durability, receiver, confirm)) {
                    // Nobody listens any more when the server did not wait for us.
                    let _left_behind = failed.send(error);
                    control.stop();
                }
                let _left_behind = closed.send(());
            };
            let name = format!("store-{}", parts.id.index());
            let spawned = std::thread::Builder::new().name(name).spawn(body);
            spawned.map_err(system("a thread for each store"))?;
            parts.kept = Some(reactor::Kept { jobs, number_max, changes });
        }
        Ok(lock)
    }
}

fn jobs_of(logs: Logs) -> Result<(Rows, Lock), StoreError> {
    let Logs { logs, number_max, lock, .. } = logs;
    let mut stores = Vec::new();
    for log in logs {
        let mut jobs = Vec::with_capacity(log.jobs());
        log.replay::<StoreError>(|job| {
            jobs.push(job);
            Ok(())
        })?;
        stores.push((Box::new(log) as Box<dyn Store>, jobs));
    }
    Ok((Rows { stores, number_max }, lock))
}

impl Rows {
    /// Opens the engine of a queue type; each has one arm.
    fn open(options: &EngineOptions) -> Result<Self, StoreError> {
        Err(StoreError::Unbuilt { queue_type: options.queue_type() })
    }
}
