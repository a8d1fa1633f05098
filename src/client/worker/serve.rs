//! The threads of a worker: one for each connection, connecting again and again.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::function::Registered;
use super::notice::Notice;
use super::permits::Permits;
use super::session::{End, Session, TICK};
use super::settings::{Pauses, Settings};
use crate::client::address::ServerAddress;
use crate::client::error::LossReason;
use crate::client::socket::{Socket, poll_for};

/// What all threads of a worker share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) functions: Vec<Registered>,
    pub(super) ahead: usize,
    pub(super) jobs_max: Option<u64>,
    pub(super) permits: Permits,
    pub(super) stop: Stop,
    pub(super) begun: AtomicU64,
}

/// The end of a worker, seen by every thread wherever it waits.
pub(super) struct Stop {
    stopping: AtomicBool,
    /// At its end, once the worker stops: whoever polls it wakes.
    seen: UnixStream,
    told: UnixStream,
}

impl Stop {
    pub(super) fn new() -> std::io::Result<Self> {
        let (seen, told) = UnixStream::pair()?;
        Ok(Self { stopping: AtomicBool::new(false), seen, told })
    }
}

impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.stopping.load(SeqCst)
    }

    pub(super) fn stop(&self) {
        if !self.stop.stopping.swap(true, SeqCst) {
            // The other end hears of it even when this one has been told already.
            let _ = self.stop.told.shutdown(std::net::Shutdown::Both);
            self.permits.close();
        }
    }

    pub(super) fn stop_fd(&self) -> BorrowedFd<'_> {
        self.stop.seen.as_fd()
    }

    /// Waits for so long, or until the worker stops.
    fn pause(&self, time: Duration) {
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()).filter(|_| !self.is_stopping()) {
            let mut fds = [PollFd::from_borrowed_fd(self.stop_fd(), PollFlags::IN)];
            if poll_for(&mut fds, Some(left)).is_err() {
                std::thread::sleep(left);
            }
        }
    }

    /// Waits until the worker stops.
    pub(super) fn wait_for_stop(&self) {
        // Nothing is ever written there: this returns at its end.
        let _ = (&self.stop.seen).read(&mut [0]);
    }

    pub(super) fn function(&self, name: &[u8]) -> Option<usize> {
        self.functions.iter().position(|registered| registered.name == name)
    }

    /// Whether one more job may begin, and if so, whether it is the last one.
    pub(super) fn begin_job(&self) -> Option<bool> {
        let Some(jobs_max) = self.jobs_max else { return Some(false) };
        let begun = self.begun.fetch_add(1, SeqCst) + 1;
        (begun <= jobs_max).then_some(begun == jobs_max)
    }
}

/// Serves one server over one connection after the other, until the worker stops.
pub(super) fn serve(shared: &Arc<Shared>, server: &Arc<ServerAddress>) {
    let settings = &shared.settings;
    let mut pauses = Pauses::new(settings);
    while !shared.is_stopping() {
        let pause = pauses.begin();
        let connected = Socket::connect(server, settings.connect_timeout)
            .and_then(|socket| socket.set_read_timeout(Some(TICK)).map(|()| socket));
        match connected {
            Ok(socket) => {
                settings.notify(|| Notice::Connected { server: (**server).clone() });
                match Session::new(shared, server, socket).run() {
                    End::Stopped => return,
                    End::Lost(reason) => lost(shared, server, reason, pause),
                }
            }
            Err(error) => settings.notify(|| Notice::Unreachable {
                server: (**server).clone(),
                error: Arc::new(error),
                retry_in: pause,
            }),
        }
        pauses.end(false);
        shared.pause(pause);
    }
}

fn lost(shared: &Shared, server: &ServerAddress, reason: LossReason, retry_in: Duration) {
    if !shared.is_stopping() {
        shared.settings.notify(|| Notice::Lost { server: server.clone(), reason, retry_in });
    }
}
