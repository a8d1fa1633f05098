//! What one connection still has to be sent.
//!
//! Small writes are gathered into chunks of bytes, large bodies are kept as
//! they are, shared with whoever else sends or stores them. An empty queue
//! owns no memory: its last chunk goes back to the shard's [`Spares`].

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::socket::Socket;
use super::spares::Spares;
use crate::queue::body::Body;
use crate::shard::outbox::Tail;

/// Bodies up to this size are cheaper to copy than to send from where they are.
const COPIED_BYTES_MAX: usize = 4096;
/// A chunk that has grown this far is closed, so that it can be freed once sent.
const CHUNK_BYTES: usize = 64 << 10;
/// Slices given to the kernel at once.
const SLICES_MAX: usize = 64;

/// The queue; bytes leave in the order in which they came.
#[derive(Default)]
pub(crate) struct WriteQueue {
    // The first chunk when it is one of bytes, as it nearly always is; otherwise empty.
    first: Vec<u8>,
    rest: VecDeque<Chunk>,
    // Bytes of the first chunk that have left.
    sent: usize,
    bytes: usize,
}

enum Chunk {
    Bytes(Vec<u8>),
    Body { body: Body, start: usize },
}

impl Chunk {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Body { body, start } => &body[*start..],
        }
    }
}

/// What a flush left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing.
    All,
    /// Something: the kernel takes no more. `progress` tells whether it took any.
    Blocked { progress: bool },
}

impl WriteQueue {
    /// Bytes that have not left.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends `head` and `tail`.
    pub(crate) fn push(&mut self, head: &[u8], tail: Option<Tail<'_>>, spares: &mut Spares) {
        self.push_bytes(head, spares);
        let Some(tail) = tail else { return };
        let bytes = tail.bytes();
        if bytes.len() <= COPIED_BYTES_MAX {
            self.push_bytes(bytes, spares);
        } else {
            self.bytes += bytes.len();
            self.rest.push_back(Chunk::Body { body: tail.body.clone(), start: tail.start });
        }
    }

    fn push_bytes(&mut self, bytes: &[u8], spares: &mut Spares) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        match self.rest.back_mut() {
            Some(Chunk::Bytes(last)) if last.len() < CHUNK_BYTES => last.extend_from_slice(bytes),
            None if self.first.is_empty() => {
                self.first = spares.take(bytes.len());
                self.first.extend_from_slice(bytes);
            }
            None if self.first.len() < CHUNK_BYTES => self.first.extend_from_slice(bytes),
            _ => {
                let mut chunk = spares.take(bytes.len());
                chunk.extend_from_slice(bytes);
                self.rest.push_back(Chunk::Bytes(chunk));
            }
        }
    }

    /// Sends until the queue is empty or the kernel takes no more.
    pub(crate) fn flush(&mut self, socket: &Socket, spares: &mut Spares) -> io::Result<Flushed> {
        let mut progress = false;
        while self.bytes > 0 {
            let (sent, offered) = match self.send_once(socket) {
                Ok(counts) => counts,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Flushed::Blocked { progress });
                }
                Err(error) => return Err(error),
            };
            progress |= sent > 0;
            self.consume(sent, spares);
            if sent < offered {
                return Ok(Flushed::Blocked { progress });
            }
        }
        Ok(Flushed::All)
    }

    fn send_once(&self, socket: &Socket) -> io::Result<(usize, usize)> {
        if self.rest.is_empty() {
            let slice = &self.first[self.sent..];
            return Ok((socket.send(&[IoSlice::new(slice)])?, slice.len()));
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        let mut offered = 0;
        let first = Some(&self.first[..]).filter(|first| !first.is_empty());
        for bytes in first.into_iter().chain(self.rest.iter().map(Chunk::as_bytes)).take(SLICES_MAX) {
            let bytes = if used == 0 { &bytes[self.sent..] } else { bytes };
            slices[used] = IoSlice::new(bytes);
            used += 1;
            offered += bytes.len();
        }
        Ok((socket.send(&slices[..used])?, offered))
    }

    fn consume(&mut self, mut sent: usize, spares: &mut Spares) {
        self.bytes -= sent;
        while sent > 0 {
            let chunk = if self.first.is_empty() {
                self.rest.front().expect("what was sent was queued").as_bytes().len()
            } else {
                self.first.len()
            };
            let left = chunk - self.sent;
            if sent < left {
                self.sent += sent;
                return;
            }
            sent -= left;
            self.sent = 0;
            self.drop_first(spares);
        }
        if self.bytes == 0 {
            self.rest = VecDeque::new();
        }
    }

    fn drop_first(&mut self, spares: &mut Spares) {
        if self.first.is_empty() {
            self.rest.pop_front();
        } else {
            spares.give(std::mem::take(&mut self.first));
        }
        // Chunks of bytes behind it move up, bodies are sent from where they are.
        if let Some(Chunk::Bytes(bytes)) = self.rest.front_mut() {
            self.first = std::mem::take(bytes);
            self.rest.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn pair() -> (Socket, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Socket::Unix(mio::net::UnixStream::from_std(ours)), theirs)
    }

    fn pattern(length: usize, salt: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 + salt) as u8).collect()
    }

    #[test]
    fn small_and_large_writes_leave_in_order_through_a_slow_socket() {
        let (socket, mut peer) = pair();
        peer.set_nonblocking(true).unwrap();
        let mut spares = Spares::default();
        let mut queue = WriteQueue::default();
        let mut expected = Vec::new();
        for round in 0..200 {
            let head = pattern(1 + round * 7 % 900, round);
            let body = Body::copy(&pattern(round * 977 % 60_000, round + 1));
            let start = body.len() / 3;
            expected.extend_from_slice(&head);
            expected.extend_from_slice(&body[start..]);
            queue.push(&head, Some(Tail { body: &body, start }), &mut spares);
        }
        assert_eq!(queue.bytes(), expected.len());
        let mut received = Vec::new();
        let mut blocked = 0;
        let mut piece = vec![0; 10_007];
        while received.len() < expected.len() {
            if queue.flush(&socket, &mut spares).unwrap() != Flushed::All {
                blocked += 1;
            }
            match peer.read(&mut piece) {
                Ok(count) => received.extend_from_slice(&piece[..count]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            assert!(queue.bytes() <= expected.len() - received.len());
        }
        assert!(received == expected, "bytes differ");
        assert!(blocked > 10, "the socket was meant to be slow");
        assert!(queue.is_empty());
    }

    #[test]
    fn an_empty_queue_owns_no_memory() {
        let (socket, _peer) = pair();
        let mut spares = Spares::default();
        let mut queue = WriteQueue::default();
        let body = Body::copy(&pattern(9000, 0));
        queue.push(b"head", Some(Tail { body: &body, start: 0 }), &mut spares);
        queue.push(b"next", None, &mut spares);
        assert_eq!(queue.flush(&socket, &mut spares).unwrap(), Flushed::All);
        assert_eq!((queue.first.capacity(), queue.rest.capacity()), (0, 0));
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn a_gone_peer_is_an_error() {
        let (socket, peer) = pair();
        drop(peer);
        let mut spares = Spares::default();
        let mut queue = WriteQueue::default();
        queue.push(b"hello", None, &mut spares);
        assert!(queue.flush(&socket, &mut spares).is_err());
    }
}
