//! System calls of a server, counted by strace in a run of their own.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::abort::Abort;
use crate::engine::stop;
use crate::server::child::{Directory, LOOK_INTERVAL, Running};

const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);

/// Counts the calls of all threads of a process until it is told to stop.
pub(super) struct Strace(Running);

impl Strace {
    pub(super) fn attach(pid: u32) -> Result<Self, Abort> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o", "counts", "-p", &pid.to_string()]);
        let mut strace = Running::start(command, Directory::new()?, &[])?;
        let started = Instant::now();
        while !strace.read("stderr")?.contains("attached") {
            stop::check()?;
            if strace.ended()?.is_some() || started.elapsed() > ATTACH_TIMEOUT {
                return Err(Abort(format!("strace cannot count system calls:{}", strace.last_lines())));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(Self(strace))
    }

    /// All calls since it was attached.
    pub(super) fn finish(mut self) -> Result<u64, Abort> {
        self.0.end(Signal::SIGINT)?;
        total(&self.0.read("counts")?)
            .ok_or_else(|| Abort(format!("strace counted nothing:{}", self.0.last_lines())))
    }
}

/// `% time | seconds | usecs/call | calls | errors, if any | "total"`
fn total(counts: &str) -> Option<u64> {
    let line = counts.lines().rev().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_total_is_found_with_and_without_errors() {
        let head = "% time     seconds  usecs/call     calls    errors syscall\n";
        for foot in ["100.00    0.048117           4     10467      2031 total", "100.00 0.04 4 10467 total"]
        {
            assert_eq!(super::total(&format!("{head}{foot}\n")), Some(10467));
        }
        assert_eq!(super::total(head), None);
    }
}
