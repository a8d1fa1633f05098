//! `gearman_top` and `check_gearman`, against both servers.

use std::process::Command;

use gearshard::client::{Admin, Worker};

use crate::play::{Side, Tool, command};
use crate::support::process::Finished;
use crate::support::server::free_port;
use crate::support::{Kind, Process, Server, wait_until};
use crate::terminal::Terminal;

const KINDS: [Kind; 2] = [Kind::Gearmand, Kind::Gearshard];

fn tool(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gearctl"));
    command.arg(name).args(args);
    command
}

fn check(args: &[&str]) -> (i32, String) {
    let ended = Process::run(tool("check_gearman", args), b"");
    (ended.status.code().unwrap(), ended.text())
}

fn submit(server: &Server, args: &[&str]) -> Finished {
    let mut command = command(Side::Debian, Tool::Gearman);
    command.args(["-h", "127.0.0.1", "-p", &server.port().to_string()]).args(args);
    Process::run(command, b"").success()
}

fn version(server: &Server) -> String {
    let mut connection = server.connect();
    connection.send_line("version");
    connection.poll_line(crate::support::DEADLINE).unwrap().strip_prefix("OK ").unwrap().to_owned()
}

fn worker(server: &Server, function: &str, answer: &'static str) -> Worker {
    let worker = Worker::builder_for(&server.address().to_string()).unwrap();
    let worker = worker
        .function(function, move |job| Ok(answer.replace('%', &String::from_utf8_lossy(job.workload()))));
    let worker = worker.start().unwrap();
    wait_until("the worker serves", || server.counts(function).2 >= 1);
    worker
}

fn make(server: &Server, function: &str) {
    let mut admin = Admin::connect(&server.address().into(), crate::support::DEADLINE).unwrap();
    admin.create_function(function).unwrap();
}

#[test]
fn check_gearman_watches_queues() {
    for kind in KINDS {
        let server = Server::start(kind, &[]);
        let (address, version) = (server.address().to_string(), version(&server));
        let (host, port) = address.split_once(':').unwrap();
        let quiet = format!("check_gearman OK - 0 jobs running and 0 jobs waiting. Version: {version}\n");
        assert_eq!(check(&["-H", &address]), (0, quiet.clone()));
        assert_eq!(check(&["-H", host, "-p", port]), (0, quiet));
        assert_eq!(
            check(&["-H", &address, "-q", "q"]),
            (1, "check_gearman WARNING - Queue q not found\n".into())
        );

        for unique in ["1", "2", "3"] {
            submit(&server, &["-f", "busy", "-b", "-u", unique, "x"]);
        }
        let data = "|'busy_waiting'=3;10;100;0 'busy_running'=0 'busy_worker'=0;25;50;0 \n";
        let expected = format!("check_gearman CRITICAL - Queue busy has 3 jobs without any worker. {data}");
        assert_eq!(check(&["-H", &address, "-q", "busy"]), (2, expected));
        // A worker that never comes to it: it holds one job.
        let mut holder = command(Side::Debian, Tool::Gearman);
        holder.args(["-h", host, "-p", port, "-w", "-f", "busy", "--", "sh", "-c", "exec sleep 600"]);
        let _holder = Process::start(holder, b"");
        wait_until("it holds one", || server.counts("busy") == (3, 1, 1));
        let data = |warning: u64, critical: u64| {
            format!("|'busy_waiting'=2;{warning};{critical};0 'busy_running'=1 'busy_worker'=1;25;50;0 \n")
        };
        for (limits, code, text) in [
            (
                ["-w", "10", "-c", "100"],
                0,
                format!("OK - 1 job running and 2 jobs waiting. Version: {version}"),
            ),
            (["-w", "2", "-c", "100"], 1, "WARNING - Queue busy has 2 waiting jobs. ".to_owned()),
            (["-w", "1", "-c", "2"], 2, "CRITICAL - Queue busy has 2 waiting jobs. ".to_owned()),
            (["-w", "0", "-c", "0"], 0, format!("OK - 1 job running and 2 jobs waiting. Version: {version}")),
        ] {
            let numbers = (limits[1].parse().unwrap(), limits[3].parse().unwrap());
            let args = [&["-H", &address, "-q", "busy"][..], &limits].concat();
            assert_eq!(check(&args), (code, format!("check_gearman {text}{}", data(numbers.0, numbers.1))));
        }
        let (code, text) = check(&["-H", &address, "-W", "1"]);
        assert!(code == 1 && text.contains("WARNING - Queue busy has 1 worker. |"), "{text}");
        let (code, text) = check(&["-H", &address, "-C", "1"]);
        assert!(code == 2 && text.contains("CRITICAL - Queue busy has 1 worker. |"), "{text}");
        make(&server, "idle");
        let (code, text) = check(&["-H", &address, "-q", "idle", "-x"]);
        assert!(code == 2 && text.contains("CRITICAL - Queue idle has no worker. |"), "{text}");
        assert_eq!(check(&["-H", &address, "-q", "idle"]).0, 0);
    }
}

