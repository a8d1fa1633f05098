//! The load generator's work on other servers: each of Debian's runs it briefly
//! and every job is accounted for; and what goes wrong on the way is noticed.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::Value;
use support::loadgen::loadgen;
use support::{Peers, Process, wait_until};

/// A server's label, its program, and what it is told; `{port}` is its port.
const NATS: (&str, &str, &str) = ("nats", "usr/sbin/nats-server", "-a 127.0.0.1 -p {port}");
const REDIS: (&str, &str, &str) =
    ("redis", "usr/bin/redis-server", "--bind 127.0.0.1 --port {port} --save '' --appendonly no");
const BEANSTALKD: (&str, &str, &str) = ("beanstalkd", "usr/bin/beanstalkd", "-l 127.0.0.1 -p {port}");

/// Runs the neighbour's work twice as `compare` does, beside the relay's, and
/// gives the comparison.
fn compared(server: (&str, &str, &str), work: &str, phase: &str) -> Value {
    let (label, program, arguments) = server;
    let peers = Peers::require();
    let libraries = peers.library_path();
    let started = format!(
        "{label}=LD_LIBRARY_PATH={} {} {arguments}",
        libraries.to_str().unwrap(),
        peers.path(program).display()
    );
    let run = format!("{label}=neighbour {label} {work} --count 3000 --warmup 0.05");
    let scenario = if phase == "flow" { "flow" } else { "fg" };
    let mut command = Command::new(loadgen());
    command.args(["compare", "--json", "--repeats=2", "--server", "relay=relay", "--server", &started]);
    command.args(["--run", &run, "--", scenario, "--count=3000", "--warmup=0"]);
    let finished = Process::run(command, b"").success();
    let compared: Value = serde_json::from_slice(&finished.stdout).unwrap();
    for server in compared["servers"].as_array().unwrap() {
        let reports = server["reports"].as_array().unwrap();
        assert_eq!(reports.len(), 2);
        for report in reports {
            assert_eq!(report["phases"][0]["name"], phase, "{report}");
            assert_eq!(report["phases"][0]["jobs"], 3000, "{report}");
        }
        let cost = server["phases"][phase]["cpu_per_job"]["median"].as_f64().unwrap();
        assert!(cost > 0.0, "{server}");
    }
    compared
}

#[test]
fn nats_requests_and_replies() {
    for work in ["", "--inbox-per-request", "--size 5000 --clients 2 --workers 3 --inflight 1"] {
        compared(NATS, work, "foreground");
    }
}

#[test]
fn redis_lists() {
    for work in ["", "--batch 8", "--size 5000 --clients 2 --workers 3 --inflight 1"] {
        compared(REDIS, work, "foreground");
        compared(REDIS, &format!("--work flow {work}"), "flow");
    }
}

#[test]
fn beanstalkd_jobs() {
    for work in ["", "--size 5000 --clients 2 --workers 3 --inflight 1"] {
        compared(BEANSTALKD, work, "foreground");
        compared(BEANSTALKD, &format!("--work flow {work}"), "flow");
    }
}

/// A neighbour on a free port.
fn started(server: (&str, &str, &str)) -> (Process, SocketAddr) {
    let (_, program, arguments) = server;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let peers = Peers::require();
    let mut command = peers.command(peers.path(program));
    let arguments = arguments.replace("{port}", &address.port().to_string());
    command.args(arguments.split(' ').map(|word| if word == "''" { "" } else { word }));
    let process = Process::start(command, b"");
    wait_until("the server listens", || TcpStream::connect(address).is_ok());
    (process, address)
}

/// Stands before a server and changes a byte of the 20th long answer; the count
/// tells how many long answers there were.
fn damaging(server: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(server) else { return };
            let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || pass(from_client, to_server, |_| {}));
            let seen = Arc::clone(&counted);
            std::thread::spawn(move || {
                pass(server, client, |bytes| {
                    // A payload is a thousand bytes, and nothing else nearly as long.
                    if bytes.len() > 1000 && bytes.ends_with(b"\r\n") && seen.fetch_add(1, SeqCst) == 20 {
                        let at = bytes.len() - 100;
                        bytes[at] ^= 1;
                    }
                });
            });
        }
    });
    (address, seen)
}

/// Passes bytes on until either side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, change: impl Fn(&mut [u8])) {
    let mut bytes = vec![0; 100_000];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        change(&mut bytes[..length]);
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    // The other side may have gone first.
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_damaged_payload_is_noticed() {
    for server in [NATS, REDIS, BEANSTALKD] {
        let (_process, address) = started(server);
        let (address, seen) = damaging(address);
        let mut command = Command::new(loadgen());
        command.args(["neighbour", server.0, "--json", "--patience=1", "--size=1000", "--count=500"]);
        command.args(["--warmup=0", &format!("--server={address}")]);
        let finished = Process::run(command, b"");
        let text = finished.text();
        assert!(seen.load(SeqCst) > 20, "{} was not damaged: {text}", server.0);
        assert_eq!(finished.status.code(), Some(1), "{}: {text}\n{}", server.0, finished.stderr);
        let report: Value = serde_json::from_str(&text).unwrap();
        // A worker tells of it and sends it back as it is; then the client tells of it and misses one.
        let damaged = report["faults"]["damaged"].as_u64().unwrap();
        assert!(damaged == 1 || damaged == 2, "{}: {text}", server.0);
    }
}

#[test]
fn what_a_neighbour_cannot_do_is_said() {
    let (_process, address) = started(REDIS);
    let cases: [(&[&str], &str); 4] = [
        (&["neighbour", "nats", "--work=flow"], "JetStream"),
        (&["neighbour", "beanstalkd", "--batch=2"], "--batch is for Redis"),
        (&["neighbour", "redis", "--inbox-per-request"], "is for NATS"),
        (&["neighbour", "beanstalkd"], "otherwise than a beanstalkd server"),
    ];
    for (scenario, expected) in cases {
        let mut command = Command::new(loadgen());
        command.args(scenario).arg(format!("--server={address}"));
        let finished = Process::run(command, b"");
        assert_ne!(finished.status.code(), Some(0), "{scenario:?}");
        let said = format!("{}{}", finished.text(), finished.stderr);
        assert!(said.contains(expected), "{scenario:?}: {said}");
    }
}
