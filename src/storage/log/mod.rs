//! A write-ahead log: the jobs of one shard in segments on a disk.
//!
//! Changes are appended in batches; a batch is one write and, when it must be
//! safe, one sync. A segment is made whole with zeros before its first batch
//! and is left when the next batch does not fit. The oldest segment goes when
//! none of its jobs is left; jobs that keep it are copied forward when more
//! than half of the log is of no use.
//!
//! Kept at all times: batches are numbered without a gap over all segments;
//! a segment that was left ends with its last batch; a segment is removed only
//! after a record that says so is safe; every open starts a segment of its own,
//! so nothing is ever written over what an earlier process has written.

mod batch;
mod inspection;
mod places;
mod reader;
mod record;
mod scan;
mod segment;
mod window;

use std::collections::VecDeque;
use std::io;

use super::Store;
use super::disk::{Disk, DiskFile};
use super::error::StoreError;
use crate::queue::change::{Change, RetryState, StoredJob};
use batch::{ALIGN, HEAD_BYTES, Head};
pub use inspection::Inspection;
use places::{Place, Places};
use reader::Reader;
use record::Record;
use scan::{Scan, damaged, failed, scan};
use segment::{HEADER_BYTES, Header, Segment, name, segment_of_mut};

/// Usual length of a segment.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// On a small disk a segment is the first of these parts of its usual length that there is space for.
const SEGMENT_PARTS: [u64; 3] = [1, 8, 64];
/// Of a full disk's last segment, so much is left for the ends of jobs: they
/// are what gives space back.
const RESERVED_PART: u64 = 8;
/// Length of a segment for the ends of jobs on a disk that has no space for a usual one.
const EMERGENCY_BYTES: u64 = 64 << 10;
/// Longest batch. With its header, its segment is shorter than 4 GiB.
const BATCH_BYTES_MAX: usize = 0xffff_0000;
/// Copied forward at most before the next batch is written.
const COPIED_BYTES: usize = 1 << 20;
/// Read at once when jobs are read that are about to run.
const READ_BYTES: usize = 128 << 10;

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// The shard whose jobs it keeps.
    pub log: u32,
    /// How many shards the server has.
    pub shards: u32,
    /// Length of a segment; longer ones are made for longer jobs.
    pub segment_bytes: u64,
}

/// What was found when a log was opened.
#[derive(Clone, Copy, Debug)]
pub struct Recovered {
    /// The highest number that a job in the log has; 0 when there is none.
    pub number_max: u64,
    /// Bytes of a last write that was cut short; nobody was told that it is safe.
    pub dropped_bytes: u64,
}

/// A log that can be appended to.
pub struct Log<D: Disk> {
    disk: D,
    options: LogOptions,
    /// The oldest first. Only the newest is written to, and only if it is ours.
    segments: VecDeque<Segment<D::File>>,
    /// Whether the newest segment was begun by this process.
    begun: bool,
    /// Made ahead: the file of the next segment and its length.
    ahead: Option<(D::File, u64)>,
    /// There was no space for a file ahead.
    disk_full: bool,
    places: Places,
    next_batch: u64,
    /// The last batch that is known to be synced.
    synced: u64,
    /// Where in the oldest segment copying its jobs forward has got.
    copied_to: u64,
    buffer: Vec<u8>,
    poisoned: bool,
}

/// What a record changes in what is known of the jobs.
#[derive(Clone, Copy)]
enum Note {
    Added { number: u64, offset: usize, bytes: usize },
    Altered { number: u64, state: RetryState },
    Removed { number: u64 },
}

