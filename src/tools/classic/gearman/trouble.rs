//! What goes wrong, in libgearman's words.
//!
//! Each names the place in libgearman 1.1.20 that says it: part of the line that
//! scripts have been matching, and the same bytes here.

use std::fmt;
use std::io::{self, Write};

use crate::client::conversation::ProtocolError;
use crate::protocol::decode::DecodeError;

/// The codes of ERROR packets that libgearman knows, as it compares them: in any case.
const CODES: [&str; 45] = [
    "ARGUMENT_TOO_LARGE",
    "COULD_NOT_CONNECT",
    "DATA_TOO_LARGE",
    "ECHO_DATA_CORRUPTION",
    "ERRNO",
    "EVENT",
    "FLUSH_DATA",
    "GETADDRINFO",
    "IGNORE_PACKET",
    "INVALID_ARGUMENT",
    "INVALID_COMMAND",
    "INVALID_FUNCTION_NAME",
    "INVALID_MAGIC",
    "INVALID_PACKET",
    "INVALID_SERVER_OPTION",
    "INVALID_WORKER_FUNCTION",
    "IN_PROGRESS",
    "IO_WAIT",
    "JOB_EXISTS",
    "JOB_NOT_FOUND",
    "JOB_QUEUE_FULL",
    "LOST_CONNECTION",
    "MEMORY_ALLOCATION_FAILURE",
    "NEED_WORKLOAD_FN",
    "NOT_CONNECTED",
    "NOT_FLUSHING",
    "NO_ACTIVE_FDS",
    "NO_JOBS",
    "NO_REGISTERED_FUNCTION",
    "NO_REGISTERED_FUNCTIONS",
    "NO_SERVERS",
    "PAUSE",
    "PIPE_EOF",
    "PTHREAD",
    "QUEUE_ERROR",
    "RECV_IN_PROGRESS",
    "SEND_BUFFER_TOO_SMALL",
    "SEND_IN_PROGRESS",
    "SHUTDOWN",
    "SHUTDOWN_GRACEFUL",
    "TIMEOUT",
    "TOO_MANY_ARGS",
    "UNEXPECTED_PACKET",
    "UNKNOWN_OPTION",
    "UNKNOWN_STATE",
];

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A host has no address.
    NoAddress { host: String, port: u16, text: String },
    /// Nobody answers there.
    Unreachable { host: String, port: u16 },
    /// Nothing happened for the time that was given.
    Timeout { servers: usize, worker: bool },
    /// The server closed the connection.
    Closed,
    /// The connection broke.
    Broken,
    /// A worker with a timeout lost its connection.
    WorkerLost,
    /// The server refuses.
    Refused { code: String, text: String },
    /// Words about something that is checked before anything is sent, as they are printed.
    Invalid(&'static str),
    /// What came is no packet.
    NoPacket,
    /// A packet that there is not.
    NoCommand,
    /// A packet that answers nothing.
    Unexpected(&'static str),
    /// A bare code.
    Code(&'static str),
}

impl Trouble {
    /// What a client is told of a server that does not keep to the protocol.
    pub(super) fn with_protocol(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Error { code, text } => Self::Refused { code, text },
            ProtocolError::Unexpected(command) => Self::Unexpected(command.name()),
            ProtocolError::Decode(DecodeError::UnknownType(_)) => Self::NoCommand,
            _ => Self::NoPacket,
        }
    }

    /// Says it on standard error.
    pub(super) fn tell(&self, place: &str) {
        // Nobody may be there to read.
        let _ = writeln!(io::stderr().lock(), "gearman: {place} : {self}");
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress { host, port, text } => write!(f, "{host}:{port} getaddrinfo:{text}")?,
            Self::Unreachable { host, port } => write!(
                f,
                "flush(GEARMAN_COULD_NOT_CONNECT) Connection to {host}:{port} failed -> libgearman/connection.cc:724:"
            )?,
            Self::Timeout { servers, worker } => write!(
                f,
                "gearman_wait(GEARMAN_TIMEOUT) timeout reached, {servers} servers were poll(), \
                 no servers were available, pipe:{worker} -> libgearman/universal.cc:346:"
            )?,
            Self::Closed => write!(
                f,
                "recv_socket(GEARMAN_LOST_CONNECTION) lost connection to server (EOF) -> libgearman/connection.cc:1206:"
            )?,
            Self::Broken => write!(
                f,
                "_client_run_tasks(GEARMAN_LOST_CONNECTION) detected lost connection in _client_run_tasks() \
                 -> libgearman/client.cc:1504:"
            )?,
            Self::WorkerLost => write!(
                f,
                "gearman_worker_grab_job(GEARMAN_TIMEOUT) Option timeout return reached -> libgearman/worker.cc:968:"
            )?,
            Self::Refused { code, text } => {
                let known = CODES.iter().find(|known| known.eq_ignore_ascii_case(code));
                let name = known.unwrap_or(&"SERVER_ERROR");
                write!(f, "_client_run_tasks(GEARMAN_{name}) {code}:{text} -> libgearman/client.cc:1603:")?;
            }
            Self::Invalid(words) => f.write_str(words)?,
            Self::NoPacket => write!(
                f,
                "gearman_packet_unpack_header(GEARMAN_INVALID_MAGIC) invalid magic value -> libgearman/packet.cc:"
            )?,
            Self::NoCommand => write!(
                f,
                "gearman_packet_unpack_header(GEARMAN_INVALID_COMMAND) invalid command value -> libgearman/packet.cc:349:"
            )?,
            Self::Unexpected(packet) => write!(
                f,
                "gearman_worker_grab_job(GEARMAN_UNEXPECTED_PACKET) unexpected packet:GEARMAN_{packet} \
                 -> libgearman/worker.cc:884:"
            )?,
            Self::Code(code) => return f.write_str(code),
        }
        write!(f, " pid({})", std::process::id())
    }
}
