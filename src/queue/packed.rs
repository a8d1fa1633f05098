//! Bodies of jobs that are far from their turn, packed one behind the other.
//!
//! An allocation of its own costs a body a count of its users and what the
//! allocator rounds up; in a deep queue that is much beside a small body. Here
//! it costs [`HEAD_BYTES`]. Bodies go to the end of the segment that is being
//! filled. A segment without bodies is freed, and one with few left gives them
//! to the one that is being filled, so that stragglers do not keep a segment
//! each.

use super::slab::Slab;

/// Bytes of a segment: one size class of the allocator.
const SEGMENT_BYTES: usize = 64 << 10;
/// Longer bodies are not packed: they would leave too much of a segment empty.
pub(super) const PACKED_BYTES_MAX: usize = 4 << 10;
/// In front of each body: its job and its length.
const HEAD_BYTES: usize = 8;
/// Stands for the job of a body that was taken out.
const GONE: [u8; 4] = [0xff; 4];

/// Where a body lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    segment: u32,
    offset: u32,
}

impl Place {
    /// While a body is on its way.
    pub(super) const NOWHERE: Self = Self { segment: u32::MAX, offset: 0 };
}

/// Bodies, each behind its head.
struct Segment {
    bytes: Vec<u8>,
    /// Bytes of those that were not taken out, heads included.
    live: usize,
}

impl Segment {
    fn new() -> Self {
        Self { bytes: Vec::with_capacity(SEGMENT_BYTES), live: 0 }
    }

    fn length(&self, offset: usize) -> usize {
        u32_at(&self.bytes, offset + 4) as usize
    }

    fn is_sparse(&self) -> bool {
        self.live * 4 <= self.bytes.len()
    }
}

/// Where a body has gone that was moved: its job and its new place.
type Moved<'a> = &'a mut dyn FnMut(u32, Place);

/// Packed bodies.
#[derive(Default)]
pub(super) struct Packed {
    segments: Slab<Segment>,
    filling: Option<u32>,
}

impl Packed {
    /// Copies the body of a job, whose index is at most `u32::MAX - 1`.
    pub(super) fn push(&mut self, job: u32, body: &[u8], moved: Moved<'_>) -> Place {
        let length = u32::try_from(body.len()).expect("only short bodies are packed");
        let at = self.with_room(HEAD_BYTES + body.len(), moved);
        let segment = &mut self.segments[at];
        let offset = u32::try_from(segment.bytes.len()).expect("a segment is short");
        segment.bytes.extend_from_slice(&job.to_le_bytes());
        segment.bytes.extend_from_slice(&length.to_le_bytes());
        segment.bytes.extend_from_slice(body);
        segment.live += HEAD_BYTES + body.len();
        Place { segment: at, offset }
    }

    /// The body at a place.
    pub(super) fn get(&self, place: Place) -> &[u8] {
        let segment = &self.segments[place.segment];
        let offset = place.offset as usize;
        &segment.bytes[offset + HEAD_BYTES..][..segment.length(offset)]
    }

    /// Forgets the body at a place.
    pub(super) fn remove(&mut self, place: Place, moved: Moved<'_>) {
        let segment = &mut self.segments[place.segment];
        let offset = place.offset as usize;
        segment.live -= HEAD_BYTES + segment.length(offset);
        segment.bytes[offset..offset + 4].copy_from_slice(&GONE);
        if self.filling != Some(place.segment) {
            self.thin_out(place.segment, moved);
        } else if segment.live == 0 {
            segment.bytes.clear();
        }
    }

    /// The segment that is being filled; a new one if it has no room for so much.
    fn with_room(&mut self, bytes: usize, moved: Moved<'_>) -> u32 {
        if let Some(at) = self.filling
            && self.segments[at].bytes.len() + bytes <= SEGMENT_BYTES
        {
            return at;
        }
        let new = self.segments.insert(Segment::new());
        if let Some(full) = self.filling.replace(new) {
            self.thin_out(full, moved);
        }
        new
    }

    /// Frees a segment that is not being filled, if few of its bodies are left.
    fn thin_out(&mut self, at: u32, moved: Moved<'_>) {
        if !self.segments[at].is_sparse() {
            return;
        }
        let segment = self.segments.remove(at).expect("a sparse segment is there");
        let mut offset = 0;
        while segment.live > 0 && offset < segment.bytes.len() {
            let start = offset + HEAD_BYTES;
            let end = start + segment.length(offset);
            if segment.bytes[offset..offset + 4] != GONE {
                let job = u32_at(&segment.bytes, offset);
                let place = self.push(job, &segment.bytes[start..end], moved);
                moved(job, place);
            }
            offset = end;
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes[at..at + 4].try_into().expect("four bytes were asked for");
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies of many lengths, told apart by their bytes.
    fn body(job: u32) -> Vec<u8> {
        (0..job % 300).map(|at| (at * 7 + job) as u8).collect()
    }

    struct Store {
        packed: Packed,
        places: Vec<Option<Place>>,
    }

    impl Store {
        fn filled(jobs: u32) -> Self {
            let mut store = Self { packed: Packed::default(), places: Vec::new() };
            (0..jobs).for_each(|_| store.push());
            store
        }

        fn push(&mut self) {
            let job = u32::try_from(self.places.len()).unwrap();
            let places = &mut self.places;
            let place =
                self.packed.push(job, &body(job), &mut |job, place| places[job as usize] = Some(place));
            self.places.push(Some(place));
        }

        fn remove(&mut self, job: u32) {
            let place = self.places[job as usize].take().unwrap();
            let places = &mut self.places;
            self.packed.remove(place, &mut |job, place| {
                assert!(places[job as usize].replace(place).is_some(), "only what is there is moved");
            });
        }

        fn check(&self) {
            for (job, place) in (0..).zip(&self.places) {
                if let Some(place) = place {
                    assert_eq!(self.packed.get(*place), body(job), "job {job}");
                }
            }
        }
    }

    #[test]
    fn stragglers_share_segments_and_keep_their_bytes() {
        const JOBS: u32 = 20_000;
        const EVERY: u32 = 50;
        let mut store = Store::filled(JOBS);
        store.check();
        for job in (0..JOBS).filter(|job| job % EVERY != 0) {
            store.remove(job);
        }
        store.check();
        let bytes: usize = (0..JOBS).step_by(EVERY as usize).map(|job| HEAD_BYTES + body(job).len()).sum();
        let segments = store.packed.segments.len();
        assert!(segments <= 4 * bytes / SEGMENT_BYTES + 2, "{segments} segments for {bytes} bytes");
    }

    #[test]
    fn a_segment_that_became_sparse_while_it_was_filled_is_thinned_out() {
        let mut store = Store::filled(0);
        for job in 0..20_000 {
            store.push();
            if job % 100 != 0 {
                store.remove(job);
            }
        }
        store.check();
        assert!(store.packed.segments.len() <= 3, "{} segments", store.packed.segments.len());
    }

    #[test]
    fn one_segment_is_kept_when_all_is_taken_out() {
        for backwards in [false, true] {
            let mut store = Store::filled(10_000);
            for job in 0..10_000 {
                store.remove(if backwards { 9_999 - job } else { job });
            }
            assert_eq!(store.packed.segments.len(), 1);
            assert!(store.packed.segments.iter().all(|(_, segment)| segment.live == 0));
        }
    }
}
