//! Which jobs a submit may join: the index of uniques.
//!
//! Jobs are filed under a hash; whether one is really the same is for the
//! caller to compare. The index is many small tables. One that is full grows by
//! a step, and at its largest is split in two (extendible hashing), so that no
//! submit ever waits for a large table to grow. Within a table a hash has its
//! bucket, one cache line, and what finds no room there goes to the next bucket
//! that has some: a submit of something new looks at little more than one line
//! of a deep queue's index. Entries keep their hash, so that tables are made
//! anew without touching the jobs.
//!
//! ```text
//! directory   a power of two of places; the high bits of a spread hash choose one
//!     |       (a table stands at every place that begins with its own bits)
//! tables      1 to TABLE_BUCKETS_MAX buckets; the bits behind choose one, in order
//!     |
//! buckets     BUCKET_JOBS places, the full ones first
//! ```
//!
//! Kept at all times: between the bucket of a job's hash and the one where it
//! lies, all are full.

/// Places of a bucket.
const BUCKET_JOBS: usize = 8;
/// A table of as many buckets is split when it is full.
const TABLE_BUCKETS_MAX: usize = 128;
/// Larger tables grow by so many buckets, smaller ones to twice their size:
/// every table has a size class of the allocator.
const STEP_BUCKETS: usize = 16;
const STEPS_FROM_BUCKETS: usize = 4 * STEP_BUCKETS;
/// The directory has at most so many places for each table that full ones would
/// need; beyond, a table just grows (its jobs have one hash).
const DIRECTORY_SLACK: usize = 8;
/// Bits of a hash.
const HASH_BITS: u32 = 32;
/// Stands for the job of a free place.
const NOBODY: u32 = u32::MAX;

/// Jobs whose hashes are close to each other.
#[derive(Clone)]
struct Bucket {
    /// Spread, as in all that follows.
    hashes: [u32; BUCKET_JOBS],
    jobs: [u32; BUCKET_JOBS],
}

impl Bucket {
    const EMPTY: Self = Self { hashes: [0; BUCKET_JOBS], jobs: [NOBODY; BUCKET_JOBS] };

    fn is_full(&self) -> bool {
        self.jobs[BUCKET_JOBS - 1] != NOBODY
    }

    fn entries(&self) -> impl Iterator<Item = (u32, u32)> {
        self.hashes.iter().copied().zip(self.jobs).take_while(|&(_, job)| job != NOBODY)
    }

    /// Adds a job to a bucket that is not full.
    fn push(&mut self, hash: u32, job: u32) {
        let free = self.jobs.iter().position(|&job| job == NOBODY).expect("a bucket with room was found");
        (self.hashes[free], self.jobs[free]) = (hash, job);
    }

    /// Takes out the job at a place; the last one moves there.
    fn take(&mut self, place: usize) -> (u32, u32) {
        let taken = (self.hashes[place], self.jobs[place]);
        let end = self.jobs.iter().position(|&job| job == NOBODY).unwrap_or(BUCKET_JOBS);
        (self.hashes[place], self.jobs[place]) = (self.hashes[end - 1], self.jobs[end - 1]);
        self.jobs[end - 1] = NOBODY;
        taken
    }
}

struct Table {
    buckets: Box<[Bucket]>,
    live: u32,
    /// How many high bits of the hash its jobs have in common.
    bits: u32,
}

impl Table {
    fn new(buckets: usize, bits: u32) -> Self {
        Self { buckets: vec![Bucket::EMPTY; buckets].into_boxed_slice(), live: 0, bits }
    }

    /// Buckets that leave some room beside so many jobs.
    fn buckets_for(jobs: usize) -> usize {
        let buckets = (jobs * 3 / 2).div_ceil(BUCKET_JOBS).max(1);
        if buckets <= STEPS_FROM_BUCKETS {
            buckets.next_power_of_two()
        } else {
            buckets.next_multiple_of(STEP_BUCKETS)
        }
    }

    fn live(&self) -> usize {
        self.live as usize
    }

    /// Whether one more would fill it beyond thirteen sixteenths, where few
    /// jobs are far from their buckets.
    fn is_full(&self) -> bool {
        (self.live() + 1) * 16 > self.buckets.len() * BUCKET_JOBS * 13
    }

