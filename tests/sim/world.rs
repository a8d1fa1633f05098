//! Shards, the channels between them, sockets and clocks, on one thread.
//!
//! A turn of a shard has the phases of the reactor's loop, and other shards
//! may do anything between two of them:
//! take (frames off the sockets) - decide (drain at least what had been sent
//! before the take, then handle the frames) - send (one message after the
//! other becomes visible, in the order in which they leave: one destination
//! after the other, but for what `Message::leaves` says) - write (bytes leave,
//! after the last message).
//!
//! Only the order of the messages of one sender is kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;
use gearshard::protocol::decode::decode;
use gearshard::protocol::handle::HandlePrefix;
use gearshard::queue::change::{Change, RetryState};
use gearshard::shard::ids::{ConnId, Now, ShardId};
use gearshard::shard::message::{Leaves, Message, Refusal};
use gearshard::shard::outbox::{Event, Outbox, Tail, Urgency};
use gearshard::shard::settings::Settings;
use gearshard::shard::{Peer, Shard};

use crate::ask::{Ask, bytes};
use crate::link::{Link, LinkId, News};
use crate::model::{Model, tell};
use crate::options::Options;
use crate::rules::ensure;
use crate::store::Store;

/// The patience that shards have with woken workers.
pub(crate) const PATIENCE_US: u64 = 50_000;
/// A client that has so many packets to read is congested.
const UNREAD_MAX: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Taken,
    Sending,
}

/// What a shard took from its sockets.
enum Taken {
    Frame(LinkId, Ask, Vec<u8>),
    Gone(LinkId),
    Congested(LinkId, bool),
}

struct Cell {
    shard: Shard,
    phase: Phase,
    /// The clock as it was read for the turn.
    now: Now,
    taken: Vec<Taken>,
    /// By sender, messages that had been sent when the frames were taken.
    due: Vec<usize>,
    staged: VecDeque<(ShardId, Message)>,
    store: Store,
    /// Connections that were written to in this turn.
    written: Vec<LinkId>,
    /// Connections that live here.
    links: Vec<LinkId>,
}

/// Everything, at one moment.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) rng: Rng,
    pub(crate) model: Model,
    cells: Vec<Cell>,
    /// By sender and receiver.
    wires: Vec<VecDeque<Message>>,
    /// A shard whose thread gets no time for a while.
    stopped: Option<usize>,
    /// Steps that shards have made.
    pub(crate) steps: u64,
    settings: Arc<Settings>,
}

impl World {
    pub(crate) fn new(options: Options, told: bool) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let prefix = HandlePrefix::new("H:sim");
        let settings = Arc::new(Settings {
            shards: options.shards,
            handle_prefix: prefix.clone(),
            wakeup: options.wakeup,
            retries: options.retries,
            open_replies_max: options.open_replies_max,
            wake_patience_us: PATIENCE_US,
            grab_open_us: options.grab_open_us,
            durable: options.durable,
            policies: options.policy.map(|policy| (b"*"[..].into(), Some(policy))).into_iter().collect(),
            ..Settings::default()
        });
        let now = Now { mono_us: 1_000_000, unix_us: 1_700_000_000_000_000 + rng.u64(..1_000_000) };
        let count = usize::from(options.shards);
        let cells = (0..options.shards).map(|id| Cell {
            shard: {
                let mut shard = Shard::new(ShardId(id), Arc::clone(&settings));
                if let Some(bytes) = options.queue_bytes {
                    shard.bound_bytes(bytes);
                }
                shard
            },
            phase: Phase::Idle,
            now,
            taken: Vec::new(),
            due: Vec::new(),
            staged: VecDeque::new(),
            store: Store::default(),
            written: Vec::new(),
            links: Vec::new(),
        });
        Self {
            cells: cells.collect(),
            wires: (0..count * count).map(|_| VecDeque::new()).collect(),
            model: Model::new(&options, prefix, now, told),
            rng,
            options,
            stopped: None,
            steps: 0,
            settings,
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.cells.len()
    }

    pub(crate) fn shard(&self, at: usize) -> &Shard {
        &self.cells[at].shard
    }

    // What peers do.

