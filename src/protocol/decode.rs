//! Bytes to packets and text lines.
//!
//! A pure function over what has been received so far: it keeps no state,
//! reserves no memory, and looks only inside the length that a packet declares,
//! so a short packet can never borrow bytes from its successor.
//! Source: gearmand-spec.md, sections 2 and 4.3.

use super::packet::{ARGS_MAX, Command, HEADER_BYTES, Magic, Packet};

/// A text line, its line end included, must fit into this many bytes.
pub const LINE_BYTES_MAX: usize = 8192;

/// The next thing on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A binary packet.
    Binary(Packet<'a>),
    /// An admin line, without `\n` or `\r\n`.
    Line(&'a [u8]),
}

/// Why the bytes on a connection cannot be understood. The connection cannot
/// be brought back in step and has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The first byte is NUL, but the first four are neither `\0REQ` nor `\0RES`.
    Magic,
    /// No command has this type number.
    UnknownType(u32),
    /// The declared body is longer than the receiver allows.
    TooLarge {
        /// Bytes that the header declares.
        declared: u32,
        /// Bytes that are allowed.
        limit: u32,
    },
    /// The body ended before all arguments had come.
    MissingArgument(Command),
    /// No line end within [`LINE_BYTES_MAX`] bytes.
    LineTooLong,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Magic => write!(f, "not a Gearman packet: it starts with neither \\0REQ nor \\0RES"),
            Self::UnknownType(number) => write!(f, "unknown packet type {number}"),
            Self::TooLarge { declared, limit } => {
                write!(f, "packet of {declared} bytes is over the limit of {limit}; raise --max-packet-size")
            }
            Self::MissingArgument(command) => {
                write!(f, "{} ends before all of its arguments", command.name())
            }
            Self::LineTooLong => write!(f, "no line end within {LINE_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Decodes the first packet or line of `bytes`.
///
/// Returns the frame and how many bytes it took; `None` when more bytes are
/// needed. A body longer than `body_bytes_max` is refused from its header.
///
/// # Errors
/// See [`DecodeError`]; after any of them the stream is out of step.
pub fn decode(bytes: &[u8], body_bytes_max: u32) -> Result<Option<(Frame<'_>, usize)>, DecodeError> {
    match bytes.first() {
        None => Ok(None),
        Some(0) => decode_binary(bytes, body_bytes_max),
        Some(_) => decode_line(bytes),
    }
}

/// How many bytes the packet at the start of `bytes` takes in all, once its
/// header is there. For sizing a buffer; [`decode`] has judged the header.
#[must_use]
pub fn packet_bytes(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&0) {
        return None;
    }
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    Some(HEADER_BYTES + field(header, 8) as usize)
}

fn field(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

// magic [4] | type u32 BE | length u32 BE | body [length]
fn decode_binary(bytes: &[u8], body_bytes_max: u32) -> Result<Option<(Frame<'_>, usize)>, DecodeError> {
    let known = bytes.len().min(4);
    let magic = if bytes[..known] == b"\0REQ"[..known] {
        Magic::Request
    } else if bytes[..known] == b"\0RES"[..known] {
        Magic::Response
    } else {
        return Err(DecodeError::Magic);
    };
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let number = field(header, 4);
    let command = Command::from_number(number).ok_or(DecodeError::UnknownType(number))?;
    let declared = field(header, 8);
    if declared > body_bytes_max {
        return Err(DecodeError::TooLarge { declared, limit: body_bytes_max });
    }
    let total = HEADER_BYTES + declared as usize;
    let Some(body) = bytes.get(HEADER_BYTES..total) else {
        return Ok(None);
    };
    let (args, data) = split_body(command, body)?;
    Ok(Some((Frame::Binary(Packet { magic, command, args, data }), total)))
}

fn split_body(command: Command, body: &[u8]) -> Result<([&[u8]; ARGS_MAX], &[u8]), DecodeError> {
    let mut args: [&[u8]; ARGS_MAX] = [&[]; ARGS_MAX];
    let argc = command.argc();
    let mut rest = body;
    for (index, arg) in args.iter_mut().enumerate().take(argc) {
        let last = index + 1 == argc;
        if last && !command.has_data() {
            *arg = rest;
            return Ok((args, &[]));
        }
        match nul_in(rest) {
            Some(end) => {
                *arg = &rest[..end];
                rest = &rest[end + 1..];
            }
            // Perl's worker leaves out the NUL when a result is empty.
            None if last && is_work_result(command) => {
                *arg = rest;
                rest = &[];
            }
            None => return Err(DecodeError::MissingArgument(command)),
        }
    }
    // Without arguments and data, a body is read and thrown away (section 2).
    Ok((args, if command.has_data() { rest } else { &[] }))
}

/// Where the first NUL is. Eight bytes at a time: arguments are looked through
/// in every packet.
fn nul_in(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest bit that is set here is the highest of the first NUL.
        let nuls = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if nuls != 0 {
            return Some(at * 8 + nuls.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|&byte| byte == 0)?;
    Some(words.len() * 8 + at)
}

fn is_work_result(command: Command) -> bool {
    matches!(
        command,
        Command::WorkComplete | Command::WorkData | Command::WorkWarning | Command::WorkException
    )
}

fn decode_line(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, DecodeError> {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    match within.iter().position(|&byte| byte == b'\n') {
        Some(end) => {
            let line = within[..end].strip_suffix(b"\r").unwrap_or(&within[..end]);
            Ok(Some((Frame::Line(line), end + 1)))
        }
        None if within.len() == LINE_BYTES_MAX => Err(DecodeError::LineTooLong),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::encode;
    use super::*;

    const LIMIT: u32 = 1 << 20;

    fn binary(bytes: &[u8]) -> Packet<'_> {
        match decode(bytes, LIMIT) {
            Ok(Some((Frame::Binary(packet), used))) => {
                assert_eq!(used, bytes.len());
                packet
            }
            other => panic!("{other:?}"),
        }
    }

    fn raw(number: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = b"\0REQ".to_vec();
        bytes.extend(number.to_be_bytes());
        bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn the_first_nul_is_found_wherever_it_is() {
        for others in [1, 0x7f, 0x80, 0x81, 0xff] {
            for length in 0..40 {
                let mut bytes = vec![others; length];
                assert_eq!(nul_in(&bytes), None);
                for at in (0..length).rev() {
                    bytes[at] = 0;
                    assert_eq!(nul_in(&bytes), Some(at));
                }
            }
        }
    }

    #[test]
    fn every_packet_round_trips_and_is_incomplete_when_cut_anywhere() {
        for &command in Command::ALL {
            let words: [&[u8]; ARGS_MAX] = [b"one", b"", b"three", b"4", b"five", b"6", b"seven"];
            let args = &words[..command.argc()];
            let data: &[u8] = if command.has_data() { b"da\0ta" } else { b"" };
            let mut bytes = Vec::new();
            encode(&mut bytes, Magic::Response, command, args, data);
            let packet = binary(&bytes);
            assert_eq!(packet.command, command);
            assert_eq!(&packet.args[..args.len()], args);
            assert_eq!(packet.data, data);
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut], LIMIT), Ok(None), "{} cut at {cut}", command.name());
            }
        }
    }

    #[test]
    fn last_argument_without_data_keeps_its_nul_bytes() {
        let fail = raw(14, b"H:x:1\0");
        assert_eq!(binary(&fail).args[0], b"H:x:1\0");
        let timeout = raw(23, b"f\0\0\0\x01\0");
        assert_eq!(binary(&timeout).args[1], b"\0\0\x01\0");
    }

    #[test]
    fn body_of_a_command_without_arguments_is_thrown_away() {
        let grab = raw(9, b"abc");
        let packet = binary(&grab);
        assert_eq!((packet.command, packet.data), (Command::GrabJob, &b""[..]));
    }

    #[test]
    fn missing_arguments_are_found_inside_the_declared_length() {
        let mut bytes = raw(7, b"function without end");
        bytes.extend(raw(16, b"\0\0\0"));
        assert_eq!(decode(&bytes, LIMIT), Err(DecodeError::MissingArgument(Command::SubmitJob)));
        assert_eq!(
            decode(&raw(12, b"h\x001"), LIMIT),
            Err(DecodeError::MissingArgument(Command::WorkStatus))
        );
    }

    #[test]
    fn work_results_may_end_after_a_bare_handle() {
        for number in [13, 25, 28, 29] {
            let bytes = raw(number, b"H:x:1");
            let packet = binary(&bytes);
            assert_eq!((packet.args[0], packet.data), (&b"H:x:1"[..], &b""[..]));
        }
    }

    #[test]
    fn bad_headers_are_refused_as_soon_as_they_show() {
        assert_eq!(decode(b"\0REX", LIMIT), Err(DecodeError::Magic));
        assert_eq!(decode(b"\0A", LIMIT), Err(DecodeError::Magic));
        for number in [0, 43, 0x8000_0000, u32::MAX] {
            assert_eq!(decode(&raw(number, b""), LIMIT), Err(DecodeError::UnknownType(number)));
        }
        let header = [b"\0REQ".as_slice(), &[0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff]].concat();
        assert_eq!(decode(&header, LIMIT), Err(DecodeError::TooLarge { declared: u32::MAX, limit: LIMIT }));
    }

    #[test]
    fn lines_end_in_lf_or_crlf_and_are_bounded() {
        assert_eq!(decode(b"status\r\nx", LIMIT), Ok(Some((Frame::Line(b"status"), 8))));
        assert_eq!(decode(b"status\n", LIMIT), Ok(Some((Frame::Line(b"status"), 7))));
        assert_eq!(decode(b"\n", LIMIT), Ok(Some((Frame::Line(b""), 1))));
        assert_eq!(decode(b"\r\r\n", LIMIT), Ok(Some((Frame::Line(b"\r"), 3))));
        assert_eq!(decode(&[b'a'; LINE_BYTES_MAX - 1], LIMIT), Ok(None));
        assert_eq!(decode(&[b'a'; LINE_BYTES_MAX], LIMIT), Err(DecodeError::LineTooLong));
    }
}
