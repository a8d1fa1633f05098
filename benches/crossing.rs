//! What it costs a server that its jobs cross shards, with real sockets and
//! event loops: `cargo bench --bench crossing`.
//!
//! Servers with one and with two shards take turns at the same foreground jobs.
//! A connection comes to the shard with the fewest, so one after the other they
//! come to each shard in turn; and the functions are named so that every
//! connection uses one of the *other* shard's: of each job, submit, claim and
//! result cross, and so do their answers. Connections that say who they are
//! stay where they came; others move to their function's owner. Only the processor time of the shards'
//! threads is counted. The generator runs in this process, on the same cores.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use gearshard::protocol::decode::{Frame, decode};
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};
use gearshard::reactor::Traffic;
use gearshard::server::{Listen, Options, Server};
use gearshard::shard::placement::owner_of;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

const CLIENTS: usize = 8;
const WORKERS: usize = 16;
const IN_FLIGHT: usize = 32;
const PAYLOAD: [u8; 64] = [7; 64];
const JOBS_BEFORE: u64 = 10_000;
const JOBS: u64 = 40_000;
const REPEATS: usize = 5;

/// Whose functions a connection uses.
#[derive(Clone, Copy, Debug)]
enum Uses {
    /// One function for all.
    One,
    /// One of its own shard's.
    Own,
    /// One of the other shard's.
    Other,
}

struct Scene {
    name: &'static str,
    shards: u16,
    uses: Uses,
    /// Connections stay on the shards that they came to.
    stay: bool,
}

const SCENES: [Scene; 5] = [
    Scene { name: "one shard", shards: 1, uses: Uses::Own, stay: true },
    Scene { name: "two shards, one function", shards: 2, uses: Uses::One, stay: true },
    Scene { name: "two shards, no job crosses", shards: 2, uses: Uses::Own, stay: true },
    Scene { name: "two shards, every job crosses", shards: 2, uses: Uses::Other, stay: true },
    Scene { name: "the same, connections move", shards: 2, uses: Uses::Other, stay: false },
];

fn main() {
    // `cargo test --benches` runs this as well; there is nothing to measure then.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let mut measured = SCENES.map(|_| Vec::new());
    for _ in 0..REPEATS {
        for (scene, measured) in SCENES.iter().zip(&mut measured) {
            measured.push(Bench::new(scene).measure());
        }
    }
    eprintln!("a foreground job: microseconds of the shards' threads, median (least-most) of {REPEATS}");
    let mut alone = None;
    for (Scene { name, .. }, mut measured) in SCENES.iter().zip(measured) {
        measured.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
        let Spent { cpu_us, waits, turns, calls, batches } = measured[REPEATS / 2];
        let (least, most) = (measured[0].cpu_us, measured[REPEATS - 1].cpu_us);
        let ratio = cpu_us / *alone.get_or_insert(cpu_us);
        eprintln!(
            "{name:30} {cpu_us:5.2} ({least:.2}-{most:.2})  x{ratio:.2}; has waited {waits:.3} times, \
             in {turns:.2} turns, with {calls:.2} sends and receives and {batches:.2} batches between shards"
        );
    }
}

/// Of one job.
#[derive(Clone, Copy, Debug)]
struct Spent {
    cpu_us: f64,
    /// Times that a shard's thread has waited for something, and was woken.
    waits: f64,
    turns: f64,
    /// Calls that sent or received something.
    calls: f64,
    /// Batches of messages that went between shards.
    batches: f64,
}

enum Role {
    Client { submit: Vec<u8> },
    Worker { grab: Vec<u8>, pre_sleep: Vec<u8> },
}

struct Connection {
    stream: TcpStream,
    role: Role,
    unread: Vec<u8>,
}

struct Bench {
    poll: Poll,
    connections: Vec<Connection>,
    control: gearshard::server::Control,
    server: Option<std::thread::JoinHandle<()>>,
    done: u64,
}

fn packet(command: Command, args: &[&[u8]], data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, Magic::Request, command, args, data);
    bytes
}

/// A function that this shard of two owns.
fn function_of(owner: usize) -> String {
    let names = (0..).map(|n| format!("crossing-{n}"));
    names.filter(|name| owner_of(name.as_bytes(), 2).index() == owner).take(1).collect()
}

impl Bench {
    fn new(&Scene { shards, uses, stay, .. }: &Scene) -> Self {
        let listen = vec![Listen::Host { host: "127.0.0.1".to_owned(), port: 0 }];
        let server = Server::bind(Options { listen, shards, ..Options::default() }).expect("a free port");
        let address = server.local_addresses()[0].tcp().expect("it listens on TCP");
        let control = server.control();
        let server = std::thread::spawn(move || server.run().expect("the server ends well"));
        let poll = Poll::new().expect("there are descriptors");
        let mut bench = Self { poll, connections: Vec::new(), control, server: Some(server), done: 0 };
        // Two of three are workers, on both shards alike.
        for at in 0..CLIENTS + WORKERS {
            let home = at % 2;
            let function = match uses {
                Uses::One => function_of(0),
                Uses::Own => function_of(home),
                Uses::Other => function_of(1 - home),
            };
            bench.connect(address, function.as_bytes(), at / 2 % 3 == 2, stay);
        }
        bench
    }

