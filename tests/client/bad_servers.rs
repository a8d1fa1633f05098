//! Servers that do wrong: every request ends with an error that says what, and
//! a worker goes on with its other servers.

use crate::{client, gearshard};
use gearshard::client::conversation::ProtocolError;
use gearshard::client::{Client, ClientBuilder, ClientError, Job, LossReason, Notice, OnLoss, Worker};
use gearshard::protocol::decode::{Frame, decode};
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub(crate) const SHORT: Duration = Duration::from_millis(150);

/// Somebody who is not a Gearman server. Its threads end with their connections.
pub(crate) fn somebody(behave: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let behave = std::sync::Arc::new(behave);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let behave = std::sync::Arc::clone(&behave);
            thread::spawn(move || behave(stream.unwrap()));
        }
    });
    address
}

/// Says the same whatever it is asked, and then nothing more.
pub(crate) fn says(bytes: Vec<u8>) -> SocketAddr {
    somebody(move |mut stream| {
        stream.write_all(&bytes).unwrap();
        wait_for_end(stream);
    })
}

fn wait_for_end(mut stream: TcpStream) {
    // However it ends.
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn response(command: Command, args: &[&[u8]], data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, Magic::Response, command, args, data);
    bytes
}

/// Impatient, and reporting every loss.
fn impatient(address: SocketAddr) -> ClientBuilder {
    Client::builder([address.into()])
        .exceptions(false)
        .on_loss(OnLoss::Report)
        .answer_timeout(SHORT)
        .job_timeout(Some(4 * SHORT))
}

fn end(address: SocketAddr) -> ClientError {
    impatient(address).build().unwrap().run(Job::new("f", "x")).unwrap_err()
}

fn protocol(error: &ClientError) -> &ProtocolError {
    match error {
        ClientError::Lost { reason: LossReason::Protocol(error), .. } => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_protocol_is_named() {
    let error = end(says(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    assert!(matches!(protocol(&error), ProtocolError::Text(_)));
    assert!(error.to_string().contains("HTTP/1.1 400"), "{error}");
}

#[test]
fn broken_packets_are_errors() {
    let unknown = [&b"\0RES"[..], &99u32.to_be_bytes(), &[0; 4]].concat();
    let huge = [&b"\0RES"[..], &8u32.to_be_bytes(), &u32::MAX.to_be_bytes()].concat();
    let long_handle = response(Command::JobCreated, &[&[b'h'; 200]], b"");
    for bytes in [unknown, huge, b"\0WAT".to_vec(), long_handle] {
        let error = end(says(bytes));
        let error = protocol(&error);
        assert!(matches!(error, ProtocolError::Decode(_) | ProtocolError::LongHandle(200)), "{error:?}");
    }
}

#[test]
fn answers_that_are_not_due_are_errors() {
    let wrong = [
        response(Command::EchoRes, &[], b"x"),
        response(Command::NoJob, &[], b""),
        response(Command::JobCreated, &[b"H:1"], b"").repeat(2),
        response(Command::StatusRes, &[b"H:1", b"1", b"1", b"1", b"1"], b""),
    ];
    for bytes in wrong {
        let error = end(says(bytes));
        assert!(matches!(protocol(&error), ProtocolError::Unexpected(_)), "{error}");
    }
}

#[test]
fn silence_ends_the_waiting() {
    let silent = |bytes: &[u8]| match end(says(bytes.to_vec())) {
        ClientError::Lost { reason: LossReason::Silent(after), .. } => assert_eq!(after, SHORT),
        other => panic!("{other:?}"),
    };
    silent(b"");
    silent(&response(Command::JobCreated, &[b"H:1"], b"")[..9]);
    let (created, other) =
        (response(Command::JobCreated, &[b"H:1"], b""), response(Command::WorkComplete, &[b"H:2"], b"x"));
    // It took the job, and reports the end of another.
    for bytes in [created.clone(), [created, other].concat()] {
        assert!(matches!(end(says(bytes)), ClientError::Timeout { .. }));
    }
}

#[test]
fn every_thread_hears_of_silence() {
    let client = impatient(says(Vec::new())).job_timeout(None).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                let error = client.run(Job::new("f", "x")).unwrap_err();
                assert!(matches!(error, ClientError::Lost { .. }), "{error}");
            });
        }
    });
    let mut batch = client.batch();
    for _ in 0..5 {
        batch.submit(Job::new("f", "x")).unwrap();
    }
    let results: Vec<_> = std::iter::from_fn(|| batch.next_result()).collect();
    assert_eq!(results.len(), 5);
    assert!(results.iter().all(|(_, result)| matches!(result, Err(ClientError::Lost { .. }))));
    assert!(matches!(client.echo("x"), Err(ClientError::Lost { .. })));
}

#[test]
fn a_closed_connection_is_an_error_and_is_not_tried_for_ever() {
    let closes = || somebody(drop);
    let error = end(closes());
    assert!(matches!(error, ClientError::Lost { reason: LossReason::Closed | LossReason::Io(_), .. }));
    for address in [closes(), says(b"garbage".to_vec())] {
        let stubborn = impatient(address).on_loss(OnLoss::Resubmit(4)).build().unwrap();
        let error = stubborn.run(Job::new("f", "x")).unwrap_err();
        assert!(matches!(error, ClientError::Lost { .. }), "{error:?}");
    }
}

