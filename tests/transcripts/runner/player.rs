//! Plays one transcript against one server.
//!
//! A line takes effect after the lines before it: before somebody else acts,
//! the connections that have sent something are settled (see `connection`).
//! Whatever comes must be expected, at the end at the latest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gearshard::protocol::packet::{Command, HEADER_BYTES};

use super::connection::{Connection, DEADLINE, Received};
use super::script::{Action, Expected, Script, Sent, Step, kind_name};
use super::template::{Names, Template};
use crate::support::{Kind, Server};

/// Rounds of questions after which nothing is on its way between shards:
/// a shard that learns something may tell another, which may tell a third.
const ROUNDS: usize = 3;

/// Of what nobody has expected, a message shows so much for each connection.
const UNREAD_SHOWN: usize = 5;

/// Between two tries of `eventually`.
const PAUSE: Duration = Duration::from_millis(10);

/// Where a script is played.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// Which server it is.
    pub(crate) kind: Kind,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) pid: u32,
    /// What the script's own names end in.
    pub(crate) mark: String,
}

impl Stage {
    /// `server`, for the script with this number in the run.
    pub(crate) fn on(server: &Server, number: usize) -> Self {
        Self {
            kind: server.kind(),
            address: server.address(),
            pid: server.pid(),
            mark: format!("~{number:03}"),
        }
    }
}

/// Plays `script`; the error says which line failed and how.
pub(crate) fn play(script: &Script, stage: &Stage) -> Result<(), String> {
    let mut names = Names::new(stage.mark.clone());
    names.bind("pid", stage.pid.to_string().as_bytes());
    let mut player = Player { stage, names, connections: BTreeMap::new() };
    player.steps(&script.steps)?;
    player.finish().map_err(|error| format!("at the end: {error}"))
}

struct Player<'a> {
    stage: &'a Stage,
    names: Names,
    connections: BTreeMap<String, Connection>,
}

