//! `gearctl`: one tool with a subcommand for each thing that one wants of a Gearman server.
//!
//! A subcommand is a file with its options, its `run`, and nothing that another
//! one needs; what several need has a file of its own: which servers
//! ([`fleet`]), lists ([`listing`], [`table`]), texts of peers ([`text`]), ends ([`failure`]).

mod bar;
mod cancel;
mod completions;
mod dead;
mod drain;
mod failure;
mod fleet;
pub(super) mod interrupt;
mod jobs;
mod listing;
mod man;
mod maxqueue;
mod pattern;
mod ping;
mod retry;
mod status;
mod submit;
mod table;
pub(super) mod text;
pub(super) mod top;
mod version;
mod work;
mod workers;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// See and steer what runs on Gearman servers, submit jobs, and work.
#[derive(Debug, Parser)]
#[command(name = "gearctl", version, propagate_version = true, after_help = failure::EXIT_CODES)]
#[command(disable_help_subcommand = true, max_term_width = 100)]
struct Command {
    #[command(flatten)]
    servers: fleet::Servers,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Submit(Box<submit::Options>),
    Work(work::Options),
    Status(status::Options),
    Top(top::Options),
    Workers(workers::Options),
    Jobs(jobs::Options),
    Cancel(cancel::Options),
    Drain(drain::Options),
    Maxqueue(maxqueue::Options),
    Retry(retry::Options),
    Dead(dead::Options),
    Ping(ping::Options),
    Version(version::Options),
    Completions(completions::Options),
    Man(man::Options),
}

/// Does what the command line says.
pub(super) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let command = match Command::try_parse_from(args) {
        Ok(command) => command,
        Err(error) => {
            // Help and versions come this way too, and go where they belong. Nobody may be there to read.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    let servers = &command.servers;
    failure::exit(match &command.task {
        Task::Submit(options) => submit::run(options, servers),
        Task::Work(options) => work::run(options, servers),
        Task::Status(options) => status::run(options, servers),
        Task::Top(options) => top::run(options, servers),
        Task::Workers(options) => workers::run(options, servers),
        Task::Jobs(options) => jobs::run(options, servers),
        Task::Cancel(options) => cancel::run(options, servers),
        Task::Drain(options) => drain::run(options, servers),
        Task::Maxqueue(options) => maxqueue::run(options, servers),
        Task::Retry(options) => retry::run(options, servers),
        Task::Dead(options) => dead::run(options, servers),
        Task::Ping(options) => ping::run(options, servers),
        Task::Version(options) => version::run(options, servers),
        Task::Completions(options) => completions::run(options, Command::command()),
        Task::Man(options) => man::run(options, Command::command()),
    })
}
