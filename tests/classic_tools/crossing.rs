//! Several servers, several workers, pid files, daemons, and the names that the binary answers to.

use std::process::Command;

use crate::play::{Helper, Place, Side, Tool, command, start};
use crate::support::process::TempDir;
use crate::support::{Kind, Process, Server, wait_until};

const SIDES: [Side; 2] = [Side::Debian, Side::Ours];
const KINDS: [Kind; 2] = [Kind::Gearmand, Kind::Gearshard];

fn place<'a>(server: &Server, dir: &'a TempDir) -> Place<'a> {
    Place { port: server.port(), dead: 0, dir: dir.path() }
}

#[test]
fn a_worker_serves_all_servers_of_the_environment() {
    for side in SIDES {
        let servers = KINDS.map(|kind| Server::start(kind, &[]));
        let list = servers.each_ref().map(|server| server.address().to_string()).join(",");
        let mut worker = command(side, Tool::Gearman);
        worker.env("GEARMAN_SERVER", &list).args(["-w", "-f", "cat", "cat"]);
        let _worker = Process::start(worker, b"");
        // Debian's asks a server only once it has nothing to do for the one before.
        for server in &servers {
            wait_until("it serves", || server.counts("cat").2 == 1);
        }
        for server in &servers {
            for client in SIDES {
                let mut client = command(client, Tool::Gearman);
                client.args(["-h", "127.0.0.1", "-p", &server.port().to_string(), "-f", "cat", "x"]);
                assert_eq!(
                    Process::run(client, b"").success().text(),
                    "x",
                    "{side:?} at {:?}",
                    server.kind()
                );
            }
        }
    }
}

#[test]
fn many_jobs_and_several_workers_of_both_kinds() {
    for kind in KINDS {
        let server = Server::start(kind, &[]);
        let dir = TempDir::new();
        let double =
            Helper { functions: &["double"], args: &["--", "sh", "-c", "echo $(($(cat) * 2))"], ends: false };
        let _workers: Vec<_> = [Side::Debian, Side::Ours, Side::Ours, Side::Debian]
            .iter()
            .map(|&side| start(&server, &place(&server, &dir), side, &double))
            .collect();
        let numbers: String = (0..60).map(|number| format!("{number}\n")).collect();
        let doubled: String = (0..60).map(|number| format!("{}\n", number * 2)).collect();
        let clients: Vec<_> = [Side::Ours, Side::Debian, Side::Ours]
            .iter()
            .map(|&side| {
                let mut client = command(side, Tool::Gearman);
                place(&server, &dir).add(&mut client, &["SERVER", "-f", "double", "-N"]);
                Process::start(client, numbers.as_bytes())
            })
            .collect();
        for client in clients {
            assert_eq!(client.finish().success().text(), doubled);
        }
    }
}

#[test]
fn a_pid_file_is_there_while_the_worker_is() {
    for side in SIDES {
        let server = Server::gearshard(&[]);
        let dir = TempDir::new();
        let file = dir.path().join("pid");
        std::fs::write(&file, "an old one\n").unwrap();
        let helper = Helper { functions: &["cat"], args: &["-c", "1", "-i", "{dir}/pid", "cat"], ends: true };
        let worker = start(&server, &place(&server, &dir), side, &helper);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{}\n", worker.pid()), "{side:?}");
        let mut client = command(Side::Ours, Tool::Gearman);
        place(&server, &dir).add(&mut client, &["SERVER", "-f", "cat", "x"]);
        assert_eq!(Process::run(client, b"").success().text(), "x");
        worker.finish().success();
        assert!(!file.exists(), "{side:?}");
    }
}

#[test]
fn a_daemon_goes_on_without_its_terminal() {
    for side in SIDES {
        let server = Server::gearshard(&[]);
        let dir = TempDir::new();
        let mut worker = command(side, Tool::Gearman);
        let args =
            ["SERVER", "-d", "-i", "{dir}/pid", "-w", "-f", "where", "-c", "1", "--", "sh", "-c", "pwd; cat"];
        place(&server, &dir).add(&mut worker, &args);
        let started = Process::run(worker, b"not for the daemon");
        assert_eq!((started.status.code(), started.text(), &*started.stderr), (Some(0), String::new(), ""));
        wait_until("the daemon serves", || server.counts("where").2 == 1);
        let pid: u32 = std::fs::read_to_string(dir.path().join("pid")).unwrap().trim().parse().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let session = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned();
        assert_eq!(session, pid.to_string(), "it leads a session of its own");
        let mut client = command(Side::Ours, Tool::Gearman);
        place(&server, &dir).add(&mut client, &["SERVER", "-f", "where", "x"]);
        let said = Process::run(client, b"").success().text();
        assert!(said.ends_with("\nx") && !said.starts_with("/\n"), "it stays where it was: {said}");
        wait_until("the daemon has ended", || !dir.path().join("pid").exists());
    }
}

#[test]
fn the_binary_answers_to_each_name() {
    let dir = TempDir::new();
    let binary = env!("CARGO_BIN_EXE_gearctl");
    for (name, args, code, output) in [
        ("gearman", &[] as &[_], 1, "Error in usage(No Functions were provided)."),
        ("gearadmin", &["--help"], 0, "Options:\n  --help "),
        ("gearman_top", &["-h"], 0, "usage: gearman_top "),
        ("check_gearman", &["-h"], 3, "usage: check_gearman "),
    ] {
        let link = dir.path().join(name);
        std::os::unix::fs::symlink(binary, &link).unwrap();
        let mut by_argument = Command::new(binary);
        by_argument.arg(name);
        for mut command in [Command::new(&link), by_argument] {
            command.args(args);
            let ended = Process::run(command, b"");
            let text = ended.text() + &ended.stderr;
            assert!(ended.status.code() == Some(code) && text.contains(output), "{name}: {text}");
        }
    }
}
