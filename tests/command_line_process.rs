//! The server as a process: how it starts, what it leaves on disk while it
//! runs, how signals end it, and what is gone afterwards. What gearmand does
//! too is asked of Debian's gearmand in the same test.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gearshard::protocol::packet::Command as Packet;
use support::process::{Process, TempDir};
use support::server::{free_port, is_root};
use support::{Connection, Kind, Peers, Server, wait_until};

const BOTH: [Kind; 2] = [Kind::Gearshard, Kind::Gearmand];

/// Our binary with an empty environment.
fn gearshard(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gearshard"));
    command.env_clear().args(args);
    command
}

/// A server with an empty environment.
fn command(kind: Kind, args: &[&str]) -> Command {
    match kind {
        Kind::Gearshard => gearshard(args),
        Kind::Gearmand => {
            let mut command = Command::new(Peers::require().path("usr/sbin/gearmand"));
            command.env_clear().env("LD_LIBRARY_PATH", Peers::require().library_path()).args(args);
            command
        }
    }
}

/// What a server on this port of 127.0.0.1 says its process id is.
fn answering_pid(port: u16) -> Option<u32> {
    let mut connection = Connection::try_open(([127, 0, 0, 1], port).into()).ok()?;
    connection.try_send_bytes(b"getpid\n").ok()?;
    connection.poll_line(support::DEADLINE)?.strip_prefix("OK ")?.parse().ok()
}

fn pid_in(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Submits a background job and returns its handle.
fn submit(connection: &mut Connection, function: &str) -> String {
    connection.send(Packet::SubmitJobBg, &[function.as_bytes(), b""], b"work");
    connection.expect(Packet::JobCreated).text(0)
}

/// Takes the job that waits and completes it.
fn work(connection: &mut Connection) -> String {
    connection.send(Packet::GrabJob, &[], b"");
    let handle = connection.expect(Packet::JobAssign).text(0);
    connection.send(Packet::WorkComplete, &[handle.as_bytes()], b"done");
    handle
}

/// A background process that does not outlive its test.
struct Daemon(u32);

impl Daemon {
    fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.0);
        assert!(Command::new("/bin/sh").arg("-c").arg(kill).status().unwrap().success());
    }

    /// Whether the process is there and has not ended.
    fn runs(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.runs() {
            self.signal("KILL");
        }
    }
}

#[test]
fn the_pid_file_lives_as_long_as_the_server() {
    for kind in BOTH {
        let mut server = Server::start(kind, &[]);
        let path = server.dir().join("server.pid");
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", server.pid()));
        // This mode, less what the umask takes away.
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777 & !0o744, 0);
        assert!(server.stop().success());
        assert!(!path.exists(), "{kind:?}");
    }
}

#[test]
fn a_pid_file_that_cannot_be_written_ends_the_start() {
    let command =
        gearshard(&["--pid-file=/nonexistent/x.pid", "--listen=127.0.0.1", "--port=0", "--log-file=none"]);
    let finished = Process::run(command, b"");
    assert_eq!(finished.status.code(), Some(1));
    let message = "Could not open pid file for writing: /nonexistent/x.pid (No such file or directory)\n";
    assert!(finished.stderr.ends_with(message), "{}", finished.stderr);
}

#[test]
fn term_and_int_stop_a_busy_server_with_0() {
    for (kind, signal) in BOTH.into_iter().flat_map(|kind| [(kind, "TERM"), (kind, "INT")]) {
        let mut server = Server::start(kind, &[]);
        let (mut client, mut worker) = (server.connect(), server.connect());
        worker.send(Packet::CanDo, &[b"f"], b"");
        submit(&mut client, "f");
        client.send(Packet::SubmitJob, &[b"f", b""], b"");
        client.expect(Packet::JobCreated);
        worker.send(Packet::GrabJob, &[], b"");
        worker.expect(Packet::JobAssign);
        let path = server.dir().join("server.pid");
        server.process().signal(signal);
        assert_eq!(server.process().wait(support::DEADLINE).code(), Some(0), "{kind:?} {signal}");
        assert!(!path.exists(), "{kind:?} {signal}");
        assert_eq!(
            client.poll_packet(support::DEADLINE),
            None,
            "{kind:?} {signal}: the connection is closed"
        );
        // The port is free at once.
        drop(Server::start_on(kind, &[], server.port()));
    }
}

