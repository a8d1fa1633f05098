//! What a worker is to serve, and the worker that does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::serve::{Registered, Shared, serve};
use super::task::AsyncWorkerJob;
use crate::client::address::{InvalidAddress, ServerAddress};
use crate::client::error::ClientError;
use crate::client::worker::{JobError, Settings, common_methods};

/// A worker on a tokio runtime: one connection for each server, and up to
/// `concurrency` jobs that run at a time over all of them.
///
/// Dropping it stops it, without waiting for the jobs that still run.
#[must_use = "dropping it stops the worker"]
pub struct AsyncWorker {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl AsyncWorker {
    /// Describes a worker that serves all of these servers at once.
    pub fn builder(servers: impl IntoIterator<Item = ServerAddress>) -> AsyncWorkerBuilder {
        AsyncWorkerBuilder { settings: Settings::new(servers.into_iter().collect()), functions: Vec::new() }
    }

    /// Describes a worker for the servers in a list such as `one:4730,two`.
    ///
    /// # Errors
    /// When an address cannot be read.
    pub fn builder_for(servers: &str) -> Result<AsyncWorkerBuilder, InvalidAddress> {
        Ok(Self::builder(ServerAddress::list(servers)?))
    }

    /// Tells it to stop: what runs is finished and reported, and nothing new is begun.
    pub fn stop(&self) {
        self.shared.stop.send_replace(true);
    }

    /// Waits until it has stopped and every job has ended.
    pub async fn join(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for AsyncWorker {
    fn drop(&mut self) {
        self.stop();
        // They end by themselves once what runs has ended.
        self.tasks.detach_all();
    }
}

impl std::fmt::Debug for AsyncWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncWorker").field("connections", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// Settings of an [`AsyncWorker`].
#[must_use = "a builder does nothing until `start` is called"]
pub struct AsyncWorkerBuilder {
    settings: Settings,
    functions: Vec<Registered>,
}

impl AsyncWorkerBuilder {
    common_methods!();

    /// Serves a function with an asynchronous closure. Its result may be
    /// anything that bytes can be made of; errors become exceptions through `?`,
    /// and so do panics, unless the program is built with `panic = "abort"`.
    ///
    /// A function that returns [`JobError::Retry`] ends its connection once the
    /// jobs have ended that run on it: that gives the job back to the server.
    pub fn function<F, T, R>(self, name: impl Into<Vec<u8>>, function: F) -> Self
    where
        F: Fn(AsyncWorkerJob) -> T + Send + Sync + 'static,
        T: Future<Output = Result<R, JobError>> + Send + 'static,
        R: Into<Vec<u8>>,
    {
        self.serve(name.into(), None, function)
    }

    /// As [`function`](Self::function); a job that has not ended within
    /// `timeout` is taken back by the server and given to a worker again. See
    /// [`WorkerBuilder::function_within`](crate::client::WorkerBuilder::function_within).
    pub fn function_within<F, T, R>(self, name: impl Into<Vec<u8>>, timeout: Duration, function: F) -> Self
    where
        F: Fn(AsyncWorkerJob) -> T + Send + Sync + 'static,
        T: Future<Output = Result<R, JobError>> + Send + 'static,
        R: Into<Vec<u8>>,
    {
        self.serve(name.into(), Some(timeout), function)
    }

    fn serve<F, T, R>(mut self, name: Vec<u8>, timeout: Option<Duration>, function: F) -> Self
    where
        F: Fn(AsyncWorkerJob) -> T + Send + Sync + 'static,
        T: Future<Output = Result<R, JobError>> + Send + 'static,
        R: Into<Vec<u8>>,
    {
        self.functions.retain(|registered| *registered.name != *name);
        self.functions.push(Registered {
            name: name.into(),
            timeout,
            function: Box::new(move |job| {
                let running = function(job);
                Box::pin(async move { running.await.map(Into::into) })
            }),
        });
        self
    }

    /// How many jobs run at a time, over all servers. Default: 1.
    pub const fn concurrency(mut self, jobs: usize) -> Self {
        self.settings.concurrency = if jobs == 0 { 1 } else { jobs };
        self
    }

    /// How long a server may take to answer a grab; then the connection is made anew. Default: 60 seconds.
    pub const fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.settings.answer_timeout = timeout;
        self
    }

    /// Starts the worker on the runtime of the caller. Servers that cannot be
    /// reached are tried again and again.
    ///
    /// # Errors
    /// When a function's name is invalid or there is no server in the list.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> Result<AsyncWorker, ClientError> {
        self.settings.check(self.functions.iter().map(|registered| &*registered.name))?;
        let shared = Arc::new(Shared {
            permits: Arc::new(Semaphore::new(self.settings.concurrency.min(Semaphore::MAX_PERMITS))),
            settings: self.settings,
            functions: self.functions,
            stop: watch::Sender::new(false),
        });
        let mut tasks = JoinSet::new();
        for server in &shared.settings.servers {
            tasks.spawn(serve(Arc::clone(&shared), Arc::new(server.clone())));
        }
        Ok(AsyncWorker { shared, tasks })
    }
}

impl std::fmt::Debug for AsyncWorkerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncWorkerBuilder").field("servers", &self.settings.servers).finish_non_exhaustive()
    }
}
