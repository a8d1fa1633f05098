//! Asynchronous clients and workers against our server and Debian's gearmand.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use gearshard::client::asynchronous::{AsyncClient, AsyncWorker, AsyncWorkerBuilder};
use gearshard::client::conversation::ProtocolError;
use gearshard::client::{
    Client, ClientError, Job, JobError, JobHandle, LossReason, Notice, OnLoss, ServerAddress, Spread, Update,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use support::{DEADLINE, Kind, Pieces, Server};
use tokio::sync::{Barrier, Notify, mpsc};
use tokio::task::JoinSet;

fn server(kind: Kind) -> Server {
    let args: &[&str] = if kind == Kind::Gearshard { &["--threads=2"] } else { &[] };
    Server::start(kind, args)
}

async fn client(server: &Server) -> AsyncClient {
    AsyncClient::connect(&server.address().to_string()).await.unwrap()
}

fn worker(server: &Server) -> AsyncWorkerBuilder {
    AsyncWorker::builder([server.address().into()])
}

/// Polls `condition` until it holds.
async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let polling = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, polling).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

macro_rules! against_both {
    ($($name:ident;)*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
            async fn gearshard() {
                super::$name(crate::support::Kind::Gearshard).await;
            }

            #[tokio::test]
            async fn gearmand_on_one_thread() {
                super::$name(crate::support::Kind::Gearmand).await;
            }
        }
    )*};
}

async fn nothing_arrives_in_one_piece(kind: Kind) {
    let server = server(kind);
    let relay = Pieces::start(server.address());
    let address = ServerAddress::Unix(relay.path());
    let worker = AsyncWorker::builder([address.clone()])
        .concurrency(4)
        .function("reverse", |job| async move {
            job.progress(1, 2).await?;
            Ok(job.workload().iter().rev().copied().collect::<Vec<u8>>())
        })
        .start()
        .unwrap();
    let client = Client::builder([address]).build_async().unwrap();
    let mut running = JoinSet::new();
    for number in 0..40 {
        let (client, text) = (client.clone(), "piece by piece ".repeat(number));
        running.spawn(async move {
            let result = client.run(Job::new("reverse", text.as_str())).await.unwrap();
            assert!(result.iter().eq(text.as_bytes().iter().rev()));
        });
    }
    running.join_all().await;
    worker.stop();
    worker.join().await;
}

async fn ends(kind: Kind) {
    let server = server(kind);
    let _worker = worker(&server)
        .concurrency(3)
        .id("asynchronous")
        .function("reverse", |job| async move {
            tokio::task::yield_now().await;
            Ok(job.workload().iter().rev().copied().collect::<Vec<u8>>())
        })
        .function("pieces", |job| async move {
            job.data("one,").await?;
            job.warning("careful").await?;
            job.progress(1, 2).await?;
            job.data("two,").await?;
            Ok(job.unique().to_vec())
        })
        .function("fails", |_| async { Err::<Vec<u8>, _>(JobError::Failed) })
        .function("throws", |_| async { Err::<Vec<u8>, _>("x".parse::<u8>().unwrap_err().into()) })
        .function("panics", |job| async move {
            if job.workload().len() < 9 { panic!("too short") } else { Ok("") }
        })
        .start()
        .unwrap();
    let client = client(&server).await;
    let large = vec![7; 3 << 20];
    for workload in [b"hello".to_vec(), Vec::new(), large] {
        let expected: Vec<u8> = workload.iter().rev().copied().collect();
        assert!(client.run(Job::new("reverse", workload)).await.unwrap() == expected);
    }
    let mut pending = client.submit(Job::new("pieces", "").unique("three")).await.unwrap();
    assert!(pending.handle().await.unwrap().to_string().starts_with("H:"));
    let mut updates = Vec::new();
    while let Some(update) = pending.next_update().await {
        updates.push(update.unwrap());
    }
    let expected = [
        Update::Data(b"one,".to_vec()),
        Update::Warning(b"careful".to_vec()),
        Update::Progress { numerator: 1, denominator: 2 },
        Update::Data(b"two,".to_vec()),
        Update::Complete(b"three".to_vec()),
    ];
    assert_eq!(updates, expected);
    assert_eq!(client.run(Job::new("pieces", "").unique("3")).await.unwrap(), b"one,two,3");
    let end = async |function: &str| client.run(Job::new(function, "")).await.unwrap_err();
    assert!(matches!(end("fails").await, ClientError::Failed));
    assert!(
        matches!(end("throws").await, ClientError::Exception(text) if text.starts_with(b"invalid digit"))
    );
    assert!(matches!(end("panics").await, ClientError::Exception(text) if text == b"too short"));
    assert!(matches!(end("a\0b").await, ClientError::Job(_)));
    assert!(server.admin("workers").contains(" asynchronous : "));
    client.echo("there and back").await.unwrap();
}

