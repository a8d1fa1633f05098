//! Something between a server and its clients that does wrong, once.

use gearshard::protocol::decode::{Frame, decode};
use gearshard::protocol::packet::Command;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

/// What is done to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It does not arrive.
    Drop,
    /// It arrives twice.
    Duplicate,
    /// The next one of its kind on the connection arrives before it.
    Swap,
    /// Its last byte is another.
    Damage,
    /// Instead of it, the connection ends.
    Close,
}

/// Relays every connection to a server, and does something to one packet that
/// comes from there. Its threads end with their connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    command: Command,
    nth: usize,
    act: Act,
    seen: AtomicUsize,
    acted: AtomicBool,
    stopped: AtomicBool,
}

impl Proxy {
    /// Does `act` to the `nth` packet of this kind, counted over all connections from 1.
    pub fn start(server: SocketAddr, command: Command, nth: usize, act: Act) -> Self {
        let (seen, acted, stopped) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let plan = Arc::new(Plan { command, nth, act, seen, acted, stopped });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&plan);
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.stopped.load(SeqCst) {
                    return;
                }
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                for socket in [&client, &server] {
                    socket.set_nodelay(true).unwrap();
                }
                let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || relay(from_client, to_server, std::mem::take));
                let plan = Arc::clone(&shared);
                let mut held = Vec::new();
                thread::spawn(move || relay(server, client, |bytes| plan.treat(bytes, &mut held)));
            }
        });
        Self { address, plan }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether there was such a packet.
    pub fn acted(&self) -> bool {
        self.plan.acted.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.plan.stopped.store(true, SeqCst);
        // Lets the listening thread see it.
        let _ = TcpStream::connect(self.address);
    }
}

/// Copies until either end is closed; `treat` takes what it lets pass from all that has come.
fn relay(mut from: TcpStream, mut to: TcpStream, mut treat: impl FnMut(&mut Vec<u8>) -> Vec<u8>) {
    let mut chunk = [0; 65536];
    let mut received = Vec::new();
    // However it ends: the other direction, and the other side, must see it.
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        received.extend_from_slice(&chunk[..length]);
        let passed = treat(&mut received);
        if to.write_all(&passed).is_err() || received == CLOSE {
            break;
        }
    }
    for socket in [from, to] {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// What is left unread where the connection is to end; no packet begins so.
const CLOSE: &[u8] = b"close";

impl Plan {
    /// Takes the whole packets from `bytes`; `held` is one that waits to be overtaken.
    fn treat(&self, bytes: &mut Vec<u8>, held: &mut Vec<u8>) -> Vec<u8> {
        let mut passed = Vec::new();
        while let Some((frame, length)) = decode(bytes, u32::MAX).unwrap() {
            let Frame::Binary(packet) = frame else { panic!("the server sent text") };
            let this_kind = packet.command == self.command;
            let whole: Vec<u8> = bytes.drain(..length).collect();
            if this_kind && !held.is_empty() {
                passed.extend(whole);
                passed.append(held);
                self.acted.store(true, SeqCst);
            } else if this_kind && self.seen.fetch_add(1, SeqCst) + 1 == self.nth {
                self.acted.store(self.act != Act::Swap, SeqCst);
                match self.act {
                    Act::Drop => {}
                    Act::Duplicate => passed.extend([&whole[..], &whole[..]].concat()),
                    Act::Swap => *held = whole,
                    Act::Damage => {
                        passed.extend(whole);
                        *passed.last_mut().expect("a packet is not empty") ^= 1;
                    }
                    Act::Close => {
                        bytes.splice(.., CLOSE.iter().copied());
                        return passed;
                    }
                }
            } else {
                passed.extend(whole);
            }
        }
        passed
    }
}
