//! What a hop costs here and now: two threads, the server's own inboxes and wakers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gearshard::shard::ids::{ConnId, ShardId};
use gearshard::shard::message::{Message, Reply};
use mio::{Events, Poll, Token, Waker};

use crate::bus::{Address, Inbox, inbox};

/// Batches of one measurement.
const BATCHES: u64 = 100_000;
/// Round trips between threads that park, and packets through the kernel.
const TRIPS: u64 = 4_000;
/// Measurements, of which the median counts.
const REPEATS: usize = 5;
/// Batches under way at most: a busy shard takes what has come in each turn.
const UNDER_WAY: u64 = 64;

type Batch = Vec<Message>;

/// Microseconds.
pub(crate) struct Costs {
    /// One batch between threads that are awake, what its messages cost left out.
    pub(crate) batch: f64,
    /// One more message in a batch.
    pub(crate) message: f64,
    /// From a send to the end of the poll of a parked thread.
    pub(crate) parked: f64,
    /// The send that wakes it; processor time of the sender.
    pub(crate) wake: f64,
    /// One send and one receive of 64 bytes, loopback TCP.
    pub(crate) send: f64,
    pub(crate) receive: f64,
}

pub(crate) fn measure() -> Costs {
    const LONG: usize = 9;
    let one = median(|| awake(1));
    let many = median(|| awake(LONG));
    let message = ((many - one) / (LONG as f64 - 1.0)).max(0.0);
    let parked: Vec<(f64, f64)> = (0..REPEATS).map(|_| parked()).collect();
    let kernel: Vec<(f64, f64)> = (0..REPEATS).map(|_| packets()).collect();
    Costs {
        batch: (one - message).max(0.0),
        message,
        parked: middle(parked.iter().map(|&(trip, _)| trip).collect()),
        wake: middle(parked.iter().map(|&(_, wake)| wake).collect()),
        send: middle(kernel.iter().map(|&(send, _)| send).collect()),
        receive: middle(kernel.iter().map(|&(_, receive)| receive).collect()),
    }
}

fn median(measured: impl Fn() -> f64) -> f64 {
    middle((0..REPEATS).map(|_| measured()).collect())
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn micros(spent: Duration, count: u64) -> f64 {
    spent.as_secs_f64() * 1e6 / count as f64
}

fn batch(messages: usize) -> Batch {
    let conn = ConnId::new(ShardId(0), 1, 1);
    let reply = Reply { conn, sequence: 7 };
    (0..messages).map(|_| Message::Created { reply, number: 7, waiter: None }).collect()
}

/// Time of a batch of so many messages when both threads are busy with nothing else.
fn awake(messages: usize) -> f64 {
    let (address, inbox) = inbox(NoWake);
    let taken = Arc::new(AtomicU64::new(0));
    let sender = std::thread::spawn({
        let taken = Arc::clone(&taken);
        move || {
            for sent in 0..BATCHES {
                let mut spins = 0_u32;
                while sent - taken.load(Ordering::Acquire) >= UNDER_WAY {
                    give_way(&mut spins);
                }
                address.send(batch(messages));
            }
        }
    });
    let start = Instant::now();
    let (mut count, mut spins) = (0, 0);
    while count < BATCHES {
        match inbox.try_take() {
            Some(batch) => {
                assert_eq!(batch.len(), messages);
                count += 1;
                // Told now and then, so that telling costs little.
                if count % (UNDER_WAY / 2) == 0 {
                    taken.store(count, Ordering::Release);
                }
            }
            None => give_way(&mut spins),
        }
    }
    let spent = start.elapsed();
    sender.join().expect("sending does not panic");
    micros(spent, BATCHES)
}

struct NoWake;

impl crate::bus::Wake for NoWake {
    fn wake(&self) -> std::io::Result<()> {
        Err(std::io::Error::other("nobody parks here"))
    }
}

fn give_way(spins: &mut u32) {
    std::hint::spin_loop();
    *spins += 1;
    if spins.is_multiple_of(4096) {
        std::thread::yield_now();
    }
}

/// One way between threads that park in between, and the send in it.
fn parked() -> (f64, f64) {
    let (mut near, near_address) = Sleeper::new();
    let (mut far, far_address) = Sleeper::new();
    let echo = std::thread::spawn(move || {
        (0..TRIPS).for_each(|_| {
            let batch = far.wait();
            near_address.send(batch);
        });
    });
    let (mut trips, mut sends) = (Vec::new(), Vec::new());
    for _ in 0..TRIPS {
        let begin = Instant::now();
        far_address.send(batch(1));
        sends.push(micros(begin.elapsed(), 1));
        near.wait();
        trips.push(micros(begin.elapsed(), 2));
    }
    echo.join().expect("the echo does not panic");
    (middle(trips), middle(sends))
}

/// A thread's inbox with the poll that it parks in.
struct Sleeper {
    poll: Poll,
    events: Events,
    inbox: Inbox<Batch>,
}

impl Sleeper {
    fn new() -> (Self, Address<Batch>) {
        let poll = Poll::new().expect("there are descriptors");
        let (address, inbox) = inbox(Waker::new(poll.registry(), Token(0)).expect("there are descriptors"));
        (Self { poll, events: Events::with_capacity(8), inbox }, address)
    }

    fn wait(&mut self) -> Batch {
        loop {
            if let Some(batch) = self.inbox.try_take() {
                return batch;
            }
            if self.inbox.park() {
                self.poll.poll(&mut self.events, None).expect("our own descriptors can be polled");
            }
            self.inbox.unpark();
        }
    }
}

/// A send and a receive of 64 bytes; nobody waits in the receive.
fn packets() -> (f64, f64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let near = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (far, _) = listener.accept().expect("somebody has connected");
    let mut ends = [near, far];
    ends.iter().for_each(|end| end.set_nodelay(true).expect("it is TCP"));
    let mut bytes = [7; 64];
    let (mut sends, mut receives) = (Vec::new(), Vec::new());
    for _ in 0..TRIPS {
        // To and fro, as jobs and results go: what acknowledges one packet rides on the next.
        let [near, far] = &mut ends;
        let begin = Instant::now();
        near.write_all(&bytes).expect("the other end is open");
        let sent = Instant::now();
        far.read_exact(&mut bytes).expect("the other end has sent");
        receives.push(micros(sent.elapsed(), 1));
        sends.push(micros(sent - begin, 1));
        ends.swap(0, 1);
    }
    (middle(sends), middle(receives))
}
