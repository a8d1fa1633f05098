//! A shard: the pure, deterministic core of the server.
//!
//! It takes one input and the time, and writes what should happen into an
//! [`Outbox`]. It never reads a clock, blocks, or looks at another shard. The
//! reactor, the unit tests and the simulator drive the very same code.
//!
//! Every shard plays two parts. As *home* it knows its connections: what a
//! worker serves, who sleeps, in which order replies are due. As *owner* it
//! knows the jobs of the functions that hash to it. The two talk in
//! [`Message`]s, also inside one shard.

mod awaited;
mod belief;
mod client;
mod connection;
mod context;
pub mod counts;
mod dead;
mod durable;
mod gathered;
mod grab;
mod home;
pub mod ids;
mod interest;
pub mod message;
mod open_grab;
pub mod outbox;
mod outlook;
mod owner;
pub mod placement;
mod registrations;
mod replies;
mod retry;
mod runnable;
pub mod settings;
mod sleep;
mod spill;
mod text;
mod worker;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::decode::{DecodeError, Frame};
use crate::queue::body::Body;
use crate::queue::change::{Progress, ReadBack, StoredJob};
use client::Key;
use context::Context;
use counts::Counts;
use home::Home;
use ids::{ConnId, Now, ShardId};
use message::{Message, Refusal};
use outbox::Outbox;
use owner::Owner;
use placement::owner_of;
use settings::Settings;

/// Who is at the other end of a connection, as `workers` shows it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// A number for the first column; the descriptor.
    pub fd: i32,
    /// Address without port; a word without spaces.
    pub address: Box<str>,
}

/// One shard's state.
pub struct Shard {
    id: ShardId,
    settings: Arc<Settings>,
    counts: Counts,
    home: Home,
    owner: Owner,
    /// Messages to itself that wait to be handled; empty between inputs.
    local: VecDeque<Message>,
}

/// Splits a shard into its parts and what they share for one input.
macro_rules! parts {
    ($shard:ident, $now:expr, $out:expr) => {{
        let Shard { id, settings, counts, home, owner, local } = $shard;
        let settings: &Settings = settings;
        let cx = Context { id: *id, now: $now, settings, received: None, counts, local, out: $out };
        (home, owner, cx)
    }};
}

impl Shard {
    /// A shard without connections or jobs.
    ///
    /// # Panics
    /// When `id` is not one of the shards that `settings` counts.
    #[must_use]
    pub fn new(id: ShardId, settings: Arc<Settings>) -> Self {
        assert!(id.0 < settings.shards, "shards are counted from 0");
        Self {
            id,
            counts: Counts::default(),
            home: Home::new(id),
            owner: Owner::new(id, &settings),
            settings,
            local: VecDeque::new(),
        }
    }

    /// Takes in a new connection; `None` when there is no slot left.
    /// Slots are dense and small: the lowest free one is taken.
    pub fn open(&mut self, peer: Peer) -> Option<ConnId> {
        self.counts.connections += 1;
        let conn = self.home.connections.insert(peer, self.settings.exceptions);
        self.counts.connections -= u64::from(conn.is_none());
        conn
    }

    /// Handles one packet or line of a connection that lives here and is not held.
    pub fn frame(&mut self, now: Now, conn: ConnId, frame: Frame<'_>, out: &mut impl Outbox) {
        self.frame_within(now, conn, frame, None, out);
    }

    /// The same; what is kept of the frame is shared with `received`, which it lies in.
    pub fn frame_within(
        &mut self,
        now: Now,
        conn: ConnId,
        frame: Frame<'_>,
        received: Option<&Body>,
        out: &mut impl Outbox,
    ) {
        let (home, owner, mut cx) = parts!(self, now, out);
        cx.received = received;
        home.frame(conn, frame, &mut cx);
        settle(home, owner, &mut cx);
        home.settle(conn, &mut cx);
    }

