//! What a worker runs.

use std::time::Duration;

use super::task::WorkerJob;

/// A job's result, or why there is none.
pub type JobResult = Result<Vec<u8>, JobError>;

/// A function that a worker serves. Closures are functions too, see
/// [`WorkerBuilder::function`](super::WorkerBuilder::function); implement this
/// for one with a state of its own.
///
/// It runs on several threads at a time if the worker's concurrency allows.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use gearshard::client::{Function, JobResult, Worker, WorkerJob};
///
/// #[derive(Default)]
/// struct Count(AtomicU64);
///
/// impl Function for Count {
///     fn run(&self, _: &mut WorkerJob<'_>) -> JobResult {
///         Ok(self.0.fetch_add(1, Ordering::Relaxed).to_string().into_bytes())
///     }
/// }
///
/// let builder = Worker::builder_for("localhost:4730")?.serve("count", None, Count::default());
/// # drop(builder);
/// # Ok::<(), gearshard::client::ClientError>(())
/// ```
pub trait Function: Send + Sync {
    /// Runs one job.
    ///
    /// # Errors
    /// When there is no result: see [`JobError`].
    fn run(&self, job: &mut WorkerJob<'_>) -> JobResult;
}

/// A closure, with any result that bytes can be made of.
pub(super) struct Closure<F>(pub(super) F);

impl<F, R> Function for Closure<F>
where
    F: Fn(&mut WorkerJob<'_>) -> Result<R, JobError> + Send + Sync,
    R: Into<Vec<u8>>,
{
    fn run(&self, job: &mut WorkerJob<'_>) -> JobResult {
        (self.0)(job).map(Into::into)
    }
}

/// How a job ends without a result.
///
/// Every error turns into an exception with its text, so `?` does what one
/// expects in a function.
///
/// ```
/// use gearshard::client::JobError;
///
/// fn half(workload: &str) -> Result<String, JobError> {
///     let number: i64 = workload.parse()?;
///     if number % 2 == 1 {
///         return Err(JobError::exception(format!("{number} is odd")));
///     }
///     Ok((number / 2).to_string())
/// }
/// assert_eq!(half("8"), Ok("4".to_owned()));
/// assert_eq!(half("7"), Err(JobError::exception("7 is odd")));
/// assert!(matches!(half("many"), Err(JobError::Exception(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobError {
    /// It failed, and there is nothing to say about it (WORK_FAIL).
    Failed,
    /// It failed, and this is why (WORK_EXCEPTION). Clients that do not ask for
    /// exceptions hear that it failed.
    Exception(Vec<u8>),
    /// It goes back to the server, which gives it to some worker again. With
    /// `--job-retries` that counts as an attempt. Jobs of the same function
    /// that this connection has been handed ahead go back with it.
    Retry,
    /// The connection is gone, so nobody hears of the job any more. It has gone back to the server.
    Lost,
}

impl JobError {
    /// An exception with these bytes.
    #[must_use]
    pub fn exception(data: impl Into<Vec<u8>>) -> Self {
        Self::Exception(data.into())
    }
}

impl<E: std::error::Error> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::Exception(error.to_string().into_bytes())
    }
}

/// A function under its name.
pub(super) struct Registered {
    pub(super) name: Vec<u8>,
    pub(super) timeout: Option<Duration>,
    pub(super) function: Box<dyn Function>,
}
