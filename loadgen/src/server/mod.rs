//! A server that this program starts from a command line, waits for, and ends.

pub(crate) mod child;
pub(crate) mod line;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::unistd::{User, geteuid};

use self::child::{Directory, Running};
use self::line::{Known, Line};
use crate::abort::Abort;
use crate::engine::connection::connect;
use crate::engine::conversation::Greeting;
use crate::engine::stop;

/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How often a server that starts is asked whether it answers.
const ASK_INTERVAL: Duration = Duration::from_millis(1);

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    line: Line,
    cores: Vec<usize>,
    running: Running,
}

impl Server {
    /// Starts it on a free port and waits until it answers; in a directory that stays,
    /// and is made where it is not there, or in one of its own that goes away.
    pub(crate) fn start(line: &Line, kept: Option<&Path>, cores: &[usize]) -> Result<Self, Abort> {
        let is_new = kept.is_none_or(|path| !path.exists());
        let directory = kept.map_or_else(Directory::new, Directory::kept)?;
        if is_new && geteuid().is_root() && line.known() == Known::Gearmand {
            lend_to_nobody(&directory)?;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let running = Running::start(command(line, address)?, directory, cores).map_err(of(line))?;
        let mut server = Self { address, line: line.clone(), cores: cores.to_vec(), running };
        server.wait(START_TIMEOUT)?;
        Ok(server)
    }

    /// Kills it, and what it started; when this returns nobody listens any more.
    pub(crate) fn kill(&mut self) -> Result<(), Abort> {
        self.running.kill()?;
        let killed = Instant::now();
        while TcpStream::connect(self.address).is_ok() {
            if killed.elapsed() > START_TIMEOUT {
                return Err(Abort(format!(
                    "server {} was killed, and somebody still listens on {}: a process that has left its process group?",
                    self.line.label, self.address
                )));
            }
            std::thread::sleep(ASK_INTERVAL);
        }
        Ok(())
    }

    /// Starts it again after [`kill`](Self::kill), on the same port in the same
    /// directory; says how long it took until it answered.
    pub(crate) fn start_again(&mut self, patience: Duration) -> Result<Duration, Abort> {
        let command = command(&self.line, self.address)?;
        let started = Instant::now();
        self.running.start_again(command, &self.cores).map_err(of(&self.line))?;
        self.wait(patience)?;
        Ok(started.elapsed())
    }

    fn wait(&mut self, patience: Duration) -> Result<(), Abort> {
        let started = Instant::now();
        loop {
            self.check()?;
            stop::check()?;
            // A stranger who took the port first makes our server end: the next look tells.
            let answer = match self.line.known() {
                Known::Neighbour => TcpStream::connect(self.address).map(drop),
                _ => connect(self.address, &Greeting::gearman()).map(drop),
            };
            match answer {
                Ok(()) => return self.check(),
                Err(error) if started.elapsed() > patience => {
                    return Err(Abort(format!(
                        "server {} does not answer on {} after {} s: {error}; its last lines:{}",
                        self.line.label,
                        self.address,
                        patience.as_secs(),
                        self.running.last_lines()
                    )));
                }
                Err(_) => std::thread::sleep(ASK_INTERVAL),
            }
        }
    }

    /// Fails when it has ended.
    pub(crate) fn check(&mut self) -> Result<(), Abort> {
        match self.running.ended()? {
            None => Ok(()),
            Some(status) => Err(Abort(format!(
                "server {} has ended ({status}); its last lines:{}",
                self.line.label,
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

fn command(line: &Line, address: SocketAddr) -> Result<Command, Abort> {
    let (program, arguments) = line.at(address.port(), geteuid().is_root())?;
    // It runs in a directory of its own: a path from here must still be found.
    let here = program.contains('/').then(|| std::path::absolute(&program)).transpose()?;
    let mut command = Command::new(here.unwrap_or_else(|| program.into()));
    command.args(arguments).envs(line.environment.iter().cloned());
    Ok(command)
}

/// Says whose failure it is.
fn of(line: &Line) -> impl Fn(Abort) -> Abort + '_ {
    |Abort(reason)| Abort(format!("server {}: {reason}", line.label))
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
