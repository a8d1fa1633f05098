//! One connection to one server, shared by every thread of a client.
//!
//! There is no thread behind it. Whoever waits first reads the socket for
//! everybody (it *leads*), files what comes, and wakes whose it is; when it has
//! got what it waited for, one of the others leads on. So a job that is alone
//! costs one send and one receive.
//!
//! Sending never waits while the lock is held, and who has to wait until the
//! server reads goes on reading meanwhile: two peers that both only write
//! would wait for each other for ever.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::address::ServerAddress;
use super::conversation::ClientConversation;
use super::error::LossReason;
use super::job::{InvalidJob, Job, Mode};
use super::mailbox::{Awaited, Letter, Mailboxes, Member};
use super::options::Options;
use super::read_timeout::better_timeout;
use super::socket::Socket;

/// How much is received at a time.
const READ_BYTES: usize = 64 << 10;
/// Held-back requests are sent when they are as long as this.
const CORKED_BYTES: usize = 32 << 10;
/// For how long a server that could not be reached is left alone, at first and at most.
const REST_MIN: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(10);
/// A connection that was not used for so long is looked at before it is used.
const STALE: Duration = Duration::from_secs(1);

/// Why a request was not made.
#[derive(Debug)]
pub(super) enum NotMade {
    Invalid(InvalidJob),
    Unreachable(io::Error),
}

pub(super) struct Link {
    pub(super) address: Arc<ServerAddress>,
    options: Arc<Options>,
    /// Held by the thread that connects.
    connecting: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wire: Option<Wire>,
    mailboxes: Mailboxes,
    /// Somebody reads the socket.
    led: bool,
    waiting: Vec<(Awaited, Thread)>,
    buffer: Vec<u8>,
    connections: u64,
    failures: u32,
    rests_until: Option<Instant>,
}

struct Wire {
    socket: Arc<Socket>,
    talk: ClientConversation,
    /// Which connection of this link it is: what was found out about an earlier one does not concern it.
    number: u64,
    read_timeout: Option<Duration>,
    /// Since when the oldest unanswered request is the one that an answer is due to.
    due_since: Instant,
}

impl State {
    /// When the server will have been silent for too long, if an answer is due.
    fn silent_at(&self, patience: Duration) -> Option<Instant> {
        self.wire.as_ref().filter(|wire| wire.talk.unanswered() > 0).map(|wire| wire.due_since + patience)
    }

    /// Closes a connection that has been unused for some time and that the server has ended.
    fn drop_stale(&mut self) {
        let Some(wire) = &self.wire else { return };
        if !self.led && wire.talk.is_idle() && wire.due_since.elapsed() > STALE {
            // There is nothing that a server could have to say.
            let ended = wire.socket.wait(true, false, Some(Duration::ZERO)).is_ok_and(|ready| ready.read);
            if ended {
                self.lose(LossReason::Closed);
            }
        }
    }

    fn lose(&mut self, reason: LossReason) {
        let Some(wire) = self.wire.take() else { return };
        // Whoever reads from it is to stop.
        wire.socket.close();
        self.mailboxes.lose(&Arc::new(reason));
        self.waiting.iter().for_each(|(_, thread)| thread.unpark());
    }
}

impl Link {
    pub(super) fn new(address: ServerAddress, options: Arc<Options>) -> Self {
        let (connecting, state) = (Mutex::default(), Mutex::default());
        Self { address: Arc::new(address), options, connecting, state }
    }

