//! The functions of an owner in which jobs wait, to find one for a home that
//! does not mind which, and what each home has heard of them.
//!
//! Both lists may name functions in which nothing waits any more; those are
//! dropped when they are met. Neither lacks one in which something does.

use std::collections::VecDeque;

use super::ids::ShardId;
use crate::queue::function::Function;
use crate::queue::job::Priority;

/// Functions that the asking home has no interest in are passed over up to
/// this many times for a claim.
const PASSED_OVER_MAX: usize = 32;

/// By [`Priority::index`], functions that have had a job of that priority.
#[derive(Default)]
pub(super) struct Runnable {
    rings: [VecDeque<u32>; 3],
    /// In which rings a function is, a bit each.
    in_rings: Vec<u8>,
}

impl Runnable {
    /// A job of the function became runnable.
    pub(super) fn note(&mut self, at: u32, function: &Function) {
        let index = at as usize;
        if self.in_rings.len() <= index {
            self.in_rings.resize(index + 1, 0);
        }
        for priority in Priority::FROM_HIGH {
            if function.has(priority) && self.in_rings[index] & priority.bit() == 0 {
                self.in_rings[index] |= priority.bit();
                self.rings[priority.index()].push_back(at);
            }
        }
    }

    /// A function that `has` a job of this priority and that is `wanted`, each
    /// in its turn; `None` if there is none among those looked at.
    pub(super) fn next(
        &mut self,
        priority: Priority,
        has: impl Fn(u32) -> bool,
        wanted: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let ring = &mut self.rings[priority.index()];
        let mut passed_over = 0;
        for _ in 0..ring.len() {
            let at = ring.pop_front()?;
            if !has(at) {
                self.in_rings[at as usize] &= !priority.bit();
                continue;
            }
            ring.push_back(at);
            if wanted(at) {
                return Some(at);
            }
            passed_over += 1;
            if passed_over == PASSED_OVER_MAX {
                break;
            }
        }
        None
    }

    /// The function is dropped.
    pub(super) fn forget(&mut self, at: u32) {
        for ring in &mut self.rings {
            ring.retain(|&other| other != at);
        }
        if let Some(in_rings) = self.in_rings.get_mut(at as usize) {
            *in_rings = 0;
        }
    }
}

/// By home, the functions of which it was last told that something waits.
#[derive(Default)]
pub(super) struct Heard {
    homes: Vec<VecDeque<u32>>,
}

impl Heard {
    /// The list of a home, longest on it first. Whoever adds a function notes
    /// at the function that it is there.
    pub(super) fn of(&mut self, home: ShardId) -> &mut VecDeque<u32> {
        if self.homes.len() <= home.index() {
            self.homes.resize_with(home.index() + 1, VecDeque::new);
        }
        &mut self.homes[home.index()]
    }

    /// Drops what is named twice, because the home gave the function up in between.
    pub(super) fn tidy(&mut self, home: ShardId, functions: usize) {
        let list = self.of(home);
        if list.len() > 2 * functions {
            list.make_contiguous().sort_unstable();
            let mut last = None;
            list.retain(|&at| last.replace(at) != Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::body::Body;
    use crate::queue::job::{Party, Standing};
    use crate::queue::name::Name;
    use crate::queue::{NewJob, Queue};

    /// A queue with so many functions, and a job of this priority in each.
    fn filled(functions: u32, priority: Priority) -> (Queue, Runnable) {
        let (mut queue, mut runnable) = (Queue::default(), Runnable::default());
        for at in 0..functions {
            queue.functions.insert(Name::from(&at.to_le_bytes()[..]));
            queue.add(
                NewJob {
                    function: at,
                    number: u64::from(at),
                    body: Body::joined(&[b"", b""], None),
                    unique_bytes: 0,
                    reducer_bytes: 0,
                    priority,
                    standing: Standing::Background,
                    not_before_s: 0,
                    filing: None,
                },
                0,
            );
            runnable.note(at, &queue.functions[at]);
            runnable.note(at, &queue.functions[at]);
        }
        (queue, runnable)
    }

    #[test]
    fn functions_with_jobs_take_turns_and_others_are_dropped() {
        let (mut queue, mut runnable) = filled(4, Priority::Normal);
        queue.take(1, Priority::Normal, Party::new(1), u64::MAX).unwrap();
        let mut next = |priority| runnable.next(priority, |at| queue.functions[at].has(priority), |_| true);
        let found: Vec<_> = (0..5).map(|_| next(Priority::Normal)).collect();
        assert_eq!(found, [Some(0), Some(2), Some(3), Some(0), Some(2)]);
        assert_eq!((next(Priority::High), next(Priority::Low)), (None, None));
        assert_eq!(runnable.rings[Priority::Normal.index()].len(), 3);
    }

    #[test]
    fn a_wanted_function_is_reached_behind_many_unwanted_ones() {
        let count = u32::try_from(PASSED_OVER_MAX).unwrap() * 3;
        let (queue, mut runnable) = filled(count, Priority::Low);
        let has = |at: u32| queue.functions[at].has(Priority::Low);
        let found = (0..4).find_map(|_| runnable.next(Priority::Low, has, |at| at == count - 1));
        assert_eq!(found, Some(count - 1));
        runnable.forget(count - 1);
        assert_eq!((0..9).find_map(|_| runnable.next(Priority::Low, has, |at| at == count - 1)), None);
    }

    #[test]
    fn what_a_home_has_heard_is_listed_once_in_the_end() {
        let mut heard = Heard::default();
        let home = ShardId(3);
        heard.of(home).extend([5, 1, 5, 1, 5]);
        heard.tidy(home, 2);
        assert_eq!(*heard.of(home), [1, 5]);
        assert!(heard.of(ShardId(9)).is_empty());
    }
}
