//! What is not copied, and why: where the original crashes, hangs, or loses data.
//!
//! | the original, 1.1.20 | ours | why |
//! |---|---|---|
//! | a worker whose command cannot be started goes on twice, as two processes on one connection, and completes the job with nothing | the job fails, standard error says why | results are lost and made up |
//! | a worker writes all of the workload before it reads: with more than two pipes hold, both wait for ever | input and output flow at once | a hang |
//! | a command that is killed by a signal has done its job | the job fails | half a result passes for a whole one |
//! | `-N` cuts the last byte of a line without an end | the line is whole | data is lost |
//! | `-n` and `-N` cut a line at a NUL, and split it after 8191 bytes (1023 of a command's output) | the line is whole | data is lost |
//! | a progress of 0 of 0 ends the client with a signal, large numerators overflow | 0%, and the right number | a crash |
//! | an exception of a worker hangs the client of a gearmand | `Job failed` | a hang |
//! | what is no packet hangs a client | an error | a hang |
//! | one of several servers is away: the job runs elsewhere, and often its result is thrown away | the result | data is lost |
//! | a name without an address in `GEARMAN_SERVERS` aborts | the message for `-h` | a crash |
//! | standard input that cannot be read aborts | an error, exit code 1 | a crash |
//! | a worker without a server tries to connect as fast as it can, a line on standard error each time | twice a second | a busy loop that fills disks |
//! | `gearadmin` takes what has come when nothing comes for 5 ms | the whole list | data is lost |
//! | an empty name at the head of `GEARMAN_SERVER` is localhost, which is away as often as not | passed over | as above |
//! | `gearadmin` waits for ever for a server that says nothing | a minute | a hang |
//! | `-S` talks TLS | refused, exit code 1 | there is no TLS here yet; nothing goes out unsealed |
//!
//! Where the original comes to an end, the tests below hold it against ours.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use gearshard::client::{JobError, Worker};

use crate::play::{Helper, Input, Place, Side, Tool, command, start};
use crate::support::process::{Finished, TempDir};
use crate::support::server::free_port;
use crate::support::{Kind, Process, Server, wait_until};

const KINDS: [Kind; 2] = [Kind::Gearmand, Kind::Gearshard];

/// A server with what a test needs of it.
struct Scene {
    server: Server,
    dir: TempDir,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        Self { server: Server::start(kind, &[]), dir: TempDir::new() }
    }

    fn place(&self) -> Place<'_> {
        Place { port: self.server.port(), dead: free_port(), dir: self.dir.path() }
    }

    fn worker(
        &self,
        side: Side,
        function: &'static [&'static str],
        args: &'static [&'static str],
    ) -> Process {
        start(&self.server, &self.place(), side, &Helper { functions: function, args, ends: false })
    }

    fn gearman(&self, side: Side, args: &[&str], input: &[u8]) -> Finished {
        let mut command = command(side, Tool::Gearman);
        self.place().add(&mut command, &["SERVER"]);
        self.place().add(&mut command, args);
        Process::run(command, input)
    }
}

fn result(finished: &Finished) -> (Option<i32>, String, &str) {
    (finished.status.code(), finished.text(), &finished.stderr)
}

#[test]
fn a_command_that_cannot_be_started_fails_the_job() {
    for kind in KINDS {
        let scene = Scene::new(kind);
        for (function, args) in
            [(&["missing"], &["--", "/no/such/command"] as &[_]), (&["directory"], &["/tmp"])]
        {
            let worker = scene.worker(Side::Ours, function, args);
            for _ in 0..2 {
                let failed = scene.gearman(Side::Ours, &["-f", function[0], "x"], b"");
                assert_eq!(result(&failed), (Some(1), String::new(), "Job failed\n"));
            }
            wait_until("the worker has told why", || worker.stderr().matches("cannot run").count() == 2);
            assert_eq!(scene.server.counts(function[0]), (0, 0, 1), "it serves on");
        }
    }
}

