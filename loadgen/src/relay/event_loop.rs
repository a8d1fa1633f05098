//! Sockets: reads, lets the switch act, and sends.
//!
//! One `recv` a readiness, one `send` a connection and turn. Workers are sent
//! to at the end of every turn, as nothing happens before they have their jobs;
//! clients when nothing else is ready, so that several answers share a `send`.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use gearshard::protocol::decode::{Frame, decode};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::handle::NOBODY;
use super::switch::Switch;
use crate::abort::Abort;

const SCRATCH_BYTES: usize = 256 * 1024;
const BODY_BYTES_MAX: u32 = 1 << 30;
const LISTENER: Token = Token(usize::MAX);

/// Clients wait for no more turns than this, however busy the workers are.
const TURNS_MAX: u32 = 32;

/// A buffer that once was larger than this is not kept.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

struct Link {
    socket: TcpStream,
    /// The start of a packet whose rest has not come.
    input: Vec<u8>,
    /// How much of the output has been sent.
    sent: usize,
    /// Whether the socket takes no more until it says so.
    blocked: bool,
}

/// The relay's only thread.
pub(super) struct EventLoop {
    poll: Poll,
    listener: TcpListener,
    links: Vec<Option<Link>>,
    free: Vec<u32>,
    switch: Switch,
    scratch: Vec<u8>,
    eager: bool,
}

impl EventLoop {
    pub(super) fn listen(address: SocketAddr, eager: bool, switch: Switch) -> io::Result<Self> {
        let mut listener = TcpListener::bind(address)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let scratch = vec![0; SCRATCH_BYTES];
        Ok(Self { poll, listener, links: Vec::new(), free: Vec::new(), switch, scratch, eager })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn run(&mut self) -> Result<(), Abort> {
        let mut events = Events::with_capacity(1024);
        let mut turns = 0;
        loop {
            let timeout = self.switch.clients_wait().then_some(Duration::ZERO);
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Abort(format!("poll: {error}"))),
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept();
                } else {
                    self.ready(event);
                }
            }
            self.flush_all(false);
            turns += 1;
            if self.eager || events.is_empty() || turns >= TURNS_MAX {
                self.flush_all(true);
                turns = 0;
            }
        }
    }

    fn accept(&mut self) {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    eprintln!("gearshard-loadgen: relay: cannot accept a connection: {error}");
                    return;
                }
            };
            if let Err(error) = self.seat(socket) {
                eprintln!("gearshard-loadgen: relay: cannot serve a connection: {error}");
            }
        }
    }

    fn seat(&mut self, mut socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let place = self.free.last().map_or(self.links.len(), |&place| place as usize);
        let number = u32::try_from(place).ok().filter(|&place| place < NOBODY);
        let number = number.ok_or_else(|| io::Error::other("there are too many"))?;
        self.poll.registry().register(&mut socket, Token(place), Interest::READABLE | Interest::WRITABLE)?;
        let link = Link { socket, input: Vec::new(), sent: 0, blocked: false };
        if self.free.pop().is_some() {
            self.links[place] = Some(link);
        } else {
            self.links.push(Some(link));
        }
        self.switch.open(number);
        Ok(())
    }

    fn ready(&mut self, event: &Event) {
        let place = event.token().0;
        // A connection of an earlier event of this turn may have closed this one's.
        let Some(Some(link)) = self.links.get_mut(place) else { return };
        let number = u32::try_from(place).expect("places are given out as u32");
        let mut alive = true;
        if event.is_readable() || event.is_read_closed() {
            let to_the_end = event.is_read_closed();
            alive = read(link, &mut self.scratch, &mut self.switch, number, to_the_end);
        }
        if alive && link.blocked && event.is_writable() {
            link.blocked = false;
            alive = flush(link, &mut self.switch, number);
        }
        if !alive {
            self.close(number);
        }
    }

    fn flush_all(&mut self, clients: bool) {
        while let Some(place) = self.switch.next_to_flush(clients) {
            let Some(Some(link)) = self.links.get_mut(place as usize) else { continue };
            if !flush(link, &mut self.switch, place) {
                self.close(place);
            }
        }
    }

    fn close(&mut self, place: u32) {
        self.links[place as usize] = None;
        self.switch.close(place);
        self.free.push(place);
    }
}

/// Reads once (a read that came back short has emptied the socket) and acts on
/// the whole packets; false when the connection is at its end.
fn read(link: &mut Link, scratch: &mut [u8], switch: &mut Switch, place: u32, to_the_end: bool) -> bool {
    loop {
        let length = match link.socket.read(scratch) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return false,
        };
        let received = &scratch[..length];
        let understood = if link.input.is_empty() {
            let used = packets(received, switch, place);
            link.input.extend_from_slice(used.map_or(&[], |used| &received[used..]));
            used.is_some()
        } else {
            link.input.extend_from_slice(received);
            let used = packets(&link.input, switch, place);
            link.input.drain(..used.unwrap_or_default());
            if link.input.is_empty() && link.input.capacity() > BUFFER_BYTES_KEPT {
                link.input = Vec::new();
            }
            used.is_some()
        };
        if !understood || (length < scratch.len() && !to_the_end) {
            return understood;
        }
    }
}

/// Acts on the whole packets at the start of `bytes`, and returns their length;
/// nothing when what follows is no packet.
fn packets(bytes: &[u8], switch: &mut Switch, place: u32) -> Option<usize> {
    let mut used = 0;
    loop {
        match decode(&bytes[used..], BODY_BYTES_MAX) {
            Ok(Some((Frame::Binary(packet), length))) => {
                switch.packet(place, &packet);
                used += length;
            }
            Ok(None) => return Some(used),
            Ok(Some((Frame::Line(_), _))) | Err(_) => return None,
        }
    }
}

/// Sends what is to be sent, as far as the socket takes it; the rest goes when
/// it becomes writable again. False when the connection is broken.
fn flush(link: &mut Link, switch: &mut Switch, place: u32) -> bool {
    let Some(peer) = switch.peer(place) else { return true };
    if link.blocked {
        return true;
    }
    while link.sent < peer.output.len() {
        match link.socket.write(&peer.output[link.sent..]) {
            Ok(length) => link.sent += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                link.blocked = true;
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    link.sent = 0;
    peer.output.clear();
    if peer.output.capacity() > BUFFER_BYTES_KEPT {
        peer.output = Vec::new();
    }
    true
}
