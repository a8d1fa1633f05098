//! The command of a job: started, fed, listened to, and what its end means.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::running::{Event, Running};
use super::{Errors, Options};
use crate::client::conversation::PACKET_BYTES_MAX;
use crate::client::{Function, JobError, JobResult, WorkerJob};
use crate::tools::ctl::failure::tell;
use crate::tools::ctl::text::shown;

/// The exit code of a job that is to be tried again (EX_TEMPFAIL of sysexits.h).
const TRY_AGAIN: i32 = 75;
/// The longest result that is gathered, in bytes: what fits into a packet with a handle.
const RESULT_BYTES_MAX: usize = PACKET_BYTES_MAX as usize - 1024;
/// How much of the end of standard error an exception holds, in bytes.
const TAIL_BYTES: usize = 4096;
/// How often a command that runs is looked at though it says nothing.
const TICK: Duration = Duration::from_millis(100);

/// Runs the command for each job.
pub(super) struct Runner {
    words: Vec<OsString>,
    timeout: Option<Duration>,
    grace: Duration,
    retry_pause: Duration,
    stream: bool,
    errors: Errors,
    status_lines: bool,
    exceptions: bool,
    verbose: bool,
    /// What runs is to end now.
    ending: Arc<AtomicBool>,
}

/// Why a command was ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Time,
    Size,
    Told,
    /// Nobody hears of the job any more.
    Lost,
}

impl Runner {
    pub(super) fn new(options: &Options) -> Self {
        let words = match &options.shell {
            Some(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
            None => options.command.clone(),
        };
        Self {
            words,
            timeout: options.timeout,
            grace: options.grace,
            retry_pause: options.retry_pause,
            stream: options.stream,
            errors: options.stderr,
            status_lines: options.status_lines,
            exceptions: !options.no_exceptions,
            verbose: options.verbose,
            ending: Arc::default(),
        }
    }

    pub(super) fn program(&self) -> &OsStr {
        self.words.first().map_or(OsStr::new(""), |word| word)
    }

    /// Set when what runs is to end at once.
    pub(super) fn ending(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ending)
    }

