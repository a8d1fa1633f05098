//! A Redis server of its own for each test, from `target/peers`.

use std::path::Path;
use std::process::Command;

use super::process::{Process, TempDir};
use super::server::free_port;
use super::{Peers, wait_until};

/// A Redis server on a free port of 127.0.0.1 that syncs before it answers; killed when dropped.
#[derive(Debug)]
pub struct Redis {
    dir: TempDir,
    port: u16,
    args: Vec<String>,
    process: Option<Process>,
}

impl Redis {
    /// Starts one; `args` may change its settings.
    pub fn start(args: &[&str]) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let mut redis = Self { dir: TempDir::new(), port: free_port(), args, process: None };
        redis.restart();
        redis
    }

    /// Starts it again on the same port, with the data that is there.
    pub fn restart(&mut self) {
        let peers = Peers::require();
        let mut command = peers.command(peers.path("usr/bin/redis-server"));
        command.current_dir(self.dir.path()).args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]).args(&self.args);
        self.process = Some(Process::start(command, b""));
        wait_until("Redis answers", || {
            let answer = Process::run(self.command(&["ping"]), b"").text();
            let process = self.process.as_mut().expect("it was started just above");
            assert!(process.exit_status().is_none(), "Redis has ended:\n{}", process.stdout());
            answer.contains("PONG")
        });
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its data is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What `redis-cli` prints for a command, without the last line feed.
    pub fn cli(&self, args: &[&str]) -> String {
        let done = Process::run(self.command(args), b"").success();
        done.text().trim_end_matches('\n').to_owned()
    }

    /// Every key, in order.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.cli(&["keys", "*"]).lines().map(str::to_owned).collect();
        keys.retain(|key| !key.is_empty());
        keys.sort();
        keys
    }

    fn command(&self, args: &[&str]) -> Command {
        let peers = Peers::require();
        let mut command = peers.command(peers.path("usr/bin/redis-cli"));
        command.args(["-p", &self.port.to_string()]);
        if let Some(password) = self.args.iter().skip_while(|arg| *arg != "--requirepass").nth(1) {
            command.args(["--no-auth-warning", "-a", password]);
        }
        command.args(args);
        command
    }

    /// What a server is told to keep its jobs here.
    pub fn server_args(&self) -> [String; 2] {
        ["--queue-type=redis".to_owned(), format!("--redis-port={}", self.port)]
    }
}