#[test]
fn large_workloads_flow_through_commands() {
    const BYTES: usize = 64 << 20;
    let workload = Input::Binary(BYTES).bytes();
    for kind in KINDS {
        let scene = Scene::new(kind);
        let _cat = scene.worker(Side::Ours, &["cat"], &["cat"]);
        let _count = scene.worker(Side::Ours, &["count"], &["--", "wc", "-c"]);
        let _none = scene.worker(Side::Ours, &["none"], &["true"]);
        let _early = scene.worker(Side::Ours, &["early"], &["--", "head", "-c", "3"]);
        let same = scene.gearman(Side::Ours, &["-f", "cat"], &workload).success();
        assert!(same.stdout == workload, "{kind:?}: {} bytes came back", same.stdout.len());
        let count = scene.gearman(Side::Ours, &["-f", "count"], &workload).success();
        assert_eq!(count.text(), format!("{BYTES}\n"));
        assert_eq!(scene.gearman(Side::Ours, &["-f", "none"], &workload).success().text(), "");
        assert_eq!(scene.gearman(Side::Ours, &["-f", "early"], &workload).success().stdout, workload[..3]);
    }
}

#[test]
fn a_command_that_is_killed_fails_the_job() {
    for kind in KINDS {
        let scene = Scene::new(kind);
        for (side, function, expected) in [
            (Side::Debian, &["theirs"], (Some(0), "half\n".to_owned(), "")),
            (Side::Ours, &["ours"], (Some(1), "half\n".to_owned(), "Job failed\n")),
        ] {
            let _worker = scene.worker(side, function, &["--", "sh", "-c", "echo half; kill -9 $$"]);
            let ended = scene.gearman(side, &["-f", function[0], "x"], b"");
            assert_eq!(result(&ended), expected, "{kind:?} {side:?}");
        }
    }
}

#[test]
fn lines_are_whole() {
    let long = [&[b'x'; 9000][..], b"\n"].concat();
    for kind in KINDS {
        let scene = Scene::new(kind);
        let _worker = scene.worker(Side::Ours, &["show"], &["--", "sh", "-c", "cat; printf '|'"]);
        for (option, input, theirs, ours) in [
            ("-N", &b"a\nbc"[..], &b"a|b|"[..], &b"a|bc|"[..]),
            ("-n", b"a\0b\nc\n", b"a|c\n|", b"a\0b\n|c\n|"),
            (
                "-N",
                &long,
                &[&[b'x'; 8190][..], b"|", &[b'x'; 809], b"|"].concat(),
                &[&long[..9000], b"|"].concat(),
            ),
        ] {
            let original = scene.gearman(Side::Debian, &["-f", "show", option], input).success();
            assert_eq!(original.stdout.escape_ascii().to_string(), theirs.escape_ascii().to_string());
            let seen = scene.gearman(Side::Ours, &["-f", "show", option], input).success();
            assert_eq!(seen.stdout.escape_ascii().to_string(), ours.escape_ascii().to_string());
        }
    }
}

#[test]
fn lines_of_a_command_are_whole() {
    for kind in KINDS {
        let scene = Scene::new(kind);
        let _theirs = scene.worker(Side::Debian, &["theirs"], &["-N", "cat"]);
        let _ours = scene.worker(Side::Ours, &["ours"], &["-N", "cat"]);
        let seen = |function: &str, input: &[u8]| {
            scene.gearman(Side::Ours, &["-f", function, "-P"], input).success().text().replace(function, "F")
        };
        assert_eq!(seen("theirs", b"a\nbc"), "F: aF: a\nbF: ");
        assert_eq!(seen("ours", b"a\nbc"), "F: aF: a\nbcF: ");
        let long = "x".repeat(3000);
        assert_eq!(seen("theirs", format!("{long}\n").as_bytes()).matches("F: ").count(), 4);
        assert_eq!(seen("ours", format!("{long}\n").as_bytes()), format!("F: {long}F: "));
        assert_eq!(seen("ours", b"a\0b\n"), "F: a\0bF: ");
    }
}

