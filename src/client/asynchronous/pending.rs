//! A job in flight.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::servers::Servers;
use crate::client::error::{ClientError, LossReason};
use crate::client::gathered::Gathered;
use crate::client::job::{Job, JobHandle, Mode};
use crate::client::options::OnLoss;
use crate::client::pending::{Opened, Update, opened};
use crate::client::servers::Place;

/// A job that has been submitted: await its result, or follow it update by update.
///
/// Dropping it cancels the waiting: whatever still comes is thrown away.
///
/// ```no_run
/// # async fn example() -> Result<(), gearshard::client::ClientError> {
/// # use gearshard::client::{asynchronous::AsyncClient, Job, Update};
/// # let client = AsyncClient::connect("localhost").await?;
/// let mut pending = client.submit(Job::new("resize", "...")).await?;
/// while let Some(update) = pending.next_update().await {
///     if let Update::Progress { numerator, denominator } = update? {
///         println!("{numerator} of {denominator}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it throws the job's result away"]
pub struct AsyncPending {
    servers: Arc<Servers>,
    /// Kept to submit it again.
    job: Option<Job>,
    place: Place,
    mode: Mode,
    losses: u32,
    submitted: Instant,
    timeout: Option<Duration>,
    handle: Option<JobHandle>,
    /// Its connection is lost, and what follows of that is not done yet.
    lost: Option<Arc<LossReason>>,
    over: bool,
}

impl AsyncPending {
    pub(super) async fn submit(servers: &Arc<Servers>, job: Job, mode: Mode) -> Result<Self, ClientError> {
        let submitted = Instant::now();
        let place = servers.submit(&job, mode).await?;
        Ok(Self {
            job: matches!(servers.options.on_loss, OnLoss::Resubmit(_)).then_some(job),
            place,
            mode,
            losses: 0,
            submitted,
            timeout: servers.options.job_timeout,
            handle: None,
            lost: None,
            over: false,
            servers: Arc::clone(servers),
        })
    }

    /// Limits the time from submitting to the end, instead of the client's
    /// [`job_timeout`](crate::client::ClientBuilder::job_timeout); `None` waits for ever.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// The server's name for the job; waits until the server has taken it.
    ///
    /// # Errors
    /// When it does not.
    pub async fn handle(&mut self) -> Result<JobHandle, ClientError> {
        loop {
            if let Some(handle) = &self.handle {
                return Ok(handle.clone());
            }
            match self.next_update().await {
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
    pub async fn wait(mut self) -> Result<Vec<u8>, ClientError> {
        let mut gathered = Gathered::default();
        loop {
            let update = self.advance().await?;
            if let Some(result) = gathered.add(update, self.servers.options.unread_bytes_max)? {
                return Ok(result);
            }
        }
    }

    /// The next update; `None` after the end, which is [`Update::Complete`] or
    /// an error. May be cancelled: nothing is lost.
    pub async fn next_update(&mut self) -> Option<Result<Update, ClientError>> {
        if self.over {
            return None;
        }
        let result = self.advance().await;
        if result.is_err() {
            self.end();
        }
        Some(result)
    }

    async fn advance(&mut self) -> Result<Update, ClientError> {
        let link = Arc::clone(&self.servers.links[self.place.link]);
        if self.lost.is_none() {
            let letter = link.letter(self.place.slot);
            let deadline = self.timeout.and_then(|timeout| self.submitted.checked_add(timeout));
            let letter = match deadline {
                None => letter.await,
                Some(deadline) => timeout_at(deadline, letter)
                    .await
                    .map_err(|_| ClientError::Timeout { after: self.submitted.elapsed() })?,
            };
            match opened(letter, &link.address, self.servers.options.unread_bytes_max)? {
                Opened::Update(update) => return Ok(self.note(update)),
                Opened::Lost(reason) => self.lost = Some(reason),
            }
        }
        // Kept until all is done: this may be cancelled while it waits for another server.
        if let Some(reason) = &self.lost {
            self.servers.on_loss(self.place, reason, self.losses)?;
            let job = self.job.as_ref().expect("a job that may be submitted again is kept");
            let place = self.servers.submit(job, self.mode).await?;
            link.abandon(self.place.slot);
            self.place = place;
            self.losses += 1;
            self.lost = None;
            self.handle = None;
        }
        Ok(Update::Restarted)
    }

    fn note(&mut self, update: Update) -> Update {
        if let Update::Created(handle) = &update {
            self.handle = Some(handle.clone());
        }
        if update.is_last(self.mode) {
            self.end();
        }
        update
    }

    fn end(&mut self) {
        if !self.over {
            self.over = true;
            self.servers.links[self.place.link].abandon(self.place.slot);
        }
    }
}

impl Drop for AsyncPending {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for AsyncPending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncPending").field("handle", &self.handle).finish_non_exhaustive()
    }
}
