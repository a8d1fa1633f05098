//! What a server knows of a job.

use super::error::ClientError;
use super::mailbox::Letter;

/// The state of a job, as a server tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStatus {
    /// The server has the job, waiting or running. A finished job is not known any more.
    pub known: bool,
    /// A worker has it.
    pub running: bool,
    /// How far it has got, of `denominator`; 0 of 0 until the worker says something else.
    pub numerator: u64,
    /// What `numerator` reaches when the job is done.
    pub denominator: u64,
    /// How many clients wait for it; told when the question named the unique.
    pub clients: Option<u64>,
}

/// Asks one server after the other for a job, until one has it.
pub(super) struct Search {
    found: Result<JobStatus, ClientError>,
}

impl Search {
    pub(super) const fn new() -> Self {
        Self { found: Err(ClientError::NoServer { attempts: Vec::new() }) }
    }

    /// Takes a server's answer; whether it ends the search.
    pub(super) fn add(&mut self, answer: Result<Letter, ClientError>) -> bool {
        match (answer, &mut self.found) {
            (Ok(Letter::Status(status)), _) => self.found = Ok(status),
            (Err(ClientError::NoServer { attempts }), Err(ClientError::NoServer { attempts: earlier })) => {
                earlier.extend(attempts);
            }
            (Err(error), Err(_)) => self.found = Err(error),
            _ => {}
        }
        self.found.as_ref().is_ok_and(|status| status.known)
    }

    /// The status that was found; that of an unknown job when a server could be
    /// asked and none has it.
    pub(super) fn found(self) -> Result<JobStatus, ClientError> {
        self.found
    }
}
