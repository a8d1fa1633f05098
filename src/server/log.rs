//! The log: levels, the sink that the floors above write to, and the writer
//! behind it.
//!
//! A line has gearmand's shape, so that what reads its logs reads ours:
//!
//! ```text
//!    INFO 2026-11-21 10:09:41.161074 [  main ] Listening on 127.0.0.1:4730
//! ```
//!
//! Each line is formatted by the thread that has something to say and handed to
//! the system in one piece. Nothing here decides what is worth a line, and
//! nothing here ends the server: what cannot be written is counted, and the
//! count is written when writing works again.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use super::syslog::Syslog;
use crate::config::{LogTarget, LogTo};

/// How serious a line is, under gearmand's names; the first is the gravest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The server cannot go on.
    Fatal,
    /// Someone has to act at once.
    Alert,
    /// Part of the server does not work.
    Critical,
    /// An operation failed.
    Error,
    /// Something is wrong, and the server copes.
    Warning,
    /// Normal, but worth knowing.
    Notice,
    /// The course of things: connections, listeners.
    Info,
    /// For finding faults, in peers above all.
    Debug,
}

impl Level {
    /// Every level, the gravest first.
    pub const ALL: [Self; 8] = [
        Self::Fatal,
        Self::Alert,
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Info,
        Self::Debug,
    ];

    /// The name that `--verbose` takes, and the `verbose` command answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL",
            Self::Alert => "ALERT",
            Self::Critical => "CRITICAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    /// The level of that name, which is in capital letters as in gearmand.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// Where log lines go. The sink drops lines of levels that are off before it
/// formats them.
pub type Log = Arc<dyn Fn(Level, fmt::Arguments<'_>) + Send + Sync>;

/// Writes log lines; shared by every thread.
#[derive(Clone)]
pub struct LogWriter(Arc<Shared>);

struct Shared {
    level: Level,
    zone: TimeZone,
    /// The log file, as it was named.
    path: Option<PathBuf>,
    output: Mutex<Output>,
    syslog: Option<Syslog>,
    warnings_shown: AtomicBool,
}

struct Output {
    target: Target,
    /// Lines that could not be written since the last that was.
    lost: u64,
}

enum Target {
    Stderr,
    None,
    File(File),
}

impl LogWriter {
    /// Opens what `to` names. A file that cannot be opened is told to `program`'s
    /// standard error, which takes its place, as in gearmand.
    #[must_use]
    pub fn open(to: &LogTo, program: &str) -> Self {
        let (target, path) = match &to.target {
            LogTarget::Stderr => (Target::Stderr, None),
            LogTarget::None => (Target::None, None),
            LogTarget::File(path) => match open_file(path) {
                Ok(file) => (Target::File(file), Some(path.clone())),
                Err(error) => {
                    tell_stderr(&switching(path, &error, program));
                    (Target::Stderr, None)
                }
            },
        };
        Self(Arc::new(Shared {
            level: to.level,
            zone: TimeZone::system(),
            path,
            output: Mutex::new(Output { target, lost: 0 }),
            syslog: to.syslog.then(Syslog::new),
            warnings_shown: AtomicBool::new(false),
        }))
    }

    /// The sink for everybody who has something to say.
    #[must_use]
    pub fn sink(&self) -> Log {
        let shared = Arc::clone(&self.0);
        Arc::new(move |level, message| shared.write(level, message))
    }

    /// Whether lines appear on standard error.
    #[must_use]
    pub fn is_stderr(&self) -> bool {
        matches!(self.0.output.lock().target, Target::Stderr)
    }

    /// Whether lines of `level` are written at all.
    #[must_use]
    pub fn shows(&self, level: Level) -> bool {
        level <= self.0.level
            && (self.0.syslog.is_some() || !matches!(self.0.output.lock().target, Target::None))
    }

    /// Whether a person at standard error sees warnings, whatever the level is.
    pub fn show_warnings(&self, shown: bool) {
        self.0.warnings_shown.store(shown, Ordering::Relaxed);
    }

    /// Says so in the log file, then opens it by its name again, as after a
    /// rotation. Without a file there is nothing to do.
    pub fn reopen(&self) {
        let Some(path) = &self.0.path else { return };
        self.0.write(Level::Notice, format_args!("SIGHUP, reopening log file"));
        match open_file(path) {
            Ok(file) => self.0.output.lock().target = Target::File(file),
            Err(error) => {
                let path = path.display();
                self.0.write(Level::Error, format_args!("{path} stays open as it was: {error}"));
            }
        }
    }
}

impl Shared {
    fn write(&self, level: Level, message: fmt::Arguments<'_>) {
        if self.warnings_shown.load(Ordering::Relaxed) && level <= Level::Warning {
            tell_stderr(&message.to_string());
        }
        if level > self.level {
            return;
        }
        let mut text = message.to_string();
        if text.contains(char::is_control) {
            text = one_line(&text);
        }
        if let Some(syslog) = &self.syslog {
            syslog.send(level, &text, &self.zone);
        }
        let line = self.line(level, &text);
        let mut output = self.output.lock();
        if output.lost > 0 {
            let notice = self.line(Level::Error, &format!("{} lines could not be written", output.lost));
            if output.target.write(&notice).is_ok() {
                output.lost = 0;
            }
        }
        if output.target.write(&line).is_err() {
            output.lost += 1;
        }
    }

    fn line(&self, level: Level, text: &str) -> String {
        let now = Timestamp::now().to_zoned(self.zone.clone());
        let time = now.strftime("%Y-%m-%d %H:%M:%S%.6f");
        let thread = std::thread::current();
        format!("{:>7} {time} [ {:>5} ] {text}\n", level.name(), tag(thread.name().unwrap_or("")))
    }
}

impl Target {
    fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().lock().write_all(line.as_bytes()),
            Self::None => Ok(()),
            Self::File(file) => file.write_all(line.as_bytes()),
        }
    }
}

