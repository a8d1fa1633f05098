//! `--try`: sees one job through a server that has just started.
//!
//! Speaks to it over TCP as any client and worker would, so that what a
//! newcomer reads is what happened. Knows nothing of the server's inside.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::protocol::decode::{Frame, decode};
use crate::protocol::encode::encode;
use crate::protocol::packet::{Command, Magic, Packet};

/// How long each answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
const FUNCTION: &str = "reverse";
const WORKLOAD: &str = "Hello World!";

/// Runs one foreground job on the server at `address`, and tells `say` each step.
///
/// # Errors
/// When the server cannot be reached, does not answer within seconds, or
/// answers something else than a Gearman server would.
pub(super) fn first_job(address: SocketAddr, mut say: impl FnMut(fmt::Arguments<'_>)) -> io::Result<()> {
    let mut worker = Peer::connect(address)?;
    let mut client = Peer::connect(address)?;
    worker.send(Command::CanDo, &[FUNCTION.as_bytes()], b"")?;
    worker.send(Command::GrabJob, &[], b"")?;
    worker.expect(Command::NoJob, |_| ())?;
    worker.send(Command::PreSleep, &[], b"")?;
    say(format_args!("worker  serves \"{FUNCTION}\", has no job and sleeps"));

    let start = Instant::now();
    client.send(Command::SubmitJob, &[FUNCTION.as_bytes(), b""], WORKLOAD.as_bytes())?;
    let handle = client.expect(Command::JobCreated, |packet| packet.args[0].to_vec())?;
    say(format_args!("client  submits \"{WORKLOAD}\", job {}", String::from_utf8_lossy(&handle)));

    worker.expect(Command::Noop, |_| ())?;
    worker.send(Command::GrabJob, &[], b"")?;
    let mut result = worker.expect(Command::JobAssign, |packet| packet.data.to_vec())?;
    result.reverse();
    say(format_args!("worker  is woken, grabs the job, reverses it"));
    worker.send(Command::WorkComplete, &[&handle], &result)?;

    let result = client.expect(Command::WorkComplete, |packet| packet.data.to_vec())?;
    let took = start.elapsed();
    say(format_args!("client  receives \"{}\" after {took:.0?}", String::from_utf8_lossy(&result)));
    Ok(())
}

/// A blocking connection.
struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Peer {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    fn send(&mut self, command: Command, args: &[&[u8]], data: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode(&mut bytes, Magic::Request, command, args, data);
        self.stream.write_all(&bytes)
    }

    /// Waits for the next packet, which must be `command`, and reads it.
    fn expect<T>(&mut self, command: Command, read: impl Fn(&Packet<'_>) -> T) -> io::Result<T> {
        loop {
            if let Some((value, used)) = self.next(command, &read)? {
                self.received.drain(..used);
                return Ok(value);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&chunk[..count]),
            }
        }
    }

    fn next<T>(&self, command: Command, read: impl Fn(&Packet<'_>) -> T) -> io::Result<Option<(T, usize)>> {
        match decode(&self.received, u32::MAX) {
            Ok(None) => Ok(None),
            Ok(Some((Frame::Binary(packet), used))) if packet.command == command => {
                Ok(Some((read(&packet), used)))
            }
            Ok(Some((other, _))) => {
                Err(io::Error::other(format!("expected {}, the server sent {other:?}", command.name())))
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}
