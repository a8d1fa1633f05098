//! Accepts connections and hands each to the shard that has the fewest.
//!
//! Nothing that `accept` reports stops the server. When descriptors run out,
//! accepting pauses and is tried again at growing intervals; the connections
//! wait in the kernel's list. Connections over the server's own limit are
//! accepted and closed at once, so that clients go to their next server.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use rustix::io::Errno;

use super::control::{ControlState, Request};
use super::listener::Listener;
use super::log::{Level, Log};
use crate::reactor::Delivery;
use crate::reactor::bus::Address;
use crate::reactor::gauges::{Gauges, Rest};
use crate::reactor::socket::{Remote, Socket};

/// The event that only ends the poll: there is a request.
pub(super) const WAKE: Token = Token(usize::MAX);

/// Connections taken from one listener before the next one has its turn.
const ACCEPTED_MAX: usize = 256;
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How often to look whether jobs are left, once the server is to end.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// The listening side of a server.
pub(super) struct Acceptor {
    pub(super) poll: Poll,
    pub(super) listeners: Vec<Listener>,
    pub(super) shards: Vec<Address<Delivery>>,
    pub(super) gauges: Arc<[Gauges]>,
    pub(super) control: Arc<ControlState>,
    pub(super) connections_max: usize,
    pub(super) log: Log,
}

/// Why accepting rests, and until when.
struct Pause {
    until: Instant,
    length: Duration,
}

/// What the acceptor knows between two polls.
struct State {
    // Listeners whose list of connections may not be empty.
    pending: Vec<bool>,
    pause: Option<Pause>,
    // The limit was reached and logged.
    full: bool,
    next_shard: usize,
    draining: bool,
    // Once the server is to end: whether jobs are left, and when to look again.
    rest: Option<(Rest, Instant)>,
}

impl Acceptor {
    /// Accepts until the server is told to stop, or until no job is left
    /// after it was told to end.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        let mut state = State {
            pending: vec![true; self.listeners.len()],
            pause: None,
            full: false,
            next_shard: 0,
            draining: false,
            rest: None,
        };
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener.watch(self.poll.registry(), Token(index))?;
            (self.log)(Level::Info, format_args!("Listening on {listener}"));
        }
        loop {
            match self.obey(&mut state) {
                Some(last) => {
                    self.close_listeners();
                    self.tell_all(|| match last {
                        Request::Stop => Delivery::Stop,
                        _ => Delivery::Finish,
                    });
                    return Ok(());
                }
                None => self.accept_pending(&mut state),
            }
            match self.poll.poll(&mut events, timeout(&state)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in &events {
                if let Some(pending) = state.pending.get_mut(event.token().0) {
                    *pending = true;
                }
            }
        }
    }

    /// Does what was requested; returns the request once it is fulfilled and
    /// the server ends.
    fn obey(&mut self, state: &mut State) -> Option<Request> {
        let request = self.control.request();
        match request {
            Request::None => return None,
            Request::Stop => return Some(request),
            Request::Drain if !state.draining => {
                state.draining = true;
                (self.log)(Level::Notice, format_args!("Draining: submits are refused until no job is left"));
                self.tell_all(|| Delivery::Drain);
            }
            Request::Graceful => {
                self.close_listeners();
                state.pending.clear();
            }
            Request::Drain => {}
        }
        let now = Instant::now();
        let (rest, look_at) = state.rest.get_or_insert_with(|| (Rest::default(), now));
        if now < *look_at {
            return None;
        }
        *look_at = now + LOOK_PAUSE;
        rest.look(self.gauges.iter()).then_some(request)
    }

    fn tell_all(&self, delivery: impl Fn() -> Delivery) {
        for shard in &self.shards {
            // A shard that is gone has nothing to be told.
            shard.send(delivery());
        }
    }

    fn close_listeners(&mut self) {
        for listener in self.listeners.drain(..) {
            (self.log)(Level::Info, format_args!("Closing listening socket ({})", listener.number()));
        }
    }

    fn accept_pending(&self, state: &mut State) {
        if let Some(pause) = &state.pause
            && Instant::now() < pause.until
        {
            return;
        }
        for index in 0..self.listeners.len() {
            if state.pending[index] && !self.accept_from(index, state) {
                return;
            }
        }
        if state.pause.take().is_some() {
            (self.log)(Level::Notice, format_args!("Accepting connections again"));
        }
    }

    /// Accepts from one listener; false when accepting has to pause.
    fn accept_from(&self, index: usize, state: &mut State) -> bool {
        for _ in 0..ACCEPTED_MAX {
            match self.listeners[index].accept() {
                Ok((socket, remote)) => self.take(socket, remote, state),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.pending[index] = false;
                    return true;
                }
                Err(error) if is_exhaustion(&error) => {
                    self.pause(state, &error);
                    return false;
                }
                // The connection was gone before it was accepted, or the call was interrupted.
                Err(error) => {
                    (self.log)(Level::Debug, format_args!("A connection was not accepted: {error}"));
                }
            }
        }
        true
    }

    fn pause(&self, state: &mut State, error: &io::Error) {
        let length = match &state.pause {
            Some(pause) => (pause.length * 2).min(PAUSE_MAX),
            None => {
                (self.log)(
                    Level::Error,
                    format_args!(
                        "Cannot accept connections for now: {error}; raise --file-descriptors or the limit \
                         of the service"
                    ),
                );
                PAUSE_MIN
            }
        };
        state.pause = Some(Pause { until: Instant::now() + length, length });
    }

    fn take(&self, socket: Socket, remote: Remote, state: &mut State) {
        let connections: usize = self.gauges.iter().map(Gauges::connections).sum();
        if connections >= self.connections_max {
            self.control.count_refused_connection();
            if !std::mem::replace(&mut state.full, true) {
                (self.log)(
                    Level::Error,
                    format_args!(
                        "Connection limit reached ({} connections): further ones are closed at once; raise \
                         --file-descriptors or --max-connections",
                        self.connections_max
                    ),
                );
            }
            return;
        }
        if connections < self.connections_max / 100 * 95 {
            state.full = false;
        }
        (self.log)(Level::Info, format_args!("Accepted connection from {remote}"));
        let shard = self.least_loaded(state);
        self.gauges[shard].connection_handed_over();
        // A shard that is gone means that the server stops; the connection is closed with the delivery.
        self.shards[shard].send(Delivery::Connection(socket, remote));
    }

    /// The shard with the fewest connections; among equals each in turn.
    fn least_loaded(&self, state: &mut State) -> usize {
        let count = self.shards.len();
        let best = (0..count)
            .map(|offset| (state.next_shard + offset) % count)
            .min_by_key(|&shard| self.gauges[shard].connections())
            .expect("a server has at least one shard");
        state.next_shard = (best + 1) % count;
        best
    }
}

fn timeout(state: &State) -> Option<Duration> {
    let now = Instant::now();
    let looking = state.rest.as_ref().map(|(_, look_at)| look_at.saturating_duration_since(now));
    let pausing = state.pause.as_ref().map(|pause| pause.until.saturating_duration_since(now));
    // More may wait at a listener than was taken at once.
    let pending = (pausing.is_none() && state.pending.contains(&true)).then_some(Duration::ZERO);
    [looking, pausing, pending].into_iter().flatten().min()
}

fn is_exhaustion(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