    pub(crate) fn open(&mut self, home: usize) -> LinkId {
        let fd = i32::try_from(self.model.links.len()).expect("few links");
        let conn = self.cells[home].shard.open(Peer { fd, address: "sim".into() }).expect("a free slot");
        let link = self.model.add_link(Link::new(conn, self.settings.exceptions));
        self.cells[home].links.push(link);
        tell!(self.model, "open: link {link} is {conn:?}");
        link
    }

    pub(crate) fn send(&mut self, link: LinkId, ask: Ask) {
        let tick = self.model.next_tick();
        let ask = match ask {
            Ask::Grab { kind, .. } => Ask::Grab { kind, sent: tick },
            ask => ask,
        };
        if let Ask::Submit(submit) = ask {
            let latest = self.clocks().map(|now| now.unix_us).max().expect("the real clock is one");
            let submit = &mut self.model.submits[submit];
            (submit.sent, submit.unix_max_us) = (tick, latest);
        }
        tell!(self.model, "sent: link {link} {ask:?}");
        let bytes = bytes(&ask, &self.model.submits, &self.model.prefix);
        self.model.links[link].inbound.push_back((ask, bytes));
    }

    pub(crate) fn read(&mut self, link: LinkId) -> Option<News> {
        let news = self.model.links[link].outbound.pop_front()?;
        tell!(self.model, "read: link {link} {news:?}");
        if let News::Created(submit) = news {
            self.model.created_read(submit);
        }
        Some(news)
    }

    /// The peer closes its end; what it sent may or may not be read.
    pub(crate) fn hang_up(&mut self, link: LinkId) {
        tell!(self.model, "hangs up: link {link}");
        self.model.links[link].peer_gone = true;
    }

    // What shards do.

    /// Whether the shard has anything to do.
    fn is_busy(&self, at: usize) -> bool {
        let cell = &self.cells[at];
        cell.phase != Phase::Idle
            || cell.store.is_behind()
            || cell.store.is_asked()
            || (0..self.cells.len()).any(|from| !self.wires[from * self.cells.len() + at].is_empty())
            || cell.links.iter().any(|&link| {
                let link = &self.model.links[link];
                link.readable()
                    || (link.peer_gone || link.closing)
                    || link.congested != self.is_congested(link)
            })
            || cell.shard.deadline(self.model.now).is_some_and(|due| due <= self.model.now.mono_us)
    }

    fn is_congested(&self, link: &Link) -> bool {
        let most = if link.congested { UNREAD_MAX / 2 } else { UNREAD_MAX };
        self.options.congestion && link.outbound.len() > most
    }

    /// Lets one shard make a step or a whole turn. Whether there was one to make.
    pub(crate) fn step(&mut self) -> bool {
        let count = self.cells.len();
        let start = self.rng.usize(..count);
        if self.rng.u8(..60) == 0 {
            self.stopped = None;
        }
        let others = (0..count).map(|step| (start + step) % count).filter(|&at| self.stopped != Some(at));
        let Some(at) = others.chain(self.stopped).find(|&at| self.is_busy(at)) else {
            return false;
        };
        self.steps += 1;
        let whole = self.rng.u8(..100) < self.options.whole_turns;
        loop {
            match self.cells[at].phase {
                Phase::Idle => self.take(at),
                Phase::Taken => self.decide(at),
                Phase::Sending => self.publish(at, whole),
            }
            if !whole || self.cells[at].phase == Phase::Idle {
                break;
            }
        }
        // The system may stop a thread anywhere; between two sends it shows most.
        let seldom = if self.cells[at].staged.is_empty() { 16 } else { 3 };
        if self.cells[at].phase != Phase::Idle && self.stopped.is_none() && self.rng.u8(..seldom) == 0 {
            self.stopped = Some(at);
        }
        true
    }

