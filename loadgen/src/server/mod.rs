//! A server that this program starts from a command line, waits for, and ends.

pub(crate) mod child;
pub(crate) mod line;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::unistd::{User, geteuid};

use self::child::{Directory, Interrupt, LOOK_INTERVAL, Running};
use self::line::{Known, Line};
use crate::abort::Abort;
use crate::engine::connection::connect;
use crate::engine::conversation::Greeting;

/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    label: String,
    running: Running,
}

impl Server {
    /// Starts it on a free port and waits until it answers.
    pub(crate) fn start(line: &Line, cores: &[usize], interrupt: &Interrupt) -> Result<Self, Abort> {
        let root = geteuid().is_root();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let (program, arguments) = line.at(address.port(), root)?;
        let directory = Directory::new()?;
        if root && line.known() == Known::Gearmand {
            lend_to_nobody(&directory)?;
        }
        let mut command = Command::new(program);
        command.args(arguments).envs(line.environment.iter().cloned());
        let running = Running::start(command, directory, cores)
            .map_err(|Abort(reason)| Abort(format!("server {}: {reason}", line.label)))?;
        let mut server = Self { address, label: line.label.clone(), running };
        server.wait(line.known(), interrupt)?;
        Ok(server)
    }

    fn wait(&mut self, known: Known, interrupt: &Interrupt) -> Result<(), Abort> {
        let started = Instant::now();
        loop {
            self.check()?;
            interrupt.check()?;
            // A stranger who took the port first makes our server end: the next look tells.
            let answer = match known {
                Known::Neighbour => TcpStream::connect(self.address).map(drop),
                _ => connect(self.address, &Greeting::gearman()).map(drop),
            };
            match answer {
                Ok(()) => return self.check(),
                Err(error) if started.elapsed() > START_TIMEOUT => {
                    return Err(Abort(format!(
                        "server {} does not answer on {} after {} s: {error}; its last lines:{}",
                        self.label,
                        self.address,
                        START_TIMEOUT.as_secs(),
                        self.running.last_lines()
                    )));
                }
                Err(_) => std::thread::sleep(LOOK_INTERVAL),
            }
        }
    }

    /// Fails when it has ended.
    pub(crate) fn check(&mut self) -> Result<(), Abort> {
        match self.running.ended()? {
            None => Ok(()),
            Some(status) => Err(Abort(format!(
                "server {} has ended ({status}); its last lines:{}",
                self.label,
                self.running.last_lines()
            ))),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// A line of its `/proc/PID/status` in bytes: `VmRSS:`, or `VmHWM:` for the most it ever had.
    pub(crate) fn memory_bytes(&self, name: &str) -> Result<u64, Abort> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes
            .map(|kilobytes| kilobytes * 1024)
            .ok_or_else(|| Abort(format!("the system does not say {name}")))
    }
}

/// gearmand becomes nobody before it writes into its directory.
fn lend_to_nobody(directory: &Directory) -> Result<(), Abort> {
    let nobody = User::from_name("nobody").map_err(|error| Abort(format!("user nobody: {error}")))?;
    let nobody = nobody.ok_or_else(|| Abort("there is no user nobody; give gearmand a --user".to_owned()))?;
    std::os::unix::fs::chown(directory.path(), Some(nobody.uid.as_raw()), None)?;
    Ok(())
}

/// A port that nobody listens on, below the range of outgoing connections.
fn free_port() -> Result<u16, Abort> {
    const FIRST: u16 = 16_000;
    const COUNT: u16 = 16_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Several comparisons at a time begin somewhere else each.
    let offset = std::process::id().wrapping_mul(7919);
    for _ in 0..COUNT {
        let step = offset.wrapping_add(NEXT.fetch_add(1, Relaxed)) % u32::from(COUNT);
        let port = FIRST + u16::try_from(step).expect("it is below COUNT");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Abort(format!("no port from {FIRST} to {} is free", FIRST + COUNT)))
}
