//! Packets to bytes.
//!
//! Appends to a buffer that the caller owns; a body too large to copy is
//! announced by [`encode_head`] and written after it by the caller.

use super::packet::{Command, HEADER_BYTES, Magic};

/// The longest body to accept from a peer. What a server relays carries a
/// handle more than what it received, and must fit into the length field too.
pub const RELAYED_BODY_BYTES_MAX: u32 = u32::MAX - 1024;

/// Appends a whole packet.
///
/// `args` must be as many as `command.argc()`; only the last argument of a
/// command without data may hold NUL bytes.
pub fn encode(out: &mut Vec<u8>, magic: Magic, command: Command, args: &[&[u8]], data: &[u8]) {
    encode_head(out, magic, command, args, data.len());
    out.extend_from_slice(data);
}

/// Appends header and arguments of a packet whose `data_bytes` bytes of data
/// the caller writes next.
///
/// # Panics
/// When `args` are not as many as the command has, or the body would not fit
/// into the length field: both are the caller's to prevent.
pub fn encode_head(out: &mut Vec<u8>, magic: Magic, command: Command, args: &[&[u8]], data_bytes: usize) {
    assert_eq!(args.len(), command.argc(), "{} has {} arguments", command.name(), command.argc());
    let terminators = if command.has_data() { args.len() } else { args.len().saturating_sub(1) };
    let body = args.iter().map(|arg| arg.len()).sum::<usize>() + terminators + data_bytes;
    let length = u32::try_from(body).expect("a body is limited to what the length field can say");
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&magic.bytes());
    header[4..8].copy_from_slice(&(command as u32).to_be_bytes());
    header[8..].copy_from_slice(&length.to_be_bytes());
    out.reserve(HEADER_BYTES + body - data_bytes);
    out.extend_from_slice(&header);
    for (index, arg) in args.iter().enumerate() {
        out.extend_from_slice(arg);
        if index < terminators {
            out.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_on_the_wire() {
        type Case<'a> = (Command, &'a [&'a [u8]], &'a [u8], &'a [u8]);
        let cases: [Case<'_>; 4] = [
            (Command::Noop, &[], b"", b"\0RES\0\0\0\x06\0\0\0\0"),
            (Command::JobCreated, &[b"H:x:1"], b"", b"\0RES\0\0\0\x08\0\0\0\x05H:x:1"),
            (Command::JobAssign, &[b"h", b"f"], b"w", b"\0RES\0\0\0\x0b\0\0\0\x05h\0f\0w"),
            (Command::Error, &[b"CODE", b"text"], b"", b"\0RES\0\0\0\x13\0\0\0\x09CODE\0text"),
        ];
        for (command, args, data, expected) in cases {
            let mut out = Vec::new();
            encode(&mut out, Magic::Response, command, args, data);
            assert_eq!(out, expected, "{}", command.name());
        }
    }
}
