//! Runs a script: one invocation after the other, on a server of its own.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::same::Same;
use crate::support::process::{Finished, TempDir};
use crate::support::server::free_port;
use crate::support::{Kind, Peers, Process, Server, wait_until};

/// Whose tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Of Debian's gearman-tools.
    Debian,
    /// Of this package.
    Ours,
}

/// Which tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Gearman,
    Gearadmin,
}

/// What a tool is given on standard input.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input {
    Bytes(&'static [u8]),
    /// So many bytes of no particular order, ends of lines and NULs among them.
    Binary(usize),
}

impl Input {
    pub(crate) fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Binary(count) => {
                let mut random = fastrand::Rng::with_seed(4730);
                std::iter::repeat_with(|| random.u8(..)).take(count).collect()
            }
        }
    }
}

/// One invocation. In its arguments `SERVER` stands for the server's `-h` and `-p`, and
/// `{port}`, `{dead}` and `{dir}` for its port, a port nobody listens on, and an empty directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) tool: Tool,
    pub(crate) args: &'static [&'static str],
    pub(crate) input: Input,
    pub(crate) env: &'static [(&'static str, &'static str)],
}

/// A `gearman -w` that runs while the steps are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Helper {
    /// What it serves; all have to be there before the first step.
    pub(crate) functions: &'static [&'static str],
    /// What comes after `-w`, the server, and the functions.
    pub(crate) args: &'static [&'static str],
    /// It ends by itself, so that all it prints can be looked at.
    pub(crate) ends: bool,
}

/// What is run on one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) workers: &'static [Helper],
    pub(crate) steps: &'static [Step],
}

/// What an invocation left behind, without what need not be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) invocation: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Shown,
    pub(crate) stderr: Shown,
}

/// Bytes that are shown as text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Shown(pub(crate) Vec<u8>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.0[..self.0.len().min(2000)];
        write!(f, "{} bytes \"{}\"", self.0.len(), shown.escape_ascii())
    }
}

/// A tool of that side, under its usual name.
pub(crate) fn command(side: Side, tool: Tool) -> Command {
    let name = match tool {
        Tool::Gearman => "gearman",
        Tool::Gearadmin => "gearadmin",
    };
    let mut command = match side {
        Side::Debian => {
            let peers = Peers::require();
            peers.command(peers.path("usr/bin").join(name))
        }
        Side::Ours => Command::new(env!("CARGO_BIN_EXE_gearctl")),
    };
    command.arg0(name).env_remove("GEARMAN_SERVER").env_remove("GEARMAN_SERVERS");
    command
}

/// Where an invocation finds things.
pub(crate) struct Place<'a> {
    pub(crate) port: u16,
    pub(crate) dead: u16,
    pub(crate) dir: &'a Path,
}

impl Place<'_> {
    fn expand(&self, text: &str) -> String {
        let (port, dead) = (self.port.to_string(), self.dead.to_string());
        text.replace("{port}", &port).replace("{dead}", &dead).replace("{dir}", self.dir.to_str().unwrap())
    }

    pub(crate) fn add(&self, command: &mut Command, args: &[&str]) {
        for arg in args {
            match *arg {
                "SERVER" => command.args(["-h", "127.0.0.1", "-p"]).arg(self.port.to_string()),
                arg => command.arg(self.expand(arg)),
            };
        }
    }
}

/// Plays a script; what its steps, and its workers that end, left behind.
pub(crate) fn play(kind: Kind, tools: Side, workers: Side, script: &Script) -> Vec<Outcome> {
    // One thread: with several, the order of a list depends on which connections each of them has.
    let server = Server::start(kind, &["--threads=1"]);
    let dir = TempDir::new();
    let place = Place { port: server.port(), dead: free_port(), dir: dir.path() };
    let mut same = Same::new(&server, place.dead, dir.path());
    let mut running = Vec::new();
    for helper in script.workers {
        running.push(start(&server, &place, workers, helper));
    }
    let mut outcomes = Vec::new();
    for step in script.steps {
        let mut command = command(tools, step.tool);
        place.add(&mut command, step.args);
        for (name, value) in step.env {
            command.env(name, place.expand(value));
        }
        let finished = Process::run(command, &step.input.bytes());
        outcomes.push(outcome(format!("{:?} {:?}", step.tool, step.args), &finished, &mut same));
    }
    for (process, helper) in running.into_iter().zip(script.workers) {
        if helper.ends {
            let finished = process.finish();
            outcomes.push(outcome(format!("worker {:?}", helper.args), &finished, &mut same));
        }
    }
    outcomes
}

fn outcome(invocation: String, finished: &Finished, same: &mut Same) -> Outcome {
    Outcome {
        invocation,
        code: finished.status.code(),
        stdout: Shown(same.of(&finished.stdout)),
        stderr: Shown(same.of(finished.stderr.as_bytes())),
    }
}

/// Starts a worker and waits until the server knows it.
pub(crate) fn start(server: &Server, place: &Place<'_>, side: Side, helper: &Helper) -> Process {
    let before: Vec<u64> = helper.functions.iter().map(|function| server.counts(function).2).collect();
    let mut command = command(side, Tool::Gearman);
    place.add(&mut command, &["SERVER", "-w"]);
    for function in helper.functions {
        command.args(["-f", function]);
    }
    place.add(&mut command, helper.args);
    let process = Process::start(command, b"");
    wait_until("the worker serves", || {
        let counts = helper.functions.iter().map(|function| server.counts(function).2);
        counts.zip(&before).all(|(now, before)| now > *before)
    });
    process
}
