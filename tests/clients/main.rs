//! Real clients, workers and tools against our server.
//!
//! Every test also runs against Debian's gearmand: where both pass, the test
//! tells what Gearman's users rely on, and not what this server happens to do.
//! The programs are in this directory, one for each library, all with the same
//! modes. What each library offers is tried feature by feature in `tests/matrix`.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod failover;
mod languages;
mod network;
mod pairs;
mod reverse;
mod tools;

use support::{Kind, Server};

/// Runs one scenario against our server with several shards and with one, and
/// against the reference.
macro_rules! against_both {
    ($($(#[$doc:meta])* $name:ident => $scenario:expr;)*) => {$(
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports, reason = "a scenario may be a function or a closure over anything")]
            use super::*;

            #[test]
            fn gearshard() {
                ($scenario)(&mut crate::gearshard(4));
            }

            #[test]
            fn gearshard_with_one_shard() {
                ($scenario)(&mut crate::gearshard(1));
            }

            #[test]
            fn gearmand() {
                ($scenario)(&mut crate::support::Server::gearmand(&[]));
            }
        }
    )*};
}
pub(crate) use against_both;

/// Our server with so many shards: peers of one job then sit on different ones.
fn gearshard(shards: u32) -> Server {
    Server::start(Kind::Gearshard, &[&format!("--threads={shards}")])
}
