//! Jobs in and out of one shard's queue: `cargo bench --bench queue`.

use divan::{Bencher, black_box};
use gearshard::queue::body::Body;
use gearshard::queue::job::{Party, Priority, Standing};
use gearshard::queue::name::Name;
use gearshard::queue::{NewJob, Queue};

/// How many other jobs are queued.
const DEPTHS: [u64; 4] = [0, 1_000, 100_000, 1_000_000];

fn main() {
    divan::main();
}

fn job(queue: &Queue, number: u64) -> NewJob {
    let unique = number.to_be_bytes();
    NewJob {
        function: 0,
        number,
        body: Body::joined(&[&unique, &[7; 64]], None),
        unique_bytes: 8,
        reducer_bytes: 0,
        priority: Priority::Normal,
        standing: Standing::Background,
        not_before_s: 0,
        filing: queue.filing(0, &unique, &[]),
    }
}

fn filled(depth: u64) -> Queue {
    let mut queue = Queue::default();
    queue.functions.insert(Name::from(&b"reverse"[..]));
    for number in 0..depth {
        queue.add(job(&queue, number), 0);
    }
    queue
}

/// One job through a queue of constant depth: looked up, added, taken, removed.
#[divan::bench(args = DEPTHS)]
fn add_take_and_remove(bencher: Bencher<'_, '_>, depth: u64) {
    let mut queue = filled(depth);
    let mut number = depth;
    bencher.bench_local(|| {
        let new = job(&queue, number);
        assert_eq!(queue.find_same(0, new.filing, black_box(&number.to_be_bytes()), &[]), None);
        queue.add(new, 0);
        number += 1;
        let taken = queue.take(0, Priority::Normal, Party::new(1), u64::MAX).expect("a job was just added");
        queue.remove(taken)
    });
}

/// A submit whose unique is queued already.
#[divan::bench(args = [1_000, 1_000_000])]
fn find_the_same(bencher: Bencher<'_, '_>, depth: u64) {
    let queue = filled(depth);
    let mut number = 0;
    bencher.bench_local(|| {
        number = (number + 7919) % depth;
        let unique = black_box(number.to_be_bytes());
        queue
            .find_same(0, queue.filing(0, &unique, &[]), &unique, &[])
            .expect("every number below the depth is queued")
    });
}

/// A job found by the number in its handle.
#[divan::bench(args = [1_000, 1_000_000])]
fn find_by_number(bencher: Bencher<'_, '_>, depth: u64) {
    let queue = filled(depth);
    let mut number = 0;
    bencher.bench_local(|| {
        number = (number + 7919) % depth;
        queue.find(black_box(number)).expect("every number below the depth is queued")
    });
}

/// Filling an empty queue, growth of its tables included; the time is for all.
#[divan::bench(args = [1_000, 100_000], sample_count = 20)]
fn fill(depth: u64) -> Queue {
    filled(depth)
}
