//! Malformed packets, claimed lengths and dribbling peers, against a live server.
//!
//! Costs are compared with bounds on memory and processor time that a healthy
//! server keeps by far; nothing here depends on how fast the machine is.
//! What one peer may cost (slow readers, unfinished packets, descriptors) is
//! tested in `server_limits.rs`.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(clippy::print_stdout, reason = "the figures of a run")]

mod support;

use fastrand::Rng;
use gearshard::protocol::encode::RELAYED_BODY_BYTES_MAX;
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use support::{Connection, DEADLINE, Server, long_mode, wait_until};

const MIB: u64 = 1 << 20;

fn raw(number: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\0REQ".to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

fn request(command: Command, args: &[&[u8]], data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, Magic::Request, command, args, data);
    bytes
}

/// Packets and lines that are wrong, and after which the connection goes on.
fn survivable(rng: &mut Rng) -> Vec<u8> {
    const WRONG: [Command; 8] = [
        Command::Noop,
        Command::JobCreated,
        Command::NoJob,
        Command::JobAssign,
        Command::AllYours,
        Command::SubmitJobSched,
        Command::StatusResUnique,
        Command::Error,
    ];
    let long = vec![b'u'; rng.usize(65..200)];
    match rng.usize(0..10) {
        0 | 1 => {
            let command = *rng.choice(&WRONG).unwrap();
            let args = vec![&b"1"[..]; command.argc()];
            request(command, &args, if command.has_data() { b"x" } else { b"" })
        }
        2 => {
            let mut bytes = Vec::new();
            encode(&mut bytes, Magic::Response, Command::WorkComplete, &[b"H:x:1"], b"late");
            bytes
        }
        3 => request(Command::WorkComplete, &[b"H:nobody:1"], b"result"),
        4 => request(Command::WorkStatus, &[b"", b"-1", b"many"], b""),
        5 => request(Command::WorkFail, &[&long], b""),
        6 => request(Command::SubmitJob, &[b"bad-input", &long], b"work"),
        7 => request(Command::OptionReq, &[&long], b""),
        8 => raw(9, &long),
        _ => {
            let mut line: Vec<u8> = (0..rng.usize(0..40)).map(|_| rng.u8(1..=255)).collect();
            line.retain(|byte| !b" \n".contains(byte));
            line.push(b'\n');
            line
        }
    }
}

/// What ends a connection.
fn fatal(rng: &mut Rng) -> Vec<u8> {
    let number = *rng.choice(&[0, 43, 0x7fff_ffff, 0x8000_0000, u32::MAX]).unwrap();
    match rng.usize(0..8) {
        0 => raw(number, b"body"),
        1 => b"\0REX\0\0\0\x01\0\0\0\0".to_vec(),
        2 => raw(7, b"no end"),
        3 => raw(12, b"H:x:1\x001"),
        4 => b"one two three four five six\n".to_vec(),
        5 => [b"\0REQ\0\0\0\x07".as_slice(), &u32::MAX.to_be_bytes()].concat(),
        // Half a header, half a packet, half a line: and then it hangs up.
        6 => raw(7, b"f\0u\0data")[..rng.usize(1..20)].to_vec(),
        _ => (0..rng.usize(1..60)).map(|_| rng.u8(..)).collect(),
    }
}

// Reads and forgets, so that replies do not pile up; ends when the server closes.
fn drain(stream: &TcpStream) -> std::thread::JoinHandle<()> {
    let mut stream = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut chunk = vec![0; 65536];
        while stream.read(&mut chunk).is_ok_and(|length| length > 0) {}
    })
}

/// Sends `packets` malformed packets over connections that survive them.
fn flood(server: &Server, seed: u64, packets: usize) {
    let mut rng = Rng::with_seed(seed);
    let mut left = packets;
    while left > 0 {
        let stream = TcpStream::connect(server.address()).unwrap();
        let reader = drain(&stream);
        for _ in 0..left.min(20_000) / 100 {
            let batch: Vec<u8> = (0..100).flat_map(|_| survivable(&mut rng)).collect();
            (&stream).write_all(&batch).expect("the server keeps the connection");
        }
        left -= left.min(20_000);
        stream.shutdown(Shutdown::Write).unwrap();
        reader.join().unwrap();
    }
}

/// Opens `connections` connections and has each end in its own way.
fn break_connections(server: &Server, seed: u64, connections: usize) {
    let mut rng = Rng::with_seed(seed);
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        // The server may close before all has been sent: that is what is wanted.
        let _ = stream.write_all(&fatal(&mut rng));
        let _ = stream.shutdown(Shutdown::Write);
        open.push(stream);
        if open.len() == 64 {
            finish(&mut open);
        }
    }
    finish(&mut open);
}

fn finish(open: &mut Vec<TcpStream>) {
    for mut stream in open.drain(..) {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut chunk = [0; 4096];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("the server does not close: {error}"),
            }
        }
    }
}

fn other_connections(server: &Server) -> usize {
    server.admin("workers").lines().count() - 1
}