async fn many_at_once(kind: Kind) {
    let server = server(kind);
    let meeting = Arc::new(Barrier::new(50));
    let inside = Arc::clone(&meeting);
    let _worker = worker(&server)
        .concurrency(50)
        .function("meet", move |job| {
            let meeting = Arc::clone(&inside);
            async move {
                // All fifty must be inside before any of them ends.
                meeting.wait().await;
                Ok(job.workload().to_vec())
            }
        })
        .start()
        .unwrap();
    let client = client(&server).await;
    let mut jobs = JoinSet::new();
    for number in 0..500u32 {
        let client = client.clone();
        jobs.spawn(async move {
            let result = client.run(Job::new("meet", number.to_string())).await.unwrap();
            assert_eq!(result, number.to_string().into_bytes());
        });
    }
    while let Some(job) = jobs.join_next().await {
        job.unwrap();
    }
    let clients = server.admin("workers").lines().filter(|line| line.ends_with(':')).count();
    assert_eq!(clients, 2, "one connection, and whoever asks");
}

async fn background_and_status(kind: Kind) {
    let server = server(kind);
    let client = client(&server).await;
    let handle = client.submit_background(Job::new("waits", "").unique("which")).await.unwrap();
    client.submit_background(Job::new("waits", "").after(Duration::from_secs(3600))).await.unwrap();
    assert!(client.status(&handle).await.unwrap().known);
    assert!(client.status(&handle.to_string().parse::<JobHandle>().unwrap()).await.unwrap().known);
    assert!(!client.status_by_unique("another").await.unwrap().known);
    let release = Arc::new(Notify::new());
    let waiting = Arc::clone(&release);
    let _worker = worker(&server)
        .function("waits", move |job| {
            let waiting = Arc::clone(&waiting);
            async move {
                job.progress(3, 7).await?;
                waiting.notified().await;
                Ok("")
            }
        })
        .start()
        .unwrap();
    until("the progress is known", async || {
        let status = client.status_by_unique("which").await.unwrap();
        status.running && (status.numerator, status.denominator) == (3, 7)
    })
    .await;
    release.notify_one();
    until("it is done", async || !client.status(&handle).await.unwrap().known).await;
}

async fn cancelling_and_timeouts(kind: Kind) {
    let server = server(kind);
    let client = client(&server).await;
    let lonely = client.submit(Job::new("served by nobody", "")).await.unwrap();
    let late = lonely.timeout(Some(Duration::from_millis(50))).wait().await;
    assert!(matches!(late, Err(ClientError::Timeout { .. })));
    let mut pending = client.submit(Job::new("reverse", "later")).await.unwrap();
    pending.handle().await.unwrap();
    // Cancelled again and again while it waits: nothing is lost.
    for _ in 0..20 {
        let waited = tokio::time::timeout(Duration::from_millis(1), pending.next_update()).await;
        assert!(waited.is_err());
    }
    drop(client.submit(Job::new("reverse", "dropped")).await.unwrap());
    let _worker = worker(&server)
        .function(
            "reverse",
            |job| async move { Ok(job.workload().iter().rev().copied().collect::<Vec<u8>>()) },
        )
        .start()
        .unwrap();
    assert_eq!(pending.wait().await.unwrap(), b"retal");
    drop(client);
    until("the client has left", async || {
        server.admin("workers").lines().filter(|line| line.ends_with(':')).count() == 1
    })
    .await;
}

