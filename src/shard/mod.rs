//! A shard: the pure, deterministic core of the server.
//!
//! It takes one input and the time, and writes what should happen into an
//! [`Outbox`]. It never reads a clock, blocks, or looks at another shard. The
//! reactor, the unit tests and the simulator drive the very same code.
//!
//! Every shard plays two parts. As *home* it knows its connections: what a
//! worker serves, who sleeps, in which order replies are due. As *owner* it
//! knows the jobs of the functions that hash to it. The two talk in
//! [`Message`]s, also inside one shard.

pub mod counts;
pub mod ids;
pub mod message;
pub mod outbox;
pub mod settings;

use std::sync::Arc;

use crate::protocol::decode::{DecodeError, Frame};
use counts::Counts;
use ids::{ConnId, Now, ShardId};
use message::{Message, Refusal};
use outbox::Outbox;
use settings::Settings;

/// Who is at the other end of a connection, as `workers` shows it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// A number for the first column; the descriptor.
    pub fd: i32,
    /// Address without port; a word without spaces.
    pub address: Box<str>,
}

/// One shard's state.
pub struct Shard {}

impl Shard {
    /// A shard without connections or jobs. `seed` randomises its hash tables
    /// and nothing that can be seen from outside.
    #[must_use]
    pub fn new(id: ShardId, settings: Arc<Settings>, seed: u64, now: Now) -> Self {
        todo!()
    }

    /// Takes in a new connection; `None` when there is no slot left.
    /// Slots are dense and small: the lowest free one is taken.
    pub fn open(&mut self, now: Now, peer: Peer) -> Option<ConnId> {
        todo!()
    }

    /// Handles one packet or line of a connection that lives here and is not held.
    pub fn frame(&mut self, now: Now, conn: ConnId, frame: Frame<'_>, out: &mut impl Outbox) {
        todo!()
    }

    /// The bytes of a connection cannot be decoded: answers if there is an
    /// answer, and closes it.
    pub fn bad_input(&mut self, conn: ConnId, error: &DecodeError, out: &mut impl Outbox) {
        todo!()
    }

    /// The connection is gone. `conn` is not valid after this.
    pub fn close(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox) {
        todo!()
    }

    /// Handles one message from another shard.
    pub fn receive(&mut self, now: Now, from: ShardId, message: Message, out: &mut impl Outbox) {
        todo!()
    }

    /// What is written to `conn` piles up (or no longer does): the workers
    /// that produce it are paused (or go on).
    pub fn congested(&mut self, conn: ConnId, congested: bool, out: &mut impl Outbox) {
        todo!()
    }

    /// The earliest monotonic time, in microseconds, at which [`expire`](Self::expire)
    /// may have something to do.
    #[must_use]
    pub fn deadline(&self, now: Now) -> Option<u64> {
        todo!()
    }

    /// Does what is due: epoch jobs, job timeouts, patience with woken workers.
    pub fn expire(&mut self, now: Now, out: &mut impl Outbox) {
        todo!()
    }

    /// From now on, refuses submits for this reason, or no longer.
    pub fn refuse_submits(&mut self, refusal: Option<Refusal>) {
        todo!()
    }

    /// The counters.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        todo!()
    }
}
