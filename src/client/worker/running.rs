//! A worker that runs.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::builder::WorkerBuilder;
use super::serve::Shared;
use crate::client::address::{InvalidAddress, ServerAddress};

/// A worker that serves its functions, on threads of its own.
///
/// ```no_run
/// use gearshard::client::Worker;
///
/// let worker = Worker::builder_for("localhost:4730")?
///     .function("reverse", |job| Ok(job.workload().iter().rev().copied().collect::<Vec<u8>>()))
///     .start()?;
/// // ... until somebody wants it to end:
/// worker.stop();
/// worker.join();
/// # Ok::<(), gearshard::client::ClientError>(())
/// ```
///
/// Dropping it stops it, without waiting for the jobs that still run.
#[must_use = "dropping it stops the worker"]
pub struct Worker {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Describes a worker that serves all of these servers at once.
    pub fn builder(servers: impl IntoIterator<Item = ServerAddress>) -> WorkerBuilder {
        WorkerBuilder::new(servers.into_iter().collect())
    }

    /// Describes a worker for the servers in a list such as `one:4730,two,unix:/run/gearman.sock`.
    ///
    /// # Errors
    /// When an address cannot be read.
    pub fn builder_for(servers: &str) -> Result<WorkerBuilder, InvalidAddress> {
        Ok(Self::builder(ServerAddress::list(servers)?))
    }

    pub(super) const fn new(shared: Arc<Shared>, threads: Vec<JoinHandle<()>>) -> Self {
        Self { shared, threads }
    }

    /// Tells it to stop: what runs is finished and reported, nothing new is
    /// begun, and jobs that were handed out but not begun go back to their server.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Something that stops it from elsewhere, such as a signal handler's thread or a job.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { shared: Arc::clone(&self.shared) }
    }

    /// Waits until it has stopped and every job has ended.
    pub fn join(mut self) {
        self.shared.wait_for_stop();
        for thread in self.threads.drain(..) {
            // Functions' panics are caught; a panic of an `on_notice` ends its thread, and has been reported.
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

/// Stops a [`Worker`] from another thread.
///
/// ```no_run
/// # use gearshard::client::Worker;
/// # let worker = Worker::builder_for("localhost")?.function("nothing", |_| Ok("")).start()?;
/// let stopper = worker.stopper();
/// std::thread::spawn(move || {
///     let mut line = String::new();
///     let _ = std::io::stdin().read_line(&mut line);
///     stopper.stop();
/// });
/// worker.join();
/// # Ok::<(), gearshard::client::ClientError>(())
/// ```
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
}

impl Stopper {
    /// See [`Worker::stop`].
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Whether it has been told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping()
    }
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").field("stopping", &self.is_stopping()).finish()
    }
}
