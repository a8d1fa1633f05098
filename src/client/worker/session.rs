//! One connection of a worker, while it lasts: grabbing, running, sleeping.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::function::{JobError, JobResult, Registered};
use super::notice::Notice;
use super::serve::Shared;
use super::task::{Held, WorkerJob};
use crate::client::address::ServerAddress;
use crate::client::conversation::{WorkerConversation, WorkerEvent};
use crate::client::error::LossReason;
use crate::client::job::JobHandle;
use crate::client::socket::Socket;

/// How much is received at a time.
const READ_BYTES: usize = 64 << 10;
/// Results of jobs that were handed out ahead are sent when they are as long as this,
const CORKED_BYTES: usize = 16 << 10;
/// or as old as this.
const CORKED_TIME: Duration = Duration::from_micros(200);
/// A function whose jobs take longer is not run before earlier results are sent.
const QUICK: Duration = Duration::from_micros(50);
/// A grab that is not answered within this time does not keep other connections from working.
pub(in crate::client) const TICK: Duration = Duration::from_millis(200);
/// How long to wait, at the end, until the server has taken everything.
pub(in crate::client) const GOODBYE: Duration = Duration::from_secs(2);

/// How a connection ended.
pub(super) enum End {
    Stopped,
    Lost(LossReason),
}

pub(super) struct Session {
    shared: Arc<Shared>,
    server: Arc<ServerAddress>,
    socket: Socket,
    pub(super) talk: WorkerConversation,
    held: VecDeque<Held>,
    buffer: Vec<u8>,
    lost: Option<LossReason>,
    /// One of the worker's permits is here.
    permitted: bool,
    /// For how long an answer has been waited for.
    waited: Duration,
    /// When the oldest result was held back.
    corked_since: Option<Instant>,
    /// How long each function's jobs take, roughly.
    usual: Vec<Duration>,
}

impl Session {
    pub(super) fn new(shared: &Arc<Shared>, server: &Arc<ServerAddress>, socket: Socket) -> Self {
        let functions = shared.functions.iter().map(|registered| (&*registered.name, registered.timeout));
        let talk = shared.settings.introduction(shared.ahead, functions);
        Self {
            shared: Arc::clone(shared),
            server: Arc::clone(server),
            socket,
            talk,
            held: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
            lost: None,
            permitted: false,
            waited: Duration::ZERO,
            corked_since: None,
            // Not known to be quick.
            usual: vec![2 * QUICK; shared.functions.len()],
        }
    }

    pub(super) fn server(&self) -> Arc<ServerAddress> {
        Arc::clone(&self.server)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.shared.is_stopping()
    }

    /// Serves until the worker stops or the connection is gone.
    pub(super) fn run(mut self) -> End {
        while self.permit() {
            self.work();
            self.release();
            if self.lost.is_none() && !self.is_stopping() {
                self.sleep();
            }
            if let Some(reason) = self.lost.take() {
                return End::Lost(reason);
            }
        }
        self.release();
        self.goodbye()
    }

    /// Gets a permit, unless it has one or the worker stops.
    fn permit(&mut self) -> bool {
        if self.is_stopping() {
            return false;
        }
        self.permitted = self.permitted || self.shared.permits.acquire();
        self.permitted
    }

    fn release(&mut self) {
        if std::mem::take(&mut self.permitted) {
            self.shared.permits.release();
        }
    }

    /// Grabs and runs jobs until there are none, the worker stops, or another connection is to have its turn.
    fn work(&mut self) {
        self.talk.grab();
        loop {
            if self.held.is_empty() {
                self.flush();
            }
            if self.lost.is_some() || self.is_stopping() {
                return;
            }
            if self.held.is_empty() && self.talk.is_idle() {
                return;
            }
            if self.held.is_empty() {
                self.receive();
                if !self.held.is_empty() && !self.is_stopping() && !self.shared.permits.wanted() {
                    self.talk.grab();
                }
            } else if self.permit() {
                let held = self.held.pop_front().expect("there is one");
                self.run_job(held);
                if !self.is_stopping() && !self.shared.permits.wanted() {
                    self.talk.grab();
                }
            }
        }
    }

    fn sleep(&mut self) {
        self.talk.sleep();
        self.flush();
        let until = Instant::now() + self.shared.settings.recheck;
        while self.talk.is_asleep() && self.lost.is_none() && !self.is_stopping() {
            let left = until.saturating_duration_since(Instant::now());
            match self.socket.wait_or(self.shared.stop_fd(), Some(left)) {
                Err(error) => self.lost = Some(LossReason::Io(Arc::new(error))),
                // Asks again: servers have been known to forget whom they were to wake, and to fall silent.
                Ok(_) if left.is_zero() => return,
                Ok(true) => self.receive(),
                Ok(false) => {}
            }
        }
    }

