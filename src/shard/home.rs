//! The home's part of a shard: its connections, and what they ask.
//!
//! Reads a request, answers what it can, asks owners for the rest, and keeps
//! the replies of a connection in the order of its requests. The parts of a
//! home: this file (connections, dispatch, holding back), `client.rs`
//! (submits, status, news of jobs), `grab.rs` (registration, claims, results),
//! `sleep.rs` (who sleeps and who is woken), `open_grab.rs` (GRABs that wait
//! for a job), `text.rs` (admin lines).
//!
//! Knows of owners only what their messages say.

use std::collections::VecDeque;

use super::belief::Beliefs;
use super::client::Submission;
use super::connection::{Connections, Question, Writer};
use super::context::Context;
use super::ids::{ConnId, ShardId};
use super::message::{Message, Refusal, Reply, Waiter, WorkKind};
use super::open_grab::Moment;
use super::outbox::{Event, Outbox, Tail, Urgency};
use super::sleep::Patience;
use super::worker::GrabForm;
use crate::protocol::decode::{DecodeError, Frame};
use crate::protocol::encode::encode;
use crate::protocol::packet::{Command, Magic, Packet};
use crate::protocol::up_to_nul;
use crate::queue::job::Priority;

/// A reply that is written at once: its command, its arguments and its data.
pub(super) type Parts<'a> = (Command, &'a [&'a [u8]], &'a [u8]);

/// Connections and beliefs of one shard.
pub(super) struct Home {
    pub(super) connections: Connections,
    pub(super) beliefs: Beliefs,
    /// Woken workers who have not come yet, by the end of our patience.
    pub(super) patience: VecDeque<Patience>,
    /// GRABs that stay open, or did and are answered, by the end of their moment.
    pub(super) moments: VecDeque<Moment>,
    /// Wakes so far.
    pub(super) wakes: u64,
    /// The last listing given to a sleeper.
    pub(super) listing: u32,
    /// How many of the last claims have found a job, more or less.
    pub(super) luck: u8,
    /// Why submits are refused, if they are.
    pub(super) refusal: Option<Refusal>,
    /// The connection whose frame is being handled; it is held after that.
    current: Option<ConnId>,
    /// Where packets are put together.
    pub(super) scratch: Vec<u8>,
}

impl Home {
    pub(super) fn new(shard: ShardId) -> Self {
        Self {
            connections: Connections::new(shard),
            beliefs: Beliefs::default(),
            patience: VecDeque::new(),
            moments: VecDeque::new(),
            wakes: 0,
            listing: 0,
            luck: 0,
            refusal: None,
            current: None,
            scratch: Vec::new(),
        }
    }

    pub(super) fn close<O: Outbox>(&mut self, conn: ConnId, cx: &mut Context<'_, O>) {
        let Some(connection) = self.connections.remove(conn) else { return };
        cx.counts.connections -= 1;
        cx.counts.open_replies -= connection.replies.len() as u64;
        if let Some(worker) = connection.worker {
            self.worker_gone(conn, &worker, cx);
        }
        for (ticket, number) in connection.awaited.known() {
            let waiter = Waiter { conn, ticket };
            cx.send(cx.settings.owner_of_job(number), Message::Detach { waiter, number });
        }
        for producer in connection.paused {
            cx.send(producer.shard(), Message::Unpause { producer });
        }
    }

    /// Handles a frame; [`settle`](Self::settle) must follow.
    pub(super) fn frame<O: Outbox>(&mut self, conn: ConnId, frame: Frame<'_>, cx: &mut Context<'_, O>) {
        if self.connections.get(conn).is_none_or(|connection| connection.closing) {
            return;
        }
        self.current = Some(conn);
        if !is_of_work(&frame) {
            self.end_moment(conn, cx);
        }
        match frame {
            Frame::Binary(packet) => self.packet(conn, &packet, cx),
            Frame::Line(line) => self.line(conn, line, cx),
        }
    }

    /// The frame and what it led to inside this shard are done.
    pub(super) fn settle<O: Outbox>(&mut self, conn: ConnId, cx: &mut Context<'_, O>) {
        self.current = None;
        self.update_hold(conn, cx);
    }

