//! Whole jobs through the core, without sockets: `cargo bench --bench shard`.
//!
//! With one shard this is what a job costs beside system calls; with two, what
//! the messages between home and owner add to it (not the wake of a thread).

#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod mesh;

use divan::Bencher;
use mesh::Mesh;

/// Jobs that are queued when background jobs are measured.
const DEPTHS: [u64; 2] = [0, 100_000];

fn main() {
    for shards in [1, 2, 4, 16, 64] {
        let mut mesh = Mesh::new(shards);
        mesh.foreground_job();
        let before = mesh.hops();
        mesh.foreground_job();
        let foreground = mesh.hops() - before;
        mesh.enqueue();
        mesh.enqueue();
        let before = mesh.hops();
        mesh.enqueue();
        let submit = mesh.hops() - before;
        mesh.run_one();
        let before = mesh.hops();
        mesh.run_one();
        let run = mesh.hops() - before;
        eprintln!(
            "{shards} shards: messages between shards: foreground job {foreground}, into a backlog {submit}, out of it {run}"
        );
    }
    divan::main();
}

#[divan::bench(args = [1, 2])]
fn foreground_job(bencher: Bencher<'_, '_>, shards: u16) {
    let mut mesh = Mesh::new(shards);
    bencher.bench_local(|| mesh.foreground_job());
}

#[divan::bench(args = DEPTHS)]
fn background_job(bencher: Bencher<'_, '_>, depth: u64) {
    let mut mesh = Mesh::new(1);
    for _ in 0..depth {
        mesh.enqueue();
    }
    bencher.bench_local(|| {
        mesh.enqueue();
        mesh.run_one();
    });
}
