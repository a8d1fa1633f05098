//! The client's side: many requests and jobs in flight on one connection.
//!
//! A server answers the requests of a connection in their order, so JOB_CREATED,
//! STATUS_RES, ECHO_RES, OPTION_RES and ERROR belong to the oldest request that
//! has no answer. What happens to a job (WORK_*) comes at any time after its
//! JOB_CREATED, and names the job by its handle.

use std::collections::{HashMap, VecDeque};

use super::inbox::Inbox;
use super::outbox::Outbox;
use super::{PACKET_BYTES_MAX, ProtocolError};
use crate::client::job::{InvalidJob, Job, Mode};
use crate::client::status::JobStatus;
use crate::protocol::handle::HANDLE_BYTES_MAX;
use crate::protocol::packet::{Command, Packet};
use crate::protocol::{number, up_to_nul};

/// What a server told, about the request with the key that comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent<'a> {
    /// The server has taken the job. The end for a background job.
    Created {
        /// The name that the server gave to the job.
        handle: &'a [u8],
    },
    /// The server refuses the request. The end.
    Refused {
        /// Its code, such as `QUEUE_ERROR`.
        code: &'a [u8],
        /// Its words.
        text: &'a [u8],
    },
    /// Part of the result.
    Data(&'a [u8]),
    /// A warning of the worker.
    Warning(&'a [u8]),
    /// How far the job has got.
    Progress {
        /// Of `denominator`.
        numerator: u64,
        /// What `numerator` reaches when the job is done.
        denominator: u64,
    },
    /// The job is done; the (last part of the) result. The end.
    Complete(&'a [u8]),
    /// The job failed. The end.
    Failed,
    /// The job ended with an exception, which carries what the worker has to say. The end.
    Exception(&'a [u8]),
    /// The answer to a question for a job's status. The end.
    Status(JobStatus),
    /// The bytes of an echo. The end.
    Echo(&'a [u8]),
    /// The option is on. The end.
    OptionSet,
}

impl ClientEvent<'_> {
    /// Whether nothing comes after it for a request of this kind.
    #[must_use]
    pub const fn is_last(&self, mode: Mode) -> bool {
        match self {
            Self::Created { .. } => matches!(mode, Mode::Background),
            Self::Data(_) | Self::Warning(_) | Self::Progress { .. } => false,
            _ => true,
        }
    }
}

/// A request that the server has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Foreground(u64),
    Background(u64),
    Status(u64),
    StatusUnique(u64),
    Echo(u64),
    Option(u64),
}

impl Asked {
    const fn key(self) -> u64 {
        match self {
            Self::Foreground(key)
            | Self::Background(key)
            | Self::Status(key)
            | Self::StatusUnique(key)
            | Self::Echo(key)
            | Self::Option(key) => key,
        }
    }
}

/// The foreground requests that share a job: several when they coalesced.
#[derive(Debug)]
struct Attached {
    first: u64,
    others: Vec<u64>,
    turn: usize,
}

impl Attached {
    fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    // A server sends everything once for each request, one after the other.
    fn next(&mut self) -> u64 {
        let turn = self.turn;
        self.turn = (turn + 1) % (1 + self.others.len());
        if turn == 0 { self.first } else { self.others[turn - 1] }
    }
}

/// One client's connection. Requests carry a key of the caller's choice, which
/// comes back with everything that the server says about them.
///
/// ```
/// use gearshard::client::conversation::{ClientConversation, ClientEvent};
///
/// let mut talk = ClientConversation::default();
/// talk.echo(7, b"hello");
/// assert_eq!(talk.outgoing(), b"\0REQ\0\0\0\x10\0\0\0\x05hello");
/// talk.sent(talk.outgoing().len());
///
/// let mut heard = Vec::new();
/// talk.receive(b"\0RES\0\0\0\x11\0\0\0\x05hello", |key, event| {
///     heard.push((key, matches!(event, ClientEvent::Echo(b"hello"))));
/// })?;
/// assert_eq!(heard, [(7, true)]);
/// assert!(talk.is_idle());
/// # Ok::<(), gearshard::client::conversation::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct ClientConversation {
    inbox: Inbox,
    outbox: Outbox,
    asked: VecDeque<Asked>,
    jobs: HashMap<Box<[u8]>, Attached>,
}

impl Default for ClientConversation {
    fn default() -> Self {
        Self::new(PACKET_BYTES_MAX)
    }
}

impl ClientConversation {
    /// A new connection, whose packets have bodies of at most so many bytes.
    #[must_use]
    pub fn new(packet_bytes_max: u32) -> Self {
        Self {
            inbox: Inbox::new(packet_bytes_max),
            outbox: Outbox::default(),
            asked: VecDeque::new(),
            jobs: HashMap::new(),
        }
    }

    /// Submits a job.
    ///
    /// # Errors
    /// When the protocol cannot carry such a job; nothing is sent then.
    pub fn submit(&mut self, key: u64, job: &Job, mode: Mode) -> Result<(), InvalidJob> {
        let command = job.command(mode)?;
        let (function, unique) = (job.function_name(), job.unique_name());
        let mut epoch = itoa::Buffer::new();
        match command {
            Command::SubmitJobEpoch => {
                let epoch = epoch.format(job.epoch().unwrap_or(0)).as_bytes();
                self.outbox.request(command, &[function, unique, epoch], job.workload());
            }
            Command::SubmitReduceJob | Command::SubmitReduceJobBackground => {
                let reducer = job.reducer_name().unwrap_or_default();
                self.outbox.request(command, &[function, unique, reducer, b"0"], job.workload());
            }
            _ => self.outbox.request(command, &[function, unique], job.workload()),
        }
        self.asked.push_back(match mode {
            Mode::Foreground => Asked::Foreground(key),
            Mode::Background => Asked::Background(key),
        });
        Ok(())
    }

    /// Asks for the status of the job with this handle.
    pub fn status(&mut self, key: u64, handle: &[u8]) {
        self.outbox.request(Command::GetStatus, &[handle], b"");
        self.asked.push_back(Asked::Status(key));
    }

    /// Asks for the status of the job with this unique.
    pub fn status_unique(&mut self, key: u64, unique: &[u8]) {
        self.outbox.request(Command::GetStatusUnique, &[unique], b"");
        self.asked.push_back(Asked::StatusUnique(key));
    }

    /// Asks for the same bytes back.
    pub fn echo(&mut self, key: u64, data: &[u8]) {
        self.outbox.request(Command::EchoReq, &[], data);
        self.asked.push_back(Asked::Echo(key));
    }

    /// Switches an option of the connection on; `exceptions` is the one that servers know.
    pub fn option(&mut self, key: u64, name: &[u8]) {
        self.outbox.request(Command::OptionReq, &[name], b"");
        self.asked.push_back(Asked::Option(key));
    }

    /// What is to be sent next.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        self.outbox.pending()
    }

    /// Moves what is to be sent to the end of `to`, to be sent from there.
    pub fn take_outgoing(&mut self, to: &mut Vec<u8>) {
        self.outbox.take(to);
    }

    /// So many bytes of [`outgoing`](Self::outgoing) have been sent.
    pub fn sent(&mut self, count: usize) {
        self.outbox.sent(count);
    }

    /// How many requests wait for their answer; a job's is its JOB_CREATED.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.asked.len()
    }

    /// Whether nothing is due from the server: no answer, and no end of a foreground job.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.jobs.is_empty()
    }

    /// Takes what was received, and hands the events in it to `each`, in order.
    ///
    /// What is said about a job that is not in flight is passed over: a server
    /// may report a cancelled job twice.
    ///
    /// # Errors
    /// When the server does not keep to the protocol; the connection is to be closed.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(u64, ClientEvent<'_>),
    ) -> Result<(), ProtocolError> {
        let Self { inbox, asked, jobs, .. } = self;
        inbox.feed(bytes, |packet| match packet.command {
            Command::WorkComplete
            | Command::WorkData
            | Command::WorkWarning
            | Command::WorkStatus
            | Command::WorkFail
            | Command::WorkException => {
                work(jobs, packet, &mut each);
                Ok(())
            }
            _ => answer(asked, jobs, packet, &mut each),
        })
    }
}

