//! Rules for every store.

use std::time::{SystemTime, UNIX_EPOCH};

use gearshard::protocol::packet::Command;

use crate::support::kill_loop::{self, Size};
use crate::support::long_mode;
use crate::talk::{Seen, background, drain, grab, refusal, seen, submit, worker};
use crate::{Kind, Times};

const EVERY_BYTE: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut at = 0;
    while at < 256 {
        bytes[at] = at as u8;
        at += 1;
    }
    bytes
};

/// Jobs whose bytes a store could get wrong, in the order in which they are submitted.
fn awkward() -> Vec<(Command, Seen)> {
    let long = [b'u'; 64];
    let big: Vec<u8> = EVERY_BYTE.iter().copied().cycle().take(1 << 20).collect();
    vec![
        (Command::SubmitJobLowBg, seen(b"f", b"low", b"1")),
        (Command::SubmitJobBg, seen(b"f", b"every byte", &EVERY_BYTE)),
        (Command::SubmitJobBg, seen(b"f", b"nuls", b"\0\0a\0")),
        (Command::SubmitJobBg, seen(b"f", b"empty", b"")),
        (Command::SubmitJobBg, seen(b"f", &long, b"a unique of 64 bytes")),
        (Command::SubmitJobBg, seen(b"f", b"", b"no unique")),
        (Command::SubmitJobBg, seen(b"f", b"", b"")),
        (Command::SubmitJobBg, seen(b"f", b"-", b"by workload")),
        (Command::SubmitJobBg, seen(b"f", b"it's \"quoted\" \\ %s ?", b"'; DROP TABLE gearman_queue; --")),
        (Command::SubmitJobBg, seen(b"f", b"big", &big)),
        (Command::SubmitJobHighBg, seen(b"f", b"high", b"2")),
        (Command::SubmitJobBg, seen("grüße::größe".as_bytes(), "ünïque 火".as_bytes(), b"text")),
        (Command::SubmitJobHighBg, seen(b"one-two-three", b"four-five", b"dashes")),
    ]
}

const FUNCTIONS: [&[u8]; 3] = [b"f", "grüße::größe".as_bytes(), b"one-two-three"];

pub(crate) fn what_is_acknowledged_outlives_a_kill_byte_by_byte<K: Kind>() {
    let store = K::start();
    let mut server = store.serve(2);
    let mut client = server.connect();
    for (command, job) in awkward() {
        submit(&mut client, command, &job);
    }
    server.kill();
    let mut server = store.serve(3);
    let expected = |function: &[u8]| {
        let level = |command| match command {
            Command::SubmitJobHighBg => 0,
            Command::SubmitJobBg => 1,
            _ => 2,
        };
        let mut jobs = awkward();
        jobs.retain(|(_, job)| job.function == function);
        jobs.sort_by_key(|&(command, _)| level(command));
        jobs.into_iter().map(|(_, job)| job).collect::<Vec<_>>()
    };
    for function in FUNCTIONS {
        let (mut expected, mut ran) = (expected(function), drain(&server, &[function]));
        assert_eq!(ran.len(), expected.len(), "{}", function.escape_ascii());
        assert_eq!((&ran[0], ran.last()), (&expected[0], expected.last()), "by priority");
        // Not every engine knows which came first.
        ran.sort();
        expected.sort();
        assert!(ran == expected, "{}", function.escape_ascii());
    }
    server.stop();
    let server = store.serve(1);
    assert_eq!(drain(&server, &FUNCTIONS), [], "nothing comes back");
}

