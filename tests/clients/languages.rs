//! How to start a client or a worker in each language.

use crate::support::{DEADLINE, Peers, Process, Server, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A client library, or the `gearman` tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// The `gearman` tool.
    Tool,
    /// libgearman.
    C,
    /// php-gearman.
    Php,
    /// `Gearman::Client` and `Gearman::Worker`.
    Perl,
    /// gear.
    Python,
}

impl Language {
    fn program(self) -> Command {
        let peers = Peers::require();
        match self {
            Self::Tool => peers.gearman(),
            Self::C => peers.command(c_program()),
            Self::Php => with_script(peers.php(), "php_gearman.php"),
            Self::Perl => with_script(peers.perl(), "perl_gearman.pl"),
            Self::Python => with_script(peers.python(), "python_gear.py"),
        }
    }

    /// The program in one of its modes. `servers` are `host:port`, with commas between.
    pub(crate) fn command(self, mode: &str, servers: &str, rest: &[&str]) -> Command {
        let mut command = self.program();
        command.arg(mode).arg(servers).args(rest);
        command
    }

    /// A client that has one foreground job done: standard input to standard output.
    pub(crate) fn client(self, server: &Server, function: &str) -> Command {
        if self != Self::Tool {
            return self.command("do", &server.address().to_string(), &[function]);
        }
        let mut command = tool(server);
        command.args(["-f", function]);
        command
    }

    /// Starts a worker, under the language's name, and waits until it serves `reverse`.
    pub(crate) fn worker(self, server: &Server) -> Process {
        let before = server.counts("reverse").2;
        let command = if self == Self::Tool {
            let mut command = tool(server);
            command.args(["-w", "-f", "reverse", "--", "/usr/bin/perl", "-e"]);
            command.arg("undef $/; binmode STDIN; binmode STDOUT; print scalar reverse <STDIN>");
            command
        } else {
            self.command("worker", &server.address().to_string(), &[self.name()])
        };
        let mut process = Process::start(command, b"");
        wait_until(&format!("a {self:?} worker serves"), || {
            let ended = process.exit_status();
            assert!(ended.is_none(), "the {self:?} worker ended: {ended:?}\n{}", process.stderr());
            server.counts("reverse").2 > before
        });
        process
    }

    /// Its name in `workers`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tool => "-",
            Self::C => "libgearman",
            Self::Php => "php",
            Self::Perl => "perl",
            Self::Python => "python",
        }
    }
}

/// The `gearman` tool, told where the server is.
pub(crate) fn tool(server: &Server) -> Command {
    let mut command = Peers::require().gearman();
    command.args(["-h", "127.0.0.1", "-p"]).arg(server.port().to_string());
    command
}

/// A file of this directory.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

fn with_script(mut command: Command, script: &str) -> Command {
    command.arg(source(script));
    command
}

// Compiled once for each run of the tests, against the unpacked library.
fn c_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let peers = Peers::require();
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libgearman");
        let fresh = program.with_extension(std::process::id().to_string());
        let mut compiler = Command::new("cc");
        compiler.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"]).arg(&fresh);
        compiler.arg(source("libgearman.c")).arg("-I").arg(peers.path("usr/include"));
        for directory in std::env::split_paths(&peers.library_path()) {
            compiler.arg("-L").arg(&directory).arg("-Wl,-rpath-link").arg(directory);
        }
        compiler.arg("-lgearman");
        let mut process = Process::start(compiler, b"");
        assert!(process.wait(DEADLINE).success(), "cc: {}", process.stderr());
        std::fs::rename(&fresh, &program).unwrap();
        program
    })
}
