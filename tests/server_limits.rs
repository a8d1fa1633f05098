//! What a peer may cost: slow readers, unfinished packets, too many
//! connections, too much memory, no descriptors left.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod embedded;
mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use embedded::{Running, packet};
use gearshard::protocol::packet::Command;
use gearshard::server::log::{Level, Log};
use gearshard::server::{Control, Options};
use support::{Connection, Server, wait_until};

/// Lets this process have as many descriptors as it may: the tests of a file
/// run side by side, and 1024 are soon used up.
fn allow_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(most >= 4096, "this test needs 4096 descriptors; raise the hard limit (ulimit -Hn) from {most}");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

fn buffer_bytes(control: &Control) -> u64 {
    control.traffic().iter().map(|traffic| traffic.buffer_bytes).sum()
}

/// A worker that says `count` pieces of `size` bytes about one job, and completes it.
fn chatter(mut worker: Connection, count: usize, size: usize) -> std::thread::JoinHandle<Connection> {
    worker.send(Command::CanDo, &[b"chatter"], b"");
    worker.send(Command::PreSleep, &[], b"");
    worker.settle();
    std::thread::spawn(move || {
        worker.expect(Command::Noop);
        worker.send(Command::GrabJob, &[], b"");
        let handle = worker.expect(Command::JobAssign).args[0].clone();
        for number in 0..count {
            worker.send(Command::WorkData, &[&handle], &vec![number as u8; size]);
        }
        worker.send(Command::WorkComplete, &[&handle], b"end");
        worker
    })
}

#[test]
fn a_client_that_never_reads_pauses_its_worker_and_is_cut() {
    const LIMIT: usize = 32 << 20;
    for shards in [1, 2] {
        let server = Running::with(Options {
            shards,
            write_buffer_max: LIMIT,
            write_stall: Duration::from_secs(2),
            ..Options::default()
        });
        let worker = chatter(server.connect(), 256, 1 << 20);
        let mut client = server.connect();
        client.send(Command::SubmitJob, &[b"chatter", b""], b"");
        let mut most = 0;
        wait_until("the client is cut", || {
            most = most.max(buffer_bytes(&server.control));
            server.control.traffic().iter().any(|traffic| traffic.cut_stalled == 1)
        });
        // The backlog up to the high-water mark and what was under way, far below the limit.
        assert!(most > 1 << 20 && most < LIMIT as u64 / 2, "{most} bytes were buffered");
        // The worker goes on when there is nobody left to wait for.
        worker.join().unwrap().settle();
        assert!(server.control.traffic().iter().all(|traffic| traffic.cut_overflow == 0));
        client.read_to_close();
    }
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    const COUNT: usize = 96;
    for shards in [1, 2] {
        let server = Running::start(shards);
        let worker = chatter(server.connect(), COUNT, 1 << 20);
        let mut client = server.connect();
        client.send(Command::SubmitJob, &[b"chatter", b""], b"");
        client.expect(Command::JobCreated);
        let paused = AtomicBool::new(false);
        for number in 0..COUNT {
            if number % 16 == 0 {
                std::thread::sleep(Duration::from_millis(100));
                paused.fetch_or(!worker.is_finished(), Ordering::Relaxed);
            }
            let data = client.expect(Command::WorkData).data;
            assert!(data == vec![number as u8; 1 << 20], "piece {number}");
        }
        assert_eq!(client.expect(Command::WorkComplete).data, b"end");
        assert!(paused.into_inner(), "the worker had to wait");
        worker.join().unwrap().settle();
        wait_until("buffers are given back", || buffer_bytes(&server.control) == 0);
    }
}

#[test]
fn who_asks_and_never_reads_is_cut_at_the_limit() {
    const LIMIT: usize = 4 << 20;
    let server = Running::with(Options { write_buffer_max: LIMIT, shards: 1, ..Options::default() });
    let mut greedy = server.connect();
    let echo = packet(Command::EchoReq, &[], &[7; 60_000]);
    let mut most = 0;
    wait_until("the connection is cut", || {
        let _closed_in_the_end = greedy.try_send_bytes(&echo);
        most = most.max(buffer_bytes(&server.control));
        server.control.traffic()[0].cut_overflow == 1
    });
    assert!(most <= (LIMIT + (1 << 20)) as u64, "{most} bytes were buffered");
    assert!(server.connect().settle().is_empty(), "the server goes on");
    wait_until("buffers are given back", || buffer_bytes(&server.control) == 0);
}

#[test]
fn one_packet_may_be_larger_than_the_write_buffer() {
    let server = Running::with(Options { write_buffer_max: 1 << 20, shards: 2, ..Options::default() });
    let mut connection = server.connect();
    let data = vec![5; 24 << 20];
    std::thread::scope(|scope| {
        let bytes = packet(Command::EchoReq, &[], &data);
        let mut client = server.connect();
        scope.spawn(move || {
            client.send_bytes(&bytes);
            assert!(client.expect(Command::EchoRes).data == vec![5; 24 << 20]);
        });
    });
    assert!(connection.settle().is_empty());
}

