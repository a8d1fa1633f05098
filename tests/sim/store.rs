//! What a store of one shard has been told, and what it has confirmed.

use std::collections::{BTreeMap, VecDeque};

use gearshard::queue::change::{Change, Progress, ReadBack, RetryState, StoredJob};

/// Confirms later what it was handed, some changes at a time.
#[derive(Default)]
pub(crate) struct Store {
    handed: VecDeque<Change>,
    confirmed: u64,
    /// Jobs that it would give back after a crash.
    kept: BTreeMap<u64, StoredJob>,
    asked: VecDeque<Vec<u64>>,
}

impl Store {
    pub(crate) fn hand_over(&mut self, change: Change) {
        self.handed.push_back(change);
    }

    /// What the jobs would be that it would give back after a crash.
    pub(crate) fn states(&self) -> BTreeMap<u64, RetryState> {
        self.kept.iter().map(|(&number, job)| (number, job.state())).collect()
    }

    pub(crate) fn ask(&mut self, numbers: Vec<u64>) {
        self.asked.push_back(numbers);
    }

    pub(crate) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Reads some of the jobs that it was asked for first.
    pub(crate) fn read(&mut self, rng: &mut fastrand::Rng) -> ReadBack {
        let mut numbers = self.asked.pop_front().expect("somebody asks");
        let left = numbers.split_off(rng.usize(1..=numbers.len()));
        let job = |number| self.kept.get(number).expect("what is read is stored").clone();
        ReadBack { jobs: numbers.iter().map(job).collect(), left }
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
                    let number = job.number;
                    let before = self.kept.insert(number, job);
                    assert!(before.is_none(), "job {number} is stored twice");
                }
                Change::Altered { number, state } => {
                    let job = self.kept.get_mut(&number).expect("a job that is tried again is stored");
                    *job = job.clone().with(state);
                }
                Change::Removed { number } => {
                    self.kept.remove(&number).expect("a job that ends is stored");
                }
            }
        }
        self.confirmed += count as u64;
        Progress { changes: self.confirmed, refused: Vec::new(), closed: None }
    }
}
