//! A job in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::ServerAddress;
use super::error::{ClientError, LossReason};
use super::gathered::Gathered;
use super::job::{Job, JobHandle, Mode};
use super::mailbox::{Letter, Member};
use super::options::OnLoss;
use super::servers::{Place, Servers};

/// What is heard of a job on the way to its result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// The server has taken the job.
    Created(JobHandle),
    /// Part of the result.
    Data(Vec<u8>),
    /// A warning of the worker.
    Warning(Vec<u8>),
    /// How far the job has got.
    Progress {
        /// Of `denominator`.
        numerator: u64,
        /// What `numerator` reaches when the job is done.
        denominator: u64,
    },
    /// The connection went, and the job was submitted again: it starts anew,
    /// and what its first run sent is to be forgotten.
    Restarted,
    /// The job is done; the last part of its result.
    Complete(Vec<u8>),
}

impl Update {
    pub(super) const fn is_last(&self, mode: Mode) -> bool {
        match self {
            Self::Complete(_) => true,
            Self::Created(_) => matches!(mode, Mode::Background),
            _ => false,
        }
    }
}

/// What a letter says.
pub(super) enum Opened {
    Update(Update),
    Lost(Arc<LossReason>),
}

/// Reads a letter about a job.
///
/// # Errors
/// When the job has ended, and not with a result.
pub(super) fn opened(
    letter: Letter,
    server: &Arc<ServerAddress>,
    unread_bytes_max: usize,
) -> Result<Opened, ClientError> {
    Ok(Opened::Update(match letter {
        Letter::Created(handle) => Update::Created(JobHandle::new(&handle, Some(Arc::clone(server)))),
        Letter::Data(data) => Update::Data(data),
        Letter::Warning(data) => Update::Warning(data),
        Letter::Progress { numerator, denominator } => Update::Progress { numerator, denominator },
        Letter::Complete(data) => Update::Complete(data),
        Letter::Exception(data) => return Err(ClientError::Exception(data)),
        Letter::Refused { code, text } => return Err(ClientError::Refused { code, text }),
        Letter::Unread => return Err(ClientError::Unread { limit: unread_bytes_max }),
        Letter::Lost(reason) => return Ok(Opened::Lost(reason)),
        // The others answer questions; a job has none.
        Letter::Failed | Letter::Status(_) | Letter::Echo(_) | Letter::OptionSet => {
            return Err(ClientError::Failed);
        }
    }))
}

/// A foreground job that has been submitted: wait for its result, or follow it
/// update by update.
///
/// Dropping it cancels the waiting: whatever still comes is thrown away. A
/// server drops a foreground job itself once the connections of all its clients are gone.
///
/// ```no_run
/// # use gearshard::client::{Client, Job, Update};
/// # let client = Client::connect("localhost")?;
/// for update in client.submit(Job::new("resize", "..."))? {
///     match update? {
///         Update::Progress { numerator, denominator } => println!("{numerator} of {denominator}"),
///         Update::Data(part) => println!("{} bytes", part.len()),
///         Update::Complete(last) => println!("done, {} bytes more", last.len()),
///         _ => {}
///     }
/// }
/// # Ok::<(), gearshard::client::ClientError>(())
/// ```
#[must_use = "dropping it throws the job's result away"]
pub struct Pending {
    servers: Arc<Servers>,
    /// Kept to submit it again.
    job: Option<Job>,
    place: Place,
    member: Option<Member>,
    mode: Mode,
    losses: u32,
    submitted: Instant,
    timeout: Option<Duration>,
    handle: Option<JobHandle>,
    /// It has been taken out of its link's books.
    over: bool,
}

impl Pending {
    pub(super) fn submit(
        servers: &Arc<Servers>,
        job: Job,
        mode: Mode,
        member: Option<Member>,
        corked: bool,
    ) -> Result<Self, ClientError> {
        let submitted = Instant::now();
        let place = servers.submit(&job, mode, member, corked)?;
        let job = matches!(servers.options.on_loss, OnLoss::Resubmit(_)).then_some(job);
        Ok(Self {
            job,
            place,
            member,
            mode,
            losses: 0,
            submitted,
            timeout: servers.options.job_timeout,
            handle: None,
            over: false,
            servers: Arc::clone(servers),
        })
    }

