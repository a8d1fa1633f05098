//! Which jobs a submit may join: the index of uniques.
//!
//! Jobs are filed under a hash; whether one is really the same is for the
//! caller to compare. The index is many small tables: one that is full is
//! split in two (extendible hashing), so that no submit ever waits for a large
//! table to grow. Entries keep their hash, so that a split does not touch the
//! jobs.
//!
//! ```text
//! directory   a power of two of places; the low bits of a spread hash choose one
//!     |       (a table stands at every place that ends in its own bits)
//! tables      at most TABLE_JOBS each, all in one size class of the allocator
//! ```

use hashbrown::HashTable;

/// Jobs of a full table: what 512 places hold.
const TABLE_JOBS: usize = 448;
/// A table with room for so few is not shrunk.
const TABLE_KEPT: usize = 28;
/// The directory has at most so many places for each table that full ones would
/// need; beyond, a table just grows (its jobs have one hash).
const DIRECTORY_SLACK: usize = 8;

#[derive(Clone, Copy)]
struct Filed {
    hash: u32,
    job: u32,
}

struct Table {
    jobs: HashTable<Filed>,
    /// How many bits of the spread hash its jobs have in common.
    bits: u32,
}

/// Jobs under the hashes of their uniques.
pub(super) struct Uniques {
    /// Indexes of tables.
    directory: Vec<u32>,
    tables: Vec<Table>,
    length: usize,
}

impl Default for Uniques {
    fn default() -> Self {
        Self { directory: vec![0], tables: vec![Table { jobs: HashTable::new(), bits: 0 }], length: 0 }
    }
}

impl Uniques {
    /// A job filed under `hash` that `same` accepts.
    pub(super) fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let spread = spread(hash);
        let jobs = &self.tables[self.table_of(spread)].jobs;
        jobs.find(spread, |filed| filed.hash == hash && same(filed.job)).map(|filed| filed.job)
    }

    /// Files a job.
    pub(super) fn insert(&mut self, hash: u32, job: u32) {
        let spread_hash = spread(hash);
        let mut at = self.table_of(spread_hash);
        while self.tables[at].jobs.len() >= TABLE_JOBS && self.may_split(at) {
            self.split(at, place(spread_hash));
            at = self.table_of(spread_hash);
        }
        self.tables[at].jobs.insert_unique(spread_hash, Filed { hash, job }, |filed| spread(filed.hash));
        self.length += 1;
    }

    /// Takes a job out that is filed under `hash`.
    pub(super) fn remove(&mut self, hash: u32, job: u32) {
        let spread_hash = spread(hash);
        let at = self.table_of(spread_hash);
        let jobs = &mut self.tables[at].jobs;
        let Ok(entry) = jobs.find_entry(spread_hash, |filed| filed.job == job) else { return };
        entry.remove();
        self.length -= 1;
        if self.length == 0 && self.directory.len() > 1 {
            *self = Self::default();
        } else if jobs.capacity() > TABLE_KEPT && jobs.len() < jobs.capacity() / 8 {
            jobs.shrink_to(jobs.len() * 2, |filed| spread(filed.hash));
        }
    }

    fn table_of(&self, spread: u64) -> usize {
        self.directory[place(spread) & (self.directory.len() - 1)] as usize
    }

    fn may_split(&self, at: usize) -> bool {
        let places = 2 << self.tables[at].bits;
        places <= self.directory.len() || places <= DIRECTORY_SLACK * (self.length / TABLE_JOBS + 1)
    }

    /// Moves the jobs of a table whose next bit is set to a table of their own.
    /// `place_of_it` is one of the table's places.
    fn split(&mut self, at: usize, place_of_it: usize) {
        let table = &mut self.tables[at];
        let bit = 1_usize << table.bits;
        table.bits += 1;
        let bits = table.bits;
        // Two new tables: what is taken out of one leaves marks that make it grow early.
        let whole = std::mem::replace(&mut table.jobs, HashTable::with_capacity(TABLE_JOBS));
        let mut moved = HashTable::with_capacity(TABLE_JOBS);
        for filed in whole {
            let spread_hash = spread(filed.hash);
            let half = if place(spread_hash) & bit == 0 { &mut table.jobs } else { &mut moved };
            half.insert_unique(spread_hash, filed, |filed| spread(filed.hash));
        }
        if self.directory.len() < bit * 2 {
            self.directory.extend_from_within(..);
        }
        let new = u32::try_from(self.tables.len()).expect("there are fewer tables than jobs");
        self.tables.push(Table { jobs: moved, bits });
        let first = place_of_it & (bit - 1) | bit;
        for entry in self.directory.iter_mut().skip(first).step_by(bit * 2) {
            debug_assert_eq!(*entry as usize, at, "all places with the table's bits are its own");
            *entry = new;
        }
    }
}

/// Spreads a hash over all bits: a table uses both ends, the directory the middle.
fn spread(hash: u32) -> u64 {
    let wide = u128::from(hash) * 0x9e37_79b9_7f4a_7c15;
    (wide >> 64) as u64 ^ wide as u64
}

/// The bits of a spread hash that choose a table; those below choose within it.
fn place(spread: u64) -> usize {
    (spread >> 24) as usize & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_found_under_their_hash_until_they_are_removed() {
        let mut uniques = Uniques::default();
        let hash = |job: u32| job / 2;
        for job in 0..100_000 {
            uniques.insert(hash(job), job);
        }
        for job in (0..100_000).step_by(2) {
            uniques.remove(hash(job), job);
        }
        for job in 0..100_000 {
            assert_eq!(uniques.find(hash(job), |found| found == job).is_some(), job % 2 == 1);
        }
        for job in (1..100_000).step_by(2) {
            uniques.remove(hash(job), job);
        }
        assert_eq!((uniques.length, uniques.tables.len(), uniques.directory.len()), (0, 1, 1));
    }

    #[test]
    fn a_table_takes_what_it_holds_and_is_split_then() {
        let mut uniques = Uniques::default();
        for job in 0..100_000 {
            uniques.insert(job, job);
        }
        let full = |table: &Table| table.jobs.len() > TABLE_JOBS || table.jobs.capacity() > TABLE_JOBS;
        assert!(!uniques.tables.iter().any(full));
        assert!(uniques.tables.len() < 2 * 100_000 / (TABLE_JOBS / 2), "{} tables", uniques.tables.len());
    }

    #[test]
    fn jobs_of_one_hash_fit_into_the_index() {
        let mut uniques = Uniques::default();
        for job in 0..2000 {
            uniques.insert(7, job);
        }
        assert_eq!(uniques.find(7, |job| job == 1999), Some(1999));
    }
}
