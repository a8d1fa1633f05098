//! What a store keeps, by one set of rules for every store.
//!
//! A kind of store is a file here with a type that implements [`Kind`], and as
//! many of these as are true of it:
//!
//! - [`Kind`], `suite!(name, Type)`: how to make a new, empty store and what a
//!   server is told to use it. Proves that what was acknowledged outlives a kill.
//! - [`Rows`], `rows_suite!(name, Type)`: a row for each job as gearmand keeps
//!   them, and how to count, spoil and give them to gearmand. Proves that they go
//!   with their jobs, and that queues move between gearmand and us.
//! - [`Leaves`], `leaving_suite!(name, Type)`: an engine that can be stopped and
//!   started. Proves that the server goes on without it, and with it again.
//!
//! The rules themselves are in `rules.rs` and so on; what an engine does that
//! fails in every way is in `faulty.rs`, without a server.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod engine_kills;
mod faulty;
mod gearmand;
mod leaving;
mod memcached;
mod redis;
mod rows;
mod rules;
mod sql;
mod sqlite;
mod talk;
mod wal;

use support::Server;

/// The latest times that a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// None: jobs with a time are refused.
    None,
    /// Those that fit into 32 bits, the first days of 2038.
    Until2038,
    /// As many as anybody needs.
    All,
}

/// A kind of store. Whatever it needs ends with the value.
pub trait Kind: Sized {
    /// Which times it keeps.
    const TIMES: Times;

    /// A new store with nothing in it, and what runs it.
    fn start() -> Self;

    /// The options that have a server keep its jobs there.
    fn args(&self) -> Vec<String>;

    /// A server with so many shards.
    fn serve(&self, threads: u16) -> Server {
        let args: Vec<String> = self.args().into_iter().chain([format!("--threads={threads}")]).collect();
        Server::gearshard(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// A store with a row for each job.
pub trait Rows: Kind {
    /// Whether gearmand 1.1.20 reads workloads behind their first NUL.
    const GEARMAND_READS_NULS: bool = true;

    /// What gearmand 1.1.20 is told to use it.
    fn gearmand_args(&self) -> Vec<String>;

    /// How many rows there are.
    fn rows(&self) -> usize;

    /// Adds rows that are no jobs; how many.
    fn spoil(&self) -> usize;
}

/// A store in another process, which may end.
pub trait Leaves: Rows {
    /// Ends it, without any consent.
    fn stop_engine(&mut self);

    /// Starts it again with what it had.
    fn start_engine(&mut self);
}

/// The tests of a kind of store: one for each rule.
macro_rules! tests_of {
    ($name:ident, $kind:ty, $from:ident: $($rule:ident)*) => {
        mod $name {
            use super::*;
            $(#[test]
            fn $rule() {
                crate::$from::$rule::<$kind>();
            })*
        }
    };
}

/// Rules for every store.
macro_rules! suite {
    ($name:ident, $kind:ty) => {
        crate::tests_of! { $name, $kind, rules:
            what_is_acknowledged_outlives_a_kill_byte_by_byte
            jobs_without_a_unique_are_each_their_own
            a_dash_compares_workloads_also_after_a_restart
            a_time_is_kept_or_the_job_is_refused
            nothing_comes_back_that_is_over
            nothing_acknowledged_is_lost_in_a_loop_of_kills
        }
    };
}

/// Rules for stores with a row for each job.
macro_rules! rows_suite {
    ($name:ident, $kind:ty) => {
        crate::tests_of! { $name, $kind, rows:
            a_row_goes_with_its_job_however_that_ends
            a_job_that_joins_another_writes_nothing
            rows_that_are_no_jobs_are_told_and_left_alone
            a_unique_like_a_made_key_is_refused
            what_gearmand_has_acknowledged_before_a_kill_is_picked_up
            what_is_left_is_picked_up_by_gearmand
        }
    };
}

/// Rules for stores in another process.
macro_rules! leaving_suite {
    ($name:ident, $kind:ty) => {
        crate::tests_of! { $name, $kind, leaving:
            without_the_engine_background_jobs_are_refused_and_all_else_goes_on
            what_ends_while_the_engine_is_away_is_over_when_it_is_back
            nothing_acknowledged_is_lost_when_the_engine_is_killed_under_load
        }
    };
}

pub(crate) use {leaving_suite, rows_suite, suite, tests_of};
