//! Which jobs a submit may join: the index of uniques.
//!
//! Jobs are filed under a hash; whether one is really the same is for the
//! caller to compare. The index is many short tables, each ordered by hash: one
//! that is full is split in two (extendible hashing), so that no submit ever
//! waits for a large table to grow. An ordered table needs no empty places, and
//! room is added in small steps. Entries keep their hash, so that a split does
//! not touch the jobs.
//!
//! ```text
//! directory   a power of two of places; the high bits of a spread hash choose one
//!     |       (a table stands at every place that begins with its own bits)
//! tables      at most TABLE_JOBS each
//! ```

/// Jobs of a full table.
const TABLE_JOBS: usize = 128;
/// Room is added for so many: with them, every table has a size class of the
/// allocator.
const ROOM_JOBS: usize = 16;
/// The directory has at most so many places for each table that full ones would
/// need; beyond, a table just grows (its jobs have one hash).
const DIRECTORY_SLACK: usize = 8;
/// Bits of a hash.
const HASH_BITS: u32 = 32;

#[derive(Clone, Copy)]
struct Filed {
    /// Spread, as in all that follows.
    hash: u32,
    job: u32,
}

#[derive(Default)]
struct Table {
    /// In the order of their hashes.
    jobs: Vec<Filed>,
    /// How many high bits of the hash its jobs have in common.
    bits: u32,
}

impl Table {
    /// Where the jobs of a hash begin, or would.
    fn start_of(&self, hash: u32) -> usize {
        self.jobs.partition_point(|filed| filed.hash < hash)
    }

    fn insert(&mut self, filed: Filed) {
        if self.jobs.len() == self.jobs.capacity() {
            self.jobs.reserve_exact(ROOM_JOBS.max(self.jobs.len() / 8));
        }
        let at = self.start_of(filed.hash);
        self.jobs.insert(at, filed);
    }

    /// Whether the job was there.
    fn remove(&mut self, hash: u32, job: u32) -> bool {
        let start = self.start_of(hash);
        let mut same = self.jobs[start..].iter().take_while(|filed| filed.hash == hash);
        let Some(at) = same.position(|filed| filed.job == job) else { return false };
        self.jobs.remove(start + at);
        if self.jobs.len() + 2 * ROOM_JOBS <= self.jobs.capacity() {
            self.jobs.shrink_to(self.jobs.len().next_multiple_of(ROOM_JOBS));
        }
        true
    }

    /// Keeps the jobs before `place` and gives away the others, which have a
    /// bit the more in common.
    fn split_off(&mut self, place: usize) -> Self {
        self.bits += 1;
        let mut jobs = Vec::with_capacity((self.jobs.len() - place).next_multiple_of(ROOM_JOBS));
        jobs.extend_from_slice(&self.jobs[place..]);
        self.jobs.truncate(place);
        self.jobs.shrink_to(place.next_multiple_of(ROOM_JOBS));
        Self { jobs, bits: self.bits }
    }
}

/// Jobs under the hashes of their uniques.
pub(super) struct Uniques {
    /// Indexes of tables.
    directory: Vec<u32>,
    /// How many bits choose a place of the directory.
    bits: u32,
    tables: Vec<Table>,
    length: usize,
}

impl Default for Uniques {
    fn default() -> Self {
        Self { directory: vec![0], bits: 0, tables: vec![Table::default()], length: 0 }
    }
}

impl Uniques {
    /// A job filed under `hash` that `same` accepts.
    pub(super) fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let hash = spread(hash);
        let table = &self.tables[self.table_of(hash)];
        let jobs = table.jobs[table.start_of(hash)..].iter();
        jobs.take_while(|filed| filed.hash == hash).map(|filed| filed.job).find(|&job| same(job))
    }

    /// Files a job.
    pub(super) fn insert(&mut self, hash: u32, job: u32) {
        let hash = spread(hash);
        let mut at = self.table_of(hash);
        while self.tables[at].jobs.len() >= TABLE_JOBS && self.may_split(at) {
            self.split(at, hash);
            at = self.table_of(hash);
        }
        self.tables[at].insert(Filed { hash, job });
        self.length += 1;
    }

    /// Takes a job out that is filed under `hash`.
    pub(super) fn remove(&mut self, hash: u32, job: u32) {
        let hash = spread(hash);
        let at = self.table_of(hash);
        if !self.tables[at].remove(hash, job) {
            return;
        }
        self.length -= 1;
        if self.length == 0 && self.bits > 0 {
            *self = Self::default();
        }
    }

    /// The place in the directory: the high bits.
    fn place_of(&self, hash: u32) -> usize {
        (u64::from(hash) << self.bits >> HASH_BITS) as usize
    }

    fn table_of(&self, hash: u32) -> usize {
        self.directory[self.place_of(hash)] as usize
    }

    fn may_split(&self, at: usize) -> bool {
        let places = 2 << self.tables[at].bits;
        places <= self.directory.len() || places <= DIRECTORY_SLACK * (self.length / TABLE_JOBS + 1)
    }

    /// Moves the jobs of a table whose next bit is set to a table of their own.
    /// `hash` is one that belongs into the table.
    fn split(&mut self, at: usize, hash: u32) {
        let table = &mut self.tables[at];
        let below = HASH_BITS - table.bits - 1;
        let boundary = (hash >> below | 1) << below;
        let moved = table.split_off(table.start_of(boundary));
        let bits = moved.bits;
        if self.bits < bits {
            self.directory = self.directory.iter().flat_map(|&table| [table, table]).collect();
            self.bits += 1;
        }
        let new = u32::try_from(self.tables.len()).expect("there are fewer tables than jobs");
        self.tables.push(moved);
        let first = self.place_of(boundary);
        for entry in &mut self.directory[first..][..1 << (self.bits - bits)] {
            debug_assert_eq!(*entry as usize, at, "all places with the table's bits are its own");
            *entry = new;
        }
    }
}

/// Spreads a hash, each to another, so that the high bits differ.
fn spread(hash: u32) -> u32 {
    hash.wrapping_mul(0x9e37_79b1)
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
    fn tables_are_short_and_leave_little_room() {
        let mut uniques = Uniques::default();
        for job in 0..100_000 {
            uniques.insert(job, job);
        }
        assert!(uniques.tables.iter().all(|table| table.jobs.len() <= TABLE_JOBS));
        assert!(uniques.tables.len() < 2 * 100_000 / (TABLE_JOBS / 2), "{} tables", uniques.tables.len());
        let room: usize = uniques.tables.iter().map(|table| table.jobs.capacity()).sum();
        assert!(room < 120_000, "room for {room}");
        for job in (0..100_000).filter(|job| job % 10 != 0) {
            uniques.remove(job, job);
        }
        let room: usize = uniques.tables.iter().map(|table| table.jobs.capacity()).sum();
        assert!(room < 50_000, "room for {room}");
    }

    #[test]
    fn jobs_of_one_hash_fit_into_the_index() {
        let mut uniques = Uniques::default();
        for job in 0..2000 {
            uniques.insert(7, job);
        }
        assert_eq!(uniques.find(7, |job| job == 1999), Some(1999));
        for job in (0..2000).filter(|job| job % 2 == 0) {
            uniques.remove(7, job);
        }
        assert_eq!(uniques.find(7, |job| job == 1998), None);
        assert_eq!(uniques.find(7, |job| job == 1999), Some(1999));
    }
}