#[test]
fn progress_is_told_whatever_it_is() {
    for kind in KINDS {
        let scene = Scene::new(kind);
        let serve = |function: &str, of: u32, all: u32| {
            let worker = Worker::builder_for(&scene.server.address().to_string()).unwrap();
            let worker = worker.function(function, move |job| {
                job.progress(of, all)?;
                Ok(Vec::new())
            });
            let worker = worker.start().unwrap();
            wait_until("the worker serves", || scene.server.counts(function).2 == 1);
            worker
        };
        let _nothing = serve("nothing", 0, 0);
        let original = scene.gearman(Side::Debian, &["-f", "nothing", "x"], b"");
        assert_eq!(original.status.signal(), Some(8), "the original divides by zero");
        let ours = scene.gearman(Side::Ours, &["-f", "nothing", "x"], b"");
        assert_eq!(result(&ours), (Some(0), "0% Complete\n".to_owned(), ""));

        let _much = serve("much", 50_000_000, 100_000_000);
        assert_eq!(scene.gearman(Side::Debian, &["-f", "much", "x"], b"").success().text(), "7% Complete\n");
        assert_eq!(scene.gearman(Side::Ours, &["-f", "much", "x"], b"").success().text(), "50% Complete\n");
    }
}

#[test]
fn an_exception_is_a_failure() {
    for kind in KINDS {
        let scene = Scene::new(kind);
        let worker = Worker::builder_for(&scene.server.address().to_string()).unwrap();
        let worker = worker.function("throw", |_| Err::<Vec<u8>, _>(JobError::Exception(b"why".to_vec())));
        let _worker = worker.start().unwrap();
        let ended = scene.gearman(Side::Ours, &["-f", "throw", "x"], b"");
        assert_eq!(result(&ended), (Some(1), String::new(), "Job failed\n"), "{kind:?}");
    }
}

#[test]
fn a_server_that_is_away_is_passed_over() {
    for kind in KINDS {
        let scene = Scene::new(kind);
        let _worker = scene.worker(Side::Ours, &["cat"], &["cat"]);
        let (here, away) = (scene.server.address(), format!("127.0.0.1:{}", free_port()));
        let here = here.to_string();
        for (name, list) in [
            ("GEARMAN_SERVER", format!("{away},{here}")),
            ("GEARMAN_SERVER", format!("{here},{away}")),
            ("GEARMAN_SERVERS", here.clone()),
        ] {
            let mut client = command(Side::Ours, Tool::Gearman);
            let port = away.rsplit(':').next().unwrap();
            client.env(name, list).args(["-h", "127.0.0.1", "-p", port, "-f", "cat", "x"]);
            assert_eq!(result(&Process::run(client, b"")), (Some(0), "x".to_owned(), ""));
        }
    }
}

#[test]
fn a_bad_name_in_the_environment_is_told() {
    let run = |side| {
        let mut command = command(side, Tool::Gearman);
        command.env("GEARMAN_SERVERS", "no.such.host.invalid:1").args(["-f", "f", "x"]);
        Process::run(command, b"")
    };
    assert_eq!(run(Side::Debian).status.signal(), Some(6), "the original aborts");
    let ours = run(Side::Ours);
    let words = "gearman: gearman_client_add_server : no.such.host.invalid:1 getaddrinfo:";
    assert!(ours.status.success() && ours.stderr.starts_with(words), "{}", ours.stderr);
}

#[test]
fn input_that_cannot_be_read_is_told() {
    let run = |side| {
        let mut command = command(side, Tool::Gearman);
        // Nothing is connected to before the input has been read.
        command.args(["-f", "f"]).stdin(std::fs::File::open("/").unwrap());
        command.output().unwrap()
    };
    assert_eq!(run(Side::Debian).status.signal(), Some(6), "the original aborts");
    let ours = run(Side::Ours);
    let text = String::from_utf8_lossy(&ours.stderr);
    assert_eq!(ours.status.code(), Some(1));
    assert!(text.starts_with("gearman: cannot read standard input: Is a directory"), "{text}");
}

