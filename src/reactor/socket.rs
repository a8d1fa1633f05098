//! A connected stream socket, TCP or unix.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use crate::queue::buffer::{Buffer, Room};

/// Who is at the other end, as the log shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Remote {
    Tcp(SocketAddr),
    Unix,
}

impl Remote {
    /// The address without its port, as `workers` shows it.
    pub(crate) fn word(self) -> Box<str> {
        match self {
            Self::Tcp(address) => address.ip().to_string().into(),
            Self::Unix => "unix".into(),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{}:{}", address.ip(), address.port()),
            Self::Unix => write!(f, "unix"),
        }
    }
}

/// A non-blocking stream.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// The descriptor's number.
    pub(crate) fn number(&self) -> i32 {
        self.as_fd().as_raw_fd()
    }

    /// Receives into `bytes`; 0 is the end of the stream.
    pub(crate) fn receive(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*stream).read(bytes),
            Self::Unix(stream) => (&*stream).read(bytes),
        }
    }

    /// Receives into the room of `buffer`, which must have some.
    pub(crate) fn receive_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        debug_assert!(
            buffer.capacity() > buffer.len(),
            "a read into nothing looks like the end of the stream"
        );
        buffer.fill(|room| match room {
            Room::Capacity(bytes) => {
                Ok(rustix::io::read(self.as_fd(), rustix::buffer::spare_capacity(bytes))?)
            }
            Room::Slice(bytes) => self.receive(bytes),
        })
    }

    /// Sends as much of `slices` as the kernel takes.
    pub(crate) fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(stream), [one]) => (&*stream).write(one),
            (Self::Tcp(stream), _) => (&*stream).write_vectored(slices),
            (Self::Unix(stream), [one]) => (&*stream).write(one),
            (Self::Unix(stream), _) => (&*stream).write_vectored(slices),
        }
    }

    /// Tells the peer that nothing follows. What fails here fails because the
    /// connection is gone, which is all right.
    pub(crate) fn finish(&self) {
        let _gone = match self {
            Self::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
        };
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interests),
            Self::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interests),
            Self::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
        }
    }
}
