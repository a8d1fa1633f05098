//! Clients of a home: submits, status questions, and news of jobs.

use super::awaited::Awaited;
use super::connection::Question;
use super::context::Context;
use super::gathered::Gathered;
use super::home::Home;
use super::ids::{ConnId, ShardId};
use super::message::{JobStatus, Message, Refusal, Reply, Submit, Waiter, WorkKind};
use super::outbox::{Outbox, Tail, Urgency};
use super::placement::owner_of;
use crate::protocol::decode::Frame;
use crate::protocol::encode::encode_head;
use crate::protocol::number;
use crate::protocol::packet::{Command, Magic, Packet};
use crate::protocol::up_to_nul;
use crate::queue::body::Body;
use crate::queue::change::NotKept;
use crate::queue::job::Priority;
use crate::queue::name::Name;

/// Longest unique, and longest reducer (gearmand-spec.md, section 2.2).
const UNIQUE_BYTES_MAX: usize = 64;

/// Longest function name, unique and reducer together. With header and handle
/// they fit into the 8192 bytes that clients and workers receive arguments in;
/// more could be queued, but never be delivered (gearmand-spec.md, section 2.2).
pub(super) const NAMES_BYTES_MAX: usize = 8000;

/// What a submit coalesces by.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) function: &'a [u8],
    pub(super) unique: &'a [u8],
    pub(super) workload: &'a [u8],
}

impl<'a> Key<'a> {
    /// That of a submit as clients mostly send them; `None` for anything else.
    pub(super) fn of_submit(frame: &Frame<'a>) -> Option<Self> {
        let Frame::Binary(Packet { command, args: [function, unique, ..], data: workload, .. }) = *frame
        else {
            return None;
        };
        let submits = matches!(
            command,
            Command::SubmitJob
                | Command::SubmitJobBg
                | Command::SubmitJobHigh
                | Command::SubmitJobHighBg
                | Command::SubmitJobLow
                | Command::SubmitJobLowBg
        );
        submits.then_some(Self { function, unique, workload })
    }
}

/// A submit as it was read.
#[derive(Clone, Copy)]
pub(super) struct Submission<'a> {
    function: &'a [u8],
    unique: &'a [u8],
    reducer: Option<&'a [u8]>,
    workload: &'a [u8],
    priority: Priority,
    background: bool,
    not_before_s: u64,
}

impl<'a> Submission<'a> {
    /// A foreground job.
    pub(super) fn new(priority: Priority, function: &'a [u8], unique: &'a [u8], workload: &'a [u8]) -> Self {
        Self { function, unique, reducer: None, workload, priority, background: false, not_before_s: 0 }
    }

    /// A background job.
    pub(super) fn background(
        priority: Priority,
        function: &'a [u8],
        unique: &'a [u8],
        workload: &'a [u8],
    ) -> Self {
        Self { background: true, ..Self::new(priority, function, unique, workload) }
    }

    /// The same, as a reduce job.
    pub(super) fn reduced_by(self, reducer: &'a [u8]) -> Self {
        Self { reducer: Some(reducer), ..self }
    }

    /// Why it cannot be taken, whatever the state of the server is. A reduce
    /// job's unique has no limit of its own.
    fn fault(&self) -> Option<&'static str> {
        let reducer = self.reducer.unwrap_or_default();
        if self.reducer.unwrap_or(self.unique).len() > UNIQUE_BYTES_MAX {
            Some("Unique value too large")
        } else if self.function.len() + self.unique.len() + reducer.len() > NAMES_BYTES_MAX {
            Some("Function name too large")
        } else {
            None
        }
    }
}

impl Home {
    pub(super) fn submit<O: Outbox>(&mut self, conn: ConnId, job: Submission<'_>, cx: &mut Context<'_, O>) {
        if let Some(text) = job.fault() {
            return self.refuse(conn, "ARGUMENT_TOO_LARGE", text, cx);
        }
        if let Some(refusal) = self.refusal {
            cx.counts.refused += 1;
            let (code, text) = explain(refusal);
            return self.refuse(conn, code, text, cx);
        }
        let Some(reply) = self.ask(conn, Question::Submit, cx) else { return };
        let waiter = (!job.background).then(|| self.awaited(conn)).flatten().map(|awaited| awaited.ask());
        let reducer = job.reducer.unwrap_or_default();
        let parts: &[&[u8]] = &[job.unique, reducer, job.workload];
        let parts = if reducer.is_empty() { &[job.unique, job.workload] } else { parts };
        let bytes = |part: &[u8]| u16::try_from(part.len()).expect("names are limited");
        let submit = Submit {
            reply,
            waiter: waiter.map(|ticket| Waiter { conn, ticket }),
            function: Name::from(job.function),
            body: Body::joined(parts, cx.received),
            unique_bytes: bytes(job.unique),
            reducer_bytes: bytes(reducer),
            priority: job.priority,
            not_before_s: job.not_before_s,
        };
        cx.send(owner_of(job.function, cx.settings.shards), Message::Submit(submit));
    }

