//! A raw connection to a server: packets and text lines, one at a time.

use super::DEADLINE;
use gearshard::protocol::decode::{Frame, decode};
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// One packet from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Always [`Magic::Response`] from a sane server.
    pub magic: Magic,
    /// What it is.
    pub command: Command,
    /// As many arguments as the command has.
    pub args: Vec<Vec<u8>>,
    /// What follows them.
    pub data: Vec<u8>,
}

impl Reply {
    /// An argument as text.
    pub fn text(&self, index: usize) -> String {
        String::from_utf8_lossy(&self.args[index]).into_owned()
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A client's, worker's or administrator's end of a connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    received: Vec<u8>,
    closed: bool,
}

impl Connection {
    /// Connects over TCP.
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects over TCP, if the server listens.
    ///
    /// # Errors
    /// Those of `connect`.
    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { socket: Socket::Tcp(stream), received: Vec::new(), closed: false })
    }

    /// Connects to a unix socket.
    pub fn open_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()));
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { socket: Socket::Unix(stream), received: Vec::new(), closed: false }
    }

    /// Sends a request packet.
    pub fn send(&mut self, command: Command, args: &[&[u8]], data: &[u8]) {
        self.send_as(Magic::Request, command, args, data);
    }

    /// Sends a packet with a magic of the caller's choice.
    pub fn send_as(&mut self, magic: Magic, command: Command, args: &[&[u8]], data: &[u8]) {
        let mut bytes = Vec::new();
        encode(&mut bytes, magic, command, args, data);
        self.send_bytes(&bytes);
    }

    /// Sends bytes as they are; the server must take them.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes).expect("the server reads what it is sent");
    }

    /// Sends bytes as they are, to a server that may have closed.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(stream) => stream.write_all(bytes),
            Socket::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Sends a text line; the line end is added.
    pub fn send_line(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) {
        match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
        }
    }

    /// The next packet, which must come.
    pub fn read_packet(&mut self) -> Reply {
        self.poll_packet(DEADLINE)
            .unwrap_or_else(|| panic!("no packet came; closed: {}, unread: {:?}", self.closed, self.unread()))
    }

    /// The next packet, if one comes within `limit` and the server does not close.
    pub fn poll_packet(&mut self, limit: Duration) -> Option<Reply> {
        let end = Instant::now() + limit;
        loop {
            let decoded = decode(&self.received, u32::MAX)
                .unwrap_or_else(|error| panic!("the server sent nonsense: {error}: {:?}", self.unread()));
            if let Some((frame, taken)) = decoded {
                let Frame::Binary(packet) = frame else {
                    panic!("expected a packet, the server sent text: {:?}", self.unread());
                };
                let reply = Reply {
                    magic: packet.magic,
                    command: packet.command,
                    args: packet.args[..packet.command.argc()].iter().map(|arg| arg.to_vec()).collect(),
                    data: packet.data.to_vec(),
                };
                self.received.drain(..taken);
                return Some(reply);
            }
            if !self.receive(end) {
                return None;
            }
        }
    }

    /// The next packet, which must be this command.
    pub fn expect(&mut self, command: Command) -> Reply {
        let reply = self.read_packet();
        assert_eq!(reply.command, command, "instead came {reply:?}");
        reply
    }

    /// Has the server answer an ECHO_REQ and returns what came before the
    /// answer: all that it had to say about the requests sent before.
    pub fn settle(&mut self) -> Vec<Reply> {
        const MARK: &[u8] = b"settle\0this connection";
        self.send(Command::EchoReq, &[], MARK);
        let mut before = Vec::new();
        loop {
            let reply = self.read_packet();
            if reply.command == Command::EchoRes && reply.data == MARK {
                return before;
            }
            before.push(reply);
        }
    }

    /// The next text line, without its `\n`, if one comes within `limit`.
    pub fn poll_line(&mut self, limit: Duration) -> Option<String> {
        let end = Instant::now() + limit;
        loop {
            if let Some(length) = self.received.iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&self.received[..length]).into_owned();
                self.received.drain(..=length);
                return Some(line);
            }
            if !self.receive(end) {
                return None;
            }
        }
    }

    /// The next text line, without its `\n` (a `\r` before it is kept).
    pub fn read_line(&mut self) -> String {
        self.poll_line(DEADLINE)
            .unwrap_or_else(|| panic!("no line came; closed: {}, unread: {:?}", self.closed, self.unread()))
    }

    /// Lines up to the `.` that ends a list; the `.` is not included.
    pub fn read_text(&mut self) -> String {
        let mut text = String::new();
        loop {
            let line = self.read_line();
            if line == "." {
                return text;
            }
            text.push_str(&line);
            text.push('\n');
        }
    }

    /// Sends an admin command and reads its one-line answer.
    pub fn ask(&mut self, line: &str) -> String {
        self.send_line(line);
        self.read_line()
    }

    /// Waits until the server closes; whatever it says before is returned.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let end = Instant::now() + DEADLINE;
        while self.receive(end) {}
        assert!(self.closed, "the server did not close; unread: {:?}", self.unread());
        std::mem::take(&mut self.received)
    }

    /// Bytes that have come and have not been asked for.
    pub fn unread(&self) -> String {
        self.received.escape_ascii().to_string()
    }

    // Waits for more bytes; false at the end of the stream or of the time.
    fn receive(&mut self, end: Instant) -> bool {
        if self.closed {
            return false;
        }
        let mut chunk = [0; 65536];
        loop {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let result = match &mut self.socket {
                Socket::Tcp(stream) => {
                    stream.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut chunk))
                }
                Socket::Unix(stream) => {
                    stream.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut chunk))
                }
            };
            match result {
                Ok(0) => self.closed = true,
                Ok(length) => {
                    self.received.extend_from_slice(&chunk[..length]);
                    return true;
                }
                // A server that closes with unread bytes in its buffer resets.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.closed = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("cannot read from the server: {error}"),
            }
            return false;
        }
    }
}
