//! A server in this process, over real sockets: jobs through 1, 2 and 4
//! shards, payloads of any size, packets in pieces.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod embedded;
mod support;

use std::time::{Duration, Instant};

use embedded::{Running, packet};
use gearshard::protocol::packet::Command;
use gearshard::server::Options;
use gearshard::shard::placement::owner_of;
use gearshard::shard::settings::Settings;
use support::{Connection, DEADLINE, wait_until};

/// Does `jobs` jobs and gives back every workload reversed.
fn work(mut connection: Connection, functions: &[&[u8]], stop: &[u8]) -> u64 {
    for function in functions {
        connection.send(Command::CanDo, &[function], b"");
    }
    let mut done = 0;
    connection.send(Command::GrabJob, &[], b"");
    loop {
        let reply = connection.read_packet();
        match reply.command {
            Command::JobAssign => {
                let mut result = reply.data;
                let last = result == stop;
                result.reverse();
                let mut bytes = packet(Command::WorkComplete, &[&reply.args[0]], &result);
                bytes.extend(packet(Command::GrabJob, &[], b""));
                connection.send_bytes(&bytes);
                done += 1;
                if last {
                    connection.settle();
                    return done;
                }
            }
            Command::NoJob => connection.send(Command::PreSleep, &[], b""),
            Command::Noop => connection.send(Command::GrabJob, &[], b""),
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[test]
fn pipelined_jobs_get_through_any_number_of_shards() {
    const CLIENTS: usize = 12;
    const JOBS: usize = 300;
    let functions: Vec<Vec<u8>> = (0..7).map(|n| format!("function-{n}").into_bytes()).collect();
    for shards in [1, 2, 4] {
        let server = Running::start(shards);
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let connection = server.connect();
                let functions = functions.clone();
                std::thread::spawn(move || {
                    let names: Vec<&[u8]> = functions.iter().map(Vec::as_slice).collect();
                    work(connection, &names, b"stop")
                })
            })
            .collect();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let mut connection = server.connect();
                let functions = functions.clone();
                std::thread::spawn(move || {
                    let mut bytes = Vec::new();
                    for job in 0..JOBS {
                        let data = format!("{client} {job}");
                        let function = &functions[(client + job) % functions.len()];
                        bytes.extend(packet(Command::SubmitJob, &[function, b""], data.as_bytes()));
                    }
                    connection.send_bytes(&bytes);
                    let mut handles = Vec::new();
                    let mut results = std::collections::HashMap::new();
                    while results.len() < JOBS {
                        let reply = connection.read_packet();
                        match reply.command {
                            Command::JobCreated => handles.push(reply.args[0].clone()),
                            Command::WorkComplete => {
                                assert!(handles.contains(&reply.args[0]), "a result before its handle");
                                let mut data = reply.data;
                                data.reverse();
                                assert!(results.insert(reply.args[0].clone(), data).is_none());
                            }
                            other => panic!("unexpected {other:?}"),
                        }
                    }
                    // Handles come in the order of the submits.
                    for (job, handle) in handles.iter().enumerate() {
                        assert_eq!(results[handle], format!("{client} {job}").into_bytes());
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        let mut closing = server.connect();
        for worker in &workers {
            wait_until("the worker ends", || {
                closing.send(Command::SubmitJobBg, &[&functions[0], b""], b"stop");
                closing.expect(Command::JobCreated);
                std::thread::sleep(Duration::from_millis(5));
                worker.is_finished()
            });
        }
        for worker in workers {
            worker.join().unwrap();
        }
        let counts = server.control.counts();
        let submitted: u64 = counts.iter().map(|counts| counts.submitted).sum();
        assert!(submitted >= (CLIENTS * JOBS) as u64, "{counts:?}");
    }
}

#[test]
fn clients_far_ahead_of_their_replies_are_held_and_lose_nothing() {
    const SUBMITS: usize = 6000;
    for shards in [2, 4] {
        let settings = Settings { open_replies_max: 3, ..Settings::default() };
        let server = Running::with(Options { shards, settings, ..Options::default() });
        let clients: Vec<_> = (0..6)
            .map(|client| {
                let mut connection = server.connect();
                std::thread::spawn(move || {
                    let mut bytes = Vec::new();
                    for number in 0..SUBMITS {
                        let function = format!("f{}", (client + number) % 5);
                        let unique = format!("{client} {number}");
                        let args: [&[u8]; 2] = [function.as_bytes(), unique.as_bytes()];
                        bytes.extend(packet(Command::SubmitJobBg, &args, &[1; 60]));
                    }
                    // The pieces do not end where packets do.
                    for piece in bytes.chunks(100_003) {
                        connection.send_bytes(piece);
                    }
                    for _ in 0..SUBMITS {
                        connection.expect(Command::JobCreated);
                    }
                    assert!(connection.settle().is_empty());
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        let jobs: u64 = server.control.counts().iter().map(|counts| counts.jobs).sum();
        assert_eq!(jobs, 6 * SUBMITS as u64);
    }
}

#[test]
fn a_large_payload_passes_both_ways() {
    for shards in [1, 2] {
        let server = Running::start(shards);
        let payload: Vec<u8> = (0..100_000_000_u32).map(|at| (at ^ at >> 11) as u8).collect();
        let connection = server.connect();
        let worker = std::thread::spawn({
            let payload = payload.clone();
            move || work(connection, &[b"big"], &payload)
        });
        let mut client = server.connect();
        client.send(Command::SubmitJob, &[b"big", b""], &payload);
        client.expect(Command::JobCreated);
        let mut result = client.expect(Command::WorkComplete).data;
        result.reverse();
        assert!(result == payload, "the payload came back changed");
        worker.join().unwrap();
        wait_until("buffers are given back", || {
            server.control.traffic().iter().map(|traffic| traffic.buffer_bytes).sum::<u64>() < 1 << 20
        });
    }
}

#[test]
fn packets_may_come_in_pieces_of_any_size() {
    let server = Running::start(2);
    let mut stream = Vec::new();
    for size in [0_usize, 1, 100, 20_000, 70_000, 300_000] {
        stream.extend(packet(Command::EchoReq, &[], &vec![size as u8; size]));
        stream.extend(b"version\r\n");
    }
    for piece in [1_usize, 7, 1000, 16_384, 65_536, 200_000] {
        // One byte at a time only through the small packets.
        let end = if piece < 100 { 400 } else { stream.len() };
        let mut connection = server.connect();
        for bytes in stream[..end].chunks(piece) {
            connection.send_bytes(bytes);
        }
        connection.send_bytes(&stream[end..]);
        for size in [0_usize, 1, 100, 20_000, 70_000, 300_000] {
            let echo = connection.expect(Command::EchoRes);
            assert!(echo.data == vec![size as u8; size], "echo of {size} bytes in pieces of {piece}");
            assert!(connection.read_line().starts_with("OK "));
        }
    }
}

#[test]
fn whatever_stands_before_a_broken_packet_is_answered() {
    let server = Running::start(2);
    for count in [0_usize, 1, 15, 16, 17, 100] {
        let mut bytes = Vec::new();
        for number in 0..count {
            bytes.extend(packet(Command::EchoReq, &[], number.to_string().as_bytes()));
        }
        bytes.extend(b"\0BAD packet");
        let mut connection = server.connect();
        connection.send_bytes(&bytes);
        for number in 0..count {
            let echo = connection.expect(Command::EchoRes);
            assert_eq!(echo.data, number.to_string().as_bytes(), "of {count}");
        }
        assert!(connection.read_to_close().is_empty(), "behind {count}");
    }
}

/// How many connections each shard has, once they are so many in all.
fn connections(server: &Running, count: u64) -> Vec<u64> {
    let counted = || server.control.counts().iter().map(|counts| counts.connections).collect::<Vec<u64>>();
    wait_until("all connections are counted", || counted().iter().sum::<u64>() == count);
    counted()
}

#[test]
fn connections_live_with_their_functions_and_lose_nothing_on_the_way() {
    const SHARDS: u16 = 4;
    const SUBMITS: usize = 100;
    let server = Running::start(SHARDS);
    let function = b"moving";
    let submits = packet(Command::SubmitJobBg, &[function, b""], b"x").repeat(SUBMITS);
    let mut workers = Vec::new();
    for number in 0..6 {
        let mut worker = server.connect();
        if number % 2 == 0 {
            // A greeting does not bind a connection to where it came.
            assert!(worker.settle().is_empty());
        }
        worker.send(Command::CanDo, &[function], b"");
        assert!(worker.settle().is_empty());
        workers.push(worker);
    }
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = server.connect();
        // The last submit comes in pieces.
        let (most, rest) = submits.split_at(submits.len() - 20);
        for piece in [most, &rest[..7], &rest[7..]] {
            client.send_bytes(piece);
        }
        for _ in 0..SUBMITS {
            client.expect(Command::JobCreated);
        }
        clients.push(client);
    }
    let mut expected = vec![0; usize::from(SHARDS)];
    expected[owner_of(function, SHARDS).index()] = 12;
    assert_eq!(connections(&server, 12), expected);

    let mut leaver = server.connect();
    leaver.send_bytes(&submits);
    leaver.finish_sending();
    for _ in 0..SUBMITS {
        leaver.expect(Command::JobCreated);
    }
    assert!(leaver.read_to_close().is_empty());

    for number in 0..7 * SUBMITS {
        let worker = &mut workers[number % 6];
        worker.send(Command::GrabJob, &[], b"");
        let handle = worker.expect(Command::JobAssign).args[0].clone();
        worker.send(Command::WorkComplete, &[&handle], b"");
        assert!(worker.settle().is_empty());
    }
    workers[0].send(Command::GrabJob, &[], b"");
    workers[0].expect(Command::NoJob);
}

#[test]
fn a_connection_that_has_said_who_it_is_stays_where_it_is() {
    const SHARDS: u16 = 4;
    let server = Running::start(SHARDS);
    let mut workers = Vec::new();
    for number in 0..SHARDS {
        let mut worker = server.connect();
        worker.send(Command::SetClientId, &[format!("worker-{number}").as_bytes()], b"");
        assert!(worker.settle().is_empty());
        worker.send(Command::CanDo, &[b"named"], b"");
        assert!(worker.settle().is_empty());
        workers.push(worker);
    }
    assert_eq!(connections(&server, SHARDS.into()), [1; SHARDS as usize]);
    workers[0].send_line("workers");
    let list = workers[0].read_text();
    for number in 0..SHARDS {
        assert!(list.contains(&format!(" worker-{number} : named")), "{list}");
    }
}

#[test]
fn many_connections_of_one_function_are_spread() {
    let server = Running::start(4);
    let mut workers = Vec::new();
    for _ in 0..150 {
        let mut worker = server.connect();
        worker.send(Command::CanDo, &[b"popular"], b"");
        assert!(worker.settle().is_empty());
        workers.push(worker);
    }
    let spread = connections(&server, 150);
    let (least, most) = (spread.iter().min().unwrap(), spread.iter().max().unwrap());
    assert!(most - least <= 32, "{spread:?}");
}

#[test]
fn submits_join_their_jobs_in_a_deep_queue() {
    const JOBS: usize = 30_000;
    let server = Running::start(1);
    let mut connection = server.connect();
    let mut handles: [Vec<String>; 2] = Default::default();
    for handles in &mut handles {
        for numbers in (0..JOBS).collect::<Vec<_>>().chunks(500) {
            for number in numbers {
                let (unique, workload) = match number % 3 {
                    0 => ("-".to_owned(), number.to_string()),
                    _ => (number.to_string(), "workload".to_owned()),
                };
                let args = [&b"deep"[..], unique.as_bytes()];
                connection.send(Command::SubmitJobBg, &args, workload.as_bytes());
            }
            handles.extend(numbers.iter().map(|_| connection.expect(Command::JobCreated).text(0)));
        }
    }
    assert_eq!(handles[0], handles[1]);
    assert_eq!(server.control.counts().iter().map(|counts| counts.jobs).sum::<u64>(), JOBS as u64);
}

#[test]
fn ending_is_prompt_and_several_servers_live_side_by_side() {
    let mut first = Running::start(2);
    let second = Running::start(1);
    let mut connection = first.connect();
    let mut other = second.connect();
    assert!(connection.settle().is_empty() && other.settle().is_empty());
    first.control.stop();
    let start = Instant::now();
    first.join();
    assert!(start.elapsed() < DEADLINE);
    connection.read_to_close();
    assert!(Connection::try_open(first.address).is_err(), "nobody listens any more");
    assert!(other.settle().is_empty(), "the other server goes on");
}

#[test]
fn who_has_stopped_sending_is_still_told_what_it_asked() {
    for shards in [1, 2, 4] {
        let server = Running::start(shards);
        for round in 0..50 {
            let mut connection = server.connect();
            connection.send(Command::SubmitJobBg, &[format!("f{round}").as_bytes(), b""], b"");
            connection.send_line("status");
            connection.finish_sending();
            connection.expect(Command::JobCreated);
            assert_eq!(connection.read_text().lines().count(), round + 1);
            assert!(connection.read_to_close().is_empty());
        }
    }
}

#[test]
fn who_sees_a_worker_go_finds_its_job_waiting() {
    for shards in [1, 2, 4] {
        let server = Running::start(shards);
        let mut client = server.connect();
        client.send(Command::SubmitJobBg, &[b"f", b""], b"");
        client.expect(Command::JobCreated);
        for _ in 0..150 {
            let mut worker = server.connect();
            let mut successor = server.connect();
            successor.settle();
            worker.send(Command::CanDo, &[b"f"], b"");
            worker.send(Command::GrabJob, &[], b"");
            worker.expect(Command::JobAssign);
            worker.finish_sending();
            worker.read_to_close();
            successor.send(Command::CanDo, &[b"f"], b"");
            successor.send(Command::GrabJob, &[], b"");
            successor.expect(Command::JobAssign);
            successor.finish_sending();
            successor.read_to_close();
        }
    }
}

#[test]
fn a_job_that_somebody_knows_of_is_never_denied_to_a_worker() {
    const ROUNDS: usize = 400;
    const FUNCTIONS: usize = 6;
    let server = Running::start(4);
    // More pairs than processors keep the shards busy, so that messages lie in their inboxes.
    let pairs: Vec<_> = (0..6)
        .map(|pair| {
            let (mut client, mut worker) = (server.connect(), server.connect());
            std::thread::spawn(move || {
                let functions: Vec<String> = (0..FUNCTIONS).map(|n| format!("{pair} {n}")).collect();
                for function in &functions {
                    worker.send(Command::CanDo, &[function.as_bytes()], b"");
                }
                worker.settle();
                for round in 0..ROUNDS {
                    let function = functions[round % FUNCTIONS].as_bytes();
                    client.send(Command::SubmitJobBg, &[function, b""], b"");
                    let handle = client.expect(Command::JobCreated).args[0].clone();
                    worker.send(Command::GrabJob, &[], b"");
                    let assigned = worker.read_packet();
                    assert_eq!(assigned.command, Command::JobAssign, "round {round}");
                    assert_eq!(assigned.args[0], handle);
                    worker.send(Command::WorkComplete, &[&handle], b"");
                }
            })
        })
        .collect();
    for pair in pairs {
        pair.join().unwrap();
    }
}
