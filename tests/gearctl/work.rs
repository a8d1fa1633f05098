//! Commands as workers.

use crate::support::{DEADLINE, Process, Server, wait_until};
use crate::{against_both, at, client, fails, gearctl, json, nowhere};
use gearshard::client::{Client, ClientError, Job, Update};
use std::process::Command;

against_both! {
    a_command_runs_for_each_job;
    exit_codes_decide;
    a_pipeline_runs_in_parallel;
    standard_error_goes_where_it_is_told;
    progress_and_parts_come_on_the_way;
    a_command_that_takes_too_long_is_ended;
    the_first_signal_ends_gracefully;
    the_second_signal_gives_jobs_back;
}

/// A worker that runs, once it is registered.
fn work(server: &Server, args: &[&str]) -> Process {
    start(server, args[0], at(server, &[&["work"], args].concat()))
}

fn start(server: &Server, function: &str, command: Command) -> Process {
    let before = server.counts(function).2;
    let worker = Process::start(command, b"");
    wait_until("the worker is registered", || server.counts(function).2 > before);
    worker
}

fn exception(client: &Client, function: &str, workload: &str) -> String {
    match client.run(Job::new(function, workload)) {
        Err(ClientError::Exception(data)) => String::from_utf8(data).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn a_command_runs_for_each_job(server: &mut Server) {
    let mut worker = work(server, &["wc", "other", "-n", "5", "--id", "counter", "--", "wc", "-c"]);
    let listed = json(at(server, &["workers", "--json"]));
    assert_eq!(listed[0]["id"], "counter");
    let client = client(server);
    assert_eq!(client.run(Job::new("wc", "abc")).unwrap(), b"3\n");
    assert_eq!(client.run(Job::new("other", "")).unwrap(), b"0\n");
    // More than pipes hold, both ways at once.
    let _echo = work(server, &["echo", "--", "cat"]);
    let large: Vec<u8> = (0..3_000_000u32).map(|byte| byte as u8).collect();
    assert_eq!(client.run(Job::new("echo", large.clone())).unwrap(), large);
    // A command that does not read.
    let _deaf = work(server, &["deaf", "--", "true"]);
    assert_eq!(client.run(Job::new("deaf", large)).unwrap(), b"");
    for _ in 0..3 {
        client.run(Job::new("wc", "x")).unwrap();
    }
    assert!(worker.wait(DEADLINE).success(), "it ends after five jobs: {}", worker.stderr());
}

fn exit_codes_decide(server: &mut Server) {
    let line = r#"read code; echo "out $code"; echo "why $code" >&2; [ "$code" = kill ] && kill -9 $$; exit "$code""#;
    let worker = work(server, &["ends", "-v", "--shell", line]);
    let client = client(server);
    assert_eq!(client.run(Job::new("ends", "0\n")).unwrap(), b"out 0\n");
    assert_eq!(exception(&client, "ends", "3\n"), "exit code 3: why 3");
    assert_eq!(exception(&client, "ends", "kill\n"), "killed by signal 9: why kill");
    assert!(worker.stderr().contains(" ends: failed, exit code 3: why 3, "), "{}", worker.stderr());
    let _plain = work(server, &["plain", "--no-exceptions", "--", "false"]);
    assert!(matches!(client.run(Job::new("plain", "")), Err(ClientError::Failed)));

    // The first time it is to be tried again, the second time it is done.
    let again = r#"if [ -e tried ]; then echo "done $GEARMAN_FUNCTION $GEARMAN_UNIQUE $GEARMAN_HANDLE"; else touch tried; exit 75; fi"#;
    let retrying = work(server, &["again", "-v", "--retry-pause", "10ms", "--shell", again]);
    let mut pending = client.submit(Job::new("again", "").unique("u")).unwrap();
    let handle = pending.handle().unwrap();
    assert_eq!(pending.wait().unwrap(), format!("done again u {handle}\n").into_bytes());
    assert!(retrying.stderr().contains("goes back"), "{}", retrying.stderr());
}

fn a_pipeline_runs_in_parallel(server: &mut Server) {
    // Every job waits until all four run.
    let line = "touch here.$GEARMAN_UNIQUE; while [ $(ls here.* | wc -l) -lt 4 ]; do sleep 0.01; done; tr a-z A-Z | rev";
    let worker = work(server, &["meet", "-j", "4", "--shell", line]);
    let client = client(server);
    let jobs = (0..4).map(|number| Job::new("meet", format!("ab{number}")).unique(number.to_string()));
    let mut results: Vec<_> = client.run_all(jobs, 4).map(|(_, result)| result.unwrap()).collect();
    results.sort();
    assert_eq!(results, ["0BA", "1BA", "2BA", "3BA"].map(str::as_bytes), "{}", worker.stderr());
}

fn standard_error_goes_where_it_is_told(server: &mut Server) {
    let line = "echo one >&2; echo two >&2; echo three";
    let client = client(server);
    let warnings = |function: &str| {
        let updates = client.submit(Job::new(function, "")).unwrap().map(Result::unwrap);
        let warning = |update| match update {
            Update::Warning(text) => Some(String::from_utf8(text).unwrap()),
            _ => None,
        };
        updates.filter_map(warning).collect::<Vec<_>>()
    };
    let warns = work(server, &["warns", "--stderr", "warn", "--shell", line]);
    assert_eq!(warnings("warns"), ["one\n", "two\n"]);
    assert!(!warns.stderr().contains("two"), "{}", warns.stderr());
    let passes = work(server, &["passes", "--shell", line]);
    assert_eq!(warnings("passes"), [""; 0]);
    wait_until("standard error is passed on", || passes.stderr().contains("one\ntwo\n"));
    let drops = work(server, &["drops", "--stderr=drop", "-q", "--shell", line]);
    assert_eq!(warnings("drops"), [""; 0]);
    assert_eq!(drops.stderr(), "");
}

fn progress_and_parts_come_on_the_way(server: &mut Server) {
    let line = "echo 1/4 >&2; echo begun; while [ ! -e go ]; do sleep 0.01; done; echo 4/4 >&2; echo files: 3/4 >&2; echo ended";
    let worker = work(server, &["long", "--stream", "--status-lines", "--stderr=warn", "--shell", line]);
    let client = client(server);
    let (mut data, mut steps, mut warnings) = (Vec::new(), Vec::new(), 0);
    for update in client.submit(Job::new("long", "")).unwrap() {
        match update.unwrap() {
            Update::Data(part) | Update::Complete(part) => data.extend(part),
            Update::Progress { numerator, denominator } => steps.push((numerator, denominator)),
            Update::Warning(_) => warnings += 1,
            _ => {}
        }
        if data == b"begun\n" && steps == [(1, 4)] {
            // Both have come before the end.
            std::fs::write(worker.dir().join("go"), "").unwrap();
        }
    }
    assert_eq!((&*data, &*steps, warnings), (&b"begun\nended\n"[..], &[(1, 4), (4, 4)][..], 1));
}

fn a_command_that_takes_too_long_is_ended(server: &mut Server) {
    // What the shell starts ends with it, or the output would stay open.
    let _worker = work(server, &["sleep", "-t", "100ms", "--shell", "sleep 1000 & sleep 1000"]);
    assert_eq!(exception(&client(server), "sleep", ""), "not done within 100ms");
    let stubborn = "trap '' TERM; echo still here >&2; while :; do sleep 0.05; done";
    let _stubborn = work(server, &["stubborn", "-t", "50ms", "--grace", "100ms", "--shell", stubborn]);
    let why = exception(&client(server), "stubborn", "");
    assert!(why.starts_with("not done within 50ms"), "{why}");
}

fn the_first_signal_ends_gracefully(server: &mut Server) {
    for signal in ["INT", "TERM"] {
        let line = "touch begun; while [ ! -e go ]; do sleep 0.01; done; echo well";
        let mut worker = work(server, &["slow", "--shell", line]);
        let client = client(server);
        let pending = client.submit(Job::new("slow", "")).unwrap();
        let begun = worker.dir().join("begun");
        wait_until("the job runs", || begun.exists());
        let waits = client.submit_background(Job::new("slow", "")).unwrap();
        worker.signal(signal);
        wait_until("the worker has heard", || worker.stderr().contains("taking no more jobs"));
        std::fs::write(worker.dir().join("go"), "").unwrap();
        assert_eq!(pending.wait().unwrap(), b"well\n");
        assert!(worker.wait(DEADLINE).success());
        let status = client.status(&waits).unwrap();
        assert!(status.known && !status.running, "the next job is for somebody else");
        crate::run(at(server, &["cancel", &waits.to_string()])).success();
    }
}

fn the_second_signal_gives_jobs_back(server: &mut Server) {
    let mut worker = work(server, &["slow", "-v", "--shell", "touch begun; sleep 1000"]);
    let client = client(server);
    let handle = client.submit_background(Job::new("slow", "")).unwrap();
    let begun = worker.dir().join("begun");
    wait_until("the job runs", || begun.exists());
    worker.signal("TERM");
    wait_until("the worker has heard", || worker.stderr().contains("taking no more jobs"));
    worker.signal("TERM");
    assert!(worker.wait(DEADLINE).success(), "{}", worker.stderr());
    assert!(worker.stderr().contains("goes back"), "{}", worker.stderr());
    wait_until("the job waits again", || {
        let status = client.status(&handle).unwrap();
        status.known && !status.running
    });
}

#[test]
fn a_worker_waits_for_its_servers() {
    let port = crate::support::server::free_port();
    let address = format!("127.0.0.1:{port}");
    let worker = Process::start(gearctl(&["work", "f", "-s", &address, "--", "cat"]), b"");
    wait_until("it tells of it", || worker.stderr().contains(&format!("cannot reach {address}")));
    let server = Server::start_on(crate::Kind::Gearshard, &[], port);
    assert_eq!(client(&server).run(Job::new("f", "x")).unwrap(), b"x");
}

#[test]
fn what_cannot_run_is_told_at_once() {
    let away = nowhere();
    let at = |args: &[&str]| gearctl(&[&["work", "-s", &away], args].concat());
    fails(at(&["f", "--", "no-such-command"]), 2, "there is no command no-such-command");
    fails(at(&["f", "--", "/etc/no/command"]), 2, "--shell");
    fails(at(&["f"]), 2, "COMMAND");
    fails(at(&["f", "--shell", "cat", "--", "cat"]), 2, "cannot be used with");
    fails(at(&["f", "-j", "0", "--", "cat"]), 2, "0");
    fails(at(&["f", "--stderr", "x", "--", "cat"]), 2, "pass, warn, drop");
}