    /// These frames are about to come: what many submits will look at is fetched
    /// into the processor's caches. Changes nothing.
    pub fn foresee<'a>(&self, frames: impl Iterator<Item = &'a Frame<'a>>) {
        let own = |key: &Key<'_>| owner_of(key.function, self.settings.shards) == self.id;
        self.owner.foresee(frames.filter_map(Key::of_submit).filter(own));
    }

    /// Whether an answer is on its way to `conn`, and `conn` is no worker: a
    /// client that has said all it had to say may still want to hear it.
    #[must_use]
    pub fn owes(&self, conn: ConnId) -> bool {
        let connection = self.home.connections.get(conn);
        connection.is_some_and(|connection| connection.worker.is_none() && connection.replies.len() > 0)
    }

    /// Whether `conn` is as it came, so that it may be closed here and opened on
    /// another shard without its peer's noticing.
    #[must_use]
    pub fn is_blank(&self, conn: ConnId) -> bool {
        self.home.connections.get(conn).is_some_and(|it| it.is_blank(self.settings.exceptions))
    }

    /// The bytes of a connection cannot be decoded: answers if there is an
    /// answer, and closes it.
    pub fn bad_input(&mut self, now: Now, conn: ConnId, error: &DecodeError, out: &mut impl Outbox) {
        let (home, _, mut cx) = parts!(self, now, out);
        home.bad_input(conn, error, &mut cx);
    }

    /// The connection is gone. `conn` is not valid after this.
    pub fn close(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox) {
        let (home, owner, mut cx) = parts!(self, now, out);
        home.close(conn, &mut cx);
        settle(home, owner, &mut cx);
    }

    /// Handles one message from another shard.
    pub fn receive(&mut self, now: Now, from: ShardId, message: Message, out: &mut impl Outbox) {
        let (home, owner, mut cx) = parts!(self, now, out);
        dispatch(home, owner, from, message, &mut cx);
        settle(home, owner, &mut cx);
    }

    /// What is written to `conn` piles up (or no longer does): the workers
    /// that produce it are paused (or go on).
    pub fn congested(&mut self, now: Now, conn: ConnId, congested: bool, out: &mut impl Outbox) {
        let (home, owner, mut cx) = parts!(self, now, out);
        home.congested(conn, congested, &mut cx);
        settle(home, owner, &mut cx);
    }

    /// The earliest monotonic time, in microseconds, at which [`expire`](Self::expire)
    /// may have something to do.
    #[must_use]
    pub fn deadline(&self, now: Now) -> Option<u64> {
        let patience = self.home.patience.front().map(|first| first.until_us);
        let moment = self.home.moments.front().map(|first| first.until_us);
        [patience, moment, self.owner.deadline_us(now)].into_iter().flatten().min()
    }

    /// Does what is due: epoch jobs, job timeouts, patience with woken workers, GRABs that stay open.
    pub fn expire(&mut self, now: Now, out: &mut impl Outbox) {
        let (home, owner, mut cx) = parts!(self, now, out);
        owner.expire(&mut cx);
        settle(home, owner, &mut cx);
        home.expire(&mut cx);
        settle(home, owner, &mut cx);
    }

    /// The store has got on with what it was handed.
    pub fn stored(&mut self, now: Now, progress: &Progress, out: &mut impl Outbox) {
        let (home, owner, mut cx) = parts!(self, now, out);
        owner.stored(progress, &mut cx);
        settle(home, owner, &mut cx);
    }

    /// The store has read jobs that it was asked for.
    pub fn read_back(&mut self, now: Now, read: ReadBack, out: &mut impl Outbox) {
        let (home, owner, mut cx) = parts!(self, now, out);
        owner.read_back(read, &mut cx);
        settle(home, owner, &mut cx);
    }

    /// From now on the jobs here may take about so many bytes: above that,
    /// workloads that the store has and that are far from their turn are only there.
    pub fn bound_bytes(&mut self, bytes: usize) {
        self.owner.bound_bytes(bytes);
    }

    /// Takes in a job that a store has kept; nobody is connected yet.
    pub fn restore(&mut self, now: Now, job: StoredJob, out: &mut impl Outbox) {
        let (home, owner, mut cx) = parts!(self, now, out);
        owner.restore(job, &mut cx);
        settle(home, owner, &mut cx);
    }

    /// Numbers up to this one have been given to jobs by an earlier process.
    pub fn skip_numbers(&mut self, number: u64) {
        self.owner.skip_numbers(number, self.settings.shards);
    }

    /// From now on, refuses submits for this reason, or no longer.
    pub fn refuse_submits(&mut self, refusal: Option<Refusal>) {
        self.home.refusal = refusal;
    }

    /// The counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            jobs: self.owner.queue.len() as u64,
            dead: self.owner.queue.dead() as u64,
            job_bytes: self.owner.queue.bytes() as u64,
            ..self.counts
        }
    }
}

/// Handles what the shard has said to itself, and what that leads to.
fn settle<O: Outbox>(home: &mut Home, owner: &mut Owner, cx: &mut Context<'_, O>) {
    while let Some(message) = cx.local.pop_front() {
        dispatch(home, owner, cx.id, message, cx);
    }
}

fn dispatch<O: Outbox>(
    home: &mut Home,
    owner: &mut Owner,
    from: ShardId,
    message: Message,
    cx: &mut Context<'_, O>,
) {
    match message {
        Message::Submit(submit) => owner.submit(submit, cx),
        Message::Interest { function, key, workers } => owner.interest(from, function, key, workers, cx),
        Message::Claim { worker, functions, floor, others } => {
            owner.claim(worker, &functions, floor, others, cx);
        }
        Message::Work { worker, run, kind, body } => owner.work(worker, run, kind, &body, cx),
        Message::Abandoned { worker, runs } => owner.abandoned(worker, &runs, cx),
        Message::Returned { worker, run } => owner.returned(worker, run, cx),
        Message::Detach { waiter, number } => owner.detach(waiter, number, cx),
        Message::StatusQuery { reply, number } => owner.status(reply, number, cx),
        Message::UniqueQuery { reply, unique } => owner.unique_status(reply, &unique, cx),
        Message::Unwoken { function, left } => owner.unwoken(from, function, left, cx),
        Message::Sleeper { function } => owner.sleeper(from, function, cx),
        Message::Admin { reply, query } => text::admin(home, owner, reply, &query, cx),

        Message::Created { reply, number, waiter } => home.created(reply, number, waiter, cx),
        Message::Refused { reply, waiter, refusal } => home.refused(reply, waiter, refusal, cx),
        Message::Ready { key, function, best, wake } => home.ready(from, key, function, best, wake, cx),
        Message::Assigned { worker, job, bests } => home.assigned(from, worker, &job, &bests, cx),
        Message::Missed { worker, bests } => home.missed(worker, &bests, cx),
        Message::Released { worker, number } => home.released(worker, number),
        Message::Deliver { waiter, number, kind, body, producer } => {
            home.deliver(waiter, number, kind, &body, producer, cx);
        }
        Message::StatusAnswer { reply, status } => home.status_answer(reply, status, cx),
        Message::UniqueAnswer { reply, status } => home.unique_answer(from, reply, status, cx),
        Message::AdminAnswer { reply, text } => home.admin_answer(from, reply, text, cx),

        Message::Pause { producer } => home.pause(producer, cx),
        Message::Unpause { producer } => home.unpause(producer, cx),
    }
}

#[cfg(test)]
mod tests;
