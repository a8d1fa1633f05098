//! The classic tools beside the originals.
//!
//! `tables` hold what is run: scripts, each on a fresh server with its workers. A script runs
//! with Debian's tools and with ours, the workers Debian's and ours, against gearmand and against
//! our server; whatever they print and exit with must be the same bytes as when
//! all of it is Debian's. `play` runs them, `same` says what need not be the same and why,
//! `deviations` is the list of what is not copied on purpose.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod crossing;
mod deviations;
mod monitoring;
mod play;
mod same;
mod tables;
#[path = "../gearctl/terminal.rs"]
#[allow(dead_code, reason = "each test file uses the part that it needs")]
mod terminal;

use play::{Script, Side};
use support::Kind;

/// How many invocations the tables hold at least.
const INVOCATIONS_MIN: usize = 200;

fn compare(scripts: &[Script]) {
    for kind in [Kind::Gearmand, Kind::Gearshard] {
        for script in scripts {
            let expected = play::play(kind, Side::Debian, Side::Debian, script);
            for (tools, workers) in
                [(Side::Ours, Side::Ours), (Side::Ours, Side::Debian), (Side::Debian, Side::Ours)]
            {
                if script.workers.is_empty() && tools == Side::Debian {
                    continue;
                }
                let seen = play::play(kind, tools, workers, script);
                for (seen, expected) in seen.iter().zip(&expected) {
                    assert!(
                        seen == expected,
                        "{}, {kind:?}, tools: {tools:?}, workers: {workers:?}\nseen:     {seen:?}\nexpected: {expected:?}",
                        script.name
                    );
                }
                assert_eq!(seen.len(), expected.len(), "{}", script.name);
            }
        }
    }
}

#[test]
fn the_tables_are_long_enough() {
    let tables = [tables::CLIENT, tables::WORKER, tables::USAGE, tables::ADMIN, tables::ADMIN_USAGE];
    let count: usize = tables.concat().iter().map(|script| script.steps.len() + script.workers.len()).sum();
    assert!(count >= INVOCATIONS_MIN, "{count}");
}

#[test]
fn gearman_usage() {
    compare(tables::USAGE);
}

#[test]
fn gearman_as_client() {
    compare(tables::CLIENT);
}

#[test]
fn gearman_as_worker() {
    compare(tables::WORKER);
}

#[test]
fn gearadmin_usage() {
    compare(tables::ADMIN_USAGE);
}

#[test]
fn gearadmin_commands() {
    compare(tables::ADMIN);
}
