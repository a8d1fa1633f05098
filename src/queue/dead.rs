//! Dead letters: background jobs that are kept after their last attempt.
//!
//! One is listed by function and time of death. No worker gets it, no submit
//! joins it and no counter of jobs counts it, until it is revived or removed.

use super::change::Death;
use super::job::{Halves, NO_PARTIES, State};
use super::{Filing, JobView, Queue};

impl Queue {
    /// Makes a dead letter of a job that has been told to nobody or to all who
    /// waited for it; so many of its runs have come to nothing.
    pub fn bury(&mut self, at: u32, losses: u16, death: Death) {
        self.leave(at);
        let job = &mut self.jobs[at];
        if job.parties != NO_PARTIES {
            self.parties.remove(job.parties);
            job.parties = NO_PARTIES;
        }
        job.losses = losses;
        job.state = State::DeadLetter { cause: death.cause, at_s: Halves::new(death.at_s) };
        self.functions[job.function].dead += 1;
        self.dead.insert((job.function, death.at_s, job.number), at);
    }

    /// Puts a dead letter to the tail of its lane, as if it had never been run;
    /// `filing` is that of its unique, which no other job may have.
    pub fn revive(&mut self, at: u32, filing: Filing) {
        self.leave(at);
        self.sequence += 1;
        let job = &mut self.jobs[at];
        (job.losses, job.sequence, job.filing) = (0, self.sequence, filing);
        let function = &mut self.functions[job.function];
        let lane = job.priority.index();
        function.waiting[lane] += 1;
        function.lanes[lane].append(&mut self.jobs, at);
        if let Some(hash) = filing {
            self.by_unique.insert(hash.get(), at);
        }
    }

    /// How many dead letters there are.
    #[must_use]
    pub fn dead(&self) -> usize {
        self.dead.len()
    }

    /// The dead letter with this number.
    #[must_use]
    pub fn find_dead(&self, number: u64) -> Option<u32> {
        self.by_number.find(number).filter(|&at| self.jobs[at].state.death().is_some())
    }

    /// The dead letter of a function that died before its others.
    #[must_use]
    pub fn oldest_dead(&self, function: u32) -> Option<u32> {
        self.dead_letters(Some(function)).next().map(|(at, _)| at)
    }

    /// The dead letters of a function, or of all, that which died first before others.
    pub fn dead_letters(&self, function: Option<u32>) -> impl Iterator<Item = (u32, JobView<'_>)> {
        let (first, last) = function.map_or((0, u32::MAX), |function| (function, function));
        let listed = self.dead.range((first, 0, 0)..=(last, u64::MAX, u64::MAX));
        listed.map(|(_, &at)| (at, self.job(at)))
    }
}
