//! Why a connection cannot go on.

use std::fmt;

use crate::protocol::decode::DecodeError;
use crate::protocol::packet::Command;

/// The server said something that no Gearman server says. The connection is
/// out of step and has to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// What was received is not a packet.
    Decode(DecodeError),
    /// Text where a packet was due; its beginning.
    Text(Box<[u8]>),
    /// A packet on its way to a server: the peer is a client, or echoes.
    Request(Command),
    /// An answer to something that was not asked, or a packet that the other role receives.
    Unexpected(Command),
    /// An ERROR packet that answers nothing.
    Error {
        /// The server's code, such as `QUEUE_ERROR`.
        code: String,
        /// Its words.
        text: String,
    },
    /// A job handle longer than handles are; its length in bytes.
    LongHandle(usize),
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(DecodeError::TooLarge { declared, limit }) => write!(
                f,
                "the server sent a packet of {declared} bytes, over the limit of {limit}; raise the limit for packets"
            ),
            Self::Decode(error) => {
                write!(f, "{error}; check that a Gearman server of the same kind (TLS or not) listens there")
            }
            Self::Text(text) => write!(
                f,
                "the peer sent text ({}) instead of packets; check that a Gearman server listens there",
                text.escape_ascii()
            ),
            Self::Request(command) => write!(
                f,
                "the peer sent {} as a request; check that a Gearman server listens there",
                command.name()
            ),
            Self::Unexpected(command) => write!(f, "the server sent {} that was not due", command.name()),
            Self::Error { code, text } => write!(f, "the server reports {code}: {text}"),
            Self::LongHandle(bytes) => write!(f, "the server sent a job handle of {bytes} bytes"),
        }
    }
}

impl std::error::Error for ProtocolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Decode(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DecodeError> for ProtocolError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}