impl<D: Disk> Log<D> {
    /// Opens the log in `disk`, which may be empty, and reads what it holds.
    ///
    /// # Errors
    /// When files cannot be read or removed, or are damaged.
    pub fn open(disk: D, options: LogOptions) -> Result<(Self, Recovered), StoreError> {
        let Scan { mut segments, useless, places, next_batch, number_max, dropped_bytes, problems, .. } =
            scan(&disk, &mut |_| ())?;
        if let Some(problem) = problems.into_iter().next() {
            return Err(problem);
        }
        if let Some(newest) = segments.back() {
            // A process that was killed may have left writes that only the system's memory has.
            let name = name(newest.header.number);
            newest.file.sync().map_err(|error| failed(&disk, "sync", &name, error))?;
        }
        // Not before what makes them useless is safe.
        for name in &useless {
            disk.remove(name).map_err(|error| failed(&disk, "remove", name, error))?;
        }
        for segment in &mut segments {
            let left = if segment.room() > 0 { segment.leave() } else { Ok(()) };
            left.map_err(|error| failed(&disk, "shorten", &name(segment.header.number), error))?;
        }
        let log = Self {
            disk,
            options,
            segments,
            begun: false,
            ahead: None,
            disk_full: false,
            places,
            next_batch,
            synced: next_batch - 1,
            copied_to: HEADER_BYTES,
            buffer: Vec::new(),
            poisoned: false,
        };
        Ok((log, Recovered { number_max, dropped_bytes }))
    }