    fn take(&mut self, at: usize) {
        let count = self.cells.len();
        self.cells[at].now = self.model.now;
        let start = self.rng.usize(..=self.cells[at].links.len());
        let mut links = self.cells[at].links.clone();
        links.rotate_left(start);
        let mut taken = Vec::new();
        for id in links {
            let congested = self.is_congested(&self.model.links[id]);
            let link = &mut self.model.links[id];
            if congested != link.congested {
                link.congested = congested;
                taken.push(Taken::Congested(id, congested));
            }
            let most = if link.readable() { self.rng.usize(..=link.inbound.len().min(4)) } else { 0 };
            for (ask, bytes) in link.inbound.drain(..most) {
                taken.push(Taken::Frame(id, ask, bytes));
            }
            let cut = link.closing || (link.peer_gone && (link.inbound.is_empty() || self.rng.u8(..4) == 0));
            if cut && self.rng.bool() {
                taken.push(Taken::Gone(id));
            }
        }
        let cell = &mut self.cells[at];
        cell.taken = taken;
        cell.due = (0..count).map(|from| self.wires[from * count + at].len()).collect();
        cell.phase = Phase::Taken;
    }

    fn decide(&mut self, at: usize) {
        let expire_first = self.rng.bool();
        if expire_first {
            self.expire(at);
        }
        self.drain(at);
        self.confirm(at);
        for taken in std::mem::take(&mut self.cells[at].taken) {
            self.handle(at, taken);
        }
        if !expire_first {
            self.expire(at);
        }
        self.sort_staged(at);
        self.cells[at].phase = Phase::Sending;
    }

    /// Puts what is staged into the order in which it leaves; which destination
    /// comes first is left to chance.
    fn sort_staged(&mut self, at: usize) {
        let mut batches: Vec<(ShardId, Vec<Message>)> = Vec::new();
        for (to, message) in self.cells[at].staged.drain(..) {
            match batches.iter_mut().find(|(other, _)| *other == to) {
                Some((_, batch)) => batch.push(message),
                None => batches.push((to, vec![message])),
            }
        }
        self.rng.shuffle(&mut batches);
        let announces = |batch: &[Message]| batch.iter().any(|message| message.leaves() == Leaves::First);
        let announced = batches.iter().filter(|(_, batch)| announces(batch)).count();
        let staged = &mut self.cells[at].staged;
        for (to, batch) in batches.iter_mut().filter(|(_, batch)| announces(batch)) {
            let leaves = |message: &mut Message| announced == 1 || message.leaves() != Leaves::Last;
            staged.extend(batch.extract_if(.., leaves).map(|message| (*to, message)));
        }
        for (to, batch) in batches {
            staged.extend(batch.into_iter().map(|message| (to, message)));
        }
    }

    /// Handles at least the messages that were there when the frames were taken.
    fn drain(&mut self, at: usize) {
        let count = self.cells.len();
        let more = self.rng.bool();
        let mut due = std::mem::take(&mut self.cells[at].due);
        for (from, due) in due.iter_mut().enumerate() {
            if more {
                *due = self.wires[from * count + at].len();
            }
        }
        let mut left: usize = due.iter().sum();
        while left > 0 {
            let mut from = self.rng.usize(..count);
            while due[from] == 0 {
                from = (from + 1) % count;
            }
            due[from] -= 1;
            left -= 1;
            let message = self.wires[from * count + at].pop_front().expect("counted before");
            tell!(self.model, "  {from} -> {at}: {message:?}");
            let from = ShardId(u16::try_from(from).expect("few shards"));
            self.with(at, |shard, now, out| shard.receive(now, from, message, out));
        }
    }

    /// The store may have got on.
    fn confirm(&mut self, at: usize) {
        if self.cells[at].store.is_asked() {
            // Nothing is written meanwhile.
            if self.rng.bool() {
                let read = self.cells[at].store.read(&mut self.rng);
                tell!(self.model, "  {at} is given by its store: {read:?}");
                self.with(at, |shard, now, out| shard.read_back(now, read, out));
            }
        } else if self.cells[at].store.is_behind() && self.rng.bool() {
            let progress = self.cells[at].store.confirm(&mut self.rng);
            tell!(self.model, "  {at} hears from its store: {progress:?}");
            self.with(at, |shard, now, out| shard.stored(now, &progress, out));
        }
    }

    /// What the stores would give back; `None` where jobs are kept in memory only.
    pub(crate) fn kept(&self) -> Option<BTreeMap<u64, RetryState>> {
        let kept = self.cells.iter().flat_map(|cell| cell.store.states());
        self.options.durable.then(|| kept.collect())
    }

