//! What a log may give back after a crash, and what it must.

use std::collections::HashMap;

use gearshard::queue::change::{Change, RetryState, StoredJob};
use gearshard::storage::log::Log;
use gearshard::storage::{Store, StoreError};

use super::sim_disk::SimDisk;
use super::{assert_same, job, state};

/// What is known of a job.
#[derive(Clone, Debug, Default)]
struct Known {
    bytes: usize,
    /// What its runs made of it, from the last that was acknowledged on.
    states: Vec<RetryState>,
    /// It was acknowledged.
    safe: bool,
    /// Its end was handed over.
    over: bool,
    /// That was acknowledged.
    over_safe: bool,
}

/// Every job that a log was ever told of.
#[derive(Default)]
pub(crate) struct Model {
    jobs: HashMap<u64, Known>,
    /// Those that may be in the log and whose end was not handed over.
    open: Vec<u64>,
    next: u64,
}

impl Model {
    /// Some changes: jobs that are added, lost and ended.
    pub(crate) fn changes(&mut self, random: &mut fastrand::Rng, bytes_max: usize) -> Vec<Change> {
        let count = random.usize(1..12);
        let mut changes = Vec::new();
        for _ in 0..count {
            match random.u32(..) % 5 {
                0 | 1 if !self.open.is_empty() => {
                    let number = self.open.swap_remove(random.usize(..self.open.len()));
                    self.known(number).over = true;
                    changes.push(Change::Removed { number });
                }
                2 if !self.open.is_empty() => {
                    let number = self.open[random.usize(..self.open.len())];
                    let state = state(random.u64(..100));
                    self.known(number).states.push(state);
                    changes.push(Change::Altered { number, state });
                }
                _ => {
                    self.next += 1;
                    let bytes = random.usize(..bytes_max);
                    let job = job(self.next, bytes);
                    let states = vec![job.state()];
                    self.jobs.insert(self.next, Known { bytes, states, ..Known::default() });
                    self.open.push(self.next);
                    changes.push(Change::Added(job));
                }
            }
        }
        changes
    }

    fn known(&mut self, number: u64) -> &mut Known {
        self.jobs.get_mut(&number).expect("only known jobs are named")
    }

    /// All that was handed over so far is acknowledged.
    pub(crate) fn acknowledge(&mut self) {
        for known in self.jobs.values_mut() {
            known.safe = true;
            known.over_safe = known.over;
            known.states.drain(..known.states.len() - 1);
        }
    }

    /// Checks what came back, and goes on from there.
    pub(crate) fn check(&mut self, found: &[StoredJob]) {
        for found in found {
            let known = self
                .jobs
                .get(&found.number)
                .unwrap_or_else(|| panic!("job {} was never given", found.number));
            assert!(!known.over_safe, "job {} came back after its end was safe", found.number);
            assert_same(found, &job(found.number, known.bytes));
            let state = found.state();
            assert!(known.states.contains(&state), "job {} is {state:?}, not {known:?}", found.number);
        }
        let back: Vec<u64> = super::numbers(found);
        assert!(back.is_sorted(), "jobs come back in their order");
        for (number, known) in &self.jobs {
            let due = known.safe && !known.over;
            assert!(!due || back.binary_search(number).is_ok(), "job {number} is lost: {known:?}");
        }
        // What came back is safe, and what did not is over.
        self.jobs.retain(|number, _| back.binary_search(number).is_ok());
        for found in found {
            let (bytes, states) = (self.known(found.number).bytes, vec![found.state()]);
            *self.known(found.number) = Known { bytes, states, safe: true, over: false, over_safe: false };
        }
        self.open = back;
    }

    /// Hands some changes over, now and then synced and tidied.
    pub(crate) fn step(
        &mut self,
        log: &mut Log<SimDisk>,
        random: &mut fastrand::Rng,
        bytes_max: usize,
        always: bool,
    ) -> Result<(), StoreError> {
        let changes = self.changes(random, bytes_max);
        log.write(&changes)?;
        if always || random.u8(..8) == 0 {
            log.sync()?;
            self.acknowledge();
        }
        while random.bool() && log.tidy()? {}
        Ok(())
    }
}
