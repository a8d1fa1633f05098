//! `gearctl cancel`: fails jobs.

use std::io::{self, BufRead, Write};

use clap::Args;

use super::failure::Failure;
use super::fleet::{Fleet, Servers};
use super::text::shown;
use crate::client::admin::AdminError;

/// Fail jobs: their clients hear so, and they do not run; a worker that has one already is not told
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Handles, as `gearctl jobs` and `gearctl submit --background` show them; `-` reads them from standard input, one a line
    #[arg(value_name = "HANDLE", required = true)]
    handles: Vec<String>,
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    let mut fleet = servers.fleet()?;
    let mut last = None;
    let mut one = |handle: &str| -> Result<(), Failure> {
        match cancel(&mut fleet, handle) {
            Ok(()) => writeln!(io::stdout().lock(), "cancelled {}", shown(handle.as_bytes()))?,
            Err(failure) => last = Some(failure.told()),
        }
        Ok(())
    };
    for handle in &options.handles {
        if handle == "-" {
            for line in io::stdin().lock().lines() {
                let line = line.map_err(|error| Failure::Usage(format!("cannot read handles: {error}")))?;
                one(line.trim())?;
            }
        } else {
            one(handle)?;
        }
    }
    last.map_or(Ok(()), Err)
}

/// Cancels the job on the server that has it.
fn cancel(fleet: &mut Fleet, handle: &str) -> Result<(), Failure> {
    let mut failure = None;
    for (_, answer) in fleet.ask(|admin| admin.cancel_job(handle)) {
        match answer {
            Ok(()) => return Ok(()),
            Err(AdminError::Refused { text, .. }) if text == "UNKNOWN_JOB" => {}
            Err(error) => failure = Some(Failure::from(error)),
        }
    }
    Err(failure.unwrap_or_else(|| {
        let handle = shown(handle.as_bytes());
        Failure::Refused(format!("no server has a job {handle}; it may have ended, see `gearctl jobs`"))
    }))
}
