//! What a home knows of one worker: what it serves, whether it sleeps, which
//! jobs it holds. Decides nothing (`grab.rs`, `outlook.rs`, `sleep.rs`).

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::message::{HomeFunction, Run};
use super::outlook::Outlook;
use super::registrations::Registrations;

/// Whether a worker sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sleep {
    /// It works, or it will ask by itself.
    #[default]
    Awake,
    /// It has sent PRE_SLEEP and is to be woken.
    Asleep,
    /// It was sent NOOP and has not answered. It is not sent another.
    Woken {
        /// For a job of this function.
        function: HomeFunction,
        /// Which of the home's wakes it was.
        wake: u64,
    },
}

/// Which form of GRAB_JOB waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrabForm {
    /// GRAB_JOB
    Plain,
    /// GRAB_JOB_UNIQ
    Unique,
    /// GRAB_JOB_ALL
    All,
}

/// A GRAB that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grab {
    pub(super) form: GrabForm,
    /// Its place among the connection's replies.
    pub(super) sequence: u32,
    /// The worker was woken for this function.
    pub(super) woken_for: Option<HomeFunction>,
    /// Owners that had nothing for it.
    pub(super) misses: u8,
    /// It waits for a job to come, and no owner is asked.
    pub(super) open: bool,
    /// When a job must have come, once it has been open.
    pub(super) open_until_us: Option<u64>,
}

impl Grab {
    pub(super) const fn new(form: GrabForm, sequence: u32) -> Self {
        Self { form, sequence, woken_for: None, misses: 0, open: false, open_until_us: None }
    }
}

/// A job that a worker has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Slot of its function.
    pub(super) slot: u32,
    /// Runs of the job that were lost before this one.
    pub(super) losses: u16,
    /// Where its owner keeps the job.
    pub(super) place: u32,
    /// Which of the worker's jobs it was, counting up.
    pub(super) order: u64,
}

impl Held {
    /// Which run of the job with this number it is.
    pub(super) fn run(&self, number: u64) -> Run {
        Run { number, losses: self.losses, place: self.place }
    }
}

/// One worker.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) functions: Registrations,
    pub(super) outlook: Outlook,
    /// A function has had a time limit.
    pub(super) timed: bool,
    pub(super) sleep: Sleep,
    pub(super) grab: Option<Grab>,
    /// GRABs that came while that one was open.
    pub(super) grabs_behind: VecDeque<Grab>,
    /// By number.
    pub(super) held: HashMap<u64, Held>,
    pub(super) grabbed: u64,
    /// Functions in whose lines of sleepers it does not stand.
    pub(super) unlisted: Vec<u32>,
}

/// Room for functions that `unlisted` names twice or though they were given up.
const UNLISTED_SLACK: usize = 64;

impl Worker {
    /// It does not stand in a function's line of sleepers.
    pub(super) fn unlist(&mut self, slot: u32) {
        if self.unlisted.len() >= 2 * self.functions.len() + UNLISTED_SLACK {
            self.unlisted.sort_unstable();
            self.unlisted.dedup();
            self.unlisted.retain(|&slot| self.functions.contains(slot));
        }
        self.unlisted.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_come_and_go_are_not_remembered_for_ever() {
        let mut worker = Worker::default();
        worker.functions.insert(1, 0);
        worker.unlist(1);
        for round in 0..10_000 {
            let slot = 2 + round % 7;
            worker.functions.insert(slot, 0);
            worker.unlist(slot);
            worker.functions.remove(slot);
        }
        assert!(worker.unlisted.len() <= 2 + UNLISTED_SLACK, "{}", worker.unlisted.len());
        assert!(worker.unlisted.contains(&1));
    }
}
