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
use crate::queue::buffer::Buffer;
use crate::shard::ids::ConnId;

/// Packets above this size are received straight into a buffer of their own;
/// smaller ones are put together in the scratch buffer.
const GATHERED_BYTES_MAX: usize = 16 << 10;
/// ... once so much of them has come.
const OWN_BYTES_MIN: usize = 4 << 10;
/// A large packet's buffer grows to so many times what has been received: room
/// that nothing was written to takes no memory yet, and growing means copying.
const GROWTH: usize = 8;
/// Received at first from a peer that sends large packets: hardly anything of
/// the next one has to be copied out of the scratch buffer then.
const TASTED_BYTES: usize = OWN_BYTES_MIN;
/// So much of an unfinished packet is received even when memory is short.
const MODEST_BYTES: usize = 64 << 10;

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
    /// It stays on this shard.
    pub(crate) settled: bool,
    /// The socket may have more to receive.
    pub(crate) readable: bool,
    /// The peer has ended the stream, or it broke: receive until that shows.
    pub(crate) hung_up: bool,
    /// The shard takes no frames.
    pub(crate) held: bool,
    /// What is unread was received while the connection was held, and has not
    /// been looked at since.
    pub(crate) undecided: bool,
    /// The shard has closed it; what is queued still leaves.
    pub(crate) closing: bool,
    /// The peer has said all that it ever will, and is still owed an answer.
    pub(crate) half_closed: bool,
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
        self.held || self.closing || self.half_closed || self.ended
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

    /// Bytes that the connection takes beside itself; room that was never
    /// written to is none.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.unread.bytes.taken_bytes() + self.queue.bytes()
    }

    /// Whether the next receive would make a large packet's buffer grow, and
    /// the packet is not a worker's news of a job.
    pub(crate) fn asks_for_memory(&self) -> bool {
        let unread = self.unread.as_bytes();
        if unread.len() < MODEST_BYTES || !self.unread.is_own_packet() {
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
            (self.socket.receive_into(&mut self.unread.bytes), asked)
        } else {
            scratch[..kept].copy_from_slice(self.unread.as_bytes());
            let end =
                if self.unread.large > 0 { scratch.len().min(kept + TASTED_BYTES) } else { scratch.len() };
            let room = &mut scratch[kept..end];
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
    bytes: Buffer,
    // Bytes before this one have been decided on.
    start: usize,
    // The size of the packet at `start`, once it is known; 0 before.
    packet: usize,
    // The size of the last large packet, unless many small ones have followed it.
    large: usize,
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
        self.packet > GATHERED_BYTES_MAX && self.is_incomplete() && self.len() >= OWN_BYTES_MIN
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { large: self.large, ..Self::default() };
    }

    /// Keeps a copy of `bytes`, which have not been decided on.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.packet = packet_bytes(bytes).unwrap_or(0);
        self.start = 0;
        self.bytes = Buffer::default();
        if self.packet > GATHERED_BYTES_MAX && (OWN_BYTES_MIN..self.packet).contains(&bytes.len()) {
            self.reserve(bytes.len());
        }
        self.bytes.append(bytes);
    }

    /// The bytes of a large packet, if they are all here and nothing else is.
    pub(crate) fn take_packet(&mut self) -> Option<Buffer> {
        let whole = self.packet > GATHERED_BYTES_MAX && self.start == 0 && self.bytes.len() == self.packet;
        if whole {
            self.large = self.packet;
        }
        whole.then(|| self.take().0)
    }

    /// So many bytes were received and decided on, but for what is here: looks
    /// whether the peer still sends large packets.
    pub(crate) fn note_small(&mut self, received: usize) {
        if received >= TASTED_BYTES && self.packet <= GATHERED_BYTES_MAX {
            self.large = 0;
        }
    }

    /// Takes the bytes out, to decide on them.
    pub(crate) fn take(&mut self) -> (Buffer, usize) {
        let taken = (std::mem::take(&mut self.bytes), self.start);
        self.clear();
        taken
    }

    /// Puts back what was taken out, decided on up to `start`.
    pub(crate) fn put_back(&mut self, bytes: Buffer, start: usize) {
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

    /// Makes room for the next receive of a large packet, and returns how much.
    fn make_room(&mut self) -> usize {
        if self.start > 0 {
            let bytes = std::mem::take(&mut self.bytes);
            self.keep(&bytes[self.start..]);
        }
        let length = self.bytes.len();
        if self.bytes.capacity() == length {
            self.reserve(length);
        }
        self.bytes.capacity() - length
    }

    /// Reserves memory for a large packet of which `length` bytes were
    /// received: in proportion to them, so that a small part is copied and a
    /// false length reserves little; as much as the peer has proved to send
    /// before; and nothing past the packet.
    fn reserve(&mut self, length: usize) {
        let wide = self.packet.min(self.large.max(GROWTH * length));
        // The last step is never a small one.
        let wide = if self.packet - wide < wide / 4 { self.packet } else { wide };
        if !self.bytes.grow(wide) {
            let grown = self.bytes.grow(self.packet.min(2 * length));
            assert!(grown, "out of memory");
        }
    }
}

