//! The load generator's check of what survives: against a server with a store, which
//! loses nothing; against one without, which loses what it must; and against one whose
//! store is changed between its lives, where every change is noticed.
//!
//! Servers with a store are ours with its log, and Debian's gearmand with SQLite. That acknowledges some tens of
//! jobs a second, so there are few; and every job has a unique and a payload, since those
//! without are what it loses by itself. Nothing here is judged by the clock.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::loadgen::loadgen;
use support::process::{Finished, TempDir};
use support::server::{free_port, is_root};
use support::{Peers, Process, wait_until};

const IN_MEMORY: &str = env!("CARGO_BIN_EXE_gearshard");

/// Few in flight, so that clients and workers of a slow server take turns.
const CALM: [&str; 4] = ["--clients=4", "--inflight=4", "--workers=6", "--grabs=2"];

/// gearmand with a store in its working directory, for a command line.
fn gearmand() -> String {
    let peers = Peers::require();
    format!(
        "LD_LIBRARY_PATH={} {} -q libsqlite3 --libsqlite3-db=queue.db",
        peers.library_path().to_str().unwrap(),
        peers.path("usr/sbin/gearmand").display()
    )
}

fn durable(options: &[&str]) -> Command {
    let mut command = Command::new(loadgen());
    command.args(["durable", "--json", "--warmup=0"]).args(options);
    command
}

/// A run that has ended.
struct Run {
    what: String,
    code: Option<i32>,
    report: Value,
}

impl Run {
    fn of(options: &[&str]) -> Self {
        Self::ended(&format!("{options:?}"), &Process::run(durable(options), b""))
    }

    fn ended(what: &str, run: &Finished) -> Self {
        let what = format!("{what}: {}\n{}{}", run.status, run.text(), run.stderr);
        let report = serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {what}"));
        Self { code: run.status.code(), report, what }
    }

    #[track_caller]
    fn assert_passed(self) -> Self {
        assert_eq!((self.code, self.faults()), (Some(0), Vec::new()), "{}", self.what);
        assert!(self.report["aborted"].is_null(), "{}", self.what);
        self
    }

    #[track_caller]
    fn assert_failed(self) -> Self {
        assert_eq!(self.code, Some(1), "{}", self.what);
        self
    }