    pub(super) fn submit_epoch<O: Outbox>(
        &mut self,
        conn: ConnId,
        function: &[u8],
        unique: &[u8],
        epoch: &[u8],
        workload: &[u8],
        cx: &mut Context<'_, O>,
    ) {
        let Ok(epoch) = number::parse(epoch) else {
            return self.reject(conn, "the time of a SUBMIT_JOB_EPOCH is out of range", cx);
        };
        let job = Submission::background(Priority::Normal, function, unique, workload);
        let job = Submission { not_before_s: u64::try_from(epoch).unwrap_or(0), ..job };
        self.submit(conn, job, cx);
    }

    pub(super) fn created<O: Outbox>(
        &mut self,
        reply: Reply,
        number: u64,
        waiter: Option<Waiter>,
        cx: &mut Context<'_, O>,
    ) {
        if self.connections.get(reply.conn).is_none() {
            if let Some(waiter) = waiter {
                cx.send(cx.settings.owner_of_job(number), Message::Detach { waiter, number });
            }
            return;
        }
        if let (Some(waiter), Some(awaited)) = (waiter, self.awaited(reply.conn)) {
            awaited.know(waiter.ticket, number);
        }
        let handle = cx.settings.handle_prefix.handle(number);
        self.put(Command::JobCreated, &[handle.as_bytes()], b"");
        self.answer(reply, Urgency::Idle, None, cx);
    }

    pub(super) fn refused<O: Outbox>(
        &mut self,
        reply: Reply,
        waiter: Option<Waiter>,
        refusal: Refusal,
        cx: &mut Context<'_, O>,
    ) {
        if let (Some(waiter), Some(awaited)) = (waiter, self.awaited(reply.conn)) {
            awaited.end(waiter.ticket);
        }
        let (code, text) = explain(refusal);
        self.put(Command::Error, &[code.as_bytes(), text.as_bytes()], b"");
        self.answer(reply, Urgency::Idle, None, cx);
    }

    /// News of a job for a client that waits for it.
    pub(super) fn deliver<O: Outbox>(
        &mut self,
        waiter: Waiter,
        number: u64,
        kind: WorkKind,
        body: &Body,
        producer: Option<ConnId>,
        cx: &mut Context<'_, O>,
    ) {
        let Some(connection) = self.connections.get_mut(waiter.conn) else { return };
        if !connection.awaited.is(waiter.ticket, number) {
            return;
        }
        if kind.is_last() {
            connection.awaited.end(waiter.ticket);
        }
        let exceptions = connection.exceptions;
        if let Some(producer) = producer.filter(|producer| {
            connection.congested && !kind.is_last() && !connection.paused.contains(producer)
        }) {
            connection.paused.push(producer);
            cx.send(producer.shard(), Message::Pause { producer });
        }
        let handle = cx.settings.handle_prefix.handle(number);
        let handle = handle.as_bytes();
        let data = match kind {
            WorkKind::Data => Some(Command::WorkData),
            WorkKind::Warning => Some(Command::WorkWarning),
            WorkKind::Complete => Some(Command::WorkComplete),
            WorkKind::Exception if exceptions => Some(Command::WorkException),
            WorkKind::Exception | WorkKind::Fail => {
                self.put(Command::WorkFail, &[handle], b"");
                None
            }
            WorkKind::Status { .. } => {
                let end = body.iter().position(|&byte| byte == 0).unwrap_or(body.len());
                let denominator = body.get(end + 1..).unwrap_or_default();
                self.put(Command::WorkStatus, &[handle, &body[..end], denominator], b"");
                None
            }
        };
        let tail = data.map(|command| {
            self.scratch.clear();
            encode_head(&mut self.scratch, Magic::Response, command, &[handle], body.len());
            Tail { body, start: 0 }
        });
        self.news(waiter.conn, Urgency::Idle, tail, cx);
    }

    pub(super) fn get_status<O: Outbox>(&mut self, conn: ConnId, handle: &[u8], cx: &mut Context<'_, O>) {
        if handle.len() > HANDLE_BYTES_MAX {
            return self.reject(conn, "the handle of a GET_STATUS is longer than any handle", cx);
        }
        let handle = up_to_nul(handle);
        let Some(number) = cx.settings.handle_prefix.parse(handle) else {
            self.put_status(handle, None);
            return self.reply_scratch(conn, Urgency::Idle, cx);
        };
        let Some(reply) = self.ask(conn, Question::Status { handle: handle.into() }, cx) else { return };
        cx.send(cx.settings.owner_of_job(number), Message::StatusQuery { reply, number });
    }

