//! What surrounds one shard: its connections and the way to other shards.
//!
//! Carries out what the shard writes into its [`Outbox`]. Whatever needs the
//! shard again (a connection that ended, a backlog that grew) is put into a
//! list that the event loop works off; nothing here calls the shard.
//!
//! Before any byte leaves, staged messages do (`flush` sees to it): a peer
//! that has read JOB_CREATED may ask any shard for that job.

use std::sync::Arc;

use crossbeam_channel::Sender;
use mio::{Interest, Registry, Token};

use super::bus::Staging;
use super::connection::Connection;
use super::gauges::{Gauges, Traffic};
use super::socket::{Remote, Socket};
use super::spares::Spares;
use super::watches::{Watch, Watches};
use super::write_queue::Flushed;
use super::{Delivery, Limits, Moved, PolicyChange};
use crate::protocol::retry;
use crate::queue::change::{Change, Order};
use crate::server::log::{Level, Log};
use crate::shard::ids::{ConnId, ShardId};
use crate::shard::message::Message;
use crate::shard::outbox::{Event, Outbox, Tail, Urgency};

/// A queue that has grown this far is flushed at once, so that a peer that
/// reads is never mistaken for one that does not.
const EAGER_FLUSH_BYTES: usize = 256 << 10;

/// Connections go to the owner of their function as long as it has not this
/// many more than the shard with the fewest. Up to here what is spared is worth
/// more than a second core; the many connections of a large server are spread.
const GATHERED_MAX: usize = 32;
/// Nor does a shard get connections from others that was busy so short a while ago.
const BUSY_REMEMBERED_US: u64 = 200_000;

/// The connections of one shard and its lists of things to do.
pub(crate) struct Rim {
    pub(crate) bus: Staging<Message, Delivery>,
    pub(crate) limits: Limits,
    pub(crate) log: Log,
    pub(crate) traffic: Traffic,
    pub(crate) watches: Watches,
    /// Changes of durable jobs for the store, until they are handed over.
    changes: Vec<Change>,
    /// Jobs that the store is to read, until it is asked.
    reads: Vec<u64>,
    store: Option<Sender<Order>>,
    policies: Option<Sender<PolicyChange>>,
    /// The time of this turn.
    pub(crate) now_us: u64,
    /// Connections to receive from.
    pub(crate) ready: Vec<ConnId>,
    /// Connections that the shard takes frames of again.
    pub(crate) resumed: Vec<ConnId>,
    /// Connections to flush at the end of the turn.
    pub(crate) urgent: Vec<ConnId>,
    /// Connections to flush when nothing else is ready.
    pub(crate) idle: Vec<ConnId>,
    /// Connections whose backlog passed a mark, upwards (true) or downwards.
    pub(crate) pressure: Vec<(ConnId, bool)>,
    /// Connections to drop in this turn.
    pub(crate) ended: Vec<ConnId>,
    // Boxed, so that the table of a server that grows is cheap to move.
    connections: Vec<Option<Box<Connection>>>,
    gauges: Arc<[Gauges]>,
    own: ShardId,
    registry: Registry,
    spares: Spares,
}

impl Rim {
    pub(crate) fn new(
        own: ShardId,
        bus: Staging<Message, Delivery>,
        registry: Registry,
        gauges: Arc<[Gauges]>,
        limits: Limits,
        log: Log,
        (store, policies): (Option<Sender<Order>>, Option<Sender<PolicyChange>>),
    ) -> Self {
        Self {
            bus,
            changes: Vec::new(),
            reads: Vec::new(),
            store,
            policies,
            limits,
            log,
            traffic: Traffic::default(),
            watches: Watches::default(),
            now_us: 0,
            ready: Vec::new(),
            resumed: Vec::new(),
            urgent: Vec::new(),
            idle: Vec::new(),
            pressure: Vec::new(),
            ended: Vec::new(),
            connections: Vec::new(),
            gauges,
            own,
            registry,
            spares: Spares::default(),
        }
    }

