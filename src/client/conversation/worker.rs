//! The worker's side: registering functions, grabbing jobs, sleeping, reporting.
//!
//! Every GRAB_JOB is answered by exactly one packet, a job or NO_JOB, and
//! several may be outstanding. A worker without a job and without a grab
//! outstanding sleeps (PRE_SLEEP) until NOOP.

use std::time::Duration;

use super::client::{checked, unasked};
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::{PACKET_BYTES_MAX, ProtocolError};
use crate::protocol::packet::{Command, Packet};

/// A job that the server hands out. All bytes are borrowed from what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The server's name for the job.
    pub handle: &'a [u8],
    /// The function to run.
    pub function: &'a [u8],
    /// The unique that its client gave; empty when there is none.
    pub unique: &'a [u8],
    /// The function that runs the parts, for a job that is to be split.
    pub reducer: Option<&'a [u8]>,
    /// What to run it on.
    pub workload: &'a [u8],
}

/// What a server tells a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEvent<'a> {
    /// A job to run.
    Assigned(Assignment<'a>),
    /// There was none for a grab.
    NoJob,
    /// There may be a job again.
    Woken,
    /// The server refuses something that was sent earlier. Usually a result
    /// for a job that it has taken back meanwhile (`JOB_NOT_FOUND`).
    Refused {
        /// Its code.
        code: &'a [u8],
        /// Its words.
        text: &'a [u8],
    },
    /// The bytes of an echo.
    Echo(&'a [u8]),
}

/// One worker's connection.
///
/// ```
/// use gearshard::client::conversation::{WorkerConversation, WorkerEvent};
///
/// let mut talk = WorkerConversation::default();
/// talk.can_do(b"f", None);
/// talk.grab();
/// talk.sent(talk.outgoing().len());
///
/// let mut jobs = Vec::new();
/// talk.receive(b"\0RES\0\0\0\x0b\0\0\0\x08H:x:1\0f\0", |event| {
///     if let WorkerEvent::Assigned(job) = event {
///         jobs.push(job.handle.to_vec());
///     }
/// })?;
/// # assert_eq!(jobs, [b"H:x:1"]);
/// talk.complete(&jobs[0], b"result");
/// assert!(talk.outgoing().ends_with(b"H:x:1\0result"));
/// # Ok::<(), gearshard::client::conversation::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct WorkerConversation {
    inbox: Inbox,
    state: State,
    outbox: Outbox,
}

#[derive(Debug)]
struct State {
    /// How many jobs and grabs there may be together.
    ahead: usize,
    /// How many there may be at present: one after a NO_JOB, and twice as many with every job that comes.
    window: usize,
    grabs: usize,
    held: usize,
    echoes: usize,
    asleep: bool,
}

impl Default for WorkerConversation {
    fn default() -> Self {
        Self::new(1, PACKET_BYTES_MAX)
    }
}

impl WorkerConversation {
    /// A new connection that asks for up to `ahead` jobs (at least one) at a
    /// time, in packets whose bodies have at most so many bytes.
    #[must_use]
    pub fn new(ahead: usize, packet_bytes_max: u32) -> Self {
        let state = State { ahead: ahead.max(1), window: 1, grabs: 0, held: 0, echoes: 0, asleep: false };
        Self { inbox: Inbox::new(packet_bytes_max), state, outbox: Outbox::default() }
    }

    /// Tells what the worker is called in the server's list of workers.
    pub fn set_id(&mut self, id: &[u8]) {
        self.outbox.request(Command::SetClientId, &[id], b"");
    }

