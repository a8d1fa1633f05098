//! One connection: its socket and the bytes on their way in and out.
//!
//! Knows nothing of jobs. Bytes are received into the shard's scratch buffer;
//! only what cannot be decided on at once (part of a packet, or packets of a
//! held connection) is kept here, so an idle connection owns no buffer. A
//! buffer grows with the bytes received, never with the length claimed.

use std::io;

use super::socket::{Remote, Socket};
use super::write_queue::WriteQueue;
use crate::protocol::decode::packet_bytes;
use crate::protocol::packet::{Command, HEADER_BYTES};
use crate::shard::ids::ConnId;

/// Packets above this size are received straight into a buffer of their own;
/// smaller ones are put together in the scratch buffer.
const GATHERED_BYTES_MAX: usize = 16 << 10;
/// A packet's own buffer starts with this much room, or the packet's size.
const OWN_BYTES_MIN: usize = 64 << 10;

/// A connection as its event loop sees it.
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) remote: Remote,
    pub(crate) socket: Socket,
    pub(crate) unread: Unread,
    pub(crate) queue: WriteQueue,
    /// Bytes of `unread` and `queue` that the shard's gauges count.
    pub(crate) counted: usize,
    /// When the kernel last took a byte while others waited.
    pub(crate) write_progress_us: u64,
    /// When the watched part of the unfinished packet began.
    pub(crate) packet_since_us: u64,
    /// Bytes received since then.
    pub(crate) packet_progress: usize,
    pub(crate) flags: Flags,
}

/// What is the case with a connection, and in which lists it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    /// The socket may have more to receive.
    pub(crate) readable: bool,
    /// The peer has ended the stream, or it broke: receive until that shows.
    pub(crate) hung_up: bool,
    /// The shard takes no frames.
    pub(crate) held: bool,
    /// The shard has closed it; what is queued still leaves.
    pub(crate) closing: bool,
    /// It is to be dropped in this turn, whatever is queued.
    pub(crate) ended: bool,
    /// The kernel takes no more bytes; wait for it to say otherwise.
    pub(crate) blocked: bool,
    /// The shard was told that bytes pile up here.
    pub(crate) congested: bool,
    /// In the list of connections to receive from.
    pub(crate) in_ready: bool,
    /// In the list of connections to flush at the end of the turn.
    pub(crate) in_urgent: bool,
    /// In the list of connections to flush when nothing else is ready.
    pub(crate) in_idle: bool,
    /// In the list of connections whose large packets wait for memory.
    pub(crate) in_starved: bool,
}

impl Flags {
    /// Whether nothing that was received may be decided on.
    pub(crate) const fn is_stopped(self) -> bool {
        self.held || self.closing || self.ended
    }
}

/// What one receive brought.
#[derive(Debug)]
pub(crate) enum Received {
    /// `count` bytes at the start of the scratch buffer; the first `kept` of
    /// them are left over from before.
    Scratch { count: usize, kept: usize },
    /// So many bytes into the connection's own buffer.
    Own(usize),
    /// Nothing for now.
    Nothing,
    /// The end of the stream.
    End,
    /// The connection broke.
    Broken(io::Error),
}

impl Connection {
    pub(crate) fn new(id: ConnId, socket: Socket, remote: Remote) -> Self {
        Self {
            id,
            remote,
            socket,
            unread: Unread::default(),
            queue: WriteQueue::default(),
            counted: 0,
            write_progress_us: 0,
            packet_since_us: 0,
            packet_progress: 0,
            flags: Flags::default(),
        }
    }

    /// Bytes that the connection takes beside itself.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.unread.bytes.capacity() + self.queue.bytes()
    }

    /// Whether the next receive would make a large packet's buffer grow, and
    /// the packet is not a worker's news of a job.
    pub(crate) fn asks_for_memory(&self) -> bool {
        let unread = self.unread.as_bytes();
        if unread.len() < OWN_BYTES_MIN || !self.unread.is_own_packet() {
            return false;
        }
        let number = u32::from_be_bytes([unread[4], unread[5], unread[6], unread[7]]);
        !matches!(
            Command::from_number(number),
            Some(
                Command::WorkComplete
                    | Command::WorkData
                    | Command::WorkException
                    | Command::WorkFail
                    | Command::WorkStatus
                    | Command::WorkWarning
            )
        )
    }

    /// Receives once. A receive that brings less than it asked for has
    /// emptied the socket: no second one is made to hear the same.
    pub(crate) fn receive(&mut self, scratch: &mut [u8]) -> Received {
        let own = self.unread.is_own_packet();
        let kept = if own { 0 } else { self.unread.len() };
        let (result, asked) = if own {
            let asked = self.unread.make_room();
            (self.socket.receive_into_capacity(&mut self.unread.bytes), asked)
        } else {
            scratch[..kept].copy_from_slice(self.unread.as_bytes());
            let room = &mut scratch[kept..];
            (self.socket.receive(room), room.len())
        };
        let count = match result {
            Ok(0) => return Received::End,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Received::Nothing,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.flags.readable = false;
                return Received::Nothing;
            }
            Err(error) => return Received::Broken(error),
        };
        self.flags.readable = count >= asked || self.flags.hung_up;
        self.packet_progress += count;
        if own {
            return Received::Own(count);
        }
        self.unread.clear();
        Received::Scratch { count: kept + count, kept }
    }
}

/// Bytes received and not yet decided on.
#[derive(Default)]
pub(crate) struct Unread {
    bytes: Vec<u8>,
    // Bytes before this one have been decided on.
    start: usize,
    // The size of the packet at `start`, once it is known; 0 before.
    packet: usize,
}

impl Unread {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the packet at the start is known to be incomplete, so that
    /// decoding would be in vain.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.len() < self.packet
    }

    /// Whether what is here is part of one large packet.
    fn is_own_packet(&self) -> bool {
        self.packet > GATHERED_BYTES_MAX && self.is_incomplete()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Keeps a copy of `bytes`, which have not been decided on.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.packet = packet_bytes(bytes).unwrap_or(0);
        self.start = 0;
        self.bytes = bytes.to_vec();
    }

    /// Takes the bytes out, to decide on them.
    pub(crate) fn take(&mut self) -> (Vec<u8>, usize) {
        let Self { bytes, start, .. } = std::mem::take(self);
        (bytes, start)
    }

    /// Puts back what was taken out, decided on up to `start`.
    pub(crate) fn put_back(&mut self, bytes: Vec<u8>, start: usize) {
        if start == bytes.len() {
            // The buffer is freed with `bytes`.
            return;
        }
        // A little that is left over does not keep a large buffer alive.
        if bytes.len() - start < bytes.capacity() / 4 {
            self.keep(&bytes[start..]);
            return;
        }
        self.packet = packet_bytes(&bytes[start..]).unwrap_or(0);
        (self.bytes, self.start) = (bytes, start);
    }

    /// Makes room for the next receive of a large packet, and returns how
    /// much: as much again as was received, so that copying stays linear and
    /// memory below twice the bytes received, but nothing past the packet.
    fn make_room(&mut self) -> usize {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let length = self.bytes.len();
        if self.bytes.capacity() == length {
            let wanted = self.packet.min((2 * length).max(OWN_BYTES_MIN));
            self.bytes.reserve_exact(wanted - length);
        }
        self.bytes.capacity() - length
    }
}

const _: () = assert!(GATHERED_BYTES_MAX > HEADER_BYTES, "a large packet's header has been received");