impl Player<'_> {
    fn steps(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            if let Action::Only { kind, steps } = &step.action {
                if *kind == self.stage.kind {
                    self.steps(steps)?;
                }
            } else {
                self.step(&step.action).map_err(|error| {
                    format!("line {}: {}\n{error}{}", step.line, step.text, self.describe_unread())
                })?;
            }
        }
        Ok(())
    }

    fn step(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Send { conn, what, hold } => {
                self.settle_others(Some(conn))?;
                self.send(conn, what, *hold)
            }
            Action::Expect { conn, what } => self.expect(conn, what),
            Action::Maybe { conn, what } => self.maybe(conn, what),
            Action::OneOf { conns, what } => self.one_of(conns, what),
            Action::Eventually { conn, send, expect } => self.eventually(conn, send, expect),
            Action::Close { conn } => {
                self.settle_others(None)?;
                self.connections.remove(conn).map(drop).ok_or_else(|| format!("{conn} is not connected"))
            }
            Action::Wait(time) => {
                self.settle_others(None)?;
                std::thread::sleep(*time);
                Ok(())
            }
            Action::Only { .. } => unreachable!("played by `steps`"),
        }
    }

    fn connection(&mut self, name: &str) -> Result<&mut Connection, String> {
        if !self.connections.contains_key(name) {
            let connection = Connection::open(self.stage.address)?;
            self.connections.insert(name.to_owned(), connection);
        }
        Ok(self.connections.get_mut(name).expect("it was just inserted"))
    }

    // What all but `actor` have sent is handled when this returns.
    fn settle_others(&mut self, actor: Option<&str>) -> Result<(), String> {
        for (name, connection) in &mut self.connections {
            if Some(name.as_str()) != actor && connection.unsettled && connection.ask()? {
                connection.await_answers().map_err(|error| format!("{name}: {error}"))?;
            }
        }
        Ok(())
    }

    // Nothing is on its way to anybody when this returns.
    fn quiesce(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS {
            for (name, connection) in &mut self.connections {
                connection.ask().map_err(|error| format!("{name}: {error}"))?;
            }
            for (name, connection) in &mut self.connections {
                connection.await_answers().map_err(|error| format!("{name}: {error}"))?;
            }
        }
        Ok(())
    }

    fn send(&mut self, conn: &str, what: &Sent, hold: bool) -> Result<(), String> {
        let bytes = match what {
            Sent::Bytes(template) => self.names.render(template)?,
            Sent::Packet { magic, number, body } => {
                let body = self.names.render(body)?;
                let length = u32::try_from(body.len()).map_err(|_| "longer than a packet can be")?;
                let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
                bytes.extend(magic.bytes());
                bytes.extend(number.to_be_bytes());
                bytes.extend(length.to_be_bytes());
                bytes.extend(body);
                bytes
            }
        };
        self.connection(conn)?.send(&bytes, hold)
    }

    fn expect(&mut self, conn: &str, what: &Expected) -> Result<(), String> {
        match what {
            Expected::Nothing => {
                self.connection(conn)?;
                self.quiesce()?;
                let connection = self.connection(conn)?;
                match connection.inbox.pop_front() {
                    Some(received) => Err(format!("  received: {}", show(&received))),
                    None if connection.closed => Err("  the server has closed the connection".to_owned()),
                    None => Ok(()),
                }
            }
            Expected::Closed => match self.connection(conn)?.next()? {
                Some(received) => Err(format!("  received: {}", show(&received))),
                None => {
                    self.connections.remove(conn);
                    Ok(())
                }
            },
            Expected::Packet { .. } | Expected::Text(_) | Expected::List(_) => {
                let answer = self.answer(conn, what)?;
                self.compare(what, &answer)
            }
        }
    }

    // As many packets or lines as `what` would take.
    fn answer(&mut self, conn: &str, what: &Expected) -> Result<Vec<Received>, String> {
        let wanted = match what {
            Expected::Text(template) => template.line_ends(),
            _ => 1,
        };
        let connection = self.connection(conn)?;
        let mut answer = Vec::new();
        loop {
            let Some(received) = connection.next()? else {
                return Err("  the server has closed the connection".to_owned());
            };
            let is_packet = matches!(received, Received::Packet { .. });
            let is_dot = received == Received::Line(b".\n".to_vec());
            answer.push(received);
            let whole = if what.is_list() { is_dot } else { answer.len() >= wanted };
            if is_packet || whole {
                return Ok(answer);
            }
        }
    }

    fn compare(&mut self, what: &Expected, answer: &[Received]) -> Result<(), String> {
        let matched = match (what, answer) {
            (Expected::Packet { command, body }, [Received::Packet { command: came, body: bytes }]) => {
                command == came && self.names.matches(body, bytes)
            }
            (Expected::Text(template), lines) => {
                all_lines(lines).is_some_and(|lines| self.names.matches(template, &lines.concat()))
            }
            (Expected::List(items), lines) => {
                all_lines(lines).is_some_and(|lines| self.matches_list(items, lines))
            }
            _ => false,
        };
        if matched {
            return Ok(());
        }
        let mut message = format!("  expected: {}", self.describe(what));
        let of_this_script = |received: &&Received| match (what, received) {
            (Expected::List(_), Received::Line(line)) => self.names.mentioned_in(line),
            _ => true,
        };
        for received in answer.iter().filter(of_this_script) {
            write!(message, "\n  received: {}", show(received)).expect("a String takes everything");
        }
        Err(message)
    }

    // The lines that speak of this script are these, in any order.
    fn matches_list(&mut self, items: &[Template], mut lines: Vec<&[u8]>) -> bool {
        lines.retain(|line| self.names.mentioned_in(line));
        for item in items {
            let Some(at) = lines.iter().position(|line| self.names.matches(item, &line[..line.len() - 1]))
            else {
                return false;
            };
            lines.remove(at);
        }
        lines.is_empty()
    }

    // What comes next is `what` or something else, which is left for later.
    fn maybe(&mut self, conn: &str, what: &Expected) -> Result<(), String> {
        self.connection(conn)?;
        self.quiesce()?;
        let next = self.connection(conn)?.inbox.pop_front();
        if let Some(next) = next
            && self.compare(what, std::slice::from_ref(&next)).is_err()
        {
            self.connection(conn)?.inbox.push_front(next);
        }
        Ok(())
    }

    // At least one of the connections has received something, and that is `what`.
    fn one_of(&mut self, conns: &[String], what: &Expected) -> Result<(), String> {
        for conn in conns {
            self.connection(conn)?;
        }
        self.quiesce()?;
        let Some(receiver) = conns.iter().find(|conn| !self.connections[*conn].inbox.is_empty()) else {
            return Err("  none of them has received anything".to_owned());
        };
        let answer = self.answer(receiver, what)?;
        self.compare(what, &answer)
    }

    fn eventually(&mut self, conn: &str, send: &Sent, expect: &Expected) -> Result<(), String> {
        let end = Instant::now() + DEADLINE;
        loop {
            self.settle_others(Some(conn))?;
            self.send(conn, send, false)?;
            let answer = self.answer(conn, expect)?;
            match self.compare(expect, &answer) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        self.quiesce()?;
        for (name, connection) in &self.connections {
            if connection.closed {
                return Err(format!("{name} was closed by the server{}", self.describe_unread()));
            }
            if connection.broken {
                return Err(format!("{name} has sent what nobody understands; say `{name}< closed`"));
            }
        }
        match self.describe_unread() {
            unread if unread.is_empty() => Ok(()),
            unread => Err(format!("not everything that came was expected{unread}")),
        }
    }

    fn describe(&self, what: &Expected) -> String {
        match what {
            Expected::Packet { command, body } => show_packet(*command, &self.names.describe(body)),
            Expected::Text(template) => format!("\"{}\"", shorten(&self.names.describe(template))),
            Expected::List(items) if items.is_empty() => {
                "a list without a line of this transcript".to_owned()
            }
            Expected::List(items) => {
                let items = items.iter().map(|item| shorten(&self.names.describe(item)));
                format!("a list with\n    {}", items.collect::<Vec<_>>().join("\n    "))
            }
            Expected::Nothing => "nothing".to_owned(),
            Expected::Closed => "the end of the connection".to_owned(),
        }
    }

    fn describe_unread(&self) -> String {
        let mut text = String::new();
        for (name, connection) in &self.connections {
            for received in connection.inbox.iter().take(UNREAD_SHOWN) {
                write!(text, "\n  unread by {name} on {}: {}", kind_name(self.stage.kind), show(received))
                    .expect("a String takes everything");
            }
        }
        text
    }
}

fn all_lines(answer: &[Received]) -> Option<Vec<&[u8]>> {
    let lines = answer.iter().map(|received| match received {
        Received::Line(line) => Some(&line[..]),
        Received::Packet { .. } => None,
    });
    lines.collect()
}

fn show(received: &Received) -> String {
    match received {
        Received::Packet { command, body } => show_packet(*command, body),
        Received::Line(line) => format!("\"{}\"", shorten(line)),
    }
}

// As a transcript would write it: NULs between fields become `|`.
fn show_packet(command: Command, body: &[u8]) -> String {
    let fields = command.argc() + usize::from(command.has_data());
    let fields: Vec<String> = body.splitn(fields.max(1), |&byte| byte == 0).map(shorten).collect();
    format!("{} {}", command.name(), fields.join("|")).trim_end().to_owned()
}

fn shorten(bytes: &[u8]) -> String {
    const SHOWN: usize = 160;
    if bytes.len() <= SHOWN {
        return bytes.escape_ascii().to_string().replace("\\x00", "\\0");
    }
    format!("{}... ({} bytes in all)", bytes[..SHOWN].escape_ascii(), bytes.len())
}