#[test]
fn a_signal_ends_a_server_that_waits_for_its_port() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = format!("--port={}", taken.local_addr().unwrap().port());
    let command = gearshard(&["--listen=127.0.0.1", &port, "--pid-file=x.pid", "--log-file=none"]);
    let mut process = Process::start(command, b"");
    let path = process.dir().join("x.pid");
    wait_until("the pid file appears", || pid_in(&path) == Some(process.pid()));
    process.signal("TERM");
    // A port in use would be 1.
    assert_eq!(process.wait(support::DEADLINE).code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn usr1_lets_those_who_are_there_finish_what_is_queued() {
    for kind in BOTH {
        let mut server = Server::start(kind, &[]);
        let (mut client, mut worker) = (server.connect(), server.connect());
        let handle = submit(&mut client, "f");
        server.process().signal("USR1");
        wait_until("the listeners close", || Connection::try_open(server.address()).is_err());
        assert!(server.process().exit_status().is_none(), "a job is left");
        worker.send(Packet::CanDo, &[b"f"], b"");
        assert_eq!(work(&mut worker), handle);
        if kind == Kind::Gearmand {
            // It notices that the last job is gone when somebody says something.
            wait_until("gearmand ends", || {
                let _closed = worker.try_send_bytes(b"version\n");
                server.process().exit_status().is_some()
            });
        }
        assert_eq!(server.process().wait(support::DEADLINE).code(), Some(0));
        assert!(!server.dir().join("server.pid").exists());
    }
}

#[test]
fn usr1_and_usr2_end_an_idle_server() {
    for signal in ["USR1", "USR2"] {
        let mut server = Server::gearshard(&[]);
        let mut idle = server.connect();
        idle.settle();
        server.process().signal(signal);
        assert_eq!(server.process().wait(support::DEADLINE).code(), Some(0), "{signal}");
    }
}

#[test]
fn usr2_refuses_submits_and_takes_new_workers_until_the_queue_is_empty() {
    let mut server = Server::gearshard(&[]);
    let mut client = server.connect();
    let handles = [submit(&mut client, "f"), submit(&mut client, "f")];
    server.process().signal("USR2");
    wait_until("submits are refused", || {
        // An answer either way; what was taken joins the job that is there.
        client.send(Packet::SubmitJobBg, &[b"g", b"same"], b"");
        client.read_packet().command == Packet::Error
    });
    let left_from_waiting = server.counts("g").0;
    let mut late_client = server.connect();
    late_client.send(Packet::SubmitJob, &[b"f", b""], b"");
    let refusal = late_client.expect(Packet::Error);
    assert!(!refusal.text(0).is_empty(), "{refusal:?}");
    let mut late_worker = server.connect();
    late_worker.send(Packet::CanDo, &[b"f"], b"");
    assert_eq!([work(&mut late_worker), work(&mut late_worker)], handles);
    if left_from_waiting > 0 {
        late_worker.send(Packet::CanDo, &[b"g"], b"");
        work(&mut late_worker);
    }
    assert_eq!(server.process().wait(support::DEADLINE).code(), Some(0));
}

#[test]
fn term_ends_a_server_that_drains() {
    for signal in ["USR1", "USR2"] {
        let mut server = Server::gearshard(&["--verbose=NOTICE"]);
        submit(&mut server.connect(), "f");
        server.process().signal(signal);
        let wait_for = if signal == "USR1" { "Closing listening socket" } else { "Draining" };
        if signal == "USR2" {
            wait_until(wait_for, || server.log().contains(wait_for));
        } else {
            wait_until(wait_for, || Connection::try_open(server.address()).is_err());
        }
        assert!(server.process().exit_status().is_none(), "a job is left");
        assert_eq!(server.stop().code(), Some(0), "{signal}");
    }
}

#[test]
fn hup_opens_the_log_again_and_leaves_connections_alone() {
    for kind in BOTH {
        let mut server = Server::start(kind, &["--verbose=INFO"]);
        let (log, rotated) = (server.dir().join("server.log"), server.dir().join("server.log.1"));
        let mut connection = server.connect();
        connection.settle();
        fs::rename(&log, &rotated).unwrap();
        server.process().signal("HUP");
        wait_until("the log file is there again", || log.exists());
        let mut another = server.connect();
        another.settle();
        wait_until("the new log is written", || {
            fs::read_to_string(&log).unwrap().contains("Accepted connection from 127.0.0.1")
        });
        assert!(fs::read_to_string(&rotated).unwrap().contains(" NOTICE "), "the old file says why it ends");
        assert!(!fs::read_to_string(&log).unwrap().contains("SIGHUP"));
        connection.settle();
        assert!(server.stop().success());
    }
}

#[test]
fn the_log_has_gearmands_lines_and_levels() {
    let mut server = Server::gearshard(&["--verbose=INFO", "--threads=2"]);
    let expected = format!("Starting up with pid {}, verbose is set to INFO", server.pid());
    server.stop();
    let text = fs::read_to_string(server.dir().join("server.log")).unwrap();
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains(&format!("Listening on 127.0.0.1:{} (", server.port())), "{text}");
    assert!(text.contains("shards     2"), "{text}");
    assert!(text.ends_with("Shutdown complete\n"), "{text}");
    for line in text.lines() {
        let (head, rest) = line.split_at(35);
        let shape: String = head.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let level = shape[..7].trim_start().to_owned();
        assert!(["INFO", "NOTICE", "WARNING"].contains(&level.as_str()), "{line}");
        assert_eq!(&shape[7..], " 0000-00-00 00:00:00.000000 ", "{line}");
        assert!(rest.starts_with("[ ") && &rest[7..10] == " ] ", "{line}");
    }

    let mut quiet = Server::gearshard(&[]);
    quiet.stop();
    assert_eq!(fs::read_to_string(quiet.dir().join("server.log")).unwrap(), "", "ERROR is the default");
    assert_eq!(quiet.process().stderr(), "", "there is nobody at a terminal");
}

