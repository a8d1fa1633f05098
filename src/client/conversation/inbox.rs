//! Received bytes to packets.

use super::ProtocolError;
use crate::protocol::decode::{Frame, decode};
use crate::protocol::packet::{Magic, Packet};

/// An empty buffer larger than this is given back.
const KEPT_BYTES: usize = 256 << 10;
/// How much of a text that should have been a packet an error shows.
const TEXT_SHOWN: usize = 60;

/// The packet that is not complete yet.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    packet_bytes_max: u32,
}

impl Inbox {
    pub(super) const fn new(packet_bytes_max: u32) -> Self {
        Self { bytes: Vec::new(), packet_bytes_max }
    }

    /// Hands every packet that is complete with `received` to `each`, in order.
    ///
    /// Packets that lie in `received` as a whole are not copied.
    ///
    /// # Errors
    /// The first that `each` returns, or what is wrong with the bytes.
    pub(super) fn feed(
        &mut self,
        received: &[u8],
        each: impl FnMut(&Packet<'_>) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        if self.bytes.is_empty() {
            let used = packets(received, self.packet_bytes_max, each)?;
            self.bytes.extend_from_slice(&received[used..]);
            return Ok(());
        }
        self.bytes.extend_from_slice(received);
        let used = packets(&self.bytes, self.packet_bytes_max, each)?;
        self.bytes.drain(..used);
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        Ok(())
    }
}

fn packets(
    bytes: &[u8],
    packet_bytes_max: u32,
    mut each: impl FnMut(&Packet<'_>) -> Result<(), ProtocolError>,
) -> Result<usize, ProtocolError> {
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        // A server sends text only to whoever sent it text; a line need not be complete to be wrong.
        if rest.first().is_some_and(|&byte| byte != 0) {
            let shown = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
            return Err(ProtocolError::Text(shown[..shown.len().min(TEXT_SHOWN)].into()));
        }
        let Some((frame, length)) = decode(rest, packet_bytes_max)? else {
            return Ok(used);
        };
        if let Frame::Binary(packet) = frame {
            if packet.magic == Magic::Request {
                return Err(ProtocolError::Request(packet.command));
            }
            each(&packet)?;
        }
        used += length;
    }
}
