//! The tests' own tools, tried against Debian's gearmand.

mod support;

use gearshard::protocol::packet::Command;
use support::{Peers, Process, Server};

#[test]
fn a_server_starts_answers_and_stops() {
    let mut server = Server::gearmand(&["--threads=2", "--verbose=INFO"]);
    let mut connection = server.connect();
    assert!(connection.ask("version").starts_with("OK 1.1.20"));
    connection.send(Command::EchoReq, &[], b"\0binary\xff");
    assert_eq!(connection.expect(Command::EchoRes).data, b"\0binary\xff");
    assert!(connection.settle().is_empty());
    assert!(server.rss_bytes() > 0 && server.process().open_files() > 3);
    assert!(server.log().contains("Listening on"), "{}", server.log());
    assert!(server.stop().success());
    connection.read_to_close();
}

#[test]
fn jobs_pass_between_raw_connections() {
    let server = Server::gearmand(&[]);
    let mut client = server.connect();
    let mut worker = server.connect();
    client.send(Command::SubmitJobBg, &[b"f", b"u"], b"load");
    let handle = client.expect(Command::JobCreated).args[0].clone();
    worker.send(Command::CanDo, &[b"f"], b"");
    worker.send(Command::GrabJob, &[], b"");
    let assigned = worker.expect(Command::JobAssign);
    assert_eq!((assigned.args, assigned.data), (vec![handle, b"f".to_vec()], b"load".to_vec()));
    assert_eq!(server.counts("f"), (1, 1, 1));
}

#[test]
fn every_peer_runs() {
    let peers = Peers::require();
    let mut php = peers.php();
    php.args(["-r", "print gearman_version();"]);
    assert_eq!(Process::run(php, b"").success().text(), "1.1.20+ds");
    let mut perl = peers.perl();
    perl.args(["-e", "use Gearman::Client; use Gearman::Worker; print 'loaded'"]);
    assert_eq!(Process::run(perl, b"").success().text(), "loaded");
    let mut python = peers.python();
    python.args(["-c", "import gear; print(gear.Client.__name__)"]);
    assert_eq!(Process::run(python, b"").success().text(), "Client\n");
}
