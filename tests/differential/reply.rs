//! What a server says, taken apart and made comparable.
//!
//! Handles become `<n>` by order of first appearance, and what names one server
//! or one moment (version, pid, descriptors, other scripts' lines in lists) is
//! levelled. Everything else stays as it came.

use super::script::shown;
use gearshard::protocol::packet::{Command, HEADER_BYTES};
use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicU64, Ordering};

/// One thing that a connection is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// A packet.
    Packet {
        /// Type number.
        number: u32,
        /// Arguments and data.
        body: Vec<u8>,
    },
    /// A line of text, with its line end.
    Line(Vec<u8>),
    /// The server closed the connection.
    Closed,
}

impl Said {
    /// Whether it is this packet.
    pub fn is(&self, command: Command) -> bool {
        matches!(self, Self::Packet { number, .. } if *number == command as u32)
    }

    /// Whether nobody asked for it: it comes when something happens elsewhere.
    pub fn is_news(&self) -> bool {
        [
            Command::Noop,
            Command::WorkData,
            Command::WorkWarning,
            Command::WorkStatus,
            Command::WorkComplete,
            Command::WorkFail,
            Command::WorkException,
        ]
        .into_iter()
        .any(|command| self.is(command))
    }
}

impl Display for Said {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet { number, body } => match Command::from_number(*number) {
                Some(command) => write!(f, "{}({})", command.name(), shown(body)),
                None => write!(f, "type {number}({})", shown(body)),
            },
            Self::Line(line) => write!(f, "{}", shown(line)),
            Self::Closed => write!(f, "closed"),
        }
    }
}

/// Takes the first thing off `received`, if it is there as a whole.
///
/// # Errors
/// Says what is wrong when a server sends what no server may send.
pub fn take(received: &mut Vec<u8>) -> Result<Option<Said>, String> {
    if received.first() != Some(&0) {
        let Some(end) = received.iter().position(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        return Ok(Some(Said::Line(received.drain(..=end).collect())));
    }
    let Some(header) = received.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    if header[..4] != *b"\0RES" {
        return Err(format!("a packet that does not start with \\0RES: {}", shown(received)));
    }
    let number = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let length = u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize;
    if received.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    if Command::from_number(number).is_none() {
        return Err(format!("a packet of type {number}"));
    }
    HEARD.fetch_or(1 << number, Ordering::Relaxed);
    let body = received[HEADER_BYTES..HEADER_BYTES + length].to_vec();
    received.drain(..HEADER_BYTES + length);
    Ok(Some(Said::Packet { number, body }))
}

static HEARD: AtomicU64 = AtomicU64::new(0);

/// Whether any server has said this in any script.
pub fn heard(command: Command) -> bool {
    HEARD.load(Ordering::Relaxed) & 1 << command as u32 != 0
}

/// The handles that one server gave in one script, in order of appearance.
#[derive(Debug, Default)]
pub struct Handles {
    given: Vec<Vec<u8>>,
}

impl Handles {
    /// The handles themselves.
    pub fn given(&self) -> &[Vec<u8>] {
        &self.given
    }

    /// Learns the handle of a JOB_CREATED, and makes what was said comparable.
    /// `None` when it is a line about another script.
    pub fn level(&mut self, said: Said, script: &[u8]) -> Option<Said> {
        match said {
            Said::Packet { number, body } => {
                if number == Command::JobCreated as u32 && !self.given.contains(&body) {
                    self.given.push(body.clone());
                }
                let mut body = self.rename(&body);
                // Mended: gearmand leaves NUL bytes behind the handle of some WORK_FAILs.
                if number == Command::WorkFail as u32 {
                    while body.last() == Some(&0) {
                        body.pop();
                    }
                }
                Some(Said::Packet { number, body })
            }
            Said::Line(line) => self.level_line(&line, script).map(Said::Line),
            Said::Closed => Some(Said::Closed),
        }
    }

    fn level_line(&self, line: &[u8], script: &[u8]) -> Option<Vec<u8>> {
        if line == b".\n" || line.starts_with(b"ERR ") {
            return Some(self.rename(line));
        }
        if let Some(rest) = line.strip_prefix(b"OK ") {
            // Versions and pids are a server's own; a log level is not.
            let own = rest.iter().any(u8::is_ascii_digit);
            return Some(if own { b"OK (its own)\n".to_vec() } else { line.to_vec() });
        }
        if line.starts_with(b"OK") {
            return Some(line.to_vec());
        }
        // Functions and uniques start with the script's name.
        if line.starts_with(script) {
            return Some(line.to_vec());
        }
        // `show jobs` starts with a handle.
        if let Some(tab) = line.iter().position(|&byte| byte == b'\t') {
            return self.given.iter().any(|handle| *handle == line[..tab]).then(|| self.rename(line));
        }
        // `workers`: the descriptor before the address is a number of no meaning.
        if !line.first().is_some_and(u8::is_ascii_digit) {
            return None;
        }
        let address = find(line, b" 127.0.0.1 ")?;
        find(&line[address..], script).map(|_| level_worker(&line[address..]))
    }

    // Replaces every handle of the script by its number. A handle is the first
    // argument wherever there is one, so workloads are not searched.
    fn rename(&self, bytes: &[u8]) -> Vec<u8> {
        let (head, tail) = bytes.split_at(bytes.len().min(256));
        let mut renamed = head.to_vec();
        for (index, handle) in self.given.iter().enumerate() {
            let mut from = 0;
            while let Some(found) = find(&renamed[from..], handle) {
                let (start, end) = (from + found, from + found + handle.len());
                // A longer number is another handle.
                if renamed.get(end).is_some_and(u8::is_ascii_digit) {
                    from = end;
                    continue;
                }
                let name = format!("<{}>", index + 1);
                renamed.splice(start..end, name.bytes());
                from = start + name.len();
            }
        }
        renamed.extend(tail);
        renamed
    }
}

// ` 127.0.0.1 ID : FUNCTION FUNCTION`: the order of the functions turns with the rotation.
fn level_worker(line: &[u8]) -> Vec<u8> {
    let text: Vec<u8> = line.iter().copied().take_while(|&byte| byte != b'\n').collect();
    let mut words: Vec<&[u8]> = text.split(|&byte| byte == b' ').collect();
    if let Some(colon) = words.iter().position(|&word| word == b":") {
        words[colon + 1..].sort_unstable();
    }
    let mut levelled = b"*".to_vec();
    levelled.extend(words.join(&b' '));
    levelled.push(b'\n');
    levelled
}

/// Where `needle` starts in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return None;
    }
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Sorts the lines of every list, as neither server promises an order.
pub fn sort_lists(said: &mut [Said]) {
    let mut start = 0;
    while start < said.len() {
        let lines = said[start..]
            .iter()
            .take_while(|one| matches!(one, Said::Line(line) if !is_single(line) && line != b".\n"))
            .count();
        said[start..start + lines].sort();
        start += lines + 1;
    }
}

fn is_single(line: &[u8]) -> bool {
    line.starts_with(b"OK") || line.starts_with(b"ERR ")
}
