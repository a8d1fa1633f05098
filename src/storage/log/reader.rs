//! Jobs that are read where they lie.

use std::collections::VecDeque;

use super::places::{Place, Places};
use super::record::{AddedJob, Record};
use super::scan::{damaged, failed};
use super::segment::{Segment, name, segment_of};
use crate::queue::change::StoredJob;
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::error::StoreError;

/// Read at once when all jobs are read.
const REPLAY_BYTES: usize = 1 << 20;

/// Bytes of one segment that were read at once.
#[derive(Default)]
struct Window {
    segment: u32,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn get(&self, place: Place) -> Option<&[u8]> {
        let from = usize::try_from(u64::from(place.offset).checked_sub(self.start)?).ok()?;
        let bytes = self.bytes.get(from..)?.get(..place.bytes as usize)?;
        (self.segment == place.segment).then_some(bytes)
    }
}

/// Reads a log's jobs one by one. Those that lie behind each other are read
/// from the disk together, in two places at a time: where jobs were written
/// first, and where they were copied to.
pub(super) struct Reader<'a, D: Disk> {
    disk: &'a D,
    segments: &'a VecDeque<Segment<D::File>>,
    /// How much is read at once.
    ahead: usize,
    windows: [Window; 2],
    /// The one that was used last.
    last: usize,
}

impl<'a, D: Disk> Reader<'a, D> {
    pub(super) fn new(disk: &'a D, segments: &'a VecDeque<Segment<D::File>>, ahead: usize) -> Self {
        Self { disk, segments, ahead, windows: Default::default(), last: 0 }
    }

    /// The job whose record lies here.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    pub(super) fn job(&mut self, place: Place) -> Result<AddedJob<'_>, StoreError> {
        match (0..self.windows.len()).find(|&at| self.windows[at].get(place).is_some()) {
            Some(at) => self.last = at,
            None => {
                self.last = 1 - self.last;
                self.fill(place)?;
            }
        }
        let record = self.windows[self.last].get(place).and_then(Record::read);
        let Some((Record::Added(job), _)) = record else {
            let what = "a job has changed since it was written";
            return Err(damaged(self.disk, place.segment, place.offset.into(), what));
        };
        Ok(job)
    }

    fn fill(&mut self, place: Place) -> Result<(), StoreError> {
        let segment = segment_of(self.segments, place.segment);
        let (start, end) = (u64::from(place.offset), segment.end);
        let left = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let window = &mut self.windows[self.last];
        window.bytes.resize(self.ahead.max(place.bytes as usize).min(left), 0);
        (window.segment, window.start) = (place.segment, start);
        let read = segment.file.read(start, &mut window.bytes);
        read.map_err(|error| {
            window.bytes.clear();
            failed(self.disk, "read", &name(place.segment), error)
        })
    }
}

/// Gives the jobs at these places to `each`, in the order of their numbers.
pub(super) fn replay<D: Disk, E: From<StoreError>>(
    disk: &D,
    segments: &VecDeque<Segment<D::File>>,
    places: &Places,
    mut each: impl FnMut(StoredJob) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader::new(disk, segments, REPLAY_BYTES);
    for (_, place) in places.in_order() {
        let job = reader.job(place)?.stored();
        each(places.altered(job))?;
    }
    Ok(())
}
