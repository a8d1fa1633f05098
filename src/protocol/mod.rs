//! The Gearman wire protocol: packets, text lines and handles.
//!
//! Shared by the server, its clients and the load generator. Knows bytes and
//! shapes; does not know sockets, queues or clocks.

pub mod admin;
pub mod decode;
pub mod encode;
pub mod field;
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) mod fnv;
pub mod handle;
pub mod number;
pub mod packet;
pub mod retry;

/// The part of a name that gearmand sees where it reads names as C strings: in
/// GET_STATUS, GET_STATUS_UNIQUE, OPTION_REQ, text lines and admin lists.
#[must_use]
pub fn up_to_nul(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == 0).next().unwrap_or_default()
}
