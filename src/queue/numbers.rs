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
    /// In ascending order, those of jobs that are gone included.
    numbers: Vec<u64>,
    /// The jobs with these numbers, or [`GONE`].
    jobs: Vec<u32>,
    live: usize,
}

impl Run {
    fn new() -> Self {
        Self { numbers: Vec::with_capacity(RUN_JOBS), jobs: Vec::with_capacity(RUN_JOBS), live: 0 }
    }

    fn push(&mut self, number: u64, job: u32) {
        self.numbers.push(number);
        self.jobs.push(job);
        self.live += 1;
    }

    fn entries(&self) -> impl Iterator<Item = (u64, u32)> {
        let all = self.numbers.iter().copied().zip(self.jobs.iter().copied());
        all.filter(|&(_, job)| job != GONE)
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
        let full = self.runs.back().is_none_or(|last| last.numbers.len() >= RUN_JOBS);
        if full {
            self.runs.push_back(Run::new());
        }
        let last = self.runs.back_mut().expect("a run with room is there");
        assert!(last.numbers.last().is_none_or(|&before| before < number), "job numbers grow");
        last.push(number, job);
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
                run.numbers.clear();
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
        let run = &self.runs[at];
        let live: Vec<(u64, u32)> = run.entries().collect();
        let joins = at > 0 && self.runs[at - 1].live + live.len() <= RUN_JOBS;
        let mut whole: Vec<(u64, u32)> = Vec::new();
        if joins {
            whole.extend(self.runs[at - 1].entries());
            self.runs.remove(at);
        }
        whole.extend(live);
        let target = &mut self.runs[if joins { at - 1 } else { at }];
        (target.numbers, target.jobs) = whole.iter().copied().unzip();
        target.live = whole.len();
    }

    fn locate(&self, number: u64) -> Option<(usize, usize)> {
        let after =
            self.runs.partition_point(|run| run.numbers.first().is_some_and(|&first| first <= number));
        let at = after.checked_sub(1)?;
        let place = self.runs[at].numbers.binary_search(&number).ok()?;
        Some((at, place))
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
        let bytes: usize = numbers.runs.iter().map(|run| run.numbers.capacity() * 12).sum();
        assert!(bytes <= 100_000, "{bytes} bytes for {left} jobs");
    }
}