    /// Whether most of it is empty.
    fn is_sparse(&self) -> bool {
        self.live() * 4 < self.buckets.len() * BUCKET_JOBS && self.buckets.len() > 1
    }

    /// The bucket of a hash.
    fn bucket_of(&self, hash: u32) -> usize {
        let own = u64::from(hash) << self.bits & u64::from(u32::MAX);
        ((own * self.buckets.len() as u64) >> HASH_BITS) as usize
    }

    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }

    /// How far it is from one bucket to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        if from <= to { to - from } else { to + self.buckets.len() - from }
    }

    fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.bucket_of(hash);
        loop {
            let bucket = &self.buckets[at];
            // All places at once, since mostly none has the hash.
            let filed = bucket.hashes.iter().map(|&filed| u8::from(filed == hash)).sum::<u8>();
            if filed > 0 {
                for (filed, job) in bucket.entries() {
                    if filed == hash && same(job) {
                        return Some(job);
                    }
                }
            }
            if !bucket.is_full() {
                return None;
            }
            at = self.after(at);
        }
    }

    /// Files a job in a table that is not full.
    fn insert(&mut self, hash: u32, job: u32) {
        let mut at = self.bucket_of(hash);
        while self.buckets[at].is_full() {
            at = self.after(at);
        }
        self.buckets[at].push(hash, job);
        self.live += 1;
    }

    /// Whether the job was there.
    fn remove(&mut self, hash: u32, job: u32) -> bool {
        let mut at = self.bucket_of(hash);
        let place = loop {
            let bucket = &self.buckets[at];
            if let Some(place) = bucket.jobs.iter().position(|&filed| filed == job) {
                break place;
            }
            if !bucket.is_full() {
                return false;
            }
            at = self.after(at);
        };
        let was_full = self.buckets[at].is_full();
        self.buckets[at].take(place);
        self.live -= 1;
        if was_full {
            self.refill(at);
        }
        true
    }

    /// A bucket that was full has room: a job that went past it comes back, and
    /// so on for the bucket that it leaves.
    fn refill(&mut self, mut hole: usize) {
        let mut at = self.after(hole);
        while at != hole {
            let far = self.distance(hole, at);
            let was_full = self.buckets[at].is_full();
            let went_past = |(hash, _)| self.distance(self.bucket_of(hash), at) >= far;
            let place = self.buckets[at].entries().position(went_past);
            if let Some(place) = place {
                let (hash, job) = self.buckets[at].take(place);
                self.buckets[hole].push(hash, job);
                hole = at;
            }
            if !was_full {
                return;
            }
            at = self.after(at);
        }
    }

    /// Moves everything to another number of buckets.
    fn resize(&mut self, buckets: usize) {
        let old = std::mem::replace(self, Self::new(buckets, self.bits));
        for (hash, job) in old.buckets.iter().flat_map(Bucket::entries) {
            self.insert(hash, job);
        }
    }

    /// Keeps the jobs before `boundary` and gives away the others, which have a
    /// bit the more in common.
    fn split_off(&mut self, boundary: u32) -> Self {
        let bits = self.bits + 1;
        let low = self.buckets.iter().flat_map(Bucket::entries).filter(|&(hash, _)| hash < boundary).count();
        let mut parts = [low, self.live() - low].map(|jobs| Self::new(Self::buckets_for(jobs), bits));
        for (hash, job) in self.buckets.iter().flat_map(Bucket::entries) {
            parts[usize::from(hash >= boundary)].insert(hash, job);
        }
        let [low, high] = parts;
        *self = low;
        high
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
        Self { directory: vec![0], bits: 0, tables: vec![Table::new(1, 0)], length: 0 }
    }
}

impl Uniques {
    /// A job filed under `hash` that `same` accepts.
    pub(super) fn find(&self, hash: u32, same: impl FnMut(u32) -> bool) -> Option<u32> {
        let hash = spread(hash);
        self.tables[self.table_of(hash)].find(hash, same)
    }

