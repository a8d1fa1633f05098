//! Many jobs in flight, waited for by one thread.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::ClientError;
use super::gathered::Gathered;
use super::job::{Job, Mode};
use super::mailbox::Member;
use super::pending::{Pending, Update};
use super::servers::Servers;

/// Jobs that are submitted together and whose results are taken as they come.
///
/// Submitting only collects; what has been collected is sent when it fills a
/// packet or two, when something is waited for, or with [`flush`](Self::flush).
/// So a thousand small jobs cost a few system calls.
///
/// ```no_run
/// # use gearshard::client::{Client, Job};
/// # let client = Client::connect("localhost")?;
/// let mut batch = client.batch();
/// for line in ["one", "two", "three"] {
///     batch.submit(Job::new("reverse", line))?;
/// }
/// while let Some((number, result)) = batch.next_result() {
///     println!("{number}: {}", String::from_utf8_lossy(&result?));
/// }
/// # Ok::<(), gearshard::client::ClientError>(())
/// ```
///
/// Dropping it throws away the results of foreground jobs that are still in flight.
#[must_use = "a batch does nothing until jobs are submitted to it"]
pub struct Batch {
    servers: Arc<Servers>,
    name: u64,
    next_number: u64,
    jobs: BTreeMap<u64, Entry>,
    ready: VecDeque<u64>,
}

/// A job's number and update, and its entry if that was its last.
type Found = (u64, Result<Update, ClientError>, Option<Entry>);

struct Entry {
    pending: Pending,
    gathered: Gathered,
}