    /// Serves a function. With a timeout the server takes a job back that has not ended by then.
    ///
    /// The name is the caller's to check (see [`Job::command`](crate::client::Job::command)).
    pub fn can_do(&mut self, function: &[u8], timeout: Option<Duration>) {
        match timeout {
            None => self.outbox.request(Command::CanDo, &[function], b""),
            Some(timeout) => {
                let ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).min(i32::MAX as u32);
                let mut text = itoa::Buffer::new();
                self.outbox.request(
                    Command::CanDoTimeout,
                    &[function, text.format(ms.max(1)).as_bytes()],
                    b"",
                );
            }
        }
    }

    /// Serves a function no more; jobs of it that are held go back to the server.
    pub fn cant_do(&mut self, function: &[u8]) {
        self.outbox.request(Command::CantDo, &[function], b"");
    }

    /// Serves nothing any more; all jobs that are held go back to the server.
    pub fn reset_abilities(&mut self) {
        self.outbox.request(Command::ResetAbilities, &[], b"");
        self.state.held = 0;
    }

    /// Gives `jobs` jobs that are held, all there are of this function, back to
    /// the server, and goes on serving it with this timeout.
    pub fn give_back(&mut self, function: &[u8], timeout: Option<Duration>, jobs: usize) {
        self.cant_do(function);
        self.can_do(function, timeout);
        self.state.held = self.state.held.saturating_sub(jobs);
    }

    /// Asks for the same bytes back.
    pub fn echo(&mut self, data: &[u8]) {
        self.state.echoes += 1;
        self.outbox.request(Command::EchoReq, &[], data);
    }

    /// Asks for jobs, as many as may be asked for: one at first, and more while jobs keep coming.
    pub fn grab(&mut self) {
        let state = &mut self.state;
        while state.grabs + state.held < state.window {
            self.outbox.request(Command::GrabJobAll, &[], b"");
            state.grabs += 1;
            state.asleep = false;
        }
    }

    /// Asks for one job, whatever is held, unless it has been asked for one that has not been answered.
    pub fn grab_one(&mut self) {
        if self.state.grabs == 0 {
            self.outbox.request(Command::GrabJobAll, &[], b"");
            self.state.grabs = 1;
            self.state.asleep = false;
        }
    }

    /// Asks to be woken by [`WorkerEvent::Woken`]; for an idle worker.
    pub fn sleep(&mut self) {
        self.outbox.request(Command::PreSleep, &[], b"");
        self.state.asleep = true;
    }

    /// Sleeps no longer, without having been woken: to ask all the same.
    pub const fn wake(&mut self) {
        self.state.asleep = false;
    }

    /// Whether it holds no job and waits for no answer to a grab.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.state.held == 0 && self.state.grabs == 0
    }

    /// How many grabs have not been answered.
    #[must_use]
    pub const fn unanswered(&self) -> usize {
        self.state.grabs
    }

    /// Whether it has asked to be woken and has not been.
    #[must_use]
    pub const fn is_asleep(&self) -> bool {
        self.state.asleep
    }

    /// Part of a result.
    pub fn data(&mut self, handle: &[u8], data: &[u8]) {
        self.outbox.request(Command::WorkData, &[handle], data);
    }

    /// A warning.
    pub fn warning(&mut self, handle: &[u8], data: &[u8]) {
        self.outbox.request(Command::WorkWarning, &[handle], data);
    }

    /// How far the job has got.
    pub fn status(&mut self, handle: &[u8], numerator: u32, denominator: u32) {
        let (mut of, mut all) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (of, all) = (of.format(numerator), all.format(denominator));
        self.outbox.request(Command::WorkStatus, &[handle, of.as_bytes(), all.as_bytes()], b"");
    }

    /// The job is done; the (last part of the) result.
    pub fn complete(&mut self, handle: &[u8], result: &[u8]) {
        self.outbox.request(Command::WorkComplete, &[handle], result);
        self.ended();
    }

    /// The job failed.
    pub fn fail(&mut self, handle: &[u8]) {
        self.outbox.request(Command::WorkFail, &[handle], b"");
        self.ended();
    }

    /// The job ended with an exception. Clients that have not asked for exceptions hear that it failed.
    pub fn exception(&mut self, handle: &[u8], data: &[u8]) {
        self.outbox.request(Command::WorkException, &[handle], data);
        self.ended();
    }

    fn ended(&mut self) {
        self.state.held = self.state.held.saturating_sub(1);
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

    /// Takes what was received, and hands the events in it to `each`, in order.
    ///
    /// # Errors
    /// When the server does not keep to the protocol; the connection is to be closed.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(WorkerEvent<'_>),
    ) -> Result<(), ProtocolError> {
        let Self { inbox, state, .. } = self;
        inbox.feed(bytes, |packet| event(state, packet).map(|event| event.into_iter().for_each(&mut each)))
    }
}

