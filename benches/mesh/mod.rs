//! Shards driven by hand, without sockets: what the core alone costs.
//!
//! Messages between shards are delivered at once, in order; what is written to
//! connections is counted and thrown away, but for the handle of the job that
//! was assigned last.

use std::collections::VecDeque;
use std::sync::Arc;

use gearshard::protocol::decode::decode;
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, HEADER_BYTES, Magic};
use gearshard::queue::change::Change;
use gearshard::shard::ids::{ConnId, Now, ShardId};
use gearshard::shard::message::Message;
use gearshard::shard::outbox::{Event, Outbox, Tail, Urgency};
use gearshard::shard::settings::Settings;
use gearshard::shard::{Peer, Shard};

/// The function that every job is of.
const FUNCTION: &[u8] = b"reverse";

/// Bytes of a payload.
const PAYLOAD: [u8; 64] = [7; 64];

/// Some shards, one client and one worker.
pub(crate) struct Mesh {
    shards: Vec<Shard>,
    outbox: Recorder,
    now: Now,
    client: ConnId,
    worker: ConnId,
    submit: Vec<u8>,
    submit_bg: Vec<u8>,
    submit_unique: Vec<u8>,
    grab: Vec<u8>,
    pre_sleep: Vec<u8>,
    complete: Vec<u8>,
}

/// What a shard wants done, mostly forgotten.
struct Recorder {
    /// Who is acting.
    acting: ShardId,
    messages: VecDeque<(ShardId, ShardId, Message)>,
    /// Messages between shards so far.
    hops: u64,
    /// Bytes written so far.
    written: u64,
    /// The handle in the last JOB_ASSIGN.
    handle: Vec<u8>,
    /// Who was sent the last NOOP.
    woken: Option<ConnId>,
}

impl Outbox for Recorder {
    fn write(&mut self, conn: ConnId, _urgency: Urgency, head: &[u8], tail: Option<Tail<'_>>) {
        self.written += (head.len() + tail.map_or(0, |tail| tail.bytes().len())) as u64;
        if head[4..8] == (Command::Noop as u32).to_be_bytes() {
            self.woken = Some(conn);
        }
        if head[4..8] == (Command::JobAssign as u32).to_be_bytes() {
            let handle =
                head[HEADER_BYTES..].split(|&byte| byte == 0).next().expect("split yields a first part");
            self.handle.clear();
            self.handle.extend_from_slice(handle);
        }
    }

