//! What is fuzzed: each function takes any bytes and panics when something is wrong.
//!
//! Shared by cargo-fuzz (`fuzz_targets/`) and by the test that runs on a stable
//! compiler (`tests/fuzz_stable.rs`).

#![allow(dead_code, reason = "each target uses one of the functions")]
#![allow(unreachable_pub, reason = "included by programs that export nothing")]

use gearshard::client::conversation::{ClientConversation, ClientEvent, WorkerConversation, WorkerEvent};
use gearshard::client::{Job, Mode};
use gearshard::protocol::admin::{self, AdminError};
use gearshard::protocol::decode::{DecodeError, Frame, decode};
use gearshard::protocol::encode::encode;
use gearshard::protocol::handle::HandlePrefix;
use gearshard::protocol::packet::{Command, Magic, Packet};
use gearshard::queue::change::Change;
use gearshard::shard::ids::{ConnId, Now, ShardId};
use gearshard::shard::message::Message;
use gearshard::shard::outbox::{Event, Outbox, Tail, Urgency};
use gearshard::shard::settings::{Retries, Settings, Wakeup};
use gearshard::shard::{Peer, Shard};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

const BODY_BYTES_MAX: u32 = 1 << 20;

/// The decoder: takes only what it was given, waits for what is cut off, and
/// what it understood can be written and read again.
pub fn decoder(input: &[u8]) {
    let mut rest = input;
    while let Ok(Some((frame, used))) = decode(rest, BODY_BYTES_MAX) {
        assert!((1..=rest.len()).contains(&used), "took {used} of {} bytes", rest.len());
        assert_eq!(
            decode(&rest[..used - 1], BODY_BYTES_MAX),
            Ok(None),
            "a frame without its last byte is not one"
        );
        if let Frame::Binary(packet) = frame {
            let args = &packet.args[..packet.command.argc()];
            let mut again = Vec::new();
            encode(&mut again, packet.magic, packet.command, args, packet.data);
            let read = decode(&again, BODY_BYTES_MAX + 1);
            assert_eq!(read, Ok(Some((frame, again.len()))), "written and read again");
        }
        rest = &rest[used..];
    }
}

/// An admin line: every answer is one line of text that ends as gearmand's do.
pub fn line(input: &[u8]) {
    for line in input.split(|&byte| byte == b'\n') {
        if let Err(AdminError::Answer(text)) = admin::parse(line) {
            assert!(text.starts_with(b"ERR ") && text.ends_with(b"\r\n"), "{}", text.escape_ascii());
            assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count(), 1, "{}", text.escape_ascii());
        }
    }
}

/// What a server sends to a client and a worker, cut into pieces as the first
/// byte says: whatever it is, nobody panics, no request ends twice, and no more
/// jobs are handed out than were grabbed.
pub fn answers(input: &[u8]) {
    let Some((&cut, stream)) = input.split_first() else { return };
    let piece = 1 + usize::from(cut);
    client_hears(stream, piece);
    worker_hears(stream, piece);
}

fn client_hears(stream: &[u8], piece: usize) {
    let mut talk = ClientConversation::new(BODY_BYTES_MAX);
    let modes = [Mode::Foreground, Mode::Background, Mode::Foreground, Mode::Foreground];
    for (key, mode) in (0..).zip(modes) {
        talk.submit(key, &Job::new("f", "x").unique("u"), mode).expect("a good job");
    }
    talk.echo(4, b"data");
    talk.status(5, b"H:f:1");
    talk.status_unique(6, b"u");
    talk.option(7, b"exceptions");
    let mut ended = HashSet::new();
    for bytes in stream.chunks(piece) {
        let heard = talk.receive(bytes, |key, event| {
            assert!(key < 8 && !ended.contains(&key), "{event:?} for {key}, which has ended");
            let mode = modes.get(key as usize).copied().unwrap_or(Mode::Background);
            if event.is_last(mode) {
                assert!(ended.insert(key));
            } else if let ClientEvent::Created { handle } = event {
                assert!(handle.len() < 64);
            }
        });
        if heard.is_err() {
            return;
        }
    }
    assert_eq!(talk.is_idle(), ended.len() == 8, "idle when everything has ended");
}

