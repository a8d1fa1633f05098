//! `gearman_top`: the queues of one or several servers, refreshed.
//!
//! Flags and table are those of mod_gearman's tool. When nobody looks (`-b`, or standard
//! output is no terminal) it prints the table once, or every `-i` seconds.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossterm::event::{self, KeyCode, KeyEvent, KeyModifiers};

use super::getopt::Found;
use super::queues::{Queues, address, bad_option, options, queues};
use crate::client::{PORT, ServerAddress};
use crate::tools::ctl::interrupt::Interrupts;
use crate::tools::ctl::text::shown;
use crate::tools::ctl::top::screen::Screen;
use crate::tools::ctl::top::view::Line;

/// As for `getopt`.
const LETTERS: &str = "qvVhH:s:i:b";
/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often the screen is refreshed, unless told otherwise.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the keys and the signals are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// The narrowest column of names, and what the other columns take.
const NAME_WIDTH: usize = 12;
const OTHERS_WIDTH: usize = 51;
#[derive(Debug)]
struct Options {
    servers: Vec<ServerAddress>,
    interval: Option<Duration>,
    /// Without queues that have nothing, and nobody.
    quiet: bool,
    batch: bool,
}

/// Runs `gearman_top`; the first argument is its name.
pub(super) fn main(args: Vec<OsString>) -> ExitCode {
    let options = match read(args) {
        Ok(options) => options,
        Err(text) => {
            // Nobody may be there to read.
            let _ = writeln!(io::stdout().lock(), "{text}");
            return ExitCode::SUCCESS;
        }
    };
    let done = if options.batch || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        batch(&options)
    } else {
        screen(&options)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // As with `gearman_top -b | head -1`: the reader has had enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "gearman_top: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read(args: Vec<OsString>) -> Result<Options, String> {
    let mut read = Options { servers: Vec::new(), interval: None, quiet: false, batch: false };
    let (name, found) = options(LETTERS, args);
    for option in found {
        match option {
            Found::Flag(b'V') => {
                return Err(
                    concat!("gearman_top: version ", env!("CARGO_PKG_VERSION"), " of gearshard").into()
                );
            }
            Found::Flag(b'q') => read.quiet = true,
            Found::Flag(b'b') => read.batch = true,
            // There is nothing more to tell.
            Found::Flag(b'v') => {}
            Found::Flag(_) => return Err(USAGE.to_owned()),
            Found::Value(b'i', value) => {
                let seconds: f64 = String::from_utf8_lossy(&value).trim().parse().unwrap_or(0.0);
                let interval = Duration::try_from_secs_f64(seconds).ok();
                read.interval = interval.filter(|interval| !interval.is_zero());
            }
            Found::Value(_, value) => {
                read.servers.push(address(&value).map_err(|error| format!("Error - {error}\n\n{USAGE}"))?);
            }
            Found::Unknown(letter) => {
                bad_option(&name, letter, "invalid option");
                return Err(USAGE.to_owned());
            }
            Found::Missing(letter) => {
                bad_option(&name, letter, "option requires an argument");
                return Err(USAGE.to_owned());
            }
        }
    }
    if read.servers.is_empty() {
        read.servers.push(ServerAddress::Tcp { host: "localhost".to_owned(), port: PORT });
    }
    Ok(read)
}

fn batch(options: &Options) -> io::Result<()> {
    loop {
        let mut output = io::stdout().lock();
        output.write_all(tables(options).as_bytes())?;
        output.flush()?;
        drop(output);
        match options.interval {
            Some(interval) => std::thread::sleep(interval),
            None => return Ok(()),
        }
    }
}

fn screen(options: &Options) -> io::Result<()> {
    let interrupts = Interrupts::new()?;
    let mut screen = Screen::open()?;
    let interval = options.interval.unwrap_or(INTERVAL);
    loop {
        let text = tables(options);
        let (width, height) = Screen::size()?;
        let lines = text.lines().chain(std::iter::repeat("")).take(height);
        screen.draw(&lines.map(|line| Line::plain(line, width)).collect::<Vec<_>>())?;
        if ended(interval, &interrupts)? {
            return Ok(());
        }
    }
}