#[test]
fn nobody_there_is_an_error_with_every_attempt() {
    let gone = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let servers = [gone().into(), gone().into()];
    let client = Client::builder(servers.clone()).build().unwrap();
    match client.run(Job::new("f", "x")).unwrap_err() {
        ClientError::NoServer { attempts } => {
            let tried: Vec<_> = attempts.into_iter().map(|(server, _)| server).collect();
            assert_eq!(tried, servers);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_that_does_not_read_is_given_up() {
    let (keep, kept) = mpsc::channel();
    let deaf = somebody(move |stream| keep.send(stream).unwrap());
    let client = impatient(deaf).build().unwrap();
    let error = client.run(Job::new("f", vec![0; 64 << 20])).unwrap_err();
    assert!(matches!(error, ClientError::Lost { reason: LossReason::Silent(_), .. }), "{error:?}");
    drop(kept);
}

#[test]
fn a_flood_is_cut_off() {
    let flood = somebody(|mut stream| {
        let created = response(Command::JobCreated, &[b"H:1"], b"");
        let data = response(Command::WorkData, &[b"H:1"], &[7; 1000]).repeat(100);
        let mut sent = stream.write_all(&created);
        while sent.is_ok() {
            sent = stream.write_all(&data);
        }
    });
    let client = impatient(flood).unread_bytes_max(1 << 20).build().unwrap();
    let gathered = client.run(Job::new("f", "x"));
    assert!(matches!(gathered, Err(ClientError::Unread { limit: 1_048_576 })), "{gathered:?}");
    // Read by somebody who waits for something else.
    let client = impatient(flood).unread_bytes_max(1 << 20).build().unwrap();
    let unread = client.submit(Job::new("f", "x")).unwrap();
    let echo = client.echo("never comes");
    assert!(matches!(echo, Err(ClientError::Lost { .. })), "{echo:?}");
    assert!(matches!(unread.wait(), Err(ClientError::Unread { .. })));
}

#[test]
fn an_error_that_answers_nothing_is_told() {
    let created = response(Command::JobCreated, &[b"H:1"], b"");
    let error = response(Command::Error, &[b"OUT_OF_ORDER", b"closed for today"], b"");
    let told = end(says([created, error].concat())).to_string();
    assert!(told.contains("OUT_OF_ORDER: closed for today"), "{told}");
}

/// A worker of a bad server and a good one.
fn works_beside(bad: SocketAddr) {
    let good = gearshard(2);
    let (tell, told) = mpsc::channel();
    let worker = Worker::builder([bad.into(), good.address().into()])
        .answer_timeout(2 * SHORT)
        .connect_timeout(SHORT)
        .reconnect(Duration::from_millis(1), SHORT)
        .function("f", |job| Ok(job.take_workload()))
        .on_notice(move |notice| {
            if let Notice::Lost { server, .. } = notice {
                // Nobody listens any more at the end.
                let _ = tell.send(server.clone());
            }
        })
        .start()
        .unwrap();
    let client = client(&good);
    for _ in 0..3 {
        assert_eq!(told.recv().unwrap(), bad.into());
        assert_eq!(client.run(Job::new("f", "well")).unwrap(), b"well");
    }
    worker.stop();
    worker.join();
}

/// Wakes nobody: the job goes to whoever asks again after having slept.
fn forgetful() -> SocketAddr {
    somebody(|mut stream| {
        let (mut received, mut chunk, mut slept) = (Vec::new(), [0; 4096], false);
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            received.extend_from_slice(&chunk[..count]);
            while let Some((Frame::Binary(packet), used)) = decode(&received, 1 << 20).unwrap() {
                slept |= packet.command == Command::PreSleep;
                let answer = match packet.command {
                    Command::GrabJobAll if slept => {
                        response(Command::JobAssignUniq, &[b"H:1", b"f", b""], b"forgotten")
                    }
                    Command::GrabJobAll => response(Command::NoJob, &[], b""),
                    _ => Vec::new(),
                };
                stream.write_all(&answer).unwrap();
                received.drain(..used);
            }
        }
    })
}

#[test]
fn a_worker_asks_again_though_nobody_wakes_it() {
    let (tell, told) = mpsc::channel();
    let worker = Worker::builder([forgetful().into()])
        .recheck(Duration::from_millis(20))
        .jobs_max(1)
        .function("f", move |job| {
            tell.send(job.take_workload())?;
            Ok("")
        })
        .start()
        .unwrap();
    assert_eq!(told.recv().unwrap(), b"forgotten");
    worker.join();
}

#[test]
fn a_worker_goes_on_beside_a_server_that_is_silent() {
    works_beside(says(Vec::new()));
}

#[test]
fn a_worker_goes_on_beside_a_server_that_closes() {
    works_beside(somebody(drop));
}

#[test]
fn a_worker_goes_on_beside_a_server_that_talks_nonsense() {
    works_beside(says(b"\0RESnonsense of some length".to_vec()));
    works_beside(says(response(Command::JobCreated, &[b"H:1"], b"")));
    // More jobs than were grabbed.
    works_beside(says(response(Command::JobAssignUniq, &[b"H:1", b"f", b""], b"").repeat(3)));
}

#[test]
fn a_worker_goes_on_beside_a_server_that_stops_in_the_middle() {
    works_beside(says(response(Command::JobAssignUniq, &[b"H:1", b"f", b""], b"x")[..19].to_vec()));
    works_beside(somebody(|mut stream| {
        // Half a packet, and the end.
        let _ = stream.read(&mut [0; 10]);
        let _ = stream.write_all(b"\0RES\0\0");
    }));
}
