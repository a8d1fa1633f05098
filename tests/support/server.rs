//! A Gearman server of its own for each test, ours or Debian's.

use super::process::{Process, TempDir};
use super::{Connection, DEADLINE, Peers};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The binary of this package.
    Gearshard,
    /// Debian's gearmand 1.1.20.
    Gearmand,
}

/// A server on a free port of 127.0.0.1; killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    kind: Kind,
    port: u16,
}

impl Server {
    /// Starts the server of this package.
    pub fn gearshard(args: &[&str]) -> Self {
        Self::start(Kind::Gearshard, args)
    }

    /// Starts Debian's gearmand.
    pub fn gearmand(args: &[&str]) -> Self {
        Self::start(Kind::Gearmand, args)
    }

    /// Starts a server and waits until it answers.
    ///
    /// Port, log file, pid file and (unless `args` name one) the address to
    /// listen on are added to `args`. The environment is empty, as under a
    /// supervisor; relative paths are inside [`Server::dir`].
    pub fn start(kind: Kind, args: &[&str]) -> Self {
        Self::start_in(kind, args, TempDir::new)
    }

    /// As [`Server::start`]; `dir` prepares the working directory.
    pub fn start_in(kind: Kind, args: &[&str], dir: impl Fn() -> TempDir) -> Self {
        let start = Instant::now();
        loop {
            let port = free_port();
            // Between finding a port and binding it somebody else may take it: then another one.
            match Self::try_start(kind, args, port, dir()) {
                Ok(server) => return server,
                Err(output) => {
                    assert!(start.elapsed() < DEADLINE / 4, "{kind:?} {args:?} does not start:\n{output}");
                }
            }
        }
    }

    /// Starts a server on a given port, for tests that restart one.
    pub fn start_on(kind: Kind, args: &[&str], port: u16) -> Self {
        Self::try_start(kind, args, port, TempDir::new())
            .unwrap_or_else(|output| panic!("{kind:?} {args:?} does not start on port {port}:\n{output}"))
    }

    /// Starts the server of this package by a program that becomes it; what
    /// the server says if it ends.
    pub fn gearshard_under(mut program: Command, args: &[&str]) -> Result<Self, String> {
        let port = free_port();
        let server = Self::command(Kind::Gearshard, args, port);
        program.arg(server.get_program()).args(server.get_args());
        Self::wait_for(program, Kind::Gearshard, args, port, TempDir::new())
    }

    fn try_start(kind: Kind, args: &[&str], port: u16, dir: TempDir) -> Result<Self, String> {
        Self::wait_for(Self::command(kind, args, port), kind, args, port, dir)
    }

    fn wait_for(
        command: Command,
        kind: Kind,
        args: &[&str],
        port: u16,
        dir: TempDir,
    ) -> Result<Self, String> {
        let mut server = Self { process: Process::start_in(dir, command, b""), kind, port };
        let start = Instant::now();
        loop {
            if server.answers() {
                return Ok(server);
            }
            if let Some(status) = server.process.exit_status() {
                return Err(format!("{status}\n{}", server.log()));
            }
            assert!(start.elapsed() < DEADLINE, "{kind:?} {args:?} does not answer:\n{}", server.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn command(kind: Kind, args: &[&str], port: u16) -> Command {
        let mut command = match kind {
            Kind::Gearshard => Command::new(env!("CARGO_BIN_EXE_gearshard")),
            Kind::Gearmand => {
                let peers = Peers::require();
                let mut command = Command::new(peers.path("usr/sbin/gearmand"));
                command.env_clear().env("LD_LIBRARY_PATH", peers.library_path());
                command
            }
        };
        if kind == Kind::Gearshard {
            command.env_clear().env("RUST_BACKTRACE", "1");
        }
        if !args.iter().any(|arg| arg.starts_with("--listen") || arg.starts_with("-L")) {
            command.arg("--listen=127.0.0.1");
        }
        if !args.iter().any(|arg| arg.starts_with("--log-file") || arg.starts_with("-l")) {
            command.arg("--log-file=server.log");
        }
        if kind == Kind::Gearmand && is_root() && !args.iter().any(|arg| arg.starts_with("-u")) {
            // gearmand refuses to be root unless it is told to.
            command.args(["-u", "root"]);
        }
        command.arg(format!("--port={port}")).arg("--pid-file=server.pid").args(args);
        command
    }

    // The pid tells ours from a stranger's server on the same port.
    fn answers(&self) -> bool {
        let Ok(mut connection) = Connection::try_open(self.address()) else {
            return false;
        };
        let expected = format!("OK {}", self.pid());
        connection.send_line("getpid");
        connection.poll_line(DEADLINE).is_some_and(|line| line == expected)
    }

    /// Which server this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its TCP address.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process itself: signals, memory, processor time.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its working directory.
    pub fn dir(&self) -> &Path {
        self.process.dir()
    }

    /// Log file and output so far.
    pub fn log(&self) -> String {
        let file = std::fs::read(self.dir().join("server.log")).unwrap_or_default();
        format!("{}{}{}", self.process.stdout(), self.process.stderr(), String::from_utf8_lossy(&file))
    }

    /// Memory in use, in bytes.
    pub fn rss_bytes(&self) -> u64 {
        self.process.memory_bytes("VmRSS")
    }

    /// A new connection.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address())
    }

    /// Stops it as a supervisor does (SIGTERM), and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.signal("TERM");
        self.process.wait(DEADLINE)
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// The answer to an admin command whose answer is a list.
    pub fn admin(&self, command: &str) -> String {
        let mut connection = self.connect();
        connection.send_line(command);
        connection.read_text()
    }

    /// Total, running and workers of a function in `status`; zeros when it is not there.
    pub fn counts(&self, function: &str) -> (u64, u64, u64) {
        let status = self.admin("status");
        let prefix = format!("{function}\t");
        let Some(line) = status.lines().find_map(|line| line.strip_prefix(prefix.as_str())) else {
            return (0, 0, 0);
        };
        let fields: Vec<u64> = line.split('\t').map(|field| field.parse().unwrap()).collect();
        (fields[0], fields[1], fields[2])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {:?} on port {}:\n{}", self.kind, self.port, self.log());
        }
    }
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

/// A port nobody listens on. Below the range from which the kernel takes the
/// ports of outgoing connections, or one of those could snatch it.
pub fn free_port() -> u16 {
    const FIRST: u32 = 16_000;
    const COUNT: u32 = 16_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test files run side by side: each starts somewhere else.
    let offset = std::process::id().wrapping_mul(7919);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + offset.wrapping_add(step) % COUNT).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
