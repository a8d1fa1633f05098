//! Bytes that wait to be sent.

use crate::protocol::encode::encode;
use crate::protocol::packet::{Command, Magic};

/// An empty buffer larger than this is given back.
const KEPT_BYTES: usize = 256 << 10;

/// Requests, encoded; the first `sent` bytes are gone already.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    pub(super) fn request(&mut self, command: Command, args: &[&[u8]], data: &[u8]) {
        encode(&mut self.bytes, Magic::Request, command, args, data);
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Moves what is pending to the end of `to`.
    pub(super) fn take(&mut self, to: &mut Vec<u8>) {
        if self.sent == 0 && to.is_empty() {
            std::mem::swap(&mut self.bytes, to);
        } else {
            to.extend_from_slice(self.pending());
            self.sent(usize::MAX);
        }
    }

    /// `count` more bytes are on their way; at most what is pending counts.
    pub(super) fn sent(&mut self, count: usize) {
        self.sent = self.bytes.len().min(self.sent.saturating_add(count));
        if self.sent == self.bytes.len() {
            self.sent = 0;
            if self.bytes.capacity() > KEPT_BYTES {
                self.bytes = Vec::new();
            }
            self.bytes.clear();
        }
    }
}
