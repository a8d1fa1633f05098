//! The tasks of a worker: one for each server, connecting again and again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::session::{End, RETIRED, run};
use super::task::AsyncWorkerJob;
use crate::client::address::ServerAddress;
use crate::client::asynchronous::stream::Stream;
use crate::client::worker::{GOOD, JobResult, Notice, OnNotice};

/// A function, called.
pub(super) type Running = Pin<Box<dyn Future<Output = JobResult> + Send>>;

/// A function under its name.
pub(super) struct Registered {
    pub(super) name: Arc<[u8]>,
    pub(super) timeout: Option<Duration>,
    pub(super) function: Box<dyn Fn(AsyncWorkerJob) -> Running + Send + Sync>,
}

/// What all tasks of a worker share.
pub(super) struct Shared {
    pub(super) functions: Vec<Registered>,
    pub(super) id: Option<Vec<u8>>,
    pub(super) packet_bytes_max: u32,
    pub(super) connect_timeout: Duration,
    pub(super) answer_timeout: Duration,
    pub(super) recheck: Duration,
    pub(super) reconnect: (Duration, Duration),
    pub(super) on_notice: Option<OnNotice>,
    /// One for each job that may run.
    pub(super) permits: Arc<Semaphore>,
    pub(super) stop: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn notify(&self, notice: impl FnOnce() -> Notice) {
        if let Some(on_notice) = &self.on_notice {
            on_notice(&notice());
        }
    }

    pub(super) fn function(&self, name: &[u8]) -> Option<usize> {
        self.functions.iter().position(|registered| *registered.name == *name)
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }
}

/// Serves one server over one connection after the other, until the worker stops.
pub(super) async fn serve(shared: Arc<Shared>, server: Arc<ServerAddress>) {
    let (min, max) = shared.reconnect;
    let mut rest = min;
    let mut stopping = shared.stop.subscribe();
    while !shared.is_stopping() {
        let start = Instant::now();
        let mut pause = rest.mul_f64(0.5 + fastrand::f64() / 2.0);
        let connected = tokio::select! {
            connected = Stream::connect(&server, shared.connect_timeout) => connected,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match connected {
            Ok(stream) => {
                shared.notify(|| Notice::Connected { server: (*server).clone() });
                match run(&shared, &server, stream).await {
                    End::Stopped => return,
                    End::Retired => pause = RETIRED,
                    End::Lost(reason) => {
                        shared.notify(|| Notice::Lost { server: (*server).clone(), reason, retry_in: pause })
                    }
                }
            }
            Err(error) => shared.notify(|| Notice::Unreachable {
                server: (*server).clone(),
                error: Arc::new(error),
                retry_in: pause,
            }),
        }
        rest = if start.elapsed() > GOOD || pause == RETIRED { min } else { (rest * 2).min(max) };
        tokio::select! {
            () = sleep(pause) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}
