//! Jobs in memcached, seen from both sides: what we and Debian's gearmand write, the other can read.

#![cfg(feature = "memcached")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

use gearshard::protocol::packet::Command;
use gearshard::queue::job::Priority;
use gearshard::storage::rows::memcached::Memcached as Engine;
use gearshard::storage::rows::{Engine as _, EngineError, Key, Row};
use support::memcached::Memcached;
use support::process::{Process, TempDir};
use support::rows::{key, row};
use support::{Connection, Server, wait_until};

fn engine(memcached: &Memcached) -> Engine {
    Engine::open(&memcached.address(), "gear_").unwrap()
}

fn rows(memcached: &Memcached) -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    engine(memcached).read(&mut |row| rows.push(row.unwrap())).unwrap();
    rows
}

fn gearmand(memcached: &Memcached) -> Server {
    Server::gearmand(&memcached.server_args().each_ref().map(String::as_str))
}

#[test]
fn every_byte_and_the_order_are_kept() {
    let memcached = Memcached::start();
    let all: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let large = vec![b'x'; 900_000];
    let data: [&[u8]; 4] = [b"data", &all, b"", &large];
    let functions = ["plain", "with-hyphen", "50%", "%2D", "a%2", "a b", ""];
    let mut jobs: Vec<Row<'_>> = (0..2500)
        .map(|n| {
            row(
                functions[n % 7],
                &format!("u-{n}{}", ["", " %", "%"][n % 3]),
                data[n % if n < 40 { 4 } else { 3 }],
            )
        })
        .collect();
    for (n, job) in jobs.iter_mut().enumerate() {
        job.priority = Priority::FROM_HIGH[n % 3];
        engine(&memcached).holds(job).unwrap();
    }
    let mut engine = engine(&memcached);
    engine.apply(&jobs[..1200], &[]).unwrap();
    engine.apply(&jobs[1200..], &[]).unwrap();
    assert!(rows(&memcached) == jobs);
    let gone: Vec<Key> = jobs.iter().take(2400).map(key).collect();
    engine.apply(&[], &gone).unwrap();
    assert!(rows(&memcached) == jobs[2400..]);
    let changed = row(functions[2401 % 7], "u-2401 %", b"changed");
    engine.apply(std::slice::from_ref(&changed), &[]).unwrap();
    assert_eq!(rows(&memcached).last(), Some(&changed));
}

#[test]
fn jobs_whose_keys_would_be_the_same_are_kept_apart() {
    let memcached = Memcached::start();
    let pair = [row("a-b", "c", b"one"), row("a", "b-c", b"other")];
    let mut engine = engine(&memcached);
    engine.apply(&pair, &[]).unwrap();
    assert_eq!(rows(&memcached), pair);
    engine.apply(&[], &[key(&pair[0])]).unwrap();
    assert_eq!(rows(&memcached), pair[1..]);
}

#[test]
fn what_memcached_cannot_keep_is_refused() {
    let memcached = Memcached::start();
    let mut engine = engine(&memcached);
    let mut later = row("f", "1", b"x");
    later.not_before_s = 1;
    let long = "x".repeat(245);
    for bad in [later, row(&long, "1", b"x")] {
        engine.holds(&bad).unwrap_err();
    }
    let error = engine.apply(&[row("f", "1", &vec![0; 9 << 20])], &[]).unwrap_err();
    assert!(matches!(&error, EngineError::Refused(what) if what.contains("too large")), "{error}");
    engine.apply(&[row("f", "2", b"x")], &[]).unwrap();
    assert_eq!(rows(&memcached), [row("f", "2", b"x")]);
}

#[test]
fn a_server_that_is_gone_is_lost_and_used_again_when_it_is_back() {
    let mut memcached = Memcached::start();
    let mut engine = engine(&memcached);
    memcached.process().kill();
    let job = row("f", "1", b"x");
    assert!(matches!(engine.apply(std::slice::from_ref(&job), &[]), Err(EngineError::Lost(_))));
    assert!(matches!(engine.connect(), Err(EngineError::Lost(_))));
    assert!(matches!(engine.read(&mut |_| ()), Err(EngineError::Lost(_))));
    memcached.restart();
    engine.connect().unwrap();
    engine.apply(std::slice::from_ref(&job), &[]).unwrap();
    memcached.process().signal("STOP");
    assert!(matches!(engine.apply(&[], &[key(&job)]), Err(EngineError::Lost(_))));
    memcached.process().signal("CONT");
    wait_until("it answers again", || engine.connect().is_ok());
    engine.apply(&[], &[key(&job)]).unwrap();
    assert_eq!(rows(&memcached), []);
}

#[test]
fn what_gearmand_has_written_is_read_and_imported() {
    let memcached = Memcached::start();
    let mut server = gearmand(&memcached);
    let mut connection = Connection::open(server.address());
    let all: Vec<u8> = (0..=255).collect();
    let jobs = [
        (Command::SubmitJobHighBg, row("plain", "1", b"data")),
        (Command::SubmitJobBg, row("bytes", "2", &all)),
        (Command::SubmitJobLowBg, row("percent%", "3-4", b"x")),
    ];
    for (command, job) in &jobs {
        connection.send(*command, &[&job.function, &job.key], &job.data);
        connection.expect(Command::JobCreated);
    }
    server.kill();
    let expected: Vec<Row<'_>> = jobs
        .into_iter()
        .zip(Priority::FROM_HIGH)
        .map(|((_, row), priority)| Row { priority, ..row })
        .collect();
    assert_eq!(rows(&memcached), expected);
    let dir = TempDir::new();
    for counted in ["imported 3, already there 0", "imported 0, already there 3"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gearshard"));
        command.arg("import").args(memcached.server_args());
        command.arg(format!("--wal-dir={}", dir.path().display()));
        let done = Process::run(command, b"").success();
        assert_eq!(done.text(), format!("read 3, {counted}, not imported 0\n"));
    }
    // And is taken out.
    engine(&memcached).apply(&[], &expected.iter().map(key).collect::<Vec<_>>()).unwrap();
    assert_eq!(rows(&memcached), []);
}

#[test]
fn gearmand_reads_what_we_have_written() {
    let memcached = Memcached::start();
    let jobs = [row("plain", "1", b"data"), row("large", "2-3", &[b'x'; 1000])];
    engine(&memcached).apply(&jobs, &[]).unwrap();
    let server = gearmand(&memcached);
    let mut worker = Connection::open(server.address());
    for job in &jobs {
        let function = String::from_utf8_lossy(&job.function).into_owned();
        assert_eq!(server.counts(&function), (1, 0, 0), "{function}");
        worker.send(Command::CanDo, &[&job.function], b"");
        worker.send(Command::GrabJob, &[], b"");
        let assigned = worker.expect(Command::JobAssign);
        assert_eq!(assigned.data, &job.data[..], "{function}");
        worker.send(Command::WorkComplete, &[&assigned.args[0]], b"");
        wait_until("it is over", || server.counts(&function).0 == 0);
    }
    assert_eq!(rows(&memcached), []);
}
