//! Background jobs outlive the server: real servers on real disks, killed,
//! restarted with more or fewer shards.

#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod disk_faults;
mod more_than_memory;
mod restarts;
mod retries;
mod wal_tool;

use std::path::Path;
use std::process::Command;

use gearshard::client::Client;
use support::kill_loop::{self, Size};
use support::process::TempDir;
use support::{Process, Server, long_mode};

/// What a server with its log in `dir` is told.
fn log_args(dir: &Path, threads: u16) -> [String; 3] {
    ["--queue-type=wal".to_owned(), format!("--wal-dir={}", dir.display()), format!("--threads={threads}")]
}

/// A server with its log in `dir`.
fn durable(dir: &Path, threads: u16) -> Server {
    Server::gearshard(&log_args(dir, threads).each_ref().map(String::as_str))
}

/// What a server says that does not start.
fn refusal(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gearshard"));
    command.args(args).args(["--port=0", "--listen=127.0.0.1", "--log-file=none"]);
    let done = Process::run(command, b"");
    assert_eq!(done.status.code(), Some(1), "{}", done.stderr);
    done.stderr
}

fn client(server: &Server) -> Client {
    Client::connect(&server.address().to_string()).unwrap()
}

#[test]
fn what_was_acknowledged_runs_however_often_the_server_is_killed() {
    let size = if long_mode() { Size { kills: 1_000, step: 5_000 } } else { Size { kills: 50, step: 4_000 } };
    let dir = TempDir::new();
    kill_loop::run(&log_args(dir.path(), 2), size);
}
