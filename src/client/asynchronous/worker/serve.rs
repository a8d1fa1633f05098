//! The tasks of a worker: one for each server, connecting again and again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::session::{End, RETIRED, run};
use super::task::AsyncWorkerJob;
use crate::client::address::ServerAddress;
use crate::client::asynchronous::stream::Stream;
use crate::client::worker::{JobResult, Notice, Pauses, Settings};

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
    pub(super) settings: Settings,
    pub(super) functions: Vec<Registered>,
    /// One for each job that may run.
    pub(super) permits: Arc<Semaphore>,
    pub(super) stop: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn function(&self, name: &[u8]) -> Option<usize> {
        self.functions.iter().position(|registered| *registered.name == *name)
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }
}

/// Serves one server over one connection after the other, until the worker stops.
pub(super) async fn serve(shared: Arc<Shared>, server: Arc<ServerAddress>) {
    let settings = &shared.settings;
    let mut pauses = Pauses::new(settings);
    let mut stopping = shared.stop.subscribe();
    while !shared.is_stopping() {
        let mut pause = pauses.begin();
        let connected = tokio::select! {
            connected = Stream::connect(&server, settings.connect_timeout) => connected,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match connected {
            Ok(stream) => {
                settings.notify(|| Notice::Connected { server: (*server).clone() });
                match run(&shared, &server, stream).await {
                    End::Stopped => return,
                    End::Retired => pause = RETIRED,
                    End::Lost(reason) => settings.notify(|| Notice::Lost {
                        server: (*server).clone(),
                        reason,
                        retry_in: pause,
                    }),
                }
            }
            Err(error) => settings.notify(|| Notice::Unreachable {
                server: (*server).clone(),
                error: Arc::new(error),
                retry_in: pause,
            }),
        }
        pauses.end(pause == RETIRED);
        tokio::select! {
            () = sleep(pause) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}
