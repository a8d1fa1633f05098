//! Jobs listed and cancelled, queues limited and drained, servers pinged.

use crate::support::{Process, Server, wait_until};
use crate::{against_both, at, client, fails, gearctl, json, nowhere, printed, run, usual_worker};
use gearshard::client::{Job, Worker};
use std::sync::mpsc::{Sender, channel};

against_both! {
    jobs_are_listed;
    jobs_are_cancelled;
    queues_are_limited;
    a_drain_waits_until_nothing_is_left;
    a_drain_gives_up_in_time;
    a_drain_waits_for_the_end_of_a_server;
    echoes_are_measured;
}

/// A worker whose jobs of `slow` have told of themselves, and end when the sender is used.
fn slow_worker(server: &Server) -> (Worker, Sender<()>) {
    let (end, ended) = channel();
    let ended = std::sync::Mutex::new(ended);
    let worker = Worker::builder([server.address().into()]).function("slow", move |job| {
        job.progress(1, 3)?;
        ended.lock().unwrap().recv()?;
        Ok("")
    });
    (worker.start().unwrap(), end)
}

fn jobs_are_listed(server: &mut Server) {
    let (_worker, end) = slow_worker(server);
    let client = client(server);
    let running = client.submit(Job::new("slow", "").unique("first")).unwrap();
    wait_until("the job runs", || server.counts("slow").1 == 1);
    let waiting = client.submit_background(Job::new("slow", "").unique("second")).unwrap().to_string();
    let rows = json(at(server, &["jobs", "--json"]));
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    assert!(rows[0].get("running").is_none(), "{rows}");
    // The worker may not have told yet how far it has got.
    let mut states = serde_json::Value::Null;
    wait_until("the job has told of itself", || {
        states = json(at(server, &["jobs", "--states", "--json"]));
        states.as_array().unwrap().iter().any(|row| row["progress"] == serde_json::json!([1, 3]))
    });
    let row = |background: bool| {
        let rows = states.as_array().unwrap();
        rows.iter().find(|row| row["background"] == background).unwrap().clone()
    };
    assert_eq!((&row(false)["running"], &row(true)["running"]), (&true.into(), &false.into()));
    assert_eq!(row(true)["handle"], waiting);
    let table = printed(at(server, &["jobs", "--states"]));
    assert!(table.contains("foreground  running       1/3"), "{table}");
    assert!(table.contains("background  waiting         -"), "{table}");
    let uniques = printed(at(server, &["jobs", "--uniques"]));
    assert!(uniques.contains("first\n") && uniques.contains("second\n"), "{uniques}");
    let cut = run(at(server, &["jobs", "-n", "1"])).success();
    assert_eq!(cut.text().lines().count(), 2);
    assert!(cut.stderr.contains("1 of 2 jobs"), "{}", cut.stderr);
    for _ in 0..2 {
        end.send(()).unwrap();
    }
    running.wait().unwrap();
}

fn jobs_are_cancelled(server: &mut Server) {
    let client = client(server);
    let handles: Vec<_> =
        (0..3).map(|_| client.submit_background(Job::new("f", "")).unwrap().to_string()).collect();
    assert_eq!(printed(at(server, &["cancel", &handles[0]])), format!("cancelled {}\n", handles[0]));
    let input = format!("{}\n{}\n", handles[1], handles[2]);
    let both = Process::run(at(server, &["cancel", "-"]), input.as_bytes()).success().text();
    assert_eq!(both.lines().count(), 2);
    let rows = json(at(server, &["jobs", "--json"]));
    // gearmand keeps them, dead, until somebody would have run them.
    assert!(rows.as_array().unwrap().iter().all(|row| row["dead"] == true), "{rows}");
    fails(at(server, &["cancel", "H:x:1"]), 1, "no server has a job H:x:1");
    fails(at(server, &["cancel"]), 2, "HANDLE");
    let several = format!("{},{}", nowhere(), server.address());
    let last = client.submit_background(Job::new("f", "")).unwrap().to_string();
    // Whoever has it is enough.
    run(gearctl(&["cancel", &last, "-s", &several])).success();
    fails(gearctl(&["cancel", "H:x:1", "-s", &several]), 3, "cannot reach");
}

