//! Reads what a log's files hold, and judges what is not whole.
//!
//! Batches are walked in their order. Where one is not whole, the log ends, if
//! nothing shows that it went on: the write of the last batches was cut short,
//! and nobody was told that they were safe. If a later batch was written when
//! this one had been synced, or a later segment starts behind it, this one was
//! whole once and is damaged.

use std::collections::VecDeque;
use std::io;

use super::batch::{ALIGN, HEAD_BYTES, Head};
use super::places::{Place, Places};
use super::record::{AddedJob, Record};
use super::segment::{HEADER_BYTES, Header, Segment, name, numbered, segment_of_mut};
use super::window::Window;
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::error::StoreError;

/// Read at once.
const PIECE_BYTES: usize = 1 << 20;

/// What a log's files hold.
pub(super) struct Scan<F> {
    /// Those that are needed, the oldest first.
    pub(super) segments: VecDeque<Segment<F>>,
    /// Files that are not needed: made ahead, or reclaimed and still there.
    pub(super) useless: Vec<String>,
    /// Jobs that are not over.
    pub(super) places: Places,
    /// The number of the batch that comes next.
    pub(super) next_batch: u64,
    /// The highest number of a job in the log; 0 when there is none.
    pub(super) number_max: u64,
    /// Whole batches.
    pub(super) batches: u64,
    /// Bytes behind the end that belong to writes which were cut short.
    pub(super) dropped_bytes: u64,
    /// Everything that is damaged.
    pub(super) problems: Vec<StoreError>,
}

struct Scanner<'a, D: Disk> {
    disk: &'a D,
    scan: Scan<D::File>,
    /// Segments before this one have been reclaimed.
    oldest: u32,
    /// Problems, with the segment that has them.
    problems: Vec<(u32, StoreError)>,
}

/// Reads all files of the log in `disk`; `read` hears of every so many bytes.
///
/// # Errors
/// When the files cannot be read. Damage is no error here: it is listed.
pub(super) fn scan<D: Disk>(disk: &D, read: &mut dyn FnMut(u64)) -> Result<Scan<D::File>, StoreError> {
    let listed = disk.list().map_err(|error| failed(disk, "list", "", error))?;
    let mut numbers: Vec<u32> = listed.iter().filter_map(|name| numbered(name)).collect();
    numbers.sort_unstable();
    let scan = Scan {
        segments: VecDeque::new(),
        useless: Vec::new(),
        places: Places::default(),
        next_batch: 1,
        number_max: 0,
        batches: 0,
        dropped_bytes: 0,
        problems: Vec::new(),
    };
    let mut scanner = Scanner { disk, scan, oldest: 1, problems: Vec::new() };
    for (at, &number) in numbers.iter().enumerate() {
        read(scanner.segment(number, at + 1 == numbers.len())?);
    }
    Ok(scanner.finish())
}

pub(super) fn failed<D: Disk>(disk: &D, doing: &'static str, name: &str, error: io::Error) -> StoreError {
    StoreError::io(doing, disk.path().join(name))(error)
}

pub(super) fn damaged<D: Disk>(disk: &D, segment: u32, offset: u64, what: &'static str) -> StoreError {
    StoreError::Damaged { file: disk.path().join(name(segment)), offset, what }
}

/// A file that is walked from its start to its end.
struct Pieces<'a, F> {
    file: &'a F,
    length: u64,
    window: Window,
}

impl<F: DiskFile> Pieces<'_, F> {
    /// So many bytes of it, fewer at its end.
    fn get(&mut self, from: u64, count: usize) -> io::Result<&[u8]> {
        self.window.read(self.file, self.length, from, count, PIECE_BYTES)
    }

    /// Bytes from `from` to the last one that is not zero.
    fn written_behind(&mut self, from: u64) -> io::Result<u64> {
        let mut written = 0;
        for at in (from..self.length).step_by(PIECE_BYTES) {
            let last = self.get(at, PIECE_BYTES)?.iter().rposition(|&byte| byte != 0);
            written = last.map_or(written, |last| at - from + last as u64 + 1);
        }
        Ok(written)
    }
}

