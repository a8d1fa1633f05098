//! The real server on a disk that fails or runs full.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command as Packet, Magic};

use crate::support::process::TempDir;
use crate::support::server::is_root;
use crate::support::{Connection, DEADLINE, Peers, Server, long_mode, wait_until};
use crate::{durable, log_args};

/// A server whose system calls strace makes fail as `inject` says.
fn failing(dir: &Path, inject: &str, more: &[&str]) -> Result<Server, String> {
    let mut strace = Peers::require().command(Peers::require().path("usr/bin/strace"));
    // The tracer is no parent of the server, which so keeps its process id.
    strace.args(["-D", "-f", "-qq", "-o", "/dev/null", "-E", "LD_LIBRARY_PATH", "-e"]);
    strace.arg(format!("inject={inject}"));
    let mut args = log_args(dir, 1).to_vec();
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    Server::gearshard_under(strace, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Submits one job; whether it was acknowledged, `None` when the server is gone.
fn submit(connection: &mut Connection, number: u64) -> Option<bool> {
    let mut bytes = Vec::new();
    let unique = format!("u{number}");
    let workload = [&number.to_le_bytes()[..], &[7; 2000]].concat();
    let args: [&[u8]; 2] = [b"keep", unique.as_bytes()];
    encode(&mut bytes, Magic::Request, Packet::SubmitJobBg, &args, &workload);
    connection.try_send_bytes(&bytes).ok()?;
    let reply = connection.poll_packet(DEADLINE)?;
    Some(reply.command == Packet::JobCreated)
}

/// Uniques of the jobs that a server has.
fn uniques(server: &Server) -> Vec<String> {
    server.admin("show unique jobs").lines().map(str::to_owned).collect()
}

#[test]
fn a_failing_system_call_ends_the_server_and_loses_nothing_that_was_acknowledged() {
    let points: &[u64] =
        if long_mode() { &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 80, 160] } else { &[1, 2, 5, 30] };
    // fsync is for directories only: there are few.
    for (call, error, points) in
        [("fdatasync", "EIO", points), ("pwrite64", "EIO", points), ("fsync", "EIO", &[1])]
    {
        for &when in points {
            let dir = TempDir::new();
            let mut first = durable(dir.path(), 1);
            let mut connection = first.connect();
            assert_eq!(submit(&mut connection, 0), Some(true));
            first.stop();
            let mut acknowledged = vec![0];
            let inject = format!("{call}:error={error}:when={when}+");
            // It may come to the failing call before it serves anybody.
            if let Ok(mut server) = failing(dir.path(), &inject, &[]) {
                let mut connection = server.connect();
                for number in 1..400 {
                    match submit(&mut connection, number) {
                        Some(true) => acknowledged.push(number),
                        Some(false) => {}
                        None => break,
                    }
                }
                assert!(acknowledged.len() < 400, "{inject} was never met");
                assert_eq!(server.process().wait(DEADLINE).code(), Some(1), "{inject}");
            }
            let server = durable(dir.path(), 1);
            let found = uniques(&server);
            for number in acknowledged {
                assert!(found.contains(&format!("u{number}")), "{call} {error} {when}: job {number} is lost");
            }
        }
    }
}

#[test]
fn where_it_is_told_to_the_server_goes_on_without_a_disk_that_failed() {
    let dir = TempDir::new();
    let mut server = failing(dir.path(), "fdatasync:error=EIO:when=8+", &["--wal-failure=refuse"]).unwrap();
    let mut connection = server.connect();
    let acknowledged: Vec<u64> =
        (0..100).filter(|&number| submit(&mut connection, number).unwrap()).collect();
    assert!(!acknowledged.is_empty() && acknowledged.len() < 90, "{}", acknowledged.len());
    assert_eq!(submit(&mut connection, 1000), Some(false), "it takes no more");
    // What it has is worked off, and foreground jobs go on.
    foreground_job(&server);
    assert_eq!(server.stop().code(), Some(1), "the failure is told in the end");
    let found = uniques(&durable(dir.path(), 1));
    assert!(acknowledged.iter().all(|number| found.contains(&format!("u{number}"))));
}

fn foreground_job(server: &Server) {
    let (mut client, mut worker) = (server.connect(), server.connect());
    worker.send(Packet::CanDo, &[b"now"], b"");
    client.send(Packet::SubmitJob, &[b"now", b""], b"work");
    let handle = client.expect(Packet::JobCreated).text(0);
    worker.send(Packet::GrabJob, &[], b"");
    worker.expect(Packet::JobAssign);
    worker.send(Packet::WorkComplete, &[handle.as_bytes()], b"done");
    client.expect(Packet::WorkComplete);
}

#[test]
fn a_full_file_system_refuses_background_jobs_and_goes_on_when_there_is_space() {
    let dir = TempDir::new();
    let log = dir.path().join("log");
    std::fs::create_dir(&log).unwrap();
    // A file system of its own for the server, which ends with it.
    let mut unshare = Command::new("unshare");
    let user = if is_root() { "-m" } else { "-rm" };
    let mount = format!("mount -t tmpfs -o size=24m none '{}' && exec \"$@\"", log.display());
    unshare.args([user, "--", "sh", "-c", &mount, "sh"]);
    let mut server =
        Server::gearshard_under(unshare, &log_args(&log, 1).each_ref().map(String::as_str)).unwrap();
    // Its files, as it sees them.
    let inside =
        Path::new("/proc").join(server.pid().to_string()).join("root").join(log.strip_prefix("/").unwrap());
    let filler = inside.join("filler");
    std::fs::write(&filler, vec![1; 8 << 20]).unwrap();
    let mut connection = server.connect();
    for cycle in 0..3 {
        let mut kept = 0;
        while submit(&mut connection, cycle * 100_000 + kept).unwrap() {
            kept += 1;
            assert!(kept < 50_000, "the disk does not run full");
        }
        foreground_job(&server);
        assert_eq!(submit(&mut connection, cycle * 100_000 + kept), Some(false), "still full");
        std::fs::remove_file(&filler).unwrap();
        let freed = Instant::now();
        wait_until("jobs are taken again", || submit(&mut connection, cycle * 100_000 + kept).unwrap());
        eprintln!(
            "{kept} jobs until the disk was full; taken again {:?} after there was space",
            freed.elapsed()
        );
        drain(&server);
        std::fs::write(&filler, vec![1; 8 << 20]).unwrap();
    }
    assert!(server.process().exit_status().is_none());
}

fn drain(server: &Server) {
    let mut worker = server.connect();
    worker.send(Packet::CanDo, &[b"keep"], b"");
    while server.counts("keep").0 > 0 {
        for _ in 0..100 {
            worker.send(Packet::GrabJob, &[], b"");
        }
        for _ in 0..100 {
            let reply = worker.read_packet();
            if reply.command == Packet::JobAssign {
                worker.send(Packet::WorkComplete, &[reply.text(0).as_bytes()], b"");
            }
        }
    }
}
