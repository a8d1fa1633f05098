//! A phase piece by piece.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Jobs and latencies of a piece of a phase.
pub(crate) struct Sample {
    /// From the start of the phase.
    pub(crate) start: Duration,
    pub(crate) length: Duration,
    pub(crate) jobs: u64,
    /// Nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Sample {
    fn extend(&mut self, later: &Self) {
        self.length += later.length;
        self.jobs += later.jobs;
        self.latency.add(&later.latency).expect("all histograms have the same bounds");
    }
}

/// Pieces are as long as that when a phase is long enough.
const LENGTH: Duration = Duration::from_secs(1);

/// The first length where nobody knows how long a phase is going to be: halved
/// from a second until ten of them are too short to be of use.
const LENGTH_LEAST: Duration = Duration::from_micros(1_000_000 >> 8);

/// With so many pieces shorter than [`LENGTH`], two become one.
const SHORT_PIECES: usize = 20;

/// A phase has no more pieces than that, however long it is.
const PIECES_MAX: usize = 900;

/// Phases that are put together have no more pieces than that: each takes some 400 KB.
const MERGED_MAX: usize = 300;

/// Two become one until there are no more than phases that are put together have.
pub(crate) fn bounded(mut pieces: Vec<Sample>) -> Vec<Sample> {
    while pieces.len() > MERGED_MAX {
        let mut pairs = pieces.into_iter();
        let mut merged = Vec::with_capacity(pairs.len().div_ceil(2));
        while let Some(mut first) = pairs.next() {
            pairs.next().iter().for_each(|second| first.extend(second));
            merged.push(first);
        }
        pieces = merged;
    }
    pieces
}

/// The pieces of a phase that is going on.
pub(crate) struct Samples {
    pieces: Vec<Sample>,
    length: Duration,
    /// Where the next piece starts.
    start: Duration,
}

impl Samples {
    /// For a phase of this length, if it is known.
    pub(crate) fn new(time: Option<Duration>) -> Self {
        let length = time.map_or(LENGTH_LEAST, |time| (time / 10).clamp(LENGTH_LEAST, LENGTH));
        Self { pieces: Vec::new(), length, start: Duration::ZERO }
    }

    /// When the piece that is going on ends.
    pub(crate) fn next_cut(&self) -> Duration {
        self.start + self.length
    }

    /// Ends a piece.
    pub(crate) fn cut(&mut self, at: Duration, jobs: u64, latency: Histogram<u64>) {
        let length = at.saturating_sub(self.start);
        self.pieces.push(Sample { start: self.start, length, jobs, latency });
        self.start = at;
        let short = self.length < LENGTH && self.pieces.len() >= SHORT_PIECES;
        if short || self.pieces.len() >= PIECES_MAX {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.length = if self.length < LENGTH { (self.length * 2).min(LENGTH) } else { self.length * 2 };
        let mut merged: Vec<Sample> = Vec::with_capacity(self.pieces.len());
        for piece in self.pieces.drain(..) {
            match merged.last_mut() {
                Some(before) if before.length + piece.length <= self.length * 5 / 4 => before.extend(&piece),
                _ => merged.push(piece),
            }
        }
        self.pieces = merged;
    }

    /// The last piece that has ended.
    pub(crate) fn last(&self) -> Option<&Sample> {
        self.pieces.last()
    }

    /// All pieces; a last one that is too short to say anything is part of the one before.
    pub(crate) fn finish(mut self) -> Vec<Sample> {
        if self.pieces.len() > 1 {
            let last = self.pieces.pop().expect("there are two");
            match self.pieces.last_mut() {
                Some(before) if last.length < self.length / 4 => before.extend(&last),
                _ => self.pieces.push(last),
            }
        }
        self.pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::progress::latency_histogram;

    /// Plays a phase with a job a millisecond.
    fn play(known: bool, millis: u64) -> Vec<Sample> {
        let end = Duration::from_millis(millis);
        let mut samples = Samples::new(known.then_some(end));
        let mut done = 0;
        loop {
            let at = samples.next_cut().min(end);
            let by_now = u64::try_from(at.as_millis()).unwrap();
            let mut latency = latency_histogram();
            latency.record_n(1000, by_now - done).unwrap();
            samples.cut(at, by_now - done, latency);
            done = by_now;
            if at == end {
                return samples.finish();
            }
        }
    }

    #[test]
    fn pieces_follow_each_other_and_lose_nothing() {
        for known in [true, false] {
            for millis in [30, 100, 999, 5000, 60_500] {
                let pieces = play(known, millis);
                assert!(pieces.len() >= 7, "{known} {millis}: {}", pieces.len());
                let mut start = Duration::ZERO;
                for piece in &pieces {
                    assert_eq!(piece.start, start);
                    assert_eq!(piece.latency.len(), piece.jobs);
                    start += piece.length;
                }
                assert_eq!(start, Duration::from_millis(millis));
                assert_eq!(pieces.iter().map(|piece| piece.jobs).sum::<u64>(), millis);
            }
        }
    }

    #[test]
    fn the_pieces_of_many_phases_are_bounded_and_lose_nothing() {
        let length = Duration::from_millis(1);
        let piece = |place: usize| {
            // A small one: many of full size are a lot of memory.
            let mut latency = Histogram::new_with_bounds(1, 100, 1).unwrap();
            latency.record_n(7, place as u64).unwrap();
            Sample { start: length * u32::try_from(place).unwrap(), length, jobs: place as u64, latency }
        };
        for count in [MERGED_MAX, MERGED_MAX + 1, 5 * MERGED_MAX + 3] {
            let pieces = bounded((0..count).map(piece).collect());
            assert!((MERGED_MAX / 2..=MERGED_MAX).contains(&pieces.len()));
            let jobs = (0..count as u64).sum::<u64>();
            assert_eq!(pieces.iter().map(|piece| piece.jobs).sum::<u64>(), jobs);
            assert_eq!(pieces.iter().map(|piece| piece.latency.len()).sum::<u64>(), jobs);
            let mut end = Duration::ZERO;
            for piece in pieces {
                assert_eq!(piece.start, end);
                end += piece.length;
            }
            assert_eq!(end, length * u32::try_from(count).unwrap());
        }
    }

    #[test]
    fn a_long_phase_is_cut_once_a_second_and_never_into_too_many() {
        for known in [true, false] {
            let pieces = play(known, 100_000);
            assert!(pieces.len() <= 105, "{}", pieces.len());
            assert!(pieces[50..90].iter().all(|piece| piece.length == LENGTH));
            assert!(play(known, 3_600_000).len() <= PIECES_MAX);
        }
    }
}