fn worker_hears(stream: &[u8], piece: usize) {
    let mut talk = WorkerConversation::new(3, BODY_BYTES_MAX);
    talk.can_do(b"f", None);
    talk.grab();
    let mut held: Vec<Vec<u8>> = Vec::new();
    for bytes in stream.chunks(piece) {
        let heard = talk.receive(bytes, |event| {
            if let WorkerEvent::Assigned(assignment) = event {
                held.push(assignment.handle.to_vec());
            }
        });
        assert!(held.len() <= 3, "{} jobs for 3 grabs", held.len());
        if heard.is_err() {
            return;
        }
        if let Some(handle) = held.pop() {
            talk.complete(&handle, b"");
            talk.grab();
        } else if talk.is_idle() {
            talk.sleep();
        }
        let count = talk.outgoing().len();
        talk.sent(count);
    }
}

/// The byte stream of a connection into one shard, and into three that talk to
/// each other, beside a worker, a client and an administrator who behave.
///
/// The handle `@` in the stream stands for the last one that the connection was told.
pub fn connection(input: &[u8]) {
    for shards in [1, 3] {
        let mut world = World::new(shards);
        world.feed(input);
        world.finish();
    }
}

struct Out {
    at: ShardId,
    sent: VecDeque<(ShardId, ShardId, Message)>,
    written: HashMap<ConnId, Vec<u8>>,
    held: HashSet<ConnId>,
    closing: Vec<ConnId>,
}

impl Outbox for Out {
    fn write(&mut self, conn: ConnId, _: Urgency, head: &[u8], tail: Option<Tail<'_>>) {
        assert_eq!(conn.shard(), self.at, "a shard writes to its own connections");
        let written = self.written.entry(conn).or_default();
        written.extend(head);
        written.extend(tail.as_ref().map_or(&b""[..], Tail::bytes));
    }

    fn send(&mut self, to: ShardId, message: Message) {
        assert_ne!(to, self.at, "a shard does not send to itself");
        self.sent.push_back((self.at, to, message));
    }

    fn store(&mut self, change: Change) {
        panic!("jobs are kept in memory here: {change:?}");
    }

    fn read(&mut self, numbers: Vec<u64>) {
        panic!("jobs are kept in memory here: {numbers:?}");
    }

    fn close(&mut self, conn: ConnId) {
        self.closing.push(conn);
    }

    fn hold(&mut self, conn: ConnId) {
        assert!(self.held.insert(conn), "held twice");
    }

    fn resume(&mut self, conn: ConnId) {
        assert!(self.held.remove(&conn), "resumed without a hold");
    }

