//! Retry policies and dead letters, which only our own server has.

use crate::support::{Server, wait_until};
use crate::{at, client, fails, json, printed, run};
use gearshard::client::Job;
use gearshard::protocol::packet::Command as Packet;

fn server() -> Server {
    Server::gearshard(&["--threads=2", "--job-handle-prefix=H:farm"])
}

/// Submits a job and has it fail; its handle.
fn dead_letter(server: &Server, function: &str, unique: &str) -> String {
    let job = Job::new(function, "load").unique(unique);
    let handle = client(server).submit_background(job).unwrap().to_string();
    let mut worker = server.connect();
    worker.send(Packet::CanDo, &[function.as_bytes()], b"");
    worker.send(Packet::GrabJob, &[], b"");
    worker.expect(Packet::JobAssign);
    worker.send(Packet::WorkFail, &[handle.as_bytes()], b"");
    wait_until("the job has failed", || server.counts(function).0 == 0);
    handle
}

#[test]
fn policies_are_set_shown_and_taken_away() {
    let server = server();
    assert!(!printed(at(&server, &["retry"])).contains("lost"));
    assert_eq!(printed(at(&server, &["retry", "resize", "attempts=5,on=lost,fail,backoff=2s"])), "");
    run(at(&server, &["retry", "*", "attempts=2,then=drop"])).success();
    let rows = json(at(&server, &["retry", "--json"]));
    assert_eq!((&rows[0]["function"], &rows[0]["then"]), (&"*".into(), &"drop".into()));
    assert_eq!((&rows[1]["on"], &rows[1]["backoff_s"]), (&serde_json::json!(["lost", "fail"]), &2.into()));
    let table = printed(at(&server, &["retry"]));
    assert!(table.contains("resize") && table.contains("lost,fail") && table.contains("3600s"), "{table}");
    run(at(&server, &["retry", "resize", "off"])).success();
    assert_eq!(json(at(&server, &["retry", "--json"])).as_array().unwrap().len(), 1);
    fails(at(&server, &["retry", "resize", "attempts=0"]), 2, "between 1 and 65535");
    fails(at(&server, &["retry", "resize"]), 2, "POLICY");
    fails(at(&server, &["retry", "two words", "off"]), 2, "cannot be named");
}

#[test]
fn dead_letters_are_shown_requeued_and_purged() {
    let server = server();
    run(at(&server, &["retry", "*", "attempts=1,on=fail"])).success();
    let first = dead_letter(&server, "resize", "one");
    dead_letter(&server, "resize", "two");
    let other = dead_letter(&server, "mail", "three");
    let rows = json(at(&server, &["dead", "list", "resize", "--json"]));
    let uniques: Vec<&str> =
        rows.as_array().unwrap().iter().map(|row| row["unique"].as_str().unwrap()).collect();
    assert_eq!(uniques, ["one", "two"]);
    assert_eq!((&rows[0]["handle"], &rows[0]["cause"]), (&first.as_str().into(), &"fail".into()));
    assert_eq!((&rows[0]["attempts"], &rows[0]["workload_bytes"]), (&1.into(), &4.into()));
    let table = printed(at(&server, &["dead"]));
    assert!(table.lines().count() == 4 && table.contains(&other) && table.contains("Z  "), "{table}");

    let requeued = printed(at(&server, &["dead", "requeue", &first, "mail"]));
    assert_eq!(requeued, format!("requeued 1: {first}\nrequeued 1: mail\n"));
    assert_eq!((server.counts("resize").0, server.counts("mail").0), (1, 1));
    assert_eq!(printed(at(&server, &["dead", "purge", "*"])), "purged 1: *\n");
    fails(at(&server, &["dead", "purge", &first]), 1, "no server has a dead letter");
    fails(at(&server, &["dead", "requeue"]), 2, "HANDLE|FUNCTION");
}

#[test]
fn a_server_without_dead_letters_is_told_from_one_that_has_none() {
    let server = Server::gearmand(&[]);
    for words in [&["dead"][..], &["dead", "purge", "*"], &["retry"], &["retry", "f", "attempts=2"]] {
        fails(at(&server, words), 1, "UNKNOWN");
    }
}
