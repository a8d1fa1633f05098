//! What a worker has to tell about itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::client::address::ServerAddress;
use crate::client::error::LossReason;
use crate::client::job::JobHandle;

/// Who is told.
pub(in crate::client) type OnNotice = Box<dyn Fn(&Notice) + Send + Sync>;

/// Something that happened to a worker, for its log; see
/// [`WorkerBuilder::on_notice`](super::WorkerBuilder::on_notice).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A connection is up, and its functions are registered.
    Connected {
        /// To which server.
        server: ServerAddress,
    },
    /// A server cannot be reached.
    Unreachable {
        /// Which one.
        server: ServerAddress,
        /// What the system says.
        error: Arc<io::Error>,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// A connection is gone; its jobs go back to the server, if that still lives.
    Lost {
        /// To which server.
        server: ServerAddress,
        /// What happened.
        reason: LossReason,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The server refused something. `JOB_NOT_FOUND` says that a result came too late: the
    /// job had a timeout or was cancelled.
    Refused {
        /// Which one.
        server: ServerAddress,
        /// Its code.
        code: String,
        /// Its words.
        text: String,
    },
    /// A function panicked. Its job ended with an exception, and the worker goes on.
    Panicked {
        /// The job.
        handle: JobHandle,
        /// The panic's message.
        message: String,
    },
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connected { server } => write!(f, "connected to {server}"),
            Self::Unreachable { server, error, retry_in } => {
                write!(f, "cannot reach {server}: {error}; trying again in {retry_in:.1?}")
            }
            Self::Lost { server, reason, retry_in } => {
                write!(f, "lost {server}: {reason}; connecting again in {retry_in:.1?}")
            }
            Self::Refused { server, code, text } => write!(f, "{server} refuses, {code}: {text}"),
            Self::Panicked { handle, message } => write!(f, "the function of {handle} panicked: {message}"),
        }
    }
}