    fn event(&mut self, _: Event<'_>) {}
}

struct World {
    shards: Vec<Shard>,
    out: Out,
    now: Now,
    stranger: ConnId,
    worker: ConnId,
    client: ConnId,
    operator: ConnId,
    /// What the stranger was told last.
    handle: Vec<u8>,
    /// The stranger has asked for text.
    lists: bool,
    /// Who has not left.
    open: Vec<ConnId>,
}

impl World {
    fn new(count: u16) -> Self {
        let settings = Arc::new(Settings {
            shards: count,
            handle_prefix: HandlePrefix::new("H:f"),
            wakeup: Wakeup::OnePerJob,
            retries: Retries::Attempts(3),
            open_replies_max: 16,
            worker_functions_max: 8,
            functions_max: 16,
            ..Settings::default()
        });
        let mut shards: Vec<Shard> =
            (0..count).map(|id| Shard::new(ShardId(id), Arc::clone(&settings))).collect();
        let mut connect = |home: u16| {
            let peer = Peer { fd: 7, address: "fuzz".into() };
            shards[usize::from(home % count)].open(peer).expect("there is room")
        };
        let [stranger, worker, client, operator] = [0, 1, 2, 0].map(&mut connect);
        let now = Now { mono_us: 1_000_000, unix_us: 1_700_000_000_000_000 };
        let mut world = Self {
            shards,
            out: Out {
                at: ShardId(0),
                sent: VecDeque::new(),
                written: HashMap::new(),
                held: HashSet::new(),
                closing: Vec::new(),
            },
            now,
            stranger,
            worker,
            client,
            operator,
            handle: Vec::new(),
            lists: false,
            open: vec![stranger, worker, client, operator],
        };
        world.say(worker, Command::CanDo, &[b"f"], b"");
        world.say(worker, Command::CanDoTimeout, &[b"g", b"1000"], b"");
        world.say(worker, Command::PreSleep, &[], b"");
        world.say(client, Command::OptionReq, &[b"exceptions"], b"");
        world.say(client, Command::SubmitJob, &[b"h", b"u"], b"waits");
        world.say(client, Command::SubmitJobLowBg, &[b"h", b""], b"waits too");
        world
    }

    fn feed(&mut self, input: &[u8]) {
        let mut rest = input;
        for turn in 0u64.. {
            if !self.open.contains(&self.stranger) {
                return;
            }
            match decode(rest, BODY_BYTES_MAX) {
                Ok(None) => return,
                Ok(Some((frame, used))) => {
                    self.lists |= matches!(frame, Frame::Line(_));
                    self.frame(self.stranger, frame);
                    rest = &rest[used..];
                }
                Err(error) => return self.bad_input(&error),
            }
            // Others go on meanwhile; time passes now and then.
            match turn % 4 {
                0 => self.say(self.client, Command::SubmitJobHigh, &[b"f", b"u"], b"work"),
                1 => self.line(self.operator, b"status"),
                2 => self.pass(700_000),
                _ => self.say(self.client, Command::GetStatusUnique, &[b"u"], b""),
            }
        }
    }

    fn frame(&mut self, conn: ConnId, frame: Frame<'_>) {
        assert!(!self.out.held.contains(&conn), "at rest nobody is held");
        let handle = self.handle.clone();
        let frame = match frame {
            Frame::Binary(packet) if conn == self.stranger && packet.args[0] == b"@" => {
                let mut packet = packet;
                packet.args[0] = &handle;
                Frame::Binary(packet)
            }
            frame => frame,
        };
        let at = self.home(conn);
        self.shards[at].frame(self.now, conn, frame, &mut self.out);
        self.settle();
    }

    fn bad_input(&mut self, error: &DecodeError) {
        let at = self.home(self.stranger);
        self.shards[at].bad_input(self.now, self.stranger, error, &mut self.out);
        assert!(self.out.closing.contains(&self.stranger), "who cannot be understood is closed");
        self.settle();
    }

    fn say(&mut self, conn: ConnId, command: Command, args: &[&[u8]], data: &[u8]) {
        if !self.open.contains(&conn) {
            return;
        }
        let mut all = [&b""[..]; 7];
        all[..args.len()].copy_from_slice(args);
        self.frame(conn, Frame::Binary(Packet { magic: Magic::Request, command, args: all, data }));
    }

    fn line(&mut self, conn: ConnId, line: &[u8]) {
        self.frame(conn, Frame::Line(line));
    }

    fn pass(&mut self, us: u64) {
        self.now = self.now.plus_us(us);
        for at in 0..self.shards.len() {
            if self.shards[at].deadline(self.now).is_some_and(|due| due <= self.now.mono_us) {
                self.out.at = ShardId(u16::try_from(at).expect("few shards"));
                self.shards[at].expire(self.now, &mut self.out);
            }
        }
        self.settle();
    }

    // The shard of a connection is the one that acts next.
    fn home(&mut self, conn: ConnId) -> usize {
        self.out.at = conn.shard();
        conn.shard().index()
    }