    /// The gauges of the own shard.
    pub(crate) fn gauges(&self) -> &Gauges {
        &self.gauges[self.own.index()]
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> u16 {
        u16::try_from(self.gauges.len()).expect("shards are numbered with 16 bits")
    }

    /// Bytes in use over all shards.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.gauges.iter().map(Gauges::memory_bytes).sum()
    }

    /// Bytes of the jobs of all other shards.
    pub(crate) fn job_bytes_elsewhere(&self) -> u64 {
        let others = self.gauges.iter().enumerate().filter(|&(at, _)| at != self.own.index());
        others.map(|(_, gauges)| gauges.job_bytes()).sum()
    }

    /// Sends what is staged for other shards and for the store.
    pub(crate) fn dispatch(&mut self) {
        self.bus.dispatch();
        if !self.reads.is_empty() {
            let numbers = std::mem::take(&mut self.reads);
            self.order(Order::Read(numbers));
        }
        if !self.changes.is_empty() {
            let changes = std::mem::take(&mut self.changes);
            self.order(Order::Keep(changes));
        }
    }

    fn order(&self, order: Order) {
        let store = self.store.as_ref().expect("jobs are durable only where there is a store");
        // A store that has failed ends the server; nobody waits for this.
        let _ended = store.send(order);
    }

    /// The connection, unless it is gone.
    pub(crate) fn get(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(conn.slot())?.as_deref_mut().filter(|connection| connection.id == conn)
    }

    /// The connection in a slot, which an event names.
    pub(crate) fn in_slot(&mut self, slot: usize) -> Option<&mut Connection> {
        self.connections.get_mut(slot)?.as_deref_mut()
    }

