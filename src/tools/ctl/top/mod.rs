//! `gearctl top`: the functions of the servers, live.

mod board;
mod keys;
pub(in crate::tools) mod screen;
pub(in crate::tools) mod view;

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::failure::Failure;
use super::fleet::Servers;
use super::interrupt::Interrupts;
use super::table::table;
use super::text::duration;
use crate::client::Admin;
use crate::client::admin::AdminError;
use board::{Answer, Board, Sample};
use keys::Next;
use screen::Screen;
use view::{Column, View};

/// How often the keys are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How many samples may wait.
const SAMPLES: usize = 64;

/// What the help says about the columns.
const COLUMNS: &str = "\
Columns:
  WAITING   jobs without a worker, those included whose time has not come
  RUNNING   jobs with a worker
  WORKERS   workers that are connected, busy or not
  IN/s      jobs that come in a second
  DONE/s    jobs that end in a second, one way or the other
  OLDEST    how long the oldest job has waited that could run at once
gearshard tells all of them. Other servers tell no more than how many jobs there are, so that the last three are
bounds: >5 for at least 5, known from the growing or shrinking of the queue; <20s for at most 20 seconds, since the
queue was seen empty; - where nothing is known.

Keys:
  q, Esc, Ctrl-C  end                       i         hide functions without jobs, or show them
  ←→, 1 to 8      sort by another column    m         add up servers, or tell them apart
  r               turn the order round      p, space  pause
  ↑↓, PageUp...   scroll";

/// Watch functions: waiting, running, workers, rates and the oldest job, in a table that keys sort
///
/// Where standard output is no terminal, and with --batch, it prints the table as text.
#[derive(Args, Debug)]
#[command(after_help = COLUMNS)]
pub(super) struct Options {
    /// Functions to show, `*` for anything [default: all]
    #[arg(value_name = "FUNCTION")]
    functions: Vec<String>,

    /// How often to ask the servers
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,

    /// The column to sort by at first
    #[arg(long, value_enum, default_value_t = Column::Waiting)]
    sort: Column,

    /// Hide functions without jobs
    #[arg(short = 'q', long)]
    hide_idle: bool,

    /// Add up a function's numbers over all servers
    #[arg(short, long)]
    merge: bool,

    /// Print the table as text, even on a terminal
    #[arg(short, long)]
    batch: bool,

    /// How many tables to print in a batch; 0 is until interrupted. The first one comes after one interval
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    rounds: u64,

    /// Print a line of JSON each time instead of a table; implies --batch
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    duration(text).map(|interval| interval.max(Duration::from_millis(10)))
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    let admins = servers.fleet()?.admins;
    let board = Board::new(admins.iter().map(|admin| admin.server().to_string()).collect());
    let samples = sample_all(admins, options.interval);
    let view = View::new(options);
    let interrupts = Interrupts::new()?;
    if options.batch || options.json || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return print(options, board, &view, &samples, &interrupts);
    }
    watch(board, view, &samples, &interrupts)
}

/// Asks every server again and again, each in a thread of its own so that none waits for another.
fn sample_all(admins: Vec<Admin>, interval: Duration) -> Receiver<Sample> {
    let (send, samples) = sync_channel(SAMPLES);
    for (server, admin) in admins.into_iter().enumerate() {
        let send = send.clone();
        thread::spawn(move || sample(server, admin, interval, &send));
    }
    samples
}

fn sample(server: usize, mut admin: Admin, interval: Duration, send: &SyncSender<Sample>) {
    // Not of every server; it may be another one once it has been away.
    let mut tells_activity = true;
    loop {
        let asked = Instant::now();
        let answer = ask(&mut admin, &mut tells_activity);
        tells_activity |= answer.is_err();
        if send.send(Sample { server, at: Instant::now(), answer }).is_err() {
            return;
        }
        thread::sleep(interval.saturating_sub(asked.elapsed()));
    }
}

fn ask(admin: &mut Admin, tells_activity: &mut bool) -> Result<Answer, AdminError> {
    let functions = admin.status()?;
    let activity = match *tells_activity {
        true => admin.show_functions(),
        false => return Ok(Answer { functions, activity: None }),
    };
    match activity {
        Ok(rows) => Ok(Answer { functions, activity: Some(rows) }),
        Err(AdminError::Refused { .. }) => {
            *tells_activity = false;
            Ok(Answer { functions, activity: None })
        }
        Err(error) => Err(error),
    }
}

/// Shows the board on the terminal until a key or a signal ends it.
fn watch(
    mut board: Board,
    mut view: View,
    samples: &Receiver<Sample>,
    interrupts: &Interrupts,
) -> Result<(), Failure> {
    let mut screen = Screen::open()?;
    let mut changed = true;
    loop {
        if changed {
            let (width, height) = Screen::size()?;
            let rows = board.rows(&view);
            screen.draw(&view.lines(&board, &rows, width, height))?;
        }
        changed = match keys::next(LOOK, &mut view)? {
            Next::End => return Ok(()),
            Next::Changed => true,
            Next::Nothing => false,
        };
        if interrupts.within(Duration::ZERO) {
            return Ok(());
        }
        for sample in samples.try_iter() {
            if !view.is_paused {
                board.add(sample);
                changed = true;
            }
        }
    }
}

/// Prints the board as text.
fn print(
    options: &Options,
    mut board: Board,
    view: &View,
    samples: &Receiver<Sample>,
    interrupts: &Interrupts,
) -> Result<(), Failure> {
    let mut printed = 0;
    loop {
        // Changes are between two samples.
        if interrupts.within(options.interval) {
            return Ok(());
        }
        while !board.is_asked() {
            match samples.recv() {
                Ok(sample) => board.add(sample),
                // Those who ask run as long as this does.
                Err(_) => return Ok(()),
            }
        }
        samples.try_iter().for_each(|sample| board.add(sample));
        let rows = board.rows(view);
        let mut out = io::stdout().lock();
        if options.json {
            let text = serde_json::to_string(&rows)
                .map_err(|error| Failure::Refused(format!("cannot write JSON: {error}")))?;
            writeln!(out, "{text}")?;
        } else {
            let columns = view.all_columns(&board);
            let headings: Vec<_> = columns.iter().map(|column| column.heading()).collect();
            let cells = rows.iter().map(|row| columns.iter().map(|column| column.cell(row)).collect());
            let between = if printed > 0 { "\n" } else { "" };
            write!(out, "{between}{}", table(&headings, &cells.collect::<Vec<_>>()))?;
        }
        out.flush()?;
        printed += 1;
        let told = board.away().map(|error| Failure::from(error.clone()).told()).last();
        if printed == options.rounds {
            return told.map_or(Ok(()), Err);
        }
    }
}