#[test]
fn a_million_malformed_packets_and_connections_leave_nothing_behind() {
    let (packets, connections) = if long_mode() { (10_000_000, 1_000_000) } else { (900_000, 100_000) };
    let server = Server::gearshard(&["--threads=2"]);
    // What a server keeps for later it takes once.
    flood(&server, 0, 20_000);
    break_connections(&server, 0, 2_000);
    wait_until("all have gone", || other_connections(&server) == 0);
    let before = server.rss_bytes();
    std::thread::scope(|scope| {
        for half in [1, 2] {
            let server = &server;
            scope.spawn(move || flood(server, half, packets / 2));
            scope.spawn(move || break_connections(server, half, connections / 2));
        }
    });
    wait_until("all have gone", || other_connections(&server) == 0);
    assert!(server.connect().ask("version").starts_with("OK "), "it goes on");
    let mut grown = 0;
    wait_until("the memory is given back", || {
        grown = server.rss_bytes().saturating_sub(before);
        grown < 10 * MIB
    });
    println!(
        "{packets} malformed packets, {connections} broken connections: {grown} bytes more, from {before}"
    );
}

#[test]
fn a_thousand_claims_of_4_gib_cost_what_was_sent() {
    let server = Server::gearshard(&["--threads=2", "--max-packet-size=4G"]);
    let before = server.rss_bytes();
    let most = RELAYED_BODY_BYTES_MAX.to_be_bytes();
    let claim = [b"\0REQ\0\0\0\x07".as_slice(), &most, b"f\0u\0some of it"].concat();
    let claims: Vec<Connection> = (0..1000)
        .map(|_| {
            let mut connection = server.connect();
            connection.send_bytes(&claim);
            connection
        })
        .collect();
    wait_until("all are connected", || other_connections(&server) == 1000);
    server.connect().settle();
    let grown = server.rss_bytes().saturating_sub(before);
    println!("1,000 claims of 4 GiB: {grown} bytes more");
    assert!(grown < 64 * MIB, "{grown} bytes for {} claims", claims.len());
}

#[test]
fn peers_that_send_a_byte_a_second_cost_next_to_nothing() {
    const PEERS: usize = 2000;
    const ROUNDS: usize = 5;
    let mut server = Server::gearshard(&["--threads=2"]);
    let mut peers: Vec<Connection> = (0..PEERS).map(|_| server.connect()).collect();
    wait_until("all are connected", || other_connections(&server) == PEERS);
    let rss = server.rss_bytes();
    let packet = request(Command::SubmitJobBg, &[b"dribble", b""], b"data");
    let mut bystander = server.connect();
    let start = Instant::now();
    let before = server.process().cpu_time();
    for (round, byte) in packet[..ROUNDS].iter().enumerate() {
        for peer in &mut peers {
            peer.send_bytes(&[*byte]);
        }
        bystander.settle();
        // The rate is what is tested, not how long it takes.
        let next = Duration::from_secs(round as u64 + 1);
        std::thread::sleep(next.saturating_sub(start.elapsed()));
    }
    let used = server.process().cpu_time() - before;
    let share = used.as_secs_f64() / start.elapsed().as_secs_f64();
    let grown = server.rss_bytes().saturating_sub(rss);
    println!("{PEERS} peers at a byte a second: {:.1} % of a core, {grown} bytes more", share * 100.0);
    assert!(share < 0.25, "{used:?} of processor time in {:?}", start.elapsed());
    assert!(grown < 16 * MIB, "{grown} bytes for {PEERS} unfinished headers");
    // They are heard to the end.
    for peer in &mut peers[..10] {
        peer.send_bytes(&packet[ROUNDS..]);
        peer.expect(Command::JobCreated);
    }
}

#[test]
fn neighbours_go_on_while_a_client_never_reads() {
    let server = Server::gearshard(&["--threads=2", "--write-buffer=8M", "--write-stall=1s"]);
    let mut client = server.connect();
    client.send(Command::SubmitJob, &[b"flood", b""], b"");
    client.expect(Command::JobCreated);
    let mut worker = server.connect();
    worker.send(Command::CanDo, &[b"flood"], b"");
    worker.send(Command::GrabJob, &[], b"");
    let handle = worker.expect(Command::JobAssign).args[0].clone();
    let before = server.rss_bytes();
    let producer = std::thread::spawn(move || {
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..512 {
            worker.send(Command::WorkData, &[&handle], &piece);
        }
        worker.send(Command::WorkComplete, &[&handle], b"");
        worker.settle();
    });
    let (mut most, mut echoes) = (0, 0);
    let mut neighbour = server.connect();
    while !producer.is_finished() {
        neighbour.settle();
        echoes += 1;
        most = most.max(server.rss_bytes().saturating_sub(before));
        std::thread::sleep(Duration::from_millis(5));
    }
    producer.join().unwrap();
    println!("512 MiB for a client that does not read: {most} bytes more at most; {echoes} echoes meanwhile");
    assert!(most < 64 * MIB, "{most} bytes were kept for a client that does not read");
    assert!(echoes > 10, "a neighbour was answered {echoes} times");
    assert_eq!(server.counts("flood"), (0, 0, 0), "the client was cut and its job is over");
    drop(client);
}
