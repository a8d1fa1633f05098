//! The load generator, built like the server under test and beside it, and its relay.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::Process;

/// Its path, after building it.
pub fn loadgen() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(env!("CARGO_BIN_EXE_gearshard")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "-p", "gearshard-loadgen"]);
        cargo.arg("--target-dir").arg(directory.parent().unwrap());
        let profile = directory.file_name().unwrap().to_str().unwrap();
        cargo.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
        assert!(cargo.status().unwrap().success(), "the load generator does not build");
        directory.join("gearshard-loadgen")
    })
}

/// A relay on a free port of 127.0.0.1; killed when dropped.
#[derive(Debug)]
pub struct Relay {
    process: Process,
    address: SocketAddr,
}

impl Relay {
    /// Starts a relay and waits until it listens.
    pub fn start(args: &[&str]) -> Self {
        let mut command = Command::new(loadgen());
        command.args(["relay", "--listen=127.0.0.1:0"]).args(args);
        let mut process = Process::start(command, b"");
        process.wait_for_output("\n");
        let said = process.stdout();
        let address = said.trim().strip_prefix("Listening on ").and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("where does it listen? {said}"));
        Self { process, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
