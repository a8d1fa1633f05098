//! What a shard wants done, without knowing how.
//!
//! The reactor carries it out, unit tests and the simulator record it.

use super::ids::{ConnId, ShardId};
use super::message::Message;
use crate::protocol::retry::{Cause, RetryPolicy};
use crate::queue::body::Body;
use crate::queue::change::Change;

/// How soon bytes must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// At the end of this turn: a worker has nothing to do.
    Now,
    /// When nothing else is ready, or after a bounded number of turns: waiting
    /// gathers more replies into one send.
    Idle,
}

/// The end of a large body, shared and not copied.
#[derive(Clone, Copy, Debug)]
pub struct Tail<'a> {
    /// The bytes that it is part of.
    pub body: &'a Body,
    /// Where in `body` it starts; it runs to the end.
    pub start: usize,
}

impl Tail<'_> {
    /// The bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.body[self.start..]
    }
}

/// Something that an operator may want in the log.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A job was accepted (gearmand's `accepted,<func>,<unique>,<when>`, NOTICE).
    /// `last` is the reducer of a reduce job, otherwise unix seconds as text.
    Accepted {
        /// Function name.
        function: &'a [u8],
        /// Unique, possibly empty.
        unique: &'a [u8],
        /// Third field, see above.
        last: &'a [u8],
    },
    /// A job was given up after its last allowed attempt (NOTICE).
    Dropped {
        /// The job's handle.
        handle: &'a [u8],
        /// Its unique.
        unique: &'a [u8],
    },
    /// A job became a dead letter after its last allowed attempt (NOTICE).
    Died {
        /// The job's handle.
        handle: &'a [u8],
        /// The function's name.
        function: &'a [u8],
        /// What ended its last attempt.
        cause: Cause,
    },
    /// A function has more dead letters than it may: the oldest was forgotten (WARNING).
    Purged {
        /// The job's handle.
        handle: &'a [u8],
        /// The function's name.
        function: &'a [u8],
    },
    /// An operator has given a function a retry policy, or taken it away
    /// (NOTICE). It is to be kept over a restart where jobs are.
    Policy {
        /// The function's name.
        function: &'a [u8],
        /// What holds from now on.
        policy: Option<RetryPolicy>,
    },
    /// A worker did not finish a job in its function's time (WARNING).
    TimedOut {
        /// The job's handle.
        handle: &'a [u8],
        /// The function's name.
        function: &'a [u8],
    },
    /// A peer broke the protocol; the connection is closed (DEBUG).
    BadInput {
        /// Which connection.
        conn: ConnId,
        /// What was wrong, in words.
        reason: &'a str,
    },
}

/// Where a shard writes what should happen.
///
/// Calls are in order: bytes for one connection must leave in the order of
/// their `write` calls, messages to one shard must arrive in the order of
/// their `send` calls, as far as [`Message::leaves`] does not change it.
pub trait Outbox {
    /// Appends `head`, then `tail` if any, to what `conn` is to be sent.
    fn write(&mut self, conn: ConnId, urgency: Urgency, head: &[u8], tail: Option<Tail<'_>>);
    /// Hands `message` to another shard; never to the shard itself.
    fn send(&mut self, to: ShardId, message: Message);
    /// Closes `conn` once everything written so far has left. Nothing that it
    /// sends is read any more; `Shard::close` is to be called in the end.
    fn close(&mut self, conn: ConnId);
    /// Stops handing over frames of `conn`, even ones already received.
    fn hold(&mut self, conn: ConnId);
    /// Goes on handing over frames of `conn`.
    fn resume(&mut self, conn: ConnId);
    /// Hands a change of a durable job to the store. So many changes, counted
    /// from the start, are confirmed by [`Shard::stored`](super::Shard::stored).
    fn store(&mut self, change: Change);
    /// Asks the store for jobs that it has, the most urgent first; the answer
    /// comes by [`Shard::read_back`](super::Shard::read_back).
    fn read(&mut self, numbers: Vec<u64>);
    /// Tells the log.
    fn event(&mut self, event: Event<'_>);
}
