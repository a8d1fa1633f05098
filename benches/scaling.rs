//! How jobs scale over 1 to 64 shards: `cargo bench --bench scaling`.
//!
//! Three tables. What a hop costs is measured here, between two threads. What
//! shards say to each other for a job is counted with the server's own shards
//! and inboxes, on one thread; these counts are the same everywhere. The last
//! table puts the two together; its assumptions are printed below it.

#[allow(dead_code, unused_imports, reason = "the server and its tests use the rest")]
#[path = "../src/reactor/bus.rs"]
mod bus;
mod hops;
mod spread;

// The inboxes name shards as they do where they are at home.
use gearshard::shard;
use gearshard::shard::message::Message;
use hops::Costs;
use spread::{Kind, Layout, Placed, Run, run};

const SHARDS: [u16; 5] = [1, 2, 4, 16, 64];
const FUNCTIONS: [u32; 3] = [1, 16, 1000];
const JOBS: u64 = 5_000;

/// Sends and receives of a job whose peers do one at a time and keep several
/// in flight: what `strace -c` counts of one shard under `fg`.
const SENDS: f64 = 1.1;
const RECEIVES: f64 = 1.1;

/// Bytes that move between processors' caches at once.
const LINE: usize = 64;

fn main() {
    // `cargo test --benches` runs this as well; there is nothing to measure then.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let costs = hops::measure();
    eprintln!("measured, microseconds");
    eprintln!("  batch between threads that are awake   {:6.3}", costs.batch);
    eprintln!("  each message in it                     {:6.3}", costs.message);
    eprintln!("  hop to a parked thread, until it runs  {:6.2}", costs.parked);
    eprintln!("  the send that wakes it                 {:6.2}", costs.wake);
    eprintln!("  send, receive of 64 bytes              {:6.2} {:6.2}", costs.send, costs.receive);
    eprintln!(
        "  a message is {} bytes, {} cache lines",
        size_of::<Message>(),
        size_of::<Message>().div_ceil(LINE)
    );
    count_all();
    model(&costs);
    hot_function(&costs);
}

/// Everybody everywhere; `in_flight` jobs of each of two clients a shard, beside four workers.
fn layout(kind: Kind, shards: u16, functions: u32, in_flight: u32) -> Layout {
    Layout { kind, placed: Placed::Everywhere, shards, functions, clients: 2, in_flight, workers: 4 }
}

/// Name, kind, and jobs in flight: twice as many as workers, or far fewer.
const SCENES: [(&str, Kind, u32); 4] = [
    ("fg busy", Kind::Foreground, 8),
    ("fg light", Kind::Foreground, 1),
    ("flow busy", Kind::Flow, 8),
    ("flow light", Kind::Flow, 1),
];

fn count_all() {
    eprintln!("\ncounted, each job");
    eprintln!("scene       shards functions messages batches  wakes missed  noops lines");
    for (name, kind, in_flight) in SCENES {
        for shards in SHARDS {
            for functions in FUNCTIONS {
                let Run { counted, .. } = run(layout(kind, shards, functions, in_flight), JOBS);
                let each = |count| counted.each(count);
                eprintln!(
                    "{name:11} {shards:6} {functions:9} {:8.2} {:7.2} {:6.3} {:6.2} {:6.2} {:5.0}",
                    each(counted.messages),
                    each(counted.batches),
                    each(counted.wakes),
                    each(counted.missed),
                    each(counted.noops),
                    lines(&counted),
                );
            }
        }
    }
}

/// Cache lines that change processors for a job: the messages, the batch and
/// its slot in the inbox, and the bytes of job and result, read by another
/// processor than wrote them and counted by both.
fn lines(counted: &spread::Counted) -> f64 {
    const BODY_BYTES: usize = 16 + 64;
    let messages = counted.each(counted.messages);
    let remote = (messages / 6.0).min(1.0);
    messages * size_of::<Message>().div_ceil(LINE) as f64
        + counted.each(counted.batches) * 2.0
        + remote * 2.0 * 2.0 * BODY_BYTES.div_ceil(LINE) as f64
}

fn hops_cost(costs: &Costs, messages: f64, batches: f64, wakes: f64) -> f64 {
    messages * costs.message + batches * costs.batch + wakes * costs.wake
}

fn model(costs: &Costs) {
    let kernel = SENDS * costs.send + RECEIVES * costs.receive;
    eprintln!("\nmodel, microseconds of processor time a foreground job, busy");
    eprintln!("functions shards  kernel  core  hops   sum  ratio  jobs/s of all shards");
    for functions in FUNCTIONS {
        let mut alone = None;
        for shards in SHARDS {
            let Run { counted, spent, .. } = run(layout(Kind::Foreground, shards, functions, 8), JOBS);
            let core = spent.as_secs_f64() * 1e6 / counted.jobs as f64;
            let each = |count| counted.each(count);
            let hops = hops_cost(costs, each(counted.messages), each(counted.batches), each(counted.wakes));
            let sum = kernel + core + hops;
            let ratio = sum / *alone.get_or_insert(sum);
            let rate = f64::from(shards) * 1e6 / sum;
            eprintln!(
                "{functions:9} {shards:6} {kernel:7.2} {core:5.2} {hops:5.2} {sum:5.2} {ratio:6.2} {rate:10.0}"
            );
        }
    }
    eprintln!(
        "kernel: {SENDS} sends and {RECEIVES} receives a job on any number of shards. core: the shards on one\n\
         thread, warm caches. hops: wakes x the waking send + batches + messages, with the lines they move.\n\
         Not in it: memory bandwidth, network cards, caches that several cores share, other NUMA nodes,\n\
         where a line takes longer, and a shard that is idle while another has all the work."
    );
}

fn hot_function(costs: &Costs) {
    eprintln!("\none function, everybody on other shards than its owner, foreground, busy");
    eprintln!("shards  owner's messages, batches in, out  owner's core  with hops, us  limit, jobs/s");
    for shards in SHARDS.into_iter().filter(|&shards| shards > 1) {
        let placed = Placed::BesideTheOwner;
        let Run { counted, owner_spent, .. } =
            run(Layout { placed, ..layout(Kind::Foreground, shards, 1, 8) }, JOBS);
        let each = |count| counted.each(count);
        let core = owner_spent.as_secs_f64() * 1e6 / counted.jobs as f64;
        let messages = each(counted.owner_messages);
        let (taken, sent) = (each(counted.owner_batches), each(counted.owner_sent));
        let sum = core + hops_cost(costs, messages, taken + sent, 0.0);
        eprintln!(
            "{shards:6} {messages:16.2} {taken:11.2} {sent:5.2} {core:13.2} {sum:13.2} {:14.0}",
            1e6 / sum
        );
    }
    eprintln!(
        "The owner is counted at full load and awake: nobody wakes it. Where its shard has connections of\n\
         its own, they take their share of the core first."
    );
}