// Answers whatever comes with `bytes`, one connection after the other.
fn answering(bytes: &'static [&'static [u8]]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Whoever asks may leave at any time.
            let _ = stream.read(&mut [0; 4096]);
            for part in bytes {
                let _ = stream.write_all(part);
                thread::sleep(Duration::from_millis(50));
            }
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    port
}

#[test]
fn garbage_is_an_error() {
    let port = answering(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]).to_string();
    let run = |args: &[&str]| {
        let mut command = command(Side::Ours, Tool::Gearman);
        command.args(["-h", "127.0.0.1", "-p", &port]).args(args);
        Process::run(command, b"")
    };
    for args in [&["-f", "f", "x"] as &[_], &["-w", "-f", "f", "-c", "2", "cat"]] {
        let ended = run(args);
        assert!(ended.stderr.contains("(GEARMAN_INVALID_MAGIC) invalid magic value"), "{}", ended.stderr);
    }
}

#[test]
fn a_list_that_comes_in_parts_is_whole() {
    let run = |port: u16, option: &str| {
        let mut command = command(Side::Ours, Tool::Gearadmin);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), option]);
        Process::run(command, b"")
    };
    let port = answering(&[b"a\t1", b"\t2\t3\n", b"b\t0\t0\t0\n.\n"]);
    assert_eq!(run(port, "--status").success().text(), "a\t1\t2\t3\nb\t0\t0\t0\n.\n");
    let port = answering(&[b"O", b"K 7\n"]);
    assert_eq!(run(port, "--getpid").success().text(), "7\n");
    let refused = run(answering(&[b"ERR UNKNOWN_COMMAND Unknown+server+command\r\n"]), "--priority-status");
    assert_eq!(
        result(&refused),
        (Some(0), String::new(), "Error: UNKNOWN_COMMAND Unknown+server+command\r\n")
    );
}

#[test]
fn a_worker_waits_for_its_server() {
    for kind in KINDS {
        let port = free_port();
        let mut worker = command(Side::Ours, Tool::Gearman);
        worker.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-w", "-f", "cat", "cat"]);
        let began = Instant::now();
        let worker = Process::start(worker, b"");
        wait_until("it has tried", || worker.stderr().lines().count() >= 2);
        let mut server = Server::start_on(kind, &[], port);
        wait_until("it serves", || server.counts("cat").2 == 1);
        let tried = worker.stderr().lines().count();
        let most = began.elapsed().as_millis() / 500 + 1;
        assert!(tried as u128 <= most, "{tried} attempts in {:?}", began.elapsed());
        assert!(server.stop().success());
        let server = Server::start_on(kind, &[], port);
        wait_until("it serves again", || server.counts("cat").2 == 1);
        let mut client = command(Side::Ours, Tool::Gearman);
        client.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-f", "cat", "x"]);
        assert_eq!(Process::run(client, b"").success().text(), "x");
    }
}

#[test]
fn nothing_goes_out_unsealed() {
    let scene = Scene::new(Kind::Gearshard);
    for args in [&["-S", "-f", "f", "-b", "x"] as &[_], &["-S", "-w", "-f", "f", "-c", "1", "cat"]] {
        let refused = scene.gearman(Side::Ours, args, b"");
        assert_eq!(refused.status.code(), Some(1));
        assert!(refused.stderr.contains("TLS (-S) is not supported"), "{}", refused.stderr);
    }
    let mut admin = command(Side::Ours, Tool::Gearadmin);
    scene.place().add(&mut admin, &["SERVER", "-S", "--status"]);
    let refused = Process::run(admin, b"");
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("TLS (-S) is not supported"), "{}", refused.stderr);
    assert_eq!(scene.server.admin("status"), "");
}
