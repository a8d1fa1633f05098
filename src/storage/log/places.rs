//! Which jobs a log keeps, and where their records lie.
//!
//! Numbers of jobs grow, so nearly every job goes to the end of the list of its
//! segment, which takes 16 bytes, and is found by two binary searches. A job
//! whose number is not greater than those before it (copied forward, or from
//! the log of another shard) stands beside the lists, in a table.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::queue::change::{RetryState, StoredJob};

/// Lists with fewer entries are not thinned out.
const THINNED_FROM: usize = 256;

/// Where the record of an added job lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u32,
    /// Length of the record.
    pub(super) bytes: u32,
}

impl Place {
    /// # Panics
    /// When a record lies or reaches behind 4 GiB, which no segment allows.
    pub(super) fn new(segment: u32, offset: u64, bytes: usize) -> Self {
        let offset = u32::try_from(offset).expect("segments are shorter than 4 GiB");
        let bytes = u32::try_from(bytes).expect("packets are shorter than 4 GiB");
        Self { segment, offset, bytes }
    }
}

/// A job in the list of its segment.
#[derive(Clone, Copy)]
struct Entry {
    number: u64,
    offset: u32,
    /// 0 when the job is gone.
    bytes: u32,
}

/// The jobs of one segment whose numbers grew.
struct Run {
    segment: u32,
    /// In the order of their numbers.
    entries: Vec<Entry>,
    live: usize,
}

impl Run {
    fn first(&self) -> u64 {
        self.entries.first().map_or(0, |first| first.number)
    }

    fn place(&self, entry: Entry) -> Place {
        Place { segment: self.segment, offset: entry.offset, bytes: entry.bytes }
    }

    /// Drops the entries of jobs that are gone when they are most of all.
    fn thin_out(&mut self) {
        if self.entries.len() >= THINNED_FROM && self.live * 4 <= self.entries.len() {
            self.entries.retain(|entry| entry.bytes > 0);
            self.entries.shrink_to_fit();
        }
    }
}

/// All jobs of a log.
#[derive(Default)]
pub(super) struct Places {
    /// By segment, and so by number; none is without a job.
    runs: VecDeque<Run>,
    beside: HashMap<u64, Place>,
    /// What has become of those jobs that have been altered since their records were written.
    states: HashMap<u64, RetryState>,
    /// The greatest number in a list so far.
    last: u64,
    length: usize,
}

impl Places {
    /// How many jobs there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Where a job lies.
    pub(super) fn get(&self, number: u64) -> Option<Place> {
        match self.locate(number) {
            Some((run, entry)) => Some(self.runs[run].place(self.runs[run].entries[entry])),
            None => self.beside.get(&number).copied(),
        }
    }

    /// A job lies here now; where it lay before, if it was there.
    pub(super) fn insert(&mut self, number: u64, place: Place) -> Option<Place> {
        let before = self.remove(number);
        self.length += 1;
        if number <= self.last {
            self.beside.insert(number, place);
            return before;
        }
        self.last = number;
        let entry = Entry { number, offset: place.offset, bytes: place.bytes };
        match self.runs.back_mut() {
            Some(newest) if newest.segment == place.segment => {
                newest.entries.push(entry);
                newest.live += 1;
            }
            full => {
                if let Some(full) = full {
                    full.entries.shrink_to_fit();
                }
                self.runs.push_back(Run { segment: place.segment, entries: vec![entry], live: 1 });
            }
        }
        before
    }

    /// Forgets a job; where it lay.
    pub(super) fn remove(&mut self, number: u64) -> Option<Place> {
        let removed = match self.locate(number) {
            Some((at, entry)) => {
                let run = &mut self.runs[at];
                let place = run.place(run.entries[entry]);
                run.entries[entry].bytes = 0;
                run.live -= 1;
                if run.live == 0 {
                    self.runs.remove(at);
                } else {
                    run.thin_out();
                }
                Some(place)
            }
            None => self.beside.remove(&number),
        };
        if removed.is_some() {
            self.length -= 1;
            self.states.remove(&number);
        }
        removed
    }

    /// Forgets the jobs in segments before this one.
    pub(super) fn remove_before(&mut self, segment: u32) {
        let beside =
            self.beside.iter().filter(|(_, place)| place.segment < segment).map(|(&number, _)| number);
        let older = self.runs.iter().take_while(|run| run.segment < segment);
        let listed = older.flat_map(|run| run.entries.iter().filter(|entry| entry.bytes > 0));
        let numbers: Vec<u64> = beside.chain(listed.map(|entry| entry.number)).collect();
        for number in numbers {
            self.remove(number);
        }
    }

    /// A job was altered, if it is there.
    pub(super) fn alter(&mut self, number: u64, state: RetryState) {
        if self.get(number).is_some() {
            self.states.insert(number, state);
        }
    }

    /// A job, as its record has it, with what has become of it since.
    pub(super) fn altered(&self, job: StoredJob) -> StoredJob {
        match self.states.get(&job.number) {
            Some(&state) => job.with(state),
            None => job,
        }
    }

