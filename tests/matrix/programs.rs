//! How each client and worker is started.

use crate::languages::{Language, tool};
use crate::support::{DEADLINE, Process, Server, wait_until};
use std::path::PathBuf;
use std::process::Command;

/// Whose client or worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// This crate's that block; the test starts itself again as one.
    Blocking,
    /// This crate's for tokio.
    Tokio,
    Library(Language),
}

/// Once these have a worker more, all of a worker's connections are registered.
const LAST_FUNCTIONS: [&str; 2] = ["reverse", "forget"];

/// What a worker of the `gearman` tool runs for each function.
const TOOL_FUNCTIONS: [(&[&str], &str); 5] = [
    // Two functions of one process.
    (
        &["reverse", "backwards"],
        "perl -e 'undef $/; binmode STDIN; binmode STDOUT; print scalar reverse <STDIN>'",
    ),
    (&["fails"], "exit 1"),
    (&["record"], "cat >>recorded; echo >>recorded"),
    (&["touch"], ": >\"$(cat)\""),
    (&["until_file"], "file=$(cat); while [ ! -e \"$file\" ]; do sleep 0.05; done; printf done"),
];

impl Program {
    /// In the head of the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Blocking => "ours",
            Self::Tokio => "tokio",
            Self::Library(Language::C) => "C",
            Self::Library(Language::Tool) => "tool",
            Self::Library(Language::Php) => "PHP",
            Self::Library(Language::Perl) => "Perl",
            Self::Library(Language::Python) => "gear",
        }
    }

    /// The program in one of its modes; not for the `gearman` tool.
    pub(crate) fn command(self, mode: &str, server: &Server, rest: &[&str]) -> Command {
        let servers = server.address().to_string();
        match self {
            Self::Library(language) => language.command(mode, &servers, rest),
            Self::Blocking | Self::Tokio => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["--program", self.name(), mode, &servers]).args(rest);
                command
            }
        }
    }

    /// A client that has one foreground job done: standard input to standard output.
    pub(crate) fn one_job(self, server: &Server, function: &str) -> Command {
        match self {
            Self::Library(language) => language.client(server, function),
            Self::Blocking | Self::Tokio => self.command("do", server, &[function]),
        }
    }

    /// How many jobs are many for this worker.
    pub(crate) fn many_jobs(self) -> u32 {
        match self {
            // It starts three programs for each job.
            Self::Library(Language::Tool) => 40,
            // It leaves Nagle's algorithm on and does some 25 jobs a second.
            Self::Library(Language::Python) => 60,
            _ => 500,
        }
    }
}

/// A worker that runs.
pub(crate) struct Staff {
    /// One, but for the `gearman` tool, which has one for each function.
    processes: Vec<Process>,
}

impl Staff {
    /// Starts a worker under `id`, and waits until it is registered.
    pub(crate) fn hire(program: Program, server: &Server, id: &str) -> Self {
        if program == Program::Library(Language::Tool) {
            let start = |(functions, shell): (&[&str], &str)| {
                let mut command = tool(server);
                command.arg("-w").args(functions.iter().flat_map(|function| ["-f", function]));
                command.args(["--", "/bin/sh", "-c", shell]);
                start(command, server, &functions[functions.len() - 1..])
            };
            return Self { processes: TOOL_FUNCTIONS.map(start).into() };
        }
        Self { processes: vec![start(program.command("worker", server, &[id]), server, &LAST_FUNCTIONS)] }
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.processes.iter_mut().for_each(Process::kill);
    }

    /// Where the worker notes the order of its jobs.
    pub(crate) fn record(&self) -> PathBuf {
        let noting = if self.processes.len() == 1 { 0 } else { 2 };
        self.processes[noting].dir().join("recorded")
    }

    /// What it has to say, for a test that fails.
    pub(crate) fn words(&self) -> String {
        self.processes.iter().map(Process::stderr).collect()
    }
}

fn start(command: Command, server: &Server, last: &[&str]) -> Process {
    let workers = || last.iter().map(|function| server.counts(function).2);
    let before: Vec<u64> = workers().collect();
    let mut process = Process::start(command, b"");
    wait_until(&format!("a worker serves {last:?}"), || {
        let ended = process.exit_status();
        assert!(ended.is_none(), "the worker ended: {ended:?}\n{}", process.stderr());
        workers().zip(&before).all(|(count, before)| count > *before)
    });
    process
}

/// A program's end, for the test to judge.
pub(crate) fn finish(mut process: Process) -> Result<String, String> {
    let status = process.wait(DEADLINE);
    if status.success() {
        Ok(process.stdout())
    } else {
        Err(format!("{status}: {}", process.stderr().trim()))
    }
}
