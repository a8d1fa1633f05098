//! The server around the shards: listeners, threads, start and stop.

pub mod log;
