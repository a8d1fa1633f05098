//! One job at a time: every kind of job, every kind of end, every question.

use crate::support::{Pieces, Server, wait_until};
use crate::{against_both, client, usual_worker, worker};
use gearshard::client::{Client, ClientError, Job, JobHandle, ServerAddress, Update, Worker};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

fn foreground(server: &mut Server) {
    let _worker = usual_worker(server);
    let client = client(server);
    let large: Vec<u8> = (0..3_000_000u32).map(|number| (number >> 3) as u8).collect();
    for workload in [b"hello".to_vec(), Vec::new(), vec![0, 1, 0], large] {
        let expected: Vec<u8> = workload.iter().rev().copied().collect();
        for job in [Job::new("reverse", workload.clone()), Job::new("reverse", workload).high()] {
            assert!(client.run(job).unwrap() == expected);
        }
    }
    assert_eq!(client.run(Job::new("reverse", "wol").low()).unwrap(), b"low");
    assert_eq!(client.run(Job::new("unique", "").unique("mine")).unwrap(), b"mine");
    assert_eq!(client.run(Job::new("unique", "")).unwrap(), b"");
}

fn updates(server: &mut Server) {
    let _worker = usual_worker(server);
    let client = client(server);
    let mut pending = client.submit(Job::new("pieces", "")).unwrap();
    let handle = pending.handle().unwrap();
    assert!(handle.to_string().starts_with("H:"), "{handle}");
    let updates: Vec<Update> = pending.map(Result::unwrap).collect();
    let expected = [
        Update::Data(b"one,".to_vec()),
        Update::Warning(b"careful".to_vec()),
        Update::Progress { numerator: 1, denominator: 2 },
        Update::Data(b"two,".to_vec()),
        Update::Complete(b"three".to_vec()),
    ];
    assert_eq!(updates, expected);
    assert_eq!(client.run(Job::new("pieces", "")).unwrap(), b"one,two,three");
}

fn bad_ends(server: &mut Server) {
    let _worker = usual_worker(server);
    let client = client(server);
    let end = |function: &str| client.run(Job::new(function, "x")).unwrap_err();
    assert!(matches!(end("fails"), ClientError::Failed));
    assert!(matches!(end("throws"), ClientError::Exception(data) if data == b"broken\0pipe"));
    assert!(matches!(end("panics"), ClientError::Exception(data) if data == b"no 1"));
    let plain = Client::builder([server.address().into()]).exceptions(false).build().unwrap();
    assert!(matches!(plain.run(Job::new("throws", "")), Err(ClientError::Failed)));
    assert_eq!(client.run(Job::new("reverse", "ko")).unwrap(), b"ok", "the worker lives");
    let invalid = client.run(Job::new("a\0b", ""));
    assert!(matches!(invalid, Err(ClientError::Job(_))), "{invalid:?}");
}

fn background(server: &mut Server) {
    let client = client(server);
    let handle = client.submit_background(Job::new("record", "normal")).unwrap();
    client.submit_background(Job::new("record", "low").low()).unwrap();
    client.submit_background(Job::new("record", "high").high()).unwrap();
    let status = client.status(&handle).unwrap();
    assert!(status.known && !status.running, "{status:?}");
    let from_text: JobHandle = handle.to_string().parse().unwrap();
    assert!(client.status(&from_text).unwrap().known);
    assert!(!client.status(&"H:nowhere:1".parse().unwrap()).unwrap().known);
    let (tell, told) = mpsc::channel();
    let _worker = worker(server)
        .function("record", move |job| {
            tell.send(String::from_utf8(job.workload().to_vec())?)?;
            Ok("")
        })
        .start()
        .unwrap();
    let order: Vec<String> = told.iter().take(3).collect();
    assert_eq!(order, ["high", "normal", "low"]);
    wait_until("the job is not known any more", || !client.status(&handle).unwrap().known);
}

fn status_of_a_running_job(server: &mut Server) {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let _worker = worker(server)
        .function("waits", move |job| {
            job.progress(3, 7)?;
            released.lock().unwrap().recv()?;
            Ok("")
        })
        .start()
        .unwrap();
    let client = client(server);
    let mut pending = client.submit(Job::new("waits", "").unique("which")).unwrap();
    let handle = pending.handle().unwrap();
    wait_until("the progress is known", || {
        let status = client.status(&handle).unwrap();
        status.running && (status.numerator, status.denominator) == (3, 7)
    });
    let status = client.status_by_unique("which").unwrap();
    // Debian's 1.1.20 counts the clients as well.
    assert!(status.known && status.running && status.clients == Some(1), "{status:?}");
    assert!(!client.status_by_unique("another").unwrap().known);
    release.send(()).unwrap();
    pending.wait().unwrap();
}

