//! What a worker is to serve, and the worker that does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::serve::{Registered, Shared, serve};
use super::task::AsyncWorkerJob;
use crate::client::address::{InvalidAddress, ServerAddress};
use crate::client::conversation::PACKET_BYTES_MAX;
use crate::client::error::ClientError;
use crate::client::job::{FUNCTION_BYTES_MAX, check_name};
use crate::client::worker::{JobError, Notice, OnNotice};

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
        AsyncWorkerBuilder {
            servers: servers.into_iter().collect(),
            functions: Vec::new(),
            id: None,
            concurrency: 1,
            packet_bytes_max: PACKET_BYTES_MAX,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(60),
            recheck: Duration::from_secs(30),
            reconnect: (Duration::from_millis(100), Duration::from_secs(10)),
            on_notice: None,
        }
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
    servers: Vec<ServerAddress>,
    functions: Vec<Registered>,
    id: Option<Vec<u8>>,
    concurrency: usize,
    packet_bytes_max: u32,
    connect_timeout: Duration,
    answer_timeout: Duration,
    recheck: Duration,
    reconnect: (Duration, Duration),
    on_notice: Option<OnNotice>,
}

impl AsyncWorkerBuilder {
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

    /// What the worker is called in a server's list of workers. Default: nothing.
    pub fn id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// How many jobs run at a time, over all servers. Default: 1.
    pub const fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = if jobs == 0 { 1 } else { jobs };
        self
    }

    /// The longest packet to accept from a server, in bytes. Default: 1 GiB.
    pub const fn packet_bytes_max(mut self, bytes: u32) -> Self {
        self.packet_bytes_max = bytes;
        self
    }

    /// How long connecting to a server may take. Default: 5 seconds.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a server may take to answer a grab; then the connection is made anew. Default: 60 seconds.
    pub const fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// How long a connection sleeps before it asks for a job all the same: so a
    /// server that falls silent, or forgets to wake its workers, is noticed. Default: 30 seconds.
    pub const fn recheck(mut self, interval: Duration) -> Self {
        self.recheck = interval;
        self
    }

    /// How long to wait before connecting again, at first and at most. Default:
    /// 100 milliseconds and 10 seconds.
    pub const fn reconnect(mut self, first: Duration, most: Duration) -> Self {
        self.reconnect = (first, most);
        self
    }

    /// Is told what happens to the worker, for a log.
    pub fn on_notice(mut self, tell: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.on_notice = Some(Box::new(tell));
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
        for registered in &self.functions {
            check_name("function", &registered.name, FUNCTION_BYTES_MAX)?;
        }
        if self.servers.is_empty() {
            return Err(ClientError::NoServer { attempts: Vec::new() });
        }
        let shared = Arc::new(Shared {
            functions: self.functions,
            id: self.id,
            packet_bytes_max: self.packet_bytes_max,
            connect_timeout: self.connect_timeout,
            answer_timeout: self.answer_timeout,
            recheck: self.recheck,
            reconnect: self.reconnect,
            on_notice: self.on_notice,
            permits: Arc::new(Semaphore::new(self.concurrency.min(Semaphore::MAX_PERMITS))),
            stop: watch::Sender::new(false),
        });
        let mut tasks = JoinSet::new();
        for server in self.servers {
            tasks.spawn(serve(Arc::clone(&shared), Arc::new(server)));
        }
        Ok(AsyncWorker { shared, tasks })
    }
}

impl std::fmt::Debug for AsyncWorkerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncWorkerBuilder").field("servers", &self.servers).finish_non_exhaustive()
    }
}
