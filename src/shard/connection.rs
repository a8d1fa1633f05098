//! What a home knows of its connections.

use std::collections::BTreeSet;

use super::Peer;
use super::awaited::Awaited;
use super::gathered::Gathered;
use super::ids::{ConnId, SLOTS_MAX, ShardId};
use super::message::JobStatus;
use super::outbox::{Outbox, Tail, Urgency};
use super::replies::{Replies, Sink};
use super::worker::Worker;

/// A request whose answer comes from elsewhere, and what the answer needs.
#[derive(Debug)]
pub(super) enum Question {
    /// A submit.
    Submit,
    /// A GRAB_JOB.
    Grab,
    /// GET_STATUS of this handle, as it was spelt.
    Status { handle: Box<[u8]> },
    /// GET_STATUS_UNIQUE, asked of every owner.
    UniqueStatus { unique: Box<[u8]>, answers: Gathered<Option<JobStatus>> },
    /// An admin command.
    Text { answers: Gathered<Vec<u8>>, merge: Merge },
}

/// How one answer is made of those of several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// There is one, or all are the same.
    Same,
    /// All of them, closed with a dot.
    List,
    /// They are numbers, or one is a refusal.
    Sum,
}

/// One connection.
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// From SET_CLIENT_ID.
    pub(super) name: Option<Box<[u8]>>,
    /// Whether it wants WORK_EXCEPTION.
    pub(super) exceptions: bool,
    pub(super) replies: Replies<Question>,
    pub(super) awaited: Awaited,
    /// What it is as a worker; `None` until it says that it is one.
    pub(super) worker: Option<Box<Worker>>,
    /// It is to be closed: nothing that it sends counts any more.
    pub(super) closing: bool,
    /// The reactor was told to hold it.
    pub(super) held: bool,
    /// Clients that cannot take more of what it produces.
    pub(super) paused_by: u32,
    /// What is written to it piles up.
    pub(super) congested: bool,
    /// Workers that were paused for that.
    pub(super) paused: Vec<ConnId>,
}

impl Connection {
    fn new(peer: Peer, exceptions: bool) -> Self {
        Self {
            peer,
            name: None,
            exceptions,
            replies: Replies::default(),
            awaited: Awaited::default(),
            worker: None,
            closing: false,
            held: false,
            paused_by: 0,
            congested: false,
            paused: Vec::new(),
        }
    }

    /// Whether it is as it came: nothing would be lost if it came anew, to another shard.
    pub(super) fn is_blank(&self, exceptions: bool) -> bool {
        let Self { peer: _, name, exceptions: own, replies, awaited, worker, closing, held, .. } = self;
        let Self { paused_by, congested, paused, .. } = self;
        name.is_none()
            && *own == exceptions
            && replies.len() == 0
            && awaited.is_unused()
            && worker.is_none()
            && !closing
            && !held
            && *paused_by == 0
            && !congested
            && paused.is_empty()
    }
}

/// The connections of one home, by slot.
pub(super) struct Connections {
    shard: ShardId,
    slots: Vec<Slot>,
    free: BTreeSet<usize>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl Connections {
    pub(super) fn new(shard: ShardId) -> Self {
        Self { shard, slots: Vec::new(), free: BTreeSet::new() }
    }

    /// Takes the lowest free slot.
    pub(super) fn insert(&mut self, peer: Peer, exceptions: bool) -> Option<ConnId> {
        let slot = match self.free.pop_first() {
            Some(slot) => slot,
            None if self.slots.len() >= SLOTS_MAX => return None,
            None => {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            }
        };
        let entry = &mut self.slots[slot];
        entry.connection = Some(Box::new(Connection::new(peer, exceptions)));
        Some(ConnId::new(self.shard, slot, entry.generation))
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Box<Connection>> {
        let entry = self.slots.get_mut(conn.slot()).filter(|entry| entry.generation == conn.generation())?;
        let connection = entry.connection.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.insert(conn.slot());
        Some(connection)
    }

    /// The connection, unless it is gone.
    pub(super) fn get(&self, conn: ConnId) -> Option<&Connection> {
        debug_assert_eq!(conn.shard(), self.shard, "a connection is known only to its home");
        let entry = self.slots.get(conn.slot())?;
        entry.connection.as_deref().filter(|_| entry.generation == conn.generation())
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        debug_assert_eq!(conn.shard(), self.shard, "a connection is known only to its home");
        let entry = self.slots.get_mut(conn.slot())?;
        entry.connection.as_deref_mut().filter(|_| entry.generation == conn.generation())
    }

    pub(super) fn worker(&self, conn: ConnId) -> Option<&Worker> {
        self.get(conn)?.worker.as_deref()
    }

    pub(super) fn worker_mut(&mut self, conn: ConnId) -> Option<&mut Worker> {
        self.get_mut(conn)?.worker.as_deref_mut()
    }

    /// All connections, by slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().filter_map(|slot| slot.connection.as_deref())
    }
}

/// Writes to one connection.
pub(super) struct Writer<'a, O> {
    pub(super) conn: ConnId,
    pub(super) out: &'a mut O,
}

impl<O: Outbox> Sink for Writer<'_, O> {
    fn write(&mut self, urgency: Urgency, head: &[u8], tail: Option<Tail<'_>>) {
        self.out.write(self.conn, urgency, head, tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_and_its_former_connection_is_not_found() {
        let mut connections = Connections::new(ShardId(3));
        let peer = || Peer { fd: 1, address: "::1".into() };
        let first = connections.insert(peer(), false).unwrap();
        let second = connections.insert(peer(), false).unwrap();
        assert!(connections.remove(first).is_some() && connections.remove(first).is_none());
        let third = connections.insert(peer(), false).unwrap();
        assert_eq!((third.slot(), second.slot()), (first.slot(), 1));
        assert_ne!(third, first);
        assert!(connections.get(first).is_none() && connections.get(third).is_some());
    }
}
