//! Sockets, threads and time around the shards.
//!
//! Each shard has one event loop on one thread. It turns bytes into frames
//! for its shard and carries out what the shard writes into its outbox. It
//! does not know what a job means.
//!
//! One turn of the loop: poll; receive from the ready sockets and, before
//! anything received is decided on, take in what other shards have sent;
//! decide; send to other shards; wake those that are parked; write sockets.
//! Receiving first and taking in second is what makes an answer never older
//! than what its asker already knew; sending to shards before writing to
//! sockets is what keeps a peer from knowing more than the shards do.

pub(crate) mod bus;
mod connection;
pub(crate) mod event_loop;
pub(crate) mod gauges;
mod linger;
mod load;
mod rim;
pub(crate) mod socket;
mod spares;
mod trim;
mod watches;
mod write_queue;

pub use gauges::Traffic;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::retry::RetryPolicy;
use crate::queue::change::{News, Order, StoredJob};
use crate::shard::ids::{Now, ShardId};
use crate::shard::message::Message;
use crossbeam_channel::{Receiver, Sender};
use socket::{Remote, Socket};

/// What lies in a shard's inbox.
pub(crate) enum Delivery {
    /// From another shard, in order.
    Messages(ShardId, Vec<Message>),
    /// From the own store.
    Store(News),
    /// From the acceptor.
    Connection(Socket, Remote),
    /// From another shard, which has received this and decided on nothing of it.
    Moved(Box<Moved>),
    /// From the acceptor: refuse submits from now on.
    Drain,
    /// From the acceptor: write what is queued, for a moment, and end.
    Finish,
    /// From the acceptor: end at once.
    Stop,
}

/// A connection on its way to the shard that owns the function it begins with.
pub(crate) struct Moved {
    socket: Socket,
    remote: Remote,
    received: Box<[u8]>,
}

/// A function has this policy from now on, or none.
pub(crate) type PolicyChange = (Box<[u8]>, Option<RetryPolicy>);

/// Where a shard's durable jobs come from and go to.
pub(crate) struct Kept {
    /// Brings the jobs that the store has, in their order, and then its end.
    pub(crate) jobs: Receiver<Vec<StoredJob>>,
    /// The highest number that any job in the store has.
    pub(crate) number_max: u64,
    /// Takes orders; the store's thread ends when it is dropped.
    pub(crate) orders: Sender<Order>,
    /// Takes retry policies that are to be kept, where they are.
    pub(crate) policies: Option<Sender<PolicyChange>>,
}

/// What one connection and one shard may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest packet body.
    pub(crate) packet_bytes_max: u32,
    /// Unsent bytes above which a connection is cut rather than given more.
    pub(crate) write_buffer_max: usize,
    /// How long a connection may take none of its unsent bytes.
    pub(crate) write_stall_us: u64,
    /// How long an unfinished packet may get on too slowly; `None` for ever.
    pub(crate) packet_timeout_us: Option<u64>,
    /// Bytes over all shards above which submits are refused.
    pub(crate) memory_max: Option<u64>,
    /// Bytes of jobs over all shards above which workloads wait in the store only.
    pub(crate) queue_memory_max: Option<u64>,
}

impl Limits {
    /// Unsent bytes at which those who produce them are paused, and at which they go on.
    pub(crate) const fn water_marks(&self) -> (usize, usize) {
        const HIGH: usize = 4 << 20;
        let high = if self.write_buffer_max / 4 < HIGH { self.write_buffer_max / 4 } else { HIGH };
        (high, high / 4)
    }
}

/// Where time comes from; the same for all shards of a server.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Now {
        let mono_us = micros(self.0.elapsed());
        // A clock set before 1970 is treated as 1970.
        let unix_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros);
        Now { mono_us, unix_us }
    }

    pub(crate) fn mono_us(self) -> u64 {
        micros(self.0.elapsed())
    }
}

/// A duration in whole microseconds.
pub(crate) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