    fn command(&self, job: &WorkerJob<'_>) -> Command {
        let mut command = Command::new(self.program());
        command
            .args(&self.words[1..])
            .env("GEARMAN_FUNCTION", OsStr::from_bytes(job.function()))
            .env("GEARMAN_HANDLE", OsStr::from_bytes(job.handle().as_bytes()))
            .env("GEARMAN_UNIQUE", OsStr::from_bytes(job.unique()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is the worker's to deal with; and what the command starts ends with it.
            .process_group(0);
        command
    }

    /// Listens to the command until it has ended and closed its output.
    fn listen(&self, job: &mut WorkerJob<'_>, running: &mut Running) -> (Vec<u8>, Tail, Option<Cut>) {
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (mut result, mut tail, mut cut) = (Vec::new(), Tail::default(), None);
        while !running.is_over() {
            let reported = match running.next(TICK) {
                Some(Event::Output(part)) if self.stream && cut.is_none() => job.data(part),
                Some(Event::Output(part)) => {
                    if cut.is_none() {
                        result.extend_from_slice(&part);
                    }
                    Ok(())
                }
                Some(Event::Error(line)) => self.error_line(job, &line, &mut tail, cut),
                None => Ok(()),
            };
            if cut.is_some() {
                running.kill_when_overdue();
                continue;
            }
            cut = if reported.is_err() {
                Some(Cut::Lost)
            } else if self.ending.load(SeqCst) {
                Some(Cut::Told)
            } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                Some(Cut::Time)
            } else {
                (result.len() > RESULT_BYTES_MAX).then_some(Cut::Size)
            };
            if cut.is_some() {
                running.end(self.grace);
            }
        }
        (result, tail, cut)
    }

    fn error_line(
        &self,
        job: &mut WorkerJob<'_>,
        line: &[u8],
        tail: &mut Tail,
        cut: Option<Cut>,
    ) -> Result<(), JobError> {
        if let Some((numerator, denominator)) = progress(line).filter(|_| self.status_lines) {
            return if cut.is_none() { job.progress(numerator, denominator) } else { Ok(()) };
        }
        tail.add(line);
        match self.errors {
            Errors::Warn if cut.is_none() => return job.warning(line),
            // As it came: nobody may be there to read it.
            Errors::Pass => drop(std::io::stderr().lock().write_all(line)),
            _ => {}
        }
        Ok(())
    }

    /// How a job ends whose command has ended by itself, or was cut.
    fn verdict(&self, status: ExitStatus, result: Vec<u8>, tail: &Tail, cut: Option<Cut>) -> JobResult {
        let why = match (cut, status.code(), status.signal()) {
            (Some(Cut::Lost), ..) => return Err(JobError::Lost),
            (Some(Cut::Told), ..) => return Err(JobError::Retry),
            (Some(Cut::Time), ..) => format!("not done within {:?}", self.timeout.unwrap_or_default()),
            (Some(Cut::Size), ..) => format!("the output has more than {RESULT_BYTES_MAX} bytes"),
            (None, Some(0), _) => return Ok(result),
            (None, Some(TRY_AGAIN), _) => return Err(JobError::Retry),
            (None, Some(code), _) => format!("exit code {code}"),
            (None, None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
        };
        Err(self.failure(&why, tail))
    }

    fn failure(&self, why: &str, tail: &Tail) -> JobError {
        if !self.exceptions {
            return JobError::Failed;
        }
        let text = tail.0.trim_ascii_end();
        let between: &[u8] = if text.is_empty() { b"" } else { b": " };
        JobError::exception([why.as_bytes(), between, text].concat())
    }

    fn run_command(&self, job: &mut WorkerJob<'_>) -> JobResult {
        let mut command = self.command(job);
        let mut running = match Running::start(&mut command, job.take_workload()) {
            Ok(running) => running,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                return Err(self.failure(&format!("cannot start the command: {error}"), &Tail::default()));
            }
            Err(error) => {
                tell(&format!("cannot start the command: {error}; the job goes back to the server"));
                return Err(JobError::Retry);
            }
        };
        let (result, tail, cut) = self.listen(job, &mut running);
        self.verdict(running.status(), result, &tail, cut)
    }

    /// Lets other workers have a job that this one is about to give back.
    fn pause(&self, job: &WorkerJob<'_>) {
        let start = Instant::now();
        while start.elapsed() < self.retry_pause && !job.is_stopping() && !self.ending.load(SeqCst) {
            std::thread::sleep(TICK.min(self.retry_pause));
        }
    }
}

impl Function for Arc<Runner> {
    fn run(&self, job: &mut WorkerJob<'_>) -> JobResult {
        let start = Instant::now();
        let done = self.run_command(job);
        if self.verbose {
            let end = match &done {
                Ok(_) => "done".to_owned(),
                Err(JobError::Failed) => "failed".to_owned(),
                Err(JobError::Exception(why)) => format!("failed, {}", shown(why)),
                Err(JobError::Retry) => "goes back".to_owned(),
                Err(_) => "lost".to_owned(),
            };
            let (handle, function) = (job.handle(), shown(job.function()));
            tell(&format!("{handle} {function}: {end}, {:.3} s", start.elapsed().as_secs_f64()));
        }
        if matches!(done, Err(JobError::Retry)) {
            self.pause(job);
        }
        done
    }
}

/// The end of what a command wrote to standard error.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn add(&mut self, line: &[u8]) {
        self.0.extend_from_slice(line);
        let over = self.0.len().saturating_sub(TAIL_BYTES);
        self.0.drain(..over);
    }
}

/// Reads `3/10`.
fn progress(line: &[u8]) -> Option<(u32, u32)> {
    let (numerator, denominator) = std::str::from_utf8(line).ok()?.trim().split_once('/')?;
    Some((numerator.trim().parse().ok()?, denominator.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_two_numbers_and_nothing_else() {
        assert_eq!(progress(b"3/10\n"), Some((3, 10)));
        assert_eq!(progress(b" 3 / 10\n"), Some((3, 10)));
        for other in [&b"3"[..], b"a/b", b"3/10 files", b"1/2/3", b"-1/2", b"\xff/1"] {
            assert_eq!(progress(other), None);
        }
    }

    #[test]
    fn the_end_of_standard_error_is_kept() {
        let mut tail = Tail::default();
        (0..10_000).for_each(|number| tail.add(format!("{number}\n").as_bytes()));
        assert_eq!(tail.0.len(), TAIL_BYTES);
        assert!(tail.0.ends_with(b"9998\n9999\n"));
    }
}
