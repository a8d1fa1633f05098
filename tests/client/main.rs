//! The client and worker library against our server and against Debian's gearmand,
//! beside libgearman's own tools, and against servers that do wrong.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod bad_servers;
mod batches;
mod failover;
mod jobs;
mod map_reduce;
mod workers;

use gearshard::client::{Client, Worker, WorkerBuilder};
use support::{Kind, Server};

/// Runs one scenario against our server with several shards and with one, and
/// against the reference.
macro_rules! against_both {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        mod $name {
            #[test]
            fn gearshard() {
                super::$name(&mut crate::gearshard(4));
            }

            #[test]
            fn gearshard_with_one_shard() {
                super::$name(&mut crate::gearshard(1));
            }

            #[test]
            fn gearmand() {
                super::$name(&mut crate::support::Server::gearmand(&[]));
            }
        }
    )*};
}
pub(crate) use against_both;

fn gearshard(shards: u32) -> Server {
    Server::start(Kind::Gearshard, &[&format!("--threads={shards}")])
}

/// A client of this server.
fn client(server: &Server) -> Client {
    Client::connect(&server.address().to_string()).unwrap()
}

/// A worker for this server.
fn worker(server: &Server) -> WorkerBuilder {
    Worker::builder([server.address().into()])
}

/// A worker with functions for most tests, once it is registered.
fn usual_worker(server: &Server) -> Worker {
    let before = server.counts("reverse").2;
    let worker = worker(server)
        .function("reverse", |job| Ok(job.workload().iter().rev().copied().collect::<Vec<u8>>()))
        .function("pieces", |job| {
            job.data("one,")?;
            job.warning("careful")?;
            job.progress(1, 2)?;
            job.data("two,")?;
            Ok("three")
        })
        .function("fails", |_| Err::<&str, _>(gearshard::client::JobError::Failed))
        .function("throws", |_| Err::<&str, _>(gearshard::client::JobError::exception(*b"broken\0pipe")))
        .function("panics", |job| -> Result<&str, _> { panic!("no {}", job.workload().len()) })
        .function("unique", |job| Ok(job.unique().to_vec()))
        .start()
        .unwrap();
    support::wait_until("the worker is registered", || server.counts("unique").2 == before + 1);
    worker
}
