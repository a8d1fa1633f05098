//! One priority of one function: a FIFO of jobs.
//!
//! Jobs that come or are put back go to the tail of a list that runs through
//! the jobs themselves. Jobs that must keep an earlier place (an epoch job
//! that fell due, an assignment that was never delivered) stand beside it,
//! ordered by sequence; the smaller sequence of the two heads is served first.

use std::collections::BTreeMap;

use super::job::{Job, State};
use super::slab::Slab;

/// The end of a list.
pub const END: u32 = u32::MAX;

/// Runnable jobs of one function and priority.
pub struct Lane {
    head: u32,
    tail: u32,
    listed: u32,
    placed: BTreeMap<u64, u32>,
}

impl Default for Lane {
    fn default() -> Self {
        Self { head: END, tail: END, listed: 0, placed: BTreeMap::new() }
    }
}

impl Lane {
    /// How many jobs wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.listed as usize + self.placed.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed == 0 && self.placed.is_empty()
    }

    /// Appends a job; its sequence must be greater than that of all before it.
    pub fn append(&mut self, jobs: &mut Slab<Job>, at: u32) {
        jobs[at].state = State::Queued { previous: self.tail, next: END };
        match self.tail {
            END => self.head = at,
            tail => set_next(&mut jobs[tail], at),
        }
        self.tail = at;
        self.listed += 1;
    }

    /// Inserts a job where its sequence belongs.
    pub fn place(&mut self, jobs: &mut Slab<Job>, at: u32) {
        jobs[at].state = State::Placed;
        self.placed.insert(jobs[at].sequence, at);
    }

    /// The job to be served next.
    #[must_use]
    pub fn first(&self, jobs: &Slab<Job>) -> Option<u32> {
        match (self.placed.first_key_value(), self.head) {
            (None, END) => None,
            (None, head) => Some(head),
            (Some((_, &at)), END) => Some(at),
            (Some((&sequence, &at)), head) => Some(if sequence < jobs[head].sequence { at } else { head }),
        }
    }

    /// The jobs to be served next, so many at most and nearly in their order:
    /// those that must keep an earlier place come first.
    pub fn ahead<'a>(&'a self, jobs: &'a Slab<Job>, most: usize) -> impl Iterator<Item = u32> + 'a {
        let listed =
            std::iter::successors((self.head != END).then_some(self.head), |&at| match jobs[at].state {
                State::Queued { next, .. } if next != END => Some(next),
                _ => None,
            });
        self.placed.values().copied().chain(listed).take(most)
    }

    /// Takes a job out, wherever it stands in this lane.
    pub fn remove(&mut self, jobs: &mut Slab<Job>, at: u32) {
        match jobs[at].state {
            State::Placed => {
                self.placed.remove(&jobs[at].sequence);
            }
            State::Queued { previous, next } => {
                match previous {
                    END => self.head = next,
                    previous => set_next(&mut jobs[previous], next),
                }
                match next {
                    END => self.tail = previous,
                    next => set_previous(&mut jobs[next], previous),
                }
                self.listed -= 1;
            }
            State::Scheduled { .. } | State::Running | State::DeadLetter { .. } => {
                unreachable!("only waiting jobs are in a lane")
            }
        }
    }
}

fn set_next(job: &mut Job, to: u32) {
    if let State::Queued { next, .. } = &mut job.state {
        *next = to;
    }
}

fn set_previous(job: &mut Job, to: u32) {
    if let State::Queued { previous, .. } = &mut job.state {
        *previous = to;
    }
}