const _: () = assert!(GATHERED_BYTES_MAX > HEADER_BYTES, "a large packet's header has been received");

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::protocol::encode::encode;
    use crate::protocol::packet::Magic;
    use crate::shard::ids::ShardId;

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let socket = Socket::Unix(mio::net::UnixStream::from_std(ours));
        (Connection::new(ConnId::new(ShardId(0), 0, 0), socket, Remote::Unix), theirs)
    }

    fn echo(bytes: usize) -> Vec<u8> {
        let mut packet = Vec::new();
        encode(&mut packet, Magic::Request, Command::EchoReq, &[], &vec![7; bytes]);
        packet
    }

    #[test]
    fn a_short_receive_empties_the_socket_and_a_full_one_may_not() {
        let (mut connection, mut peer) = pair();
        let mut scratch = [0; 100];
        connection.flags.readable = true;
        peer.write_all(&[1; 150]).unwrap();
        assert!(matches!(connection.receive(&mut scratch), Received::Scratch { count: 100, kept: 0 }));
        assert!(connection.flags.readable);
        assert!(matches!(connection.receive(&mut scratch), Received::Scratch { count: 50, kept: 0 }));
        assert!(!connection.flags.readable);
        // The end of the stream is no news of its own: it has to be looked for.
        peer.write_all(&[1; 10]).unwrap();
        drop(peer);
        connection.flags.hung_up = true;
        assert!(matches!(connection.receive(&mut scratch), Received::Scratch { count: 10, kept: 0 }));
        assert!(connection.flags.readable);
        assert!(matches!(connection.receive(&mut scratch), Received::End));
    }

    #[test]
    fn what_is_left_over_stands_before_what_comes() {
        let (mut connection, mut peer) = pair();
        let mut scratch = [0; 100];
        connection.unread.keep(b"stat");
        peer.write_all(b"us\n").unwrap();
        assert!(matches!(connection.receive(&mut scratch), Received::Scratch { count: 7, kept: 4 }));
        assert_eq!(&scratch[..7], b"status\n");
        assert_eq!(connection.unread.bytes.capacity(), 0, "nothing is kept any more");
    }

    #[test]
    fn a_large_packet_grows_with_its_bytes_and_never_past_its_end() {
        let packet = echo(1_000_000);
        let (mut connection, mut peer) = pair();
        let mut scratch = vec![0; 100];
        connection.unread.keep(&packet[..20_000]);
        let mut copied = 0;
        // The next packet is already there: it must stay in the socket.
        let mut sent = 20_000;
        let stream = [&packet[..], b"next"].concat();
        while connection.unread.is_incomplete() {
            let end = stream.len().min(sent + 5000);
            peer.write_all(&stream[sent..end]).unwrap();
            sent = end;
            let before = connection.unread.bytes.capacity();
            let received = connection.receive(&mut scratch);
            assert!(matches!(received, Received::Own(_) | Received::Nothing), "{received:?}");
            let (length, capacity) = (connection.unread.len(), connection.unread.bytes.capacity());
            copied += if capacity == before { 0 } else { before };
            assert!(capacity <= packet.len() && capacity < GROWTH * length);
            assert_eq!(connection.buffer_bytes(), length);
        }
        assert!(connection.unread.as_bytes() == packet);
        assert!(copied < packet.len() / 4, "{copied} bytes were copied to grow");
        let (bytes, start) = connection.unread.take();
        connection.unread.put_back(bytes, start + packet.len());
        assert_eq!(connection.unread.bytes.capacity(), 0, "a large buffer is freed");
    }

    #[test]
    fn who_has_sent_a_large_packet_gets_room_for_another_until_small_ones_follow() {
        let packet = echo(100_000);
        let (mut connection, mut peer) = pair();
        let mut scratch = vec![0; 64 << 10];
        connection.unread.keep(&packet[..5000]);
        peer.write_all(&packet[5000..]).unwrap();
        while connection.unread.is_incomplete() {
            assert!(matches!(connection.receive(&mut scratch), Received::Own(_)));
        }
        assert!(*connection.unread.take_packet().unwrap() == *packet);
        assert!(connection.unread.is_empty() && connection.unread.take_packet().is_none());

        // Little of the next one goes through the scratch buffer, and nothing is moved again.
        peer.write_all(&packet).unwrap();
        assert!(matches!(connection.receive(&mut scratch), Received::Scratch { count: TASTED_BYTES, .. }));
        connection.unread.keep(&scratch[..TASTED_BYTES]);
        assert_eq!(connection.unread.bytes.capacity(), packet.len());
        connection.unread.note_small(TASTED_BYTES);
        while connection.unread.is_incomplete() {
            assert!(matches!(connection.receive(&mut scratch), Received::Own(_)));
        }
        assert!(*connection.unread.take_packet().unwrap() == *packet);

        peer.write_all(&[1; 3 * TASTED_BYTES]).unwrap();
        assert!(matches!(connection.receive(&mut scratch), Received::Scratch { count: TASTED_BYTES, .. }));
        connection.unread.note_small(TASTED_BYTES);
        let received = connection.receive(&mut scratch);
        assert!(matches!(received, Received::Scratch { count, .. } if count == 2 * TASTED_BYTES));
    }

    #[test]
    fn a_claimed_length_reserves_nothing() {
        let (mut connection, mut peer) = pair();
        let mut header = echo(0);
        header[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
        connection.unread.keep(&header);
        let mut scratch = [0; 100];
        for bytes in 12..40 {
            assert!(connection.unread.is_incomplete());
            assert!(connection.unread.bytes.capacity() <= 64);
            peer.write_all(&[0]).unwrap();
            let received = connection.receive(&mut scratch);
            assert!(matches!(received, Received::Scratch { kept, .. } if kept == bytes), "{received:?}");
            connection.unread.keep(&scratch[..=bytes]);
        }
    }

    #[test]
    fn a_small_rest_does_not_keep_a_large_buffer() {
        let mut unread = Unread::default();
        unread.put_back(vec![1; 100_000].into(), 99_990);
        assert_eq!((unread.len(), unread.bytes.capacity()), (10, 10));
        unread.put_back(vec![1; 1000].into(), 100);
        assert_eq!((unread.len(), unread.start), (900, 100), "most of it stays where it is");
    }

    #[test]
    fn only_workers_news_may_grow_when_memory_is_short() {
        let mut submit = echo(200_000);
        let (mut connection, _peer) = pair();
        for (number, asks) in [(7, true), (18, true), (16, true), (13, false), (28, false)] {
            submit[4..8].copy_from_slice(&u32::to_be_bytes(number));
            connection.unread.keep(&submit[..MODEST_BYTES]);
            assert_eq!(connection.asks_for_memory(), asks, "type {number}");
        }
        submit[4..8].copy_from_slice(&u32::to_be_bytes(7));
        connection.unread.keep(&submit[..MODEST_BYTES - 1]);
        assert!(!connection.asks_for_memory(), "little things are always received");
    }

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() <= 256, "{}", size_of::<Connection>());
    }
}
