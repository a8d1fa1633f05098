//! Which job has which number.
//!
//! Numbers grow, so a new one goes to the end: jobs lie in runs, ordered by
//! number, and are found by two binary searches. Beside a hash table this
//! touches the same memory again and again while jobs are added, never moves
//! what is there, and gives memory back run by run.

use std::collections::VecDeque;

/// Jobs of a run.
const RUN_JOBS: usize = 256;
/// Stands for a job that is gone.
const GONE: u32 = u32::MAX;

/// Some jobs whose numbers follow each other.
struct Run {
    /// The first of the numbers.
    first: u64,
    /// How far the numbers are from the first, in ascending order, those of
    /// jobs that are gone included.
    offsets: Vec<u32>,
    /// The jobs with these numbers, or [`GONE`].
    jobs: Vec<u32>,
    live: usize,
}

impl Run {
    fn new(first: u64) -> Self {
        let (offsets, jobs) = (Vec::with_capacity(RUN_JOBS), Vec::with_capacity(RUN_JOBS));
        Self { first, offsets, jobs, live: 0 }
    }

    /// What stands for a number in `offsets`, if it is in reach.
    fn offset(&self, number: u64) -> Option<u32> {
        u32::try_from(number.checked_sub(self.first)?).ok()
    }

    /// The last of the numbers.
    fn last(&self) -> Option<u64> {
        self.offsets.last().map(|&offset| self.first + u64::from(offset))
    }

    fn push(&mut self, offset: u32, job: u32) {
        self.offsets.push(offset);
        self.jobs.push(job);
        self.live += 1;
    }

    fn entries(&self) -> impl Iterator<Item = (u64, u32)> {
        let all = self.offsets.iter().map(|&offset| self.first + u64::from(offset));
        all.zip(self.jobs.iter().copied()).filter(|&(_, job)| job != GONE)
    }
}

/// Job numbers and the indexes of their jobs.
#[derive(Default)]
pub(super) struct Numbers {
    /// None is empty but for the last.
    runs: VecDeque<Run>,
}

impl Numbers {
    /// The job with this number.
    pub(super) fn find(&self, number: u64) -> Option<u32> {
        let (run, place) = self.locate(number)?;
        Some(self.runs[run].jobs[place]).filter(|&job| job != GONE)
    }

    /// Adds a job, whose number is greater than any before.
    pub(super) fn insert(&mut self, number: u64, job: u32) {
        let room = |last: &&mut Run| last.offsets.len() < RUN_JOBS && !last.offsets.is_empty();
        if let Some(last) = self.runs.back_mut().filter(room)
            && let Some(offset) = last.offset(number)
        {
            assert!(last.last() < Some(number), "job numbers grow");
            return last.push(offset, job);
        }
        match self.runs.back_mut() {
            // The last run may be empty; it is used for what comes.
            Some(last) if last.offsets.is_empty() => last.first = number,
            before => {
                assert!(before.is_none_or(|run| run.last() < Some(number)), "job numbers grow");
                self.runs.push_back(Run::new(number));
            }
        }
        self.runs.back_mut().expect("a run with room is there").push(0, job);
    }

    /// Forgets the job with this number.
    pub(super) fn remove(&mut self, number: u64) {
        let Some((at, place)) = self.locate(number) else { return };
        let is_last = at + 1 == self.runs.len();
        let run = &mut self.runs[at];
        if std::mem::replace(&mut run.jobs[place], GONE) == GONE {
            return;
        }
        run.live -= 1;
        match run.live {
            0 if is_last => {
                run.offsets.clear();
                run.jobs.clear();
            }
            0 => {
                self.runs.remove(at);
            }
            // Stragglers move together, so that they do not keep a run each.
            live if !is_last && live * 4 <= run.jobs.len() => self.compact(at),
            _ => {}
        }
    }