#[test]
fn check_gearman_sends_a_job() {
    for kind in KINDS {
        let server = Server::start(kind, &[]);
        let address = server.address().to_string();
        let _echo = worker(&server, "echo", "got %");
        let _plugin = worker(&server, "plugin", "1:DISK WARNING - %");
        let send = |args: &[&str]| check(&[&["-H", &address, "-t", "50"], args].concat());
        assert_eq!(send(&["-q", "echo", "-s", "this"]), (0, "check_gearman OK - got this\n".into()));
        assert_eq!(
            send(&["-q", "echo", "-s", "this", "-e", "got t"]),
            (0, "check_gearman OK - send worker 'this' response: 'got this'\n".into())
        );
        assert_eq!(
            send(&["-q", "echo", "-s", "this", "-e", "that"]),
            (
                2,
                "check_gearman CRITICAL - send worker: 'this' response: 'got this', expected 'that'\n".into()
            )
        );
        assert_eq!(send(&["-q", "plugin", "-s", "full"]), (1, "DISK WARNING - full\n".into()));
        assert_eq!(
            send(&["-q", "nobody", "-s", "x", "-a", "-u", "mine"]),
            (0, "check_gearman OK - sending background job succeded\n".into())
        );
        assert_eq!(server.admin("show unique jobs"), "mine\n");
        let late = check(&["-H", &address, "-t", "1", "-q", "nobody at all", "-s", "x"]);
        assert_eq!(late, (2, format!("timeout while waiting for {address}\n")));
        let failing = Worker::builder_for(&address).unwrap();
        let failing = failing.function("fails", |_| Err::<Vec<u8>, _>(gearshard::client::JobError::Failed));
        let _failing = failing.start().unwrap();
        let (code, text) = send(&["-q", "fails", "-s", "x"]);
        assert!(code == 2 && text.starts_with("check_gearman CRITICAL - job failed: "), "{text}");
    }
}

#[test]
fn check_gearman_tells_what_is_wrong() {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let refused = format!("check_gearman CRITICAL - failed to connect to {address} - Connection refused\n");
    assert_eq!(check(&["-H", &address]), (2, refused));
    let (code, text) = check(&["-H", &address, "-q", "q", "-s", "x"]);
    assert!(code == 2 && text.starts_with("check_gearman CRITICAL - job failed: "), "{text}");
    for (args, text) in [
        (&[] as &[_], "Error - no hostname given\n\nusage: "),
        (&["-H", "localhost", "-s", "x"], "Error - need queue (-q) when sending job\n\nusage: "),
        (&["-z"], "Error - No such option: `z'\n\nusage: "),
        (&["-H"], "Error - No such option: `H'\n\nusage: "),
        (&["-H", "host:port"], "Error - \"host:port\" is not the address of a server"),
        (&["-h"], "usage: check_gearman "),
        (&["-V"], "check_gearman: version "),
    ] {
        let (code, said) = check(args);
        assert!(code == 3 && said.starts_with(text), "{args:?}: {said}");
    }
}

#[test]
fn gearman_top_lists_queues() {
    for kind in KINDS {
        let server = Server::start(kind, &[]);
        let address = server.address().to_string();
        submit(&server, &["-f", "waits", "-b", "x"]);
        let _worker = worker(&server, "served", "%");
        make(&server, "idle");
        let list = |args: &[&str]| {
            let args = [&["-b", "-H", &address][..], args].concat();
            Process::run(tool("gearman_top", &args), b"").success().text()
        };
        let (first, rest) = {
            let text = list(&[]);
            let (first, rest) = text.split_once('\n').unwrap();
            (first.to_owned(), rest.to_owned())
        };
        let (_time, after) = first.split_at("2000-01-01 00:00:00".len());
        assert_eq!(after, format!("  -  {address}  -  v{}", version(&server)));
        let rule = "-".repeat(63);
        let row = |name: &str, workers: u64, waiting: u64| {
            format!(" {name:12} |{workers:>16}  |{waiting:>12}  |           0 \n")
        };
        let head = format!("\n Queue Name   | Worker Available | Jobs Waiting | Jobs Running\n{rule}\n");
        let rows = [row("idle", 0, 0), row("served", 1, 0), row("waits", 0, 1)];
        assert_eq!(rest, format!("{head}{}{rule}\n", rows.concat()), "{kind:?}");
        let quiet = list(&["-q"]);
        assert!(!quiet.contains("idle") && quiet.contains("waits"), "{quiet}");
        // Not a terminal, so the same without -b; of two servers, one that is away.
        let away = format!("127.0.0.1:{}", free_port());
        let both = Process::run(tool("gearman_top", &["-H", &away, "-s", &address]), b"").success().text();
        assert!(
            both.contains(&format!("{away}\n\n failed to connect to {away} - Connection refused\n")),
            "{both}"
        );
        assert!(both.contains("served"), "{both}");
    }
}

#[test]
fn gearman_top_refreshes_until_it_is_told_to_stop() {
    let server = Server::gearshard(&[]);
    let address = server.address().to_string();
    for (function, end) in [("later", "q"), ("and later", "\x03"), ("last", "TERM")] {
        let command = tool("gearman_top", &["-H", &address, "-i", "0.05"]);
        let mut terminal = Terminal::start(&command, 80, 24);
        terminal.wait_for("table", |lines| lines[2].starts_with(" Queue Name   | Worker Available |"));
        submit(&server, &["-f", function, "-b", "x"]);
        let row = format!(" {function:12} |               0  |           1  |           0");
        terminal.wait_for("new row", |lines| lines.iter().any(|line| line.trim_end() == row));
        if end == "TERM" {
            terminal.signal(end)
        } else {
            terminal.press(end)
        }
        assert!(terminal.end().success());
    }
}
