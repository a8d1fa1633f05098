//! What a store of one shard has been told, and what it has confirmed.

use std::collections::{BTreeMap, VecDeque};

use gearshard::queue::change::{Change, Progress};

/// Confirms later what it was handed, some changes at a time.
#[derive(Default)]
pub(crate) struct Store {
    handed: VecDeque<Change>,
    confirmed: u64,
    /// Jobs that it would give back after a crash, with their losses.
    pub(crate) kept: BTreeMap<u64, u16>,
}

impl Store {
    pub(crate) fn hand_over(&mut self, change: Change) {
        self.handed.push_back(change);
    }

    pub(crate) fn is_behind(&self) -> bool {
        !self.handed.is_empty()
    }

    /// Stores some of what it was handed.
    pub(crate) fn confirm(&mut self, rng: &mut fastrand::Rng) -> Progress {
        let count = rng.usize(1..=self.handed.len());
        for change in self.handed.drain(..count) {
            match change {
                Change::Added(job) => {
                    let before = self.kept.insert(job.number, job.losses);
                    assert!(before.is_none(), "job {} is stored twice", job.number);
                }
                Change::Altered { number, state } => {
                    *self.kept.get_mut(&number).expect("a lost job is stored") = state.losses;
                }
                Change::Removed { number } => {
                    self.kept.remove(&number).expect("a job that ends is stored");
                }
            }
        }
        self.confirmed += count as u64;
        Progress { changes: self.confirmed, refused: Vec::new(), full: false }
    }
}
