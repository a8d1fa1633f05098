//! A way to a server on which nothing arrives in one piece.

use super::process::TempDir;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

/// Relays a unix socket to a server over TCP, a few bytes at a time.
#[derive(Debug)]
pub struct Pieces {
    dir: TempDir,
    stopped: Arc<AtomicBool>,
}

impl Pieces {
    /// Relays to this server until it is dropped; the threads of a connection end with it.
    pub fn start(server: SocketAddr) -> Self {
        let relay = Self { dir: TempDir::new(), stopped: Arc::default() };
        let listener = UnixListener::bind(relay.path()).unwrap();
        let stopped = Arc::clone(&relay.stopped);
        thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(SeqCst) {
                    return;
                }
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                server.set_nodelay(true).unwrap();
                let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || {
                    cut(from_client, &to_server);
                    // Both sides may be gone already.
                    let _ = to_server.shutdown(Shutdown::Write);
                });
                thread::spawn(move || {
                    cut(server, &client);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        relay
    }

    /// Where it listens.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("sock")
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.stopped.store(true, SeqCst);
        // Lets the listening thread see it.
        let _ = UnixStream::connect(self.path());
    }
}

/// Copies until either end is closed, 1 to 7 bytes at a time.
fn cut(mut from: impl Read, mut to: impl Write) {
    let mut piece = [0; 7];
    for length in (1..=piece.len()).cycle() {
        match from.read(&mut piece[..length]) {
            Ok(count @ 1..) if to.write_all(&piece[..count]).is_ok() => thread::yield_now(),
            _ => return,
        }
    }
}
