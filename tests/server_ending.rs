//! How a server ends: at once, gracefully, drained, or with a bang.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod embedded;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use embedded::{Running, packet};
use gearshard::protocol::packet::Command;
use gearshard::server::Options;
use gearshard::server::log::Log;
use support::{Connection, DEADLINE, Process, wait_until};

fn submit_bg(client: &mut Connection, function: &[u8]) {
    client.send(Command::SubmitJobBg, &[function, b""], b"load");
    client.expect(Command::JobCreated);
}

/// Grabs one job of the function and returns its handle.
fn grab(worker: &mut Connection, function: &[u8]) -> Vec<u8> {
    worker.send(Command::CanDo, &[function], b"");
    worker.send(Command::GrabJob, &[], b"");
    worker.expect(Command::JobAssign).args[0].clone()
}

#[test]
fn a_graceful_end_closes_the_listeners_and_waits_for_the_jobs() {
    for shards in [1, 2, 4] {
        let mut server = Running::start(shards);
        let mut client = server.connect();
        let functions: Vec<Vec<u8>> = (0..5).map(|n| format!("f{n}").into_bytes()).collect();
        for function in &functions {
            submit_bg(&mut client, function);
        }
        let mut worker = server.connect();
        worker.settle();
        server.control.shutdown_gracefully();
        wait_until("nobody listens", || Connection::try_open(server.address).is_err());
        for function in &functions {
            assert!(client.settle().is_empty(), "existing connections are served");
            let handle = grab(&mut worker, function);
            worker.send(Command::WorkComplete, &[&handle], b"");
        }
        server.join();
        worker.read_to_close();
        client.read_to_close();
    }
}

#[test]
fn a_graceful_end_without_jobs_does_not_wait_for_connections() {
    let mut server = Running::start(3);
    let mut connections: Vec<Connection> = (0..20).map(|_| server.connect()).collect();
    for connection in &mut connections {
        connection.send(Command::CanDo, &[b"f"], b"");
        connection.send(Command::PreSleep, &[], b"");
        connection.settle();
    }
    server.control.shutdown_gracefully();
    server.join();
    for mut connection in connections {
        assert!(connection.read_to_close().is_empty());
    }
}

#[test]
fn someone_who_asks_all_the_time_does_not_keep_a_graceful_end_from_coming() {
    let mut server = Running::start(2);
    let over = Arc::new(AtomicBool::new(false));
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let mut asker = server.connect();
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                let echo = packet(Command::EchoReq, &[], b"again");
                while !over.load(Ordering::Relaxed) && asker.try_send_bytes(&echo).is_ok() {
                    if asker.poll_packet(DEADLINE).is_none() {
                        return;
                    }
                }
            })
        })
        .collect();
    server.control.shutdown_gracefully();
    server.join();
    over.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.join().unwrap();
    }
}

#[test]
fn a_draining_server_refuses_submits_and_lets_workers_come() {
    for shards in [1, 2] {
        let mut server = Running::start(shards);
        let mut client = server.connect();
        for _ in 0..3 {
            submit_bg(&mut client, b"f");
        }
        server.control.drain();
        wait_until("submits are refused", || {
            client.send(Command::SubmitJobBg, &[b"g", b"same"], b"");
            client.read_packet().command == Command::Error
        });
        let mut worker = server.connect();
        let mut left = 3;
        worker.send(Command::CanDo, &[b"g"], b"");
        while left > 0 {
            let handle = grab(&mut worker, b"f");
            worker.send(Command::WorkComplete, &[&handle], b"");
            left -= 1;
        }
        // A job of `g` may have been accepted before the drain began.
        worker.send(Command::GrabJob, &[], b"");
        if let Some(reply) = worker.poll_packet(DEADLINE)
            && reply.command == Command::JobAssign
        {
            worker.send(Command::WorkComplete, &[&reply.args[0]], b"");
        }
        server.join();
    }
}

#[test]
fn the_last_result_reaches_its_client_before_the_end() {
    const RESULT: usize = 3 << 20;
    for shards in [1, 2] {
        let mut server = Running::start(shards);
        let mut client = server.connect();
        client.send(Command::SubmitJob, &[b"f", b""], b"");
        client.expect(Command::JobCreated);
        let mut worker = server.connect();
        let handle = grab(&mut worker, b"f");
        server.control.shutdown_gracefully();
        worker.send(Command::WorkComplete, &[&handle], &vec![1; RESULT]);
        assert!(client.expect(Command::WorkComplete).data == vec![1; RESULT]);
        server.join();
    }
}

#[test]
fn a_stop_overrides_a_graceful_end_that_waits() {
    let mut server = Running::start(2);
    let mut client = server.connect();
    submit_bg(&mut client, b"f");
    server.control.shutdown_gracefully();
    wait_until("nobody listens", || Connection::try_open(server.address).is_err());
    assert!(client.settle().is_empty());
    server.control.stop();
    server.join();
    client.read_to_close();
    // Once more is harmless.
    server.control.stop();
}

#[test]
fn a_server_told_to_stop_before_it_runs_ends_at_once() {
    let listen = vec![gearshard::server::Listen::Host { host: "127.0.0.1".to_owned(), port: 0 }];
    let server =
        gearshard::server::Server::bind(Options { listen, shards: 2, ..Options::default() }).unwrap();
    server.control().stop();
    server.run().unwrap();
}

/// Serves a connection whose end is logged with a panic; the process dies of it.
fn panic_in_a_shard() -> ! {
    let log: Log = Arc::new(|_, line| assert!(!line.to_string().starts_with("Disconnected"), "as told"));
    let mut server = Running::with(Options { shards: 2, log, ..Options::default() });
    drop(server.connect());
    server.join();
    panic!("the server outlived its shard");
}

/// Runs itself once more in a process of its own, which is the one to die.
#[test]
fn a_panic_in_a_shard_aborts_the_process() {
    const CHILD: &str = "GEARSHARD_TEST_PANIC";
    if std::env::var_os(CHILD).is_some() {
        panic_in_a_shard();
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["a_panic_in_a_shard_aborts_the_process", "--exact", "--nocapture"]).env(CHILD, "1");
    let finished = Process::run(command, b"");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&finished.status), Some(6), "{finished:?}");
    assert!(finished.stderr.contains("as told"), "{finished:?}");
}

#[test]
fn a_unix_socket_serves_and_goes_with_its_server() {
    let folder = support::process::TempDir::new();
    let path = folder.path().join("gear");
    let listen = vec![gearshard::server::Listen::Unix(path.clone())];
    let server =
        gearshard::server::Server::bind(Options { listen, shards: 2, ..Options::default() }).unwrap();
    let control = server.control();
    let thread = std::thread::spawn(move || server.run());
    let mut client = Connection::open_unix(&path);
    let mut worker = Connection::open_unix(&path);
    client.send(Command::SubmitJob, &[b"f", b""], &vec![3; 500_000]);
    client.expect(Command::JobCreated);
    let handle = grab(&mut worker, b"f");
    worker.send(Command::WorkComplete, &[&handle], &vec![4; 500_000]);
    assert!(client.expect(Command::WorkComplete).data == vec![4; 500_000]);
    client.send_line("workers");
    let workers = client.read_text();
    assert!(workers.lines().all(|line| line.split(' ').nth(1) == Some("unix")), "{workers}");
    control.stop();
    thread.join().unwrap().unwrap();
    assert!(!path.exists());
}