    // A thread that panicked cannot have left the state half changed: nothing of the user's runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it could not be reached lately.
    pub(super) fn rests(&self) -> bool {
        let state = self.lock();
        state.wire.is_none() && state.rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// Connects unless there is a connection.
    pub(super) fn connect(&self) -> io::Result<()> {
        if self.lock().wire.is_some() {
            return Ok(());
        }
        let _connecting = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.lock().wire.is_some() {
            return Ok(());
        }
        let connected = Socket::connect(&self.address, self.options.connect_timeout);
        let mut state = self.lock();
        match connected {
            Ok(socket) => {
                state.failures = 0;
                state.connections += 1;
                let mut wire = Wire {
                    socket: Arc::new(socket),
                    talk: ClientConversation::new(self.options.packet_bytes_max),
                    number: state.connections,
                    read_timeout: None,
                    due_since: Instant::now(),
                };
                if self.options.exceptions {
                    let slot = state.mailboxes.open(Mode::Background, None);
                    state.mailboxes.abandon(slot);
                    wire.talk.option(slot.into(), b"exceptions");
                }
                state.wire = Some(wire);
                Ok(())
            }
            Err(error) => {
                state.rests_until = Some(Instant::now() + rest_after(state.failures));
                state.failures += 1;
                Err(error)
            }
        }
    }

    /// Makes a request. Corked, it may stay here until somebody waits.
    pub(super) fn request(
        &self,
        mode: Mode,
        member: Option<Member>,
        corked: bool,
        make: impl FnOnce(&mut ClientConversation, u64) -> Result<(), InvalidJob>,
    ) -> Result<u32, NotMade> {
        self.lock().drop_stale();
        let mut state = loop {
            self.connect().map_err(NotMade::Unreachable)?;
            let state = self.lock();
            if state.wire.is_some() {
                break state;
            }
        };
        let slot = state.mailboxes.open(mode, member);
        let wire = state.wire.as_mut().expect("seen under this lock");
        if wire.talk.unanswered() == 0 {
            wire.due_since = Instant::now();
        }
        let made = make(&mut wire.talk, slot.into());
        let full = wire.talk.outgoing().len() >= CORKED_BYTES;
        if let Err(invalid) = made {
            state.mailboxes.discard(slot);
            return Err(NotMade::Invalid(invalid));
        }
        if !corked || full {
            drop(self.flush(state));
        }
        Ok(slot)
    }

    /// As [`request`](Self::request), for a job.
    pub(super) fn submit(
        &self,
        job: &Job,
        mode: Mode,
        member: Option<Member>,
        corked: bool,
    ) -> Result<u32, NotMade> {
        self.request(mode, member, corked, |talk, key| talk.submit(key, job, mode))
    }

    /// Sends what has been held back.
    pub(super) fn uncork(&self) {
        drop(self.flush(self.lock()));
    }

    fn flush<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let mut stuck_since = None;
        loop {
            let Some(wire) = state.wire.as_mut() else { return state };
            if wire.talk.outgoing().is_empty() {
                return state;
            }
            match wire.socket.send(wire.talk.outgoing()) {
                Ok(count) => {
                    wire.talk.sent(count);
                    if stuck_since.take().is_some() {
                        // It reads, if slowly; it cannot answer what it has not got.
                        wire.due_since = Instant::now();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let since = *stuck_since.get_or_insert_with(Instant::now);
                    let patience = self.options.answer_timeout;
                    let Some(left) = patience.checked_sub(since.elapsed()) else {
                        state.lose(LossReason::Silent(patience));
                        return state;
                    };
                    state = self.wait_to_send(state, left);
                }
                Err(error) => state.lose(LossReason::Io(Arc::new(error))),
            }
        }
    }

    /// Waits until the server reads, and reads meanwhile unless somebody else does.
    fn wait_to_send<'a>(&'a self, mut state: MutexGuard<'a, State>, left: Duration) -> MutexGuard<'a, State> {
        let Some(wire) = &state.wire else { return state };
        let (socket, number) = (Arc::clone(&wire.socket), wire.number);
        if state.led {
            drop(state);
            // An error shows when the sending is tried again.
            let _ = socket.wait(false, true, Some(left));
            return self.lock();
        }
        state.led = true;
        let mut buffer = std::mem::take(&mut state.buffer);
        drop(state);
        buffer.resize(READ_BYTES, 0);
        let received = match socket.wait(true, true, Some(left)) {
            Ok(ready) if ready.read => socket.read(&mut buffer),
            Ok(_) => Err(ErrorKind::WouldBlock.into()),
            Err(error) => Err(error),
        };
        let mut state = self.lock();
        self.file(&mut state, number, received, buffer);
        hand_over(&state);
        state
    }

    /// Waits until `awaited` has something, or until the deadline; `take` takes it.
    pub(super) fn wait<T>(
        &self,
        awaited: Awaited,
        deadline: Option<Instant>,
        mut take: impl FnMut(&mut Mailboxes) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.lock();
        let found = loop {
            if let Some(found) = take(&mut state.mailboxes) {
                break Some(found);
            }
            let silent_at = state.silent_at(self.options.answer_timeout);
            let until = [deadline, silent_at].into_iter().flatten().min();
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) && until == silent_at {
                state.lose(LossReason::Silent(self.options.answer_timeout));
            } else if left == Some(Duration::ZERO) || state.wire.is_none() {
                break None;
            } else if state.wire.as_ref().is_some_and(|wire| !wire.talk.outgoing().is_empty()) {
                state = self.flush(state);
            } else if state.led {
                state.waiting.push((awaited, std::thread::current()));
                drop(state);
                match left {
                    None => std::thread::park(),
                    Some(left) => std::thread::park_timeout(left),
                }
                state = self.lock();
                let me = std::thread::current().id();
                state.waiting.retain(|(_, thread)| thread.id() != me);
            } else {
                state = self.lead(state, left);
            }
        };
        hand_over(&state);
        found
    }

