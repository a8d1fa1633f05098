//! What of the board is shown, and how it looks on a screen of a given size.
//!
//! Lines are text and no terminal: every one is cut and filled to the screen's width.

use clap::ValueEnum;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Options;
use super::board::{Board, Figure, Row, Server, State};
use crate::tools::ctl::table::{Heading, Side, aligned};
use crate::tools::ctl::text::shown;

/// What stands between two columns.
const GAP: usize = 2;
/// The narrowest column of names.
const NAME_MIN: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Column {
    Function,
    Server,
    Waiting,
    Running,
    Workers,
    In,
    Done,
    Oldest,
}

impl Column {
    pub(super) const fn heading(self) -> Heading {
        match self {
            Self::Function => ("FUNCTION", Side::Left),
            Self::Server => ("SERVER", Side::Left),
            Self::Waiting => ("WAITING", Side::Right),
            Self::Running => ("RUNNING", Side::Right),
            Self::Workers => ("WORKERS", Side::Right),
            Self::In => ("IN/s", Side::Right),
            Self::Done => ("DONE/s", Side::Right),
            Self::Oldest => ("OLDEST", Side::Right),
        }
    }

    pub(super) fn cell(self, row: &Row) -> String {
        let nothing = || "-".to_owned();
        match self {
            Self::Function => row.function.clone(),
            Self::Server => row.server.clone().unwrap_or_default(),
            Self::Waiting => row.waiting.to_string(),
            Self::Running => row.running.to_string(),
            Self::Workers => row.workers.to_string(),
            Self::In => row.in_per_second.map_or_else(nothing, |figure| bounded(figure, rate)),
            Self::Done => row.done_per_second.map_or_else(nothing, |figure| bounded(figure, rate)),
            Self::Oldest => row.oldest_seconds.map_or_else(nothing, |figure| bounded(figure, age)),
        }
    }
}

/// A figure with a sign where it is a bound; a bound that says nothing is none.
fn bounded(figure: Figure, show: impl Fn(f64) -> String) -> String {
    match figure {
        Figure::Exactly(value) => show(value),
        Figure::AtLeast(value) if value < 0.05 => "-".to_owned(),
        Figure::AtLeast(value) => format!(">{}", show(value)),
        Figure::AtMost(value) => format!("<{}", show(value)),
    }
}

fn rate(per_second: f64) -> String {
    match per_second {
        none if none < 0.05 => "0".to_owned(),
        few if few < 9.95 => format!("{few:.1}"),
        many if many < 99_999.5 => format!("{many:.0}"),
        more if more < 9_999_500.0 => format!("{:.0}k", more / 1e3),
        most => format!("{:.0}M", most / 1e6),
    }
}

fn age(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..10 => format!("{seconds:.1}s"),
        10..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Heading,
    /// Something is wrong.
    Bad,
    Keys,
}

pub(in crate::tools) struct Line {
    pub(super) text: String,
    pub(super) look: Look,
}

impl Line {
    /// A line of text, as wide as the screen.
    pub(in crate::tools) fn plain(text: &str, width: usize) -> Self {
        Self { text: aligned(&cut(text, width), Side::Left, width), look: Look::Plain }
    }
}

/// What the keys have chosen.
pub(super) struct View {
    pub(super) functions: Vec<String>,
    pub(super) sort: Column,
    pub(super) is_reversed: bool,
    pub(super) hides_idle: bool,
    pub(super) is_merged: bool,
    pub(super) is_paused: bool,
    /// How many rows are above the screen.
    pub(super) above: usize,
    /// The columns that were drawn last, from the left.
    drawn: Vec<Column>,
}

impl View {
    pub(super) fn new(options: &Options) -> Self {
        let functions = options.functions.clone();
        let (hides_idle, is_merged) = (options.hide_idle, options.merge);
        Self { functions, hides_idle, is_merged, ..Self::of(options.sort) }
    }

    pub(super) const fn of(sort: Column) -> Self {
        Self {
            functions: Vec::new(),
            sort,
            is_reversed: false,
            hides_idle: false,
            is_merged: false,
            is_paused: false,
            above: 0,
            drawn: Vec::new(),
        }
    }

    /// Sorts by another column; the same once more turns the order round.
    pub(super) fn sort_by(&mut self, column: Column) {
        self.is_reversed = self.sort == column && !self.is_reversed;
        self.sort = column;
        self.above = 0;
    }

