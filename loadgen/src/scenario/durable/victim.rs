//! The server that is killed: one that we have started, or one that somebody else
//! starts again.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::abort::Abort;
use crate::engine::connection::connect;
use crate::engine::conversation::Greeting;
use crate::engine::stop;
use crate::process::Process;
use crate::server::Server;

/// How often a server that somebody else starts is asked whether it answers.
const ASK_INTERVAL: Duration = Duration::from_millis(5);

/// Who ends the server, and who starts it.
pub(super) enum Victim {
    /// We do both.
    Started(Box<Server>),
    /// A shell command ends it, somebody else starts it again.
    Elsewhere { address: SocketAddr, crash: String },
    /// Nobody: it is not killed.
    Untouched { address: SocketAddr, process: Option<Process> },
}

impl Victim {
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Started(server) => server.address,
            Self::Elsewhere { address, .. } | Self::Untouched { address, .. } => *address,
        }
    }

    /// Its process, while that is known.
    pub(super) fn process(&self) -> Option<Process> {
        match self {
            Self::Started(server) => Some(Process(server.pid())),
            Self::Elsewhere { .. } => None,
            Self::Untouched { process, .. } => *process,
        }
    }

    /// Fails when it has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Abort> {
        match self {
            Self::Started(server) => server.check(),
            Self::Elsewhere { .. } | Self::Untouched { .. } => Ok(()),
        }
    }

    pub(super) fn kill(&mut self) -> Result<(), Abort> {
        match self {
            Self::Started(server) => server.kill(),
            Self::Elsewhere { crash, .. } => run(crash),
            Self::Untouched { .. } => unreachable!("the options name no way to kill it"),
        }
    }

    /// Waits until it answers again; says how long that took.
    pub(super) fn start_again(&mut self, patience: Duration) -> Result<Duration, Abort> {
        match self {
            Self::Started(server) => server.start_again(patience),
            Self::Elsewhere { address, .. } | Self::Untouched { address, .. } => wait(*address, patience),
        }
    }

    /// Jobs of these functions that it has, running or not.
    pub(super) fn jobs_left(&self, functions: &[Vec<u8>]) -> Result<u64, Abort> {
        let address = self.address();
        let failed = |error| Abort(format!("cannot ask {address} for its status: {error}"));
        let mut socket = TcpStream::connect(address).map_err(failed)?;
        socket.write_all(b"status\n").map_err(failed)?;
        let mut left = 0;
        for line in BufReader::new(socket).split(b'\n') {
            let line = line.map_err(failed)?;
            if line == b"." {
                return Ok(left);
            }
            left += jobs_in(&line, functions).ok_or_else(|| {
                Abort(format!("{address} has a status of its own: {}", line.escape_ascii()))
            })?;
        }
        Err(Abort(format!("{address} does not end its status")))
    }
}

/// `function TAB total TAB running TAB workers`: the total, if it is one of these functions.
fn jobs_in(line: &[u8], functions: &[Vec<u8>]) -> Option<u64> {
    let mut fields = line.rsplitn(4, |byte| *byte == b'\t');
    let total = fields.nth(2)?;
    let function = fields.next()?;
    let total = std::str::from_utf8(total).ok()?.parse().ok()?;
    Some(if functions.iter().any(|known| known == function) { total } else { 0 })
}

fn run(crash: &str) -> Result<(), Abort> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", crash]).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status()?;
    if !status.success() {
        return Err(Abort(format!("--crash '{crash}' failed ({status})")));
    }
    Ok(())
}

fn wait(address: SocketAddr, patience: Duration) -> Result<Duration, Abort> {
    let started = Instant::now();
    loop {
        stop::check()?;
        match connect(address, &Greeting::gearman()) {
            Ok(_) => return Ok(started.elapsed()),
            Err(error) if started.elapsed() > patience => {
                return Err(Abort(format!(
                    "{address} did not answer again within {} s: {error}",
                    patience.as_secs()
                )));
            }
            Err(_) => std::thread::sleep(ASK_INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_status_line_tells_the_jobs_of_our_functions() {
        let functions = [b"a".to_vec(), b"with\ttab".to_vec()];
        for (line, expected) in [
            (&b"a\t7\t2\t1"[..], Some(7)),
            (b"with\ttab\t3\t0\t0", Some(3)),
            (b"other\t9\t0\t0", Some(0)),
            (b"a\tmany\t0\t0", None),
            (b"ERR unknown_command Unknown+server+command", None),
        ] {
            assert_eq!(super::jobs_in(line, &functions), expected, "{}", line.escape_ascii());
        }
    }
}
