//! One thread with its connections: polls them, and lets each role act.
//!
//! A turn is: poll, read every ready connection and let its role answer, write,
//! add up the counts. Commands from the scenario come through a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use gearshard::protocol::packet::{Command as Wire, Packet};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

use crate::engine::connection::{Broken, Connection};
use crate::engine::ledger::Fault;
use crate::engine::progress::{Tally, Unit, latency_histogram};
use crate::engine::role::{Order, Role, Turn};
use crate::engine::run::Run;

/// Room to read into, shared by a thread's connections.
const SCRATCH_BYTES: usize = 256 * 1024;

/// The token that wakes a crew for a command.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// What a barrier's ECHO_REQ carries.
const BARRIER: &[u8] = b"barrier";

/// What a crew is told.
pub(crate) enum Command {
    /// Take over this connected socket.
    Seat(std::net::TcpStream, Box<dyn Role>),
    /// Give an order to every role.
    Order(Order),
    /// Hand over the latencies recorded so far and begin afresh.
    Collect(Sender<Histogram<u64>>),
    /// Say how many jobs are in flight.
    InFlight(Sender<u64>),
}

struct Seat {
    connection: Connection,
    role: Box<dyn Role>,
}

/// One thread's state.
pub(crate) struct Crew {
    poll: Poll,
    commands: Receiver<Command>,
    run: Arc<Run>,
    /// Where a broken connection is reported; the text says why.
    trouble: Sender<String>,
    seats: Vec<Option<Seat>>,
    tally: Tally,
    scratch: Vec<u8>,
    /// Nanoseconds spent outside of polling.
    busy_ns: Arc<AtomicU64>,
}

impl Crew {
    pub(crate) fn new(
        poll: Poll,
        commands: Receiver<Command>,
        run: Arc<Run>,
        trouble: Sender<String>,
        busy_ns: Arc<AtomicU64>,
    ) -> Self {
        let scratch = vec![0; SCRATCH_BYTES];
        Self { poll, commands, run, trouble, seats: Vec::new(), tally: Tally::new(), scratch, busy_ns }
    }

    /// Runs until the other end of the commands is gone.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            if let Err(error) = self.poll.poll(&mut events, None) {
                if error.kind() == std::io::ErrorKind::Interrupted {
                    continue;
                }
                return self.report(format!("poll: {error}"));
            }
            let started = Instant::now();
            for event in &events {
                if event.token() == WAKE {
                    if !self.commanded(started) {
                        return;
                    }
                } else {
                    self.ready(event.token().0, started);
                }
            }
            self.run.progress.add(&mut self.tally);
            let busy = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.busy_ns.fetch_add(busy, Relaxed);
        }
    }

    /// Obeys the commands that have come; false when there will be no more.
    fn commanded(&mut self, now: Instant) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Seat(socket, role)) => self.seat(socket, role),
                Ok(Command::Order(order)) => self.order(now, order),
                // Whoever asked may have given up waiting.
                Ok(Command::Collect(answer)) => {
                    let _ = answer.send(std::mem::replace(&mut self.tally.latency, latency_histogram()));
                }
                Ok(Command::InFlight(answer)) => {
                    let _ = answer.send(self.seats.iter().flatten().map(|seat| seat.role.in_flight()).sum());
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn seat(&mut self, socket: std::net::TcpStream, role: Box<dyn Role>) {
        let mut connection = Connection::new(socket);
        let token = Token(self.seats.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(connection.socket(), token, interest) {
            return self.report(format!("registering a connection: {error}"));
        }
        self.seats.push(Some(Seat { connection, role }));
    }

    fn order(&mut self, now: Instant, order: Order) {
        for index in 0..self.seats.len() {
            let Some(seat) = &mut self.seats[index] else { continue };
            let mut turn =
                Turn { run: &self.run, tally: &mut self.tally, now, output: seat.connection.output() };
            if order == Order::Echo {
                turn.send(Wire::EchoReq, &[], BARRIER);
            } else {
                seat.role.order(&mut turn, order);
            }
            if let Err(broken) = seat.connection.flush() {
                self.lose(index, &broken);
            }
        }
    }

    fn ready(&mut self, index: usize, now: Instant) {
        let Some(Some(Seat { connection, role })) = self.seats.get_mut(index) else { return };
        let (run, tally) = (&*self.run, &mut self.tally);
        let each = |output: &mut Vec<u8>, packet: &Packet<'_>| {
            tally.count(Unit::Received);
            if packet.command == Wire::EchoRes && packet.data == BARRIER {
                tally.count(Unit::Echoed);
            } else {
                role.packet(&mut Turn { run, tally, now, output }, packet);
            }
        };
        let outcome = connection.read(&mut self.scratch, each).and_then(|()| connection.flush());
        if let Err(broken) = outcome {
            self.lose(index, &broken);
        }
    }

    fn lose(&mut self, index: usize, broken: &Broken) {
        self.seats[index] = None;
        self.run.ledger.fault(Fault::disconnected, 1);
        self.report(broken.to_string());
    }

    fn report(&self, text: String) {
        // The scenario may have ended.
        let _ = self.trouble.send(text);
    }
}
