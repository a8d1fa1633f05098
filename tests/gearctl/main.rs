//! `gearctl` against our server and against Debian's gearmand, and against servers that do wrong.

#![cfg(all(feature = "server", feature = "tools"))]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod lists;

use serde_json::Value;
use std::process::Command;
use support::process::Finished;
use support::{Kind, Process, Server};

/// Runs one scenario against our server and against the reference.
macro_rules! against_both {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        mod $name {
            #[test]
            fn gearshard() {
                super::$name(&mut crate::support::Server::gearshard(&["--threads=2"]));
            }

            #[test]
            fn gearmand() {
                super::$name(&mut crate::support::Server::gearmand(&[]));
            }
        }
    )*};
}
pub(crate) use against_both;

/// `gearctl` with these arguments, and with no servers but those that they name.
fn gearctl(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gearctl"));
    command.env_remove("GEARMAN_SERVERS").args(args);
    command
}

/// `gearctl` with these arguments, for this server.
fn at(server: &Server, args: &[&str]) -> Command {
    let mut command = gearctl(args);
    command.env("GEARMAN_SERVERS", server.address().to_string());
    command
}

/// Runs it to its end.
fn run(command: Command) -> Finished {
    Process::run(command, b"")
}

/// Runs it to its good end, and gives what it printed.
fn printed(command: Command) -> String {
    run(command).success().text()
}

/// As [`printed`], read as JSON.
fn json(command: Command) -> Value {
    let text = printed(command);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Fails with this exit code, and says this on standard error.
#[track_caller]
fn fails(command: Command, code: i32, says: &str) -> Finished {
    let finished = run(command);
    assert_eq!(finished.status.code(), Some(code), "{}{}", finished.text(), finished.stderr);
    assert!(finished.stderr.contains(says), "{}", finished.stderr);
    finished
}

/// An address where nobody listens.
fn nowhere() -> String {
    format!("127.0.0.1:{}", support::server::free_port())
}

fn kinds() -> [Kind; 2] {
    [Kind::Gearshard, Kind::Gearmand]
}
