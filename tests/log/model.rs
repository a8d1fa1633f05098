//! What a log may give back after a crash, and what it must.

use std::collections::HashMap;

use gearshard::queue::change::{Change, StoredJob};
use gearshard::storage::log::Log;
use gearshard::storage::{Store, StoreError};

use super::sim_disk::SimDisk;
use super::{assert_same, job};

/// What is known of a job.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    bytes: usize,
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
                    changes.push(Change::Lost { number, losses: random.u16(1..5) });
                }
                _ => {
                    self.next += 1;
                    let bytes = random.usize(..bytes_max);
                    self.jobs.insert(self.next, Known { bytes, ..Known::default() });
                    self.open.push(self.next);
                    changes.push(Change::Added(job(self.next, bytes)));
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
        }
    }

    /// Checks what came back, and goes on from there.
    pub(crate) fn check(&mut self, found: &[StoredJob]) {
        for found in found {
            let known = self.jobs.get(&found.number).copied();
            let known = known.unwrap_or_else(|| panic!("job {} was never given", found.number));
            assert!(!known.over_safe, "job {} came back after its end was safe", found.number);
            assert_same(found, &job(found.number, known.bytes));
        }
        let back: Vec<u64> = super::numbers(found);
        assert!(back.is_sorted(), "jobs come back in their order");
        for (number, known) in &self.jobs {
            let due = known.safe && !known.over;
            assert!(!due || back.binary_search(number).is_ok(), "job {number} is lost: {known:?}");
        }
        // What came back is safe, and what did not is over.
        self.jobs.retain(|number, _| back.binary_search(number).is_ok());
        for known in self.jobs.values_mut() {
            *known = Known { safe: true, over: false, over_safe: false, ..*known };
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
