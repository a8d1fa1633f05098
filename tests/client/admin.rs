//! The administrator against both servers, and against servers that do wrong.

use crate::bad_servers::{SHORT, says, somebody};
use crate::support::{DEADLINE, Server, wait_until};
use crate::{against_both, client, usual_worker, worker};
use gearshard::client::admin::AdminError;
use gearshard::client::{Admin, Job, Worker};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

fn admin(address: SocketAddr) -> Admin {
    Admin::new(address.into(), DEADLINE)
}

against_both! {
    lists_say_what_there_is;
    orders_are_carried_out;
    a_lost_connection_is_made_anew;
    strange_names_do_not_break_a_list;
}

fn lists_say_what_there_is(server: &mut Server) {
    let _worker = usual_worker(server);
    let client = client(server);
    let high = client.submit_background(Job::new("later", "").high().unique("u1")).unwrap();
    client.submit_background(Job::new("later", "").low().unique("u2")).unwrap();
    let mut admin = admin(server.address());

    let status = admin.status().unwrap();
    let later = status.iter().find(|function| function.name == b"later").unwrap();
    assert_eq!((later.total, later.running, later.workers, later.waiting()), (2, 0, 0, 2));
    let reverse = status.iter().find(|function| function.name == b"reverse").unwrap();
    assert_eq!((reverse.total, reverse.workers), (0, 1));

    let priorities = admin.prioritystatus().unwrap();
    let later = priorities.iter().find(|function| function.name == b"later").unwrap();
    assert_eq!((later.high, later.normal, later.low, later.workers), (1, 0, 1, 0));

    let peers = admin.workers().unwrap();
    let serving: Vec<_> = peers.iter().filter(|peer| !peer.functions.is_empty()).collect();
    assert_eq!(serving.len(), 1, "{peers:?}");
    assert_eq!((&*serving[0].address, serving[0].functions.len()), ("127.0.0.1", 6));
    assert!(peers.len() >= 3, "the client and this connection are there too: {peers:?}");

    let jobs = admin.show_jobs().unwrap();
    assert_eq!(jobs.len(), 2);
    assert!(jobs.iter().all(|job| job.is_background && !job.is_dead && job.retries == 0));
    assert!(jobs.iter().any(|job| job.handle == high.as_bytes()));
    let mut uniques = admin.show_unique_jobs().unwrap();
    uniques.sort();
    assert_eq!(uniques, [b"u1", b"u2"]);

    assert!(!admin.version().unwrap().is_empty());
    assert_eq!(admin.getpid().unwrap(), server.pid());
    assert!(!admin.verbose().unwrap().is_empty());
    assert!(admin.raw("status").unwrap().ends_with(b"\n.\n"));
    assert_eq!(admin.raw("getpid").unwrap(), format!("OK {}\n", server.pid()).into_bytes());
    assert_eq!(admin.raw("cancel job x").unwrap(), b"ERR UNKNOWN_JOB\r\n");
}

#[test]
fn activity_is_told_by_our_server_only() {
    let server = Server::gearshard(&["--threads=2"]);
    let client = client(&server);
    client.submit_background(Job::new("f", "")).unwrap();
    client.submit_background(Job::new("later", "").after(Duration::from_secs(3600))).unwrap();
    let mut admin = admin(server.address());
    let mut of = |name: &str| {
        let rows = admin.show_functions().unwrap();
        let row = rows.into_iter().find(|row| row.name == name.as_bytes()).unwrap();
        (row.ended, row.oldest_waiting)
    };
    let before = of("f");
    assert_eq!(before.0, 0);
    wait_until("the waiting job grows older", || of("f").1 > before.1);
    assert_eq!(of("later"), (0, Duration::ZERO), "its time has not come");
    let worker = worker(&server).function("f", |_| Ok("")).start().unwrap();
    wait_until("the job is done", || of("f") == (1, Duration::ZERO));
    assert!(client.submit(Job::new("f", "")).unwrap().wait().is_ok());
    wait_until("another one is", || of("f").0 == 2);
    drop(worker);

    let gearmand = Server::gearmand(&[]);
    let refused = Admin::new(gearmand.address().into(), DEADLINE).show_functions();
    assert!(matches!(refused, Err(AdminError::Refused { .. })), "{refused:?}");
}

fn orders_are_carried_out(server: &mut Server) {
    let mut admin = admin(server.address());
    admin.create_function("made").unwrap();
    assert_eq!(admin.status().unwrap()[0].name, b"made");
    admin.maxqueue("made", 0, 1, 0).unwrap();
    let client = client(server);
    let handle = client.submit_background(Job::new("made", "")).unwrap();
    assert!(client.submit_background(Job::new("made", "")).is_err(), "one normal job is enough");
    admin.cancel_job(handle.as_bytes()).unwrap();
    // gearmand keeps it, dead, until somebody would have run it.
    assert!(admin.show_jobs().unwrap().iter().all(|job| job.is_dead && job.handle == handle.as_bytes()));

    let refused = |result: Result<(), AdminError>, expected: &str| match result {
        Err(AdminError::Refused { text, .. }) => assert!(text.contains(expected), "{text}"),
        other => panic!("{other:?}"),
    };
    refused(admin.cancel_job("H:nobody:1"), "UNKNOWN_JOB");
    refused(admin.drop_function("nothing"), "not found");
    refused(admin.shutdown(true), "UNKNOWN_COMMAND");
    let _worker = usual_worker(server);
    refused(admin.drop_function("reverse"), "still connected workers");
    assert!(matches!(admin.create_function("two words"), Err(AdminError::Name(_))));
    assert!(matches!(admin.raw("status\nworkers"), Err(AdminError::Name(_))));
    // What was refused has left the connection in step.
    admin.version().unwrap();
}

