//! When to look at a connection again.
//!
//! A watch is set when a connection begins to wait for its peer, and never
//! moved or removed: when it is due, the connection is looked at, and watched
//! anew if it got on in the meantime. So progress costs nothing, and a quiet
//! server has no timers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::shard::ids::ConnId;

/// What a connection is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Watch {
    /// It takes what is written to it.
    Write,
    /// It gets on with the packet that it began.
    Packet,
}

/// The watches of one shard, at most one of a kind for each connection.
#[derive(Default)]
pub(crate) struct Watches(BinaryHeap<Reverse<(u64, Watch, ConnId)>>);

impl Watches {
    /// Looks at `conn` at `due_us`.
    pub(crate) fn set(&mut self, due_us: u64, watch: Watch, conn: ConnId) {
        self.0.push(Reverse((due_us, watch, conn)));
    }

    /// When the first watch is due.
    pub(crate) fn next_us(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((due_us, ..))| *due_us)
    }

    /// Takes out a watch that is due.
    pub(crate) fn pop_due(&mut self, now_us: u64) -> Option<(Watch, ConnId)> {
        if self.next_us()? > now_us {
            return None;
        }
        self.0.pop().map(|Reverse((_, watch, conn))| (watch, conn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::ids::ShardId;

    #[test]
    fn watches_come_out_when_due_and_in_order() {
        let conn = |slot| ConnId::new(ShardId(0), slot, 1);
        let mut watches = Watches::default();
        watches.set(30, Watch::Write, conn(3));
        watches.set(10, Watch::Packet, conn(1));
        watches.set(20, Watch::Write, conn(2));
        assert_eq!((watches.next_us(), watches.pop_due(9)), (Some(10), None));
        assert_eq!(watches.pop_due(25), Some((Watch::Packet, conn(1))));
        assert_eq!(watches.pop_due(25), Some((Watch::Write, conn(2))));
        assert_eq!((watches.pop_due(25), watches.next_us()), (None, Some(30)));
    }
}
