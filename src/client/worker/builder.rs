//! What a worker is to serve, and how.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::function::{Closure, Function, JobError, Registered};
use super::notice::{Notice, OnNotice};
use super::permits::Permits;
use super::running::Worker;
use super::serve::{Shared, Stop, serve};
use super::task::WorkerJob;
use crate::client::address::ServerAddress;
use crate::client::conversation::PACKET_BYTES_MAX;
use crate::client::error::ClientError;
use crate::client::job::{FUNCTION_BYTES_MAX, check_name};

/// Settings of a [`Worker`].
#[must_use = "a builder does nothing until `start` is called"]
pub struct WorkerBuilder {
    servers: Vec<ServerAddress>,
    functions: Vec<Registered>,
    id: Option<Vec<u8>>,
    concurrency: usize,
    ahead: usize,
    packet_bytes_max: u32,
    connect_timeout: Duration,
    answer_timeout: Duration,
    recheck: Duration,
    reconnect: (Duration, Duration),
    jobs_max: Option<u64>,
    on_notice: Option<OnNotice>,
}

impl WorkerBuilder {
    pub(super) fn new(servers: Vec<ServerAddress>) -> Self {
        Self {
            servers,
            functions: Vec::new(),
            id: None,
            concurrency: 1,
            ahead: 1,
            packet_bytes_max: PACKET_BYTES_MAX,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(60),
            recheck: Duration::from_secs(30),
            reconnect: (Duration::from_millis(100), Duration::from_secs(10)),
            jobs_max: None,
            on_notice: None,
        }
    }

    /// Serves a function with a closure. Its result may be anything that bytes
    /// can be made of; errors become exceptions through `?`.
    ///
    /// ```
    /// # use gearshard::client::Worker;
    /// let builder = Worker::builder_for("localhost")?
    ///     .function("count lines", |job| {
    ///         let text = std::str::from_utf8(job.workload())?;
    ///         Ok(text.lines().count().to_string())
    ///     });
    /// # Ok::<(), gearshard::client::InvalidAddress>(())
    /// ```
    ///
    /// A panic becomes an exception too, unless the program is built with `panic = "abort"`.
    pub fn function<F, R>(self, name: impl Into<Vec<u8>>, function: F) -> Self
    where
        F: Fn(&mut WorkerJob<'_>) -> Result<R, JobError> + Send + Sync + 'static,
        R: Into<Vec<u8>> + 'static,
    {
        self.serve(name, None, Closure(function))
    }

    /// As [`function`](Self::function); a job that has not ended within
    /// `timeout` is taken back by the server and given to a worker again.
    ///
    /// Servers count milliseconds, at least 1000; gearmand before 1.1.19 takes
    /// the number of milliseconds for seconds.
    pub fn function_within<F, R>(self, name: impl Into<Vec<u8>>, timeout: Duration, function: F) -> Self
    where
        F: Fn(&mut WorkerJob<'_>) -> Result<R, JobError> + Send + Sync + 'static,
        R: Into<Vec<u8>> + 'static,
    {
        self.serve(name, Some(timeout), Closure(function))
    }

    /// Serves a function with whatever implements [`Function`].
    ///
    /// The last of several functions under one name is the one that counts.
    pub fn serve(
        mut self,
        name: impl Into<Vec<u8>>,
        timeout: Option<Duration>,
        function: impl Function + 'static,
    ) -> Self {
        let name = name.into();
        self.functions.retain(|registered| registered.name != name);
        self.functions.push(Registered { name, timeout, function: Box::new(function) });
        self
    }

    /// What the worker is called in a server's list of workers. Default: nothing.
    pub fn id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// How many jobs run at a time. Every server gets as many connections, with a thread each. Default: 1.
    pub const fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = if jobs == 0 { 1 } else { jobs };
        self
    }

    /// How many jobs each connection may have, of which one runs and the
    /// others wait in the worker. Default: 1.
    ///
    /// More make quick functions much cheaper: jobs and results then travel
    /// many in a packet. The price is fairness: a job that waits here waits for
    /// the ones before it, even if another worker has nothing to do, and its
    /// function's timeout is running. The result of a quick job may be held
    /// back while the next few quick jobs run, for a fraction of a millisecond. When the
    /// worker stops, jobs that were not begun go back to the server.
    pub const fn grab_ahead(mut self, jobs: usize) -> Self {
        self.ahead = if jobs == 0 { 1 } else { jobs };
        self
    }

    /// Stops by itself after so many jobs. Default: never.
    pub const fn jobs_max(mut self, jobs: u64) -> Self {
        self.jobs_max = Some(jobs);
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

    /// How long a server may take to answer a grab, or not to read a result;
    /// then the connection is made anew. Default: 60 seconds.
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

    /// How long to wait before connecting again, at first and at most; it
    /// doubles with every failure, and a random part is left off so that not
    /// all workers come at once. Default: 100 milliseconds and 10 seconds.
    pub const fn reconnect(mut self, first: Duration, most: Duration) -> Self {
        self.reconnect = (first, most);
        self
    }

    /// Is told what happens to the worker, for a log. Called from the worker's threads.
    pub fn on_notice(mut self, tell: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.on_notice = Some(Box::new(tell));
        self
    }

    /// Starts the worker. Servers that cannot be reached are tried again and again.
    ///
    /// # Errors
    /// When a function's name is invalid, there is no server in the list, or
    /// the system refuses a thread.
    pub fn start(self) -> Result<Worker, ClientError> {
        for registered in &self.functions {
            check_name("function", &registered.name, FUNCTION_BYTES_MAX)?;
        }
        if self.servers.is_empty() {
            return Err(ClientError::NoServer { attempts: Vec::new() });
        }
        let system = |error: io::Error| ClientError::System(Arc::new(error));
        let shared = Arc::new(Shared {
            functions: self.functions,
            id: self.id,
            ahead: self.ahead,
            packet_bytes_max: self.packet_bytes_max,
            connect_timeout: self.connect_timeout,
            answer_timeout: self.answer_timeout,
            recheck: self.recheck,
            reconnect: self.reconnect,
            jobs_max: self.jobs_max,
            on_notice: self.on_notice,
            permits: Permits::new(self.concurrency),
            stop: Stop::new().map_err(system)?,
            begun: AtomicU64::new(0),
        });
        let mut worker = Vec::new();
        for server in self.servers {
            let server = Arc::new(server);
            for number in 0..self.concurrency {
                let (shared_too, server) = (Arc::clone(&shared), Arc::clone(&server));
                let name = format!("gearman-{number}");
                let thread =
                    std::thread::Builder::new().name(name).spawn(move || serve(&shared_too, &server));
                match thread {
                    Ok(thread) => worker.push(thread),
                    Err(error) => {
                        shared.stop();
                        return Err(system(error));
                    }
                }
            }
        }
        Ok(Worker::new(shared, worker))
    }

    /// Starts the worker and waits until it is stopped, by its
    /// [`jobs_max`](Self::jobs_max).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn run(self) -> Result<(), ClientError> {
        self.start()?.join();
        Ok(())
    }
}

impl std::fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.functions.iter().map(|registered| registered.name.escape_ascii().to_string());
        f.debug_struct("WorkerBuilder")
            .field("servers", &self.servers)
            .field("functions", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