    fn expire(&mut self, at: usize) {
        let now = self.cells[at].now;
        if self.cells[at].shard.deadline(now).is_some_and(|due| due <= now.mono_us) {
            tell!(self.model, "  shard {at} expires");
            self.with(at, |shard, now, out| shard.expire(now, out));
            let next = self.cells[at].shard.deadline(now);
            ensure!(
                next.is_none_or(|next| next > now.mono_us),
                DeadlineMovesOn,
                "at {} the next deadline is {next:?}",
                now.mono_us
            );
        }
    }

    fn handle(&mut self, at: usize, taken: Taken) {
        match taken {
            Taken::Frame(id, ask, bytes) => {
                let link = &mut self.model.links[id];
                if !link.open || link.closing {
                    return;
                }
                if link.held || !link.waiting_again.is_empty() {
                    // Taken before the hold: it waits, before what came later.
                    return link.waiting_again.push((ask, bytes));
                }
                self.model.oldest_us = self.oldest().mono_us;
                self.model.handed(id, &ask);
                let conn = self.model.links[id].conn;
                let (frame, used) = decode(&bytes, u32::MAX).expect("well-formed").expect("whole");
                debug_assert_eq!(used, bytes.len());
                self.with(at, |shard, now, out| shard.frame(now, conn, frame, out));
                let closing = self.model.links[id].closing;
                ensure!(closing == matches!(ask, Ask::Broken), OnlyBadInputCloses, "{ask:?} on link {id}");
            }
            Taken::Gone(id) => {
                if self.model.links[id].open {
                    self.cells[at].links.retain(|&link| link != id);
                    self.model.gone(id);
                    let conn = self.model.links[id].conn;
                    self.with(at, |shard, now, out| shard.close(now, conn, out));
                }
            }
            Taken::Congested(id, congested) => {
                if self.model.links[id].open {
                    let conn = self.model.links[id].conn;
                    tell!(self.model, "congested: link {id} {congested}");
                    self.with(at, |shard, now, out| shard.congested(now, conn, congested, out));
                }
            }
        }
    }

    fn publish(&mut self, at: usize, all: bool) {
        let count = self.cells.len();
        let staged = self.cells[at].staged.len();
        let most = if all { staged } else { self.rng.usize(..=staged.min(3)) };
        for _ in 0..most {
            let (to, message) = self.cells[at].staged.pop_front().expect("counted before");
            self.wires[at * count + to.index()].push_back(message);
        }
        if self.cells[at].staged.is_empty() && (all || self.rng.bool()) {
            for id in std::mem::take(&mut self.cells[at].written) {
                let link = &mut self.model.links[id];
                if link.open {
                    link.outbound.extend(link.unflushed.drain(..));
                }
            }
            self.requeue_waiting(at);
            self.cells[at].phase = Phase::Idle;
        }
    }

    /// Frames that were taken before a hold go back to the head of the line.
    fn requeue_waiting(&mut self, at: usize) {
        for &id in &self.cells[at].links {
            let link = &mut self.model.links[id];
            for frame in link.waiting_again.drain(..).rev() {
                link.inbound.push_front(frame);
            }
        }
    }

    fn with(&mut self, at: usize, call: impl FnOnce(&mut Shard, Now, &mut Rim<'_>)) {
        let cell = &mut self.cells[at];
        let mut rim = Rim {
            shard: at,
            model: &mut self.model,
            staged: &mut cell.staged,
            store: &mut cell.store,
            written: &mut cell.written,
        };
        call(&mut cell.shard, cell.now, &mut rim);
    }

    pub(crate) fn refuse_submits(&mut self, refusal: Option<Refusal>) {
        tell!(self.model, "refuse: {refusal:?}");
        self.model.drained |= refusal.is_some();
        for cell in &mut self.cells {
            cell.shard.refuse_submits(refusal);
        }
    }

    /// Whether a job has left its owner and not reached its worker, or is on its way back.
    pub(crate) fn assignment_on_its_way(&self) -> bool {
        let staged = self.cells.iter().flat_map(|cell| cell.staged.iter().map(|(_, message)| message));
        let moves = |message: &Message| {
            matches!(message, Message::Claim { .. } | Message::Assigned { .. } | Message::Returned { .. })
        };
        self.wires.iter().flatten().chain(staged).any(moves)
    }

    // Clocks.

    /// The clock, and what it was when the turns began that are going on.
    fn clocks(&self) -> impl Iterator<Item = Now> + '_ {
        let turns = self.cells.iter().filter(|cell| cell.phase != Phase::Idle).map(|cell| cell.now);
        turns.chain([self.model.now])
    }

