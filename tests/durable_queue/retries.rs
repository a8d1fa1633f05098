//! What became of a job in its runs is there again after any end of the server.

use std::time::{Duration, SystemTime};

use gearshard::client::admin::{Cause, DeadLetters};
use gearshard::client::{Admin, Job, JobHandle};
use gearshard::protocol::packet::Command as Packet;

use crate::support::process::TempDir;
use crate::support::{Server, wait_until};
use crate::{client, durable, log_args, refusal};

fn admin(server: &Server) -> Admin {
    Admin::new(server.address().into(), Duration::from_secs(30))
}

fn policy(server: &Server, policy: &str) {
    admin(server).set_retry("f", Some(policy.parse().unwrap())).unwrap();
}

fn submit(server: &Server, unique: &str) -> JobHandle {
    client(server).submit_background(Job::new("f", format!("load of {unique}")).unique(unique)).unwrap()
}

/// A worker takes the next job, which is this one, and says something of it, or vanishes.
fn run(server: &Server, handle: &JobHandle, answer: Option<Packet>) {
    let mut worker = server.connect();
    worker.send(Packet::CanDo, &[b"f"], b"");
    loop {
        worker.send(Packet::PreSleep, &[], b"");
        worker.expect(Packet::Noop);
        worker.send(Packet::GrabJob, &[], b"");
        let reply = worker.read_packet();
        if reply.command == Packet::JobAssign {
            assert_eq!(reply.text(0), handle.to_string());
            break;
        }
    }
    if let Some(answer) = answer {
        worker.send(answer, &[handle.as_bytes()], b"");
    }
    drop(worker);
    wait_until("no worker has it", || server.counts("f").1 == 0 && server.counts("f").2 == 0);
}

/// Returns when everything that has happened in the function is on disk: a later job is.
fn settle(server: &Server) {
    let late = Job::new("f", "").at(SystemTime::now() + Duration::from_secs(3600));
    client(server).submit_background(late).unwrap();
}

fn is_listed(server: &Server, handle: &JobHandle) -> bool {
    admin(server).show_jobs().unwrap().iter().any(|job| job.handle == handle.as_bytes())
}

#[test]
fn a_job_that_waits_for_its_next_attempt_waits_on_after_a_kill() {
    let dir = TempDir::new();
    let mut server = durable(dir.path(), 2);
    policy(&server, "attempts=3,on=lost,fail,backoff=2s");
    let handle = submit(&server, "a");
    run(&server, &handle, Some(Packet::WorkFail));
    let failed = SystemTime::now();
    settle(&server);
    server.kill();
    let server = durable(dir.path(), 3);
    let jobs = admin(&server).show_jobs().unwrap();
    let job = jobs.iter().find(|job| job.handle == handle.as_bytes()).unwrap();
    assert_eq!(job.retries, 1);
    run(&server, &handle, Some(Packet::WorkComplete));
    // The moment of the failure is a little before the one that was read.
    assert!(failed.elapsed().unwrap() > Duration::from_millis(1500), "{:?}", failed.elapsed());
    assert!(!is_listed(&server, &handle));
}

#[test]
fn a_dead_letter_stays_dead_over_kills_until_it_is_requeued() {
    let dir = TempDir::new();
    let mut server = durable(dir.path(), 1);
    policy(&server, "attempts=2,on=lost,fail");
    let handle = submit(&server, "a");
    run(&server, &handle, None);
    run(&server, &handle, Some(Packet::WorkException));
    let before = admin(&server).show_dead(None).unwrap();
    assert_eq!((before.len(), before[0].attempts, before[0].cause), (1, 2, Cause::Exception));
    settle(&server);
    server.kill();
    for threads in [3, 1, 2] {
        let mut server = durable(dir.path(), threads);
        assert_eq!(admin(&server).show_dead(Some(b"f")).unwrap(), before, "{threads} shards");
        assert!(!is_listed(&server, &handle));
        assert!(!client(&server).status(&handle).unwrap().known);
        server.kill();
    }
    let mut server = durable(dir.path(), 2);
    let named = DeadLetters::Named(handle.as_bytes());
    assert_eq!(admin(&server).requeue_dead(named).unwrap(), 1);
    // What was confirmed is safe.
    server.kill();
    let mut server = durable(dir.path(), 2);
    assert!(admin(&server).show_dead(None).unwrap().is_empty());
    run(&server, &handle, None);
    run(&server, &handle, Some(Packet::WorkFail));
    let again = admin(&server).show_dead(None).unwrap();
    assert_eq!((again.len(), again[0].attempts, again[0].cause), (1, 2, Cause::Fail));
    assert_eq!(admin(&server).purge_dead(DeadLetters::All).unwrap(), 1);
    server.kill();
    let server = durable(dir.path(), 1);
    assert!(admin(&server).show_dead(None).unwrap().is_empty());
    assert!(!is_listed(&server, &handle));
}

#[test]
fn policies_that_operators_set_are_kept_and_the_command_line_wins() {
    let dir = TempDir::new();
    let shown = |server: &Server| -> Vec<String> {
        let policies = admin(server).show_retries().unwrap();
        policies.iter().map(|(name, policy)| format!("{} {}", name.escape_ascii(), policy.attempts)).collect()
    };
    let mut server = durable(dir.path(), 3);
    for function in ["*", "f", "g", "h"] {
        admin(&server).set_retry(function, Some("attempts=3".parse().unwrap())).unwrap();
    }
    admin(&server).set_retry("h", None).unwrap();
    let kept = dir.path().join("retries");
    let written = || std::fs::read_to_string(&kept).unwrap_or_default();
    wait_until("the last one is kept", || written().contains("g\t") && !written().contains("h\t"));
    server.kill();
    let mut server = durable(dir.path(), 2);
    let mut found = shown(&server);
    found.sort();
    assert_eq!(found, ["* 3", "f 3", "g 3"]);
    server.stop();
    let mut args = log_args(dir.path(), 1).to_vec();
    args.extend(["--retry=f:attempts=9".to_owned(), "--retry=g:off".to_owned()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut server = Server::gearshard(&args);
    assert_eq!(shown(&server), ["* 3", "f 9"]);
    server.stop();
    std::fs::write(&kept, "f\tattempts=3\ng\tattempts=many\n").unwrap();
    let told = refusal(&log_args(dir.path(), 1).each_ref().map(String::as_str));
    assert!(
        told.contains("retries is damaged at byte 13") && told.contains("correct or remove it"),
        "{told}"
    );
}
