//! Many jobs in flight on one connection.

use crate::support::{DEADLINE, Server, wait_until};
use crate::{against_both, client, usual_worker, worker};
use gearshard::client::{ClientError, Job, Update};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

fn every_job_has_its_own_result(server: &mut Server) {
    let _worker = worker(server)
        .concurrency(3)
        .grab_ahead(8)
        .function("double", |job| {
            let number: u64 = std::str::from_utf8(job.workload())?.parse()?;
            Ok((2 * number).to_string())
        })
        .start()
        .unwrap();
    let client = client(server);
    let jobs = (0..5000u64).map(|number| Job::new("double", number.to_string()));
    let mut seen = vec![false; 5000];
    for (number, result) in client.run_all(jobs, 200) {
        assert_eq!(result.unwrap(), (2 * number).to_string().into_bytes());
        assert!(!std::mem::replace(&mut seen[number as usize], true), "{number} twice");
    }
    assert!(seen.iter().all(|seen| *seen));
}

fn updates_of_a_batch(server: &mut Server) {
    let _worker = usual_worker(server);
    let client = client(server);
    let mut batch = client.batch();
    for _ in 0..3 {
        batch.submit(Job::new("pieces", "")).unwrap();
    }
    batch.submit(Job::new("fails", "")).unwrap();
    let mut completed = Vec::new();
    let (mut created, mut pieces) = (0, 0);
    while let Some((number, update)) = batch.next_update() {
        match update {
            Ok(Update::Created(_)) => created += 1,
            Ok(Update::Data(_)) => pieces += 1,
            Ok(Update::Complete(_)) => completed.push(number),
            Ok(_) => {}
            Err(error) => assert!(matches!(error, ClientError::Failed) && number == 3, "{error}"),
        }
    }
    assert_eq!((created, pieces, completed), (4, 6, vec![0, 1, 2]));
}

fn waiting_for_a_batch_has_an_end(server: &mut Server) {
    let client = client(server);
    let mut batch = client.batch();
    assert!(batch.next_within(Duration::ZERO).is_none(), "no job is in flight");
    batch.submit(Job::new("reverse", "ab")).unwrap();
    let created = batch.next_within(DEADLINE).unwrap();
    assert!(matches!(created, Some((0, Ok(Update::Created(_))))), "{created:?}");
    // Nobody serves it yet.
    assert!(batch.next_within(Duration::from_millis(20)).unwrap().is_none());
    assert_eq!(batch.len(), 1);
    let _worker = usual_worker(server);
    let ended = batch.next_within(DEADLINE).unwrap();
    assert!(matches!(ended, Some((0, Ok(Update::Complete(data)))) if data == b"ba"));
    assert!(batch.is_empty());
}

fn a_bad_job_among_good_ones(server: &mut Server) {
    let _worker = usual_worker(server);
    let jobs = [Job::new("reverse", "ab"), Job::new("re\0verse", "cd"), Job::new("reverse", "ef")];
    let mut results: Vec<_> = client(server).run_all(jobs, 10).collect();
    results.sort_by_key(|(number, _)| *number);
    assert_eq!(results[0].1.as_ref().unwrap(), b"ba");
    assert!(matches!(results[1], (1, Err(ClientError::Job(_)))));
    assert_eq!(results[2].1.as_ref().unwrap(), b"fe");
}

fn background_batch(server: &mut Server) {
    let client = client(server);
    let mut batch = client.batch();
    for number in 0..1000 {
        batch.submit_background(Job::new("add", number.to_string())).unwrap();
    }
    let mut handles = std::collections::HashSet::new();
    while let Some((_, update)) = batch.next_update() {
        if let Update::Created(handle) = update.unwrap() {
            handles.insert(handle);
        }
    }
    assert_eq!(handles.len(), 1000);
    // What was only collected is sent all the same.
    let mut unwaited = client.batch();
    unwaited.submit_background(Job::new("add", "1000")).unwrap();
    drop(unwaited);
    let sum = Arc::new(AtomicU64::new(0));
    let adding = Arc::clone(&sum);
    let _worker = worker(server)
        .function("add", move |job| {
            adding.fetch_add(std::str::from_utf8(job.workload())?.parse()?, SeqCst);
            Ok("")
        })
        .start()
        .unwrap();
    wait_until("all have run", || sum.load(SeqCst) == 500_500);
}

fn large_results(server: &mut Server) {
    let _worker = worker(server).function("same", |job| Ok(job.take_workload())).start().unwrap();
    let client = client(server);
    // More in flight than sockets hold: who only wrote would wait for ever.
    let jobs = (0..40).map(|number| Job::new("same", vec![number; 1 << 20]));
    let mut count = 0;
    for (number, result) in client.run_all(jobs, 20) {
        assert!(result.unwrap() == vec![number as u8; 1 << 20]);
        count += 1;
    }
    assert_eq!(count, 40);
}

against_both! {
    every_job_has_its_own_result;
    updates_of_a_batch;
    a_bad_job_among_good_ones;
    waiting_for_a_batch_has_an_end;
    background_batch;
    large_results;
}