    fn oldest(&self) -> Now {
        self.clocks().min_by_key(|now| now.mono_us).expect("the real clock is one")
    }

    /// The earliest moment at which some shard has something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.cells.iter().filter_map(|cell| cell.shard.deadline(self.model.now)).min()
    }

    /// When the next GRAB that waits for a job must be answered, if one waits.
    pub(crate) fn open_grab_ends_in_us(&self) -> Option<u64> {
        let waits = self.model.links.iter().any(|link| link.open && link.owes_a_grab());
        let ahead_us = self.deadline()?.saturating_sub(self.model.now.mono_us);
        (waits && ahead_us <= self.options.grab_open_us).then_some(ahead_us)
    }

    pub(crate) fn pass(&mut self, us: u64) {
        self.model.now = self.model.now.plus_us(us);
        self.note_unix();
    }

    pub(crate) fn set_unix(&mut self, unix_us: u64) {
        tell!(self.model, "the clock is set to {unix_us}");
        self.model.now.unix_us = unix_us;
        self.note_unix();
    }

    fn note_unix(&mut self) {
        let unix_us = self.model.now.unix_us;
        if self.options.epochs {
            for submit in self.model.submits.iter_mut().filter(|submit| submit.not_before_s != 0) {
                submit.unix_max_us = submit.unix_max_us.max(unix_us);
            }
        }
    }

    /// Lets the shards run until none of them has anything to do.
    pub(crate) fn run_until_quiet(&mut self) {
        let waiting: usize = self.wires.iter().map(VecDeque::len).sum();
        let inbound: usize = self.model.links.iter().map(|link| link.inbound.len()).sum();
        let most = self.steps + 20_000 + 400 * (waiting + inbound) as u64;
        while self.step() {
            ensure!(self.steps < most, QuietComes, "no input, and still no silence");
        }
    }
}

/// Carries out what a shard wants, and lets the model see it.
struct Rim<'a> {
    shard: usize,
    model: &'a mut Model,
    staged: &'a mut VecDeque<(ShardId, Message)>,
    store: &'a mut Store,
    written: &'a mut Vec<LinkId>,
}

impl Outbox for Rim<'_> {
    fn write(&mut self, conn: ConnId, _: Urgency, head: &[u8], tail: Option<Tail<'_>>) {
        let link = self.model.link_of(conn);
        ensure!(conn.shard().index() == self.shard, OutboxContract, "{conn:?} lives elsewhere");
        self.model.written(link, [head, tail.as_ref().map_or(&[], |tail| tail.bytes())]);
        if !self.written.contains(&link) {
            self.written.push(link);
        }
    }

    fn send(&mut self, to: ShardId, message: Message) {
        ensure!(to.index() != self.shard, OutboxContract, "a message to oneself: {message:?}");
        tell!(self.model, "  {} stages for {}: {message:?}", self.shard, to.0);
        self.staged.push_back((to, message));
    }

    fn store(&mut self, change: Change) {
        tell!(self.model, "  {} stores {change:?}", self.shard);
        self.store.hand_over(change);
    }

    fn read(&mut self, numbers: Vec<u64>) {
        tell!(self.model, "  {} asks its store for {numbers:?}", self.shard);
        self.store.ask(numbers);
    }

    fn close(&mut self, conn: ConnId) {
        let link = self.model.link_of(conn);
        self.model.links[link].closing = true;
    }

    fn hold(&mut self, conn: ConnId) {
        let link = self.model.link_of(conn);
        tell!(self.model, "  hold link {link}");
        self.model.links[link].held = true;
    }

    fn resume(&mut self, conn: ConnId) {
        let link = self.model.link_of(conn);
        tell!(self.model, "  resume link {link}");
        self.model.links[link].held = false;
    }

    fn event(&mut self, _: Event<'_>) {}
}
