//! The store of a server: opened before the server runs, one thread a shard.

use std::sync::mpsc;

use crossbeam_channel::unbounded;
use hashbrown::HashMap;

use super::control::Control;
use super::options::{Durability, StoreOptions};
use super::{ServerError, or_abort, system};
use crate::reactor::event_loop::Parts;
use crate::reactor::{self, Delivery};
use crate::shard::ids::ShardId;
use crate::shard::placement::{owner_of, owner_of_job};
use crate::storage::StoreError;
use crate::storage::disk::Lock;
use crate::storage::logs::{self, Logs};
use crate::storage::writer;

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
    logs: Logs,
    durability: Durability,
    kept: Kept,
}

impl OpenStore {
    pub(super) fn open(options: &StoreOptions, shards: u16) -> Result<Self, ServerError> {
        let owner = |function: &[u8]| owner_of(function, shards).0;
        let logs = logs::open(&options.directory, shards, owner).map_err(ServerError::Store)?;
        let kept = Kept { jobs: logs.jobs(), dropped_bytes: logs.dropped_bytes };
        Ok(Self { logs, durability: options.durability, kept })
    }

    pub(super) const fn kept(&self) -> Kept {
        self.kept
    }

    /// Owners of jobs whose numbers name another shard.
    pub(super) fn moved(&self, shards: u16) -> HashMap<u64, ShardId> {
        let owners = (0..shards).map(ShardId).zip(&self.logs.logs);
        let numbers = owners.flat_map(|(owner, log)| log.numbers().map(move |number| (number, owner)));
        numbers.filter(|&(number, owner)| owner_of_job(number, shards) != owner).collect()
    }

    /// Starts a thread for each log and gives every shard its jobs. Each thread
    /// says `closed` when it ends, and if it was for an error, which one, and
    /// the server ends. The lock is to be kept until all have ended.
    pub(super) fn start(
        self,
        event_loops: &mut [Parts],
        control: &Control,
        closed: &mpsc::Sender<()>,
        failed: &mpsc::Sender<StoreError>,
    ) -> Result<Lock, ServerError> {
        let Self { logs: Logs { logs, number_max, lock, .. }, durability, .. } = self;
        for (parts, log) in event_loops.iter_mut().zip(logs) {
            let mut jobs = Vec::with_capacity(log.jobs());
            let replayed = log.replay::<StoreError>(|job| {
                jobs.push(job);
                Ok(())
            });
            replayed.map_err(ServerError::Store)?;
            let home = parts.addresses[parts.id.index()].clone();
            let (changes, receiver) = unbounded();
            let (failed, control, closed) = (failed.clone(), control.clone(), closed.clone());
            let body = move || {
                let confirm = move |progress| {
                    // A shard that is gone waits for nothing.
                    let _gone = home.send(Delivery::Stored(progress));
                };
                if let Err(error) = or_abort(|| writer::run(log, durability, receiver, confirm)) {
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