    /// Reads once for everybody.
    fn lead<'a>(&'a self, mut state: MutexGuard<'a, State>, left: Option<Duration>) -> MutexGuard<'a, State> {
        let Some(wire) = state.wire.as_mut() else { return state };
        let (socket, number) = (Arc::clone(&wire.socket), wire.number);
        if let Some(timeout) = better_timeout(wire.read_timeout, left) {
            wire.read_timeout = timeout;
            if let Err(error) = socket.set_read_timeout(timeout) {
                state.lose(LossReason::Io(Arc::new(error)));
                return state;
            }
        }
        state.led = true;
        let mut buffer = std::mem::take(&mut state.buffer);
        drop(state);
        buffer.resize(READ_BYTES, 0);
        let received = socket.read(&mut buffer);
        let mut state = self.lock();
        self.file(&mut state, number, received, buffer);
        state
    }

    /// The leader's end: files what came, and wakes whose it is.
    fn file(&self, state: &mut State, number: u64, received: io::Result<usize>, buffer: Vec<u8>) {
        state.led = false;
        let State { wire, mailboxes, waiting, .. } = state;
        if let Some(wire) = wire.as_mut().filter(|wire| wire.number == number) {
            let before = wire.talk.unanswered();
            let limit = self.options.unread_bytes_max;
            let loss = match received {
                Ok(0) => Some(LossReason::Closed),
                Ok(count) => wire
                    .talk
                    .receive(&buffer[..count], |key, event| {
                        let slot = u32::try_from(key).expect("keys are slots");
                        mailboxes.deliver(slot, &event, limit);
                    })
                    .err()
                    .map(LossReason::Protocol),
                Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                Err(error) => Some(LossReason::Io(Arc::new(error))),
            };
            if wire.talk.unanswered() < before {
                wire.due_since = Instant::now();
            }
            if let Some(reason) = loss {
                state.lose(reason);
            } else if !waiting.is_empty() {
                let ready = waiting.iter().filter(|(awaited, _)| mailboxes.is_ready(*awaited));
                ready.for_each(|(_, thread)| thread.unpark());
            }
        }
        state.buffer = buffer;
    }

    /// The next letter of a request, waited for until the deadline.
    pub(super) fn letter(&self, slot: u32, deadline: Option<Instant>) -> Option<Letter> {
        self.wait(Awaited::Slot(slot), deadline, |mailboxes| mailboxes.take(slot))
    }

    /// The next letter of a request, if it is there.
    pub(super) fn letter_now(&self, slot: u32) -> Option<Letter> {
        self.lock().mailboxes.take(slot)
    }

    /// Waits until a job of a batch has a letter, and collects the tags of those that do.
    pub(super) fn wait_for_batch(&self, batch: u64, deadline: Option<Instant>, ready: &mut VecDeque<u64>) {
        self.wait(Awaited::Batch(batch), deadline, |mailboxes| {
            mailboxes.take_ready(batch, ready);
            (!ready.is_empty()).then_some(())
        });
    }

    pub(super) fn take_ready(&self, batch: u64, ready: &mut VecDeque<u64>) {
        self.lock().mailboxes.take_ready(batch, ready);
    }

    pub(super) fn close_batch(&self, batch: u64) {
        self.lock().mailboxes.close_batch(batch);
    }

    /// Nobody waits for the request any more.
    pub(super) fn abandon(&self, slot: u32) {
        self.lock().mailboxes.abandon(slot);
    }
}

/// For how long a server is left alone that could not be reached so many times before.
pub(super) fn rest_after(failures: u32) -> Duration {
    REST_MIN.saturating_mul(1 << failures.min(16)).min(REST_MAX)
}

/// Nobody leads, but somebody waits: let one of them lead.
fn hand_over(state: &State) {
    if !state.led {
        let idle = state.waiting.iter().find(|(awaited, _)| !state.mailboxes.is_ready(*awaited));
        if let Some((_, thread)) = idle.or(state.waiting.first()) {
            thread.unpark();
        }
    }
}