fn coalescing(server: &mut Server) {
    let client = client(server);
    let submit = |job: Job| client.submit(job).unwrap();
    let mut same: Vec<_> = (0..3).map(|_| submit(Job::new("count", "a").unique("u"))).collect();
    let mut alike: Vec<_> =
        (0..2).map(|_| submit(Job::new("count", "payload").unique_by_workload())).collect();
    let handles = |pending: &mut [gearshard::client::Pending]| -> Vec<JobHandle> {
        pending.iter_mut().map(|pending| pending.handle().unwrap()).collect()
    };
    let (same_handles, alike_handles) = (handles(&mut same), handles(&mut alike));
    assert!(same_handles.iter().all(|handle| *handle == same_handles[0]));
    assert!(alike_handles[0] == alike_handles[1] && alike_handles[0] != same_handles[0]);
    let runs = std::sync::atomic::AtomicU32::new(0);
    let _worker = worker(server)
        .function("count", move |job| {
            let run = runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            job.data(format!("{run}:"))?;
            Ok(job.take_workload())
        })
        .start()
        .unwrap();
    let mut results: Vec<Vec<u8>> = Vec::new();
    for pending in same.into_iter().chain(alike) {
        results.push(pending.wait().unwrap());
    }
    // Each of them hears everything once; which job runs first is the server's affair.
    assert!(
        results[..3].iter().all(|result| *result == results[0] && result.ends_with(b":a")),
        "{results:?}"
    );
    assert!(results[3..].iter().all(|result| *result == results[3] && result.ends_with(b":payload")));
    assert_ne!(results[0][0], results[3][0]);
}

fn timeouts_and_dropping(server: &mut Server) {
    let client = client(server);
    let lonely = client.submit(Job::new("served by nobody", "")).unwrap();
    let after = lonely.timeout(Some(Duration::from_millis(50))).wait().unwrap_err();
    assert!(matches!(after, ClientError::Timeout { .. }), "{after:?}");
    let mut patient = client.submit(Job::new("reverse", "later")).unwrap();
    patient.handle().unwrap();
    assert!(matches!(patient.next_within(Duration::from_millis(20)), Some(Ok(None))));
    let dropped = client.submit(Job::new("reverse", "dropped")).unwrap();
    drop(dropped);
    let _worker = usual_worker(server);
    assert_eq!(patient.wait().unwrap(), b"retal");
    assert_eq!(client.run(Job::new("reverse", "on")).unwrap(), b"no");
}

fn echo(server: &mut Server) {
    let client = client(server);
    for data in [&b"there and back"[..], b"", b"\0\0", &vec![7; 1 << 20]] {
        assert!(client.echo(data).unwrap() > Duration::ZERO);
    }
}

fn epoch(server: &mut Server) {
    let (tell, told) = mpsc::channel();
    let client = client(server);
    let due = SystemTime::now() + Duration::from_millis(1200);
    let handle = client.submit_background(Job::new("stamp", "").at(due)).unwrap();
    client.submit_background(Job::new("stamp", "").after(Duration::from_millis(100))).unwrap();
    let _worker = worker(server)
        .function("stamp", move |_| {
            tell.send(SystemTime::now())?;
            Ok("")
        })
        .function("poke", |_| Ok(""))
        .start()
        .unwrap();
    assert!(client.status(&handle).unwrap().known);
    let mut stamps = Vec::new();
    wait_until("both have run", || {
        // gearmand 1.1 looks for jobs that are due only when a worker grabs.
        client.run(Job::new("poke", "")).unwrap();
        stamps.extend(told.try_iter());
        stamps.len() == 2
    });
    assert!(stamps[1] >= due, "{stamps:?}");
    let refused = client.submit(Job::new("stamp", "").at(due));
    assert!(matches!(refused, Err(ClientError::Job(_))));
}

fn nothing_arrives_in_one_piece(server: &mut Server) {
    let relay = Pieces::start(server.address());
    let address = ServerAddress::Unix(relay.path());
    let worker = Worker::builder([address.clone()])
        .grab_ahead(4)
        .function("reverse", |job| {
            job.progress(1, 2)?;
            Ok(job.workload().iter().rev().copied().collect::<Vec<u8>>())
        })
        .start()
        .unwrap();
    let client = Client::builder([address]).build().unwrap();
    let texts: Vec<String> = (0..40).map(|number| "piece by piece ".repeat(number)).collect();
    for (number, text) in texts.iter().enumerate() {
        let job = Job::new("reverse", text.as_str()).unique(format!("{number:060}"));
        assert!(client.run(job).unwrap().iter().eq(text.as_bytes().iter().rev()));
    }
    let many = texts.iter().map(|text| Job::new("reverse", text.as_str()));
    for (number, result) in client.run_all(many, 20) {
        assert!(result.unwrap().iter().eq(texts[number as usize].as_bytes().iter().rev()));
    }
    worker.stop();
    worker.join();
}

fn many_threads_share_a_client(server: &mut Server) {
    let _worker = usual_worker(server);
    let client = client(server);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let client = &client;
            scope.spawn(move || {
                for number in 0..100u32 {
                    let text = format!("{thread}/{number}");
                    let reversed: String = text.chars().rev().collect();
                    let client =
                        if number.is_multiple_of(2) { client.clone() } else { Client::clone(client) };
                    assert_eq!(client.run(Job::new("reverse", text)).unwrap(), reversed.as_bytes());
                }
            });
        }
    });
    let connections = server.admin("workers").lines().filter(|line| line.ends_with(':')).count();
    // The client, and whoever asks.
    assert_eq!(connections, 2);
}

against_both! {
    foreground;
    updates;
    bad_ends;
    background;
    status_of_a_running_job;
    coalescing;
    timeouts_and_dropping;
    echo;
    epoch;
    many_threads_share_a_client;
    nothing_arrives_in_one_piece;
}
