//! How a client treats its servers.

use std::ops::Range;
use std::time::Duration;

use super::address::ServerAddress;
use super::conversation::PACKET_BYTES_MAX;
use super::job::JobHandle;

/// What is done with a job whose connection goes while it is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLoss {
    /// It is submitted again, to the next server that answers, up to so many
    /// times. It may run twice: the lost server's worker may have begun it.
    Resubmit(u32),
    /// Whoever waits gets [`ClientError::Lost`](super::ClientError::Lost).
    Report,
}

/// Which of several servers gets a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spread {
    /// The first that answers gets all of them, until it goes.
    #[default]
    FirstThatAnswers,
    /// The job's unique decides, the same for every client with the same list
    /// (in any order), so that jobs coalesce over several servers. When its
    /// server is away, a job goes to the next in an order that is its own.
    /// Jobs without a unique go to any.
    ByUnique,
}

/// What a client is told before it starts; see [`ClientBuilder`](super::ClientBuilder).
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) servers: Vec<ServerAddress>,
    pub(crate) spread: Spread,
    pub(crate) on_loss: OnLoss,
    pub(crate) connect_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) job_timeout: Option<Duration>,
    pub(crate) patience: Duration,
    pub(crate) exceptions: bool,
    pub(crate) packet_bytes_max: u32,
    pub(crate) unread_bytes_max: usize,
}

impl Options {
    pub(crate) fn new(servers: Vec<ServerAddress>) -> Self {
        Self {
            servers,
            spread: Spread::FirstThatAnswers,
            on_loss: OnLoss::Resubmit(5),
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(30),
            job_timeout: None,
            patience: Duration::ZERO,
            exceptions: true,
            packet_bytes_max: PACKET_BYTES_MAX,
            unread_bytes_max: PACKET_BYTES_MAX as usize,
        }
    }

    /// Places in the list of the servers that may know a job: its own, if the
    /// handle remembers one of them, or all.
    pub(crate) fn servers_of(&self, handle: &JobHandle) -> Range<usize> {
        let own = handle.server().and_then(|server| self.servers.iter().position(|other| other == server));
        own.map_or(0..self.servers.len(), |own| own..own + 1)
    }
}
