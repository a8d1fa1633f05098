//! The Gearman wire protocol: packets, text lines and handles.
//!
//! Shared by the server, its clients and the load generator. Knows bytes and
//! shapes; does not know sockets, queues or clocks.

pub mod admin;
pub mod decode;
pub mod encode;
pub mod handle;
pub mod number;
pub mod packet;
