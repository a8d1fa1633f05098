//! What is known of the servers' functions, and what follows from one sample after the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::view::{Column, View};
use crate::client::admin::{AdminError, FunctionStatus};
use crate::tools::ctl::pattern::chosen;
use crate::tools::ctl::text::shown;

/// A server's answer.
pub(super) struct Sample {
    pub(super) server: usize,
    pub(super) at: Instant,
    pub(super) answer: Result<Vec<FunctionStatus>, AdminError>,
}

/// One function of one server.
struct Function {
    status: FunctionStatus,
    /// Jobs a second; known from the second sample on.
    change: Option<f64>,
    backlog: Backlog,
}

/// Since when jobs have been waiting.
#[derive(Clone, Copy)]
enum Backlog {
    None,
    /// It began after the function was seen without.
    Since(Instant),
    /// It was there already at the first sample.
    Before(Instant),
}

/// What is known of a server.
pub(super) enum State {
    /// It has not been heard of yet.
    Asked,
    Up,
    Away(AdminError),
}

pub(super) struct Server {
    pub(super) address: String,
    pub(super) state: State,
    sampled: Option<Instant>,
    functions: BTreeMap<Vec<u8>, Function>,
}

/// All servers.
pub(super) struct Board {
    pub(super) servers: Vec<Server>,
}

/// One line of the table.
#[derive(Clone, Serialize)]
pub(super) struct Row {
    /// Absent where several servers are added up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    pub(super) function: String,
    pub(super) waiting: u64,
    pub(super) running: u64,
    pub(super) workers: u64,
    pub(super) change_per_second: Option<f64>,
    pub(super) backlog_seconds: Option<f64>,
    /// The backlog is at least as old as that.
    pub(super) backlog_is_older: bool,
}

/// The sums of a server.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) functions: usize,
    pub(super) waiting: u64,
    pub(super) running: u64,
}

impl Board {
    pub(super) fn new(addresses: Vec<String>) -> Self {
        let server =
            |address| Server { address, state: State::Asked, sampled: None, functions: BTreeMap::new() };
        Self { servers: addresses.into_iter().map(server).collect() }
    }

    /// Whether every server has been heard of.
    pub(super) fn is_asked(&self) -> bool {
        self.servers.iter().all(|server| !matches!(server.state, State::Asked))
    }

    /// What is wrong with the servers that are away.
    pub(super) fn away(&self) -> impl Iterator<Item = &AdminError> {
        self.servers.iter().filter_map(|server| match &server.state {
            State::Away(error) => Some(error),
            _ => None,
        })
    }

    /// Takes note of an answer.
    pub(super) fn add(&mut self, sample: Sample) {
        let server = &mut self.servers[sample.server];
        match sample.answer {
            Err(error) => {
                // What it had is not known any more.
                server.functions.clear();
                server.sampled = None;
                server.state = State::Away(error);
            }
            Ok(rows) => {
                let passed = server.sampled.map(|before| sample.at.duration_since(before));
                let mut before = std::mem::take(&mut server.functions);
                for status in rows {
                    let earlier = before.remove(&status.name);
                    let function = Function::after(earlier.as_ref(), status, sample.at, passed);
                    server.functions.insert(function.status.name.clone(), function);
                }
                server.sampled = Some(sample.at);
                server.state = State::Up;
            }
        }
    }

    /// The lines that the view wants, in its order.
    pub(super) fn rows(&self, view: &View) -> Vec<Row> {
        let now = Instant::now();
        let mut rows: Vec<Row> = Vec::new();
        if view.is_merged {
            let mut merged: BTreeMap<&[u8], Row> = BTreeMap::new();
            for (name, function) in self.servers.iter().flat_map(|server| &server.functions) {
                let row = function.row(None, now);
                match merged.get_mut(name.as_slice()) {
                    Some(sum) => sum.add(&row),
                    None => drop(merged.insert(name, row)),
                }
            }
            rows.extend(
                merged.into_iter().filter(|(name, _)| chosen(&view.functions, name)).map(|(_, row)| row),
            );
        } else {
            for server in &self.servers {
                let shown = server.functions.iter().filter(|(name, _)| chosen(&view.functions, name));
                rows.extend(shown.map(|(_, function)| function.row(Some(&server.address), now)));
            }
        }
        if view.hides_idle {
            rows.retain(|row| row.waiting + row.running > 0);
        }
        sort(&mut rows, view);
        rows
    }
}

impl Server {
    pub(super) fn sums(&self) -> Sums {
        let mut sums = Sums { functions: self.functions.len(), ..Sums::default() };
        for function in self.functions.values() {
            sums.waiting += function.status.waiting();
            sums.running += function.status.running;
        }
        sums
    }
}

impl Function {
    /// `passed` is the time since the server's sample before, if there is one.
    fn after(earlier: Option<&Self>, status: FunctionStatus, at: Instant, passed: Option<Duration>) -> Self {
        let backlog = match (status.waiting(), earlier.map(|earlier| earlier.backlog)) {
            (0, _) => Backlog::None,
            (_, Some(since @ (Backlog::Since(_) | Backlog::Before(_)))) => since,
            (_, Some(Backlog::None)) => Backlog::Since(at),
            // A function that the sample before did not have was empty then.
            (_, None) => {
                if passed.is_some() {
                    Backlog::Since(at)
                } else {
                    Backlog::Before(at)
                }
            }
        };
        let change = passed.filter(|passed| !passed.is_zero()).map(|passed| {
            let before = earlier.map_or(0, |earlier| earlier.status.total);
            (status.total as f64 - before as f64) / passed.as_secs_f64()
        });
        Self { status, change, backlog }
    }

