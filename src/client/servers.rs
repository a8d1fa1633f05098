//! The servers of a client: which one gets a request, and what is tried next.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use super::address::ServerAddress;
use super::conversation::ClientConversation;
use super::error::{ClientError, LossReason};
use super::job::{InvalidJob, Job, Mode};
use super::link::{Link, NotMade};
use super::mailbox::{Letter, Member};
use super::options::{OnLoss, Options, Spread};

/// How long a client with patience waits before it tries all servers again.
const BETWEEN_ROUNDS: std::time::Duration = std::time::Duration::from_millis(50);

/// Shared by a client, its clones, and everything that it has in flight.
pub(super) struct Servers {
    pub(super) options: Arc<Options>,
    pub(super) links: Vec<Link>,
    /// The one that answered last, where the first that answers gets everything.
    current: AtomicUsize,
    batches: AtomicU64,
}

/// A request that has been made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) link: usize,
    pub(super) slot: u32,
}

/// Who could not be reached.
type Attempts = Vec<(ServerAddress, Arc<io::Error>)>;

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

/// Where a key's requests go, best first.
fn order(servers: &[ServerAddress], key: &[u8]) -> Vec<usize> {
    // The server with the highest hash of key and address: when one goes, only its keys move.
    let mut order: Vec<(u64, usize)> =
        servers.iter().enumerate().map(|(index, server)| (hash(key, &server.to_string()), index)).collect();
    order.sort_unstable_by(|one, other| other.cmp(one));
    order.into_iter().map(|(_, index)| index).collect()
}

/// FNV-1a, stirred at the end. The same in every process, unlike the standard library's.
fn hash(key: &[u8], server: &str) -> u64 {
    let fnv =
        key.iter().chain(b"\0").chain(server.as_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let stirred = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    stirred ^ (stirred >> 33)
}

impl Servers {
    pub(super) fn new(options: Options) -> Self {
        let options = Arc::new(options);
        let links = options.servers.iter().map(|server| Link::new(server.clone(), Arc::clone(&options)));
        Self {
            links: links.collect(),
            current: AtomicUsize::new(0),
            batches: AtomicU64::new(0),
            options: Arc::clone(&options),
        }
    }

    pub(super) fn new_batch(&self) -> u64 {
        self.batches.fetch_add(1, Relaxed)
    }

    /// Whether a result of which so much has been gathered may still grow.
    pub(super) fn check_gathered(&self, bytes: usize) -> Result<(), ClientError> {
        let limit = self.options.unread_bytes_max;
        if bytes > limit { Err(ClientError::Unread { limit }) } else { Ok(()) }
    }

    fn order(&self, key: Option<&[u8]>) -> Vec<usize> {
        let count = self.links.len();
        let first = match (self.options.spread, key) {
            (Spread::ByUnique, Some(key)) => return order(&self.options.servers, key),
            (Spread::ByUnique, None) => fastrand::usize(..count.max(1)),
            (Spread::FirstThatAnswers, _) => self.current.load(Relaxed),
        };
        (0..count).map(|step| (first + step) % count).collect()
    }

    /// Makes a request of the first server that can be reached; `key` decides on the order.
    pub(super) fn place(
        &self,
        key: Option<&[u8]>,
        make: impl Fn(&Link) -> Result<u32, NotMade>,
    ) -> Result<Place, ClientError> {
        let start = Instant::now();
        loop {
            let first = self.current.load(Relaxed);
            // By far the most usual case, without a list of anything.
            let likely = self.links.get(first).filter(|link| {
                (self.links.len() == 1 || self.options.spread == Spread::FirstThatAnswers) && !link.rests()
            });
            let mut attempts = Vec::new();
            if let Some(link) = likely
                && let Some(slot) = attempt(link, &make, &mut attempts)?
            {
                return Ok(Place { link: first, slot });
            }
            let order = self.order(key);
            let rest = order.iter().copied().filter(|&index| likely.is_none() || index != first);
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
                self.current.store(index, Relaxed);
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

    /// What the loss of a connection means for a job that has been lost `losses` times before:
    /// whether it is to be submitted again.
    pub(super) fn on_loss(&self, place: Place, reason: &LossReason, losses: u32) -> Result<(), ClientError> {
        match self.options.on_loss {
            OnLoss::Resubmit(times) if losses < times => {
                // A server that has just misbehaved is not the next one to be tried.
                if self.options.spread == Spread::FirstThatAnswers {
                    let next = (place.link + 1) % self.links.len();
                    let _moved_on = self.current.compare_exchange(place.link, next, Relaxed, Relaxed);
                }
                Ok(())
            }
            _ => Err(self.lost(place, reason)),
        }
    }

    pub(super) fn lost(&self, place: Place, reason: &LossReason) -> ClientError {
        let server = (*self.links[place.link].address).clone();
        ClientError::Lost { server, reason: reason.clone() }
    }

    /// Asks one server, or the first that answers, something that has one answer.
    pub(super) fn ask(
        &self,
        only: Option<usize>,
        make: impl Fn(&mut ClientConversation, u64) -> Result<(), InvalidJob>,
    ) -> Result<Letter, ClientError> {
        let request = |link: &Link| link.request(Mode::Background, None, false, &make);
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
                None => return Err(self.lost(place, &LossReason::Closed)),
            }
            losses += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spread_evenly_and_stay_when_another_server_goes() {
        let servers = ServerAddress::list("a,b,c,d").unwrap();
        let mut counts = [0; 4];
        for number in 0..4000 {
            let key = format!("unique {number}");
            let all = order(&servers, key.as_bytes());
            counts[all[0]] += 1;
            let without_last = order(&servers[..3], key.as_bytes());
            let expected: Vec<usize> = all.iter().copied().filter(|&index| index != 3).collect();
            assert_eq!(without_last, expected);
        }
        assert!(counts.iter().all(|&count| (800..1200).contains(&count)), "{counts:?}");
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let one = ServerAddress::list("a,b,c").unwrap();
        let other = ServerAddress::list("c,a,b").unwrap();
        for number in 0..100 {
            let key = format!("{number}");
            let names = |servers: &[ServerAddress]| -> Vec<String> {
                order(servers, key.as_bytes()).into_iter().map(|index| servers[index].to_string()).collect()
            };
            assert_eq!(names(&one), names(&other));
        }
    }
}
