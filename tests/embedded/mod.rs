//! Servers inside the test's own process.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(dead_code, reason = "each test file uses the part that it needs")]
#![allow(unreachable_pub, reason = "a test file is a crate of its own and exports nothing")]

use std::net::SocketAddr;
use std::thread::JoinHandle;

use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};
use gearshard::server::{Control, Listen, Options, Server, ServerError};

use crate::support::Connection;

/// A server on a free port of this machine; stopped when dropped.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its controls.
    pub control: Control,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Running {
    /// With so many shards.
    pub fn start(shards: u16) -> Self {
        Self::with(Options { shards, ..Options::default() })
    }

    /// With options; where to listen is seen to.
    pub fn with(options: Options) -> Self {
        let listen = vec![Listen::Host { host: "127.0.0.1".to_owned(), port: 0 }];
        let server = Server::bind(Options { listen, ..options }).unwrap();
        let address = server.local_addresses()[0].tcp().unwrap();
        let control = server.control();
        Self { address, control, thread: Some(std::thread::spawn(move || server.run())) }
    }

    /// A new connection.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// Waits until the server has ended by itself.
    pub fn join(&mut self) {
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic in the server").expect("the server ends well");
        }
    }
}

/// The bytes of a request.
pub fn packet(command: Command, args: &[&[u8]], data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, Magic::Request, command, args, data);
    bytes
}
