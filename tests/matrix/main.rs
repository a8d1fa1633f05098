//! Every feature of Gearman, between our clients and workers and those of
//! everybody else, on our server and on Debian's gearmand:
//! `cargo test --profile checked --all-features --test matrix`.
//!
//! A cell works, or fails the test, or is declared in `features.rs` to be
//! beyond a peer, with the reason. The table is printed at the end. Words
//! after `--` choose columns by parts of their names, such as `ours>Perl`.

#![allow(clippy::print_stdout, reason = "without a harness the test reports itself")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../clients/languages.rs"]
#[allow(dead_code, reason = "the tests of other clients use more of it")]
mod languages;

mod column;
mod features;
mod ours;
mod ours_worker;
mod programs;
mod table;
mod tool;

use column::{Cells, Column};
use programs::Program;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use support::Kind;

/// The name by which this one test is asked for.
const TEST: &str = "every_feature_works_between_all_clients_and_workers";
/// Columns at a time: most of their time they wait.
const AT_A_TIME: usize = 6;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--program", rest)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        act(&rest);
        return ExitCode::SUCCESS;
    }
    let (options, filters): (Vec<_>, Vec<_>) = args.into_iter().partition(|arg| arg.starts_with('-'));
    if options.iter().any(|option| option == "--list") {
        eprintln!("{TEST}: test");
        return ExitCode::SUCCESS;
    }
    let filters =
        if filters.iter().any(|filter| TEST.contains(filter.as_str())) { Vec::new() } else { filters };
    test(&filters)
}

/// Is one of the programs whose clients and workers are tried.
fn act(args: &[&str]) {
    let [name, mode, servers, rest @ ..] = args else { panic!("a program's name, mode and servers") };
    let program = if *name == Program::Tokio.name() { Program::Tokio } else { Program::Blocking };
    match *mode {
        "worker" => ours_worker::serve(program, servers, rest[0]),
        "client" => {
            for feature in rest {
                ours::feature(feature, program, servers);
                println!("ok {feature}");
            }
        }
        "do" => {
            let mut workload = Vec::new();
            std::io::stdin().read_to_end(&mut workload).unwrap();
            let client = ours::Ours::connect(program, servers);
            let result = client.run(gearshard::client::Job::new(rest[0], workload)).unwrap();
            std::io::stdout().write_all(&result).unwrap();
        }
        _ => panic!("no mode {mode}"),
    }
}

fn test(filters: &[String]) -> ExitCode {
    assert_eq!(features::unknown_names(), [""; 0], "declared to be lacking, but no feature");
    let kinds = [Kind::Gearshard, Kind::Gearmand];
    let all = kinds.into_iter().flat_map(|kind| {
        features::pairs().into_iter().map(move |(client, worker)| Column { client, worker, kind })
    });
    let chosen =
        |column: &Column| filters.is_empty() || filters.iter().any(|part| column.name().contains(part));
    let columns: Vec<Column> = all.filter(chosen).collect();
    let waiting = Mutex::new(columns.iter().enumerate());
    let done: Mutex<Vec<(usize, Cells)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some((index, column)) = waiting.lock().unwrap().next() else { return };
                    let cells = column.run();
                    done.lock().unwrap().push((index, cells));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(index, _)| *index);
    let cells: Vec<Cells> = done.into_iter().map(|(_, cells)| cells).collect();
    let (text, failed) = table::draw(&columns, &cells);
    println!("{text}");
    let verdict = if failed == 0 && !columns.is_empty() { "ok" } else { "FAILED" };
    println!("test {TEST} ... {verdict}");
    if verdict == "ok" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