#[test]
fn a_log_that_cannot_be_opened_goes_to_stderr() {
    for kind in BOTH {
        let mut server = Server::start(kind, &["--log-file=/nonexistent/x.log", "--verbose=INFO"]);
        server.stop();
        let stderr = server.process().stderr();
        let first = stderr.lines().next().unwrap();
        let program = command(kind, &[]).get_program().to_owned();
        let binary = program.to_string_lossy();
        let dir = server.dir().canonicalize().unwrap();
        let expected = format!(
            "{binary}: Could not open log file \"/nonexistent/x.log\", from \"{}\", switching to stderr. (No such file \
         or directory)",
            dir.display()
        );
        assert_eq!(first, expected);
        assert!(stderr.contains("] Listening on 127.0.0.1:"), "{stderr}");
    }
}

#[test]
fn the_banner_says_what_was_started() {
    let mut server =
        Server::gearshard(&["--log-file=stderr", "--threads=3", "--max-memory=1G", "--redis-port=1"]);
    server.stop();
    let stderr = server.process().stderr();
    let address = format!("listening  127.0.0.1:{}", server.port());
    let pid = format!("gearshard {}, pid {}", env!("CARGO_PKG_VERSION"), server.pid());
    let facts =
        [&pid, &address, "shards     3", "queue      memory", "memory 1G", "stderr, ERROR and graver"];
    for fact in facts {
        assert!(stderr.contains(fact), "{fact} is not in\n{stderr}");
    }
    assert!(stderr.contains("--redis-port has no effect without --queue-type=redis"), "{stderr}");
}

#[test]
fn a_socket_in_use_ends_the_start_and_says_so() {
    let dir = TempDir::new();
    let path = dir.path().join("g.sock");
    let listen = format!("--listen=unix:{}", path.display());
    let mut server = Server::gearshard(&[&listen, "--listen=127.0.0.1"]);
    assert_eq!(Connection::open_unix(&path).ask("getpid"), format!("OK {}", server.pid()));
    let finished = Process::run(gearshard(&[&listen, "--pid-file=x.pid", "--log-file=none"]), b"");
    assert_eq!(finished.status.code(), Some(1));
    assert!(finished.stderr.contains(&path.display().to_string()), "{}", finished.stderr);
    assert!(server.stop().success());
    assert!(!path.exists(), "the socket goes with its server");
}

