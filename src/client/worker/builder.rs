//! What a worker is to serve, and how.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::function::{Closure, Function, JobError, Registered};
use super::permits::Permits;
use super::running::Worker;
use super::serve::{Shared, Stop, serve};
use super::settings::{Settings, common_methods};
use super::task::WorkerJob;
use crate::client::address::ServerAddress;
use crate::client::error::ClientError;

/// Settings of a [`Worker`].
#[must_use = "a builder does nothing until `start` is called"]
pub struct WorkerBuilder {
    settings: Settings,
    functions: Vec<Registered>,
    ahead: usize,
    jobs_max: Option<u64>,
}

impl WorkerBuilder {
    common_methods!();

    pub(super) fn new(servers: Vec<ServerAddress>) -> Self {
        Self { settings: Settings::new(servers), functions: Vec::new(), ahead: 1, jobs_max: None }
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

    /// How many jobs run at a time. Every server gets as many connections, with a thread each. Default: 1.
    pub const fn concurrency(mut self, jobs: usize) -> Self {
        self.settings.concurrency = if jobs == 0 { 1 } else { jobs };
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

    /// How long a server may take to answer a grab, or not to read a result;
    /// then the connection is made anew. Default: 60 seconds.
    pub const fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.settings.answer_timeout = timeout;
        self
    }

    /// Starts the worker. Servers that cannot be reached are tried again and again.
    ///
    /// # Errors
    /// When a function's name is invalid, there is no server in the list, or
    /// the system refuses a thread.
    pub fn start(self) -> Result<Worker, ClientError> {
        self.settings.check(self.functions.iter().map(|registered| &*registered.name))?;
        let system = |error: io::Error| ClientError::System(Arc::new(error));
        let shared = Arc::new(Shared {
            permits: Permits::new(self.settings.concurrency),
            settings: self.settings,
            functions: self.functions,
            ahead: self.ahead,
            jobs_max: self.jobs_max,
            stop: Stop::new().map_err(system)?,
            begun: AtomicU64::new(0),
        });
        let mut worker = Vec::new();
        for server in &shared.settings.servers {
            let server = Arc::new(server.clone());
            for number in 0..shared.settings.concurrency {
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
            .field("servers", &self.settings.servers)
            .field("functions", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