fn event<'a>(state: &mut State, packet: &Packet<'a>) -> Result<Option<WorkerEvent<'a>>, ProtocolError> {
    let args = &packet.args;
    let assignment = |unique, reducer| -> Result<_, ProtocolError> {
        let (handle, workload) = (checked(args[0])?, packet.data);
        Ok(Some(WorkerEvent::Assigned(Assignment { handle, function: args[1], unique, reducer, workload })))
    };
    match packet.command {
        Command::JobAssign | Command::JobAssignUniq | Command::JobAssignAll | Command::NoJob
            if state.grabs == 0 =>
        {
            return Err(unasked(packet));
        }
        Command::JobAssign | Command::JobAssignUniq | Command::JobAssignAll => {
            state.grabs -= 1;
            state.held += 1;
            state.window = (2 * state.window).min(state.ahead);
        }
        Command::NoJob => {
            state.grabs -= 1;
            state.window = 1;
        }
        _ => {}
    }
    match packet.command {
        Command::JobAssign => assignment(&[], None),
        Command::JobAssignUniq => assignment(args[2], None),
        // gearmand sends this form only for jobs with a reducer; others may leave it empty.
        Command::JobAssignAll => assignment(args[2], Some(args[3]).filter(|name| !name.is_empty())),
        Command::NoJob => Ok(Some(WorkerEvent::NoJob)),
        // One may cross with a grab; that one's answer tells more.
        Command::Noop if !state.asleep => Ok(None),
        Command::Noop => {
            state.asleep = false;
            Ok(Some(WorkerEvent::Woken))
        }
        Command::EchoRes if state.echoes > 0 => {
            state.echoes -= 1;
            Ok(Some(WorkerEvent::Echo(packet.data)))
        }
        Command::Error => Ok(Some(WorkerEvent::Refused { code: args[0], text: args[1] })),
        _ => Err(unasked(packet)),
    }
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

    // What has been sent since the last time, by name.
    fn said(talk: &mut WorkerConversation) -> Vec<&'static str> {
        let bytes = talk.outgoing().to_vec();
        talk.sent(bytes.len());
        let mut names = Vec::new();
        let mut rest = &bytes[..];
        while let Ok(Some((Frame::Binary(packet), used))) = decode(rest, 1000) {
            names.push(packet.command.name());
            rest = &rest[used..];
        }
        names
    }

    fn heard(talk: &mut WorkerConversation, bytes: &[u8]) -> usize {
        let mut count = 0;
        talk.receive(bytes, |_| count += 1).unwrap();
        count
    }

    #[test]
    fn a_worker_grabs_runs_and_sleeps() {
        let mut talk = WorkerConversation::default();
        talk.can_do(b"f", None);
        talk.can_do(b"g", Some(Duration::from_millis(1500)));
        talk.grab();
        talk.grab();
        assert_eq!(said(&mut talk), ["CAN_DO", "CAN_DO_TIMEOUT", "GRAB_JOB_ALL"]);
        assert_eq!(heard(&mut talk, &response(Command::JobAssignUniq, &[b"H:1", b"f", b"u"], b"w")), 1);
        talk.grab();
        assert_eq!(said(&mut talk), [""; 0], "it has its job");
        talk.status(b"H:1", 1, 2);
        talk.complete(b"H:1", b"done");
        talk.grab();
        assert_eq!(said(&mut talk), ["WORK_STATUS", "WORK_COMPLETE", "GRAB_JOB_ALL"]);
        assert!(!talk.is_idle());
        assert_eq!(heard(&mut talk, &response(Command::NoJob, &[], b"")), 1);
        assert!(talk.is_idle());
        talk.sleep();
        assert_eq!(heard(&mut talk, &response(Command::Noop, &[], b"")), 1);
        assert_eq!(heard(&mut talk, &response(Command::Noop, &[], b"")), 0, "it is awake already");
    }

    #[test]
    fn several_grabs_are_outstanding_while_there_is_work() {
        let mut talk = WorkerConversation::new(3, 1000);
        let job = response(Command::JobAssignUniq, &[b"H:1", b"f", b""], b"");
        // Together with what is held: one, two, and three at most.
        for grabs in [1, 1, 1, 0] {
            talk.grab();
            assert_eq!(said(&mut talk).len(), grabs);
            heard(&mut talk, &job.repeat(grabs));
        }
        for _ in 0..3 {
            talk.complete(b"H:1", b"");
        }
        talk.grab();
        assert_eq!(said(&mut talk).len(), 6);
        heard(&mut talk, &[job, response(Command::NoJob, &[], b"").repeat(2)].concat());
        talk.complete(b"H:1", b"");
        talk.grab();
        assert_eq!(said(&mut talk), ["WORK_COMPLETE", "GRAB_JOB_ALL"], "work is scarce");
    }

    #[test]
    fn a_worker_that_gives_everything_up_holds_nothing() {
        let mut talk = WorkerConversation::default();
        talk.can_do(b"f", None);
        talk.grab();
        heard(&mut talk, &response(Command::JobAssignUniq, &[b"H:1", b"f", b""], b""));
        talk.cant_do(b"g");
        assert!(!talk.is_idle());
        talk.reset_abilities();
        assert!(talk.is_idle());
        assert_eq!(said(&mut talk), ["CAN_DO", "GRAB_JOB_ALL", "CANT_DO", "RESET_ABILITIES"]);
    }

    #[test]
    fn a_job_that_was_not_grabbed_is_an_error() {
        let job = response(Command::JobAssignUniq, &[b"H:1", b"f", b""], b"");
        for bytes in [job, response(Command::NoJob, &[], b""), response(Command::JobCreated, &[b"H:1"], b"")]
        {
            let mut talk = WorkerConversation::default();
            assert!(matches!(talk.receive(&bytes, |_| ()), Err(ProtocolError::Unexpected(_))));
        }
    }
}