fn queues_are_limited(server: &mut Server) {
    fails(at(server, &["maxqueue", "f", "1"]), 1, "--create");
    run(at(server, &["maxqueue", "f", "1", "--create"])).success();
    let client = client(server);
    client.submit_background(Job::new("f", "")).unwrap();
    assert!(client.submit_background(Job::new("f", "")).is_err());
    fails(at(server, &["submit", "-b", "f", "x"]), 1, "the server refuses");
    run(at(server, &["maxqueue", "f", "9", "1", "1"])).success();
    assert!(client.submit_background(Job::new("f", "").low()).is_err());
    client.submit_background(Job::new("f", "").high()).unwrap();
    run(at(server, &["maxqueue", "f", "none"])).success();
    client.submit_background(Job::new("f", "").low()).unwrap();
    for bad in [&["maxqueue", "f"][..], &["maxqueue", "f", "some"], &["maxqueue", "f", "1", "2"]] {
        fails(at(server, bad), 2, "");
    }
    fails(at(server, &["maxqueue", "two words", "1", "--create"]), 2, "cannot be named");
}

fn a_drain_waits_until_nothing_is_left(server: &mut Server) {
    assert_eq!(printed(at(server, &["drain"])), "empty\n");
    let (_worker, end) = slow_worker(server);
    let client = client(server);
    for _ in 0..2 {
        client.submit_background(Job::new("slow", "")).unwrap();
    }
    // Other functions do not count.
    client.submit_background(Job::new("nobody", "")).unwrap();
    let mut drain = Process::start(at(server, &["drain", "sl*", "-i", "5ms"]), b"");
    end.send(()).unwrap();
    wait_until("one is done", || server.counts("slow").0 == 1);
    assert_eq!(drain.exit_status(), None, "{}", drain.stderr());
    end.send(()).unwrap();
    assert_eq!(drain.finish().success().text(), "empty\n");
}

fn a_drain_gives_up_in_time(server: &mut Server) {
    client(server).submit_background(Job::new("f", "")).unwrap();
    fails(at(server, &["drain", "-t", "50ms", "-i", "10ms"]), 4, "1 jobs wait and 0 run");
    fails(at(server, &["drain", "-t", "0"]), 4, "not in time");
    fails(gearctl(&["drain", "-s", &nowhere()]), 3, "cannot reach");
}

fn a_drain_waits_for_the_end_of_a_server(server: &mut Server) {
    let mut drain = Process::start(at(server, &["drain", "--until-gone", "-i", "5ms"]), b"");
    wait_until("drain is connected", || server.admin("workers").lines().count() > 1);
    assert_eq!(drain.exit_status(), None);
    server.stop();
    assert_eq!(drain.finish().success().text(), "gone\n");
    fails(at(server, &["drain", "--until-gone"]), 3, "cannot reach");
}

fn echoes_are_measured(server: &mut Server) {
    let _worker = usual_worker(server);
    let text = printed(at(server, &["ping", "-c", "3", "-i", "0"]));
    assert_eq!(text.matches(": 32 bytes, ").count(), 3, "{text}");
    assert!(text.contains("SERVER ") && text.contains('#'), "{text}");
    let rows = json(at(server, &["ping", "-c", "20", "-i", "0", "--size", "100000", "--json"]));
    assert_eq!((&rows[0]["sent"], &rows[0]["lost"]), (&20.into(), &0.into()));
    let [min, median, max] = ["min_us", "p50_us", "max_us"].map(|key| rows[0][key].as_f64().unwrap());
    // No server echoes 100,000 bytes within a microsecond.
    assert!(1.0 < min && min <= median && median <= max, "{rows}");
    let buckets = rows[0]["buckets"].as_array().unwrap();
    assert_eq!(buckets.iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum::<u64>(), 20);

    let both = format!("{},{}", server.address(), nowhere());
    let finished = fails(gearctl(&["ping", "-q", "-c", "1", "-s", &both]), 3, "no Gearman server");
    assert_eq!(finished.text().lines().filter(|line| line.starts_with("127.0.0.1")).count(), 3);

    let mut endless = Process::start(at(server, &["ping", "-c", "0", "-i", "1ms"]), b"");
    endless.wait_for_output(", 5, ");
    endless.signal("INT");
    assert!(endless.finish().success().text().contains("SERVER "), "the summary comes all the same");
}
