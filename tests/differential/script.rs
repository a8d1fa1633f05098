//! What a script does: connections come and go, and send packets and lines.
//!
//! A script names jobs by the order in which their handles first appeared
//! (`<1>`, `<2>`, ...), so that the same script fits both servers. Printing one
//! shows what a person needs to play it by hand.

use gearshard::protocol::packet::Command;
use std::fmt::{self, Display, Formatter, Write};

/// A connection of a script; printed as a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who(pub usize);

impl Display for Who {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char(char::from(b'a' + u8::try_from(self.0).expect("a script has few connections")))
    }
}

/// Part of what is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The handle that appeared as the n-th, counted from 1.
    Handle(usize),
}

impl From<&[u8]> for Piece {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

/// One packet, line, or piece of nonsense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A binary packet; the length field is right.
    Packet {
        /// `\0REQ` or `\0RES`.
        magic: [u8; 4],
        /// Type number.
        number: u32,
        /// Arguments and data with their NUL bytes, in pieces.
        body: Vec<Piece>,
    },
    /// Text, with whatever line end it has.
    Line(Vec<Piece>),
    /// Anything.
    Raw(Vec<u8>),
}

impl Wire {
    /// A request with these arguments and data, as the protocol wants it.
    pub fn request(command: Command, args: &[Piece], data: &[u8]) -> Self {
        let mut body = Vec::new();
        for (index, arg) in args.iter().enumerate() {
            body.push(arg.clone());
            if command.has_data() || index + 1 < args.len() {
                body.push(Piece::from(&b"\0"[..]));
            }
        }
        if !data.is_empty() {
            body.push(Piece::from(data));
        }
        Self::Packet { magic: *b"\0REQ", number: command as u32, body }
    }

    /// The bytes to send to a server that gave these handles.
    pub fn bytes(&self, handles: &[Vec<u8>]) -> Vec<u8> {
        match self {
            Self::Packet { magic, number, body } => {
                let body = resolve(body, handles);
                let mut bytes = magic.to_vec();
                bytes.extend(number.to_be_bytes());
                bytes.extend(u32::try_from(body.len()).expect("scripts send little").to_be_bytes());
                bytes.extend(body);
                bytes
            }
            Self::Line(pieces) => resolve(pieces, handles),
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

// A handle that the server never gave (the script was cut short) is one that nobody has.
fn resolve(pieces: &[Piece], handles: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(part) => bytes.extend(part),
            Piece::Handle(nth) => match handles.get(nth - 1) {
                Some(handle) => bytes.extend(handle),
                None => bytes.extend(format!("H:nowhere:{nth}").bytes()),
            },
        }
    }
    bytes
}

/// What becomes of the connection that sends something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stays, or the servers agree that it does not.
    Stays,
    /// We close it; the reference does not do so reliably, and the script
    /// closes it for her. What it is told before is not compared.
    OnlyWeClose,
}

/// One step of a script; everybody comes to rest before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new connection.
    Open(Who),
    /// Something is sent, in one piece or, with `split`, in two.
    Send {
        /// By whom.
        who: Who,
        /// What.
        wires: Vec<Wire>,
        /// The first so many bytes are sent, and all comes to rest, before the others.
        split: Option<usize>,
        /// What becomes of the connection.
        outcome: Outcome,
    },
    /// The connection hangs up.
    Close(Who),
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(who) => write!(f, "{who} connects"),
            Self::Close(who) => write!(f, "{who} hangs up"),
            Self::Send { who, wires, split, outcome } => {
                write!(f, "{who} >")?;
                for wire in wires {
                    write!(f, " {wire}")?;
                }
                if let Some(at) = split {
                    write!(f, "  (in two parts, cut at byte {at})")?;
                }
                match outcome {
                    Outcome::Stays => Ok(()),
                    Outcome::OnlyWeClose => write!(f, "  (we must close)"),
                }
            }
        }
    }
}

impl Display for Wire {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet { magic, number, body } => {
                if magic != b"\0REQ" {
                    write!(f, "{}+", magic.escape_ascii())?;
                }
                match Command::from_number(*number) {
                    Some(command) => write!(f, "{}", command.name())?,
                    None => write!(f, "type {number}")?,
                }
                write!(f, "(")?;
                show(f, body)?;
                write!(f, ")")
            }
            Self::Line(pieces) => show(f, pieces),
            Self::Raw(bytes) => write!(f, "raw {}", shown(bytes)),
        }
    }
}

fn show(f: &mut Formatter<'_>, pieces: &[Piece]) -> fmt::Result {
    f.write_char('"')?;
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => f.write_str(shown(bytes).trim_matches('"'))?,
            Piece::Handle(nth) => write!(f, "<{nth}>")?,
        }
    }
    f.write_char('"')
}

/// Bytes for people: escaped, and the middle left out when there are many.
pub fn shown(bytes: &[u8]) -> String {
    const MANY: usize = 160;
    if bytes.len() <= MANY {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let sum = bytes.iter().fold(0u32, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    format!("\"{}\"... ({} bytes, sum {sum:08x})", bytes[..40].escape_ascii(), bytes.len())
}
