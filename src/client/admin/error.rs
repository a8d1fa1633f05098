//! What can go wrong between an administrator and a server.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::client::address::ServerAddress;

/// Why an admin command was not answered as it should be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AdminError {
    /// The server cannot be reached.
    Unreachable {
        /// Which one.
        server: ServerAddress,
        /// What the system says.
        error: Arc<io::Error>,
    },
    /// The connection went before the answer was complete.
    Lost {
        /// The server at the other end.
        server: ServerAddress,
        /// What the system says; `None` when the server closed it.
        error: Option<Arc<io::Error>>,
    },
    /// The answer was not complete in time.
    Silent {
        /// Which server.
        server: ServerAddress,
        /// How long was waited.
        after: Duration,
    },
    /// What came is no answer to the command.
    Garbage {
        /// Which server.
        server: ServerAddress,
        /// The beginning of what came.
        text: Vec<u8>,
    },
    /// The answer is longer than is kept; see [`Admin::answer_bytes_max`](super::Admin::answer_bytes_max).
    TooLong {
        /// Which server.
        server: ServerAddress,
        /// The limit that was met, in bytes.
        limit: usize,
    },
    /// The server refuses, with `ERR`.
    Refused {
        /// Which server.
        server: ServerAddress,
        /// Its words, such as `UNKNOWN_JOB`.
        text: String,
    },
    /// An admin line cannot carry this name.
    Name(Vec<u8>),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { server, error } => {
                write!(f, "cannot reach {server}: {error}; start a server there or check the address")
            }
            Self::Lost { server, error: Some(error) } => {
                write!(f, "the connection to {server} is lost: {error}; try again")
            }
            Self::Lost { server, error: None } => {
                write!(f, "{server} closed the connection without a whole answer; try again")
            }
            Self::Silent { server, after } => write!(
                f,
                "{server} has not answered within {after:?}; allow more time, or check that a Gearman server listens there"
            ),
            Self::Garbage { server, text } => write!(
                f,
                "{server} answers \"{}\"; check that a Gearman server listens there",
                text.escape_ascii()
            ),
            Self::TooLong { server, limit } => {
                write!(f, "the answer of {server} has more than {limit} bytes; raise the limit")
            }
            Self::Refused { server, text } => write!(f, "{server} refuses: {text}"),
            Self::Name(name) => write!(
                f,
                "\"{}\" cannot be named in an admin command, which ends at spaces and control characters",
                name.escape_ascii()
            ),
        }
    }
}

impl std::error::Error for AdminError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable { error, .. } | Self::Lost { error: Some(error), .. } => Some(error),
            _ => None,
        }
    }
}