    fn packet<O: Outbox>(&mut self, conn: ConnId, packet: &Packet<'_>, cx: &mut Context<'_, O>) {
        if packet.magic == Magic::Response {
            return self.refuse(conn, "INVALID_MAGIC", "Request magic expected", cx);
        }
        let [a, b, c, ..] = packet.args;
        let data = packet.data;
        match packet.command {
            Command::CanDo => self.can_do(conn, a, 0, cx),
            Command::CanDoTimeout => self.can_do_timeout(conn, a, b, cx),
            Command::CantDo => self.cant_do(conn, a, cx),
            Command::ResetAbilities => self.reset_abilities(conn, cx),
            Command::PreSleep => self.pre_sleep(conn, cx),
            Command::GrabJob => self.grab(conn, GrabForm::Plain, cx),
            Command::GrabJobUniq => self.grab(conn, GrabForm::Unique, cx),
            Command::GrabJobAll => self.grab(conn, GrabForm::All, cx),
            Command::SetClientId => self.set_client_id(conn, a),
            Command::WorkData => self.work(conn, WorkKind::Data, a, data, cx),
            Command::WorkWarning => self.work(conn, WorkKind::Warning, a, data, cx),
            Command::WorkComplete => self.work(conn, WorkKind::Complete, a, data, cx),
            Command::WorkException => self.work(conn, WorkKind::Exception, a, data, cx),
            Command::WorkFail => self.work_fail(conn, a, cx),
            Command::WorkStatus => self.work_status(conn, a, b, c, cx),
            Command::SubmitJob => self.submit(conn, Submission::new(Priority::Normal, a, b, data), cx),
            Command::SubmitJobHigh => self.submit(conn, Submission::new(Priority::High, a, b, data), cx),
            Command::SubmitJobLow => self.submit(conn, Submission::new(Priority::Low, a, b, data), cx),
            Command::SubmitJobBg => {
                self.submit(conn, Submission::background(Priority::Normal, a, b, data), cx)
            }
            Command::SubmitJobHighBg => {
                self.submit(conn, Submission::background(Priority::High, a, b, data), cx)
            }
            Command::SubmitJobLowBg => {
                self.submit(conn, Submission::background(Priority::Low, a, b, data), cx)
            }
            Command::SubmitJobEpoch => self.submit_epoch(conn, a, b, c, data, cx),
            Command::SubmitReduceJob => {
                self.submit(conn, Submission::new(Priority::Normal, a, b, data).reduced_by(c), cx);
            }
            Command::SubmitReduceJobBackground => {
                self.submit(conn, Submission::background(Priority::Normal, a, b, data).reduced_by(c), cx);
            }
            Command::GetStatus => self.get_status(conn, a, cx),
            Command::GetStatusUnique => self.get_status_unique(conn, a, cx),
            Command::EchoReq => self.reply(conn, Urgency::Idle, (Command::EchoRes, &[], data), cx),
            Command::OptionReq => self.option(conn, a, cx),
            Command::Unused
            | Command::Noop
            | Command::JobCreated
            | Command::NoJob
            | Command::JobAssign
            | Command::EchoRes
            | Command::Error
            | Command::StatusRes
            | Command::AllYours
            | Command::OptionRes
            | Command::JobAssignUniq
            | Command::SubmitJobSched
            | Command::JobAssignAll
            | Command::StatusResUnique => {
                self.refuse(conn, "INVALID_COMMAND", "Command not expected", cx);
            }
        }
    }

    pub(super) fn bad_input<O: Outbox>(
        &mut self,
        conn: ConnId,
        error: &DecodeError,
        cx: &mut Context<'_, O>,
    ) {
        if matches!(error, DecodeError::TooLarge { .. }) {
            self.refuse(conn, "ARGUMENT_TOO_LARGE", &error.to_string(), cx);
        }
        self.reject(conn, &error.to_string(), cx);
    }

