//! Sockets of clients and workers: connecting in time, sending without waiting.
//!
//! Knows bytes and time, no packets. Whatever else can carry bytes, such as
//! TLS, becomes one more kind of [`Socket`]: nobody who uses one cares where
//! packets begin and end in what it reads. Such a kind has to
//! - connect in [`Socket::connect`], within the time that it is given,
//! - `read` and `send` plain bytes, as few or as many at a time as it likes,
//! - count what it has received and not handed out as readable in `wait` and `wait_or`,
//! - `finish` so that the server sees the end, and `close` for a reader in another thread.

use std::io::{self, ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, send, shutdown,
    socket_with, sockopt,
};

use super::address::ServerAddress;

/// Silence after which the kernel asks whether the other end still lives.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;
/// How often a unix socket whose queue is full is tried again.
const UNIX_RETRY: Duration = Duration::from_millis(10);

/// A connected stream; reading blocks, sending does not.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// For a wait for several at once; a kind that has received bytes and not
/// handed them out is to be asked with [`Socket::wait`] before.
impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

impl Socket {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    /// Connects within `timeout`, to the first address of the name that answers.
    pub(crate) fn connect(address: &ServerAddress, timeout: Duration) -> io::Result<Self> {
        match address {
            ServerAddress::Unix(path) => unix(path, timeout).map(Self::Unix),
            ServerAddress::Tcp { host, port } => tcp(host, *port, timeout).map(Self::Tcp),
        }
    }

    /// Receives something, within the read timeout (`WouldBlock` when nothing came). 0 is the end.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match self {
                Self::Tcp(stream) => (&mut &*stream).read(buffer),
                Self::Unix(stream) => (&mut &*stream).read(buffer),
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Err(ErrorKind::WouldBlock.into());
                }
                result => return result,
            }
        }
    }

    /// Sends what fits at once; `WouldBlock` when nothing does.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match send(self.fd(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Sends all of it; each part must be taken within `patience`.
    pub(crate) fn send_all(&self, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.send(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.wait(false, true, Some(patience))?.write {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until it can be read from or written to, whichever is asked for.
    pub(crate) fn wait(&self, read: bool, write: bool, timeout: Option<Duration>) -> io::Result<Ready> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, read);
        flags.set(PollFlags::OUT, write);
        let mut fds = [PollFd::from_borrowed_fd(self.fd(), flags)];
        poll_for(&mut fds, timeout)?;
        let found = fds[0].revents();
        let ended = found.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        Ok(Ready {
            read: read && (ended || found.contains(PollFlags::IN)),
            write: write && (ended || found.contains(PollFlags::OUT)),
        })
    }

    /// Waits until it can be read from, or `other` can; whether it can.
    pub(crate) fn wait_or(&self, other: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
        let mut fds = [self.fd(), other].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        poll_for(&mut fds, timeout)?;
        Ok(!fds[0].revents().is_empty())
    }

    /// How long a read waits; `None` for ever.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    /// Ends it for everybody who uses it.
    pub(crate) fn close(&self) {
        // It may have ended by itself.
        let _ = shutdown(self.fd(), Shutdown::Both);
    }

    /// Tells the server that nothing more comes.
    pub(crate) fn finish(&self) {
        let _ = shutdown(self.fd(), Shutdown::Write);
    }
}

/// Waits for any of `fds`; an interruption counts as nothing.
pub(crate) fn poll_for(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    match poll(fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn tcp(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let start = Instant::now();
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let left = timeout.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            // To a port of this machine that nobody listens on, the kernel may connect a socket with itself.
            Ok(stream) if stream.local_addr()? == stream.peer_addr()? => {
                last = ErrorKind::ConnectionRefused.into();
            }
            Ok(stream) => {
                stream.set_nodelay(true)?;
                keep_alive(&stream);
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

// Where the system lacks one of these, a dead peer is found out later.
pub(crate) fn keep_alive(stream: &impl AsFd) {
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT);
}

// A blocking connect would wait without limit while the server's queue is full.
fn unix(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let start = Instant::now();
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    loop {
        match connect(&socket, &address) {
            Ok(()) => break,
            Err(rustix::io::Errno::AGAIN) if start.elapsed() < timeout => std::thread::sleep(UNIX_RETRY),
            Err(rustix::io::Errno::AGAIN) => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error.into()),
        }
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}
