//! Which of several servers comes first, and which next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::address::ServerAddress;
use super::error::{ClientError, LossReason};
use super::options::{OnLoss, Options, Spread};
use crate::protocol::fnv;

/// The order of a client's servers, for each of its requests.
#[derive(Debug)]
pub(super) struct Choice {
    options: Arc<Options>,
    /// The one that answered last, where the first that answers gets everything.
    current: AtomicUsize,
}

impl Choice {
    pub(super) fn new(options: &Arc<Options>) -> Self {
        Self { options: Arc::clone(options), current: AtomicUsize::new(0) }
    }

    /// The one server that comes first whatever is asked, if there is one.
    pub(super) fn usual(&self) -> Option<usize> {
        let one = self.options.servers.len() == 1 || self.options.spread == Spread::FirstThatAnswers;
        one.then(|| self.current.load(Relaxed))
    }

    /// All servers, best first; `key` is what may coalesce.
    pub(super) fn order(&self, key: Option<&[u8]>) -> Vec<usize> {
        let count = self.options.servers.len();
        let first = match (self.options.spread, key) {
            (Spread::ByUnique, Some(key)) => return order(&self.options.servers, key),
            (Spread::ByUnique, None) => fastrand::usize(..count.max(1)),
            (Spread::FirstThatAnswers, _) => self.current.load(Relaxed),
        };
        (0..count).map(|step| (first + step) % count).collect()
    }

    /// A server could be reached.
    pub(super) fn answered(&self, server: usize) {
        if self.options.spread == Spread::FirstThatAnswers {
            self.current.store(server, Relaxed);
        }
    }

    /// What the loss of a connection means for a request that has been lost
    /// `losses` times before: whether it is to be made again.
    pub(super) fn on_loss(&self, server: usize, reason: &LossReason, losses: u32) -> Result<(), ClientError> {
        match self.options.on_loss {
            OnLoss::Resubmit(times) if losses < times => {
                self.misbehaved(server);
                Ok(())
            }
            _ => {
                let server = self.options.servers[server].clone();
                Err(ClientError::Lost { server, reason: reason.clone() })
            }
        }
    }

    /// A server lost what was in flight: it is not the next one to be tried.
    fn misbehaved(&self, server: usize) {
        if self.options.spread == Spread::FirstThatAnswers {
            let next = (server + 1) % self.options.servers.len();
            // Unless somebody else has moved on already.
            let _ = self.current.compare_exchange(server, next, Relaxed, Relaxed);
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

/// Stirred at the end. The same in every process, unlike the standard library's.
fn hash(key: &[u8], server: &str) -> u64 {
    let fnv = fnv::hash(key.iter().chain(b"\0").chain(server.as_bytes()));
    let stirred = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    stirred ^ (stirred >> 33)
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
