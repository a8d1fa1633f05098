//! One connection to one server, and the task that moves its bytes.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::stream::{Stream, Traffic, Turn};
use crate::client::address::ServerAddress;
use crate::client::conversation::ClientConversation;
use crate::client::error::LossReason;
use crate::client::job::{InvalidJob, Mode};
use crate::client::link::{NotMade, rest_after};
use crate::client::mailbox::{Letter, Mailboxes};
use crate::client::options::Options;

pub(super) struct Link {
    pub(super) address: Arc<ServerAddress>,
    options: Arc<Options>,
    connecting: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// There is something to send, or the client is gone.
    work: Notify,
}

#[derive(Default)]
struct State {
    wire: Option<Wire>,
    mailboxes: Mailboxes,
    wakers: HashMap<u32, Waker>,
    connections: u64,
    failures: u32,
    rests_until: Option<Instant>,
    closed: bool,
}

struct Wire {
    talk: ClientConversation,
    number: u64,
    /// Since when the oldest unanswered request is the one that an answer is due to.
    due_since: Instant,
}

impl Link {
    pub(super) fn new(address: ServerAddress, options: Arc<Options>) -> Self {
        Self {
            address: Arc::new(address),
            options,
            connecting: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            work: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it could not be reached lately.
    pub(super) fn rests(&self) -> bool {
        let state = self.lock();
        state.wire.is_none() && state.rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// Connects unless there is a connection; its task runs until it ends.
    pub(super) async fn connect(self: &Arc<Self>) -> io::Result<()> {
        if self.lock().wire.is_some() {
            return Ok(());
        }
        let _connecting = self.connecting.lock().await;
        if self.lock().wire.is_some() {
            return Ok(());
        }
        let connected = Stream::connect(&self.address, self.options.connect_timeout).await;
        let mut state = self.lock();
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                state.rests_until = Some(Instant::now() + rest_after(state.failures));
                state.failures += 1;
                return Err(error);
            }
        };
        state.failures = 0;
        state.connections += 1;
        let mut talk = ClientConversation::new(self.options.packet_bytes_max);
        if self.options.exceptions {
            let slot = state.mailboxes.open(Mode::Background, None);
            state.mailboxes.abandon(slot);
            talk.option(slot.into(), b"exceptions");
        }
        let number = state.connections;
        state.wire = Some(Wire { talk, number, due_since: Instant::now() });
        drop(state);
        tokio::spawn(Arc::clone(self).drive(stream, number));
        Ok(())
    }

    /// Makes a request.
    pub(super) async fn request(
        self: &Arc<Self>,
        mode: Mode,
        make: impl FnOnce(&mut ClientConversation, u64) -> Result<(), InvalidJob>,
    ) -> Result<u32, NotMade> {
        loop {
            self.connect().await.map_err(NotMade::Unreachable)?;
            let mut state = self.lock();
            let State { wire, mailboxes, .. } = &mut *state;
            let Some(wire) = wire else { continue };
            let slot = mailboxes.open(mode, None);
            if wire.talk.unanswered() == 0 {
                wire.due_since = Instant::now();
            }
            if let Err(invalid) = make(&mut wire.talk, slot.into()) {
                mailboxes.discard(slot);
                return Err(NotMade::Invalid(invalid));
            }
            self.work.notify_one();
            return Ok(slot);
        }
    }

    /// The next letter of a request. May be cancelled.
    pub(super) async fn letter(&self, slot: u32) -> Letter {
        poll_fn(|context| {
            let mut state = self.lock();
            match state.mailboxes.take(slot) {
                Some(letter) => Poll::Ready(letter),
                None => {
                    state.wakers.insert(slot, context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Nobody waits for the request any more.
    pub(super) fn abandon(&self, slot: u32) {
        let mut state = self.lock();
        state.wakers.remove(&slot);
        state.mailboxes.abandon(slot);
    }

    /// The client is gone: the task ends once it has sent what there is.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    async fn drive(self: Arc<Self>, stream: Stream, number: u64) {
        let mut traffic = Traffic::new();
        let reason = loop {
            let silent_at = {
                let mut state = self.lock();
                let closed = state.closed;
                let Some(wire) = state.wire.as_mut().filter(|wire| wire.number == number) else { return };
                if traffic.is_empty() {
                    wire.talk.take_outgoing(&mut traffic.out);
                }
                if closed && traffic.is_empty() {
                    return;
                }
                (wire.talk.unanswered() > 0).then(|| wire.due_since + self.options.answer_timeout)
            };
            let far = Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                turn = traffic.turn(&stream) => match turn {
                    Ok(turn) => {
                        if let Err(reason) = self.file(&turn, &traffic) {
                            break reason;
                        }
                    }
                    Err(error) => break LossReason::Io(Arc::new(error)),
                },
                () = self.work.notified() => {}
                () = sleep_until(silent_at.unwrap_or(far)) => {
                    if silent_at.is_some() {
                        break LossReason::Silent(self.options.answer_timeout);
                    }
                }
            }
        };
        self.lose(number, reason);
    }

    fn file(&self, turn: &Turn, traffic: &Traffic) -> Result<(), LossReason> {
        let mut woken = Vec::new();
        let mut state = self.lock();
        let State { wire: Some(wire), mailboxes, wakers, .. } = &mut *state else { return Ok(()) };
        if turn.sent > 0 && !traffic.is_empty() {
            // It reads, if slowly; it cannot answer what it has not got.
            wire.due_since = Instant::now();
        }
        let before = wire.talk.unanswered();
        let limit = self.options.unread_bytes_max;
        let heard = wire.talk.receive(traffic.received(turn), |key, event| {
            let slot = u32::try_from(key).expect("keys are slots");
            mailboxes.deliver(slot, &event, limit);
            woken.extend(wakers.remove(&slot));
        });
        if wire.talk.unanswered() < before {
            wire.due_since = Instant::now();
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        heard.map_err(LossReason::Protocol)?;
        if turn.ended { Err(LossReason::Closed) } else { Ok(()) }
    }

    fn lose(&self, number: u64, reason: LossReason) {
        let mut state = self.lock();
        if state.wire.as_ref().is_some_and(|wire| wire.number == number) {
            state.wire = None;
            state.mailboxes.lose(&Arc::new(reason));
            let wakers = std::mem::take(&mut state.wakers);
            drop(state);
            wakers.into_values().for_each(Waker::wake);
        }
    }
}
