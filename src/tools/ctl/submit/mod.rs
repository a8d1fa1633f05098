//! `gearctl submit`: submits jobs, and shows what comes of them.

mod input;
mod report;
mod time;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};

use super::failure::Failure;
use super::fleet::Servers;
use super::text::duration;
use crate::client::{Batch, ClientError, Job, Mode, OnLoss, Priority, Spread};
use input::{Input, Next};
use report::Report;

/// How often the input is looked at while results are waited for.
const LOOK: Duration = Duration::from_millis(20);

/// Submit jobs, and show their results
///
/// One job's result is written as it comes, byte for byte. Results of many end with a line feed each, in
/// the order in which they come. Warnings, errors and progress go to standard error. For background jobs
/// the handles are printed. If jobs end differently, the exit code is the first of 3, 1, 4, 0 that one of them has.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The function
    function: String,

    /// The workload [default: standard input]
    #[arg(conflicts_with = "file")]
    payload: Option<String>,

    /// Take the workload from a file, `-` for standard input; each file is a job
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,

    /// Make a job of every line
    #[arg(short, long)]
    lines: bool,

    /// Submit every job so many times
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    copies: u64,

    /// Which waiting jobs go first
    #[arg(short, long, value_enum, default_value_t = Level::Normal)]
    priority: Level,

    /// While a job with this unique waits or runs, join it instead of running another
    #[arg(short, long, value_name = "UNIQUE")]
    unique: Option<String>,

    /// Join a job with the same workload instead of running another
    #[arg(long, conflicts_with = "unique")]
    unique_by_workload: bool,

    /// Do not wait for results; print the jobs' handles
    #[arg(short, long)]
    background: bool,

    /// Run in the background, not before this: 18:00, '2026-12-24 18:00', 2026-12-24T18:00:00Z, @SECONDS
    #[arg(long, value_name = "TIME", value_parser = time::time, conflicts_with = "within")]
    at: Option<SystemTime>,

    /// Run in the background, not before this much has passed: 30s, 1h30m
    #[arg(long = "in", id = "within", value_name = "TIME", value_parser = duration)]
    within: Option<Duration>,

    /// Have the job split, and its parts run by this function
    #[arg(long, value_name = "FUNCTION")]
    reducer: Option<String>,

    /// How many jobs may be in flight
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,

    /// Write results in the order of the input; those that wait for their turn count as in flight
    #[arg(short, long)]
    keep_order: bool,

    /// Give a job up after this long, with exit code 4 [default: never]
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,

    /// With several servers, let the unique decide which one gets a job
    #[arg(long)]
    by_unique: bool,

    /// Report a job whose server is lost; otherwise it is submitted again, and may run twice
    #[arg(long)]
    no_resubmit: bool,

    /// Print a line of JSON for each job that ends
    #[arg(long, conflicts_with = "keep_order")]
    json: bool,

    /// Show progress as lines on standard error too, not only as a bar on a terminal
    #[arg(long)]
    progress: bool,

    /// Show no progress and no warnings
    #[arg(short, long, conflicts_with = "progress")]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    High,
    Normal,
    Low,
}

impl Options {
    fn mode(&self) -> Mode {
        let background = self.background || self.at.is_some() || self.within.is_some();
        if background { Mode::Background } else { Mode::Foreground }
    }

    fn job(&self, workload: Vec<u8>) -> Job {
        let priority = match self.priority {
            Level::High => Priority::High,
            Level::Normal => Priority::Normal,
            Level::Low => Priority::Low,
        };
        let mut job = Job::new(self.function.as_bytes(), workload).priority(priority);
        if let Some(unique) = &self.unique {
            job = job.unique(unique.as_bytes());
        }
        if self.unique_by_workload {
            job = job.unique_by_workload();
        }
        if let Some(time) = self.at {
            job = job.at(time);
        }
        if let Some(delay) = self.within {
            job = job.after(delay);
        }
        match &self.reducer {
            Some(reducer) => job.reducer(reducer.as_bytes()),
            None => job,
        }
    }
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    // What no packet can carry is told before anything is read or submitted.
    options.job(Vec::new()).command(options.mode())?;
    let spread = if options.by_unique { Spread::ByUnique } else { Spread::FirstThatAnswers };
    let mut client = servers.client()?.spread(spread).job_timeout(options.timeout);
    if options.no_resubmit {
        client = client.on_loss(OnLoss::Report);
    }
    let client = client.build()?;
    client.reach()?;
    let mut input = Input::new(options);
    let mut report = Report::new(options, input.length);
    let mut batch = client.batch();
    let submitted = submit_all(options, &mut input, &mut batch, &mut report);
    // Whatever stopped the submitting, what is in flight still has results.
    while !batch.is_empty() {
        next(&mut batch, &mut report, None)?;
    }
    let ended = report.end();
    submitted.and(ended)
}

/// Submits as long as there is input, and reports what ends meanwhile.
fn submit_all(
    options: &Options,
    input: &mut Input,
    batch: &mut Batch,
    report: &mut Report,
) -> Result<(), Failure> {
    loop {
        let mut waits = false;
        while batch.len() + report.held() < options.in_flight as usize {
            let next = if batch.is_empty() {
                report.flush()?;
                input.wait()?
            } else {
                input.next()?
            };
            match next {
                Next::Workload(workload) => submit(options, batch, workload)?,
                Next::NotYet => {
                    waits = true;
                    break;
                }
                Next::End => return Ok(()),
            }
        }
        // A line that comes while the jobs before it run is not to wait for their ends.
        next(batch, report, waits.then_some(LOOK))?;
    }
}

/// Reports the next update, if one comes in time.
fn next(batch: &mut Batch, report: &mut Report, patience: Option<Duration>) -> Result<(), Failure> {
    let mut found = batch.next_within(Duration::ZERO);
    if let Some(None) = found {
        // What is known is seen while more is waited for.
        report.flush()?;
        found = match patience {
            Some(patience) => batch.next_within(patience),
            None => batch.next_update().map(Some),
        };
    }
    match found.flatten() {
        Some((number, update)) => report.update(number, update),
        None => Ok(()),
    }
}

fn submit(options: &Options, batch: &mut Batch, workload: Vec<u8>) -> Result<(), ClientError> {
    let job = options.job(workload);
    match options.mode() {
        Mode::Foreground => batch.submit(job)?,
        Mode::Background => batch.submit_background(job)?,
    };
    Ok(())
}
