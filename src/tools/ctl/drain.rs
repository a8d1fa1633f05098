//! `gearctl drain`: waits until nothing is left to do.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::Args;

use super::bar;
use super::failure::Failure;
use super::fleet::{Fleet, Servers};
use super::pattern::chosen;
use super::text::duration;
use crate::client::Admin;
use crate::client::admin::AdminError;

/// Wait until no job waits or runs, on all servers
///
/// It only looks, and changes nothing. New jobs may come all the while: to have a gearshard refuse them, run
/// what is queued, and then end, send it SIGUSR2 (`gearctl version` shows its process id) and use
/// --until-gone. gearmand has no such signal: SIGUSR2 kills it, SIGUSR1 makes it stop listening and
/// end when no job is left. Jobs with a time that has not come count as waiting.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Wait for these functions only, `*` for anything
    #[arg(value_name = "FUNCTION")]
    functions: Vec<String>,

    /// Give up after this long, with exit code 4 [default: never]
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,

    /// How often to look
    #[arg(short, long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
    interval: Duration,

    /// Wait until the servers have ended, empty or not
    #[arg(long, conflicts_with = "functions")]
    until_gone: bool,

    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// What is left on all servers.
#[derive(Clone, Copy, Default)]
struct Left {
    waiting: u64,
    running: u64,
    /// Servers that answer.
    servers: usize,
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    let mut fleet = servers.fleet()?;
    let start = Instant::now();
    let bar = bar::waiting(options.quiet);
    // A server that was never there cannot go.
    fleet.ask(Admin::version).into_iter().try_for_each(|(_, answer)| answer.map(drop))?;
    let mut most = 0;
    loop {
        let left = look(&mut fleet, options)?;
        let jobs = left.waiting + left.running;
        most = jobs.max(most);
        bar.set_length(most);
        bar.set_position(most - jobs);
        bar.set_message(format!("{} wait, {} run", left.waiting, left.running));
        let done = if options.until_gone { left.servers == 0 } else { jobs == 0 };
        if done {
            bar.finish_and_clear();
            let word = if options.until_gone { "gone" } else { "empty" };
            return Ok(writeln!(io::stdout().lock(), "{word}")?);
        }
        let time = options.timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        if time == Some(Duration::ZERO) {
            bar.finish_and_clear();
            let Left { waiting, running, servers } = left;
            return Err(Failure::Late(format!(
                "not in time: {waiting} jobs wait and {running} run on {servers} servers; see `gearctl status`"
            )));
        }
        std::thread::sleep(time.map_or(options.interval, |time| time.min(options.interval)));
    }
}

fn look(fleet: &mut Fleet, options: &Options) -> Result<Left, Failure> {
    let mut left = Left::default();
    for (_, answer) in fleet.ask(Admin::status) {
        match answer {
            Ok(rows) => {
                left.servers += 1;
                for row in rows.iter().filter(|row| chosen(&options.functions, &row.name)) {
                    left.waiting += row.waiting();
                    left.running += row.running;
                }
            }
            // Between its last answer and its end a connection may be lost.
            Err(AdminError::Unreachable { .. } | AdminError::Lost { .. }) if options.until_gone => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(left)
}
