//! What the two parts of a shard share while they handle one input.

use std::collections::VecDeque;

use super::counts::Counts;
use super::ids::{Now, ShardId};
use super::message::Message;
use super::outbox::Outbox;
use super::settings::Settings;
use crate::queue::body::Body;

/// The time, the settings, the counters, and the way out.
pub(super) struct Context<'a, O> {
    pub(super) id: ShardId,
    pub(super) now: Now,
    pub(super) settings: &'a Settings,
    /// The packet being handled, when its bytes are to be shared and not copied.
    pub(super) received: Option<&'a Body>,
    pub(super) counts: &'a mut Counts,
    /// Messages of the shard to itself; handled before the input is done with.
    pub(super) local: &'a mut VecDeque<Message>,
    pub(super) out: &'a mut O,
}

impl<O: Outbox> Context<'_, O> {
    /// Sends to a shard; to the own one by the same road, only shorter.
    pub(super) fn send(&mut self, to: ShardId, message: Message) {
        if to == self.id {
            self.local.push_back(message);
        } else {
            self.out.send(to, message);
        }
    }
}
