//! `gearctl work`: a worker that runs a command for each job.

mod command;
mod running;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::failure::{Failure, tell};
use super::fleet::Servers;
use super::interrupt::Interrupts;
use super::text::{duration, shown};
use crate::client::{Stopper, Worker};
use command::Runner;

/// What the help says about a command's exit code.
const MEANINGS: &str = "\
What the command's exit decides:
  0            the job is complete; standard output is its result
  75           (EX_TEMPFAIL) the job goes back to the server, which gives it to a worker again; with the
               server's --job-retries that counts as an attempt. So do jobs whose command cannot be started
               for want of processes or memory, and those that a second signal or a lost server ends
  other codes  the job fails for good, with an exception: the exit code and the end of standard error;
               so does a command that is killed by a signal, is not done in time, or prints too much
A job is done when the command has ended and its output is closed, by it and all that it started.
The command's environment has GEARMAN_FUNCTION, GEARMAN_HANDLE and GEARMAN_UNIQUE.

The first SIGINT (Ctrl-C), SIGTERM or SIGHUP makes the worker take no more jobs and end with code 0 when those
that run are done; the second ends them: they go back to the server.";

const USAGE: &str = "gearctl work [OPTIONS] <FUNCTION>... -- <COMMAND> [ARGUMENT]...
       gearctl work [OPTIONS] <FUNCTION>... --shell <LINE>";

/// Run a command for each job: the workload is its input, its output the result
#[derive(Args, Debug)]
#[command(after_help = MEANINGS, override_usage = USAGE)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["command", "shell"]))]
pub(super) struct Options {
    /// The functions to serve
    #[arg(value_name = "FUNCTION", required = true)]
    functions: Vec<String>,

    /// The command, and its arguments
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<OsString>,

    /// Have /bin/sh run this line, which may be a pipeline, instead of a command
    #[arg(long, value_name = "LINE")]
    shell: Option<OsString>,

    /// How many jobs run at a time; each server gets as many connections
    #[arg(short = 'j', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    parallel: u32,

    /// End after so many jobs
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    jobs: Option<u64>,

    /// Fail a job whose command takes longer: it gets SIGTERM, and after the grace SIGKILL [default: never]
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,

    /// How long a command that is to end may take for it
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    grace: Duration,

    /// How long to wait before a job goes back to the server
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    retry_pause: Duration,

    /// Send output as it comes, in parts, instead of as a whole at the end
    #[arg(long)]
    stream: bool,

    /// What becomes of the command's standard error
    #[arg(long, value_enum, default_value_t = Errors::Pass)]
    stderr: Errors,

    /// Lines such as 3/10 on the command's standard error tell how far the job has got
    #[arg(long)]
    status_lines: bool,

    /// Fail without an exception
    #[arg(long)]
    no_exceptions: bool,

    /// What the worker is called in `gearctl workers` [default: gearctl-PID]
    #[arg(long, value_name = "NAME")]
    id: Option<String>,

    /// Say how each job ends
    #[arg(short, long)]
    verbose: bool,

    /// Say nothing of servers that come and go
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Errors {
    /// It goes to gearctl's standard error
    Pass,
    /// Its lines are sent to the client as warnings
    Warn,
    /// It is thrown away
    Drop,
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    let runner = Arc::new(Runner::new(options));
    check(runner.program())?;
    let interrupts = Interrupts::new()?;
    let id = options.id.clone().unwrap_or_else(|| format!("gearctl-{}", std::process::id()));
    let quiet = options.quiet;
    let mut builder = Worker::builder(servers.addresses()?)
        .id(id)
        .concurrency(options.parallel as usize)
        .connect_timeout(servers.answer_timeout)
        .on_notice(move |notice| {
            if !quiet {
                tell(&shown(notice.to_string().as_bytes()));
            }
        });
    if let Some(jobs) = options.jobs {
        builder = builder.jobs_max(jobs);
    }
    let ending = runner.ending();
    for name in &options.functions {
        builder = builder.serve(name.as_bytes(), None, Arc::clone(&runner));
    }
    let worker = builder.start()?;
    let stopper = worker.stopper();
    std::thread::spawn(move || end_when_told(&interrupts, &stopper, &ending, quiet));
    worker.join();
    Ok(())
}

/// The first time gracefully, the second time at once.
fn end_when_told(interrupts: &Interrupts, stopper: &Stopper, ending: &AtomicBool, quiet: bool) {
    interrupts.wait();
    if !quiet {
        tell("taking no more jobs; once more ends those that run");
    }
    stopper.stop();
    interrupts.wait();
    ending.store(true, SeqCst);
}

/// Tells of a command that is not there before a job finds out.
fn check(program: &OsStr) -> Result<(), Failure> {
    let is_file = |path: &Path| path.is_file();
    let path = Path::new(program);
    let found = if path.components().count() > 1 {
        is_file(path)
    } else {
        let directories = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&directories).any(|directory| is_file(&directory.join(path)))
    };
    if found {
        return Ok(());
    }
    Err(Failure::Usage(format!("there is no command {}; for a pipeline use --shell", path.display())))
}
