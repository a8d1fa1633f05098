//! A job in the hands of a worker's function, and the connection that it came over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::client::address::ServerAddress;
use crate::client::conversation::WorkerConversation;
use crate::client::job::JobHandle;
use crate::client::worker::{Held, JobError};

/// A job that reports waits while more than this is unsent.
const UNSENT_BYTES: usize = 1 << 20;

/// What a connection's task and its jobs share.
pub(super) struct Connection {
    pub(super) server: Arc<ServerAddress>,
    state: Mutex<State>,
    /// There is something to send, or a job has ended.
    pub(super) work: Notify,
    /// Something has been sent.
    pub(super) drained: Notify,
}

pub(super) struct State {
    pub(super) talk: WorkerConversation,
    pub(super) lost: bool,
    /// A job is to go back: nothing more is grabbed, and the connection ends with its last job.
    pub(super) retiring: bool,
    pub(super) running: usize,
    /// Taken from the conversation and not sent yet.
    pub(super) unsent: usize,
}

impl Connection {
    pub(super) fn new(server: &Arc<ServerAddress>, talk: WorkerConversation) -> Self {
        let state = State { talk, lost: false, retiring: false, running: 0, unsent: 0 };
        Self {
            server: Arc::clone(server),
            state: Mutex::new(state),
            work: Notify::new(),
            drained: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn report(&self, say: impl FnOnce(&mut WorkerConversation)) -> Result<(), JobError> {
        {
            let mut state = self.lock();
            if state.lost {
                return Err(JobError::Lost);
            }
            say(&mut state.talk);
        }
        self.work.notify_one();
        loop {
            let drained = self.drained.notified();
            {
                let state = self.lock();
                if state.lost {
                    return Err(JobError::Lost);
                }
                if state.unsent + state.talk.outgoing().len() <= UNSENT_BYTES {
                    return Ok(());
                }
            }
            drained.await;
        }
    }
}

/// A job that a function runs: what it is, and how to report on the way.
///
/// ```
/// use gearshard::client::JobError;
/// use gearshard::client::asynchronous::AsyncWorkerJob;
///
/// async fn upper(mut job: AsyncWorkerJob) -> Result<String, JobError> {
///     let text = String::from_utf8(job.take_workload())?;
///     for line in text.lines() {
///         job.data(line.to_uppercase()).await?;
///     }
///     Ok(String::new())
/// }
/// ```
pub struct AsyncWorkerJob {
    pub(super) held: Held,
    pub(super) function: Arc<[u8]>,
    pub(super) connection: Arc<Connection>,
}

impl AsyncWorkerJob {
    /// What to run the function on.
    #[must_use]
    pub fn workload(&self) -> &[u8] {
        self.held.workload()
    }

    /// The workload, to keep; it is empty afterwards.
    #[must_use]
    pub fn take_workload(&mut self) -> Vec<u8> {
        self.held.take_workload()
    }

    /// The server's name for the job.
    #[must_use]
    pub fn handle(&self) -> JobHandle {
        JobHandle::new(self.held.handle(), Some(Arc::clone(&self.connection.server)))
    }

    /// The name of the function.
    #[must_use]
    pub fn function(&self) -> &[u8] {
        &self.function
    }

    /// The unique that the client gave; empty when there is none.
    #[must_use]
    pub fn unique(&self) -> &[u8] {
        self.held.unique()
    }

    /// The function that runs the parts, for a job that is to be split.
    #[must_use]
    pub fn reducer(&self) -> Option<&[u8]> {
        self.held.reducer()
    }

    /// Sends a part of the result; waits while the server does not read.
    ///
    /// # Errors
    /// [`JobError::Lost`] when the connection is gone.
    pub async fn data(&self, data: impl AsRef<[u8]>) -> Result<(), JobError> {
        self.connection.report(|talk| talk.data(self.held.handle(), data.as_ref())).await
    }

    /// Sends a warning.
    ///
    /// # Errors
    /// [`JobError::Lost`] when the connection is gone.
    pub async fn warning(&self, data: impl AsRef<[u8]>) -> Result<(), JobError> {
        self.connection.report(|talk| talk.warning(self.held.handle(), data.as_ref())).await
    }

    /// Tells how far the job has got: `numerator` of `denominator`.
    ///
    /// # Errors
    /// [`JobError::Lost`] when the connection is gone.
    pub async fn progress(&self, numerator: u32, denominator: u32) -> Result<(), JobError> {
        self.connection.report(|talk| talk.status(self.held.handle(), numerator, denominator)).await
    }
}

impl std::fmt::Debug for AsyncWorkerJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncWorkerJob")
            .field("handle", &self.handle())
            .field("workload_bytes", &self.workload().len())
            .finish_non_exhaustive()
    }
}