    /// All connections.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.connections.iter_mut().filter_map(Option::as_deref_mut)
    }

    /// The connections that something is queued for.
    pub(crate) fn unsent(&mut self) -> Vec<ConnId> {
        self.all().filter(|connection| !connection.queue.is_empty()).map(|connection| connection.id).collect()
    }

    /// Takes in a socket under the id that the shard gave it.
    pub(crate) fn insert(&mut self, conn: ConnId, mut socket: Socket, remote: Remote) -> std::io::Result<()> {
        self.registry.register(&mut socket, Token(conn.slot()), Interest::READABLE)?;
        if self.connections.len() <= conn.slot() {
            self.connections.resize_with(conn.slot() + 1, || None);
        }
        let place = &mut self.connections[conn.slot()];
        assert!(place.is_none(), "a slot is used again only after its connection was closed");
        *place = Some(Box::new(Connection::new(conn, socket, remote)));
        Ok(())
    }

    /// Takes the connection out, to drop it.
    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<Box<Connection>> {
        self.get(conn)?;
        let connection = self.connections[conn.slot()].take()?;
        self.traffic.buffer_bytes -= connection.counted as u64;
        Some(connection)
    }

    /// Hands a connection that the shard has decided nothing on to another
    /// shard, with what was received from it.
    pub(crate) fn hand_over(&mut self, conn: ConnId, to: ShardId, received: &[u8]) {
        let Some(connection) = self.remove(conn) else { return };
        let Connection { mut socket, remote, .. } = *connection;
        self.registry.deregister(&mut socket).expect("the socket is open and registered");
        self.traffic.moved += 1;
        self.gauges[to.index()].connection_handed_over();
        self.gauges().connection_closed();
        let received = received.into();
        self.bus.hand_over(to, Delivery::Moved(Box::new(Moved { socket, remote, received })));
    }

    /// Whether another shard may be given a connection, though that makes the
    /// shards less even.
    pub(crate) fn may_hand_over(&self, to: ShardId) -> bool {
        // Without the one that is to move.
        let own = self.gauges().connections().saturating_sub(1);
        let least = self.gauges.iter().map(Gauges::connections).min().map_or(own, |least| least.min(own));
        let to = &self.gauges[to.index()];
        to.connections() < least + GATHERED_MAX
            && !to.was_busy_since(self.now_us.saturating_sub(BUSY_REMEMBERED_US))
    }

    /// Brings the count of buffered bytes up to date with one connection.
    pub(crate) fn recount(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn.slot()).and_then(Option::as_deref_mut) {
            recount(&mut self.traffic, connection);
        }
    }

    /// Puts the connection into the list of those to receive from.
    pub(crate) fn make_ready(&mut self, conn: ConnId) {
        if let Some(connection) = self.get(conn)
            && !std::mem::replace(&mut connection.flags.in_ready, true)
        {
            self.ready.push(conn);
        }
    }

    /// The connection goes, with whatever is queued for it.
    pub(crate) fn end(&mut self, conn: ConnId) {
        if let Some(connection) = self.get(conn)
            && !std::mem::replace(&mut connection.flags.ended, true)
        {
            self.ended.push(conn);
        }
    }

    /// Ends a connection for what it did not do.
    pub(crate) fn cut(&mut self, conn: ConnId, reason: &str) {
        if let Some(connection) = self.get(conn)
            && !connection.flags.ended
        {
            let remote = connection.remote;
            (self.log)(Level::Info, format_args!("Cut connection from {remote}: {reason}"));
            self.end(conn);
        }
    }

    /// Sends what is queued for the connection, as far as the kernel takes it.
    pub(crate) fn flush(&mut self, conn: ConnId) {
        self.bus.dispatch();
        let Some(connection) = self.connections.get_mut(conn.slot()).and_then(Option::as_deref_mut) else {
            return;
        };
        if connection.id != conn || connection.flags.ended || connection.queue.is_empty() {
            return;
        }
        self.traffic.sends += 1;
        match connection.queue.flush(&connection.socket, &mut self.spares) {
            Ok(Flushed::All) => {
                if std::mem::replace(&mut connection.flags.blocked, false) {
                    reregister(&self.registry, connection, Interest::READABLE);
                }
                if connection.flags.closing {
                    connection.flags.ended = true;
                    self.ended.push(conn);
                }
            }
            Ok(Flushed::Blocked { progress }) => {
                if !std::mem::replace(&mut connection.flags.blocked, true) {
                    connection.write_progress_us = self.now_us;
                    reregister(&self.registry, connection, Interest::READABLE | Interest::WRITABLE);
                    let due_us = self.now_us + self.limits.write_stall_us;
                    self.watches.set(due_us, Watch::Write, conn.slot());
                } else if progress {
                    connection.write_progress_us = self.now_us;
                }
            }
            // The peer is gone, so nobody misses the rest of the queue.
            Err(_) => {
                connection.flags.ended = true;
                self.ended.push(conn);
            }
        }
        note_pressure(&mut self.pressure, &self.limits, connection);
        recount(&mut self.traffic, connection);
    }
}

/// Notes when the backlog has passed a mark.
fn note_pressure(pressure: &mut Vec<(ConnId, bool)>, limits: &Limits, connection: &mut Connection) {
    let (high, low) = limits.water_marks();
    let bytes = connection.queue.bytes();
    let congested = if connection.flags.congested { bytes > low } else { bytes > high };
    if congested != connection.flags.congested {
        connection.flags.congested = congested;
        pressure.push((connection.id, congested));
    }
}

fn recount(traffic: &mut Traffic, connection: &mut Connection) {
    let bytes = connection.buffer_bytes();
    traffic.buffer_bytes = traffic.buffer_bytes + bytes as u64 - connection.counted as u64;
    connection.counted = bytes;
}

fn reregister(registry: &Registry, connection: &mut Connection, interest: Interest) {
    let token = Token(connection.id.slot());
    registry.reregister(&mut connection.socket, token, interest).expect("the socket is open and registered");
}

