//! The servers of a client: which one gets a request, and what is tried next.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::address::ServerAddress;
use super::choice::Choice;
use super::conversation::ClientConversation;
use super::error::{ClientError, LossReason};
use super::job::{Job, Mode};
use super::link::{Link, NotMade};
use super::mailbox::{Letter, Member};
use super::options::Options;

/// How long a client with patience waits before it tries all servers again.
pub(super) const BETWEEN_ROUNDS: std::time::Duration = std::time::Duration::from_millis(50);

/// Shared by a client, its clones, and everything that it has in flight.
pub(super) struct Servers {
    pub(super) options: Arc<Options>,
    pub(super) links: Vec<Link>,
    choice: Choice,
    batches: AtomicU64,
}

/// A request that has been made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) link: usize,
    pub(super) slot: u32,
}

/// Who could not be reached.
pub(super) type Attempts = Vec<(ServerAddress, Arc<io::Error>)>;

/// Makes a request of one server; a failure to reach it is noted.
fn attempt(
    link: &Link,
    make: impl Fn(&Link) -> Result<u32, NotMade>,
    attempts: &mut Attempts,
) -> Result<Option<u32>, ClientError> {
    match make(link) {
        Ok(slot) => Ok(Some(slot)),
        Err(NotMade::Invalid(invalid)) => Err(invalid.into()),
        Err(NotMade::Unreachable(error)) => {
            attempts.push(((*link.address).clone(), Arc::new(error)));
            Ok(None)
        }
    }
}

impl Servers {
    pub(super) fn new(options: Options) -> Self {
        let options = Arc::new(options);
        let links = options.servers.iter().map(|server| Link::new(server.clone(), Arc::clone(&options)));
        Self {
            links: links.collect(),
            choice: Choice::new(&options),
            batches: AtomicU64::new(0),
            options: Arc::clone(&options),
        }
    }

    pub(super) fn new_batch(&self) -> u64 {
        self.batches.fetch_add(1, Relaxed)
    }

    /// Makes a request of the first server that can be reached; `key` decides on the order.
    pub(super) fn place(
        &self,
        key: Option<&[u8]>,
        make: impl Fn(&Link) -> Result<u32, NotMade>,
    ) -> Result<Place, ClientError> {
        let start = Instant::now();
        loop {
            // By far the most usual case, without a list of anything.
            let first = self.choice.usual();
            let likely = first.map(|first| &self.links[first]).filter(|link| !link.rests());
            let mut attempts = Vec::new();
            if let Some(link) = likely
                && let Some(slot) = attempt(link, &make, &mut attempts)?
            {
                return Ok(Place { link: first.unwrap_or(0), slot });
            }
            let order = self.choice.order(key).into_iter();
            let rest = order.filter(|&index| likely.is_none() || Some(index) != first);
            match self.try_all(rest, attempts, &make) {
                Err(ClientError::NoServer { .. }) if start.elapsed() < self.options.patience => {
                    std::thread::sleep(BETWEEN_ROUNDS);
                }
                result => return result,
            }
        }
    }

    // Those that were away a moment ago come last.
    fn try_all(
        &self,
        order: impl Iterator<Item = usize>,
        mut attempts: Attempts,
        make: impl Fn(&Link) -> Result<u32, NotMade>,
    ) -> Result<Place, ClientError> {
        let (resting, up): (Vec<_>, Vec<_>) = order.partition(|&index| self.links[index].rests());
        for index in up.into_iter().chain(resting) {
            if let Some(slot) = attempt(&self.links[index], &make, &mut attempts)? {
                self.choice.answered(index);
                return Ok(Place { link: index, slot });
            }
        }
        Err(ClientError::NoServer { attempts })
    }

    /// Submits a job.
    pub(super) fn submit(
        &self,
        job: &Job,
        mode: Mode,
        member: Option<Member>,
        corked: bool,
    ) -> Result<Place, ClientError> {
        self.place(job.coalescing_key(), |link| link.submit(job, mode, member, corked))
    }

    /// What the loss of a request's connection means; see [`Choice::on_loss`].
    pub(super) fn on_loss(&self, place: Place, reason: &LossReason, losses: u32) -> Result<(), ClientError> {
        self.choice.on_loss(place.link, reason, losses)
    }

    /// Asks one server, or the first that answers, something that has one answer.
    pub(super) fn ask(
        &self,
        only: Option<usize>,
        make: impl Fn(&mut ClientConversation, u64),
    ) -> Result<Letter, ClientError> {
        let request = |link: &Link| {
            link.request(Mode::Background, None, false, |talk, key| {
                make(talk, key);
                Ok(())
            })
        };
        let mut losses = 0;
        loop {
            let place = match only {
                None => self.place(None, request)?,
                Some(index) => self.try_all(std::iter::once(index), Vec::new(), request)?,
            };
            let link = &self.links[place.link];
            // The link itself sees to it that the server answers in time.
            let letter = link.letter(place.slot, None);
            link.abandon(place.slot);
            match letter {
                Some(Letter::Lost(reason)) => self.on_loss(place, &reason, losses)?,
                Some(Letter::Refused { code, text }) => return Err(ClientError::Refused { code, text }),
                Some(letter) => return Ok(letter),
                None => {
                    let server = (*link.address).clone();
                    return Err(ClientError::Lost { server, reason: LossReason::Closed });
                }
            }
            losses += 1;
        }
    }
}