    /// Limits the time from submitting to the end, instead of the client's
    /// [`job_timeout`](super::ClientBuilder::job_timeout); `None` waits for ever.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// The server's name for the job; waits until the server has taken it.
    ///
    /// # Errors
    /// When it does not.
    pub fn handle(&mut self) -> Result<JobHandle, ClientError> {
        loop {
            if let Some(handle) = &self.handle {
                return Ok(handle.clone());
            }
            match self.next_update() {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(ClientError::Failed),
            }
        }
    }

    /// Waits for the result: all parts that the worker sent, in a row.
    ///
    /// # Errors
    /// When the job fails, or ends in another way than with a result; see [`ClientError`].
    pub fn wait(mut self) -> Result<Vec<u8>, ClientError> {
        let mut gathered = Gathered::default();
        loop {
            let update = self.advance(self.deadline())?;
            if let Some(result) = gathered.add(update, self.servers.options.unread_bytes_max)? {
                return Ok(result);
            }
        }
    }

    /// The next update, waited for; `None` after the end, which is
    /// [`Update::Complete`] or an error.
    pub fn next_update(&mut self) -> Option<Result<Update, ClientError>> {
        if self.over {
            return None;
        }
        let result = self.advance(self.deadline());
        if result.is_err() {
            self.end();
        }
        Some(result)
    }

    /// As [`next_update`](Self::next_update), but waits no longer than
    /// `patience`: `Some(Ok(None))` when there was nothing until then, and the job goes on.
    pub fn next_within(&mut self, patience: Duration) -> Option<Result<Option<Update>, ClientError>> {
        if self.over {
            return None;
        }
        let pause = Instant::now().checked_add(patience);
        let until = [pause, self.deadline()].into_iter().flatten().min();
        match self.advance(until) {
            Ok(update) => Some(Ok(Some(update))),
            Err(ClientError::Timeout { .. }) if until == pause && until != self.deadline() => Some(Ok(None)),
            Err(error) => {
                self.end();
                Some(Err(error))
            }
        }
    }

    /// When its time is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timeout.and_then(|timeout| self.submitted.checked_add(timeout))
    }

    pub(super) const fn link(&self) -> usize {
        self.place.link
    }

    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// An update that is there already.
    pub(super) fn update_now(&mut self) -> Option<Result<Update, ClientError>> {
        if self.over {
            return None;
        }
        let letter = self.servers.links[self.place.link].letter_now(self.place.slot)?;
        let result = self.open(letter);
        if result.is_err() {
            self.end();
        }
        Some(result)
    }

    fn advance(&mut self, until: Option<Instant>) -> Result<Update, ClientError> {
        match self.servers.links[self.place.link].letter(self.place.slot, until) {
            Some(letter) => self.open(letter),
            None => Err(self.late()),
        }
    }

    pub(super) fn late(&self) -> ClientError {
        ClientError::Timeout { after: self.submitted.elapsed() }
    }

    fn open(&mut self, letter: Letter) -> Result<Update, ClientError> {
        let server = &self.servers.links[self.place.link].address;
        match opened(letter, server, self.servers.options.unread_bytes_max)? {
            Opened::Update(update) => {
                if let Update::Created(handle) = &update {
                    self.handle = Some(handle.clone());
                }
                if update.is_last(self.mode) {
                    self.end();
                }
                Ok(update)
            }
            Opened::Lost(reason) => {
                self.servers.on_loss(self.place, &reason, self.losses)?;
                self.resubmit()?;
                Ok(Update::Restarted)
            }
        }
    }

    fn resubmit(&mut self) -> Result<(), ClientError> {
        let job = self.job.as_ref().expect("a job that may be submitted again is kept");
        let place = self.servers.submit(job, self.mode, self.member, false)?;
        self.servers.links[self.place.link].abandon(self.place.slot);
        self.place = place;
        self.losses += 1;
        self.handle = None;
        Ok(())
    }

    pub(super) fn end(&mut self) {
        if !self.over {
            self.over = true;
            self.servers.links[self.place.link].abandon(self.place.slot);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.end();
    }
}

impl Iterator for Pending {
    type Item = Result<Update, ClientError>;

    /// See [`next_update`](Self::next_update).
    fn next(&mut self) -> Option<Self::Item> {
        self.next_update()
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("handle", &self.handle)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
