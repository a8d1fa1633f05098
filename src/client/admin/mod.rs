//! The administrator's connection: lists of functions, workers and jobs, and orders.
//!
//! ```no_run
//! use gearshard::client::Admin;
//! use std::time::Duration;
//!
//! let mut admin = Admin::connect(&"localhost:4730".parse()?, Duration::from_secs(5))?;
//! for function in admin.status()? {
//!     println!("{}: {} wait", String::from_utf8_lossy(&function.name), function.waiting());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Whatever the server sends, or does not send, every call ends within the
//! timeout and keeps a bounded part of it.

mod dead;
mod error;
mod rows;

pub use crate::protocol::retry::{BadPolicy, Cause, Causes, EVERY_FUNCTION, RetryPolicy, Then};
pub use dead::{DeadLetter, DeadLetters};
pub use error::AdminError;
pub use rows::{FunctionActivity, FunctionPriorities, FunctionStatus, Peer, QueuedJob};

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::ServerAddress;
use super::socket::Socket;
use crate::protocol::admin::{AdminCommand, parse};
use rows::Shape;

/// How much is received at a time.
const READ_BYTES: usize = 64 << 10;
/// The longest line of a list: a connection with ten thousand long names.
const LINE_BYTES_MAX: usize = 8 << 20;
/// How much of a list is kept, unless told otherwise.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// How much of what is no answer is shown.
const SHOWN_BYTES: usize = 80;
/// The line that ends a list.
const LIST_END: &[u8] = b".";

/// An administrator of one server.
///
/// A connection that is lost or out of step is made anew by the next call.
#[derive(Debug)]
pub struct Admin {
    server: ServerAddress,
    timeout: Duration,
    answer_bytes_max: usize,
    socket: Option<Socket>,
    received: Vec<u8>,
    /// How much of `received` has been read as lines.
    taken: usize,
}

/// Waiting for one answer.
struct Waiting {
    /// `None` is for ever.
    until: Option<Instant>,
    /// How much of the answer has been taken.
    bytes: usize,
}