    pub(super) fn status_answer<O: Outbox>(
        &mut self,
        reply: Reply,
        status: Option<JobStatus>,
        cx: &mut Context<'_, O>,
    ) {
        let Some(connection) = self.connections.get_mut(reply.conn) else { return };
        let Some(Question::Status { handle }) = connection.replies.question(reply.sequence) else { return };
        let handle = std::mem::take(handle);
        self.put_status(&handle, status);
        self.answer(reply, Urgency::Idle, None, cx);
    }

    pub(super) fn get_status_unique<O: Outbox>(
        &mut self,
        conn: ConnId,
        unique: &[u8],
        cx: &mut Context<'_, O>,
    ) {
        if unique.len() > UNIQUE_BYTES_MAX {
            return self.reject(conn, "the unique of a GET_STATUS_UNIQUE is longer than any unique", cx);
        }
        let unique = up_to_nul(unique);
        let answers = Gathered::new(usize::from(cx.settings.shards));
        let question = Question::UniqueStatus { unique: unique.into(), answers };
        let Some(reply) = self.ask(conn, question, cx) else { return };
        for shard in 0..cx.settings.shards {
            cx.send(ShardId(shard), Message::UniqueQuery { reply, unique: Name::from(unique) });
        }
    }

    pub(super) fn unique_answer<O: Outbox>(
        &mut self,
        from: ShardId,
        reply: Reply,
        status: Option<JobStatus>,
        cx: &mut Context<'_, O>,
    ) {
        let Some(connection) = self.connections.get_mut(reply.conn) else { return };
        let question = connection.replies.question(reply.sequence);
        let Some(Question::UniqueStatus { unique, answers }) = question else { return };
        let Some(all) = answers.add(from, status) else { return };
        let unique = std::mem::take(unique);
        // Numbers grow with time, on all shards alike: the newest job answers.
        let newest = all.into_iter().flatten().max_by_key(|status| status.number);
        let [known, running, numerator, denominator] = status_fields(newest);
        let clients = itoa::Buffer::new().format(newest.map_or(0, |status| status.clients)).to_owned();
        let fields = [&known, &running, &numerator, &denominator, &clients].map(String::as_bytes);
        let [known, running, numerator, denominator, clients] = fields;
        let args = [&unique, known, running, numerator, denominator, clients];
        self.put(Command::StatusResUnique, &args, b"");
        self.answer(reply, Urgency::Idle, None, cx);
    }

    fn put_status(&mut self, handle: &[u8], status: Option<JobStatus>) {
        let fields = status_fields(status);
        let [known, running, numerator, denominator] = fields.each_ref().map(String::as_bytes);
        self.put(Command::StatusRes, &[handle, known, running, numerator, denominator], b"");
    }

    fn awaited(&mut self, conn: ConnId) -> Option<&mut Awaited> {
        self.connections.get_mut(conn).map(|connection| &mut connection.awaited)
    }
}

/// Longest handle that GET_STATUS and WORK_FAIL take (gearmand-spec.md, section 2.2).
pub(super) const HANDLE_BYTES_MAX: usize = 63;

fn status_fields(status: Option<JobStatus>) -> [String; 4] {
    let text = |number: u32| itoa::Buffer::new().format(number).to_owned();
    match status {
        None => ["0", "0", "0", "0"].map(str::to_owned),
        Some(status) => [
            "1".to_owned(),
            text(u32::from(status.running)),
            text(status.numerator),
            text(status.denominator),
        ],
    }
}

/// Code and text of the ERROR packet that refuses a submit.
fn explain(refusal: Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::QueueFull => ("QUEUE_ERROR", "Job queue is full"),
        Refusal::Draining => ("QUEUE_ERROR", "Server is draining, submit to another server"),
        Refusal::MemoryFull => ("QUEUE_ERROR", "Server memory is full, submit again when jobs are done"),
        Refusal::NotKept(why) => ("QUEUE_ERROR", not_kept(why)),
        Refusal::TooManyFunctions => ("QUEUE_ERROR", "Server has too many functions, raise --max-functions"),
    }
}

const fn not_kept(why: NotKept) -> &'static str {
    match why {
        NotKept::Full => "Disk of the durable queue is full, submit again later",
        NotKept::Failed => "Disk of the durable queue has failed, the server needs a person",
        NotKept::Away => "Database of the durable queue cannot be reached, submit again later",
        NotKept::Refused => "Database of the durable queue refuses the job, the server's log says why",
        NotKept::Unfit(why) => why,
    }
}
