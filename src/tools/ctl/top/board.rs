//! What is known of the servers' functions, and what follows from one sample after the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::view::{Column, View};
use crate::client::admin::{AdminError, FunctionActivity, FunctionStatus};
use crate::tools::ctl::pattern::chosen;
use crate::tools::ctl::text::shown;

/// A server's answer.
pub(super) struct Sample {
    pub(super) server: usize,
    pub(super) at: Instant,
    pub(super) answer: Result<Answer, AdminError>,
}

/// What a server told.
pub(super) struct Answer {
    pub(super) functions: Vec<FunctionStatus>,
    /// Of a server that tells it.
    pub(super) activity: Option<Vec<FunctionActivity>>,
}

/// One function of one server.
struct Function {
    status: FunctionStatus,
    /// Its numbers by a server that tells them.
    ended: Option<u64>,
    oldest: Option<Duration>,
    /// Jobs that come and that end in a second; known from the second sample on.
    rates: Option<[Figure; 2]>,
    backlog: Backlog,
}

/// A number, or what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "is", content = "value", rename_all = "snake_case")]
pub(super) enum Figure {
    Exactly(f64),
    AtLeast(f64),
    AtMost(f64),
}

impl Figure {
    pub(super) const fn value(self) -> f64 {
        let (Self::Exactly(value) | Self::AtLeast(value) | Self::AtMost(value)) = self;
        value
    }

    /// The sum of two; of one that is exact and one that is not it is a bound too.
    fn add(self, other: Self) -> Self {
        let sum = self.value() + other.value();
        match (self, other) {
            (Self::Exactly(_), Self::Exactly(_)) => Self::Exactly(sum),
            _ => Self::AtLeast(sum),
        }
    }

    /// The greater of two ages.
    fn older(self, other: Self) -> Self {
        let value = self.value().max(other.value());
        match (self, other) {
            (Self::Exactly(_), Self::Exactly(_)) => Self::Exactly(value),
            _ => Self::AtMost(value),
        }
    }
}