    /// Closes a connection that broke the protocol.
    pub(super) fn reject<O: Outbox>(&mut self, conn: ConnId, reason: &str, cx: &mut Context<'_, O>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if !std::mem::replace(&mut connection.closing, true) {
            cx.counts.bad_input += 1;
            cx.out.event(Event::BadInput { conn, reason });
            cx.out.close(conn);
        }
    }

    /// Answers with an ERROR packet.
    pub(super) fn refuse<O: Outbox>(
        &mut self,
        conn: ConnId,
        code: &str,
        text: &str,
        cx: &mut Context<'_, O>,
    ) {
        let args = [code.as_bytes(), text.as_bytes()];
        self.reply(conn, Urgency::Idle, (Command::Error, &args, b""), cx);
    }

    /// Answers a request that needs no other shard.
    pub(super) fn reply<O: Outbox>(
        &mut self,
        conn: ConnId,
        urgency: Urgency,
        (command, args, data): Parts<'_>,
        cx: &mut Context<'_, O>,
    ) {
        self.put(command, args, data);
        self.reply_scratch(conn, urgency, cx);
    }

    /// Puts a packet into `scratch`.
    pub(super) fn put(&mut self, command: Command, args: &[&[u8]], data: &[u8]) {
        self.scratch.clear();
        encode(&mut self.scratch, Magic::Response, command, args, data);
    }

    /// Answers such a request with what is in `scratch`.
    pub(super) fn reply_scratch<O: Outbox>(
        &mut self,
        conn: ConnId,
        urgency: Urgency,
        cx: &mut Context<'_, O>,
    ) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let before = connection.replies.len();
        connection.replies.reply(urgency, &self.scratch, &mut Writer { conn, out: cx.out });
        cx.counts.open_replies += (connection.replies.len() - before) as u64;
        if self.scratch.capacity() > SCRATCH_KEPT {
            self.scratch = Vec::new();
        }
        self.update_hold(conn, cx);
    }

    /// Reserves the place of an answer that comes from elsewhere.
    pub(super) fn ask<O: Outbox>(
        &mut self,
        conn: ConnId,
        question: Question,
        cx: &mut Context<'_, O>,
    ) -> Option<Reply> {
        let sequence = self.connections.get_mut(conn)?.replies.open(question);
        cx.counts.open_replies += 1;
        Some(Reply { conn, sequence })
    }

    /// Answers a reserved place with what is in `scratch`, and `tail`.
    pub(super) fn answer<O: Outbox>(
        &mut self,
        reply: Reply,
        urgency: Urgency,
        tail: Option<Tail<'_>>,
        cx: &mut Context<'_, O>,
    ) {
        let conn = reply.conn;
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let before = connection.replies.len();
        connection.replies.answer(
            reply.sequence,
            urgency,
            &self.scratch,
            tail,
            &mut Writer { conn, out: cx.out },
        );
        cx.counts.open_replies -= (before - connection.replies.len()) as u64;
        self.update_hold(conn, cx);
    }

    /// Writes news of a job: what is in `scratch`, and `tail`.
    pub(super) fn news<O: Outbox>(
        &mut self,
        conn: ConnId,
        urgency: Urgency,
        tail: Option<Tail<'_>>,
        cx: &mut Context<'_, O>,
    ) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let before = connection.replies.len();
        connection.replies.news(urgency, &self.scratch, tail, &mut Writer { conn, out: cx.out });
        cx.counts.open_replies += (connection.replies.len() - before) as u64;
    }

    /// Tells the reactor whether frames of this connection may be handled: not
    /// while an owner is asked for a GRAB, not while too many replies are due, and not
    /// while a client cannot take what it produces.
    pub(super) fn update_hold<O: Outbox>(&mut self, conn: ConnId, cx: &mut Context<'_, O>) {
        if self.current == Some(conn) {
            return;
        }
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let most = cx.settings.open_replies_max;
        let due = if connection.held { most / 2 } else { most };
        let grabbing =
            connection.worker.as_ref().is_some_and(|worker| worker.grab.is_some_and(|grab| !grab.open));
        let hold = grabbing || connection.paused_by > 0 || connection.replies.len() >= due.max(1);
        if hold != connection.held {
            connection.held = hold;
            if hold { cx.out.hold(conn) } else { cx.out.resume(conn) }
        }
    }

    pub(super) fn congested<O: Outbox>(&mut self, conn: ConnId, congested: bool, cx: &mut Context<'_, O>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.congested = congested;
        if !congested {
            for producer in std::mem::take(&mut connection.paused) {
                cx.send(producer.shard(), Message::Unpause { producer });
            }
        }
    }

    pub(super) fn pause<O: Outbox>(&mut self, producer: ConnId, cx: &mut Context<'_, O>) {
        let Some(connection) = self.connections.get_mut(producer) else { return };
        connection.paused_by += 1;
        self.update_hold(producer, cx);
    }

    pub(super) fn unpause<O: Outbox>(&mut self, producer: ConnId, cx: &mut Context<'_, O>) {
        let Some(connection) = self.connections.get_mut(producer) else { return };
        connection.paused_by -= 1;
        self.update_hold(producer, cx);
    }

    fn set_client_id(&mut self, conn: ConnId, id: &[u8]) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.name = Some(id[..id.len().min(CLIENT_ID_BYTES_MAX)].into());
        }
    }

    fn option<O: Outbox>(&mut self, conn: ConnId, name: &[u8], cx: &mut Context<'_, O>) {
        if !up_to_nul(name).eq_ignore_ascii_case(b"exceptions") {
            return self.refuse(conn, "UNKNOWN_OPTION", "Server does not recognize given option", cx);
        }
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.exceptions = true;
        }
        self.reply(conn, Urgency::Idle, (Command::OptionRes, &[name], b""), cx);
    }
}

/// What `workers` shows of a SET_CLIENT_ID at most (gearmand-spec.md, section 6).
const CLIENT_ID_BYTES_MAX: usize = 127;

/// Room that `scratch` may keep.
const SCRATCH_KEPT: usize = 64 * 1024;

/// Whether it is a GRAB, or news of a job: what a worker with an open GRAB goes on with.
const fn is_of_work(frame: &Frame<'_>) -> bool {
    matches!(
        frame,
        Frame::Binary(Packet {
            command: Command::GrabJob
                | Command::GrabJobUniq
                | Command::GrabJobAll
                | Command::WorkComplete
                | Command::WorkFail
                | Command::WorkException
                | Command::WorkData
                | Command::WorkStatus
                | Command::WorkWarning,
            ..
        })
    )
}
