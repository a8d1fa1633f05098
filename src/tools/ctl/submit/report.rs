//! What came of the jobs: results, warnings, progress, and how it ends.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use indicatif::ProgressBar;
use serde::Serialize;

use super::Options;
use crate::client::{ClientError, JobHandle, Mode, Update};
use crate::tools::ctl::bar;
use crate::tools::ctl::failure::{Failure, tell};
use crate::tools::ctl::text::shown;

/// How many failures of many jobs are told one by one.
const TOLD_MAX: u64 = 20;

/// What has been heard of one job.
#[derive(Default)]
struct Heard {
    handle: Option<JobHandle>,
    /// Parts of the result that are not written as they come.
    gathered: Vec<u8>,
}

pub(super) struct Report {
    mode: Mode,
    /// There is one job only, whose result is written as it comes.
    single: bool,
    json: bool,
    keep_order: bool,
    lines: bool,
    quiet: bool,
    out: BufWriter<Stdout>,
    is_screen: bool,
    bar: ProgressBar,
    heard: BTreeMap<u64, Heard>,
    /// Results that wait for those before them; `None` for a job without one.
    held: BTreeMap<u64, Option<Vec<u8>>>,
    next_in_order: u64,
    ended: u64,
    failed: u64,
    gravest: Option<Failure>,
}

