//! `gearctl status`: the functions of the servers, or what they know of single jobs.

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::fleet::Servers;
use super::listing::{Listing, Row};
use super::pattern::chosen;
use super::table::{Heading, Side};
use super::text::shown;
use crate::client::admin::{AdminError, FunctionPriorities, FunctionStatus};
use crate::client::{ClientError, JobHandle, JobStatus};

/// Functions with their jobs and workers; or single jobs
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Functions to show, `*` for anything [default: all]
    #[arg(value_name = "FUNCTION")]
    functions: Vec<String>,

    /// Show waiting jobs by priority too
    #[arg(short, long)]
    priorities: bool,

    /// Show the job with this handle instead; may be repeated. Exit code 1 if a job is not known
    #[arg(long, value_name = "HANDLE", conflicts_with_all = ["functions", "priorities"])]
    handle: Vec<String>,

    /// Show the job with this unique instead; may be repeated
    #[arg(long, value_name = "UNIQUE", conflicts_with_all = ["functions", "priorities"])]
    unique: Vec<String>,

    #[command(flatten)]
    listing: Listing,
}

#[derive(Serialize)]
struct Function {
    function: String,
    total: u64,
    waiting: u64,
    running: u64,
    workers: u64,
}

impl Row for Function {
    const HEADINGS: &'static [Heading] = &[
        ("FUNCTION", Side::Left),
        ("WAITING", Side::Right),
        ("RUNNING", Side::Right),
        ("WORKERS", Side::Right),
    ];

    fn cells(&self) -> Vec<String> {
        let numbers = [self.waiting, self.running, self.workers];
        std::iter::once(self.function.clone()).chain(numbers.map(|number| number.to_string())).collect()
    }
}

#[derive(Serialize)]
struct Priorities {
    function: String,
    high: u64,
    normal: u64,
    low: u64,
    workers: u64,
}

impl Row for Priorities {
    const HEADINGS: &'static [Heading] = &[
        ("FUNCTION", Side::Left),
        ("HIGH", Side::Right),
        ("NORMAL", Side::Right),
        ("LOW", Side::Right),
        ("WORKERS", Side::Right),
    ];

    fn cells(&self) -> Vec<String> {
        let numbers = [self.high, self.normal, self.low, self.workers];
        std::iter::once(self.function.clone()).chain(numbers.map(|number| number.to_string())).collect()
    }
}

/// What the servers know of one job.
#[derive(Serialize)]
struct Job {
    job: String,
    known: bool,
    running: bool,
    numerator: u64,
    denominator: u64,
    /// How many clients wait; told of uniques only.
    clients: Option<u64>,
}

impl Job {
    fn new(job: &str, status: &JobStatus) -> Self {
        let JobStatus { known, running, numerator, denominator, clients, .. } = *status;
        Self { job: job.to_owned(), known, running, numerator, denominator, clients }
    }
}

impl Row for Job {
    const HEADINGS: &'static [Heading] =
        &[("JOB", Side::Left), ("STATE", Side::Left), ("PROGRESS", Side::Right), ("CLIENTS", Side::Right)];

    fn cells(&self) -> Vec<String> {
        let state = match (self.known, self.running) {
            (false, _) => "unknown",
            (true, false) => "waiting",
            (true, true) => "running",
        };
        let progress = match self.denominator {
            0 => "-".to_owned(),
            denominator => format!("{}/{denominator}", self.numerator),
        };
        let clients = self.clients.map_or_else(|| "-".to_owned(), |clients| clients.to_string());
        vec![shown(self.job.as_bytes()), state.to_owned(), progress, clients]
    }
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    if !options.handle.is_empty() || !options.unique.is_empty() {
        return jobs(options, servers);
    }
    if options.priorities {
        return options.listing.run(servers, |admin| {
            let mut rows = admin.prioritystatus()?;
            rows.retain(|row| chosen(&options.functions, &row.name));
            rows.sort_by(|one, other| one.name.cmp(&other.name));
            let row = |row: FunctionPriorities| Priorities {
                function: shown(&row.name),
                high: row.high,
                normal: row.normal,
                low: row.low,
                workers: row.workers,
            };
            Ok::<_, AdminError>(rows.into_iter().map(row).collect())
        });
    }
    options.listing.run(servers, |admin| {
        let mut rows = admin.status()?;
        rows.retain(|row| chosen(&options.functions, &row.name));
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        let row = |row: FunctionStatus| Function {
            function: shown(&row.name),
            total: row.total,
            waiting: row.waiting(),
            running: row.running,
            workers: row.workers,
        };
        Ok::<_, AdminError>(rows.into_iter().map(row).collect())
    })
}

/// Asks all servers for each job; whichever knows it answers.
fn jobs(options: &Options, servers: &Servers) -> Result<(), Failure> {
    let client = servers.client()?.build()?;
    let ask = || -> Result<Vec<Job>, ClientError> {
        let handle = |handle: &String| {
            let known = client.status(&JobHandle::from(handle.as_bytes()))?;
            Ok(Job::new(handle, &known))
        };
        let unique = |unique: &String| Ok(Job::new(unique, &client.status_by_unique(unique)?));
        options.handle.iter().map(handle).chain(options.unique.iter().map(unique)).collect()
    };
    options.listing.show(|| {
        let rows = ask()?;
        let unknown = rows.iter().filter(|row| !row.known).count();
        let failure = || Failure::Refused(format!("{unknown} of the jobs are not known to any server"));
        Ok((rows, (unknown > 0).then(failure).into_iter().collect()))
    })
}