    fn send(&mut self, to: ShardId, message: Message) {
        self.hops += 1;
        self.messages.push_back((self.acting, to, message));
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

    // A GRAB_JOB holds its connection until it is answered; nobody sends anything before that here.
    fn hold(&mut self, _conn: ConnId) {}

    fn resume(&mut self, _conn: ConnId) {}

    fn event(&mut self, _event: Event<'_>) {}
}

impl Mesh {
    /// `shards` shards; the client lives on the first, the worker on the last.
    pub(crate) fn new(shards: u16) -> Self {
        let now = Now { mono_us: 1_000_000, unix_us: 1_795_240_000_000_000 };
        let settings = Arc::new(Settings { shards, known_hashes: true, ..Settings::default() });
        let mut all: Vec<Shard> =
            (0..shards).map(|id| Shard::new(ShardId(id), Arc::clone(&settings))).collect();
        let peer = || Peer { fd: 9, address: "127.0.0.1".into() };
        let client = all[0].open(peer()).expect("the first connection fits");
        let worker = all[usize::from(shards) - 1].open(peer()).expect("the second connection fits");
        let packet = |command, args: &[&[u8]], data: &[u8]| {
            let mut bytes = Vec::new();
            encode(&mut bytes, Magic::Request, command, args, data);
            bytes
        };
        let outbox = Recorder {
            acting: ShardId(0),
            messages: VecDeque::new(),
            hops: 0,
            written: 0,
            handle: Vec::new(),
            woken: None,
        };
        let mut mesh = Self {
            shards: all,
            outbox,
            now,
            client,
            worker,
            submit: packet(Command::SubmitJob, &[FUNCTION, b""], &PAYLOAD),
            submit_bg: packet(Command::SubmitJobBg, &[FUNCTION, b""], &PAYLOAD),
            submit_unique: Vec::new(),
            grab: packet(Command::GrabJob, &[], b""),
            pre_sleep: packet(Command::PreSleep, &[], b""),
            complete: Vec::new(),
        };
        let can_do = packet(Command::CanDo, &[FUNCTION], b"");
        mesh.frame(worker, &can_do);
        mesh
    }

    /// So many more workers come to the last shard, and sleep.
    pub(crate) fn add_sleepers(&mut self, count: usize) {
        let mut can_do = Vec::new();
        encode(&mut can_do, Magic::Request, Command::CanDo, &[FUNCTION], b"");
        can_do.extend_from_slice(&self.pre_sleep);
        for _ in 0..count {
            let peer = Peer { fd: 9, address: "127.0.0.1".into() };
            let shard = self.worker.shard().index();
            let sleeper = self.shards[shard].open(peer).expect("some thousand connections fit");
            self.frames(sleeper, &can_do);
        }
    }

    /// A background job wakes a sleeper, which does it and sleeps again.
    pub(crate) fn wake_one(&mut self) {
        self.outbox.woken = None;
        self.enqueue();
        let woken = self.outbox.woken.expect("the job has woken somebody");
        let own = std::mem::replace(&mut self.worker, woken);
        self.run_one();
        self.worker = own;
        let pre_sleep = std::mem::take(&mut self.pre_sleep);
        self.frame(woken, &pre_sleep);
        self.pre_sleep = pre_sleep;
    }

    /// A background job with this unique is submitted.
    pub(crate) fn enqueue_unique(&mut self, unique: &[u8]) {
        let mut submit = std::mem::take(&mut self.submit_unique);
        submit.clear();
        encode(&mut submit, Magic::Request, Command::SubmitJobBg, &[FUNCTION, unique], &PAYLOAD);
        self.frame(self.client, &submit);
        self.submit_unique = submit;
    }

    /// Jobs that are there, in any state.
    pub(crate) fn queued(&self) -> u64 {
        self.shards.iter().map(|shard| shard.counts().jobs).sum()
    }

    /// Messages that have gone between shards.
    pub(crate) fn hops(&self) -> u64 {
        self.outbox.hops
    }

    /// A foreground job from its submit to its result, in four packets.
    pub(crate) fn foreground_job(&mut self) {
        let submit = std::mem::take(&mut self.submit);
        self.frame(self.client, &submit);
        self.submit = submit;
        self.run_one();
    }

    /// A background job is submitted.
    pub(crate) fn enqueue(&mut self) {
        let submit = std::mem::take(&mut self.submit_bg);
        self.frame(self.client, &submit);
        self.submit_bg = submit;
    }

    /// The worker asks for a job, gets one, and completes it.
    pub(crate) fn run_one(&mut self) {
        self.outbox.handle.clear();
        let grab = std::mem::take(&mut self.grab);
        self.frame(self.worker, &grab);
        self.grab = grab;
        assert!(!self.outbox.handle.is_empty(), "there is a job");
        let mut complete = std::mem::take(&mut self.complete);
        complete.clear();
        let handle = std::mem::take(&mut self.outbox.handle);
        encode(&mut complete, Magic::Request, Command::WorkComplete, &[&handle], &PAYLOAD);
        self.frame(self.worker, &complete);
        self.complete = complete;
        self.outbox.handle = handle;
    }

    fn frames(&mut self, conn: ConnId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = self.frame(conn, bytes);
            bytes = &bytes[used..];
        }
    }

    /// Handles the first packet of `bytes`; how long it was.
    fn frame(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let (frame, used) = decode(bytes, u32::MAX).expect("our packets are sound").expect("and whole");
        self.now = self.now.plus_us(1);
        self.outbox.acting = conn.shard();
        self.shards[conn.shard().index()].frame(self.now, conn, frame, &mut self.outbox);
        while let Some((from, to, message)) = self.outbox.messages.pop_front() {
            self.outbox.acting = to;
            self.shards[to.index()].receive(self.now, from, message, &mut self.outbox);
        }
        used
    }
}
