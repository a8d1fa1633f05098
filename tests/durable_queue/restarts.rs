//! What a job keeps over a restart.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use gearshard::client::{Job, JobHandle, Worker};

use crate::support::process::TempDir;
use crate::support::{Server, wait_until};
use crate::{client, durable, refusal};

fn function(number: u64) -> String {
    format!("function-{}", number % 50)
}

/// What a worker of some functions is given, until nothing is left: unique, workload.
fn drain(server: &Server, functions: impl Iterator<Item = String>) -> Vec<(String, String)> {
    let done = Arc::new(Mutex::new(Vec::new()));
    let functions: Vec<String> = functions.collect();
    let mut builder = Worker::builder([server.address().into()]);
    for function in &functions {
        let done = Arc::clone(&done);
        builder = builder.function(function.as_str(), move |job| {
            let unique = String::from_utf8(job.unique().to_vec())?;
            done.lock().unwrap().push((unique, String::from_utf8(job.workload().to_vec())?));
            Ok("")
        });
    }
    let worker = builder.start().unwrap();
    wait_until("everything has run", || functions.iter().all(|function| server.counts(function).0 == 0));
    worker.stop();
    std::mem::take(&mut *done.lock().unwrap())
}

#[test]
fn a_handle_answers_after_a_restart_and_after_a_change_of_shards() {
    let dir = TempDir::new();
    let mut server = durable(dir.path(), 3);
    let asker = client(&server);
    let handles: Vec<_> = (0..200)
        .map(|number| asker.submit_background(Job::new(function(number), number.to_string())).unwrap())
        .collect();
    server.stop();
    for threads in [3, 5, 1, 2] {
        let mut server = durable(dir.path(), threads);
        let asker = client(&server);
        for handle in &handles {
            let status = asker.status(&JobHandle::from(handle.as_bytes())).unwrap();
            assert!(status.known && !status.running, "{handle} with {threads} shards");
        }
        server.kill();
    }
    let mut server = durable(dir.path(), 4);
    let mut done: Vec<u64> =
        drain(&server, (0..50).map(function)).iter().map(|(_, text)| text.parse().unwrap()).collect();
    done.sort_unstable();
    assert_eq!(done, (0..200).collect::<Vec<u64>>());
    // Killed, it could leave ends of jobs unwritten.
    server.stop();
    assert_eq!(durable(dir.path(), 2).admin("status"), "", "nothing comes back");
}

#[test]
fn order_priority_uniques_and_times_are_kept() {
    let dir = TempDir::new();
    let mut server = durable(dir.path(), 1);
    let asker = client(&server);
    let late = SystemTime::now() + Duration::from_secs(3600);
    for number in 0..30 {
        let job = Job::new("f", number.to_string()).unique(format!("u{number}"));
        let job = match number % 3 {
            0 => job.low(),
            1 => job,
            _ => job.high(),
        };
        asker.submit_background(job).unwrap();
    }
    asker.submit_background(Job::new("late", "x").unique("late").at(late)).unwrap();
    server.kill();
    let server = durable(dir.path(), 1);
    let asker = client(&server);
    // It coalesces with the one that waits.
    asker.submit_background(Job::new("f", "other").unique("u7")).unwrap();
    let done = drain(&server, ["f".to_owned()].into_iter());
    let order = (0..30)
        .filter(|n| n % 3 == 2)
        .chain((0..30).filter(|n| n % 3 == 1))
        .chain((0..30).filter(|n| n % 3 == 0));
    let expected: Vec<_> = order.map(|n| (format!("u{n}"), n.to_string())).collect();
    assert_eq!(done, expected);
    let status = asker.status_by_unique("late").unwrap();
    assert!(status.known && !status.running, "its time has not come");
}

#[test]
fn two_servers_cannot_have_one_directory_and_bad_options_are_explained() {
    let dir = TempDir::new();
    let _server = durable(dir.path(), 1);
    let refused = |args: &[&str], text: &str| {
        let told = refusal(args);
        assert!(told.contains(text), "{told} lacks {text}");
    };
    let log = format!("--wal-dir={}", dir.path().display());
    refused(&["--queue-type=wal", &log], "another server uses");
    refused(&["--queue-type=wal"], "needs --wal-dir");
    refused(&["--queue-type=wal", "--wal-dir=/proc/no"], "/proc/no");
    refused(&["--queue-type=wal", &log, "--durability=maybe"], "it is always, interval:MS");
}