async fn jobs_go_back(kind: Kind) {
    let server = server(kind);
    let attempts = Arc::new(AtomicU32::new(0));
    let (attempting, client) = (Arc::clone(&attempts), client(&server).await);
    let _worker = worker(&server)
        .concurrency(4)
        .function("third time", move |_| {
            let attempt = attempting.fetch_add(1, SeqCst);
            async move { if attempt < 2 { Err(JobError::Retry) } else { Ok(attempt.to_string()) } }
        })
        .function("other", |job| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(job.workload().to_vec())
        })
        .start()
        .unwrap();
    // What runs beside it is not disturbed.
    let others: Vec<_> = futures(3, |number| {
        let client = client.clone();
        async move { client.run(Job::new("other", number.to_string())).await }
    });
    assert_eq!(client.run(Job::new("third time", "")).await.unwrap(), b"2");
    for (number, other) in others.into_iter().enumerate() {
        assert_eq!(other.await.unwrap().unwrap(), number.to_string().into_bytes());
    }
}

fn futures<F: Future<Output: Send> + Send + 'static>(
    count: usize,
    make: impl Fn(usize) -> F,
) -> Vec<tokio::task::JoinHandle<F::Output>> {
    (0..count).map(|number| tokio::spawn(make(number))).collect()
}

async fn stops_after_what_runs(kind: Kind) {
    let server = server(kind);
    let (begin, mut begun) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let waiting = Arc::clone(&release);
    let stopping = worker(&server)
        .concurrency(2)
        .function("work", move |_| {
            let (begin, waiting) = (begin.clone(), Arc::clone(&waiting));
            async move {
                begin.send(())?;
                waiting.notified().await;
                Ok("first")
            }
        })
        .start()
        .unwrap();
    let client = client(&server).await;
    let jobs = futures(4, |_| {
        let client = client.clone();
        async move { client.run(Job::new("work", "")).await.unwrap() }
    });
    begun.recv().await.unwrap();
    begun.recv().await.unwrap();
    stopping.stop();
    let _second = worker(&server).function("work", |_| async { Ok("second") }).start().unwrap();
    release.notify_one();
    release.notify_one();
    stopping.join().await;
    let mut results = Vec::new();
    for job in jobs {
        results.push(job.await.unwrap());
    }
    results.sort();
    assert_eq!(results, [&b"first"[..], b"first", b"second", b"second"]);
    assert!(begun.recv().await.is_none());
}

async fn goes_on_with_the_next_server(kind: Kind) {
    let mut servers = [server(kind), server(kind)];
    let addresses: Vec<ServerAddress> = servers.iter().map(|server| server.address().into()).collect();
    let (tell, mut told) = mpsc::unbounded_channel();
    let _worker = AsyncWorker::builder(addresses.clone())
        .concurrency(10)
        .reconnect(Duration::from_millis(5), Duration::from_millis(50))
        .on_notice(move |notice| {
            if let Notice::Connected { server } = notice {
                // Nobody listens at the end.
                let _ = tell.send(server.clone());
            }
        })
        .function("slowly", |job| async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok(job.workload().to_vec())
        })
        .start()
        .unwrap();
    for _ in 0..2 {
        told.recv().await.unwrap();
    }
    for spread in [Spread::FirstThatAnswers, Spread::ByUnique] {
        let client = AsyncClient::builder(addresses.clone())
            .spread(spread)
            .on_loss(OnLoss::Resubmit(100))
            .patience(DEADLINE)
            .build_async()
            .unwrap();
        let jobs = futures(200, |number| {
            let client = client.clone();
            async move { client.run(Job::new("slowly", number.to_string()).unique(format!("{number}"))).await }
        });
        servers[0].kill();
        for (number, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.await.unwrap().unwrap(), number.to_string().into_bytes());
        }
        let port = servers[0].port();
        servers[0] = tokio::task::spawn_blocking(move || Server::start_on(kind, &[], port)).await.unwrap();
        assert_eq!(told.recv().await.unwrap(), addresses[0], "the worker is back");
    }
}

