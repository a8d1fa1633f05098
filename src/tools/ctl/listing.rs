//! Lists of what servers have: as a table or as JSON, once or again and again.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::fleet::Servers;
use super::table::{Heading, Side, table};
use super::text::duration;
use crate::client::Admin;

/// The options of every list.
#[derive(Args, Clone, Debug)]
pub(super) struct Listing {
    /// Print JSON: one array of rows
    #[arg(long)]
    pub(super) json: bool,

    /// Print the list again every TIME (2s if none is given), until interrupted; JSON takes a line each time
    #[arg(short, long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", require_equals = true)]
    #[arg(value_parser = duration)]
    watch: Option<Duration>,
}

/// A row of a list.
pub(super) trait Row: Serialize {
    /// What stands above its cells.
    const HEADINGS: &'static [Heading];

    /// Its cells, as many as there are headings.
    fn cells(&self) -> Vec<String>;
}

/// A row, and the server that it is from.
#[derive(Serialize)]
struct Located<R> {
    server: String,
    #[serde(flatten)]
    row: R,
}

impl Listing {
    /// Shows what `question` finds on every server.
    pub(super) fn run<R: Row + Send, E: Into<Failure> + Send>(
        &self,
        servers: &Servers,
        question: impl Fn(&mut Admin) -> Result<Vec<R>, E> + Sync,
    ) -> Result<(), Failure> {
        let mut fleet = servers.fleet()?;
        let several = fleet.admins.len() > 1;
        self.repeat(|| {
            let (mut rows, mut errors) = (Vec::new(), Vec::new());
            for (server, answer) in fleet.ask(&question) {
                let locate = |row| Located { server: server.to_string(), row };
                match answer {
                    Ok(found) => rows.extend(found.into_iter().map(locate)),
                    Err(error) => errors.push(error.into()),
                }
            }
            Ok((if self.json { self.json(&rows)? } else { columns(&rows, several) }, errors))
        })
    }

    /// Shows the rows that `ask` finds by itself, and tells what went wrong.
    pub(super) fn show<R: Row>(
        &self,
        mut ask: impl FnMut() -> Result<(Vec<R>, Vec<Failure>), Failure>,
    ) -> Result<(), Failure> {
        self.repeat(|| {
            let (rows, errors) = ask()?;
            let cells = || rows.iter().map(Row::cells).collect::<Vec<_>>();
            Ok((if self.json { self.json(&rows)? } else { table(R::HEADINGS, &cells()) }, errors))
        })
    }

    /// Prints the text of a round, and what went wrong in it; once, or until interrupted.
    fn repeat(
        &self,
        mut round: impl FnMut() -> Result<(String, Vec<Failure>), Failure>,
    ) -> Result<(), Failure> {
        loop {
            let (text, errors) = match round() {
                Ok(round) => round,
                Err(failure) if self.watch.is_some() => (String::new(), vec![failure]),
                Err(failure) => return Err(failure),
            };
            self.print(&text)?;
            let told = errors.into_iter().map(Failure::told).last();
            let Some(interval) = self.watch else { return told.map_or(Ok(()), Err) };
            thread::sleep(interval);
        }
    }

    fn json<R: Serialize>(&self, rows: &[R]) -> Result<String, Failure> {
        let written = if self.watch.is_some() {
            serde_json::to_string(rows)
        } else {
            serde_json::to_string_pretty(rows)
        };
        let text = written.map_err(|error| Failure::Refused(format!("cannot write JSON: {error}")))?;
        Ok(text + "\n")
    }

    /// Prints one round of the list.
    fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        if self.watch.is_some() && !self.json {
            // A screen shows the last round only; a file keeps them apart.
            let between = if out.is_terminal() { "\x1b[H\x1b[2J" } else { "\n" };
            out.write_all(between.as_bytes())?;
        }
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }
}

fn columns<R: Row>(rows: &[Located<R>], several: bool) -> String {
    let server = several.then_some(("SERVER", Side::Left));
    let headings: Vec<Heading> = server.iter().chain(R::HEADINGS).copied().collect();
    let cells = |located: &Located<R>| {
        let server = several.then(|| located.server.clone());
        server.into_iter().chain(located.row.cells()).collect()
    };
    table(&headings, &rows.iter().map(cells).collect::<Vec<_>>())
}