fn work(
    jobs: &mut HashMap<Box<[u8]>, Attached>,
    packet: &Packet<'_>,
    mut each: impl FnMut(u64, ClientEvent<'_>),
) {
    // gearmand 1.1 ends the handle of a WORK_FAIL with a NUL when the client has not asked for exceptions.
    let handle = up_to_nul(packet.args[0]);
    let event = match packet.command {
        Command::WorkData => ClientEvent::Data(packet.data),
        Command::WorkWarning => ClientEvent::Warning(packet.data),
        Command::WorkStatus => {
            ClientEvent::Progress { numerator: count(packet.args[1]), denominator: count(packet.args[2]) }
        }
        Command::WorkComplete => ClientEvent::Complete(packet.data),
        Command::WorkException => ClientEvent::Exception(packet.data),
        _ => ClientEvent::Failed,
    };
    if event.is_last(Mode::Foreground) {
        if let Some(attached) = jobs.remove(handle) {
            attached.keys().for_each(|key| each(key, event.clone()));
        }
    } else if let Some(attached) = jobs.get_mut(handle) {
        each(attached.next(), event);
    }
}

fn answer(
    asked: &mut VecDeque<Asked>,
    jobs: &mut HashMap<Box<[u8]>, Attached>,
    packet: &Packet<'_>,
    mut each: impl FnMut(u64, ClientEvent<'_>),
) -> Result<(), ProtocolError> {
    let args = &packet.args;
    let Some(&oldest) = asked.front() else {
        return Err(unasked(packet));
    };
    let event = match (packet.command, oldest) {
        (Command::JobCreated, Asked::Foreground(key)) => {
            let handle = checked(args[0])?;
            attach(jobs, handle, key);
            ClientEvent::Created { handle }
        }
        (Command::JobCreated, Asked::Background(_)) => ClientEvent::Created { handle: checked(args[0])? },
        (Command::StatusRes, Asked::Status(_)) => ClientEvent::Status(JobStatus {
            known: args[1] == b"1",
            running: args[2] == b"1",
            numerator: count(args[3]),
            denominator: count(args[4]),
            clients: None,
        }),
        (Command::StatusResUnique, Asked::StatusUnique(_)) => ClientEvent::Status(JobStatus {
            known: args[1] == b"1",
            running: args[2] == b"1",
            numerator: count(args[3]),
            denominator: count(args[4]),
            clients: Some(count(args[5])),
        }),
        (Command::EchoRes, Asked::Echo(_)) => ClientEvent::Echo(packet.data),
        (Command::OptionRes, Asked::Option(_)) => ClientEvent::OptionSet,
        (Command::Error, _) => ClientEvent::Refused { code: args[0], text: args[1] },
        _ => return Err(ProtocolError::Unexpected(packet.command)),
    };
    asked.pop_front();
    each(oldest.key(), event);
    Ok(())
}

pub(super) fn unasked(packet: &Packet<'_>) -> ProtocolError {
    if packet.command != Command::Error {
        return ProtocolError::Unexpected(packet.command);
    }
    let words = |bytes| String::from_utf8_lossy(bytes).into_owned();
    ProtocolError::Error { code: words(packet.args[0]), text: words(packet.args[1]) }
}

pub(super) fn checked(handle: &[u8]) -> Result<&[u8], ProtocolError> {
    let handle = up_to_nul(handle);
    if handle.len() > HANDLE_BYTES_MAX { Err(ProtocolError::LongHandle(handle.len())) } else { Ok(handle) }
}

fn attach(jobs: &mut HashMap<Box<[u8]>, Attached>, handle: &[u8], key: u64) {
    match jobs.get_mut(handle) {
        Some(attached) => attached.others.push(key),
        None => drop(jobs.insert(handle.into(), Attached { first: key, others: Vec::new(), turn: 0 })),
    }
}

fn count(text: &[u8]) -> u64 {
    u64::try_from(number::parse(text).unwrap_or(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::decode::{Frame, decode};
    use crate::protocol::encode::encode;
    use crate::protocol::packet::Magic;

    fn response(command: Command, args: &[&[u8]], data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, Magic::Response, command, args, data);
        bytes
    }

    fn events(conversation: &mut ClientConversation, bytes: &[u8]) -> Vec<(u64, String)> {
        let mut events = Vec::new();
        conversation.receive(bytes, |key, event| events.push((key, format!("{event:?}")))).unwrap();
        events
    }

    #[test]
    fn answers_belong_to_the_oldest_request() {
        let mut talk = ClientConversation::default();
        talk.submit(1, &Job::new("f", "x"), Mode::Foreground).unwrap();
        talk.echo(2, b"e");
        talk.submit(3, &Job::new("f", "y"), Mode::Background).unwrap();
        talk.option(4, b"nonsense");
        talk.status(5, b"H:1");
        let bytes = [
            response(Command::JobCreated, &[b"H:1"], b""),
            response(Command::EchoRes, &[], b"e"),
            response(Command::WorkComplete, &[b"H:1"], b"done"),
            response(Command::JobCreated, &[b"H:2"], b""),
            response(Command::Error, &[b"UNKNOWN_OPTION", b"no"], b""),
            response(Command::StatusRes, &[b"H:1", b"1", b"0", b"3", b"4"], b""),
        ]
        .concat();
        let mut keys = Vec::new();
        // However the bytes are cut.
        for byte in bytes {
            talk.receive(&[byte], |key, event| keys.push((key, event.is_last(Mode::Background)))).unwrap();
        }
        assert_eq!(keys, [(1, true), (2, true), (1, true), (3, true), (4, true), (5, true)]);
        assert!(talk.is_idle());
    }

    #[test]
    fn each_of_two_requests_for_one_job_hears_everything_once() {
        let mut talk = ClientConversation::default();
        for key in [1, 2] {
            talk.submit(key, &Job::new("f", "x").unique("u"), Mode::Foreground).unwrap();
        }
        let twice = |command, data: &[u8]| response(command, &[b"H:1"], data).repeat(2);
        let created = response(Command::JobCreated, &[b"H:1"], b"");
        let bytes =
            [&created, &created, &*twice(Command::WorkData, b"d"), &*twice(Command::WorkComplete, b"c")]
                .map(<[u8]>::to_vec)
                .concat();
        let heard: Vec<u64> = events(&mut talk, &bytes).into_iter().map(|(key, _)| key).collect();
        assert_eq!(heard, [1, 2, 1, 2, 1, 2]);
        assert!(talk.is_idle());
    }

    #[test]
    fn what_was_not_asked_is_an_error() {
        let created = response(Command::JobCreated, &[b"H:1"], b"");
        let mut talk = ClientConversation::default();
        assert_eq!(talk.receive(&created, |_, _| ()), Err(ProtocolError::Unexpected(Command::JobCreated)));
        let mut talk = ClientConversation::default();
        talk.echo(1, b"");
        assert_eq!(talk.receive(&created, |_, _| ()), Err(ProtocolError::Unexpected(Command::JobCreated)));
        let mut talk = ClientConversation::default();
        assert_eq!(talk.receive(b"HTTP/1.0", |_, _| ()), Err(ProtocolError::Text((*b"HTTP/1.0").into())));
        let mut talk = ClientConversation::default();
        talk.echo(1, b"back");
        let own = talk.outgoing().to_vec();
        assert_eq!(talk.receive(&own, |_, _| ()), Err(ProtocolError::Request(Command::EchoReq)));
    }

    #[test]
    fn the_fail_of_gearmand_1_1_with_its_extra_nul_ends_the_job() {
        let mut talk = ClientConversation::default();
        talk.submit(7, &Job::new("f", "x"), Mode::Foreground).unwrap();
        let bytes =
            [response(Command::JobCreated, &[b"H:1"], b""), response(Command::WorkFail, &[b"H:1\0"], b"")]
                .concat();
        assert_eq!(events(&mut talk, &bytes).last(), Some(&(7, "Failed".to_owned())));
    }

    #[test]
    fn requests_are_as_on_the_wire() {
        let mut talk = ClientConversation::default();
        talk.submit(1, &Job::new("f", "x").reducer("r").unique("u"), Mode::Foreground).unwrap();
        let Ok(Some((Frame::Binary(packet), used))) = decode(talk.outgoing(), 1000) else {
            panic!("no packet");
        };
        assert_eq!(packet.command, Command::SubmitReduceJob);
        assert_eq!(&packet.args[..3], [&b"f"[..], b"u", b"r"]);
        assert_eq!(packet.data, b"x");
        assert_eq!(used, talk.outgoing().len());
        talk.sent(used);
        assert_eq!(talk.outgoing(), b"");
    }
}
