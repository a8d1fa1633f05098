//! What gearmand, or a gearshard, has left in Redis.

use gearshard::protocol::packet::Command;

use super::support::process::TempDir;
use super::support::redis::Redis;
use super::support::{Connection, Server};
use super::*;

/// Fills a store through Debian's gearmand, and kills it; the jobs by priority.
pub(super) fn fill(args: &[String]) -> Vec<(Command, Ran)> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut server = Server::gearmand(&args);
    let mut connection = Connection::open(server.address());
    let large = vec![b'x'; 300_000];
    let all: Vec<u8> = (0..=255).collect();
    let data: [&[u8]; 6] = [b"data", &all, &large, b"", b"\0", &[b'y'; 65]];
    let commands = [Command::SubmitJobHighBg, Command::SubmitJobBg, Command::SubmitJobLowBg];
    let mut jobs = Vec::new();
    for n in 0..60 {
        let (function, data) = (["one", "two", "three"][n % 3], data[n % 6]);
        jobs.push((commands[n % 3], (function.to_owned(), format!("u-{n}").into_bytes(), data.to_vec())));
    }
    jobs.push((Command::SubmitJobBg, ("empty".to_owned(), Vec::new(), b"without a unique".to_vec())));
    jobs.push((Command::SubmitJobBg, ("by data".to_owned(), b"-".to_vec(), b"x".to_vec())));
    for (command, (function, unique, data)) in &jobs {
        connection.send(*command, &[function.as_bytes(), unique], data);
        connection.expect(Command::JobCreated);
    }
    server.kill();
    jobs
}

/// Imports what [`fill`] has left, twice, and runs it.
pub(super) fn is_imported_whole(source: &[String], jobs: &[(Command, Ran)]) {
    const FUNCTIONS: [&str; 5] = ["one", "two", "three", "empty", "by data"];
    let dir = TempDir::new();
    let count = jobs.len();
    let done = import(source, dir.path()).success();
    assert_eq!(done.text(), counted(count, count, 0, 0), "{}", done.stderr);
    assert_eq!(import(source, dir.path()).success().text(), counted(count, 0, count, 0));
    let mut dumped: Vec<String> = dump(dir.path());
    let mut expected: Vec<String> = jobs
        .iter()
        .map(|(command, (function, unique, data))| {
            let priority = match command {
                Command::SubmitJobHighBg => "high",
                Command::SubmitJobLowBg => "low",
                _ => "normal",
            };
            let unique = unique.escape_ascii();
            format!("{function}\t{unique}\t{priority}\t0\t0\t{}", data.len())
        })
        .collect();
    dumped.sort();
    expected.sort();
    assert_eq!(dumped, expected);
    let mut server = server(dir.path());
    let mut ran = drain(&server, &FUNCTIONS);
    // Killed, it could leave ends of jobs unwritten.
    server.stop();
    ran.sort();
    let mut expected: Vec<Ran> = jobs.iter().map(|(_, ran)| ran.clone()).collect();
    expected.sort();
    assert!(ran == expected, "{ran:?}");
    // What is over does not come back.
    assert_eq!(import(source, dir.path()).success().text(), counted(count, 0, count, 0));
    assert_eq!(dump(dir.path()), [""; 0]);
}

#[test]
fn every_job_of_gearmand_is_imported_whole_and_once() {
    let redis = Redis::start(&[]);
    let source = redis.server_args();
    let jobs = fill(&source);
    let before = redis.cli(&["debug", "digest"]);
    is_imported_whole(&source, &jobs);
    assert_eq!(redis.cli(&["debug", "digest"]), before, "the source is left as it is");
}

#[test]
fn order_and_times_are_kept() {
    let redis = Redis::start(&[]);
    let mut jobs: Vec<Row<'_>> =
        (0..3000).map(|n| row(["a", "b"][n % 2], &format!("{n}"), b"data")).collect();
    jobs[5].not_before_s = 4_000_000_000;
    engine(&redis).apply(&jobs, &[]).unwrap();
    let dir = TempDir::new();
    let done = import(&redis.server_args(), dir.path()).success();
    assert_eq!(done.text(), counted(3000, 3000, 0, 0));
    let expected: Vec<String> = jobs
        .iter()
        .map(|job| {
            let (function, unique) = (job.function.escape_ascii(), job.key.escape_ascii());
            format!("{function}\t{unique}\tnormal\t0\t{}\t4", job.not_before_s)
        })
        .collect();
    assert_eq!(dump(dir.path()), expected);
}

#[test]
fn jobs_get_new_numbers_above_those_in_the_log() {
    let redis = Redis::start(&[]);
    let dir = TempDir::new();
    let first = server(dir.path());
    let client = Client::connect(&first.address().to_string()).unwrap();
    client.submit_background(Job::new("f", "first").unique("1")).unwrap();
    client.submit_background(Job::new("f", "same").unique("2")).unwrap();
    client.submit_background(Job::new("f", "other").unique("3")).unwrap();
    drop(first);
    let rows = [row("f", "0", b"last"), row("f", "2", b"same"), row("f", "3", b"not the same")];
    engine(&redis).apply(&rows, &[]).unwrap();
    let done = import(&redis.server_args(), dir.path());
    assert_eq!((done.status.code(), done.text()), (Some(1), counted(3, 1, 1, 1)));
    let told =
        "job \"3\" of function \"f\": the log has a job of this function and unique with another workload";
    assert!(done.stderr.contains(told), "{}", done.stderr);
    let mut server = server(dir.path());
    let ran: Vec<Vec<u8>> = drain(&server, &["f"]).into_iter().map(|(_, _, data)| data).collect();
    assert_eq!(ran, [&b"first"[..], b"same", b"other", b"last"]);
    server.stop();
    // The one that was refused is imported when the other is over; the one that was there is not.
    assert_eq!(import(&redis.server_args(), dir.path()).success().text(), counted(3, 1, 2, 0));
}

#[test]
fn bad_rows_are_told_and_left_where_they_are() {
    let redis = Redis::start(&[]);
    engine(&redis).apply(&[row("f", "1", b"good")], &[]).unwrap();
    redis.cli(&["hset", "_gear_-f-2", "data", "x", "priority", "9"]);
    redis.cli(&["hset", "_gear_-f-", "data", "x", "priority", "1"]);
    let dir = TempDir::new();
    let before = redis.cli(&["debug", "digest"]);
    for (imported, known) in [(2, 0), (0, 2)] {
        let done = import(&redis.server_args(), dir.path());
        assert_eq!((done.status.code(), done.text()), (Some(1), counted(3, imported, known, 1)));
        assert!(done.stderr.contains("key _gear_-f-2: its priority is not 0, 1 or 2"), "{}", done.stderr);
        assert!(done.stderr.contains("rows that were not imported: 1"), "{}", done.stderr);
    }
    assert_eq!(redis.cli(&["debug", "digest"]), before);
}
