//! What can go wrong for a client or a worker.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::address::{InvalidAddress, ServerAddress};
use super::conversation::ProtocolError;
use super::job::InvalidJob;

/// Why a request or a job did not come to its good end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// An address cannot be read.
    Address(InvalidAddress),
    /// The protocol cannot carry the job.
    Job(InvalidJob),
    /// No server could be reached.
    NoServer {
        /// Which ones were tried, and what the system said of each.
        attempts: Vec<(ServerAddress, Arc<io::Error>)>,
    },
    /// The connection went while the request or the job was in flight, and was not to be made again.
    /// Whether the job ran is not known.
    Lost {
        /// The server at the other end.
        server: ServerAddress,
        /// What happened.
        reason: LossReason,
    },
    /// The server refused, with an ERROR packet.
    Refused {
        /// Its code, such as `QUEUE_ERROR`.
        code: String,
        /// Its words.
        text: String,
    },
    /// The job failed.
    Failed,
    /// The job ended with an exception: what the worker had to say.
    Exception(Vec<u8>),
    /// The job did not end within its time. It may still run; its result is discarded.
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The system refuses a worker its threads or descriptors.
    System(Arc<io::Error>),
    /// The job sent more than the client keeps of what nobody has read yet.
    Unread {
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Why a connection is gone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LossReason {
    /// The server closed it.
    Closed,
    /// The system reports an error.
    Io(Arc<io::Error>),
    /// The server said something that no Gearman server says.
    Protocol(ProtocolError),
    /// The server did not answer, or did not read, for this long.
    Silent(Duration),
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "the server closed the connection"),
            Self::Io(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::Silent(after) => write!(f, "the server has not answered for {after:?}"),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Job(error) => error.fmt(f),
            Self::NoServer { attempts } => {
                write!(f, "no Gearman server can be reached; start one or check the address")?;
                attempts.iter().try_for_each(|(server, error)| write!(f, "; {server}: {error}"))
            }
            Self::Lost { server, reason } => write!(
                f,
                "the connection to {server} is lost: {reason}; whether the job ran is not known, submit it again if it may run twice"
            ),
            Self::Refused { code, text } => write!(f, "the server refuses, {code}: {text}"),
            Self::Failed => write!(f, "the job failed; the worker's log tells why"),
            Self::Exception(data) => {
                write!(f, "the job ended with an exception: {}", String::from_utf8_lossy(data))
            }
            Self::Timeout { after } => write!(
                f,
                "no result within {after:?}; check that a worker serves the function, or allow more time"
            ),
            Self::System(error) => write!(f, "the system refuses a thread or a descriptor: {error}"),
            Self::Unread { limit } => write!(
                f,
                "the job sent more than {limit} bytes that were not read; read its updates as they come or raise the limit"
            ),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Address(error) => Some(error),
            Self::Job(error) => Some(error),
            Self::System(error) | Self::Lost { reason: LossReason::Io(error), .. } => Some(error),
            Self::Lost { reason: LossReason::Protocol(error), .. } => Some(error),
            _ => None,
        }
    }
}

impl From<InvalidAddress> for ClientError {
    fn from(error: InvalidAddress) -> Self {
        Self::Address(error)
    }
}

impl From<InvalidJob> for ClientError {
    fn from(error: InvalidJob) -> Self {
        Self::Job(error)
    }
}
