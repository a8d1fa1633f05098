//! Many shards with clients and workers spread evenly over them, on one thread.
//!
//! The shards, their inboxes and the staging of messages are the server's own;
//! sockets are queues of packets. Shards take turns: each handles what its
//! sockets have and what had come to its inbox, then sends, and parks when it
//! has nothing more. Peers answer at once, so what they say is there in
//! their shard's next turn. Nothing depends on time or chance: the same is
//! counted in every run.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gearshard::protocol::decode::decode;
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, HEADER_BYTES, Magic};
use gearshard::queue::change::Change;
use gearshard::shard::ids::{ConnId, Now, ShardId};
use gearshard::shard::message::Message;
use gearshard::shard::outbox::{Event, Outbox, Tail, Urgency};
use gearshard::shard::placement::owner_of;
use gearshard::shard::settings::Settings;
use gearshard::shard::{Peer, Shard};

use crate::bus::{Inbox, Staging, Wake, inbox};

/// Bytes of a payload.
const PAYLOAD: [u8; 64] = [7; 64];

/// Rounds without a finished job after which something is wrong.
const PATIENCE: u32 = 10_000;

/// What clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Foreground jobs; a client submits the next one when one is complete.
    Foreground,
    /// Background jobs; another is submitted when a worker gets one.
    Flow,
}

/// Where the connections are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// On every shard alike.
    Everywhere,
    /// On every shard but the owner of the first function.
    #[allow(dead_code, reason = "only the benchmark asks how far one owner goes")]
    BesideTheOwner,
}

/// A layout, and how busy it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) kind: Kind,
    pub(crate) placed: Placed,
    pub(crate) shards: u16,
    pub(crate) functions: u32,
    /// Clients of each shard.
    pub(crate) clients: u32,
    /// Jobs that each client has in flight.
    pub(crate) in_flight: u32,
    /// Workers of each shard; each serves every function.
    pub(crate) workers: u32,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) jobs: u64,
    /// Messages between shards.
    pub(crate) messages: u64,
    /// Batches that they left in.
    pub(crate) batches: u64,
    /// System calls that woke a parked shard.
    pub(crate) wakes: u64,
    /// NOOPs to workers.
    pub(crate) noops: u64,
    /// Claims that found nothing.
    pub(crate) missed: u64,
    /// Messages and batches that the owner of the first function took in.
    pub(crate) owner_messages: u64,
    pub(crate) owner_batches: u64,
    /// Batches that it sent.
    pub(crate) owner_sent: u64,
}

impl Counted {
    /// So many a job.
    pub(crate) fn each(&self, count: u64) -> f64 {
        count as f64 / self.jobs as f64
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            jobs: self.jobs - before.jobs,
            messages: self.messages - before.messages,
            batches: self.batches - before.batches,
            wakes: self.wakes - before.wakes,
            noops: self.noops - before.noops,
            missed: self.missed - before.missed,
            owner_messages: self.owner_messages - before.owner_messages,
            owner_batches: self.owner_batches - before.owner_batches,
            owner_sent: self.owner_sent - before.owner_sent,
        }
    }
}

/// What was counted, and the time that it took.
pub(crate) struct Run {
    pub(crate) counted: Counted,
    /// In the shards and their inboxes, peers not counted; all shards together.
    #[allow(dead_code, reason = "only the benchmark looks at time")]
    pub(crate) spent: Duration,
    /// The part of the owner of the first function.
    #[allow(dead_code, reason = "only the benchmark looks at time")]
    pub(crate) owner_spent: Duration,
}

enum Role {
    Client { next: u64 },
    Worker,
}

/// A connection and who is at its other end.
struct Link {
    conn: ConnId,
    role: Role,
    held: bool,
    /// Packets that the shard has not read.
    unread: VecDeque<Vec<u8>>,
}

type Batch = (ShardId, Vec<Message>);

struct Cell {
    shard: Shard,
    inbox: Inbox<Batch>,
    staging: Staging<Message, Batch>,
    /// By slot.
    links: Vec<Link>,
    parked: bool,
    spent: Duration,
}

/// What a shard wants done in one turn.
struct Turn<'a> {
    staging: &'a mut Staging<Message, Batch>,
    messages: u64,
    noops: u64,
    said: Vec<(ConnId, Said)>,
    /// Who is not to be read now, or is again.
    holds: Vec<(ConnId, bool)>,
}

/// What a peer acts on.
enum Said {
    Assigned(Vec<u8>),
    Told(Command),
}