    /// Sorts by the column to the left or to the right.
    pub(super) fn sort_beside(&mut self, to_the_right: bool) {
        let place = self.drawn.iter().position(|column| *column == self.sort).unwrap_or(0);
        let beside = if to_the_right { place + 1 } else { place.saturating_sub(1) };
        if let Some(&column) = self.drawn.get(beside).filter(|column| **column != self.sort) {
            self.sort_by(column);
        }
    }

    /// The columns, the most important first.
    pub(super) fn all_columns(&self, board: &Board) -> Vec<Column> {
        let mut columns = vec![
            Column::Function,
            Column::Waiting,
            Column::Running,
            Column::Workers,
            Column::In,
            Column::Done,
            Column::Oldest,
        ];
        if board.servers.len() > 1 && !self.is_merged {
            columns.insert(1, Column::Server);
        }
        columns
    }

    /// The whole screen: title, servers, table, keys.
    pub(super) fn lines(&mut self, board: &Board, rows: &[Row], width: usize, height: usize) -> Vec<Line> {
        let mut lines = vec![Line { text: self.title(board, rows), look: Look::Plain }];
        // The table is what one wants to see; its heading and the keys need a line each.
        let servers = board.servers.len().min(height.saturating_sub(3) / 2);
        lines.extend(board.servers.iter().take(servers).map(server_line));
        let places = height.saturating_sub(lines.len() + 2);
        self.above = self.above.min(rows.len().saturating_sub(places.max(1)));
        let columns = self.columns(board, rows, width);
        self.drawn = columns.iter().map(|(column, _)| *column).collect();
        let heading = columns.iter().map(|(column, width)| {
            let (title, side) = column.heading();
            let mark = match (*column == self.sort, self.is_reversed) {
                (false, _) => "",
                (true, false) => "▼",
                (true, true) => "▲",
            };
            aligned(&cut(&format!("{mark}{title}"), *width), side, *width)
        });
        lines.push(Line { text: heading.collect::<Vec<_>>().join("  "), look: Look::Heading });
        for row in rows.iter().skip(self.above).take(places) {
            let cells = columns
                .iter()
                .map(|(column, width)| aligned(&cut(&column.cell(row), *width), column.heading().1, *width));
            lines.push(Line { text: cells.collect::<Vec<_>>().join("  "), look: Look::Plain });
        }
        while lines.len() + 1 < height {
            lines.push(Line { text: String::new(), look: Look::Plain });
        }
        lines.push(Line { text: keys(width), look: Look::Keys });
        lines.truncate(height);
        for line in &mut lines {
            line.text = aligned(&cut(&line.text, width), Side::Left, width);
        }
        lines
    }

    fn title(&self, board: &Board, rows: &[Row]) -> String {
        let away = board.away().count();
        let mut title = format!("gearctl top  {}", jiff::Zoned::now().strftime("%H:%M:%S"));
        if self.is_paused {
            title.push_str("  PAUSED");
        }
        if away > 0 {
            title.push_str(&format!("  {away} of {} servers away", board.servers.len()));
        }
        title.push_str(&format!("  {} rows", rows.len()));
        if self.hides_idle {
            title.push_str(", idle ones hidden");
        }
        title
    }

    /// Which columns fit, and how wide they are.
    fn columns(&self, board: &Board, rows: &[Row], width: usize) -> Vec<(Column, usize)> {
        let natural = |column: Column| {
            let cells = rows.iter().map(|row| column.cell(row).width());
            // The mark of the column that sorts needs its place.
            cells.chain([column.heading().0.width() + 1]).max().unwrap_or(0)
        };
        let is_name = |column: Column| matches!(column, Column::Function | Column::Server);
        let least = |&(column, width): &(Column, usize)| {
            if is_name(column) { NAME_MIN.min(width) } else { width }
        };
        let total = |columns: &[(Column, usize)]| {
            columns.iter().map(|column| least(column) + GAP).sum::<usize>().saturating_sub(GAP)
        };
        let mut columns: Vec<_> =
            self.all_columns(board).into_iter().map(|column| (column, natural(column))).collect();
        // Columns go from the right, that of the servers before most numbers, until names can be read.
        while columns.len() > 2 && total(&columns) > width {
            match columns.iter().position(|(column, _)| *column == Column::Server) {
                Some(server) if columns.len() <= 5 => drop(columns.remove(server)),
                _ => drop(columns.pop()),
            }
        }
        // What is left over is for names, functions' first.
        let mut left = width.saturating_sub(total(&columns));
        for column in columns.iter_mut().filter(|(column, _)| is_name(*column)) {
            let narrow = least(column);
            let more = (column.1 - narrow).min(left);
            column.1 = narrow + more;
            left -= more;
        }
        columns
    }
}

