//! Jobs of gearmand's stores come into a log: each one once, whatever happens on the way.

#![cfg(all(feature = "client", feature = "redis", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod from_redis;
mod from_sqlite;
mod interrupted;
mod refused;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use gearshard::client::{Client, Job, Worker};
use gearshard::storage::rows::redis::Redis as Engine;
use gearshard::storage::rows::{Engine as _, Row};
use support::process::Finished;
use support::redis::Redis;
use support::rows::row;
use support::{Process, Server, wait_until};

/// What a job is, for whoever runs it.
type Ran = (String, Vec<u8>, Vec<u8>);

fn import_command(source: &[String], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gearshard"));
    command.env_clear().arg("import").args(source).arg(format!("--wal-dir={}", dir.display()));
    command.arg("--threads=2");
    command
}

fn import(source: &[String], dir: &Path) -> Finished {
    Process::run(import_command(source, dir), b"")
}

/// The line that an import ends with.
fn counted(read: usize, imported: usize, known: usize, bad: usize) -> String {
    format!("read {read}, imported {imported}, already there {known}, not imported {bad}\n")
}

/// A server with its log in `dir`.
fn server(dir: &Path) -> Server {
    Server::gearshard(&["--queue-type=wal", &format!("--wal-dir={}", dir.display()), "--threads=2"])
}

/// Runs all jobs of these functions that `server` has, one after the other.
fn drain(server: &Server, functions: &[&'static str]) -> Vec<Ran> {
    let done = Arc::new(Mutex::new(Vec::new()));
    let mut builder = Worker::builder([server.address().into()]);
    for &function in functions {
        let done = Arc::clone(&done);
        builder = builder.function(function, move |job| {
            let ran = (function.to_owned(), job.unique().to_vec(), job.workload().to_vec());
            done.lock().unwrap().push(ran);
            Ok("")
        });
    }
    let worker = builder.start().unwrap();
    wait_until("everything has run", || functions.iter().all(|function| server.counts(function).0 == 0));
    worker.stop();
    std::mem::take(&mut *done.lock().unwrap())
}

/// The lines of `gearshard wal dump` without the numbers, in the order of the numbers.
fn dump(dir: &Path) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gearshard"));
    command.args(["wal", "dump"]).arg(dir);
    let text = Process::run(command, b"").success().text();
    let mut lines: Vec<(u64, String)> = text
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(number, rest)| (number.parse().unwrap(), rest.to_owned()))
        .collect();
    lines.sort();
    lines.into_iter().map(|(_, rest)| rest).collect()
}

fn engine(redis: &Redis) -> Engine {
    Engine::open("127.0.0.1", redis.port(), "", "_gear_").unwrap()
}
