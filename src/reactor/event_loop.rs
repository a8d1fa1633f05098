//! The loop that drives one shard, on one thread.
//!
//! The order of a turn (see the parent module) is written down in
//! [`EventLoop::turn`]; everything else here is one step of it.

mod intake;

use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Registry, Token};

use super::bus::{Address, Inbox, Staging};
use super::gauges::Gauges;
use super::linger::Linger;
use super::load::Load;
use super::rim::Rim;
use super::socket::{Remote, Socket};
use super::trim::Trim;
use super::watches::Watch;
use super::{Clock, Delivery, Kept, Limits, Moved};
use crate::queue::change::News;
use crate::server::log::{Level, Log};
use crate::shard::ids::{ConnId, Now, ShardId};
use crate::shard::message::{Message, Refusal};
use crate::shard::settings::Settings;
use crate::shard::{Peer, Shard};

/// The event that only ends the poll: something is in the inbox.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// Received from one connection in one turn at most, but for large packets.
const SCRATCH_BYTES: usize = 128 << 10;
/// Sockets that one poll reports at most: what is decided early in a turn is
/// written at its end.
const EVENTS_MAX: usize = 128;
/// Turns that patient replies wait at most while other work is ready.
const IDLE_TURNS_MAX: u32 = 8;
/// Turns between two looks at the memory in use.
const MEMORY_TURNS: u64 = 16;
/// Growth of the own shard after which to look at once.
const MEMORY_STEP_BYTES: u64 = 256 << 10;
/// How long to wait for memory before looking again.
const STARVED_US: u64 = 50_000;
/// How long replies may take to leave when the server ends.
const FINISH_US: u64 = 1_000_000;

/// What an event loop is made of.
pub(crate) struct Parts {
    pub(crate) id: ShardId,
    pub(crate) poll: Poll,
    /// Of `poll`.
    pub(crate) registry: Registry,
    pub(crate) inbox: Inbox<Delivery>,
    pub(crate) addresses: Vec<Address<Delivery>>,
    pub(crate) gauges: Arc<[Gauges]>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) log: Log,
    /// The store of durable jobs, if there is one.
    pub(crate) kept: Option<Kept>,
}

/// One shard and everything around it.
pub(crate) struct EventLoop {
    shard: Shard,
    rim: Rim,
    inbox: Inbox<Delivery>,
    poll: Poll,
    events: Events,
    scratch: Box<[u8]>,
    clock: Clock,
    now: Now,
    idle_turns: u32,
    linger: Linger,
    load: Load,
    draining: bool,
    memory_full: bool,
    trim: Trim,
    looked_at_bytes: u64,
    // Connections whose large packets wait for memory.
    starved: Vec<ConnId>,
    // Connections whose peers only listen any more.
    half_closed: Vec<ConnId>,
    finish_by_us: Option<u64>,
    stopped: bool,
}

