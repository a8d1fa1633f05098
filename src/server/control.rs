//! How a running server is told to end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::reactor::Traffic;
use crate::reactor::gauges::Gauges;
use crate::shard::counts::Counts;

/// What the server was asked; a later one in this list overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Request {
    None,
    Drain,
    Graceful,
    Stop,
}

/// What a server and its controls share.
pub(super) struct ControlState {
    request: AtomicU8,
    refused_connections: AtomicU64,
    waker: mio::Waker,
}

impl ControlState {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self { request: AtomicU8::new(0), refused_connections: AtomicU64::new(0), waker }
    }

    pub(super) fn request(&self) -> Request {
        const REQUESTS: [Request; 4] = [Request::None, Request::Drain, Request::Graceful, Request::Stop];
        REQUESTS[usize::from(self.request.load(Ordering::Acquire))]
    }

    pub(super) fn count_refused_connection(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    fn ask(&self, request: Request) -> io::Result<()> {
        self.request.fetch_max(request as u8, Ordering::Release);
        self.waker.wake()
    }
}

/// Ends a server from any thread, before, while or after it runs.
#[derive(Clone)]
pub struct Control {
    pub(super) state: Arc<ControlState>,
    pub(super) gauges: Arc<[Gauges]>,
}

impl Control {
    /// Ends the server at once: everything is closed, queued jobs are gone.
    pub fn stop(&self) {
        self.ask(Request::Stop);
    }

    /// Closes the listeners at once and ends the server when no job is left
    /// (SIGUSR1). Connections that exist may go on submitting.
    pub fn shutdown_gracefully(&self) {
        self.ask(Request::Graceful);
    }

    /// Refuses submits from now on and ends the server when no job is left;
    /// workers may still connect to finish what is queued.
    pub fn drain(&self) {
        self.ask(Request::Drain);
    }

    /// The counters of each shard, as of its last turn.
    #[must_use]
    pub fn counts(&self) -> Vec<Counts> {
        self.gauges.iter().map(Gauges::counts).collect()
    }

    /// What the event loop of each shard has done, as of its last turn.
    #[must_use]
    pub fn traffic(&self) -> Vec<Traffic> {
        self.gauges.iter().map(Gauges::traffic).collect()
    }

    /// Connections closed because there were too many.
    #[must_use]
    pub fn refused_connections(&self) -> u64 {
        self.state.refused_connections.load(Ordering::Relaxed)
    }

    fn ask(&self, request: Request) {
        // An event descriptor of our own cannot fail; the request stands in any case.
        self.state.ask(request).expect("a waker wakes as long as the server's poll exists");
    }
}
