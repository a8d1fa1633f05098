//! When to look at a connection again.
//!
//! A watch is set when a connection begins to wait for its peer, and never
//! moved or removed: when it is due, the connection is looked at, and watched
//! anew if it got on in the meantime. So progress costs nothing, and a quiet
//! server has no timers.
//!
//! A watch names a slot, not a connection: connections that come and go by the
//! million leave no more watches than there are slots. All watches of a kind
//! are set equally far ahead, so the one that a slot has is never too late for
//! the slot's next connection.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a connection is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Watch {
    /// It takes what is written to it.
    Write,
    /// It gets on with the packet that it began.
    Packet,
}

/// The watches of one shard, at most one of a kind for each slot.
#[derive(Default)]
pub(crate) struct Watches {
    due: BinaryHeap<Reverse<(u64, Watch, usize)>>,
    // By slot: whether it has a watch of each kind.
    set: Vec<[bool; 2]>,
}

impl Watches {
    /// Looks at the slot at `due_us`, unless it is looked at earlier anyway.
    pub(crate) fn set(&mut self, due_us: u64, watch: Watch, slot: usize) {
        if self.set.len() <= slot {
            self.set.resize(slot + 1, [false; 2]);
        }
        if !std::mem::replace(&mut self.set[slot][watch as usize], true) {
            self.due.push(Reverse((due_us, watch, slot)));
        }
    }

    /// When the first watch is due.
    pub(crate) fn next_us(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due_us, ..))| *due_us)
    }

    /// Takes out a watch that is due.
    pub(crate) fn pop_due(&mut self, now_us: u64) -> Option<(Watch, usize)> {
        if self.next_us()? > now_us {
            return None;
        }
        let Reverse((_, watch, slot)) = self.due.pop()?;
        self.set[slot][watch as usize] = false;
        Some((watch, slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_come_out_when_due_and_in_order() {
        let mut watches = Watches::default();
        watches.set(30, Watch::Write, 3);
        watches.set(10, Watch::Packet, 1);
        watches.set(20, Watch::Write, 2);
        assert_eq!((watches.next_us(), watches.pop_due(9)), (Some(10), None));
        assert_eq!(watches.pop_due(25), Some((Watch::Packet, 1)));
        assert_eq!(watches.pop_due(25), Some((Watch::Write, 2)));
        assert_eq!((watches.pop_due(25), watches.next_us()), (None, Some(30)));
    }

    #[test]
    fn a_slot_has_one_watch_of_a_kind() {
        let mut watches = Watches::default();
        for due_us in 10..1000 {
            watches.set(due_us, Watch::Packet, 7);
        }
        watches.set(12, Watch::Write, 7);
        assert_eq!(watches.pop_due(1000), Some((Watch::Packet, 7)));
        watches.set(11, Watch::Packet, 7);
        assert_eq!(watches.pop_due(1000), Some((Watch::Packet, 7)));
        assert_eq!(watches.pop_due(1000), Some((Watch::Write, 7)));
        assert_eq!(watches.pop_due(1000), None);
    }
}