/// A job that has ended, as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    job: u64,
    handle: Option<String>,
    outcome: &'static str,
    /// The result, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    /// The result, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Report {
    pub(super) fn new(options: &Options, length: Option<u64>) -> Self {
        let single = length == Some(1);
        let bar = match length {
            Some(length) => {
                // One job has a bar once it says how far it has got.
                let bar = bar::waiting(options.quiet || single && !io::stderr().is_terminal());
                bar.set_length(length);
                bar
            }
            None => bar::counting(options.quiet),
        };
        Self {
            mode: options.mode(),
            single,
            json: options.json,
            keep_order: options.keep_order,
            lines: options.progress,
            quiet: options.quiet,
            out: BufWriter::new(io::stdout()),
            is_screen: io::stdout().is_terminal(),
            bar,
            heard: BTreeMap::new(),
            held: BTreeMap::new(),
            next_in_order: 0,
            ended: 0,
            failed: 0,
            gravest: None,
        }
    }

    /// How many results wait for those before them.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Shows what has been heard of a job.
    pub(super) fn update(&mut self, number: u64, update: Result<Update, ClientError>) -> Result<(), Failure> {
        let heard = self.heard.entry(number).or_default();
        match update {
            Ok(Update::Created(handle)) => {
                heard.handle = Some(handle);
                if self.mode == Mode::Background {
                    return self.taken(number);
                }
            }
            Ok(Update::Data(data)) if self.single && !self.json => {
                self.write(&data)?;
                self.flush()?;
            }
            Ok(Update::Data(data)) => heard.gathered.extend_from_slice(&data),
            Ok(Update::Warning(text)) => self.warn(number, &text),
            Ok(Update::Progress { numerator, denominator }) => self.progress(number, numerator, denominator),
            Ok(Update::Restarted) => {
                heard.gathered.clear();
                if self.single && !self.json {
                    self.say("the server was lost; the job runs again, and its output begins anew");
                }
            }
            Ok(Update::Complete(last)) => {
                let mut heard = self.heard.remove(&number).unwrap_or_default();
                heard.gathered.extend_from_slice(&last);
                return self.complete(number, &heard);
            }
            Err(error) => {
                let heard = self.heard.remove(&number).unwrap_or_default();
                return self.failed(number, &heard, error);
            }
        }
        Ok(())
    }

    /// A background job is on its server.
    fn taken(&mut self, number: u64) -> Result<(), Failure> {
        let heard = self.heard.remove(&number).unwrap_or_default();
        let handle = heard.handle.map(|handle| shown(handle.as_bytes()));
        if self.json {
            let line =
                Line { job: number, handle, outcome: "queued", result: None, result_hex: None, error: None };
            self.json_line(&line)?;
        } else {
            let handle = handle.unwrap_or_default() + "\n";
            self.in_order(number, Some(handle.into_bytes()))?;
        }
        self.one_more();
        Ok(())
    }

    fn complete(&mut self, number: u64, heard: &Heard) -> Result<(), Failure> {
        if self.json {
            let text = std::str::from_utf8(&heard.gathered).ok();
            let hex = || heard.gathered.iter().map(|byte| format!("{byte:02x}")).collect();
            self.json_line(&Line {
                job: number,
                handle: heard.handle.as_ref().map(|handle| shown(handle.as_bytes())),
                outcome: "complete",
                result: text,
                result_hex: text.is_none().then(hex),
                error: None,
            })?;
        } else {
            let mut result = heard.gathered.clone();
            if !self.single && !result.ends_with(b"\n") {
                result.push(b'\n');
            }
            self.in_order(number, Some(result))?;
        }
        self.one_more();
        Ok(())
    }

    fn failed(&mut self, number: u64, heard: &Heard, error: ClientError) -> Result<(), Failure> {
        self.failed += 1;
        let text = shown(error.to_string().as_bytes());
        let outcome = match error {
            ClientError::Failed => "failed",
            ClientError::Exception(_) => "exception",
            ClientError::Timeout { .. } => "timeout",
            ClientError::Refused { .. } => "refused",
            _ => "lost",
        };
        if self.json {
            self.json_line(&Line {
                job: number,
                handle: heard.handle.as_ref().map(|handle| shown(handle.as_bytes())),
                outcome,
                result: None,
                result_hex: None,
                error: Some(text),
            })?;
        } else if self.single {
            self.say(&text);
        } else if self.failed <= TOLD_MAX {
            self.say(&format!("job {number}: {text}"));
        }
        self.in_order(number, None)?;
        let failure = Failure::from(error);
        let graver = |known: &Failure| failure.gravity() > known.gravity();
        if self.gravest.as_ref().is_none_or(graver) {
            self.gravest = Some(failure);
        }
        self.one_more();
        Ok(())
    }

    /// Writes a result, now or once those before it are written.
    fn in_order(&mut self, number: u64, result: Option<Vec<u8>>) -> Result<(), Failure> {
        if !self.keep_order {
            return self.write(&result.unwrap_or_default());
        }
        self.held.insert(number, result);
        while let Some(result) = self.held.remove(&self.next_in_order) {
            self.next_in_order += 1;
            self.write(&result.unwrap_or_default())?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.is_empty() {
            return Ok(());
        }
        let out = &mut self.out;
        // Bar and output would share the screen.
        let written = if self.is_screen {
            self.bar.suspend(|| out.write_all(bytes).and_then(|()| out.flush()))
        } else {
            out.write_all(bytes)
        };
        Ok(written?)
    }

    fn json_line(&mut self, line: &Line<'_>) -> Result<(), Failure> {
        let text = serde_json::to_string(line)
            .map_err(|error| Failure::Refused(format!("cannot write JSON: {error}")))?;
        self.write((text + "\n").as_bytes())
    }

    /// Results are seen while others are waited for.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }

    fn one_more(&mut self) {
        self.ended += 1;
        if !self.single {
            self.bar.set_position(self.ended);
            if self.failed > 0 {
                self.bar.set_message(format!("{} failed", self.failed));
            }
        }
    }

    fn warn(&self, number: u64, text: &[u8]) {
        if self.quiet {
            return;
        }
        for line in text.trim_ascii_end().split(|&byte| byte == b'\n') {
            let line = shown(line);
            self.say(&if self.single {
                format!("warning: {line}")
            } else {
                format!("warning of job {number}: {line}")
            });
        }
    }

    fn progress(&self, number: u64, numerator: u64, denominator: u64) {
        if self.single {
            self.bar.set_length(denominator);
            self.bar.set_position(numerator);
        }
        if self.lines {
            let of = if self.single { String::new() } else { format!("job {number}: ") };
            self.say(&format!("{of}{numerator} of {denominator}"));
        }
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| tell(text));
    }

    /// How it all ended.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        self.flush()?;
        let Some(failure) = self.gravest else { return Ok(()) };
        if !self.single {
            tell(&format!("{} of {} jobs failed", self.failed, self.ended));
        }
        Err(Failure::Told(Box::new(failure)))
    }
}
