//! `gearctl` against our server and against Debian's gearmand, and against servers that do wrong.

#![cfg(all(feature = "server", feature = "tools"))]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod dead;
mod lists;
mod orders;
mod submit;
mod terminal;
mod top;
mod work;

use gearshard::client::{Client, JobError, Worker};
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

fn client(server: &Server) -> Client {
    Client::connect(&server.address().to_string()).unwrap()
}

/// A worker for this server, with functions for most tests, once it is registered.
fn usual_worker(server: &Server) -> Worker {
    let worker = Worker::builder([server.address().into()])
        .concurrency(4)
        .function("reverse", |job| Ok(job.workload().iter().rev().copied().collect::<Vec<u8>>()))
        .function("pieces", |job| {
            job.data("one,")?;
            job.warning("careful\n\x1b[2J")?;
            job.progress(1, 2)?;
            job.data("two,")?;
            Ok("three")
        })
        .function("fails", |_| Err::<&str, _>(JobError::Failed))
        .function("throws", |_| Err::<&str, _>(JobError::exception("broken")))
        .function("describe", |job| {
            let reducer = job.reducer().map(<[u8]>::to_vec).unwrap_or_default();
            Ok([job.unique(), b"|", &reducer].concat())
        })
        .start()
        .unwrap();
    support::wait_until("the worker is registered", || server.counts("describe").2 == 4);
    worker
}

fn kinds() -> [Kind; 2] {
    [Kind::Gearshard, Kind::Gearmand]
}
