//! Jobs that are read where they lie.

use std::collections::VecDeque;

use super::places::{Place, Places};
use super::record::{AddedJob, Record};
use super::scan::{damaged, failed};
use super::segment::{Segment, name, segment_of};
use super::window::Window;
use crate::queue::change::StoredJob;
use crate::storage::disk::Disk;
use crate::storage::error::StoreError;

/// Read at once when all jobs are read.
const REPLAY_BYTES: usize = 1 << 20;

/// Reads a log's jobs one by one. Those that lie behind each other are read
/// from the disk together, in two places at a time: where jobs were written
/// first, and where they were copied to.
pub(super) struct Reader<'a, D: Disk> {
    disk: &'a D,
    segments: &'a VecDeque<Segment<D::File>>,
    /// How much is read at once.
    ahead: usize,
    /// Each with its segment.
    windows: [(u32, Window); 2],
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
        let (offset, bytes) = (u64::from(place.offset), place.bytes as usize);
        let has = |(segment, window): &(u32, Window)| {
            *segment == place.segment && window.get(offset, bytes).is_some()
        };
        self.last = self.windows.iter().position(has).unwrap_or(1 - self.last);
        let (segment, window) = &mut self.windows[self.last];
        if std::mem::replace(segment, place.segment) != place.segment {
            *window = Window::default();
        }
        let segment = segment_of(self.segments, place.segment);
        let read = window.read(&segment.file, segment.end, offset, bytes, self.ahead);
        let read = read.map_err(|error| failed(self.disk, "read", &name(place.segment), error))?;
        let Some((Record::Added(job), _)) = Record::read(read) else {
            let what = "a job has changed since it was written";
            return Err(damaged(self.disk, place.segment, offset, what));
        };
        Ok(job)
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