    /// How many jobs it keeps.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.places.len()
    }

    /// The numbers of the jobs that it keeps, in their order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.places.in_order().map(|(number, _)| number)
    }

    /// Whether it keeps this job.
    #[must_use]
    pub fn keeps(&self, number: u64) -> bool {
        self.places.get(number).is_some()
    }

    /// Whether all that is here was written with these options: then no job
    /// belongs to another log.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let own = (self.options.log, self.options.shards);
        self.segments.iter().all(|segment| (segment.header.log, segment.header.shards) == own)
    }

    /// Gives every job to `each`, in the order of their numbers.
    ///
    /// # Errors
    /// Those of `each`, and when a job cannot be read.
    pub fn each_job<E: From<StoreError>>(
        &self,
        each: impl FnMut(StoredJob) -> Result<(), E>,
    ) -> Result<(), E> {
        reader::replay(&self.disk, &self.segments, &self.places, each)
    }

    /// Writes one batch. Nothing has happened when there is no space for it.
    fn append<'a>(&mut self, records: impl Iterator<Item = Record<'a>>) -> Result<(), StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.resize(HEAD_BYTES, 0);
        let mut notes = Vec::new();
        for record in records {
            let offset = buffer.len();
            record.write(&mut buffer);
            let bytes = buffer.len() - offset;
            match record {
                Record::Added(job) => {
                    notes.push(Note::Added { number: job.number, offset, bytes });
                }
                Record::Altered { number, state } => notes.push(Note::Altered { number, state }),
                Record::Removed { number } => notes.push(Note::Removed { number }),
                Record::Reclaimed { .. } => {}
            }
        }
        let adds = notes.iter().any(|note| matches!(note, Note::Added { .. }));
        let appended = if buffer.len() > BATCH_BYTES_MAX {
            Err(StoreError::Full)
        } else {
            self.append_batch(&mut buffer, adds)
        };
        buffer.shrink_to(4 * COPIED_BYTES);
        self.buffer = buffer;
        let start = appended?;
        notes.into_iter().for_each(|note| self.take_note(start, note));
        Ok(())
    }

    /// Writes the batch in `buffer`, whose head is still to be filled in; where it starts.
    fn append_batch(&mut self, buffer: &mut Vec<u8>, adds: bool) -> Result<u64, StoreError> {
        let bytes = buffer.len().next_multiple_of(ALIGN) as u64;
        if !self.fits(bytes, adds) {
            self.begin_segment(bytes, adds)?;
        }
        let segment = self.segments.back_mut().expect("one was begun just above");
        batch::finish(buffer, self.next_batch, self.synced, segment.header.nonce);
        let start = segment.end;
        if let Err(error) = segment.file.write(start, buffer) {
            self.poisoned = true;
            let name = name(segment.header.number);
            return Err(failed(&self.disk, "write", &name, error));
        }
        segment.end += bytes;
        self.next_batch += 1;
        Ok(start)
    }

    /// Whether a batch of so many bytes goes into the newest segment.
    fn fits(&self, bytes: u64, adds: bool) -> bool {
        let Some(newest) = self.segments.back().filter(|_| self.begun) else { return false };
        let reserved = if adds && self.disk_full { newest.bytes / RESERVED_PART } else { 0 };
        bytes + reserved <= newest.room()
    }

    /// Leaves the newest segment for another with room for a batch of so many bytes.
    fn begin_segment(&mut self, batch_bytes: u64, adds: bool) -> Result<(), StoreError> {
        let needed = HEADER_BYTES + batch_bytes;
        if self.ahead.as_ref().is_none_or(|&(_, bytes)| bytes < needed) {
            self.make_usual_ahead(needed)?;
            if self.disk_full && !adds {
                self.make_ahead(needed + EMERGENCY_BYTES)?;
                self.disk_full = true;
            }
        }
        if self.ahead.is_none() {
            return Err(StoreError::Full);
        }
        // Whoever finds the next segment may rely on all that came before it.
        self.sync_newest()?;
        if let Some(newest) = self.segments.back_mut()
            && let Err(error) = newest.leave()
        {
            let number = newest.header.number;
            return Err(self.poison("shorten", number, error));
        }
        let (file, bytes) = self.ahead.take().expect("seen just above");
        let header = Header {
            log: self.options.log,
            shards: self.options.shards,
            number: self.next_segment(),
            first_batch: self.next_batch,
            nonce: self.disk.nonce(),
        };
        let begun = Segment::begin(header, file, bytes);
        let segment = begun.map_err(|error| self.poison("begin", header.number, error))?;
        self.segments.push_back(segment);
        self.begun = true;
        Ok(())
    }

    fn next_segment(&self) -> u32 {
        self.segments.back().map_or(1, |newest| newest.header.number + 1)
    }

    /// Makes the file of the next segment, if there is space for it.
    fn make_ahead(&mut self, bytes: u64) -> Result<(), StoreError> {
        let number = self.next_segment();
        let name = name(number);
        if self.ahead.take().is_some() {
            self.disk.remove(&name).map_err(|error| self.poison("remove", number, error))?;
        }
        match self.disk.create(&name, bytes) {
            Ok(file) => {
                self.disk.sync().map_err(|error| self.poison("sync", number, error))?;
                self.ahead = Some((file, bytes));
                self.disk_full = false;
                Ok(())
            }
            Err(error) if is_full(&error) => {
                self.disk_full = true;
                Ok(())
            }
            Err(error) => Err(self.poison("make", number, error)),
        }
    }

    /// The same, so long as is usual; where there is not enough space for that, shorter.
    fn make_usual_ahead(&mut self, needed: u64) -> Result<(), StoreError> {
        for part in SEGMENT_PARTS {
            let bytes = self.options.segment_bytes / part;
            if part == 1 || bytes >= needed.max(EMERGENCY_BYTES) {
                self.make_ahead(bytes.max(needed))?;
            }
            if !self.disk_full {
                break;
            }
        }
        Ok(())
    }

    /// The error of a call after which nothing is known to be safe any more.
    fn poison(&mut self, doing: &'static str, segment: u32, error: io::Error) -> StoreError {
        self.poisoned = true;
        failed(&self.disk, doing, &name(segment), error)
    }

    fn sync_newest(&mut self) -> Result<(), StoreError> {
        if self.synced + 1 < self.next_batch
            && let Some(newest) = self.segments.back()
        {
            let number = newest.header.number;
            newest.file.sync().map_err(|error| self.poison("sync", number, error))?;
            self.synced = self.next_batch - 1;
        }
        Ok(())
    }

    /// Takes in what a record of the batch at `start` in the newest segment says.
    fn take_note(&mut self, start: u64, note: Note) {
        match note {
            Note::Added { number, offset, bytes } => {
                self.forget(number);
                let newest = self.segments.back_mut().expect("it was written to");
                let place = Place::new(newest.header.number, start + offset as u64, bytes);
                newest.count(place);
                self.places.insert(number, place);
            }
            Note::Altered { number, state } => self.places.alter(number, state),
            Note::Removed { number } => self.forget(number),
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some(place) = self.places.remove(number) {
            segment_of_mut(&mut self.segments, place.segment).discount(place);
        }
    }

    /// Removes the oldest segments that have no job left, the newest excepted.
    fn reclaim(&mut self) -> Result<(), StoreError> {
        let newest = self.segments.len().saturating_sub(1);
        let count = self.segments.iter().take(newest).take_while(|segment| segment.jobs == 0).count();
        if count == 0 || !self.begun {
            return Ok(());
        }
        let oldest = self.segments[count].header.number;
        match self.append([Record::Reclaimed { oldest: oldest.into() }].into_iter()) {
            // It is tried again when there is space.
            Err(StoreError::Full) => return Ok(()),
            appended => appended?,
        }
        self.sync_newest()?;
        for segment in self.segments.drain(..count) {
            let name = name(segment.header.number);
            drop(segment.file);
            // One that stays is found to be useless when the log is opened.
            self.disk.remove(&name).map_err(|error| failed(&self.disk, "remove", &name, error))?;
        }
        self.copied_to = HEADER_BYTES;
        Ok(())
    }

    /// Whether so much of the log is of no use that the oldest jobs are to be copied forward.
    fn is_sparse(&self) -> bool {
        let bytes: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let used: u64 = self.segments.iter().map(|segment| segment.job_bytes).sum();
        self.segments.len() > 2 && bytes > 2 * used + 2 * self.options.segment_bytes
    }

    /// Copies some jobs of the oldest segment to the newest.
    fn copy_forward(&mut self) -> Result<(), StoreError> {
        let oldest = self.segments.front().expect("a sparse log has several");
        let (number, nonce) = (oldest.header.number, oldest.header.nonce);
        let mut jobs = Vec::new();
        let mut at = self.copied_to;
        let mut bytes = Vec::new();
        let mut copied = 0;
        while at < oldest.end && copied < COPIED_BYTES {
            let mut head = [0; HEAD_BYTES];
            let file = &oldest.file;
            let read = |offset, bytes: &mut [u8]| {
                file.read(offset, bytes).map_err(|error| failed(&self.disk, "read", &name(number), error))
            };
            read(at, &mut head)?;
            let damaged = || damaged(&self.disk, number, at, "a batch has changed since it was written");
            let head = Head::read(&head, nonce).ok_or_else(damaged)?;
            bytes.resize(head.batch_bytes(), 0);
            read(at, &mut bytes)?;
            let mut records = head.records(&bytes, nonce).ok_or_else(damaged)?;
            let mut offset = at + HEAD_BYTES as u64;
            while !records.is_empty() {
                let (record, length) = Record::read(records).ok_or_else(damaged)?;
                if let Record::Added(job) = record
                    && let Some(place) = self.places.get(job.number)
                    && (place.segment, u64::from(place.offset)) == (number, offset)
                {
                    copied += length;
                    jobs.push(self.places.altered(job.stored()));
                }
                records = &records[length..];
                offset += length as u64;
            }
            at += head.batch_bytes() as u64;
        }
        if jobs.is_empty() {
            self.copied_to = at;
            return Ok(());
        }
        match self.append(jobs.iter().map(|job| Record::Added(job.into()))) {
            Err(StoreError::Full) => return Ok(()),
            appended => appended?,
        }
        self.copied_to = at;
        Ok(())
    }
}