    /// What went wrong, and how often.
    fn faults(&self) -> Vec<(&str, u64)> {
        let faults = self.report["faults"].as_object().unwrap();
        let counted = faults.iter().map(|(name, count)| (name.as_str(), count.as_u64().unwrap()));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    #[track_caller]
    fn figure(&self, name: &str) -> u64 {
        let figures = self.report["figures"].as_array().unwrap();
        let found = figures.iter().find(|figure| figure["name"] == name);
        let value = found.unwrap_or_else(|| panic!("no {name}: {}", self.what))["value"].as_f64().unwrap();
        assert!(value >= 0.0 && value.fract() == 0.0, "{name} is {value}");
        value as u64
    }

    fn acknowledged(&self) -> u64 {
        self.figure("acknowledged")
    }

    /// Jobs of a phase; none if it did not come to that.
    fn jobs(&self, phase: &str) -> u64 {
        let phases = self.report["phases"].as_array().unwrap();
        phases.iter().find(|found| found["name"] == phase).map_or(0, |phase| phase["jobs"].as_u64().unwrap())
    }
}

#[test]
fn a_store_loses_nothing_however_often_its_server_is_killed() {
    let start = gearmand();
    for work in ["turns", "always", "last"] {
        let work = format!("--work={work}");
        let options = [&["--start", &start, "--cycles=3", "--count=60", &work], &CALM[..]].concat();
        let run = Run::of(&options).assert_passed();
        assert!(run.acknowledged() >= 60 && run.jobs("submit") >= 60, "{}", run.what);
        // Once more at the end.
        assert_eq!(run.figure("killed"), 4, "{}", run.what);
        if work == "--work=last" {
            assert_eq!(run.jobs("drain"), run.acknowledged(), "{}", run.what);
        }
    }
}

#[test]
fn a_log_loses_nothing_either_and_takes_many_more() {
    let start = format!("{IN_MEMORY} --queue-type=wal --wal-dir=log --threads=2");
    for work in ["turns", "always"] {
        let work = format!("--work={work}");
        let run = Run::of(&["--start", &start, "--cycles=5", "--count=20k", "--unsynced=2000", &work])
            .assert_passed();
        assert!(run.acknowledged() >= 20_000, "{}", run.what);
    }
}

#[test]
fn kills_may_come_by_the_clock() {
    let start = gearmand();
    let options = [&["--start", &start, "--cycles=2", "--duration=0.6"], &CALM[..]].concat();
    let run = Run::of(&options).assert_passed();
    assert!(run.acknowledged() > 0 && run.figure("killed") == 3, "{}", run.what);
}

#[test]
fn a_server_without_a_store_loses_what_has_not_run() {
    let start = format!("{IN_MEMORY} -t 2");
    let options = ["--start", &start, "--cycles=2", "--count=400", "--patience=3"];
    let run = Run::of(&[&options[..], &["--work=last"]].concat()).assert_failed();
    assert!(run.acknowledged() >= 400, "{}", run.what);
    assert_eq!(run.faults(), [("lost", run.acknowledged())], "{}", run.what);
    let aborted = run.report["aborted"].as_str().unwrap();
    assert!(aborted.contains(&format!("{} acknowledged jobs did not run", run.acknowledged())), "{aborted}");

    // Those of the first life at least, since nobody worked in it.
    let run = Run::of(&[&options[..], &["--work=turns"]].concat()).assert_failed();
    let [("lost", lost)] = run.faults()[..] else { panic!("{}", run.what) };
    assert!(0 < lost && lost <= run.acknowledged(), "{}", run.what);
}

#[test]
fn without_kills_it_measures_how_fast_jobs_are_acknowledged() {
    let server = support::Server::gearshard(&["-t", "2"]);
    let address = format!("--server={}", server.address());
    let pid = format!("--server-pid={}", server.pid());
    let run = Run::of(&[&address, &pid, "--count=3000"]).assert_passed();
    assert_eq!(
        (run.jobs("submit"), run.jobs("drain"), run.acknowledged()),
        (3000, 3000, 3000),
        "{}",
        run.what
    );
    assert!(run.report["phases"][0]["latency"]["p50_us"].as_f64().unwrap() > 0.0, "{}", run.what);
    let run = Run::of(&[&address, "--count=3000", "--work=always", "--threads=2"]).assert_passed();
    assert_eq!((run.jobs("submit"), run.acknowledged()), (3000, 3000), "{}", run.what);
}

#[test]
fn the_path_of_a_server_may_begin_here() {
    let dir = TempDir::new();
    std::os::unix::fs::symlink(IN_MEMORY, dir.path().join("gearshard")).unwrap();
    let mut command = durable(&["--start=./gearshard -t 1", "--cycles=0", "--count=100"]);
    command.current_dir(dir.path());
    let run = Run::ended("./gearshard", &Process::run(command, b"")).assert_passed();
    assert_eq!(run.acknowledged(), 100, "{}", run.what);
}

#[test]
fn stores_are_compared() {
    let mut command = Command::new(loadgen());
    command.args(["compare", "--json", "--repeats=1", "--server", &format!("none={IN_MEMORY} -t 1")]);
    command.args(["--server", &format!("sqlite={}", gearmand())]);
    command.args(["--require=none.submit.jobs_per_second > 0", "--require=sqlite.drain.jobs_per_second > 0"]);
    command.args(["--", "durable", "--count=60", "--warmup=0"]).args(CALM);
    let compared: Value = serde_json::from_slice(&Process::run(command, b"").success().stdout).unwrap();
    for server in compared["servers"].as_array().unwrap() {
        assert_eq!(server["reports"][0]["phases"][0]["jobs"], 60, "{server}");
    }
}

/// gearmand whose store is changed by these programs, in Python, before it starts for the
/// second and for the third time; `db` is the open store.
fn tampering(dir: &Path, second: &str, third: &str) -> String {
    let mut script = "import os, sqlite3\n\
         start = int(open('starts').read()) + 1 if os.path.exists('starts') else 1\n\
         open('starts', 'w').write(str(start))\n\
         db = sqlite3.connect('queue.db')\n"
        .to_owned();
    for (start, program) in [(2, second), (3, third)] {
        writeln!(script, "if start == {start}:").unwrap();
        program.lines().for_each(|line| writeln!(script, "    {line}").unwrap());
    }
    script.push_str("db.commit()\n");
    let path = dir.join("tamper.py");
    std::fs::write(&path, script).unwrap();
    let peers = Peers::require();
    let python = peers.python();
    let environment = python.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let environment: String =
        environment.map(|(name, value)| format!("{}={} ", name.display(), value.display())).collect();
    let user = if is_root() { "--user=root" } else { "" };
    format!(
        "sh -c '{environment}{} {} && {environment}exec {} -q libsqlite3 --libsqlite3-db=queue.db \
         --listen=127.0.0.1 --port={{port}} --log-file=stderr --pid-file=server.pid {user}'",
        python.get_program().display(),
        path.display(),
        peers.path("usr/sbin/gearmand").display()
    )
}

/// All jobs wait in the store before the second start, and have run before the third;
/// one worker runs them.
fn tampered_with(second: &str, third: &str) -> Run {
    let dir = TempDir::new();
    let start = tampering(dir.path(), second, third);
    let kept = dir.path().join("server");
    let options = ["--start", &start, "--dir", kept.to_str().unwrap(), "--cycles=1", "--count=24"];
    let few = ["--work=last", "--workers=1", "--clients=4", "--inflight=4", "--patience=5"];
    let run = Run::of(&[&options[..], &few].concat());
    // It has been kept.
    assert!(kept.join("queue.db").exists(), "{}", run.what);
    assert!(run.acknowledged() >= 24, "{}", run.what);
    run
}

/// One row of a job that was acknowledged: the first.
const ONE: &str = "rowid = (SELECT min(rowid) FROM gearman_queue)";

#[test]
fn a_store_that_nobody_changes_passes_this_way_too() {
    tampered_with("pass", "pass").assert_passed();
}

#[test]
fn a_job_that_is_gone_from_the_store_is_noticed() {
    let run = tampered_with(&format!("db.execute('DELETE FROM gearman_queue WHERE {ONE}')"), "pass")
        .assert_failed();
    assert_eq!(run.faults(), [("lost", 1)], "{}", run.what);
}

#[test]
fn a_payload_that_another_byte_is_in_is_noticed() {
    let program = format!(
        "row, data = db.execute('SELECT rowid, CAST(data AS BLOB) FROM gearman_queue WHERE {ONE}').fetchone()\n\
         changed = bytes([data[0] ^ 1]) + data[1:]\n\
         db.execute('UPDATE gearman_queue SET data = ? WHERE rowid = ?', (changed, row))"
    );
    let run = tampered_with(&program, "pass").assert_failed();
    assert_eq!(run.faults(), [("damaged", 1)], "{}", run.what);
}

#[test]
fn a_job_that_goes_to_another_function_is_noticed() {
    let program = format!(
        "row, name = db.execute('SELECT rowid, function_name FROM gearman_queue WHERE {ONE}').fetchone()\n\
         other = 'loadgen-000001' if name != 'loadgen-000001' else 'loadgen-000002'\n\
         db.execute('UPDATE gearman_queue SET function_name = ? WHERE rowid = ?', (other, row))"
    );
    let run = tampered_with(&program, "pass").assert_failed();
    // It may also come out of order among the jobs of the other function.
    let faults = run.faults();
    assert!(faults.contains(&("damaged", 1)), "{}", run.what);
    assert!(faults.iter().all(|(name, _)| ["damaged", "reordered"].contains(name)), "{}", run.what);
}

#[test]
fn a_job_with_another_unique_is_noticed() {
    let program = format!("db.execute('UPDATE gearman_queue SET unique_key = ? WHERE {ONE}', ('other',))");
    let run = tampered_with(&program, "pass").assert_failed();
    assert_eq!(run.faults(), [("damaged", 1)], "{}", run.what);
}

#[test]
fn priorities_that_change_places_are_noticed() {
    let run = tampered_with("db.execute('UPDATE gearman_queue SET priority = 2 - priority')", "pass")
        .assert_failed();
    let [("reordered", times)] = run.faults()[..] else { panic!("{}", run.what) };
    assert!(times >= 1, "{}", run.what);
}

#[test]
fn jobs_that_come_back_after_they_have_run_are_noticed() {
    let run = tampered_with(
        "db.execute('CREATE TABLE aside AS SELECT * FROM gearman_queue LIMIT 7')",
        "db.execute('INSERT INTO gearman_queue SELECT * FROM aside')",
    )
    .assert_failed();
    assert_eq!(run.faults(), [("duplicated", 7)], "{}", run.what);
    assert_eq!(run.figure("ran again, ended before a kill"), 7, "{}", run.what);
}

#[test]
fn jobs_of_another_run_are_noticed() {
    // The tag of the run is in the payload and in the unique.
    let program = format!(
        "row, data = db.execute('SELECT rowid, CAST(data AS BLOB) FROM gearman_queue WHERE {ONE}').fetchone()\n\
         changed = data[:12] + bytes([data[12] ^ 1]) + data[13:]\n\
         db.execute('UPDATE gearman_queue SET data = ?, unique_key = ? WHERE rowid = ?', (changed, 'x', row))"
    );
    let run = tampered_with(&program, "pass").assert_failed();
    assert_eq!(run.faults(), [("foreign", 1), ("lost", 1)], "{}", run.what);
}

#[test]
fn a_server_that_does_not_come_back_has_lost_everything() {
    let run = tampered_with("raise SystemExit('the store is broken')", "pass").assert_failed();
    assert_eq!(run.faults(), [("lost", run.acknowledged())], "{}", run.what);
    let aborted = run.report["aborted"].as_str().unwrap();
    assert!(aborted.contains("has ended") && aborted.contains("the store is broken"), "{aborted}");
}

#[test]
fn somebody_else_may_start_the_server_again() {
    let dir = TempDir::new();
    let (port, pid) = (free_port(), dir.path().join("pid"));
    let peers = Peers::require();
    let user = if is_root() { "--user=root" } else { "" };
    // Its number is written before it can answer.
    let server = format!(
        "echo $$ > {}; exec {} -q libsqlite3 --libsqlite3-db={} --listen=127.0.0.1 --port={port} \
         --log-file=stderr --pid-file=server.pid {user}",
        pid.display(),
        peers.path("usr/sbin/gearmand").display(),
        dir.path().join("queue.db").display()
    );
    let started = || {
        let mut command = peers.command("/bin/sh");
        command.args(["-c", &server]);
        Process::start(command, b"")
    };
    let crash = format!("kill -9 $(cat {})", pid.display());
    let address = format!("--server=127.0.0.1:{port}");
    let mut server = started();
    wait_until("the server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let options = [&[&address[..], "--crash", &crash, "--cycles=2", "--count=60"], &CALM[..]].concat();
    let mut run = Process::start(durable(&options), b"");
    while run.exit_status().is_none() {
        if server.exit_status().is_some() {
            server = started();
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let run = Run::ended(&format!("{options:?}"), &run.finish()).assert_passed();
    assert_eq!((run.figure("killed"), run.acknowledged() >= 60), (3, true), "{}", run.what);
}

#[test]
fn what_cannot_run_says_why() {
    let cases: [(&[&str], &str); 5] = [
        (&["--cycles=3"], "who kills the server"),
        (&["--start=gearmand", "--duration=0"], "it needs an end"),
        (&["--start=gearmand", "--server=127.0.0.1:1"], "cannot be used with"),
        (&["--start="], "has no program"),
        (&["--crash=true", "--dir=x"], "cannot be used with"),
    ];
    for (options, expected) in cases {
        let finished = Process::run(durable(options), b"");
        assert_eq!(finished.status.code(), Some(2), "{options:?}");
        assert!(finished.stderr.contains(expected), "{expected}: {}", finished.stderr);
    }
    for (start, expected) in [
        ("no-such-program {port}", "there is no such program"),
        ("perl server.pl", "{port}"),
        (&format!("{IN_MEMORY} --no-such-option"), "no-such-option"),
    ] {
        let run = Run::of(&["--start", start]).assert_failed();
        assert!(run.report["aborted"].as_str().unwrap().contains(expected), "{expected}: {}", run.what);
    }
}

#[test]
fn an_interrupted_run_still_verifies_and_leaves_no_server() {
    let dir = TempDir::new();
    let kept = dir.path().join("server");
    let start = gearmand();
    let options = ["--start", &start, "--dir", kept.to_str().unwrap(), "--cycles=100", "--duration=6000"];
    let options = [&options[..], &["--sizes=5k"], &CALM].concat();
    let run = Process::start(durable(&options), b"");
    let store = kept.join("queue.db");
    wait_until("jobs are stored", || std::fs::metadata(&store).is_ok_and(|store| store.len() > 50_000));
    run.signal("INT");
    let run = Run::ended("interrupted", &run.finish()).assert_passed();
    assert_eq!(run.figure("killed"), 2, "{}", run.what);
    let pid: u32 =
        std::fs::read_to_string(kept.join("server.pid")).map_or(0, |pid| pid.trim().parse().unwrap());
    assert!(!Path::new(&format!("/proc/{pid}")).exists() || pid == 0, "process {pid} is still there");
}
