//! Workers: several functions and threads, timeouts, retries, stopping.

use crate::support::{Server, wait_until};
use crate::{against_both, client, usual_worker, worker};
use gearshard::client::{Job, JobError, Notice};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

fn is_called_by_its_id(server: &mut Server) {
    let _worker = worker(server).id("number one").function("f", |_| Ok("")).start().unwrap();
    wait_until("the id is listed", || server.admin("workers").contains(" number one : f\n"));
}

fn runs_several_jobs_at_a_time(server: &mut Server) {
    let meeting = Arc::new(Barrier::new(3));
    let inside = Arc::clone(&meeting);
    let _worker = worker(server)
        .concurrency(3)
        .function("meet", move |_| {
            inside.wait();
            Ok("met")
        })
        .start()
        .unwrap();
    // All three must be inside before any of them ends.
    let results: Vec<_> = client(server).run_all((0..3).map(|_| Job::new("meet", "")), 3).collect();
    assert!(results.iter().all(|(_, result)| result.as_ref().unwrap() == b"met"));
}

fn gives_a_job_back(server: &mut Server) {
    let attempts = AtomicU32::new(0);
    let _worker = worker(server)
        .function("third time", move |_| match attempts.fetch_add(1, SeqCst) {
            0 | 1 => Err(JobError::Retry),
            attempt => Ok(attempt.to_string()),
        })
        .start()
        .unwrap();
    assert_eq!(client(server).run(Job::new("third time", "")).unwrap(), b"2");
}

fn a_slow_job_is_taken_back(server: &mut Server) {
    let attempts = AtomicU32::new(0);
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let refused = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&refused);
    let _worker = worker(server)
        .concurrency(2)
        // gearmand 1.1 now and then forgets to wake the other one.
        .recheck(Duration::from_millis(500))
        .on_notice(move |notice| {
            if let Notice::Refused { code, .. } = notice {
                seen.lock().unwrap().push(code.clone());
            }
        })
        .function_within("slow once", Duration::from_secs(1), move |_| {
            let attempt = attempts.fetch_add(1, SeqCst);
            if attempt == 0 {
                released.lock().unwrap().recv()?;
            }
            Ok(attempt.to_string())
        })
        .start()
        .unwrap();
    assert_eq!(client(server).run(Job::new("slow once", "")).unwrap(), b"1");
    release.send(()).unwrap();
    wait_until("the late result is refused", || *refused.lock().unwrap() == ["JOB_NOT_FOUND"]);
}

fn stops_after_what_runs(server: &mut Server) {
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let first = worker(server)
        .grab_ahead(4)
        .function("work", move |_| {
            begin.send(())?;
            released.lock().unwrap().recv()?;
            Ok("first")
        })
        .start()
        .unwrap();
    let client = client(server);
    let mut batch = client.batch();
    for _ in 0..4 {
        batch.submit(Job::new("work", "")).unwrap();
    }
    batch.flush();
    begun.recv().unwrap();
    // It holds more than the one that runs.
    wait_until("jobs are handed out ahead", || server.counts("work").1 > 1);
    first.stop();
    let _second = worker(server).function("work", |_| Ok("second")).start().unwrap();
    release.send(()).unwrap();
    first.join();
    let mut results: Vec<Vec<u8>> = Vec::new();
    while let Some((_, result)) = batch.next_result() {
        results.push(result.unwrap());
    }
    results.sort();
    assert_eq!(results, [&b"first"[..], b"second", b"second", b"second"]);
    assert!(begun.try_recv().is_err(), "nothing more was begun");
}

fn stops_after_so_many_jobs(server: &mut Server) {
    let client = client(server);
    for _ in 0..5 {
        client.submit_background(Job::new("limited", "")).unwrap();
    }
    let count = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&count);
    worker(server)
        .concurrency(2)
        .grab_ahead(2)
        .jobs_max(3)
        .function("limited", move |_| {
            counting.fetch_add(1, SeqCst);
            Ok("")
        })
        .run()
        .unwrap();
    assert_eq!(count.load(SeqCst), 3);
    wait_until("the others wait", || server.counts("limited") == (2, 0, 0));
}

fn an_idle_worker_stops_at_once(server: &mut Server) {
    let worker = usual_worker(server);
    let stopper = worker.stopper();
    let waiting = std::thread::spawn(move || worker.join());
    stopper.stop();
    waiting.join().unwrap();
    wait_until("it has left", || server.counts("reverse").2 == 0);
}

fn connects_again(server: &mut Server) {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&notices);
    let _worker = worker(server)
        .on_notice(move |notice| noting.lock().unwrap().push(notice.to_string()))
        .reconnect(Duration::from_millis(10), Duration::from_millis(50))
        .function("reverse", |job| Ok(job.workload().iter().rev().copied().collect::<Vec<u8>>()))
        .start()
        .unwrap();
    wait_until("the worker is registered", || server.counts("reverse").2 == 1);
    server.kill();
    wait_until("it tries in vain", || {
        notices.lock().unwrap().iter().any(|notice| notice.starts_with("cannot reach"))
    });
    *server = Server::start_on(server.kind(), &[], server.port());
    assert_eq!(client(server).run(Job::new("reverse", "kcab")).unwrap(), b"back");
}

against_both! {
    is_called_by_its_id;
    runs_several_jobs_at_a_time;
    gives_a_job_back;
    a_slow_job_is_taken_back;
    stops_after_what_runs;
    stops_after_so_many_jobs;
    an_idle_worker_stops_at_once;
    connects_again;
}