#[test]
fn the_environment_gives_the_port_where_it_is_the_default() {
    for kind in BOTH {
        let cases: [(&[&str], bool); 3] = [(&[], true), (&["--port=4730"], true), (&["--port="], false)];
        for (args, taken) in cases {
            let (wanted, other) = (free_port(), free_port());
            let args: Vec<String> = args
                .iter()
                .map(|arg| if *arg == "--port=" { format!("--port={other}") } else { (*arg).to_owned() })
                .collect();
            let mut command = command(kind, &["--listen=127.0.0.1", "--pid-file=x.pid", "--log-file=none"]);
            command.args(&args).env("GEARMAND_PORT", wanted.to_string());
            let process = Process::start(command, b"");
            let port = if taken { wanted } else { other };
            wait_until("the server answers", || answering_pid(port) == Some(process.pid()));
        }
    }
}

#[test]
fn a_config_file_gives_what_the_command_line_does_not() {
    for kind in BOTH {
        let (file_port, line_port) = (free_port(), free_port());
        let dir = TempDir::new();
        let text = format!("# where\n--port {file_port} --listen=127.0.0.1\n--log-file=none\nkey=value\n");
        fs::write(dir.path().join("g.conf"), text).unwrap();
        let process =
            Process::start_in(dir, command(kind, &["--config-file=g.conf", "--pid-file=x.pid"]), b"");
        wait_until("the server answers", || answering_pid(file_port) == Some(process.pid()));

        let config = format!("--config-file={}", process.dir().join("g.conf").display());
        let port = format!("--port={line_port}");
        let another = Process::start(command(kind, &[&config, &port, "--pid-file=x.pid"]), b"");
        wait_until("the server answers", || answering_pid(line_port) == Some(another.pid()));
    }
}

#[test]
fn a_daemon_is_ready_when_its_parent_ends() {
    for kind in BOTH {
        let dir = TempDir::new();
        let port = free_port();
        let port_argument = format!("--port={port}");
        let args = [
            "-d",
            "--listen=127.0.0.1",
            &port_argument,
            "--pid-file=d.pid",
            "--log-file=d.log",
            "--verbose=INFO",
        ];
        let mut parent = Process::start_in(dir, command(kind, &args), b"");
        assert_eq!(parent.wait(support::DEADLINE).code(), Some(0), "{}", parent.stderr());
        let path = parent.dir().join("d.pid");
        let daemon = Daemon(pid_in(&path).expect("the pid file is there"));
        assert_ne!(daemon.0, parent.pid());
        assert_eq!(answering_pid(port), Some(daemon.0), "it listens");
        for stream in 0..3 {
            let target = fs::read_link(format!("/proc/{}/fd/{stream}", daemon.0)).unwrap();
            assert_eq!(target, PathBuf::from("/dev/null"));
        }
        let cwd = fs::read_link(format!("/proc/{}/cwd", daemon.0)).unwrap();
        assert_eq!(cwd, parent.dir().canonicalize().unwrap(), "as gearmand, it stays where it is");
        let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.0)).unwrap();
        let session = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().to_owned();
        assert_eq!(session, daemon.0.to_string(), "it leads a session of its own");
        // Relative paths still work after a rotation.
        let log = parent.dir().join("d.log");
        fs::remove_file(&log).unwrap();
        daemon.signal("HUP");
        wait_until("the log file is there again", || log.exists());
        daemon.signal("TERM");
        wait_until("the daemon ends", || !daemon.runs());
        assert!(!path.exists());
        assert_eq!(parent.stdout(), "");
        assert_eq!(parent.stderr(), "");
    }
}

#[test]
fn a_daemon_that_cannot_start_says_why_and_its_parent_ends_with_1() {
    let taken = TempDir::new();
    let listen = format!("--listen=unix:{}", taken.path().join("no such directory/s").display());
    let finished =
        Process::run(gearshard(&["--daemon", &listen, "--pid-file=d.pid", "--log-file=d.log"]), b"");
    assert_eq!(finished.status.code(), Some(1));
    assert!(finished.stderr.contains("no such directory"), "{}", finished.stderr);
}