against_both! {
    ends;
    many_at_once;
    background_and_status;
    cancelling_and_timeouts;
    jobs_go_back;
    stops_after_what_runs;
    goes_on_with_the_next_server;
    nothing_arrives_in_one_piece;
}

/// Somebody who says this, whatever he is asked, and then nothing more.
async fn says(bytes: &'static [u8]) -> ServerAddress {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            stream.writable().await.unwrap();
            assert_eq!(stream.try_write(bytes).unwrap(), bytes.len());
            open.push(stream);
        }
    });
    address.into()
}

#[tokio::test]
async fn bad_servers_end_in_errors() {
    let impatient = Duration::from_millis(100);
    let end = async |bytes| {
        let client = AsyncClient::builder([says(bytes).await])
            .answer_timeout(impatient)
            .exceptions(false)
            .job_timeout(Some(10 * impatient))
            .on_loss(OnLoss::Resubmit(1));
        client.build_async().unwrap().run(Job::new("f", "x")).await.unwrap_err()
    };
    let lost = |error| match error {
        ClientError::Lost { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    assert!(matches!(lost(end(b"HTTP/1.1 400").await), LossReason::Protocol(ProtocolError::Text(_))));
    assert!(matches!(lost(end(b"\0RES\0\0\0\x63\0\0\0\0").await), LossReason::Protocol(_)));
    assert!(matches!(lost(end(b"\0RES\0\0").await), LossReason::Silent(_)));
    assert!(matches!(lost(end(b"").await), LossReason::Silent(_)));
    let created = b"\0RES\0\0\0\x08\0\0\0\x03H:1";
    assert!(matches!(end(created).await, ClientError::Timeout { .. }));
}

#[tokio::test]
async fn a_sleeping_worker_notices_that_its_server_has_fallen_silent() {
    let (tell, mut told) = mpsc::unbounded_channel();
    // No job; and then nothing, however often it is asked.
    let address = says(b"\0RES\0\0\0\x0a\0\0\0\0").await;
    let _worker = AsyncWorker::builder([address])
        .recheck(Duration::from_millis(20))
        .answer_timeout(Duration::from_millis(100))
        .on_notice(move |notice| {
            if let Notice::Lost { reason, .. } = notice {
                // Nobody listens at the end.
                let _ = tell.send(reason.clone());
            }
        })
        .function("f", |_| async { Ok("") })
        .start()
        .unwrap();
    // The answer may come before the question, which is an error of its own.
    while !matches!(told.recv().await.unwrap(), LossReason::Silent(_)) {}
}

#[tokio::test]
async fn a_worker_goes_on_beside_bad_servers() {
    let good = server(Kind::Gearshard);
    let (tell, mut told) = mpsc::unbounded_channel();
    let bad = [says(b"").await, says(b"nonsense").await, says(b"\0RES\0\0\0\x0b\0\0").await];
    let _worker = AsyncWorker::builder(bad.iter().cloned().chain([good.address().into()]))
        .answer_timeout(Duration::from_millis(300))
        .reconnect(Duration::from_millis(1), Duration::from_millis(50))
        .on_notice(move |notice| {
            if let Notice::Lost { server, .. } = notice {
                // Nobody listens at the end.
                let _ = tell.send(server.clone());
            }
        })
        .function("f", |job| async move { Ok(job.workload().to_vec()) })
        .start()
        .unwrap();
    let client = client(&good).await;
    let mut seen = std::collections::HashSet::new();
    while seen.len() < bad.len() {
        seen.insert(told.recv().await.unwrap());
        assert_eq!(client.run(Job::new("f", "well")).await.unwrap(), b"well");
    }
}
