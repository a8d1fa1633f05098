//! One non-blocking connection: bytes in, packets out of them, bytes back.
//!
//! Knows nothing of jobs. A read that came back short has emptied the socket,
//! so there is one `recv` a readiness as a rule; what is to be sent leaves in
//! one `send` at the end of a turn.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use gearshard::protocol::decode::{self, Frame};
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic, Packet};

/// Packets from a server are never refused for their length.
const BODY_BYTES_MAX: u32 = u32::MAX;

/// How long a server may take for its first answer.
const GREETING_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a connection can no longer be used.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The server closed it.
    Closed,
    /// The operating system's reason.
    Io(io::Error),
    /// What came is not Gearman.
    Protocol(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => write!(f, "the server closed the connection"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Protocol(text) => write!(f, "the server sent what is not a packet: {text}"),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A connected socket with what is left to read and to write.
pub(crate) struct Connection {
    socket: mio::net::TcpStream,
    /// The start of a packet whose rest has not come.
    input: Vec<u8>,
    /// What is to be sent; the first `sent` bytes have been.
    output: Vec<u8>,
    sent: usize,
}

/// Connects, and waits until the server answers an ECHO_REQ: only then has it
/// accepted the connection, so a fleet never overruns the backlog.
pub(crate) fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(server)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(GREETING_TIMEOUT))?;
    let mut question = Vec::new();
    encode(&mut question, Magic::Request, Command::EchoReq, &[], b"hello");
    let mut expected = Vec::new();
    encode(&mut expected, Magic::Response, Command::EchoRes, &[], b"hello");
    socket.write_all(&question)?;
    let mut answer = vec![0; expected.len()];
    socket.read_exact(&mut answer)?;
    if answer != expected {
        return Err(io::Error::other("the server does not answer ECHO_REQ; is it a Gearman server?"));
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Connection {
    pub(crate) fn new(socket: TcpStream) -> Self {
        let socket = mio::net::TcpStream::from_std(socket);
        Self { socket, input: Vec::new(), output: Vec::new(), sent: 0 }
    }

    /// What mio polls.
    pub(crate) fn socket(&mut self) -> &mut mio::net::TcpStream {
        &mut self.socket
    }

    /// Where packets to send are appended.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Reads what there is, and hands every whole packet to `each` together
    /// with the output. `scratch` is room to read into.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        mut each: impl FnMut(&mut Vec<u8>, &Packet<'_>),
    ) -> Result<(), Broken> {
        loop {
            let length = match self.socket.read(scratch) {
                Ok(0) => return Err(Broken::Closed),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let received = &scratch[..length];
            if self.input.is_empty() {
                let used = packets(received, &mut self.output, &mut each)?;
                self.input.extend_from_slice(&received[used..]);
            } else {
                self.input.extend_from_slice(received);
                let used = packets(&self.input, &mut self.output, &mut each)?;
                self.input.drain(..used);
            }
            if length < scratch.len() {
                return Ok(());
            }
        }
    }

    /// Sends what is to be sent, as far as the socket takes it; the rest goes
    /// when it becomes writable again.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        while self.sent < self.output.len() {
            match self.socket.write(&self.output[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }
}

/// Hands over the whole packets at the start of `bytes`; returns their length.
fn packets(
    bytes: &[u8],
    output: &mut Vec<u8>,
    each: &mut impl FnMut(&mut Vec<u8>, &Packet<'_>),
) -> Result<usize, Broken> {
    let mut used = 0;
    loop {
        match decode::decode(&bytes[used..], BODY_BYTES_MAX) {
            Ok(Some((Frame::Binary(packet), length))) => {
                each(output, &packet);
                used += length;
            }
            Ok(None) => return Ok(used),
            Ok(Some((Frame::Line(line), _))) => {
                return Err(Broken::Protocol(String::from_utf8_lossy(line).into_owned()));
            }
            Err(error) => return Err(Broken::Protocol(error.to_string())),
        }
    }
}
