//! The works whose instructions are counted, each done as often as it is told.
//!
//! Every work prepares the same whatever its count, so that the difference
//! between two counts is its own.

use std::hint::black_box;

use gearshard::protocol::decode::decode;
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};
use gearshard::queue::body::Body;
use gearshard::queue::job::{Party, Priority, Standing};
use gearshard::queue::name::Name;
use gearshard::queue::{NewJob, Queue};

use crate::mesh::Mesh;

/// The two counts of which the difference is taken.
pub(crate) const FEW: u64 = 1_000;
pub(crate) const MANY: u64 = 5_000;

const FUNCTION: &[u8] = b"reverse";
const HANDLE: &[u8] = b"H:host:1795240000123456";
const UNIQUE: &[u8] = b"b4c6f1de-2a55-4b0e-9d1f-7a3c";
const PAYLOAD: [u8; 64] = [7; 64];

/// Workers that sleep on the function when one wake is counted.
const SLEEPERS: usize = 1_000;

/// Something that is done so many times.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    run: fn(u64),
}

impl Work {
    /// Does it `count` times, up to [`MANY`].
    pub(crate) fn run(&self, count: u64) {
        assert!(count <= MANY, "works prepare for {MANY}");
        (self.run)(count);
    }
}

/// All of them, in the order of a job's life.
pub(crate) const WORKS: [Work; 13] = [
    Work { name: "decode-submit", run: |count| decode_often(Command::SubmitJob, &[FUNCTION, UNIQUE], count) },
    Work { name: "encode-submit", run: |count| encode_often(Command::SubmitJob, &[FUNCTION, UNIQUE], count) },
    Work { name: "decode-work-complete", run: |count| decode_often(Command::WorkComplete, &[HANDLE], count) },
    Work { name: "encode-work-complete", run: |count| encode_often(Command::WorkComplete, &[HANDLE], count) },
    Work { name: "queue-add-unique", run: queue_add },
    Work { name: "queue-take-and-remove", run: queue_take },
    Work { name: "foreground-job", run: |count| foreground(1, count) },
    Work { name: "foreground-job-across-two-shards", run: |count| foreground(2, count) },
    Work { name: "background-enqueue", run: background_enqueue },
    Work { name: "background-enqueue-unique", run: background_enqueue_unique },
    Work { name: "background-coalesce", run: background_coalesce },
    Work { name: "background-drain", run: background_drain },
    Work { name: "wake-one-of-1000-sleepers", run: wake_one },
];

fn decode_often(command: Command, args: &[&[u8]], count: u64) {
    let mut bytes = Vec::new();
    encode(&mut bytes, Magic::Request, command, args, &PAYLOAD);
    for _ in 0..count {
        let decoded = decode(black_box(&bytes), u32::MAX).expect("our packets are sound");
        assert!(black_box(decoded).is_some(), "and whole");
    }
}

fn encode_often(command: Command, args: &[&[u8]], count: u64) {
    let mut bytes = Vec::with_capacity(256);
    for _ in 0..count {
        bytes.clear();
        encode(&mut bytes, Magic::Request, command, black_box(args), black_box(&PAYLOAD));
        black_box(&bytes);
    }
}

/// Looks the unique up, in vain, and adds the job, as the owner does.
fn add(queue: &mut Queue, number: u64) {
    let unique = unique(number);
    let filing = queue.filing(0, black_box(&unique), &[]);
    assert_eq!(queue.find_same(0, filing, &unique, &[]), None);
    let job = NewJob {
        function: 0,
        number,
        body: Body::joined(&[&unique, &PAYLOAD], None),
        unique_bytes: 16,
        reducer_bytes: 0,
        priority: Priority::Normal,
        standing: Standing::Background,
        not_before_s: 0,
        filing,
    };
    queue.add(job, 0);
}

/// Sixteen bytes, none of which ends an argument.
fn unique(number: u64) -> [u8; 16] {
    let mut unique = *b"unique-000000000";
    let mut rest = number;
    for digit in unique[7..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    unique
}

fn queue() -> Queue {
    let mut queue = Queue::with_known_hashes();
    queue.functions.insert(Name::from(FUNCTION));
    queue
}

fn queue_add(count: u64) {
    let mut queue = queue();
    (0..count).for_each(|number| add(&mut queue, number));
    std::mem::forget(queue);
}

fn queue_take(count: u64) {
    let mut queue = queue();
    (0..MANY).for_each(|number| add(&mut queue, number));
    for _ in 0..count {
        let taken = queue.take(0, Priority::Normal, Party::new(1), u64::MAX).expect("there are enough");
        queue.remove(taken);
    }
    std::mem::forget(queue);
}

fn foreground(shards: u16, count: u64) {
    let mut mesh = Mesh::new(shards);
    (0..count).for_each(|_| mesh.foreground_job());
}

fn background_enqueue(count: u64) {
    let mut mesh = Mesh::new(1);
    (0..count).for_each(|_| mesh.enqueue());
    std::mem::forget(mesh);
}

fn background_enqueue_unique(count: u64) {
    let mut mesh = Mesh::new(1);
    (0..count).for_each(|number| mesh.enqueue_unique(&unique(number)));
    assert_eq!(mesh.queued(), count);
    std::mem::forget(mesh);
}

fn background_coalesce(count: u64) {
    let mut mesh = Mesh::new(1);
    (0..MANY).for_each(|number| mesh.enqueue_unique(&unique(number)));
    (0..count).for_each(|number| mesh.enqueue_unique(&unique(number)));
    assert_eq!(mesh.queued(), MANY, "the others have joined these");
    std::mem::forget(mesh);
}

fn background_drain(count: u64) {
    let mut mesh = Mesh::new(1);
    (0..MANY).for_each(|_| mesh.enqueue());
    (0..count).for_each(|_| mesh.run_one());
    std::mem::forget(mesh);
}

fn wake_one(count: u64) {
    let mut mesh = Mesh::new(1);
    mesh.add_sleepers(SLEEPERS);
    (0..count).for_each(|_| mesh.wake_one());
    std::mem::forget(mesh);
}
