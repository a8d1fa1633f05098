//! What a home knows of one worker: what it serves, whether it sleeps, which
//! jobs it holds. Decides nothing (`grab.rs`, `sleep.rs`).

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::message::{HomeFunction, Run};

/// One function that a worker serves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registration {
    /// Slot of the function in the home's beliefs.
    pub(super) slot: u32,
    /// From CAN_DO_TIMEOUT, in milliseconds; 0 for none.
    pub(super) timeout_ms: u32,
    /// Under which it stands in the function's line of sleepers; 0 if it does not.
    pub(super) listing: u32,
}

/// The functions of a worker, in the order in which they are served.
///
/// A new one goes to the front, the one that was served last to the end
/// (gearmand-spec.md, sections 6 and 7.2).
#[derive(Debug, Default)]
pub(super) struct Registrations {
    order: BTreeMap<i64, Registration>,
    turns: HashMap<u32, i64>,
    first: i64,
    last: i64,
}

impl Registrations {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        self.turns.contains_key(&slot)
    }

    /// Where a function stands in the order; smaller is served first.
    pub(super) fn turn(&self, slot: u32) -> Option<i64> {
        self.turns.get(&slot).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Registration> {
        self.order.get(self.turns.get(&slot)?)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Registration> {
        self.order.get_mut(self.turns.get(&slot)?)
    }

    pub(super) fn insert(&mut self, slot: u32, timeout_ms: u32) {
        self.first -= 1;
        self.turns.insert(slot, self.first);
        self.order.insert(self.first, Registration { slot, timeout_ms, listing: 0 });
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Registration> {
        self.order.remove(&self.turns.remove(&slot)?)
    }

    /// The function was served: the others go first.
    pub(super) fn rotate(&mut self, slot: u32) {
        if self.order.len() < 2 {
            return;
        }
        let Some(turn) = self.turns.get_mut(&slot) else { return };
        let Some(registration) = self.order.remove(turn) else { return };
        self.last += 1;
        *turn = self.last;
        self.order.insert(self.last, registration);
    }

    /// In the order in which they are served.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Registration> {
        self.order.values()
    }
}

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
}

/// A job that a worker has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Slot of its function.
    pub(super) slot: u32,
    /// Runs of the job that were lost before this one.
    pub(super) losses: u16,
    /// Which of the worker's jobs it was, counting up.
    pub(super) order: u64,
}

impl Held {
    /// Which run of the job with this number it is.
    pub(super) fn run(&self, number: u64) -> Run {
        Run { number, losses: self.losses }
    }
}

/// One worker.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) functions: Registrations,
    pub(super) sleep: Sleep,
    pub(super) grab: Option<Grab>,
    /// By number.
    pub(super) held: HashMap<u64, Held>,
    pub(super) grabbed: u64,
    /// Functions in whose lines of sleepers it does not stand.
    pub(super) unlisted: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_first_then_in_turns() {
        let mut functions = Registrations::default();
        for slot in [1, 2, 3] {
            functions.insert(slot, 0);
        }
        let mut served = Vec::new();
        for _ in 0..6 {
            let next = functions.iter().next().unwrap().slot;
            served.push(next);
            functions.rotate(next);
        }
        assert_eq!(served, [3, 2, 1, 3, 2, 1]);
        functions.remove(2);
        assert_eq!(functions.iter().map(|entry| entry.slot).collect::<Vec<_>>(), [3, 1]);
        assert_eq!((functions.len(), functions.contains(2)), (2, false));
    }
}