impl<D: Disk> Scanner<'_, D> {
    /// Reads one file; how many bytes it has.
    fn segment(&mut self, number: u32, newest: bool) -> Result<u64, StoreError> {
        let told = |error| failed(self.disk, "read", &name(number), error);
        let file = self.disk.open(&name(number)).map_err(told)?;
        let length = file.length().map_err(told)?;
        let read = self.opened(number, newest, file, length);
        read.map_err(|error| failed(self.disk, "read", &name(number), error))?;
        Ok(length)
    }

    fn opened(&mut self, number: u32, newest: bool, file: D::File, length: u64) -> io::Result<()> {
        let mut pieces = Pieces { file: &file, length, window: Window::default() };
        let header = Header::read(pieces.get(0, HEADER_BYTES as usize)?);
        let Some(header) = header.filter(|header| header.number == number) else {
            // No batch is written before the header is safe.
            if newest && pieces.written_behind(HEADER_BYTES)? == 0 {
                self.scan.useless.push(name(number));
            } else {
                self.damaged(number, 0, "its header cannot be read");
            }
            return Ok(());
        };
        if let Some(before) = self.scan.segments.back() {
            let before = (before.header.number, before.end);
            if before.0 + 1 != number {
                self.damaged(number - 1, 0, "the file is missing");
            } else if header.first_batch != self.scan.next_batch {
                self.damaged(before.0, before.1, "a batch that was safe cannot be read");
            }
        }
        self.scan.next_batch = header.first_batch;
        let end = self.batches(&header, &mut pieces)?;
        if newest {
            self.scan.dropped_bytes = pieces.written_behind(end)?;
        }
        self.scan.segments.push_back(Segment::found(header, file, length, end));
        Ok(())
    }

    /// Walks the batches of a segment; where they end.
    fn batches(&mut self, header: &Header, pieces: &mut Pieces<'_, D::File>) -> io::Result<u64> {
        let mut at = HEADER_BYTES;
        loop {
            let head = Head::read(pieces.get(at, HEAD_BYTES)?, header.nonce);
            if let Some(head) = head.filter(|head| head.number == self.scan.next_batch)
                && let Some(records) = head.records(pieces.get(at, head.batch_bytes())?, header.nonce)
                && self.records(header.number, at + HEAD_BYTES as u64, records)
            {
                self.scan.batches += 1;
                self.scan.next_batch += 1;
                at += head.batch_bytes() as u64;
                continue;
            }
            // What was safe is not whole? Then what comes behind it is still good.
            let Some((later, head)) = self.later(header, pieces, at)? else { return Ok(at) };
            self.damaged(header.number, at, "a batch that was safe is not whole");
            self.scan.next_batch = head.number;
            at = later;
        }
    }

    /// The next batch behind `from` that was written when the one at `from` was safe.
    fn later(
        &self,
        header: &Header,
        pieces: &mut Pieces<'_, D::File>,
        from: u64,
    ) -> io::Result<Option<(u64, Head)>> {
        let missing = self.scan.next_batch;
        for at in (from + ALIGN as u64..pieces.length).step_by(ALIGN) {
            let head = Head::read(pieces.get(at, HEAD_BYTES)?, header.nonce);
            if let Some(head) = head.filter(|head| head.number > missing && head.synced >= missing) {
                return Ok(Some((at, head)));
            }
        }
        Ok(None)
    }

    /// Takes in the records of a batch; whether all can be read.
    fn records(&mut self, segment: u32, start: u64, records: &[u8]) -> bool {
        let mut at = 0;
        while at < records.len() {
            let Some((record, bytes)) = Record::read(&records[at..]) else { return false };
            self.record(segment, start + at as u64, bytes, &record);
            at += bytes;
        }
        true
    }

    fn record(&mut self, segment: u32, offset: u64, bytes: usize, record: &Record<'_>) {
        let places = &mut self.scan.places;
        match *record {
            Record::Added(AddedJob { number, .. }) => {
                self.scan.number_max = self.scan.number_max.max(number);
                places.insert(number, Place::new(segment, offset, bytes));
            }
            Record::Altered { number, state } => places.alter(number, state),
            Record::Removed { number } => {
                places.remove(number);
            }
            Record::Reclaimed { oldest } => self.oldest = u32::try_from(oldest).unwrap_or(u32::MAX),
        }
    }

    fn damaged(&mut self, segment: u32, offset: u64, what: &'static str) {
        self.problems.push((segment, damaged(self.disk, segment, offset, what)));
    }

    /// Leaves out what has been reclaimed: a file may come back after a loss of power.
    fn finish(mut self) -> Scan<D::File> {
        let oldest = self.oldest;
        match self.scan.segments.iter().map(|found| found.header.number).find(|&number| number >= oldest) {
            Some(first) if first > oldest => self.damaged(first - 1, 0, "the file is missing"),
            _ => {}
        }
        let mut scan = self.scan;
        scan.places.remove_before(oldest);
        let reclaimed = scan.segments.iter().take_while(|found| found.header.number < oldest).count();
        scan.useless.extend(scan.segments.drain(..reclaimed).map(|found| name(found.header.number)));
        let problems = self.problems.into_iter().filter(|&(segment, _)| segment >= oldest);
        scan.problems = problems.map(|(_, problem)| problem).collect();
        for (_, place) in scan.places.in_order() {
            segment_of_mut(&mut scan.segments, place.segment).count(place);
        }
        scan
    }
}
