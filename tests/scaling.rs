//! What shards say to each other for a job, counted without threads or time:
//! the counts on which `cargo bench --bench scaling` builds its model.

#[allow(dead_code, reason = "the server uses the rest")]
#[path = "../src/reactor/bus.rs"]
mod bus;
#[path = "../benches/spread/mod.rs"]
mod spread;

// The inboxes name shards as they do where they are at home.
use gearshard::shard;
use spread::{Counted, Kind, Layout, Placed, run};

const JOBS: u64 = 4_000;

fn busy(kind: Kind, shards: u16, functions: u32) -> Layout {
    let placed = Placed::Everywhere;
    Layout { kind, placed, shards, functions, clients: 2, in_flight: 8, workers: 4 }
}

fn counted(layout: Layout) -> Counted {
    run(layout, JOBS).counted
}

#[test]
fn one_shard_speaks_to_nobody() {
    for kind in [Kind::Foreground, Kind::Flow] {
        let counted = counted(busy(kind, 1, 16));
        assert_eq!((counted.messages, counted.batches, counted.wakes), (0, 0, 0), "{kind:?}");
        assert!(counted.jobs >= JOBS);
    }
}

#[test]
fn counts_do_not_depend_on_chance() {
    let layout = busy(Kind::Foreground, 4, 16);
    assert_eq!(counted(layout), counted(layout));
}

/// Messages a job, at most, with 1, 16 and 1,000 functions, foreground and flow. A job takes a
/// submit, a claim and a result, each with an answer or news: six. Where 16 functions share the
/// jobs, one that had nothing is announced to every shard, and claimed in vain; a worker of
/// 1,000 asks for a job of any.
const MOST: [(u16, [f64; 3], [f64; 3]); 4] = [
    (2, [2.9, 3.8, 3.6], [1.9, 3.1, 3.3]),
    (4, [4.5, 7.0, 5.5], [3.3, 5.6, 4.7]),
    (16, [6.0, 12.3, 7.2], [4.9, 9.9, 6.0]),
    (64, [6.5, 14.8, 9.2], [5.4, 11.2, 6.8]),
];

#[test]
fn messages_and_wakes_of_a_busy_job_stay_few() {
    for (shards, foreground, flow) in MOST {
        for (kind, most) in [(Kind::Foreground, foreground), (Kind::Flow, flow)] {
            for (functions, most) in [1, 16, 1000].into_iter().zip(most) {
                let counted = counted(busy(kind, shards, functions));
                let (messages, wakes) = (counted.each(counted.messages), counted.each(counted.wakes));
                let told = format!("{kind:?}, {shards} shards, {functions} functions: {counted:?}");
                assert!(messages <= most, "{messages} messages a job, {told}");
                // With 64 shards for 16 functions most owners rest, and are woken for a job.
                assert!(wakes <= 0.5, "{wakes} wakes a job, {told}");
            }
        }
    }
}