    /// Leaves out what is gone, and joins the run before if there is room.
    fn compact(&mut self, at: usize) {
        let mut whole = Run::new(self.runs[at].first);
        let before = at.checked_sub(1).filter(|&before| {
            let (before, run) = (&self.runs[before], &self.runs[at]);
            let end = run.entries().last().and_then(|(number, _)| before.offset(number));
            before.live + run.live <= RUN_JOBS && end.is_some()
        });
        if let Some(before) = before {
            whole.first = self.runs[before].first;
        }
        for (number, job) in before.into_iter().chain([at]).flat_map(|run| self.runs[run].entries()) {
            let offset = whole.offset(number).expect("the last number is in reach");
            whole.push(offset, job);
        }
        whole.offsets.shrink_to_fit();
        whole.jobs.shrink_to_fit();
        if before.is_some() {
            self.runs.remove(at);
        }
        self.runs[before.unwrap_or(at)] = whole;
    }

    fn locate(&self, number: u64) -> Option<(usize, usize)> {
        // Most jobs that are looked for are among the oldest.
        let among_oldest = self.runs.get(1).is_none_or(|second| number < second.first);
        let after = if among_oldest { 1 } else { self.runs.partition_point(|run| run.first <= number) };
        let at = after.checked_sub(1)?;
        let run = self.runs.get(at)?;
        let offset = run.offset(number)?;
        // The first one left, when those before it have gone in their order.
        let first_left = run.jobs.len() - run.live;
        if run.offsets.get(first_left) == Some(&offset) {
            return Some((at, first_left));
        }
        Some((at, run.offsets.binary_search(&offset).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: u64) -> Numbers {
        let mut numbers = Numbers::default();
        for number in 0..count {
            numbers.insert(number * 3, u32::try_from(number).unwrap());
        }
        numbers
    }

    #[test]
    fn every_number_is_found_and_none_between() {
        let numbers = filled(1000);
        for number in 0..1000 {
            assert_eq!(numbers.find(number * 3), Some(u32::try_from(number).unwrap()));
            assert_eq!(numbers.find(number * 3 + 1), None);
        }
        assert_eq!(numbers.find(u64::MAX), None);
        assert_eq!(Numbers::default().find(0), None);
    }

    #[test]
    fn jobs_that_pass_through_leave_nothing_behind() {
        let mut numbers = Numbers::default();
        for number in 0..10_000 {
            numbers.insert(number, 7);
            assert_eq!(numbers.find(number), Some(7));
            numbers.remove(number);
            assert_eq!(numbers.find(number), None);
            assert!(numbers.runs.len() <= 1);
        }
        numbers.remove(5);
    }

    #[test]
    fn numbers_far_from_each_other_are_found() {
        let far = |number: u64| number * number * (u64::from(u32::MAX) / 100);
        let mut numbers = Numbers::default();
        for number in 0..1000 {
            numbers.insert(far(number), u32::try_from(number).unwrap());
        }
        for number in (0..1000).filter(|number| number % 7 != 0) {
            numbers.remove(far(number));
        }
        for number in 0..1000 {
            let job = (number % 7 == 0).then(|| u32::try_from(number).unwrap());
            assert_eq!(numbers.find(far(number)), job);
            assert_eq!(numbers.find(far(number) + 1), None);
        }
    }

    #[test]
    fn stragglers_share_runs() {
        const EVERY: u64 = 100;
        let mut numbers = filled(100_000);
        for number in (0..100_000).filter(|number| number % EVERY != 0) {
            numbers.remove(number * 3);
        }
        let left = 100_000 / EVERY;
        for number in (0..100_000).step_by(EVERY as usize) {
            assert_eq!(numbers.find(number * 3), Some(u32::try_from(number).unwrap()));
        }
        assert!(numbers.runs.len() <= 4 * left as usize / RUN_JOBS + 2, "{} runs", numbers.runs.len());
        let bytes: usize = numbers.runs.iter().map(|run| run.offsets.capacity() * 8).sum();
        assert!(bytes <= 100_000, "{bytes} bytes for {left} jobs");
    }
}
