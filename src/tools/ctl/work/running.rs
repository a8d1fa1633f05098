//! A command that runs: its pipes, its end, and ending it.
//!
//! A thread for each pipe, so that a command that reads late, or writes before
//! it has read, never stands still.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How much of the output is read at a time.
const READ_BYTES: usize = 64 << 10;
/// A line on standard error that is longer is cut in parts.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// How many events may wait.
const EVENTS: usize = 16;

/// What a command does.
pub(super) enum Event {
    /// It wrote to standard output.
    Output(Vec<u8>),
    /// It wrote a line to standard error; its end is included.
    Error(Vec<u8>),
}

enum Heard {
    Event(Event),
    /// One of its pipes is closed.
    Closed,
    Exited(ExitStatus),
}

/// A command that has been started, in a process group of its own.
pub(super) struct Running {
    group: Pid,
    heard: Receiver<Heard>,
    open: usize,
    status: Option<ExitStatus>,
    /// When it is killed if it has not ended.
    overdue: Option<Instant>,
}

impl Running {
    /// Starts the command, and feeds it `input`.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn start(command: &mut Command, input: Vec<u8>) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let group = Pid::from_child(&child);
        let (send, heard) = sync_channel(EVENTS);
        if let Some(mut pipe) = child.stdin.take() {
            // A command need not read its input, or all of it.
            thread::spawn(move || drop(pipe.write_all(&input)));
        }
        let mut open = 0;
        if let Some(pipe) = child.stdout.take() {
            let send = send.clone();
            thread::spawn(move || output(pipe, &send));
            open += 1;
        }
        if let Some(pipe) = child.stderr.take() {
            let send = send.clone();
            thread::spawn(move || errors(pipe, &send));
            open += 1;
        }
        thread::spawn(move || exit(child, &send));
        Ok(Self { group, heard, open, status: None, overdue: None })
    }

    /// Whether it has ended and closed its output.
    pub(super) const fn is_over(&self) -> bool {
        self.open == 0 && self.status.is_some()
    }

    /// What it does next, if it does something in time.
    pub(super) fn next(&mut self, patience: Duration) -> Option<Event> {
        match self.heard.recv_timeout(patience) {
            Ok(Heard::Event(event)) => return Some(event),
            Ok(Heard::Closed) => self.open -= 1,
            Ok(Heard::Exited(status)) => self.status = Some(status),
            Err(RecvTimeoutError::Timeout) => {}
            // All threads have ended, and one did not get to say so.
            Err(RecvTimeoutError::Disconnected) => {
                self.open = 0;
                self.status = self.status.or(Some(ExitStatus::from_raw(1 << 8)));
            }
        }
        None
    }

    /// Tells it to end within `grace`.
    pub(super) fn end(&mut self, grace: Duration) {
        self.signal(Signal::TERM);
        self.overdue = Instant::now().checked_add(grace);
    }

    /// Kills it if it should have ended.
    pub(super) fn kill_when_overdue(&mut self) {
        if self.overdue.is_some_and(|overdue| Instant::now() >= overdue) {
            self.signal(Signal::KILL);
        }
    }

    fn signal(&self, signal: Signal) {
        // The group may have ended by itself.
        let _ = kill_process_group(self.group, signal);
    }

    /// How it ended.
    pub(super) fn status(&self) -> ExitStatus {
        self.status.unwrap_or_default()
    }
}

// Whoever hears of it has gone only when the worker has: then nobody minds.
fn output(mut pipe: impl Read, send: &SyncSender<Heard>) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if send.send(Heard::Event(Event::Output(buffer[..count].to_vec()))).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = send.send(Heard::Closed);
}

fn errors(pipe: impl Read, send: &SyncSender<Heard>) {
    let mut reader = BufReader::new(pipe);
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) if send.send(Heard::Event(Event::Error(line))).is_err() => return,
            Ok(_) => {}
        }
    }
    let _ = send.send(Heard::Closed);
}

fn exit(mut child: Child, send: &SyncSender<Heard>) {
    // It fails only for a child that somebody else has waited for.
    let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(1 << 8));
    let _ = send.send(Heard::Exited(status));
}
