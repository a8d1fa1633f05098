//! A memcached server of its own for each test, from `target/peers`.

use super::process::Process;
use super::server::{free_port, is_root};
use super::{Peers, wait_until};

/// A memcached server on a free port of 127.0.0.1; killed when dropped.
#[derive(Debug)]
pub struct Memcached {
    port: u16,
    process: Process,
}

impl Memcached {
    /// Starts one.
    pub fn start() -> Self {
        let port = free_port();
        Self { port, process: start(port) }
    }

    /// Starts it again on the same port; it has forgotten everything.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = start(self.port);
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What a server is told to keep its jobs here.
    pub fn server_args(&self) -> [String; 2] {
        ["--queue-type=libmemcached".to_owned(), format!("--libmemcached-servers={}", self.address())]
    }
}

fn start(port: u16) -> Process {
    let peers = Peers::require();
    let mut command = peers.command(peers.path("usr/bin/memcached"));
    // Items of more than 1 MiB have to be allowed.
    command.args(["-l", "127.0.0.1", "-U", "0", "-I", "8m", "-p", &port.to_string()]);
    if is_root() {
        command.args(["-u", "root"]);
    }
    let mut process = Process::start(command, b"");
    wait_until("memcached answers", || {
        assert!(process.exit_status().is_none(), "memcached has ended:\n{}", process.stderr());
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    process
}