    /// All jobs, in the order of their numbers.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (u64, Place)> {
        let mut beside: Vec<(u64, Place)> =
            self.beside.iter().map(|(&number, &place)| (number, place)).collect();
        beside.sort_unstable_by_key(|&(number, _)| number);
        let mut beside = beside.into_iter().peekable();
        let listed = self.runs.iter().flat_map(|run| {
            let live = run.entries.iter().filter(|entry| entry.bytes > 0);
            live.map(|&entry| (entry.number, run.place(entry)))
        });
        let mut listed = listed.peekable();
        std::iter::from_fn(move || match (beside.peek(), listed.peek()) {
            (Some(one), Some(other)) if one.0 < other.0 => beside.next(),
            (_, Some(_)) => listed.next(),
            (_, None) => beside.next(),
        })
    }

    /// The list that a job is in, and its place there.
    fn locate(&self, number: u64) -> Option<(usize, usize)> {
        // Most jobs that are looked for are among the oldest.
        let among_oldest = self.runs.get(1).is_none_or(|second| number < second.first());
        let after = if among_oldest { 1 } else { self.runs.partition_point(|run| run.first() <= number) };
        let run = after.checked_sub(1)?;
        let entries = &self.runs.get(run)?.entries;
        let entry = entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        (entries[entry].bytes > 0).then_some((run, entry))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::queue::body::Body;
    use crate::queue::job::Priority;
    use crate::queue::name::Name;

    #[test]
    fn every_job_is_found_where_it_was_put_last_and_listed_in_order() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut places = Places::default();
            let mut model: BTreeMap<u64, (Place, RetryState)> = BTreeMap::new();
            let recorded = RetryState { losses: 9, not_before_s: 5, death: None };
            let (mut number, mut segment) = (0, 1);
            for step in 1..2_000 {
                segment += u32::from(random.u8(..100) == 0);
                let place = Place::new(segment, step * 50, random.usize(1..50));
                match random.u8(..10) {
                    0..4 => {
                        number += random.u64(1..1_000_000_000);
                        assert_eq!(places.insert(number, place), None);
                        model.insert(number, (place, recorded));
                    }
                    4 => {
                        // Copied forward, or from elsewhere.
                        let other = pick(&model, &mut random).unwrap_or(random.u64(1..=number.max(1)));
                        let before = model.insert(other, (place, recorded)).map(|(place, _)| place);
                        assert_eq!(places.insert(other, place), before);
                        number = number.max(other);
                    }
                    5 => {
                        if let Some(lost) = pick(&model, &mut random) {
                            let state = RetryState { losses: random.u16(..3), ..RetryState::default() };
                            places.alter(lost, state);
                            model.get_mut(&lost).unwrap().1 = state;
                        }
                    }
                    6 if random.u8(..30) == 0 => {
                        places.remove_before(segment);
                        model.retain(|_, (place, _)| place.segment >= segment);
                    }
                    _ => {
                        let over = pick(&model, &mut random).unwrap_or(3);
                        assert_eq!(places.remove(over), model.remove(&over).map(|(place, _)| place));
                    }
                }
            }
            assert_eq!(places.len(), model.len());
            let listed: Vec<_> = places.in_order().collect();
            assert_eq!(
                listed,
                model.iter().map(|(&number, &(place, _))| (number, place)).collect::<Vec<_>>()
            );
            for (&number, &(place, state)) in &model {
                let job = places.altered(job(number).with(recorded));
                assert_eq!((places.get(number), job.state()), (Some(place), state));
                assert_eq!(places.get(number + 1).is_some(), model.contains_key(&(number + 1)));
            }
        }
    }

    fn job(number: u64) -> StoredJob {
        StoredJob {
            number,
            function: Name::from(&b"f"[..]),
            body: Body::copy(b"\0"),
            unique_bytes: 0,
            reducer_bytes: 0,
            priority: Priority::Normal,
            not_before_s: 0,
            losses: 0,
            death: None,
        }
    }

    fn pick(model: &BTreeMap<u64, (Place, RetryState)>, random: &mut fastrand::Rng) -> Option<u64> {
        let at = if model.is_empty() { return None } else { random.usize(..model.len()) };
        model.keys().nth(at).copied()
    }

    #[test]
    fn a_job_takes_16_bytes_and_those_that_are_gone_none() {
        assert_eq!(size_of::<Entry>(), 16);
        let mut places = Places::default();
        for number in 1..=100_000 {
            places.insert(number, Place::new(number as u32 / 1000, number, 10));
        }
        for number in (1..=100_000).filter(|number| number % 1000 != 7) {
            places.remove(number);
        }
        let bytes: usize = places.runs.iter().map(|run| run.entries.capacity() * size_of::<Entry>()).sum();
        assert_eq!(places.len(), 100);
        assert!(bytes <= 100 * THINNED_FROM * size_of::<Entry>(), "{bytes}");
    }
}
