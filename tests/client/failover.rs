//! Several servers: the first that answers, the next when it goes, or by unique.

use crate::support::{Server, wait_until};
use crate::{client, gearshard};
use gearshard::client::{Client, ClientError, Job, OnLoss, ServerAddress, Spread, Update, Worker};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

fn nobody() -> ServerAddress {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().into()
}

fn addresses(servers: &[Server]) -> Vec<ServerAddress> {
    servers.iter().map(|server| server.address().into()).collect()
}

fn registered(servers: &[Server], function: &str) {
    wait_until("the worker is at every server", || {
        servers.iter().all(|server| server.counts(function).2 == 1)
    });
}

fn either(start: impl Fn() -> Server) -> Vec<Server> {
    (0..2).map(|_| start()).collect()
}

#[test]
fn the_first_that_answers_gets_the_job() {
    let server = gearshard(1);
    let servers = [nobody(), server.address().into()];
    let _worker = Worker::builder(servers.clone()).function("f", |_| Ok("ran")).start().unwrap();
    let list: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let client = Client::connect(&list.join(",")).unwrap();
    assert_eq!(client.run(Job::new("f", "")).unwrap(), b"ran");
}

#[test]
fn ipv6_and_unix_sockets_work() {
    let dir = crate::support::process::TempDir::new();
    let path = format!("unix:{}/sock", dir.path().display());
    let server = Server::gearshard(&["--listen=127.0.0.1", "--listen=::1", &format!("--listen={path}")]);
    let over_ipv6 = format!("[::1]:{}", server.port());
    let _worker = Worker::builder_for(&path).unwrap().function("f", |_| Ok("ran")).start().unwrap();
    for address in [path.as_str(), &over_ipv6, &format!("localhost:{}", server.port())] {
        assert_eq!(Client::connect(address).unwrap().run(Job::new("f", "")).unwrap(), b"ran", "{address}");
    }
}

/// Two jobs are in flight when their server goes, one running and one waiting.
fn jobs_in_flight_move_on(start: impl Fn() -> Server) {
    let mut servers = either(start);
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let _worker = Worker::builder(addresses(&servers))
        .function("work", move |job| {
            begin.send(())?;
            job.data("part,")?;
            released.lock().unwrap().recv()?;
            Ok(job.take_workload())
        })
        .start()
        .unwrap();
    registered(&servers, "work");
    let client = Client::builder(addresses(&servers)).build().unwrap();
    let reporting = Client::builder(addresses(&servers)).on_loss(OnLoss::Report).build().unwrap();
    let mut running = client.submit(Job::new("work", "running")).unwrap();
    // Between two connections nobody promises an order.
    running.handle().unwrap();
    let waiting = client.submit(Job::new("work", "waiting")).unwrap();
    let mut told = reporting.submit(Job::new("work", "told")).unwrap();
    told.handle().unwrap();
    begun.recv().unwrap();
    while !matches!(running.next_update(), Some(Ok(Update::Data(_)))) {}
    servers[0].kill();
    release.send(()).unwrap();
    assert!(matches!(told.wait(), Err(ClientError::Lost { .. })));
    assert_eq!(running.next_update().unwrap().unwrap(), Update::Restarted);
    for _ in 0..2 {
        release.send(()).unwrap();
    }
    assert_eq!(waiting.wait().unwrap(), b"part,waiting");
    // What the first run sent is forgotten.
    assert_eq!(running.wait().unwrap(), b"part,running");
    assert_eq!(servers[1].counts("work").0, 0);
}

#[test]
fn jobs_in_flight_move_on_from_gearshard() {
    jobs_in_flight_move_on(|| gearshard(2));
}

#[test]
fn jobs_in_flight_move_on_from_gearmand() {
    jobs_in_flight_move_on(|| Server::gearmand(&[]));
}

#[test]
fn a_client_outlives_the_restart_of_its_only_server() {
    let mut server = gearshard(1);
    let client = Client::builder([server.address().into()])
        .on_loss(OnLoss::Report)
        .patience(Duration::from_secs(60))
        .build()
        .unwrap();
    let worker = |server: &Server| {
        Worker::builder([server.address().into()]).function("f", |_| Ok("ran")).start().unwrap()
    };
    let first = worker(&server);
    assert_eq!(client.run(Job::new("f", "")).unwrap(), b"ran");
    drop(first);
    server.stop();
    // What was not in flight is not lost: an idle connection that has ended is made anew.
    std::thread::sleep(Duration::from_millis(1100));
    server = Server::start_on(server.kind(), &[], server.port());
    let _second = worker(&server);
    assert_eq!(client.run(Job::new("f", "")).unwrap(), b"ran");
}

#[test]
fn uniques_decide_on_the_server_for_every_client() {
    let mut servers: Vec<Server> = (0..3).map(|_| gearshard(1)).collect();
    let mut backwards = addresses(&servers);
    backwards.reverse();
    let spread = |servers| Client::builder(servers).spread(Spread::ByUnique).build().unwrap();
    let (one, other) = (spread(addresses(&servers)), spread(backwards));
    for number in 0..60 {
        let job = || Job::new("f", "").unique(format!("u{number}"));
        let handles = [&one, &other].map(|client| client.submit_background(job()).unwrap());
        assert_eq!(handles[0], handles[1], "they coalesce");
        assert!(one.status_by_unique(format!("u{number}")).unwrap().known);
        assert!(other.status(&handles[0]).unwrap().known);
    }
    let counts: Vec<u64> = servers.iter().map(|server| server.counts("f").0).collect();
    assert!(counts.iter().sum::<u64>() == 60 && counts.iter().all(|&count| count > 5), "{counts:?}");
    let alike =
        |client: &Client| client.submit_background(Job::new("g", "same").unique_by_workload()).unwrap();
    assert_eq!(alike(&one), alike(&other));
    servers[0].kill();
    for number in 60..90 {
        one.submit_background(Job::new("f", "").unique(format!("u{number}"))).unwrap();
    }
    assert_eq!(servers[1..].iter().map(|server| server.counts("f").0).sum::<u64>(), 90 - counts[0]);
}

#[test]
fn a_batch_is_spread_over_servers() {
    let servers: Vec<Server> = (0..3).map(|_| gearshard(1)).collect();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let running = Arc::clone(&ran);
    let _worker = Worker::builder(addresses(&servers))
        .concurrency(2)
        .function("f", move |job| {
            running.lock().unwrap().push(job.handle().server().cloned());
            Ok(job.take_workload())
        })
        .start()
        .unwrap();
    let client = Client::builder(addresses(&servers)).spread(Spread::ByUnique).build().unwrap();
    let jobs = (0..300).map(|number| Job::new("f", number.to_string()).unique(number.to_string()));
    let mut count = 0;
    for (number, result) in client.run_all(jobs, 50) {
        assert_eq!(result.unwrap(), number.to_string().into_bytes());
        count += 1;
    }
    assert_eq!(count, 300);
    let ran = ran.lock().unwrap();
    for server in addresses(&servers) {
        assert!(ran.iter().filter(|at| at.as_ref() == Some(&server)).count() > 30);
    }
}

#[test]
fn a_job_is_served_wherever_it_is() {
    let servers = either(|| gearshard(1));
    let _worker = Worker::builder(addresses(&servers)).function("f", |_| Ok("ran")).start().unwrap();
    for _ in 0..50 {
        for server in &servers {
            assert_eq!(client(server).run(Job::new("f", "")).unwrap(), b"ran");
        }
    }
}