fn a_lost_connection_is_made_anew(server: &mut Server) {
    let mut admin = admin(server.address());
    admin.version().unwrap();
    let (port, kind) = (server.port(), server.kind());
    server.stop();
    assert!(matches!(admin.version(), Err(AdminError::Unreachable { .. } | AdminError::Lost { .. })));
    let again = Server::start_on(kind, &[], port);
    assert_eq!(admin.getpid().unwrap(), again.pid());
}

fn strange_names_do_not_break_a_list(server: &mut Server) {
    let names = [&b"tab\tname"[..], b"two\nlines", b"sp ace"];
    let builder = names.iter().fold(worker(server), |builder, name| builder.function(*name, |_| Ok("")));
    let _worker: Worker = builder.id("an id : with colons\nand lines").start().unwrap();
    let mut admin = admin(server.address());
    wait_until("all functions are known", || admin.status().unwrap().len() == names.len());
    let mut found: Vec<_> = admin.status().unwrap().into_iter().map(|function| function.name).collect();
    found.sort();
    assert_eq!(found, [&b"sp ace"[..], b"tab\tname", b"two\nlines"]);
    let peers = admin.workers().unwrap();
    // Where the id ends cannot be known.
    let worker = peers.iter().find(|peer| peer.id == b"an id").unwrap();
    assert!(worker.functions.iter().any(|name| name == b"tab\tname"), "{peers:?}");
}

fn error(address: SocketAddr, ask: impl Fn(&mut Admin) -> Result<(), AdminError>) -> AdminError {
    let mut admin = Admin::new(address.into(), SHORT).answer_bytes_max(1 << 20);
    let error = ask(&mut admin).unwrap_err();
    assert!(!error.to_string().is_empty());
    error
}

fn status(admin: &mut Admin) -> Result<(), AdminError> {
    admin.status().map(drop)
}

fn version(admin: &mut Admin) -> Result<(), AdminError> {
    admin.version().map(drop)
}

#[test]
fn another_protocol_is_garbage() {
    let http = || says(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    for error in [error(http(), status), error(http(), version), error(says(b"\0RES\0\0".to_vec()), version)]
    {
        assert!(matches!(error, AdminError::Garbage { .. }), "{error:?}");
    }
    let pid = error(says(b"OK many\n".to_vec()), |admin| admin.getpid().map(drop));
    assert!(matches!(pid, AdminError::Garbage { .. }), "{pid:?}");
}

#[test]
fn silence_ends_within_the_timeout() {
    for address in [says(Vec::new()), says(b"f\t1\t1\t1\nhalf\t".to_vec())] {
        let error = error(address, status);
        assert!(matches!(error, AdminError::Silent { after: SHORT, .. }), "{error:?}");
    }
}

#[test]
fn an_end_in_the_middle_is_a_loss() {
    let whole_line = somebody(|mut stream| stream.write_all(b"f\t1\t1\t1\n").unwrap());
    let nothing = somebody(drop);
    for address in [whole_line, nothing] {
        let error = error(address, status);
        assert!(matches!(error, AdminError::Lost { .. }), "{error:?}");
    }
}

#[test]
fn a_flood_ends_at_the_limit() {
    let flood = |line: &'static [u8]| {
        somebody(move |mut stream| while stream.write_all(&line.repeat(1000)).is_ok() {})
    };
    let slow = |address: SocketAddr| Admin::new(address.into(), DEADLINE).answer_bytes_max(1 << 20);
    let list = slow(flood(b"f\t1\t1\t1\n")).status().unwrap_err();
    assert!(matches!(list, AdminError::TooLong { limit: 1_048_576, .. }), "{list:?}");
    let line = slow(flood(b"f")).version().unwrap_err();
    assert!(matches!(line, AdminError::TooLong { .. }), "{line:?}");
    let uniques = slow(flood(b"\n")).show_unique_jobs().unwrap_err();
    assert!(matches!(uniques, AdminError::TooLong { .. }), "{uniques:?}");
}

#[test]
fn what_was_not_asked_for_is_not_taken_for_the_next_answer() {
    let mut admin = Admin::new(says(b"OK 1\nOK 2\n".to_vec()).into(), DEADLINE);
    for _ in 0..2 {
        assert_eq!(admin.version().unwrap(), "1");
    }
}

#[test]
fn nobody_there_is_unreachable() {
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let error = Admin::connect(&gone.into(), Duration::from_secs(5)).unwrap_err();
    assert!(matches!(error, AdminError::Unreachable { .. }), "{error:?}");
}
