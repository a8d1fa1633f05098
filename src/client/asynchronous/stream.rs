//! Streams of tokio: TCP and unix sockets under one name.
//!
//! As with the sockets that block, whatever else can carry bytes becomes one
//! more kind of [`Stream`]; nothing outside of this file knows which it is.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{Interest, Ready};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::client::address::ServerAddress;
use crate::client::socket::keep_alive;

#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects within `limit`, to the first address of the name that answers.
    pub(super) async fn connect(address: &ServerAddress, limit: Duration) -> io::Result<Self> {
        let connecting = async {
            match address {
                ServerAddress::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
                ServerAddress::Tcp { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    if stream.local_addr()? == stream.peer_addr()? {
                        // The kernel has connected the socket with itself: nobody listens there.
                        return Err(ErrorKind::ConnectionRefused.into());
                    }
                    stream.set_nodelay(true)?;
                    keep_alive(&stream);
                    Ok(Self::Tcp(stream))
                }
            }
        };
        timeout(limit, connecting).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Unix(stream) => stream.ready(interest).await,
        }
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Tells the server that nothing more comes.
    pub(super) fn finish(&self) {
        // It may have ended by itself.
        let _ = match self {
            Self::Tcp(stream) => rustix::net::shutdown(stream, rustix::net::Shutdown::Write),
            Self::Unix(stream) => rustix::net::shutdown(stream, rustix::net::Shutdown::Write),
        };
    }
}

/// Bytes on their way out, and a buffer for those that come in.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) out: Vec<u8>,
    sent: usize,
    buffer: Vec<u8>,
}

/// What came of one turn of a connection.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// How much has been received.
    pub(super) received: usize,
    /// How much has been sent.
    pub(super) sent: usize,
    /// The server has ended the connection.
    pub(super) ended: bool,
}

/// How much is received at a time.
const READ_BYTES: usize = 64 << 10;
/// An empty buffer larger than this is given back.
const KEPT_BYTES: usize = 256 << 10;

impl Traffic {
    pub(super) fn new() -> Self {
        Self { out: Vec::new(), sent: 0, buffer: vec![0; READ_BYTES] }
    }

    /// Whether everything has been sent.
    pub(super) const fn is_empty(&self) -> bool {
        self.sent == self.out.len()
    }

    /// What the last turn received.
    pub(super) fn received(&self, turn: &Turn) -> &[u8] {
        &self.buffer[..turn.received]
    }

    /// Waits until something can be received or sent, and does it once. May be
    /// cancelled while it waits.
    pub(super) async fn turn(&mut self, stream: &Stream) -> io::Result<Turn> {
        let interest =
            if self.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        let ready = stream.ready(interest).await?;
        let mut turn = Turn::default();
        if ready.is_writable() && !self.is_empty() {
            match stream.try_write(&self.out[self.sent..]) {
                Ok(count) => turn.sent = count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.sent += turn.sent;
            if self.is_empty() {
                self.sent = 0;
                self.out.clear();
                if self.out.capacity() > KEPT_BYTES {
                    self.out = Vec::new();
                }
            }
        }
        if ready.is_readable() || ready.is_read_closed() {
            match stream.try_read(&mut self.buffer) {
                Ok(0) => turn.ended = true,
                Ok(count) => turn.received = count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(turn)
    }
}