impl Batch {
    pub(super) fn new(servers: &Arc<Servers>) -> Self {
        Self {
            servers: Arc::clone(servers),
            name: servers.new_batch(),
            next_number: 0,
            jobs: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Adds a foreground job, and gives it a number: 0, 1, 2...
    ///
    /// # Errors
    /// When the job is invalid or no server can be reached.
    pub fn submit(&mut self, job: Job) -> Result<u64, ClientError> {
        self.add(job, Mode::Foreground)
    }

    /// Adds a background job, and gives it a number. It ends with
    /// [`Update::Created`], and its result is empty.
    ///
    /// # Errors
    /// When the job is invalid or no server can be reached.
    pub fn submit_background(&mut self, job: Job) -> Result<u64, ClientError> {
        self.add(job.with_own_unique(), Mode::Background)
    }

    fn add(&mut self, job: Job, mode: Mode) -> Result<u64, ClientError> {
        let number = self.next_number;
        let member = Member { batch: self.name, tag: number };
        let pending = Pending::submit(&self.servers, job, mode, Some(member), true)?;
        self.next_number += 1;
        self.jobs.insert(number, Entry { pending, gathered: Gathered::default() });
        Ok(number)
    }

    /// How many jobs are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether no job is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Sends what has been collected.
    pub fn flush(&mut self) {
        self.servers.links.iter().for_each(super::link::Link::uncork);
    }

    /// The next update of any job, waited for; `None` when no job is in flight.
    /// A job's last one is [`Update::Complete`] or an error.
    pub fn next_update(&mut self) -> Option<(u64, Result<Update, ClientError>)> {
        let (number, update, _) = self.next(None)??;
        Some((number, update))
    }

    /// As [`next_update`](Self::next_update), but waits no longer than `patience`: `Some(None)`
    /// when there was nothing until then, and the jobs go on.
    #[allow(clippy::option_option, reason = "no job in flight and nothing yet are different things")]
    pub fn next_within(&mut self, patience: Duration) -> Option<Option<(u64, Result<Update, ClientError>)>> {
        let found = self.next(Instant::now().checked_add(patience))?;
        Some(found.map(|(number, update, _)| (number, update)))
    }

    /// The result of the job that ends next, waited for: all parts that its
    /// worker sent, in a row. `None` when no job is in flight.
    ///
    /// Use either this or [`next_update`](Self::next_update) on one batch:
    /// what that has handed out is not part of what this gives.
    pub fn next_result(&mut self) -> Option<(u64, Result<Vec<u8>, ClientError>)> {
        let limit = self.servers.options.unread_bytes_max;
        loop {
            let (number, update, mut ended) = self.next(None)??;
            let over = ended.is_some();
            let Some(entry) = ended.as_mut().or_else(|| self.jobs.get_mut(&number)) else { continue };
            match update.and_then(|update| entry.gathered.add(update, limit)) {
                Ok(Some(result)) => return Some((number, Ok(result))),
                // A background job ends when it is taken.
                Ok(None) if over => return Some((number, Ok(Vec::new()))),
                Ok(None) => {}
                Err(error) => {
                    self.jobs.remove(&number);
                    return Some((number, Err(error)));
                }
            }
        }
    }

    /// The next update, and the job's entry when that was its last one; `Some(None)` when nothing
    /// came until `pause`.
    #[allow(clippy::option_option, reason = "no job in flight and nothing yet are different things")]
    fn next(&mut self, pause: Option<Instant>) -> Option<Option<Found>> {
        loop {
            while let Some(number) = self.ready.pop_front() {
                let Some(entry) = self.jobs.get_mut(&number) else { continue };
                let Some(update) = entry.pending.update_now() else { continue };
                let ended = if entry.pending.is_over() { self.jobs.remove(&number) } else { None };
                return Some(Some((number, update, ended)));
            }
            let name = self.name;
            self.servers.links.iter().for_each(|link| link.take_ready(name, &mut self.ready));
            if !self.ready.is_empty() {
                continue;
            }
            // Of several servers, the one that has the oldest job is waited for; what
            // the others send stays in their sockets until then.
            let (&oldest, entry) = self.jobs.first_key_value()?;
            let deadline = entry.pending.deadline();
            self.flush_others(entry.pending.link());
            let link = &self.servers.links[self.jobs[&oldest].pending.link()];
            let until = [deadline, pause].into_iter().flatten().min();
            link.wait_for_batch(name, until, &mut self.ready);
            let over = |time: Option<Instant>| time.is_some_and(|time| Instant::now() >= time);
            if self.ready.is_empty() && over(deadline) {
                let mut late = self.jobs.remove(&oldest)?;
                late.pending.end();
                return Some(Some((oldest, Err(late.pending.late()), Some(late))));
            }
            if self.ready.is_empty() && over(pause) {
                return Some(None);
            }
        }
    }

    fn flush_others(&self, but: usize) {
        self.servers
            .links
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != but)
            .for_each(|(_, link)| link.uncork());
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // Background jobs that have been collected are to run all the same.
        self.flush();
        self.jobs.clear();
        self.servers.links.iter().for_each(|link| link.close_batch(self.name));
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("jobs", &self.jobs.len()).finish_non_exhaustive()
    }
}

/// The results of many jobs, as they come; see [`Client::run_all`](super::Client::run_all).
#[derive(Debug)]
#[must_use = "jobs are submitted as the results are taken"]
pub struct Results<I> {
    jobs: std::iter::Fuse<I>,
    batch: Batch,
    in_flight: usize,
    /// A job that could not be submitted: its error is its result.
    refused: Option<(u64, ClientError)>,
}

impl<I: Iterator<Item = Job>> Results<I> {
    pub(super) fn new(jobs: I, batch: Batch, in_flight: usize) -> Self {
        Self { jobs: jobs.fuse(), batch, in_flight: in_flight.max(1), refused: None }
    }

    // In bites, so that what is submitted goes out in few packets.
    fn refill(&mut self) {
        if self.batch.len() > self.in_flight - self.in_flight.div_ceil(4) || self.refused.is_some() {
            return;
        }
        while self.batch.len() < self.in_flight {
            let Some(job) = self.jobs.next() else { return };
            if let Err(error) = self.batch.submit(job) {
                // Its number is used up all the same.
                self.refused = Some((self.batch.next_number, error));
                self.batch.next_number += 1;
                return;
            }
        }
    }
}

impl<I: Iterator<Item = Job>> Iterator for Results<I> {
    type Item = (u64, Result<Vec<u8>, ClientError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.refill();
        if let Some((number, error)) = self.refused.take() {
            return Some((number, Err(error)));
        }
        self.batch.next_result()
    }
}