pub(crate) fn jobs_without_a_unique_are_each_their_own<K: Kind>() {
    let store = K::start();
    let mut server = store.serve(2);
    let mut client = server.connect();
    let mut left: Vec<Seen> = ["a", "b", "b", ""].map(|data| seen(b"f", b"", data.as_bytes())).to_vec();
    let handles = left.iter().map(|job| submit(&mut client, Command::SubmitJobBg, job));
    let handles: Vec<String> = handles.collect();
    assert_eq!(handles.iter().collect::<std::collections::BTreeSet<_>>().len(), left.len());
    while !left.is_empty() {
        let mut worker = worker(&server, &[b"f"]);
        let (handle, job) = grab(&mut worker).unwrap();
        worker.send(Command::WorkComplete, &[&handle], b"");
        worker.settle();
        let at = left.iter().position(|other| *other == job).unwrap_or_else(|| panic!("again: {job:?}"));
        left.remove(at);
        server.stop();
        server = store.serve(2);
        assert_eq!(server.counts("f").0, left.len() as u64, "its own row went, and no other");
    }
}

pub(crate) fn a_dash_compares_workloads_also_after_a_restart<K: Kind>() {
    let store = K::start();
    let mut server = store.serve(2);
    let mut client = server.connect();
    let first = background(&mut client, "f", "-", "same");
    assert_eq!(background(&mut client, "f", "-", "same"), first);
    assert_ne!(background(&mut client, "f", "-", "other"), first);
    server.kill();
    let mut server = store.serve(2);
    let mut client = server.connect();
    background(&mut client, "f", "-", "same");
    background(&mut client, "f", "-", "third");
    assert_eq!(server.counts("f").0, 3);
    server.kill();
    let server = store.serve(2);
    let mut ran = drain(&server, &[b"f"]);
    ran.sort();
    assert_eq!(ran, ["other", "same", "third"].map(|data| seen(b"f", b"-", data.as_bytes())));
}

pub(crate) fn a_time_is_kept_or_the_job_is_refused<K: Kind>() {
    let store = K::start();
    let mut server = store.serve(2);
    let mut client = server.connect();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let times = [("soon", now_s + 3600, Times::Until2038), ("late", 5_000_000_000, Times::All)];
    let mut kept = 0;
    for (unique, time, needed) in times {
        let time = time.to_string();
        let args: [&[u8]; 3] = [b"f", unique.as_bytes(), time.as_bytes()];
        if K::TIMES == Times::All || K::TIMES == needed {
            client.send(Command::SubmitJobEpoch, &args, b"x");
            client.expect(Command::JobCreated);
            kept += 1;
        } else {
            let text = refusal(&mut client, Command::SubmitJobEpoch, &args);
            assert!(text.contains("ime"), "{text} says nothing about the time");
        }
    }
    server.kill();
    let server = store.serve(2);
    assert_eq!(server.counts("f").0, kept);
    assert_eq!(drain(&server, &[b"f"]), [], "their time has not come");
}

pub(crate) fn nothing_comes_back_that_is_over<K: Kind>() {
    let store = K::start();
    let mut server = store.serve(2);
    let mut client = server.connect();
    for end in [Command::WorkComplete, Command::WorkFail, Command::WorkException] {
        background(&mut client, "f", "", "x");
        let mut worker = worker(&server, &[b"f"]);
        let (handle, _) = grab(&mut worker).unwrap();
        worker.send(end, &[&handle], b"");
        if end == Command::WorkException {
            // An exception alone ends nothing here either.
            worker.send(Command::WorkFail, &[&handle], b"");
        }
        worker.settle();
    }
    let queued = background(&mut client, "f", "queued", "x");
    assert_eq!(client.ask(&format!("cancel job {queued}")), "OK\r");
    let running = background(&mut client, "f", "running", "x");
    let mut worker = worker(&server, &[b"f"]);
    grab(&mut worker).unwrap();
    assert_eq!(client.ask(&format!("cancel job {running}")), "OK\r");
    background(&mut client, "gone", "dropped", "x");
    assert_eq!(client.ask("drop function gone"), "OK\r");
    server.stop();
    assert_eq!(store.serve(2).admin("status"), "");
}

pub(crate) fn nothing_acknowledged_is_lost_in_a_loop_of_kills<K: Kind>() {
    let store = K::start();
    let size = if long_mode() { Size { kills: 100, step: 5_000 } } else { Size { kills: 5, step: 1_000 } };
    let args: Vec<String> = store.args().into_iter().chain(["--threads=2".to_owned()]).collect();
    kill_loop::run(&args, size);
}