    /// Receives once; what came is filed.
    fn receive(&mut self) {
        let received = match self.socket.read(&mut self.buffer) {
            Ok(0) => Err(LossReason::Closed),
            Ok(count) => {
                self.waited = Duration::ZERO;
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.waited += TICK;
                self.release();
                if self.waited < self.shared.settings.answer_timeout {
                    return;
                }
                Err(LossReason::Silent(self.shared.settings.answer_timeout))
            }
            Err(error) => Err(LossReason::Io(Arc::new(error))),
        };
        let Self { talk, held, shared, buffer, server, .. } = self;
        let filed = received.and_then(|count| {
            let filed = talk.receive(&buffer[..count], |event| match event {
                WorkerEvent::Assigned(assignment) => {
                    let function = shared.function(assignment.function);
                    held.push_back(Held::new(&assignment, function));
                }
                WorkerEvent::Refused { code, text } => shared.settings.notify(|| Notice::Refused {
                    server: (**server).clone(),
                    code: String::from_utf8_lossy(code).into_owned(),
                    text: String::from_utf8_lossy(text).into_owned(),
                }),
                _ => {}
            });
            filed.map_err(LossReason::Protocol)
        });
        if let Err(reason) = filed {
            self.lost = Some(reason);
        }
    }

    fn run_job(&mut self, mut held: Held) {
        let shared = Arc::clone(&self.shared);
        let Some(index) = held.function else {
            // The server hands out what was never registered.
            self.talk.fail(held.handle());
            return;
        };
        let Some(last) = shared.begin_job() else {
            // It goes back when the connection closes, which is when the last job that may run has ended.
            shared.wait_for_stop();
            return;
        };
        let registered = &shared.functions[index];
        if self.usual[index] > QUICK {
            self.flush();
        }
        let start = Instant::now();
        let result = {
            let mut job = WorkerJob::new(&mut held, &registered.name, self);
            catch_unwind(AssertUnwindSafe(|| registered.function.run(&mut job)))
        };
        let result = result.unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            let handle = JobHandle::new(held.handle(), Some(self.server()));
            shared.settings.notify(|| Notice::Panicked { handle, message: message.clone() });
            Err(JobError::Exception(message.into_bytes()))
        });
        self.conclude(&held, index, registered, result);
        if last {
            shared.stop();
        }
        let now = Instant::now();
        let took = now - start;
        self.usual[index] = (self.usual[index] * 3 + took) / 4;
        let corked_since = *self.corked_since.get_or_insert(now);
        let old = now - corked_since > CORKED_TIME || took > QUICK;
        if !self.held.is_empty() && (old || self.talk.outgoing().len() > CORKED_BYTES) {
            self.flush();
        }
    }

    fn conclude(&mut self, held: &Held, index: usize, registered: &Registered, result: JobResult) {
        match result {
            Ok(result) => self.talk.complete(held.handle(), &result),
            Err(JobError::Failed) => self.talk.fail(held.handle()),
            Err(JobError::Exception(data)) => self.talk.exception(held.handle(), &data),
            Err(JobError::Retry) => {
                let before = self.held.len();
                self.held.retain(|other| other.function != Some(index));
                let jobs = 1 + before - self.held.len();
                self.talk.give_back(&registered.name, registered.timeout, jobs);
            }
            Err(JobError::Lost) => {
                self.lost.get_or_insert(LossReason::Closed);
            }
        }
    }

    /// Sends what a job reports, at once.
    pub(super) fn report(&mut self) -> Result<(), JobError> {
        self.flush();
        if self.lost.is_some() { Err(JobError::Lost) } else { Ok(()) }
    }

    fn flush(&mut self) {
        self.corked_since = None;
        if self.lost.is_some() || self.talk.outgoing().is_empty() {
            return;
        }
        let bytes = self.talk.outgoing();
        let count = bytes.len();
        match self.socket.send_all(bytes, self.shared.settings.answer_timeout) {
            Ok(()) => self.talk.sent(count),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                self.lost = Some(LossReason::Silent(self.shared.settings.answer_timeout));
            }
            Err(error) => self.lost = Some(LossReason::Io(Arc::new(error))),
        }
    }

    /// Closes in good order. Jobs that were handed out and not begun go back to the server.
    ///
    /// Closing a socket with something unread resets the connection, and the
    /// last results with it: so the server closes first.
    fn goodbye(mut self) -> End {
        self.flush();
        self.socket.finish();
        let start = Instant::now();
        while let Some(left) = GOODBYE.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            let timeout = self.socket.set_read_timeout(Some(left));
            if timeout.is_err() || !matches!(self.socket.read(&mut self.buffer), Ok(1..)) {
                break;
            }
        }
        End::Stopped
    }
}

pub(in crate::client) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}
