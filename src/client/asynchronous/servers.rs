//! The servers of a client: which one gets a request, and what is tried next.

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::link::Link;
use crate::client::choice::Choice;
use crate::client::conversation::ClientConversation;
use crate::client::error::{ClientError, LossReason};
use crate::client::job::{InvalidJob, Job, Mode};
use crate::client::link::NotMade;
use crate::client::mailbox::Letter;
use crate::client::options::Options;
use crate::client::servers::{BETWEEN_ROUNDS, Place};

/// Shared by a client, its clones, and everything that it has in flight.
pub(super) struct Servers {
    pub(super) options: Arc<Options>,
    pub(super) links: Vec<Arc<Link>>,
    choice: Choice,
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.links.iter().for_each(|link| link.close());
    }
}

impl Servers {
    pub(super) fn new(options: Options) -> Self {
        let options = Arc::new(options);
        let links = options.servers.iter();
        let links = links.map(|server| Arc::new(Link::new(server.clone(), Arc::clone(&options)))).collect();
        Self { links, choice: Choice::new(&options), options }
    }

    /// Makes a request of the first of these servers that can be reached; those
    /// that were away a moment ago come last.
    pub(super) async fn place(
        &self,
        key: Option<&[u8]>,
        only: Option<usize>,
        mode: Mode,
        make: impl Fn(&mut ClientConversation, u64) -> Result<(), InvalidJob>,
    ) -> Result<Place, ClientError> {
        let start = Instant::now();
        loop {
            let order = only.map_or_else(|| self.choice.order(key), |only| vec![only]);
            let (resting, up): (Vec<_>, Vec<_>) =
                order.into_iter().partition(|&index| self.links[index].rests());
            let mut attempts = Vec::new();
            for index in up.into_iter().chain(resting) {
                let link = &self.links[index];
                match link.request(mode, &make).await {
                    Ok(slot) => {
                        self.choice.answered(index);
                        return Ok(Place { link: index, slot });
                    }
                    Err(NotMade::Invalid(invalid)) => return Err(invalid.into()),
                    Err(NotMade::Unreachable(error)) => {
                        attempts.push(((*link.address).clone(), Arc::new(error)));
                    }
                }
            }
            if start.elapsed() >= self.options.patience {
                return Err(ClientError::NoServer { attempts });
            }
            sleep(BETWEEN_ROUNDS).await;
        }
    }

    pub(super) async fn submit(&self, job: &Job, mode: Mode) -> Result<Place, ClientError> {
        self.place(job.coalescing_key(), None, mode, |talk, key| talk.submit(key, job, mode)).await
    }

    /// What the loss of a request's connection means; see [`Choice::on_loss`].
    pub(super) fn on_loss(&self, place: Place, reason: &LossReason, losses: u32) -> Result<(), ClientError> {
        self.choice.on_loss(place.link, reason, losses)
    }

    /// Asks one server, or the first that answers, something that has one answer.
    pub(super) async fn ask(
        &self,
        only: Option<usize>,
        make: impl Fn(&mut ClientConversation, u64),
    ) -> Result<Letter, ClientError> {
        let mut losses = 0;
        loop {
            let make = |talk: &mut ClientConversation, key| {
                make(talk, key);
                Ok(())
            };
            let place = self.place(None, only, Mode::Background, make).await?;
            let claim = Claim { link: &self.links[place.link], slot: place.slot };
            match claim.link.letter(place.slot).await {
                Letter::Lost(reason) => self.on_loss(place, &reason, losses)?,
                Letter::Refused { code, text } => return Err(ClientError::Refused { code, text }),
                letter => return Ok(letter),
            }
            losses += 1;
        }
    }
}

/// Gives a slot up, also when the future that waits for it is dropped.
struct Claim<'a> {
    link: &'a Link,
    slot: u32,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.link.abandon(self.slot);
    }
}
