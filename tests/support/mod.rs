//! Throwaway servers, raw connections and foreign programs, for every test.
//!
//! A test file says `mod support;` and takes what it needs. Everything here
//! waits on conditions up to [`DEADLINE`] and fails loudly; nothing skips.
//! What a server should answer is the tests' business, not this module's.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(dead_code, reason = "each test file uses the part that it needs")]
#![allow(unreachable_pub, reason = "a test file is a crate of its own and exports nothing")]

pub mod connection;
pub mod databases;
#[cfg(feature = "client")]
pub mod kill_loop;
pub mod loadgen;
pub mod markup;
pub mod memcached;
pub mod peers;
pub mod pieces;
pub mod process;
pub mod proxy;
pub mod redis;
#[cfg(feature = "server")]
pub mod rows;
pub mod server;

#[allow(unused_imports, reason = "each test file uses the part that it needs")]
pub use self::{
    connection::{Connection, Reply},
    peers::Peers,
    pieces::Pieces,
    process::Process,
    server::{Kind, Server},
};

use std::time::{Duration, Instant};

/// How long anything may take before the test fails. Far above what is
/// needed: a busy machine must not make a test fail.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Calls `condition` until it holds, and fails after [`DEADLINE`] naming `what`.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether this run may take long (`tests/run --long`).
pub fn long_mode() -> bool {
    std::env::var_os("GEARSHARD_LONG").is_some()
}