#[test]
fn a_claimed_length_costs_nothing_until_it_comes() {
    const CONNECTIONS: usize = 1000;
    allow_descriptors();
    let server = Server::gearshard(&["--max-packet-size=4G", "--file-descriptors=4096"]);
    let before = server.rss_bytes();
    let mut header = packet(Command::SubmitJob, &[b"f", b"u"], b"");
    header[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    let connections: Vec<Connection> = (0..CONNECTIONS)
        .map(|_| {
            let mut connection = server.connect();
            connection.send_bytes(&header);
            connection
        })
        .collect();
    assert!(server.connect().settle().is_empty());
    let grown = server.rss_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{CONNECTIONS} claims of 4 GiB cost {grown} bytes");
    drop(connections);
}

#[test]
fn a_packet_that_does_not_get_on_is_cut() {
    let server =
        Running::with(Options { packet_timeout: Duration::from_secs(2), shards: 1, ..Options::default() });
    let mut idle = server.connect();
    idle.settle();
    let mut half_header = server.connect();
    half_header.send_bytes(b"\0REQ\0\0");
    let mut half_line = server.connect();
    half_line.send_bytes(b"stat");
    let mut half_body = server.connect();
    half_body.send_bytes(&packet(Command::EchoReq, &[], &[1; 100_000])[..90_000]);
    // Slower than one timeout in all, but it gets on.
    let mut slow = server.connect();
    let bytes = packet(Command::EchoReq, &[], &vec![2; 6 << 20]);
    for piece in bytes.chunks(128 << 10) {
        slow.send_bytes(piece);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(slow.expect(Command::EchoRes).data.len(), 6 << 20);
    for cut in [&mut half_header, &mut half_line, &mut half_body] {
        cut.read_to_close();
    }
    assert_eq!(server.control.traffic()[0].cut_incomplete, 3);
    assert!(idle.settle().is_empty(), "a connection between two packets may be silent for ever");
    wait_until("buffers are given back", || buffer_bytes(&server.control) == 0);
}

#[test]
fn at_the_memory_ceiling_submits_are_refused_and_workers_go_on() {
    for shards in [1, 3] {
        let server = Running::with(Options { max_memory: Some(8 << 20), shards, ..Options::default() });
        let mut client = server.connect();
        let mut created = 0;
        let refusal = loop {
            client.send(Command::SubmitJobBg, &[b"f", b""], &[1; 100_000]);
            let reply = client.read_packet();
            match reply.command {
                Command::JobCreated => created += 1,
                Command::Error => break reply,
                other => panic!("unexpected {other:?}"),
            }
            assert!(created < 1000, "no ceiling");
        };
        assert!(created >= 60, "refused after {created} jobs: {refusal:?}");
        let mut worker = server.connect();
        worker.send(Command::CanDo, &[b"f"], b"");
        for _ in 0..created {
            worker.send(Command::GrabJob, &[], b"");
            let handle = worker.expect(Command::JobAssign).args[0].clone();
            worker.send(Command::WorkComplete, &[&handle], b"");
        }
        wait_until("submits are accepted again", || {
            client.send(Command::SubmitJobBg, &[b"f", b""], b"");
            client.read_packet().command == Command::JobCreated
        });
    }
}

#[test]
fn unfinished_submits_wait_for_memory_while_results_come_in() {
    let server = Running::with(Options { max_memory: Some(4 << 20), shards: 2, ..Options::default() });
    let mut worker = server.connect();
    let mut client = server.connect();
    client.send(Command::SubmitJob, &[b"f", b""], b"");
    client.expect(Command::JobCreated);
    worker.send(Command::CanDo, &[b"f"], b"");
    worker.send(Command::GrabJob, &[], b"");
    let handle = worker.expect(Command::JobAssign).args[0].clone();
    // Each of these would take 64 MiB if it were received.
    let floods: Vec<_> = (0..8)
        .map(|_| {
            let mut connection = server.connect();
            std::thread::spawn(move || {
                let bytes = packet(Command::SubmitJobBg, &[b"g", b""], &vec![0; 64 << 20]);
                let _cut_in_the_end = connection.try_send_bytes(&bytes[..bytes.len() - 1]);
                connection
            })
        })
        .collect();
    wait_until("the ceiling is reached", || buffer_bytes(&server.control) > 4 << 20);
    worker.send(Command::WorkComplete, &[&handle], &vec![9; 2 << 20]);
    assert!(client.expect(Command::WorkComplete).data == vec![9; 2 << 20]);
    std::thread::sleep(Duration::from_millis(200));
    let bytes = buffer_bytes(&server.control);
    assert!(bytes < 64 << 20, "{bytes} bytes are buffered under a ceiling of 4 MiB");
    server.control.stop();
    for flood in floods {
        flood.join().unwrap();
    }
}

/// A log that keeps its lines.
fn kept_log() -> (Log, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let log: Log = Arc::new(move |level, line| {
        if level <= Level::Info {
            kept.lock().unwrap().push(line.to_string());
        }
    });
    (log, lines)
}

#[test]
fn connections_over_the_limit_are_closed_and_told_once() {
    let (log, lines) = kept_log();
    let server = Running::with(Options { max_connections: Some(3), shards: 2, log, ..Options::default() });
    let mut connections: Vec<Connection> = (0..3).map(|_| server.connect()).collect();
    for connection in &mut connections {
        connection.settle();
    }
    for _ in 0..5 {
        assert!(server.connect().read_to_close().is_empty());
    }
    assert_eq!(server.control.refused_connections(), 5);
    let told = lines.lock().unwrap().iter().filter(|line| line.contains("Connection limit")).count();
    assert_eq!(told, 1);
    drop(connections.pop());
    wait_until("there is room again", || {
        let mut connection = server.connect();
        connection.try_send_bytes(b"version\n").is_ok() && connection.poll_line(support::DEADLINE).is_some()
    });
    let lines = lines.lock().unwrap();
    for start in ["Listening on 127.0.0.1:", "Accepted connection from 127.0.0.1:", "Disconnected 127.0.0.1:"]
    {
        assert!(lines.iter().any(|line| line.starts_with(start)), "no {start:?} in {lines:?}");
    }
}

#[test]
fn connections_are_spread_evenly_also_after_many_have_gone() {
    allow_descriptors();
    let server = Running::start(4);
    let balance = |expected: u64| {
        let counts = server.control.counts();
        let each: Vec<u64> = counts.iter().map(|counts| counts.connections).collect();
        assert_eq!(each.iter().sum::<u64>(), expected, "{each:?}");
        let (least, most) = (each.iter().min().unwrap(), each.iter().max().unwrap());
        assert!(*most * 10 <= *least * 12, "uneven: {each:?}");
    };
    let open = |count: usize| -> Vec<Connection> {
        let mut connections: Vec<Connection> = (0..count).map(|_| server.connect()).collect();
        for connection in &mut connections {
            connection.settle();
        }
        connections
    };
    let mut connections = open(160);
    balance(160);
    // Every fourth lived on the same shard, most likely.
    let mut number = 0;
    connections.retain(|_| {
        number += 1;
        number % 4 != 0 && number % 7 != 0
    });
    let left = connections.len();
    wait_until("they are gone", || {
        server.control.counts().iter().map(|counts| counts.connections).sum::<u64>() == left as u64
    });
    connections.extend(open(100));
    balance(left as u64 + 100);
}

/// Voluntary and other switches of all threads of a process.
fn switches(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        .map(|thread| std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap())
        .flat_map(|status| {
            let counts: Vec<u64> = status
                .lines()
                .filter(|line| line.contains("ctxt_switches:"))
                .map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
                .collect();
            counts
        })
        .sum()
}

#[test]
fn an_idle_server_does_nothing_at_all() {
    let mut server = Server::gearshard(&["--threads=3"]);
    let mut workers: Vec<Connection> = (0..30).map(|_| server.connect()).collect();
    for worker in &mut workers {
        worker.send(Command::CanDo, &[b"f"], b"");
        worker.send(Command::PreSleep, &[], b"");
        worker.settle();
    }
    // Whatever was to be done once is done when a whole second passes without a switch.
    let mut last = switches(server.pid());
    wait_until("the server comes to rest", || {
        std::thread::sleep(Duration::from_secs(1));
        let before = std::mem::replace(&mut last, switches(server.pid()));
        before == last
    });
    let cpu = server.process().cpu_time();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(switches(server.pid()), last, "threads of an idle server woke up");
    assert_eq!(server.process().cpu_time(), cpu);
}

#[test]
fn without_descriptors_accepting_pauses_and_goes_on_by_itself() {
    let mut server = Server::gearshard(&[
        "--threads=2",
        "--file-descriptors=64",
        "--max-connections=10000",
        "--verbose=NOTICE",
    ]);
    let told = "Cannot accept connections";
    let mut connections: Vec<Connection> = (0..90).map(|_| server.connect()).collect();
    wait_until("descriptors run out", || server.log().contains(told));
    let before = switches(server.pid());
    let cpu = server.process().cpu_time();
    std::thread::sleep(Duration::from_secs(2));
    let tries = switches(server.pid()) - before;
    assert!(tries < 200, "{tries} switches while waiting for descriptors");
    let used = server.process().cpu_time() - cpu;
    assert!(used < Duration::from_secs(1), "{used:?} of processor time while waiting");
    assert_eq!(server.log().matches(told).count(), 1, "told once");
    // The oldest were accepted, the newest wait.
    connections.drain(..50);
    for connection in &mut connections {
        assert!(connection.settle().is_empty(), "everyone is served in the end");
    }
    assert!(server.log().contains("Accepting connections again"), "{}", server.log());
    assert!(server.stop().success());
}