impl Outbox for Turn<'_> {
    fn write(&mut self, conn: ConnId, _urgency: Urgency, head: &[u8], _tail: Option<Tail<'_>>) {
        let is = |command: Command| head[4..8] == (command as u32).to_be_bytes();
        if is(Command::JobAssign) {
            let handle = head[HEADER_BYTES..].split(|&byte| byte == 0).next();
            let handle = handle.expect("split yields a first part").to_vec();
            return self.said.push((conn, Said::Assigned(handle)));
        }
        self.noops += u64::from(is(Command::Noop));
        let known = [Command::JobCreated, Command::WorkComplete, Command::NoJob, Command::Noop];
        let command = known.into_iter().find(|&command| is(command)).expect("nothing else is asked for");
        self.said.push((conn, Said::Told(command)));
    }

    fn send(&mut self, to: ShardId, message: Message) {
        self.messages += 1;
        self.staging.stage(to, message);
    }

    fn store(&mut self, change: Change) {
        panic!("jobs are kept in memory here: {change:?}");
    }

    fn read(&mut self, numbers: Vec<u64>) {
        panic!("jobs are kept in memory here: {numbers:?}");
    }

    fn close(&mut self, conn: ConnId) {
        panic!("{conn:?} is closed, though it did nothing wrong");
    }

    fn hold(&mut self, conn: ConnId) {
        self.holds.push((conn, true));
    }

    fn resume(&mut self, conn: ConnId) {
        self.holds.push((conn, false));
    }

    fn event(&mut self, _event: Event<'_>) {}
}

impl Turn<'_> {
    /// Whether a connection is read is known at once, other than what is written to it.
    fn settle(&mut self, links: &mut [Link]) {
        for (conn, held) in self.holds.drain(..) {
            links[conn.slot()].held = held;
        }
    }
}

impl Link {
    fn is_readable(&self) -> bool {
        !self.held && !self.unread.is_empty()
    }

    /// The next packet, if it may be read.
    fn take(&mut self) -> Option<(ConnId, Vec<u8>)> {
        if self.held {
            return None;
        }
        Some((self.conn, self.unread.pop_front()?))
    }
}

struct CountedWakes(Arc<AtomicU64>);

impl Wake for CountedWakes {
    fn wake(&self) -> std::io::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// All of a layout.
struct Spread {
    layout: Layout,
    functions: Vec<Vec<u8>>,
    owner: usize,
    cells: Vec<Cell>,
    wakes: Arc<AtomicU64>,
    counted: Counted,
    now: Now,
}

/// Rounds over all functions that are not counted: in the first ones every
/// shard hears of every function.
const ROUNDS_BEFORE: u64 = 20;

/// Does `jobs` jobs, after some that are not counted.
pub(crate) fn run(layout: Layout, jobs: u64) -> Run {
    let mut spread = Spread::new(layout);
    spread.play((jobs / 10).max(ROUNDS_BEFORE * u64::from(layout.functions)));
    let before = spread.counted.clone();
    for cell in &mut spread.cells {
        cell.spent = Duration::ZERO;
    }
    spread.play(before.jobs + jobs);
    let counted = spread.counted.since(&before);
    let spent = spread.cells.iter().map(|cell| cell.spent).sum();
    Run { counted, spent, owner_spent: spread.cells[spread.owner].spent }
}

impl Spread {
    fn new(layout: Layout) -> Self {
        let settings = Arc::new(Settings { shards: layout.shards, ..Settings::default() });
        let functions: Vec<Vec<u8>> =
            (0..layout.functions).map(|at| format!("resize-{at}").into_bytes()).collect();
        let owner = owner_of(&functions[0], layout.shards).index();
        let wakes = Arc::new(AtomicU64::new(0));
        let (addresses, inboxes): (Vec<_>, Vec<_>) =
            (0..layout.shards).map(|_| inbox(CountedWakes(Arc::clone(&wakes)))).unzip();
        let cells = inboxes.into_iter().zip(0..).map(|(inbox, id)| Cell {
            shard: Shard::new(ShardId(id), Arc::clone(&settings)),
            inbox,
            staging: Staging::new(ShardId(id), addresses.clone(), Message::leaves, |from, batch| {
                (from, batch)
            }),
            links: Vec::new(),
            parked: false,
            spent: Duration::ZERO,
        });
        let mut spread = Self {
            cells: cells.collect(),
            layout,
            functions,
            owner,
            wakes,
            counted: Counted::default(),
            now: Now { mono_us: 1_000_000, unix_us: 1_795_240_000_000_000 },
        };
        for shard in 0..spread.cells.len() {
            if layout.placed == Placed::Everywhere || shard != owner {
                spread.connect(shard);
            }
        }
        spread
    }

    /// The clients and workers of one shard come, workers first.
    fn connect(&mut self, shard: usize) {
        let Layout { clients, workers, in_flight, .. } = self.layout;
        for at in 0..workers + clients {
            let peer = Peer { fd: 9, address: "127.0.0.1".into() };
            let conn = self.cells[shard].shard.open(peer).expect("some connections fit");
            assert_eq!(conn.slot(), self.cells[shard].links.len(), "slots are dense");
            // Clients begin with different functions, and go on to the next.
            let begin = shard as u64 * 31 + u64::from(at) * 7;
            let role = if at < workers { Role::Worker } else { Role::Client { next: begin } };
            let link = Link { conn, role, held: false, unread: VecDeque::new() };
            self.cells[shard].links.push(link);
            if at < workers {
                for function in &self.functions {
                    let can_do = packet(Command::CanDo, &[function], b"");
                    self.cells[shard].links[conn.slot()].unread.push_back(can_do);
                }
                self.say(conn, Command::GrabJob);
            } else {
                (0..in_flight).for_each(|_| self.submit(conn));
            }
        }
    }