impl Admin {
    /// Connects to a server. Connecting, and later each call, may take as long as `timeout`.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn connect(server: &ServerAddress, timeout: Duration) -> Result<Self, AdminError> {
        let mut admin = Self::new(server.clone(), timeout);
        admin.reach()?;
        Ok(admin)
    }

    /// As [`connect`](Self::connect), but connects with the first call.
    #[must_use]
    pub const fn new(server: ServerAddress, timeout: Duration) -> Self {
        Self {
            server,
            timeout,
            answer_bytes_max: ANSWER_BYTES_MAX,
            socket: None,
            received: Vec::new(),
            taken: 0,
        }
    }

    /// How much of an answer is read before it is [`AdminError::TooLong`], in bytes. Default: 256 MiB.
    #[must_use]
    pub const fn answer_bytes_max(mut self, bytes: usize) -> Self {
        self.answer_bytes_max = bytes;
        self
    }

    /// The server's address.
    #[must_use]
    pub const fn server(&self) -> &ServerAddress {
        &self.server
    }

    /// The functions, their jobs and workers.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn status(&mut self) -> Result<Vec<FunctionStatus>, AdminError> {
        self.list(AdminCommand::Status, &Shape::Ends(rows::function_status))
    }

    /// The functions' waiting jobs by priority. Old servers refuse.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn prioritystatus(&mut self) -> Result<Vec<FunctionPriorities>, AdminError> {
        self.list(AdminCommand::PriorityStatus, &Shape::Ends(rows::function_priorities))
    }

    /// What the functions have been doing. Of this crate's server only; others refuse.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn show_functions(&mut self) -> Result<Vec<FunctionActivity>, AdminError> {
        self.list(AdminCommand::ShowFunctions, &Shape::Ends(rows::function_activity))
    }

    /// All connections, this one included.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn workers(&mut self) -> Result<Vec<Peer>, AdminError> {
        self.list(AdminCommand::Workers, &Shape::Begins(rows::peer))
    }

    /// All jobs that wait or run.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn show_jobs(&mut self) -> Result<Vec<QueuedJob>, AdminError> {
        self.list(AdminCommand::ShowJobs, &Shape::Ends(rows::queued_job))
    }

    /// The uniques of all jobs that wait or run; an empty one for a job without.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn show_unique_jobs(&mut self) -> Result<Vec<Vec<u8>>, AdminError> {
        self.list(AdminCommand::ShowUniqueJobs, &Shape::Ends(rows::unique))
    }

    /// Fails a job: its clients hear so. A worker that has it already is not told.
    ///
    /// # Errors
    /// [`AdminError::Refused`] with `UNKNOWN_JOB` when there is no such job; else see [`AdminError`].
    pub fn cancel_job(&mut self, handle: impl AsRef<[u8]>) -> Result<(), AdminError> {
        self.order(AdminCommand::CancelJob(sendable(handle.as_ref())?))
    }

    /// Refuses further jobs of a function once it has so many, for high, normal and low priority; 0 is no
    /// limit. A function that does not exist keeps no limit, and servers do not say so.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn maxqueue(
        &mut self,
        function: impl AsRef<[u8]>,
        high: u32,
        normal: u32,
        low: u32,
    ) -> Result<(), AdminError> {
        self.order(AdminCommand::MaxQueue(sendable(function.as_ref())?, [low, normal, high]))
    }

    /// Makes a function known to the server.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn create_function(&mut self, function: impl AsRef<[u8]>) -> Result<(), AdminError> {
        self.order(AdminCommand::CreateFunction(sendable(function.as_ref())?))
    }

    /// Makes the server forget a function that has no workers and no running jobs.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when it has, or does not exist; else see [`AdminError`].
    pub fn drop_function(&mut self, function: impl AsRef<[u8]>) -> Result<(), AdminError> {
        self.order(AdminCommand::DropFunction(sendable(function.as_ref())?))
    }

    /// The server's process id, on its own machine.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn getpid(&mut self) -> Result<u32, AdminError> {
        let text = self.ask(&AdminCommand::GetPid.line())?;
        text.parse().map_err(|_| self.garbage(text.as_bytes()))
    }

    /// The server's version.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn version(&mut self) -> Result<String, AdminError> {
        self.ask(&AdminCommand::Version.line())
    }

    /// The level from which on the server logs, such as `ERROR`.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn verbose(&mut self) -> Result<String, AdminError> {
        self.ask(&AdminCommand::Verbose.line())
    }

    /// Tells the server to end; gracefully, once no job is left. Old servers do. Later ones,
    /// gearmand 1.1.20 and this crate's included, refuse: there it takes a signal.
    ///
    /// # Errors
    /// [`AdminError::Refused`] by most servers; else see [`AdminError`].
    pub fn shutdown(&mut self, gracefully: bool) -> Result<(), AdminError> {
        let line: &[u8] = if gracefully { b"shutdown graceful" } else { b"shutdown" };
        self.ask(line).map(drop)
    }

    /// Sends a line and gives the answer as it came, ends of lines included: a
    /// list if the line asks for one, else one line.
    ///
    /// # Errors
    /// Never [`AdminError::Refused`]; else see [`AdminError`].
    pub fn raw(&mut self, line: impl AsRef<[u8]>) -> Result<Vec<u8>, AdminError> {
        let line = line.as_ref();
        if line.contains(&b'\n') {
            return Err(AdminError::Name(line.to_vec()));
        }
        let is_list = parse(line).is_ok_and(|command| command.is_list());
        let mut waiting = self.send(line)?;
        let mut answer = Vec::new();
        loop {
            let part = self.line(&mut waiting)?;
            let is_refusal = answer.is_empty() && part.starts_with(b"ERR UNKNOWN_");
            answer.extend_from_slice(&part);
            answer.push(b'\n');
            if !is_list || part == LIST_END || is_refusal {
                return Ok(answer);
            }
        }
    }

    fn order(&mut self, command: AdminCommand<'_>) -> Result<(), AdminError> {
        self.ask(&command.line()).map(drop)
    }

    /// What follows `OK`.
    fn ask(&mut self, line: &[u8]) -> Result<String, AdminError> {
        let mut waiting = self.send(line)?;
        let answer = self.line(&mut waiting)?;
        let answer = answer.strip_suffix(b"\r").unwrap_or(&answer);
        if let Some(text) = refusal(answer) {
            return Err(AdminError::Refused { server: self.server.clone(), text });
        }
        match answer.strip_prefix(b"OK") {
            Some([]) => Ok(String::new()),
            Some([b' ', text @ ..]) => Ok(String::from_utf8_lossy(text).into_owned()),
            _ => Err(self.garbage(answer)),
        }
    }

    fn list<T>(&mut self, command: AdminCommand<'_>, shape: &Shape<T>) -> Result<Vec<T>, AdminError> {
        let mut waiting = self.send(&command.line())?;
        let mut rows = Vec::new();
        // A row that may go on in the next line.
        let mut begun: Vec<u8> = Vec::new();
        loop {
            let line = match self.line(&mut waiting) {
                Ok(line) => line,
                // What has come was no list.
                Err(_) if rows.is_empty() && !begun.is_empty() => return Err(self.garbage(&begun)),
                Err(error) => return Err(error),
            };
            let is_end = line == LIST_END;
            if rows.is_empty() && begun.is_empty() && line.starts_with(b"ERR UNKNOWN_") {
                let text = refusal(line.strip_suffix(b"\r").unwrap_or(&line)).unwrap_or_default();
                return Err(AdminError::Refused { server: self.server.clone(), text });
            }
            if !begun.is_empty() && (is_end || shape.begins(&line)) {
                let row = shape.read(&begun).ok_or_else(|| self.garbage(&begun))?;
                rows.push(row);
                begun.clear();
            }
            if begun.is_empty() && is_end {
                return Ok(rows);
            }
            begun.extend_from_slice(&line);
            match shape.whole(&begun) {
                Some(row) => {
                    rows.push(row);
                    begun.clear();
                }
                None if shape.is_hopeless(&begun) => return Err(self.garbage(&begun)),
                None => begun.push(b'\n'),
            }
        }
    }

    /// Connects unless there is a connection.
    fn reach(&mut self) -> Result<(), AdminError> {
        if self.socket.is_none() {
            let connected = Socket::connect(&self.server, self.timeout);
            self.socket = Some(connected.map_err(|error| AdminError::Unreachable {
                server: self.server.clone(),
                error: Arc::new(error),
            })?);
        }
        Ok(())
    }

    fn send(&mut self, line: &[u8]) -> Result<Waiting, AdminError> {
        let until = Instant::now().checked_add(self.timeout);
        if self.taken < self.received.len() {
            // More came than was asked for: nobody knows what it answers.
            self.close();
        }
        let idle = self.socket.as_ref().is_some_and(|socket| {
            // There is nothing that a server could have to say.
            !socket.wait(true, false, Some(Duration::ZERO)).is_ok_and(|ready| ready.read)
        });
        if !idle {
            self.close();
        }
        self.reach()?;
        let socket = self.socket.as_ref().expect("just reached");
        // As the old tools do: some servers cut two bytes off a line.
        let sent = socket.send_all(&[line, b"\r\n"].concat(), self.timeout);
        match sent {
            Ok(()) => Ok(Waiting { until, bytes: 0 }),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The next line, without its `\n`.
    fn line(&mut self, waiting: &mut Waiting) -> Result<Vec<u8>, AdminError> {
        let mut searched = 0;
        loop {
            let unread = &self.received[self.taken..];
            if let Some(end) = unread[searched..].iter().position(|&byte| byte == b'\n') {
                let line = unread[..searched + end].to_vec();
                self.taken += line.len() + 1;
                waiting.bytes += line.len() + 1;
                return Ok(line);
            }
            searched = unread.len();
            for (bytes, limit) in
                [(searched, LINE_BYTES_MAX), (waiting.bytes + searched, self.answer_bytes_max)]
            {
                if bytes > limit {
                    self.close();
                    return Err(AdminError::TooLong { server: self.server.clone(), limit });
                }
            }
            self.receive(waiting)?;
        }
    }

    fn receive(&mut self, waiting: &Waiting) -> Result<(), AdminError> {
        self.received.drain(..self.taken);
        self.taken = 0;
        let left = waiting.until.map(|until| until.saturating_duration_since(Instant::now()));
        let silent = AdminError::Silent { server: self.server.clone(), after: self.timeout };
        let Some(socket) = &self.socket else {
            return Err(AdminError::Lost { server: self.server.clone(), error: None });
        };
        if left == Some(Duration::ZERO) {
            self.close();
            return Err(silent);
        }
        let filled = self.received.len();
        self.received.resize(filled + READ_BYTES, 0);
        let read = socket.set_read_timeout(left).and_then(|()| socket.read(&mut self.received[filled..]));
        self.received.truncate(filled + read.as_ref().copied().unwrap_or(0));
        let error = match read {
            Ok(1..) => return Ok(()),
            Ok(0) => AdminError::Lost { server: self.server.clone(), error: None },
            Err(error) if error.kind() == ErrorKind::WouldBlock => silent,
            Err(error) => self.failed(error),
        };
        let text = std::mem::take(&mut self.received);
        self.close();
        // Half a line and nothing before it is told as what it is.
        Err(if text.is_empty() || waiting.bytes > 0 { error } else { self.garbage(&text) })
    }

    fn failed(&mut self, error: io::Error) -> AdminError {
        self.close();
        let server = self.server.clone();
        if error.kind() == ErrorKind::TimedOut {
            return AdminError::Silent { server, after: self.timeout };
        }
        AdminError::Lost { server, error: Some(Arc::new(error)) }
    }

    fn garbage(&mut self, text: &[u8]) -> AdminError {
        self.close();
        let text = text[..text.len().min(SHOWN_BYTES)].to_vec();
        AdminError::Garbage { server: self.server.clone(), text }
    }

    fn close(&mut self) {
        self.socket = None;
        self.received = Vec::new();
        self.taken = 0;
    }
}

/// A name that a line can carry.
fn sendable(name: &[u8]) -> Result<&[u8], AdminError> {
    let bad = name.is_empty() || name.iter().any(|&byte| byte == b' ' || byte.is_ascii_control());
    if bad { Err(AdminError::Name(name.to_vec())) } else { Ok(name) }
}

/// The words of an `ERR` answer, in which servers write `+` for a space.
fn refusal(answer: &[u8]) -> Option<String> {
    let words = answer.strip_prefix(b"ERR")?;
    Some(String::from_utf8_lossy(words.trim_ascii()).replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_line_cannot_carry_are_refused_before_they_are_sent() {
        for bad in ["", "a b", "a\nshutdown", "a\r", "a\0b"] {
            assert!(matches!(sendable(bad.as_bytes()), Err(AdminError::Name(_))), "{bad:?}");
        }
        assert_eq!(sendable("größe".as_bytes()).unwrap(), "größe".as_bytes());
    }

    #[test]
    fn refusals_are_put_in_words() {
        assert_eq!(refusal(b"ERR UNKNOWN_JOB"), Some("UNKNOWN_JOB".into()));
        assert_eq!(
            refusal(b"ERR UNKNOWN_COMMAND Unknown+server+command"),
            Some("UNKNOWN_COMMAND Unknown server command".into())
        );
        assert_eq!(refusal(b"OK"), None);
    }
}