    fn row(&self, server: Option<&str>, now: Instant) -> Row {
        let seconds = |since: Instant| now.saturating_duration_since(since).as_secs_f64();
        let (backlog_seconds, backlog_is_older) = match self.backlog {
            Backlog::None => (None, false),
            Backlog::Since(since) => (Some(seconds(since)), false),
            Backlog::Before(since) => (Some(seconds(since)), true),
        };
        Row {
            server: server.map(str::to_owned),
            function: shown(&self.status.name),
            waiting: self.status.waiting(),
            running: self.status.running,
            workers: self.status.workers,
            change_per_second: self.change,
            backlog_seconds,
            backlog_is_older,
        }
    }
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.waiting += other.waiting;
        self.running += other.running;
        self.workers += other.workers;
        let both = self.change_per_second.zip(other.change_per_second);
        self.change_per_second = both.map(|(one, other)| one + other);
        if other.backlog_seconds > self.backlog_seconds {
            self.backlog_seconds = other.backlog_seconds;
        }
        self.backlog_is_older |= other.backlog_is_older;
    }
}

/// Numbers go down, names go up, and equals by name; or the other way round.
fn sort(rows: &mut [Row], view: &View) {
    rows.sort_by(|one, other| (&one.function, &one.server).cmp(&(&other.function, &other.server)));
    let number = |row: &Row| match view.sort {
        Column::Function | Column::Server => 0.0,
        Column::Waiting => row.waiting as f64,
        Column::Running => row.running as f64,
        Column::Workers => row.workers as f64,
        Column::Change => row.change_per_second.unwrap_or(f64::NEG_INFINITY),
        Column::Backlog => row.backlog_seconds.unwrap_or(f64::NEG_INFINITY),
    };
    match (view.sort, view.is_reversed) {
        (Column::Function, false) => {}
        (Column::Server, false) => rows.sort_by(|one, other| one.server.cmp(&other.server)),
        (Column::Function, true) => rows.reverse(),
        (Column::Server, true) => rows.sort_by(|one, other| other.server.cmp(&one.server)),
        (_, false) => rows.sort_by(|one, other| number(other).total_cmp(&number(one))),
        (_, true) => rows.sort_by(|one, other| number(one).total_cmp(&number(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(server: usize, at: Instant, rows: &[(&str, u64, u64)]) -> Sample {
        let row = |&(name, total, running): &(&str, u64, u64)| FunctionStatus {
            name: name.into(),
            total,
            running,
            workers: 1,
        };
        Sample { server, at, answer: Ok(rows.iter().map(row).collect()) }
    }

    #[test]
    fn change_and_backlog_follow_from_what_was_seen() {
        let mut board = Board::new(vec!["one".to_owned()]);
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let look = |board: &Board| {
            let functions = &board.servers[0].functions;
            let of = |name: &str| functions[name.as_bytes()].row(None, later(20));
            [of("old"), of("new")]
                .map(|row| (row.change_per_second, row.backlog_seconds, row.backlog_is_older))
        };
        board.add(sample(0, start, &[("old", 10, 1), ("new", 1, 1)]));
        assert_eq!(look(&board), [(None, Some(20.0), true), (None, None, false)]);
        board.add(sample(0, later(2), &[("old", 4, 1), ("new", 6, 1)]));
        assert_eq!(look(&board), [(Some(-3.0), Some(20.0), true), (Some(2.5), Some(18.0), false)]);
        board.add(sample(0, later(4), &[("old", 1, 1), ("new", 6, 1)]));
        board.add(sample(0, later(6), &[("old", 2, 1), ("new", 6, 1)]));
        assert_eq!(look(&board), [(Some(0.5), Some(14.0), false), (Some(0.0), Some(18.0), false)]);
        let lost = AdminError::Lost { server: "one:1".parse().unwrap(), error: None };
        board.add(Sample { server: 0, at: later(7), answer: Err(lost) });
        assert!(board.servers[0].functions.is_empty());
        board.add(sample(0, later(8), &[("old", 2, 1), ("new", 6, 1)]));
        assert_eq!(look(&board)[0], (None, Some(12.0), true), "it may have had them all the while");
    }

    #[test]
    fn rows_are_added_up_and_sorted() {
        let mut board = Board::new(vec!["one".to_owned(), "two".to_owned()]);
        let now = Instant::now();
        board.add(sample(0, now, &[("a", 1, 1), ("b", 5, 0), ("idle", 0, 0)]));
        board.add(sample(1, now, &[("a", 7, 0)]));
        let mut view = View::of(Column::Waiting);
        let names = |view: &View| {
            let rows = board.rows(view);
            rows.iter().map(|row| format!("{} {}", row.function, row.waiting)).collect::<Vec<_>>()
        };
        assert_eq!(names(&view), ["a 7", "b 5", "a 0", "idle 0"]);
        view.is_reversed = true;
        assert_eq!(names(&view), ["a 0", "idle 0", "b 5", "a 7"]);
        view = View::of(Column::Function);
        (view.is_merged, view.hides_idle) = (true, true);
        assert_eq!(names(&view), ["a 7", "b 5"]);
        view.functions = vec!["b*".to_owned()];
        assert_eq!(names(&view), ["b 5"]);
    }
}