    // Delivers messages, and lets peers answer, until all is quiet.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if let Some((from, to, message)) = self.out.sent.pop_front() {
                self.out.at = to;
                self.shards[to.index()].receive(self.now, from, message, &mut self.out);
            } else if let Some(conn) = self.out.closing.pop() {
                self.close(conn);
            } else if !self.read() {
                return;
            }
        }
        panic!("shards and peers do not come to rest");
    }

    fn close(&mut self, conn: ConnId) {
        if let Some(index) = self.open.iter().position(|open| *open == conn) {
            self.open.swap_remove(index);
            self.out.held.remove(&conn);
            let at = self.home(conn);
            self.shards[at].close(self.now, conn, &mut self.out);
        }
    }

    // What was written must be packets and text; the worker works, the stranger remembers.
    fn read(&mut self) -> bool {
        let mut work = Vec::new();
        for (conn, bytes) in std::mem::take(&mut self.out.written) {
            assert!(conn != self.operator || bytes.ends_with(b".\n"), "a list comes in one piece");
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                // Function names are any bytes, and lists hold them as they are: text cannot be read back.
                if conn == self.operator || conn == self.stranger && self.lists {
                    break;
                }
                let (frame, used) = decode(rest, u32::MAX)
                    .unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()))
                    .unwrap_or_else(|| panic!("half a reply: {}", bytes.escape_ascii()));
                rest = &rest[used..];
                let Frame::Binary(packet) = frame else { continue };
                assert_eq!(packet.magic, Magic::Response);
                if conn == self.worker {
                    work.push((packet.command, packet.args[0].to_vec()));
                } else if conn == self.stranger && packet.args[0].starts_with(b"H:f:") {
                    self.handle = packet.args[0].to_vec();
                }
            }
        }
        let busy = !work.is_empty();
        for (command, handle) in work {
            match command {
                Command::Noop => self.act(Command::GrabJobAll, &[], b""),
                Command::JobAssign | Command::JobAssignUniq | Command::JobAssignAll => {
                    self.act(Command::WorkData, &[&handle], b"some");
                    self.act(Command::WorkStatus, &[&handle, b"1", b"2"], b"");
                    self.act(Command::WorkComplete, &[&handle], b"done");
                    self.act(Command::GrabJobUniq, &[], b"");
                }
                Command::NoJob => self.act(Command::PreSleep, &[], b""),
                _ => {}
            }
        }
        busy
    }

    // The worker speaks while others may be half way; its grabs are answered one at a time.
    fn act(&mut self, command: Command, args: &[&[u8]], data: &[u8]) {
        assert!(!self.out.held.contains(&self.worker), "a worker has one grab under way");
        let mut all = [&b""[..]; 7];
        all[..args.len()].copy_from_slice(args);
        let packet = Packet { magic: Magic::Request, command, args: all, data };
        let at = self.home(self.worker);
        self.shards[at].frame(self.now, self.worker, Frame::Binary(packet), &mut self.out);
    }

    // Everybody leaves: nothing is owed, and every job is where the counters say.
    fn finish(mut self) {
        assert!(self.out.held.is_empty(), "at rest nobody is held");
        let owed: u64 = self.shards.iter().map(|shard| shard.counts().open_replies).sum();
        assert_eq!(owed, 0, "at rest every request is answered");
        for conn in self.open.clone() {
            self.close(conn);
            self.settle();
        }
        let mut jobs = 0;
        let (mut submitted, mut gone) = (0, 0);
        for shard in &self.shards {
            let counts = shard.counts();
            assert_eq!((counts.connections, counts.open_replies), (0, 0), "all have left");
            jobs += counts.jobs;
            submitted += counts.submitted;
            gone += counts.completed + counts.failed + counts.dropped + counts.abandoned + counts.cancelled;
        }
        assert!(
            jobs <= submitted && submitted <= jobs + gone,
            "{submitted} came, {jobs} are here, {gone} went"
        );
    }
}