/// Waits for so long, or for a key; whether it is time to leave.
fn ended(interval: Duration, interrupts: &Interrupts) -> io::Result<bool> {
    let start = Instant::now();
    while let Some(left) = interval.checked_sub(start.elapsed()) {
        if interrupts.within(Duration::ZERO) {
            return Ok(true);
        }
        if !event::poll(left.min(LOOK))? {
            continue;
        }
        let key = event::read()?.as_key_press_event();
        let is_control = |key: KeyEvent| key.modifiers.contains(KeyModifiers::CONTROL);
        return Ok(match key {
            Some(key) if is_control(key) => key.code == KeyCode::Char('c'),
            Some(key) => matches!(key.code, KeyCode::Char('q' | 'Q')),
            None => false,
        });
    }
    Ok(interrupts.within(Duration::ZERO))
}

fn tables(options: &Options) -> String {
    let mut text = String::new();
    for server in &options.servers {
        let found = queues(server, TIMEOUT);
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        text.push_str(&table(options, &now, server, &found));
    }
    text
}

fn table(options: &Options, now: &str, server: &ServerAddress, found: &Result<Queues, String>) -> String {
    let mut text = format!("{now}  -  {server}");
    let mut line =
        |words: std::fmt::Arguments<'_>| writeln!(text, "{words}").expect("a string takes everything");
    let found = match found {
        Ok(found) => found,
        Err(words) => {
            line(format_args!("\n\n {words}"));
            return text;
        }
    };
    let rows: Vec<_> = found
        .queues
        .iter()
        .filter(|queue| !options.quiet || queue.workers > 0 || queue.total > 0)
        .map(|queue| (shown(&queue.name), queue))
        .collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).fold(NAME_WIDTH, usize::max);
    let rule = "-".repeat(width + OTHERS_WIDTH);
    line(format_args!("  -  v{}\n", found.version));
    line(format_args!(" {:width$} | Worker Available | Jobs Waiting | Jobs Running", "Queue Name"));
    line(format_args!("{rule}"));
    for (name, queue) in &rows {
        let (waiting, running, workers) = (queue.waiting(), queue.running, queue.workers);
        line(format_args!(" {name:width$} |{workers:>16}  |{waiting:>12}  |{running:>12} "));
    }
    if rows.is_empty() {
        line(format_args!("{}no queues found", " ".repeat(width + 25)));
    }
    line(format_args!("{rule}"));
    text
}

const USAGE: &str = "\
usage: gearman_top [options]

  -H HOST[:PORT]  a job server; several may be given   [localhost:4730]
  -i SECONDS      refresh so often                     [1]
  -q              leave out queues with no job and no worker
  -b              batch: print once, with -i again and again
  -V              the version
  -h              this text

On the screen, q or Ctrl-C ends it.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::admin::FunctionStatus;

    #[test]
    fn a_table_has_a_line_for_each_queue() {
        let queue = |name: &str, total, running, workers| FunctionStatus {
            name: name.into(),
            total,
            running,
            workers,
        };
        let queues = vec![queue("a", 5, 2, 3), queue("a\x1b name", 0, 0, 0)];
        let found = Ok(Queues { queues, version: "1.2".to_owned() });
        let server = "localhost".parse().unwrap();
        let mut options = read(Vec::new()).unwrap();
        let expected = "\
NOW  -  localhost:4730  -  v1.2

 Queue Name   | Worker Available | Jobs Waiting | Jobs Running
---------------------------------------------------------------
 a            |               3  |           3  |           2 
 a\\u{1b} name |               0  |           0  |           0 
---------------------------------------------------------------
";
        assert_eq!(table(&options, "NOW", &server, &found), expected);
        options.quiet = true;
        assert_eq!(table(&options, "NOW", &server, &found).lines().count(), 6);
        let away = table(&options, "NOW", &server, &Err("away".to_owned()));
        assert_eq!(away, "NOW  -  localhost:4730\n\n away\n");
    }
}