    fn link(&mut self, conn: ConnId) -> &mut Link {
        &mut self.cells[conn.shard().index()].links[conn.slot()]
    }

    fn say(&mut self, conn: ConnId, command: Command) {
        self.link(conn).unread.push_back(packet(command, &[], b""));
    }

    fn submit(&mut self, conn: ConnId) {
        let Role::Client { next } = &mut self.link(conn).role else { panic!("{conn:?} is a worker") };
        *next += 1;
        let function = (*next % u64::from(self.layout.functions)) as usize;
        let command = match self.layout.kind {
            Kind::Foreground => Command::SubmitJob,
            Kind::Flow => Command::SubmitJobBg,
        };
        let submit = packet(command, &[&self.functions[function], b""], &PAYLOAD);
        self.link(conn).unread.push_back(submit);
    }

    /// A client of the worker's shard submits, so that no more and no less waits than before.
    fn submit_beside(&mut self, worker: ConnId) {
        let Layout { workers, clients, .. } = self.layout;
        let slot = workers as usize + worker.slot() % clients as usize;
        let client = self.cells[worker.shard().index()].links[slot].conn;
        self.submit(client);
    }

    /// Goes on until so many jobs are done in all.
    fn play(&mut self, jobs: u64) {
        let (mut idle, mut done) = (0, self.counted.jobs);
        let mut first = 0;
        while self.counted.jobs < jobs {
            // Each round begins with another shard, so that none is always the first to know.
            for step in 0..self.cells.len() {
                self.turn((first + step) % self.cells.len());
            }
            self.counted.jobs = self.cells.iter().map(|cell| cell.shard.counts().completed).sum();
            first += 1;
            self.now = self.now.plus_us(10);
            idle = if self.counted.jobs == done { idle + 1 } else { 0 };
            assert!(idle < PATIENCE, "{:?} stands still after {done} jobs", self.layout);
            done = self.counted.jobs;
        }
        self.counted.missed = self.cells.iter().map(|cell| cell.shard.counts().missed).sum();
        self.counted.wakes = self.wakes.load(Ordering::Relaxed);
    }

    fn turn(&mut self, at: usize) {
        let cell = &mut self.cells[at];
        let due = cell.shard.deadline(self.now).is_some_and(|due_us| due_us <= self.now.mono_us);
        if cell.parked && !due && cell.inbox.len() == 0 && !cell.links.iter().any(Link::is_readable) {
            return;
        }
        let start = Instant::now();
        if std::mem::take(&mut cell.parked) {
            cell.inbox.unpark();
        }
        let mut turn =
            Turn { staging: &mut cell.staging, messages: 0, noops: 0, said: Vec::new(), holds: Vec::new() };
        let (mut taken, mut batches) = (0, 0);
        for _ in 0..cell.inbox.len() {
            let Some((from, batch)) = cell.inbox.try_take() else { break };
            batches += 1;
            for message in batch {
                taken += 1;
                cell.shard.receive(self.now, from, message, &mut turn);
            }
        }
        turn.settle(&mut cell.links);
        for slot in 0..cell.links.len() {
            while let Some((conn, bytes)) = cell.links[slot].take() {
                let (frame, _) = decode(&bytes, u32::MAX).expect("our packets are sound").expect("and whole");
                cell.shard.frame(self.now, conn, frame, &mut turn);
                turn.settle(&mut cell.links);
            }
        }
        if due {
            cell.shard.expire(self.now, &mut turn);
        }
        turn.settle(&mut cell.links);
        let Turn { messages, noops, said, .. } = turn;
        let before = cell.staging.batches();
        cell.staging.dispatch();
        let sent = cell.staging.batches() - before;
        cell.spent += start.elapsed();
        self.counted.messages += messages;
        self.counted.batches += sent;
        self.counted.noops += noops;
        if at == self.owner {
            self.counted.owner_messages += taken;
            self.counted.owner_batches += batches;
            self.counted.owner_sent += sent;
        }
        self.answer(said);
        let cell = &mut self.cells[at];
        cell.parked = !cell.links.iter().any(Link::is_readable) && cell.inbox.park();
    }

    /// Peers do what they do when they are told something.
    fn answer(&mut self, said: Vec<(ConnId, Said)>) {
        for (conn, said) in said {
            match said {
                Said::Assigned(handle) => {
                    let complete = packet(Command::WorkComplete, &[&handle], &PAYLOAD);
                    self.link(conn).unread.push_back(complete);
                    self.say(conn, Command::GrabJob);
                    if self.layout.kind == Kind::Flow {
                        self.submit_beside(conn);
                    }
                }
                Said::Told(Command::NoJob) => self.say(conn, Command::PreSleep),
                Said::Told(Command::Noop) => self.say(conn, Command::GrabJob),
                Said::Told(Command::WorkComplete) => self.submit(conn),
                Said::Told(_) => {}
            }
        }
    }
}

fn packet(command: Command, args: &[&[u8]], data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, Magic::Request, command, args, data);
    bytes
}
