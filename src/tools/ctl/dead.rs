//! `gearctl dead`: jobs that are kept after their last attempt.

use std::io::{self, Write};
use std::time::UNIX_EPOCH;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::failure::Failure;
use super::fleet::{Fleet, Servers};
use super::listing::{Listing, Row};
use super::table::{Heading, Side};
use super::text::shown;
use crate::client::Admin;
use crate::client::admin::{AdminError, DeadLetter, DeadLetters};

/// Dead letters: background jobs that were tried as often as `gearctl retry` allows (gearshard servers only)
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(subcommand)]
    task: Option<Task>,

    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show them; so does `gearctl dead` alone
    List(List),
    /// Make jobs of them again, which have never been tried
    Requeue(Which),
    /// Forget them
    Purge(Which),
}

#[derive(Args, Debug)]
struct List {
    /// Of this function only
    function: Option<String>,

    #[command(flatten)]
    listing: Listing,
}

#[derive(Args, Debug)]
struct Which {
    /// Handles, as the list shows them, or functions: all of theirs; `*` is all there are
    #[arg(value_name = "HANDLE|FUNCTION", required = true)]
    which: Vec<String>,
}

#[derive(Serialize)]
struct Letter {
    handle: String,
    function: String,
    unique: String,
    attempts: u16,
    cause: &'static str,
    /// Unix seconds.
    died: u64,
    workload_bytes: Option<u64>,
}

impl From<&DeadLetter> for Letter {
    fn from(letter: &DeadLetter) -> Self {
        Self {
            handle: shown(&letter.handle),
            function: shown(&letter.function),
            unique: shown(&letter.unique),
            attempts: letter.attempts,
            cause: letter.cause.name(),
            died: letter.died.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            workload_bytes: letter.workload_bytes,
        }
    }
}

impl Row for Letter {
    const HEADINGS: &'static [Heading] = &[
        ("HANDLE", Side::Left),
        ("FUNCTION", Side::Left),
        ("UNIQUE", Side::Left),
        ("ATTEMPTS", Side::Right),
        ("CAUSE", Side::Left),
        ("DIED", Side::Left),
        ("BYTES", Side::Right),
    ];

    fn cells(&self) -> Vec<String> {
        let died = i64::try_from(self.died).ok().and_then(|at_s| jiff::Timestamp::from_second(at_s).ok());
        vec![
            self.handle.clone(),
            self.function.clone(),
            self.unique.clone(),
            self.attempts.to_string(),
            self.cause.to_owned(),
            died.map_or_else(|| self.died.to_string(), |died| died.to_string()),
            self.workload_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
        ]
    }
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    match &options.task {
        None => list(&options.list, servers),
        Some(Task::List(options)) => list(options, servers),
        Some(Task::Requeue(which)) => bring(which, servers, "requeued", Admin::requeue_dead),
        Some(Task::Purge(which)) => bring(which, servers, "purged", Admin::purge_dead),
    }
}

fn list(options: &List, servers: &Servers) -> Result<(), Failure> {
    let function = options.function.as_deref().map(str::as_bytes);
    options.listing.run(servers, |admin| {
        Ok::<_, AdminError>(admin.show_dead(function)?.iter().map(Letter::from).collect())
    })
}

type Order = fn(&mut Admin, DeadLetters<'_>) -> Result<u64, AdminError>;

fn bring(options: &Which, servers: &Servers, done: &str, order: Order) -> Result<(), Failure> {
    let mut fleet = servers.fleet()?;
    let mut last = None;
    for name in &options.which {
        match bring_one(&mut fleet, name, order) {
            Ok(count) => writeln!(io::stdout().lock(), "{done} {count}: {}", shown(name.as_bytes()))?,
            Err(failure) => last = Some(failure.told()),
        }
    }
    last.map_or(Ok(()), Err)
}

/// How many letters of all servers the order was done with.
fn bring_one(fleet: &mut Fleet, name: &str, order: Order) -> Result<u64, Failure> {
    let which = if name == "*" { DeadLetters::All } else { DeadLetters::Named(name.as_bytes()) };
    let (mut count, mut failure) = (None, None);
    for (_, answer) in fleet.ask(|admin| order(admin, which)) {
        match answer {
            Ok(some) => count = Some(count.unwrap_or(0) + some),
            Err(AdminError::Refused { text, .. }) if text == "UNKNOWN_JOB" => {}
            Err(error) => failure = Some(Failure::from(error)),
        }
    }
    match (count, failure) {
        (_, Some(failure)) => Err(failure),
        (Some(count), None) => Ok(count),
        (None, None) => {
            let name = shown(name.as_bytes());
            Err(Failure::Refused(format!("no server has a dead letter {name}; see `gearctl dead`")))
        }
    }
}