impl EventLoop {
    /// A loop at rest.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { id, poll, registry, inbox, addresses, gauges, settings, limits, clock, log, kept } =
            parts;
        let bus = Staging::new(id, addresses, Message::leaves, Delivery::Messages);
        let store = kept.as_ref().map(|kept| kept.orders.clone());
        let policies = kept.as_ref().and_then(|kept| kept.policies.clone());
        let mut rim = Rim::new(id, bus, registry, gauges, limits, log, (store, policies));
        let now = clock.now();
        let linger = Linger::new(settings.shards);
        let shards = settings.shards;
        let mut shard = Shard::new(id, settings);
        if let Some(bytes) = limits.queue_memory_max {
            shard.bound_bytes(share(bytes, shards));
        }
        if let Some(kept) = kept {
            shard.skip_numbers(kept.number_max);
            for job in kept.jobs.into_iter().flatten() {
                shard.restore(now, job, &mut rim);
            }
        }
        Self {
            linger,
            shard,
            rim,
            inbox,
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            clock,
            now,
            idle_turns: 0,
            load: Load::default(),
            draining: false,
            memory_full: false,
            trim: Trim::default(),
            looked_at_bytes: 0,
            starved: Vec::new(),
            half_closed: Vec::new(),
            finish_by_us: None,
            stopped: false,
        }
    }

    /// Turns until the server ends, closes every connection, and returns the
    /// shard, which may take a while to drop.
    pub(crate) fn run(mut self) -> Shard {
        while !self.stopped {
            self.turn();
        }
        // What has been decided is told, as far as the kernel takes it at once.
        for conn in self.rim.unsent() {
            self.rim.flush(conn);
        }
        let log = Arc::clone(&self.rim.log);
        for connection in self.rim.all() {
            log(Level::Info, format_args!("Disconnected {}", connection.remote));
        }
        self.shard
    }

    fn turn(&mut self) {
        let ready = self.wait();
        self.now = self.clock.now();
        self.rim.now_us = self.now.mono_us;
        self.rim.traffic.turns += 1;
        self.rim.gauges().begin_turn();
        if self.load.is_busy(self.now.mono_us) {
            self.rim.gauges().found_busy(self.now.mono_us);
        }

        self.look_at_memory();
        self.look_at_queue_memory();
        let events = self.note_events();
        let quiet = !ready && events == 0;
        let idle_inbox = self.inbox.len() == 0;
        self.linger.begin_turn(self.now.mono_us, !quiet || !idle_inbox);
        self.receive_from_ready();
        self.take_inbox();
        self.expire();
        self.settle();
        self.let_go();
        self.rim.dispatch();
        self.flush(quiet && idle_inbox);
        self.settle();
        self.rim.dispatch();
        self.finish();

        let counts = self.shard.counts();
        self.trim.note(counts.job_bytes);
        self.rim.gauges().end_turn(counts, self.traffic());
    }

    /// Polls; returns whether it is known that there is something to do.
    fn wait(&mut self) -> bool {
        let busy = !self.rim.ready.is_empty() || !self.rim.urgent.is_empty();
        let timeout =
            if busy || !self.rim.idle.is_empty() { Some(Duration::ZERO) } else { self.sleep_time() };
        let yields = timeout != Some(Duration::ZERO) && self.linger.before_park();
        if yields {
            std::thread::yield_now();
        }
        let parked = !yields && timeout != Some(Duration::ZERO) && self.inbox.park();
        let timeout = if parked { timeout } else { Some(Duration::ZERO) };
        if parked {
            self.trim.at_rest(self.shard.counts().job_bytes);
        }
        let polled = self.poll.poll(&mut self.events, timeout);
        if parked {
            self.inbox.unpark();
        }
        match polled {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => self.events.clear(),
            Err(error) => panic!("polling our own descriptors works: {error}"),
        }
        busy
    }

    fn sleep_time(&self) -> Option<Duration> {
        let starved = (!self.starved.is_empty()).then_some(self.now.mono_us + STARVED_US);
        let due_us = [self.shard.deadline(self.now), self.rim.watches.next_us(), starved, self.finish_by_us]
            .into_iter()
            .flatten()
            .min()?;
        Some(Duration::from_micros(due_us.saturating_sub(self.clock.mono_us())))
    }

    /// Notes which sockets are ready; returns how many events there were.
    fn note_events(&mut self) -> usize {
        let mut count = 0;
        for event in &self.events {
            if event.token() == WAKE {
                continue;
            }
            count += 1;
            let Some(connection) = self.rim.in_slot(event.token().0) else { continue };
            let conn = connection.id;
            if event.is_read_closed() || event.is_error() {
                connection.flags.hung_up = true;
                connection.flags.readable = true;
            }
            connection.flags.readable |= event.is_readable();
            let readable = connection.flags.readable && !connection.flags.is_stopped();
            if event.is_writable() && connection.flags.blocked && !connection.flags.in_urgent {
                connection.flags.in_urgent = true;
                self.rim.urgent.push(conn);
            }
            if readable {
                self.rim.make_ready(conn);
            }
        }
        count
    }

    /// Takes in what other shards and the acceptor have sent by now.
    fn take_inbox(&mut self) {
        let Some(first) = self.inbox.try_take() else { return };
        // What comes meanwhile can wait, or busy neighbours would keep us here.
        let more = self.inbox.len();
        self.deliver(first);
        for _ in 0..more {
            let Some(delivery) = self.inbox.try_take() else { return };
            self.deliver(delivery);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Messages(from, messages) => {
                self.rim.traffic.batches_received += 1;
                self.linger.worked(messages.len() as u64);
                for message in messages {
                    self.shard.receive(self.now, from, message, &mut self.rim);
                    relieve(&mut self.shard, &mut self.rim, self.now);
                }
            }
            Delivery::Store(news) => {
                match news {
                    News::Stored(progress) => self.shard.stored(self.now, &progress, &mut self.rim),
                    News::Read(read) => self.shard.read_back(self.now, read, &mut self.rim),
                }
                relieve(&mut self.shard, &mut self.rim, self.now);
            }
            Delivery::Connection(socket, remote) => {
                self.open(socket, remote);
            }
            Delivery::Moved(moved) => self.take_over(*moved),
            Delivery::Drain => {
                self.draining = true;
                self.refuse();
            }
            Delivery::Finish => self.finish_by_us = Some(self.now.mono_us + FINISH_US),
            Delivery::Stop => self.stopped = true,
        }
    }

    fn take_over(&mut self, moved: Moved) {
        self.rim.traffic.batches_received += 1;
        let Moved { socket, remote, received } = moved;
        let Some(conn) = self.open(socket, remote) else { return };
        let Some(connection) = self.rim.get(conn) else { return };
        connection.unread.keep(&received);
        self.decide_on_unread(conn);
        self.rim.recount(conn);
    }

    fn open(&mut self, socket: Socket, remote: Remote) -> Option<ConnId> {
        let peer = Peer { fd: socket.number(), address: remote.word() };
        let Some(conn) = self.shard.open(peer) else {
            (self.rim.log)(Level::Warning, format_args!("No room for the connection from {remote}"));
            self.rim.gauges().connection_closed();
            return None;
        };
        if let Err(error) = self.rim.insert(conn, socket, remote) {
            (self.rim.log)(Level::Error, format_args!("Cannot watch the connection from {remote}: {error}"));
            self.shard.close(self.now, conn, &mut self.rim);
            self.rim.gauges().connection_closed();
            return None;
        }
        Some(conn)
    }

    fn expire(&mut self) {
        if self.shard.deadline(self.now).is_some_and(|due_us| due_us <= self.now.mono_us) {
            self.shard.expire(self.now, &mut self.rim);
        }
        while let Some((watch, slot)) = self.rim.watches.pop_due(self.now.mono_us) {
            let Some(conn) = self.rim.in_slot(slot).map(|connection| connection.id) else { continue };
            match watch {
                Watch::Write => self.look_at_write(conn),
                Watch::Packet => self.look_at_packet(conn),
            }
        }
    }

    fn look_at_write(&mut self, conn: ConnId) {
        let stall_us = self.rim.limits.write_stall_us;
        let now_us = self.now.mono_us;
        let Some(connection) = self.rim.get(conn) else { return };
        if !connection.flags.blocked {
            return;
        }
        let due_us = connection.write_progress_us + stall_us;
        if due_us > now_us {
            self.rim.watches.set(due_us, Watch::Write, conn.slot());
        } else {
            self.rim.traffic.cut_stalled += 1;
            self.rim.cut(conn, "it has not read for too long");
        }
    }

    /// Works off what the shard's answers have led to, until nothing is left.
    fn settle(&mut self) {
        loop {
            relieve(&mut self.shard, &mut self.rim, self.now);
            if let Some(conn) = self.rim.resumed.pop() {
                self.decide_on_unread(conn);
                self.rim.recount(conn);
                let readable = self.rim.get(conn).is_some_and(|c| c.flags.readable && !c.flags.is_stopped());
                if readable {
                    self.rim.make_ready(conn);
                }
            } else if let Some(conn) = self.rim.ended.pop() {
                self.drop_connection(conn);
            } else {
                return;
            }
        }
    }

    fn drop_connection(&mut self, conn: ConnId) {
        let Some(connection) = self.rim.remove(conn) else { return };
        self.shard.close(self.now, conn, &mut self.rim);
        // Its end is seen outside, too: whoever sees it may count on the jobs being back.
        self.rim.bus.dispatch();
        if connection.flags.closing {
            // Bytes that lie unread when a socket is closed reset the connection, and
            // the peer might never see the answer that explains why.
            connection.socket.finish();
            let _rest = connection.socket.receive(&mut self.scratch);
        }
        (self.rim.log)(Level::Info, format_args!("Disconnected {}", connection.remote));
        self.rim.gauges().connection_closed();
    }

    fn flush(&mut self, quiet: bool) {
        for conn in std::mem::take(&mut self.rim.urgent) {
            if let Some(connection) = self.rim.get(conn) {
                connection.flags.in_urgent = false;
                self.rim.flush(conn);
            }
        }
        if self.rim.idle.is_empty() {
            return;
        }
        self.idle_turns += 1;
        if !quiet && self.idle_turns < IDLE_TURNS_MAX {
            return;
        }
        self.idle_turns = 0;
        for conn in std::mem::take(&mut self.rim.idle) {
            if let Some(connection) = self.rim.get(conn) {
                connection.flags.in_idle = false;
                self.rim.flush(conn);
            }
        }
    }

    /// Once the server ends: stops when everything has left, or time is up.
    fn finish(&mut self) {
        let Some(finish_by_us) = self.finish_by_us else { return };
        let due = self.rim.unsent();
        if due.is_empty() || self.now.mono_us >= finish_by_us {
            for connection in self.rim.all() {
                connection.socket.finish();
            }
            self.stopped = true;
            return;
        }
        for conn in due {
            self.rim.flush(conn);
        }
    }

    /// Shares the bound on jobs among the shards: what the others leave, and a
    /// part of its own at least.
    fn look_at_queue_memory(&mut self) {
        let Some(bound) = self.rim.limits.queue_memory_max else { return };
        if !self.rim.traffic.turns.is_multiple_of(MEMORY_TURNS) {
            return;
        }
        let free = bound.saturating_sub(self.rim.job_bytes_elsewhere());
        let own = usize::try_from(free).unwrap_or(usize::MAX).max(share(bound, self.rim.shards()));
        self.shard.bound_bytes(own);
    }

    fn look_at_memory(&mut self) {
        let Some(ceiling) = self.rim.limits.memory_max else { return };
        let own_bytes = self.rim.gauges().memory_bytes();
        let grown = own_bytes > self.looked_at_bytes.saturating_add(MEMORY_STEP_BYTES);
        if !self.memory_full && !grown && !self.rim.traffic.turns.is_multiple_of(MEMORY_TURNS) {
            return;
        }
        self.looked_at_bytes = own_bytes;
        let bytes = self.rim.memory_bytes();
        let full = bytes > if self.memory_full { ceiling / 100 * 95 } else { ceiling };
        if full == self.memory_full {
            return;
        }
        self.memory_full = full;
        self.refuse();
        if full {
            (self.rim.log)(
                Level::Warning,
                format_args!("Memory ceiling reached ({bytes} bytes in use): submits are refused"),
            );
        } else {
            (self.rim.log)(Level::Notice, format_args!("Below the memory ceiling: submits are accepted"));
            for conn in std::mem::take(&mut self.starved) {
                if let Some(connection) = self.rim.get(conn) {
                    connection.flags.in_starved = false;
                    self.rim.make_ready(conn);
                }
            }
        }
    }

    fn refuse(&mut self) {
        self.shard.refuse_submits(match (self.draining, self.memory_full) {
            (true, _) => Some(Refusal::Draining),
            (false, true) => Some(Refusal::MemoryFull),
            (false, false) => None,
        });
    }

    fn traffic(&self) -> super::Traffic {
        super::Traffic { batches_sent: self.rim.bus.batches(), ..self.rim.traffic }
    }
}

/// An equal part for each shard.
fn share(bytes: u64, shards: u16) -> usize {
    usize::try_from(bytes / u64::from(shards)).unwrap_or(usize::MAX)
}

/// Tells the shard whose backlog grew or shrank, before it goes on.
fn relieve(shard: &mut Shard, rim: &mut Rim, now: Now) {
    while !rim.pressure.is_empty() {
        for (conn, congested) in std::mem::take(&mut rim.pressure) {
            if rim.get(conn).is_some() {
                shard.congested(now, conn, congested, rim);
            }
        }
    }
}