    fn connect(&mut self, address: SocketAddr, function: &[u8], client: bool, stay: bool) {
        let mut stream = std::net::TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("it is TCP");
        // A connection with a name stays; the answer tells that it has reached its shard.
        let mut hello = if stay { packet(Command::SetClientId, &[b"bench"], b"") } else { Vec::new() };
        if !client {
            hello.extend(packet(Command::CanDo, &[function], b""));
        }
        hello.extend(packet(Command::EchoReq, &[], b""));
        stream.write_all(&hello).expect("the server reads");
        stream.read_exact(&mut [0; 12]).expect("the server answers");
        stream.set_nonblocking(true).expect("sockets can be");
        let mut stream = TcpStream::from_std(stream);
        let token = Token(self.connections.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE).expect("there is room");
        let role = match client {
            true => Role::Client { submit: packet(Command::SubmitJob, &[function, b""], &PAYLOAD) },
            false => Role::Worker {
                grab: packet(Command::GrabJob, &[], b""),
                pre_sleep: packet(Command::PreSleep, &[], b""),
            },
        };
        self.connections.push(Connection { stream, role, unread: Vec::new() });
    }

    fn measure(&mut self) -> Spent {
        for connection in &mut self.connections {
            let begin = match &connection.role {
                Role::Client { submit } => submit.repeat(IN_FLIGHT),
                Role::Worker { grab, .. } => grab.clone(),
            };
            connection.stream.write_all(&begin).expect("that little fits");
        }
        self.play(JOBS_BEFORE);
        let before = self.so_far();
        self.play(self.done + JOBS);
        let after = self.so_far();
        let [jobs, cpu_ns, waits, turns, calls, batches] =
            std::array::from_fn(|at| (after[at] - before[at]) as f64);
        Spent {
            cpu_us: cpu_ns / 1000.0 / jobs,
            waits: waits / jobs,
            turns: turns / jobs,
            calls: calls / jobs,
            batches: batches / jobs,
        }
    }

    /// Jobs, nanoseconds, waits, turns, calls and batches so far.
    fn so_far(&self) -> [u64; 6] {
        let (cpu_ns, waits) = shards_have_spent();
        let sum = |figure: fn(&Traffic) -> u64| self.control.traffic().iter().map(figure).sum();
        let (turns, calls) = (sum(|traffic| traffic.turns), sum(|traffic| traffic.sends + traffic.receives));
        [self.done, cpu_ns, waits, turns, calls, sum(|traffic| traffic.batches_sent)]
    }

    fn play(&mut self, until: u64) {
        let mut events = Events::with_capacity(64);
        while self.done < until {
            self.poll.poll(&mut events, Some(Duration::from_secs(10))).expect("our own descriptors");
            assert!(!events.is_empty(), "the server says nothing for 10 seconds");
            for event in &events {
                self.done += self.connections[event.token().0].go_on();
            }
        }
    }
}

impl Connection {
    /// Reads what is there and answers it; how many results came.
    fn go_on(&mut self) -> u64 {
        let mut room = [0; 64 << 10];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => panic!("the server has closed the connection"),
                Ok(count) => self.unread.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("the connection broke: {error}"),
            }
        }
        let (mut at, mut done, mut answer) = (0, 0, Vec::new());
        while let Some((frame, used)) = decode(&self.unread[at..], u32::MAX).expect("it speaks Gearman") {
            at += used;
            let Frame::Binary(packet) = frame else { panic!("nobody asked for text") };
            match (&self.role, packet.command) {
                (Role::Client { submit }, Command::WorkComplete) => {
                    done += 1;
                    answer.extend_from_slice(submit);
                }
                (Role::Client { .. }, Command::JobCreated) => {}
                (Role::Worker { grab, .. }, Command::JobAssign) => {
                    let handle = packet.args[0];
                    encode(&mut answer, Magic::Request, Command::WorkComplete, &[handle], &PAYLOAD);
                    answer.extend_from_slice(grab);
                }
                (Role::Worker { pre_sleep, .. }, Command::NoJob) => answer.extend_from_slice(pre_sleep),
                (Role::Worker { grab, .. }, Command::Noop) => answer.extend_from_slice(grab),
                (_, other) => panic!("{other:?} was not asked for"),
            }
        }
        self.unread.drain(..at);
        if !answer.is_empty() {
            self.stream.write_all(&answer).expect("what is in flight fits");
        }
        done
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.control.stop();
        if let Some(server) = self.server.take() {
            server.join().expect("the server does not panic");
        }
    }
}

/// Nanoseconds on a processor, and waits, of all threads that are shards.
fn shards_have_spent() -> (u64, u64) {
    let tasks = std::fs::read_dir("/proc/self/task").expect("proc is mounted");
    let of = |path: std::path::PathBuf| {
        let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        if !read("comm").starts_with("shard-") {
            return (0, 0);
        }
        let first = |text: &str| text.split_whitespace().next().and_then(|number| number.parse().ok());
        let status = read("status");
        let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        (first(&read("schedstat")).unwrap_or(0), waits.and_then(first).unwrap_or(0))
    };
    tasks.flatten().map(|task| of(task.path())).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
}
