//! Background jobs outlive the server: real servers on real disks, killed,
//! restarted with more or fewer shards.

#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod kill_loop;
mod restarts;
mod wal_tool;

use std::path::Path;

use gearshard::client::Client;
use support::Server;

/// A server with its log in `dir`.
fn durable(dir: &Path, threads: u16, args: &[&str]) -> Server {
    let log = format!("--wal-dir={}", dir.display());
    let threads = format!("--threads={threads}");
    Server::gearshard(&[&["--queue-type=wal", &log, &threads], args].concat())
}

fn client(server: &Server) -> Client {
    Client::connect(&server.address().to_string()).unwrap()
}
