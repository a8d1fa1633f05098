//! What a client or a worker says to a server and hears from it, without sockets and clocks.
//!
//! A conversation belongs to one connection. It is fed what has been received
//! (`receive`) and tells what is to be sent (`outgoing`, `sent`); whether that
//! travels over TCP, TLS or a test's `Vec` is nothing it knows. When `receive`
//! has returned an error the connection is out of step and is to be closed;
//! what was in flight on it is lost.
//!
//! Nothing that a server sends makes a conversation panic, and its memory is
//! bounded by what was asked for and by the limit for packets.

mod client;
mod error;
mod inbox;
mod outbox;
mod worker;

pub use client::{ClientConversation, ClientEvent};
pub use error::ProtocolError;
pub use worker::{Assignment, WorkerConversation, WorkerEvent};

/// What a packet's body may be at most unless the caller says otherwise, in bytes: 1 GiB.
/// Memory grows with what arrives, not with what a packet claims.
pub const PACKET_BYTES_MAX: u32 = 1 << 30;