/// Since when jobs have been waiting without a break, as far as was seen.
#[derive(Clone, Copy)]
enum Backlog {
    None,
    /// The function was seen without then: no waiting job is older.
    Since(Instant),
    /// It was there already at the first sample.
    Before,
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
    pub(super) in_per_second: Option<Figure>,
    pub(super) done_per_second: Option<Figure>,
    /// How old the oldest waiting job is.
    pub(super) oldest_seconds: Option<Figure>,
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
            Ok(answer) => {
                let activity = answer.activity.map(|rows| {
                    let by_name = |row: FunctionActivity| (row.name.clone(), row);
                    rows.into_iter().map(by_name).collect::<BTreeMap<_, _>>()
                });
                let passed = server.sampled.map(|before| sample.at.duration_since(before));
                let mut before = std::mem::take(&mut server.functions);
                for status in answer.functions {
                    let earlier = before.remove(&status.name);
                    let activity = activity.as_ref().and_then(|rows| rows.get(&status.name));
                    let function = Function::after(earlier.as_ref(), status, activity, sample.at, passed);
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
    fn after(
        earlier: Option<&Self>,
        status: FunctionStatus,
        activity: Option<&FunctionActivity>,
        at: Instant,
        passed: Option<Duration>,
    ) -> Self {
        let backlog = match (status.waiting(), earlier.map(|earlier| earlier.backlog)) {
            (0, _) => Backlog::None,
            (_, Some(since @ (Backlog::Since(_) | Backlog::Before))) => since,
            // The job came after the sample before.
            (_, Some(Backlog::None)) => {
                Backlog::Since(passed.and_then(|passed| at.checked_sub(passed)).unwrap_or(at))
            }
            // A function that the sample before did not have was empty then.
            (_, None) => match passed.and_then(|passed| at.checked_sub(passed)) {
                Some(before) => Backlog::Since(before),
                None => Backlog::Before,
            },
        };
        let ended = activity.map(|activity| activity.ended);
        let rates = passed.filter(|passed| !passed.is_zero()).map(|passed| {
            let before = earlier.map_or(0, |earlier| earlier.status.total);
            let change = (status.total as f64 - before as f64) / passed.as_secs_f64();
            let earlier_ended = match earlier {
                Some(earlier) => earlier.ended,
                None => Some(0),
            };
            // A function that was dropped and made again counts anew.
            match ended.zip(earlier_ended).and_then(|(ended, earlier)| ended.checked_sub(earlier)) {
                Some(ended) => {
                    let done = ended as f64 / passed.as_secs_f64();
                    [Figure::Exactly((change + done).max(0.0)), Figure::Exactly(done)]
                }
                None => [Figure::AtLeast(change.max(0.0)), Figure::AtLeast((-change).max(0.0))],
            }
        });
        Self { status, ended, oldest: activity.map(|activity| activity.oldest_waiting), rates, backlog }
    }

    fn row(&self, server: Option<&str>, now: Instant) -> Row {
        let oldest_seconds = match (self.oldest, self.backlog) {
            (Some(oldest), _) if !oldest.is_zero() => Some(Figure::Exactly(oldest.as_secs_f64())),
            (Some(_), _) | (None, Backlog::None | Backlog::Before) => None,
            (None, Backlog::Since(since)) => {
                Some(Figure::AtMost(now.saturating_duration_since(since).as_secs_f64()))
            }
        };
        Row {
            server: server.map(str::to_owned),
            function: shown(&self.status.name),
            waiting: self.status.waiting(),
            running: self.status.running,
            workers: self.status.workers,
            in_per_second: self.rates.map(|[incoming, _]| incoming),
            done_per_second: self.rates.map(|[_, done]| done),
            oldest_seconds,
        }
    }
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.waiting += other.waiting;
        self.running += other.running;
        self.workers += other.workers;
        let sum = |one: Option<Figure>, other: Option<Figure>| Some(one?.add(other?));
        self.in_per_second = sum(self.in_per_second, other.in_per_second);
        self.done_per_second = sum(self.done_per_second, other.done_per_second);
        self.oldest_seconds = match (self.oldest_seconds, other.oldest_seconds) {
            (Some(one), Some(other)) => Some(one.older(other)),
            (one, other) => one.or(other),
        };
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
        Column::In => row.in_per_second.map_or(f64::NEG_INFINITY, Figure::value),
        Column::Done => row.done_per_second.map_or(f64::NEG_INFINITY, Figure::value),
        Column::Oldest => row.oldest_seconds.map_or(f64::NEG_INFINITY, Figure::value),
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
        let functions = rows.iter().map(row).collect();
        Sample { server, at, answer: Ok(Answer { functions, activity: None }) }
    }

    /// The figures of a function 20 seconds after the start.
    fn figures(board: &Board, name: &str, start: Instant) -> [Option<Figure>; 3] {
        let row = board.servers[0].functions[name.as_bytes()].row(None, start + Duration::from_secs(20));
        [row.in_per_second, row.done_per_second, row.oldest_seconds]
    }

    #[test]
    fn a_server_that_tells_little_leaves_bounds() {
        let mut board = Board::new(vec!["one".to_owned()]);
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let at_least = |incoming, done| [incoming, done].map(|rate| Some(Figure::AtLeast(rate)));
        let look = |board: &Board, name| figures(board, name, start);
        board.add(sample(0, start, &[("old", 10, 1), ("new", 1, 1)]));
        assert_eq!(look(&board, "old"), [None, None, None]);
        board.add(sample(0, later(2), &[("old", 4, 1), ("new", 6, 1)]));
        assert_eq!(look(&board, "old")[..2], at_least(0.0, 3.0));
        assert_eq!(look(&board, "old")[2], None, "there were jobs before anybody looked");
        assert_eq!(look(&board, "new")[..2], at_least(2.5, 0.0));
        assert_eq!(look(&board, "new")[2], Some(Figure::AtMost(20.0)), "none waited at the start");
        board.add(sample(0, later(4), &[("old", 1, 1), ("new", 6, 1)]));
        board.add(sample(0, later(6), &[("old", 2, 1), ("new", 6, 1)]));
        assert_eq!(look(&board, "old")[2], Some(Figure::AtMost(16.0)));
        let lost = AdminError::Lost { server: "one:1".parse().unwrap(), error: None };
        board.add(Sample { server: 0, at: later(7), answer: Err(lost) });
        assert!(board.servers[0].functions.is_empty());
        board.add(sample(0, later(8), &[("old", 2, 1)]));
        assert_eq!(look(&board, "old"), [None, None, None], "it may have had them all the while");
    }

    #[test]
    fn a_server_that_tells_more_leaves_none() {
        let mut board = Board::new(vec!["one".to_owned()]);
        let start = Instant::now();
        let told = |seconds, total, ended, oldest_s| {
            let mut sample = sample(0, start + Duration::from_secs(seconds), &[("f", total, 0)]);
            let oldest_waiting = Duration::from_secs(oldest_s);
            let row = FunctionActivity { name: b"f".to_vec(), ended, oldest_waiting };
            sample.answer.as_mut().unwrap().activity = Some(vec![row]);
            sample
        };
        board.add(told(0, 10, 100, 7));
        assert_eq!(figures(&board, "f", start), [None, None, Some(Figure::Exactly(7.0))]);
        board.add(told(2, 4, 120, 0));
        assert_eq!(
            figures(&board, "f", start),
            [Some(Figure::Exactly(7.0)), Some(Figure::Exactly(10.0)), None]
        );
        // Dropped and made again.
        board.add(told(4, 8, 1, 0));
        assert_eq!(figures(&board, "f", start)[0], Some(Figure::AtLeast(2.0)));
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