fn server_line(server: &Server) -> Line {
    let address = shown(server.address.as_bytes());
    match &server.state {
        State::Asked => Line { text: format!("{address}  ..."), look: Look::Plain },
        State::Up => {
            let sums = server.sums();
            let text = format!(
                "{address}  up, {} waiting, {} running, {} functions",
                sums.waiting, sums.running, sums.functions
            );
            Line { text, look: Look::Plain }
        }
        State::Away(error) => Line {
            text: format!("{address}  AWAY: {}", shown(error.to_string().as_bytes())),
            look: Look::Bad,
        },
    }
}

/// As many keys as there is room for.
fn keys(width: usize) -> String {
    const KEYS: &[&str] = &["q quit", "←→ sort", "r reverse", "i idle", "m merge", "p pause", "↑↓ scroll"];
    let mut text = String::new();
    for key in KEYS {
        let between = if text.is_empty() { "" } else { "  " };
        if text.width() + between.len() + key.width() > width {
            break;
        }
        text.push_str(between);
        text.push_str(key);
    }
    text
}

/// The beginning of a text that fits, with a sign where something is left off.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 1;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        cut.push(character);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_or_narrower_than_the_screen() {
        let row = |name: &str| Row {
            server: Some("a-server.with.a.long.name.example:4730".to_owned()),
            function: name.to_owned(),
            waiting: 123_456,
            running: 7,
            workers: 8,
            in_per_second: Some(Figure::AtLeast(12.3)),
            done_per_second: Some(Figure::Exactly(1e5)),
            oldest_seconds: Some(Figure::AtMost(4000.0)),
        };
        let rows = [row("größe"), row("日本語の関数の名前はとても長い"), row(&"x".repeat(500))];
        let board = Board::new(vec!["one".to_owned(), "two".to_owned()]);
        for width in 0..220 {
            for height in [0, 1, 2, 3, 5, 24] {
                let lines = View::of(Column::Oldest).lines(&board, &rows, width, height);
                assert_eq!(lines.len(), height);
                for line in lines {
                    assert_eq!(line.text.width(), width, "{:?}", line.text);
                }
            }
        }
    }

    #[test]
    fn what_matters_most_stays_on_a_narrow_screen() {
        let board = Board::new(vec!["one".to_owned()]);
        let heading = |width: usize| {
            let lines = View::of(Column::Waiting).lines(&board, &[], width, 10);
            let heading = lines.into_iter().find(|line| line.look == Look::Heading).unwrap();
            heading.text.trim_end().to_owned()
        };
        assert_eq!(heading(80), "FUNCTION   ▼WAITING   RUNNING   WORKERS   IN/s   DONE/s   OLDEST");
        assert_eq!(heading(40), "FUNCTION   ▼WAITING   RUNNING   WORKERS");
        assert_eq!(heading(20), "FUNCTION   ▼WAITING");
    }

    #[test]
    fn figures_are_short() {
        let rates = [0.01, 0.5, 9.0, 1234.4, 123_456.0].map(rate);
        assert_eq!(rates, ["0", "0.5", "9.0", "1234", "123k"]);
        let figures = [Figure::Exactly(0.0), Figure::AtLeast(0.0), Figure::AtLeast(2.0), Figure::AtMost(2.0)];
        assert_eq!(figures.map(|figure| bounded(figure, rate)), ["0", "-", ">2.0", "<2.0"]);
        let ages = [0.9, 61.0, 3661.0, 90_000.0].map(age);
        assert_eq!(ages, ["0.9s", "1m01s", "1h01m", "1d01h"]);
        assert_eq!([cut("abc", 3), cut("abcd", 3), cut("日本", 3), cut("a", 0)], ["abc", "ab…", "日…", ""]);
    }
}