impl Outbox for Rim {
    fn write(&mut self, conn: ConnId, urgency: Urgency, head: &[u8], tail: Option<Tail<'_>>) {
        let Some(connection) = self.connections.get_mut(conn.slot()).and_then(Option::as_deref_mut) else {
            return;
        };
        if connection.id != conn || connection.flags.closing || connection.flags.ended {
            return;
        }
        if connection.queue.bytes() > self.limits.write_buffer_max {
            self.traffic.cut_overflow += 1;
            self.cut(conn, "it does not read what is written to it");
            return;
        }
        connection.queue.push(head, tail, &mut self.spares);
        recount(&mut self.traffic, connection);
        if connection.flags.blocked {
            note_pressure(&mut self.pressure, &self.limits, connection);
            return;
        }
        match urgency {
            Urgency::Now if !std::mem::replace(&mut connection.flags.in_urgent, true) => {
                self.urgent.push(conn)
            }
            Urgency::Idle if !std::mem::replace(&mut connection.flags.in_idle, true) => self.idle.push(conn),
            Urgency::Now | Urgency::Idle => {}
        }
        if connection.queue.bytes() >= EAGER_FLUSH_BYTES {
            self.flush(conn);
        }
    }

    fn send(&mut self, to: ShardId, message: Message) {
        self.bus.stage(to, message);
    }

    fn close(&mut self, conn: ConnId) {
        let Some(connection) = self.get(conn) else { return };
        if connection.flags.closing || connection.flags.ended {
            return;
        }
        connection.flags.closing = true;
        connection.unread.clear();
        if connection.queue.is_empty() {
            self.end(conn);
        } else if !connection.flags.blocked && !std::mem::replace(&mut connection.flags.in_urgent, true) {
            self.urgent.push(conn);
        }
        self.recount(conn);
    }

    fn hold(&mut self, conn: ConnId) {
        if let Some(connection) = self.get(conn) {
            connection.flags.held = true;
        }
    }

    fn resume(&mut self, conn: ConnId) {
        if let Some(connection) = self.get(conn)
            && std::mem::replace(&mut connection.flags.held, false)
        {
            self.resumed.push(conn);
        }
    }

    fn store(&mut self, change: Change) {
        self.changes.push(change);
    }

    fn read(&mut self, numbers: Vec<u64>) {
        self.reads.extend(numbers);
    }

    fn event(&mut self, event: Event<'_>) {
        let log = &self.log;
        match event {
            Event::Accepted { function, unique, last } => log(
                Level::Notice,
                format_args!(
                    "accepted,{},{},{}",
                    function.escape_ascii(),
                    unique.escape_ascii(),
                    last.escape_ascii()
                ),
            ),
            Event::Dropped { handle, unique } => log(
                Level::Notice,
                format_args!(
                    "Dropped job due to max retry count: {} {}",
                    handle.escape_ascii(),
                    unique.escape_ascii()
                ),
            ),
            Event::Died { handle, function, cause } => log(
                Level::Notice,
                format_args!(
                    "Job {} of function {} is a dead letter after its last attempt: {cause}",
                    handle.escape_ascii(),
                    function.escape_ascii()
                ),
            ),
            Event::Purged { handle, function } => log(
                Level::Warning,
                format_args!(
                    "Dead letter {} was forgotten: function {} has more than --max-dead",
                    handle.escape_ascii(),
                    function.escape_ascii()
                ),
            ),
            Event::Policy { function, policy } => {
                log(
                    Level::Notice,
                    format_args!("Retry policy of {}: {}", function.escape_ascii(), retry::show(policy)),
                );
                if let Some(policies) = &self.policies {
                    // Its thread ends after this one.
                    let _ended = policies.send((function.into(), policy));
                }
            }
            Event::TimedOut { handle, function } => log(
                Level::Warning,
                format_args!(
                    "Job {} of function {} was not done in time; it goes to another worker",
                    handle.escape_ascii(),
                    function.escape_ascii()
                ),
            ),
            Event::BadInput { conn, reason } => {
                let remote = self.connections.get(conn.slot()).and_then(Option::as_deref).map(|c| c.remote);
                if let Some(remote) = remote {
                    log(Level::Debug, format_args!("Bad input from {remote}: {reason}"));
                }
            }
        }
    }
}
