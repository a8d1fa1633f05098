//! One named connection of a transcript: what has come, and whether all that
//! was sent has taken effect.
//!
//! To know the latter, a question is asked that every shard of the server has
//! to answer: GET_STATUS_UNIQUE with a unique that nobody has. When its answer
//! is there, whatever was sent before it has been handled everywhere. These
//! answers are taken out of what the transcript sees.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use gearshard::protocol::decode::{Frame, decode};
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, HEADER_BYTES, Magic};

/// How long anything may take that must happen. Far above what is needed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

const QUESTION: &[u8] = b"a question of the transcript player ";

/// One thing from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A packet with RES magic.
    Packet { command: Command, body: Vec<u8> },
    /// A text line with its line end.
    Line(Vec<u8>),
}

/// A client's, worker's or administrator's end.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What has come and was not expected yet.
    pub(crate) inbox: VecDeque<Received>,
    /// Bytes to go out with the next ones.
    held: Vec<u8>,
    /// The sent part of an unfinished packet or line.
    unfinished: Vec<u8>,
    /// The server cannot understand this connection any more.
    pub(crate) broken: bool,
    /// The server has hung up.
    pub(crate) closed: bool,
    /// Something was sent since the last question was answered.
    pub(crate) unsettled: bool,
    asked: u64,
    answered: u64,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(address: SocketAddr) -> Result<Self, String> {
        let opened = TcpStream::connect_timeout(&address, DEADLINE).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(DEADLINE))?;
            Ok(stream)
        });
        Ok(Self {
            stream: opened.map_err(|error| format!("cannot connect: {error}"))?,
            buffer: Vec::new(),
            inbox: VecDeque::new(),
            held: Vec::new(),
            unfinished: Vec::new(),
            broken: false,
            closed: false,
            unsettled: false,
            asked: 0,
            answered: 0,
        })
    }

    /// Sends `bytes`, at once or together with the next ones.
    pub(crate) fn send(&mut self, bytes: &[u8], hold: bool) -> Result<(), String> {
        self.follow(bytes);
        self.held.extend(bytes);
        self.unsettled = true;
        if hold {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.held);
        match self.stream.write_all(&bytes) {
            Ok(()) => Ok(()),
            Err(error) if is_hang_up(error.kind()) => Ok(()), // Seen when reading.
            Err(error) => Err(format!("cannot send: {error}")),
        }
    }

    // Keeps track of where packets end, for questions fit only in between.
    fn follow(&mut self, bytes: &[u8]) {
        self.unfinished.extend(bytes);
        loop {
            match decode(&self.unfinished, u32::MAX) {
                Ok(None) => return,
                Ok(Some((_, taken))) => drop(self.unfinished.drain(..taken)),
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
    }

    /// Asks the question; false when it cannot be asked or answered.
    pub(crate) fn ask(&mut self) -> Result<bool, String> {
        if self.broken || self.closed || !self.unfinished.is_empty() {
            return Ok(false);
        }
        self.asked += 1;
        let mut packet = Vec::new();
        let unique = [QUESTION, self.asked.to_string().as_bytes()].concat();
        encode(&mut packet, Magic::Request, Command::GetStatusUnique, &[&unique], b"");
        self.send(&packet, false)?;
        Ok(true)
    }

    /// Waits for the answers to all questions, or the end of the connection.
    pub(crate) fn await_answers(&mut self) -> Result<(), String> {
        let end = Instant::now() + DEADLINE;
        while self.answered < self.asked && !self.closed {
            if !self.receive(end)? {
                return Err("the server does not answer GET_STATUS_UNIQUE on this connection".to_owned());
            }
        }
        self.unsettled = false;
        Ok(())
    }

    /// The next packet or line; `None` when the connection is closed.
    pub(crate) fn next(&mut self) -> Result<Option<Received>, String> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(received) = self.inbox.pop_front() {
                return Ok(Some(received));
            }
            if self.closed {
                return Ok(None);
            }
            if !self.receive(end)? {
                let unread = match self.buffer.len() {
                    0 => String::new(),
                    length => format!("; {length} bytes of an unfinished packet or line are here"),
                };
                return Err(format!("nothing came{unread}"));
            }
        }
    }

    // Waits for more bytes and sorts them; false when the time is over.
    fn receive(&mut self, end: Instant) -> Result<bool, String> {
        let mut chunk = [0; 65536];
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut chunk));
        match read {
            Ok(0) => self.closed = true,
            Ok(length) => self.buffer.extend(&chunk[..length]),
            Err(error) if is_hang_up(error.kind()) => self.closed = true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("cannot receive: {error}")),
        }
        self.sort()?;
        if self.closed && !self.buffer.is_empty() {
            return Err(format!("closed in the middle of a packet or line: {}", self.buffer.escape_ascii()));
        }
        Ok(true)
    }

    // Takes whole packets and lines from the buffer to the inbox.
    fn sort(&mut self) -> Result<(), String> {
        while let Some((received, taken)) = first(&self.buffer)? {
            self.buffer.drain(..taken);
            match received {
                Received::Packet { command: Command::StatusResUnique, body }
                    if body.starts_with(QUESTION) =>
                {
                    self.answered += 1;
                }
                received => self.inbox.push_back(received),
            }
        }
        Ok(())
    }
}

// The first packet or line, and its length. A line may be of any length here.
fn first(bytes: &[u8]) -> Result<Option<(Received, usize)>, String> {
    let nonsense = |error: &dyn std::fmt::Display| format!("the server sent nonsense: {error}");
    if bytes.first().is_some_and(|&byte| byte != 0) {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        return Ok(end.map(|end| (Received::Line(bytes[..=end].to_vec()), end + 1)));
    }
    match decode(bytes, u32::MAX).map_err(|error| nonsense(&error))? {
        Some((Frame::Binary(packet), taken)) if packet.magic == Magic::Response => {
            let body = bytes[HEADER_BYTES..taken].to_vec();
            Ok(Some((Received::Packet { command: packet.command, body }, taken)))
        }
        Some(_) => Err(nonsense(&"a packet with the magic of a request")),
        None => Ok(None),
    }
}

// A server that closes with unread bytes in its buffer resets.
fn is_hang_up(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}