#[test]
fn only_root_switches_users_and_then_for_good() {
    // Where "nobody" may read and write.
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let binary = dir.path().join("gearshard");
    let args = ["--user=nobody", "--listen=127.0.0.1", "--log-file=u.log", "--pid-file=u.pid"];
    if !is_root() {
        let finished = Process::run(gearshard(&args), b"");
        assert_eq!(finished.status.code(), Some(1));
        assert!(finished.stderr.ends_with(": Must be root to switch users.\n"), "{}", finished.stderr);
        return;
    }
    // Not by this process: a child of another test might hold the copy open for writing
    // while it is started ("Text file busy").
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_gearshard")).arg(&binary).status().unwrap();
    assert!(copied.success());
    let mut command = Command::new(&binary);
    command.env_clear().args(args).uid(65_534).current_dir(dir.path());
    let finished = Process::run(command, b"");
    assert_eq!(finished.status.code(), Some(1));
    assert!(finished.stderr.ends_with(": Must be root to switch users.\n"), "{}", finished.stderr);

    let port = free_port();
    let mut command = Command::new(&binary);
    command.env_clear().args(args).arg(format!("--port={port}")).current_dir(dir.path());
    let mut process = Process::start(command, b"");
    wait_until("the server answers", || answering_pid(port) == Some(process.pid()));
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Uid:"), "65534\t65534\t65534\t65534");
    assert_eq!(field("Gid:"), "65534\t65534\t65534\t65534");
    assert_eq!(field("Groups:"), "");
    process.signal("TERM");
    assert_eq!(process.wait(support::DEADLINE).code(), Some(0));
    assert!(!dir.path().join("u.pid").exists());
}

#[test]
fn under_the_name_of_gearmand_it_is_the_same() {
    let dir = TempDir::new();
    let link = dir.path().join("gearmand");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gearshard"), &link).unwrap();
    let mut command = Command::new(&link);
    command.env_clear().arg("--foo");
    let finished = Process::run(command, b"");
    assert_eq!(finished.status.code(), Some(1));
    assert_eq!(finished.stderr, format!("{}: unrecognised option '--foo'\n", link.display()));

    let port = free_port();
    let mut command = Command::new(&link);
    command
        .env_clear()
        .args(["--listen=127.0.0.1", "--log-file=none", "--pid-file=x.pid", "-p"])
        .arg(port.to_string());
    let process = Process::start(command, b"");
    wait_until("the server answers", || answering_pid(port) == Some(process.pid()));
}

#[test]
fn options_reach_the_server() {
    let server = Server::gearshard(&[
        "--job-handle-prefix=farm",
        "--max-packet-size=2K",
        "--exceptions",
        "--verbose=WARNING",
        "--functions-per-worker=2",
        "--job-retries=1",
        "--file-descriptors=512",
    ]);
    let mut client = server.connect();
    assert_eq!(client.ask("verbose"), "OK WARNING");
    client.send(Packet::SubmitJob, &[b"f", b""], b"");
    let handle = client.expect(Packet::JobCreated).text(0);
    assert!(handle.starts_with("farm:"), "{handle}");

    let mut worker = server.connect();
    worker.send(Packet::CanDo, &[b"f"], b"");
    worker.send(Packet::GrabJob, &[], b"");
    worker.expect(Packet::JobAssign);
    worker.send(Packet::WorkException, &[handle.as_bytes()], b"why");
    client.expect(Packet::WorkException);

    // One attempt in all: the job is not handed out again when its worker is lost.
    client.send(Packet::SubmitJob, &[b"f", b""], b"");
    client.expect(Packet::JobCreated);
    worker.send(Packet::GrabJob, &[], b"");
    worker.expect(Packet::JobAssign);
    drop(worker);
    client.expect(Packet::WorkFail);

    let mut large = server.connect();
    large.send(Packet::EchoReq, &[], &[b'x'; 2048]);
    assert_eq!(large.expect(Packet::EchoRes).data.len(), 2048);
    large.send(Packet::EchoReq, &[], &[b'x'; 2049]);
    assert!(large.poll_packet(support::DEADLINE).is_none_or(|reply| reply.command == Packet::Error));

    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("512"));
}

#[test]
fn a_trial_sees_one_job_through_and_the_server_goes_on() {
    let mut server = Server::gearshard(&["--try"]);
    let process = server.process();
    wait_until("the trial is over", || process.stderr().contains("goes on serving"));
    let stderr = process.stderr();
    assert!(stderr.contains("\"!dlroW olleH\""), "{stderr}");
    wait_until("nothing is left of it", || server.counts("reverse") == (0, 0, 0));
    assert!(server.stop().success());
}