impl<D: Disk> Store for Log<D> {
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.append(changes.iter().map(Record::from))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        self.sync_newest()
    }

    fn replay(&mut self, each: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        self.each_job(|job| {
            each(job);
            Ok(())
        })
    }

    fn read(&mut self, numbers: &[u64], bytes_max: usize) -> Result<Vec<StoredJob>, StoreError> {
        let mut reader = Reader::new(&self.disk, &self.segments, READ_BYTES);
        let mut jobs = Vec::with_capacity(numbers.len());
        let mut bytes = 0;
        for &number in numbers {
            let place = self.places.get(number).ok_or(StoreError::Unknown { number })?;
            bytes += place.bytes as usize;
            if bytes > bytes_max && !jobs.is_empty() {
                break;
            }
            jobs.push(self.places.altered(reader.job(place)?.stored()));
        }
        Ok(jobs)
    }

    fn has_room(&self) -> bool {
        !self.disk_full
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        self.reclaim()?;
        let newest = self.segments.back().filter(|_| self.begun);
        let half_full = newest.is_none_or(|newest| newest.end * 2 > newest.bytes);
        if self.ahead.is_none() && (half_full || self.disk_full) {
            self.make_usual_ahead(0)?;
        }
        if !self.is_sparse() || self.disk_full {
            return Ok(false);
        }
        self.copy_forward()?;
        self.reclaim()?;
        Ok(self.is_sparse())
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
