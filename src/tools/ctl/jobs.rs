//! `gearctl jobs`: the jobs that servers have.

use clap::Args;
use serde::Serialize;

use super::failure::{Failure, tell};
use super::fleet::Servers;
use super::listing::{Listing, Row};
use super::table::{Heading, Side};
use super::text::shown;
use crate::client::admin::{AdminError, QueuedJob};
use crate::client::{Client, JobHandle, JobStatus};

/// Jobs that wait or run: handles, or uniques
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Show the uniques of the jobs, all that the protocol tells of them
    #[arg(short, long, conflicts_with = "states")]
    uniques: bool,

    /// Ask for each job whether it runs, and how far it has got
    #[arg(long)]
    states: bool,

    /// Show this many at the most
    #[arg(short = 'n', long, value_name = "JOBS")]
    limit: Option<usize>,

    #[command(flatten)]
    listing: Listing,
}

#[derive(Serialize)]
struct Job {
    handle: String,
    background: bool,
    /// Cancelled, or left by its client, but still with a worker.
    dead: bool,
    retries: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<[u64; 2]>,
}

impl Job {
    fn new(job: &QueuedJob, status: Option<JobStatus>) -> Self {
        Self {
            handle: shown(&job.handle),
            background: job.is_background,
            dead: job.is_dead,
            retries: job.retries,
            running: status.map(|status| status.running),
            progress: status.map(|status| [status.numerator, status.denominator]),
        }
    }
}

impl Row for Job {
    const HEADINGS: &'static [Heading] = &[
        ("HANDLE", Side::Left),
        ("KIND", Side::Left),
        ("STATE", Side::Left),
        ("PROGRESS", Side::Right),
        ("RETRIES", Side::Right),
    ];

    fn cells(&self) -> Vec<String> {
        let kind = if self.background { "background" } else { "foreground" };
        let state = match (self.dead, self.running) {
            (true, _) => "dead",
            (false, Some(true)) => "running",
            (false, Some(false)) => "waiting",
            (false, None) => "-",
        };
        let progress = match self.progress {
            None | Some([_, 0]) => "-".to_owned(),
            Some([numerator, denominator]) => format!("{numerator}/{denominator}"),
        };
        vec![self.handle.clone(), kind.to_owned(), state.to_owned(), progress, self.retries.to_string()]
    }
}

#[derive(Serialize)]
struct Unique {
    unique: String,
}

impl Row for Unique {
    const HEADINGS: &'static [Heading] = &[("UNIQUE", Side::Left)];

    fn cells(&self) -> Vec<String> {
        vec![self.unique.clone()]
    }
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    if options.uniques {
        return options.listing.run(servers, |admin| {
            let mut uniques = admin.show_unique_jobs()?;
            options.cut(&mut uniques);
            Ok::<_, AdminError>(uniques.iter().map(|unique| Unique { unique: shown(unique) }).collect())
        });
    }
    options.listing.run(servers, |admin| {
        let mut jobs = admin.show_jobs()?;
        options.cut(&mut jobs);
        if !options.states {
            return Ok(jobs.iter().map(|job| Job::new(job, None)).collect());
        }
        let client: Client = servers.client_of(admin.server())?;
        let mut rows = Vec::new();
        for job in &jobs {
            let status = client.status(&JobHandle::from(&*job.handle))?;
            // What is not known any more has ended since.
            rows.extend(status.known.then(|| Job::new(job, Some(status))));
        }
        Ok::<_, Failure>(rows)
    })
}

impl Options {
    fn cut<T>(&self, rows: &mut Vec<T>) {
        let limit = self.limit.unwrap_or(usize::MAX);
        if rows.len() > limit {
            tell(&format!("{limit} of {} jobs are shown", rows.len()));
            rows.truncate(limit);
        }
    }
}
