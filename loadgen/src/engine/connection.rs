//! One non-blocking connection: bytes in, bytes out.
//!
//! Knows no protocol. A read that came back short has emptied the socket,
//! so there is one `recv` a readiness as a rule; what is to be sent leaves in
//! one `send` at the end of a turn.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::engine::conversation::Greeting;

/// How long a server may take for its first answer.
const GREETING_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a connection can no longer be used.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The server closed it.
    Closed,
    /// The operating system's reason.
    Io(io::Error),
    /// What came is not the protocol.
    Protocol(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => write!(f, "the server closed the connection"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Protocol(text) => write!(f, "the server sent what the protocol does not have: {text}"),
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
    /// The start of what has not come whole.
    input: Vec<u8>,
    /// What is to be sent; the first `sent` bytes have been.
    output: Vec<u8>,
    sent: usize,
}

/// Connects, and waits until the server has answered: only then has it accepted
/// the connection, so a fleet never overruns the backlog.
pub(crate) fn connect(server: SocketAddr, greeting: &Greeting) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(server)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(GREETING_TIMEOUT))?;
    let stranger =
        || io::Error::other(format!("the server answers otherwise than a {} server", greeting.protocol));
    if greeting.server_first {
        let mut line = vec![0; 64 << 10];
        let mut length = 0;
        while length == 0 || line[length - 1] != b'\n' {
            length += match socket.read(&mut line[length..])? {
                0 => return Err(stranger()),
                more => more,
            };
        }
    }
    socket.write_all(&greeting.question)?;
    let mut answer = vec![0; greeting.answer.len()];
    let mut length = 0;
    while length < answer.len() {
        length += match socket.read(&mut answer[length..])? {
            0 => return Err(stranger()),
            more => more,
        };
        if answer[..length] != greeting.answer[..length] {
            return Err(stranger());
        }
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

    /// Where what is to be sent is appended.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Reads what there is, and hands it to `receive` together with the output;
    /// what `receive` does not say it has used comes again with what follows.
    /// `scratch` is room to read into.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        mut receive: impl FnMut(&mut Vec<u8>, &[u8]) -> Result<usize, Broken>,
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
                let used = receive(&mut self.output, received)?;
                self.input.extend_from_slice(&received[used..]);
            } else {
                self.input.extend_from_slice(received);
                let used = receive(&mut self.output, &self.input)?;
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