    /// Has the processor fetch the bucket of a hash, and goes on meanwhile.
    pub(super) fn fetch(&self, hash: u32) {
        let hash = spread(hash);
        let table = &self.tables[self.table_of(hash)];
        fetch(&table.buckets[table.bucket_of(hash)]);
    }

    /// Files a job.
    pub(super) fn insert(&mut self, hash: u32, job: u32) {
        let hash = spread(hash);
        let mut at = self.table_of(hash);
        while self.tables[at].is_full() {
            let buckets = self.tables[at].buckets.len();
            if buckets >= TABLE_BUCKETS_MAX && self.may_split(at) {
                self.split(at, hash);
                at = self.table_of(hash);
            } else {
                let step = if buckets < STEPS_FROM_BUCKETS { buckets } else { STEP_BUCKETS.max(buckets / 8) };
                self.tables[at].resize(buckets + step);
            }
        }
        self.tables[at].insert(hash, job);
        self.length += 1;
    }

    /// Takes a job out that is filed under `hash`.
    pub(super) fn remove(&mut self, hash: u32, job: u32) {
        let hash = spread(hash);
        let at = self.table_of(hash);
        let table = &mut self.tables[at];
        if !table.remove(hash, job) {
            return;
        }
        if table.is_sparse() {
            table.resize(Table::buckets_for(table.live()));
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
        let full_tables = self.length / (TABLE_BUCKETS_MAX * BUCKET_JOBS);
        places <= self.directory.len() || places <= DIRECTORY_SLACK * (full_tables + 1)
    }

    /// Moves the jobs of a table whose next bit is set to a table of their own.
    /// `hash` is one that belongs into the table.
    fn split(&mut self, at: usize, hash: u32) {
        let table = &mut self.tables[at];
        let below = HASH_BITS - table.bits - 1;
        let boundary = (hash >> below | 1) << below;
        let moved = table.split_off(boundary);
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

/// Has the processor bring a bucket into its caches; where there is no way to
/// tell it, the bucket comes when it is read.
#[allow(unsafe_code, reason = "there is no safe way to say it")]
fn fetch(bucket: &Bucket) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint changes nothing that a program can see, at whatever address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(bucket).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bucket;
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
    fn tables_are_small_and_leave_little_room() {
        let mut uniques = Uniques::default();
        let places = |uniques: &Uniques| -> usize {
            uniques.tables.iter().map(|table| table.buckets.len() * BUCKET_JOBS).sum()
        };
        for job in 0..100_000 {
            uniques.insert(job, job);
            if job >= 5_000 && job % 5_000 == 0 {
                assert!(places(&uniques) < job as usize * 8 / 5, "{} places for {job}", places(&uniques));
            }
        }
        assert!(uniques.tables.iter().all(|table| table.buckets.len() <= TABLE_BUCKETS_MAX));
        for job in (0..100_000).filter(|job| job % 10 != 0) {
            uniques.remove(job, job);
        }
        assert!(places(&uniques) < 50_000, "{} places", places(&uniques));
    }

    /// Every way of adding and removing against a table of the standard library,
    /// with so few hashes that buckets overflow all the time.
    #[test]
    fn crowded_tables_lose_nothing() {
        let mut random = fastrand::Rng::with_seed(7);
        for kinds in [3, 40, 4_000, u32::MAX] {
            let mut uniques = Uniques::default();
            let mut there: Vec<(u32, u32)> = Vec::new();
            for job in 0..30_000 {
                // Grows, then shrinks, then grows again.
                let adds = random.u32(0..100) < if job / 6_000 % 2 == 0 { 80 } else { 25 };
                if adds || there.is_empty() {
                    let hash = random.u32(0..kinds);
                    uniques.fetch(hash);
                    uniques.insert(hash, job);
                    there.push((hash, job));
                } else {
                    let (hash, job) = there.swap_remove(random.usize(0..there.len()));
                    uniques.remove(hash, job);
                    assert_eq!(uniques.find(hash, |found| found == job), None);
                }
                if job % 1_000 == 999 {
                    assert_eq!(uniques.length, there.len());
                    for &(hash, job) in &there {
                        assert_eq!(uniques.find(hash, |found| found == job), Some(job));
                    }
                }
            }
        }
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
