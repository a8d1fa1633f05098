//! A job in the hands of a worker's function.

use std::ops::Range;

use super::function::JobError;
use super::session::Session;
use crate::client::conversation::Assignment;
use crate::client::job::JobHandle;

/// A job that was handed out, in one piece of memory: handle, unique, reducer, workload.
#[derive(Debug)]
pub(in crate::client) struct Held {
    bytes: Vec<u8>,
    handle_end: usize,
    unique_end: usize,
    reducer_end: usize,
    has_reducer: bool,
    /// Which of the worker's functions it is for, if it serves it at all.
    pub(in crate::client) function: Option<usize>,
}

impl Held {
    pub(in crate::client) fn new(assignment: &Assignment<'_>, function: Option<usize>) -> Self {
        let reducer = assignment.reducer.unwrap_or_default();
        let bytes = [assignment.handle, assignment.unique, reducer, assignment.workload].concat();
        let handle_end = assignment.handle.len();
        let unique_end = handle_end + assignment.unique.len();
        let reducer_end = unique_end + reducer.len();
        Self {
            bytes,
            handle_end,
            unique_end,
            reducer_end,
            has_reducer: assignment.reducer.is_some(),
            function,
        }
    }

    fn part(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    pub(in crate::client) fn handle(&self) -> &[u8] {
        self.part(0..self.handle_end)
    }

    pub(in crate::client) fn unique(&self) -> &[u8] {
        self.part(self.handle_end..self.unique_end)
    }

    pub(in crate::client) fn reducer(&self) -> Option<&[u8]> {
        self.has_reducer.then(|| self.part(self.unique_end..self.reducer_end))
    }

    pub(in crate::client) fn workload(&self) -> &[u8] {
        self.part(self.reducer_end..self.bytes.len())
    }

    pub(in crate::client) fn take_workload(&mut self) -> Vec<u8> {
        self.bytes.split_off(self.reducer_end)
    }
}

/// A job that a function runs: what it is, and how to report on the way.
///
/// ```
/// use gearshard::client::{JobError, WorkerJob};
///
/// fn upper(job: &mut WorkerJob<'_>) -> Result<String, JobError> {
///     let text = String::from_utf8(job.take_workload())?;
///     let lines = u32::try_from(text.lines().count())?;
///     for (number, line) in (1..).zip(text.lines()) {
///         job.data(line.to_uppercase())?;
///         job.progress(number, lines)?;
///     }
///     Ok(String::new())
/// }
/// ```
pub struct WorkerJob<'a> {
    held: &'a mut Held,
    function: &'a [u8],
    session: &'a mut Session,
}

impl<'a> WorkerJob<'a> {
    pub(super) const fn new(held: &'a mut Held, function: &'a [u8], session: &'a mut Session) -> Self {
        Self { held, function, session }
    }

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
        JobHandle::new(self.held.handle(), Some(self.session.server()))
    }

    /// The name of the function.
    #[must_use]
    pub const fn function(&self) -> &[u8] {
        self.function
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

    /// Sends a part of the result at once.
    ///
    /// # Errors
    /// [`JobError::Lost`] when the connection is gone.
    pub fn data(&mut self, data: impl AsRef<[u8]>) -> Result<(), JobError> {
        self.session.talk.data(self.held.handle(), data.as_ref());
        self.session.report()
    }

    /// Sends a warning.
    ///
    /// # Errors
    /// [`JobError::Lost`] when the connection is gone.
    pub fn warning(&mut self, data: impl AsRef<[u8]>) -> Result<(), JobError> {
        self.session.talk.warning(self.held.handle(), data.as_ref());
        self.session.report()
    }

    /// Tells how far the job has got: `numerator` of `denominator`.
    ///
    /// # Errors
    /// [`JobError::Lost`] when the connection is gone.
    pub fn progress(&mut self, numerator: u32, denominator: u32) -> Result<(), JobError> {
        self.session.talk.status(self.held.handle(), numerator, denominator);
        self.session.report()
    }

    /// Whether the worker has been told to stop: a long job may want to end early.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.session.is_stopping()
    }
}

impl std::fmt::Debug for WorkerJob<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerJob")
            .field("handle", &self.handle())
            .field("workload_bytes", &self.workload().len())
            .finish_non_exhaustive()
    }
}