/// What a thread is called in a line: its number, or the start of its name.
fn tag(name: &str) -> &str {
    let number = &name[name.trim_end_matches(|c: char| c.is_ascii_digit()).len()..];
    if number.is_empty() { name.get(..5).unwrap_or(name) } else { number }
}

/// The same text without line breaks and other control characters: what a peer
/// sends must not look like a line of its own.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() {
            // Writing to a string cannot fail.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn switching(path: &Path, error: &io::Error, program: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let (path, here, reason) = (path.display(), here.display(), reason(error));
    format!("{program}: Could not open log file \"{path}\", from \"{here}\", switching to stderr. ({reason})")
}

/// Writes a line to standard error. There is nobody left to tell when that fails.
pub fn tell_stderr(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// What went wrong, without the number that `io::Error` puts behind it.
pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(path: &Path, level: Level) -> LogWriter {
        LogWriter::open(&LogTo { target: LogTarget::File(path.into()), level, syslog: false }, "gearshard")
    }

    #[test]
    fn levels_are_found_by_their_exact_name() {
        for level in Level::ALL {
            assert_eq!(Level::from_name(level.name()), Some(level));
        }
        assert_eq!(Level::from_name("info"), None);
        assert!(Level::Fatal < Level::Debug);
    }

    #[test]
    fn threads_are_tagged_as_gearmand_tags_them() {
        for (name, shown) in
            [("main", "main"), ("shard 12", "12"), ("", ""), ("signals", "signa"), ("7", "7")]
        {
            assert_eq!(tag(name), shown);
        }
    }

    #[test]
    fn lines_have_gearmands_shape_and_stay_whole() {
        let path = std::env::temp_dir().join(format!("gearshard-log-{}", std::process::id()));
        let writer = writer(&path, Level::Info);
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let log = writer.sink();
                let thread = std::thread::Builder::new().name(format!("shard {number}"));
                thread
                    .spawn(move || {
                        (0..500).for_each(|n| log(Level::Info, format_args!("line {n} of {number}")))
                    })
                    .unwrap()
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        writer.sink()(Level::Debug, format_args!("not shown"));
        writer.sink()(Level::Error, format_args!("a\nb\tc"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.lines().count(), 2001);
        assert!(text.ends_with("] a\\nb\\tc\n"), "{text}");
        for line in text.lines() {
            let (level, rest) = line.split_at(7);
            assert!(["   INFO", "  ERROR"].contains(&level), "{line}");
            let (time, rest) = rest.split_at(28);
            assert_eq!(time.chars().filter(char::is_ascii_digit).count(), 20, "{line}");
            assert!(rest.starts_with("[ ") && rest[7..].starts_with(" ] "), "{line}");
        }
        for number in 0..4 {
            let tag = format!("[     {number} ] line ");
            assert_eq!(text.lines().filter(|line| line.contains(&tag)).count(), 500);
        }
    }

    #[test]
    fn a_rotated_file_is_left_and_a_new_one_begun() {
        let path = std::env::temp_dir().join(format!("gearshard-reopen-{}", std::process::id()));
        let rotated = path.with_extension("1");
        let writer = writer(&path, Level::Notice);
        writer.sink()(Level::Notice, format_args!("before"));
        std::fs::rename(&path, &rotated).unwrap();
        writer.reopen();
        writer.sink()(Level::Notice, format_args!("after"));
        let (old, new) =
            (std::fs::read_to_string(&rotated).unwrap(), std::fs::read_to_string(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&rotated).unwrap();
        assert!(old.contains("before") && old.contains("SIGHUP, reopening log file"), "{old}");
        assert!(new.contains("after") && !new.contains("SIGHUP"), "{new}");
    }
}
