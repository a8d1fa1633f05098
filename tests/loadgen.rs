//! The load generator: every scenario, briefly, against this server, against
//! Debian's gearmand, and against its own relay where that can do the work; and
//! that it notices what a server does wrong.
//!
//! Nothing here is judged by the clock.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::net::SocketAddr;
use std::process::Command;

use gearshard::protocol::packet::Command as Wire;
use serde_json::Value;
use support::loadgen::{Relay, loadgen};
use support::proxy::{Act, Proxy};
use support::{Kind, Process, Server};

/// A run that has ended.
struct Run {
    what: String,
    passed: bool,
    json: Value,
}

impl Run {
    /// Runs a scenario against whatever listens at `address`.
    fn of(what: &str, scenario: &[&str], address: SocketAddr, more: &[String]) -> Self {
        let mut command = Command::new(loadgen());
        command.args(scenario).arg(format!("--server={address}")).arg("--json").args(more);
        let run = Process::run(command, b"");
        let what = format!("{what}, {scenario:?}: {}\n{}{}", run.status, run.text(), run.stderr);
        let code = run.status.code();
        assert!(matches!(code, Some(0 | 1)), "the run did not start: {what}");
        Self { passed: code == Some(0), json: serde_json::from_slice(&run.stdout).expect(&what), what }
    }

    /// How often this went wrong.
    fn faults(&self, name: &str) -> u64 {
        self.json["faults"][name].as_u64().unwrap_or_else(|| panic!("no fault {name}: {}", self.what))
    }

    /// Names of all that went wrong.
    fn all_faults(&self) -> Vec<&str> {
        let faults = self.json["faults"].as_object().unwrap();
        faults.iter().filter(|(_, count)| count.as_u64() != Some(0)).map(|(name, _)| name.as_str()).collect()
    }

    /// Jobs of a phase.
    fn jobs(&self, phase: &str) -> u64 {
        let phases = self.json["phases"].as_array().unwrap();
        let found = phases.iter().find(|found| found["name"] == phase);
        found.unwrap_or_else(|| panic!("no phase {phase}: {}", self.what))["jobs"].as_u64().unwrap()
    }

    /// Jobs of a part of a phase.
    fn jobs_of_part(&self, phase: &str, part: &str) -> u64 {
        let phases = self.json["phases"].as_array().unwrap();
        let phase = phases.iter().find(|found| found["name"] == phase).unwrap();
        let found = phase["parts"].as_array().unwrap().iter().find(|found| found["name"] == part);
        found.unwrap_or_else(|| panic!("no part {part}: {}", self.what))["jobs"].as_u64().unwrap()
    }

    /// A figure by its name.
    fn figure(&self, name: &str) -> f64 {
        let figures = self.json["figures"].as_array().unwrap();
        let found = figures.iter().find(|found| found["name"] == name);
        found.unwrap_or_else(|| panic!("no figure {name}: {}", self.what))["value"].as_f64().unwrap()
    }

    fn assert_passed(&self) {
        assert!(self.passed && self.json["aborted"].is_null(), "{}", self.what);
        assert_eq!(self.all_faults(), Vec::<&str>::new(), "{}", self.what);
    }
}

/// Runs a scenario against one shard, two shards and gearmand: each must pass,
/// and is looked at by `check`.
fn on_servers(scenario: &[&str], check: impl Fn(&Run)) {
    let servers: [(Kind, &[&str]); 3] =
        [(Kind::Gearshard, &["-t", "1"]), (Kind::Gearshard, &["-t", "2"]), (Kind::Gearmand, &[])];
    for (kind, args) in servers {
        let server = Server::start(kind, args);
        passes(&format!("{kind:?} {args:?}"), scenario, server.address(), server.pid(), &check);
    }
}

/// Runs a scenario against a relay with these options.
fn on_relay(args: &[&str], scenario: &[&str], check: impl Fn(&Run)) {
    let relay = Relay::start(args);
    passes(&format!("relay {args:?}"), scenario, relay.address(), relay.pid(), check);
}

fn passes(what: &str, scenario: &[&str], address: SocketAddr, pid: u32, check: impl Fn(&Run)) {
    let run = Run::of(what, scenario, address, &[format!("--server-pid={pid}")]);
    run.assert_passed();
    check(&run);
}

/// Runs a scenario against all servers and the relay.
fn everywhere(scenario: &[&str], check: impl Fn(&Run)) {
    on_servers(scenario, &check);
    for args in [&[][..], &["--no-job"]] {
        on_relay(args, scenario, &check);
    }
}

/// Asserts that each of these phases had so many jobs.
fn phases<'a>(expected: &'a [(&'a str, u64)]) -> impl Fn(&Run) + 'a {
    move |run| {
        for (phase, jobs) in expected {
            assert_eq!(run.jobs(phase), *jobs, "{phase}: {}", run.what);
        }
    }
}

#[test]
fn echo() {
    let scenario = ["echo", "--count=5000", "--warmup=0", "--clients=3"];
    everywhere(&scenario, phases(&[("echo", 5000)]));
}

#[test]
fn foreground() {
    let scenario = ["fg", "--count=3000", "--warmup=0.05", "--grabs=2", "--sleepers=3"];
    everywhere(&scenario, phases(&[("foreground", 3000)]));
}

#[test]
fn foreground_of_many_functions_beside_a_backlog() {
    let many = ["--functions=5", "--idle-functions=40", "--backlog=400", "--backlog-functions=3"];
    let scenario = [&["fg", "--count=3000", "--warmup=0.05"][..], &many].concat();
    let expected = [("enqueue the backlog", 400), ("foreground", 3000), ("drain the backlog", 400)];
    everywhere(&scenario, phases(&expected));
}

#[test]
fn foreground_in_turns() {
    for threads in ["--threads=1", "--threads=3"] {
        let scenario = ["fg", "--count=3000", "--warmup=0.05", "--clients=40", "--together=7", threads];
        everywhere(&scenario, phases(&[("foreground", 3000)]));
    }
}

#[test]
fn foreground_for_a_time() {
    let scenario = ["fg", "--duration=0.2", "--warmup=0"];
    everywhere(&scenario, |run| assert!(run.jobs("foreground") > 0));
}

#[test]
fn open_loop() {
    for more in [&["--arrivals=poisson", "--spin=300"][..], &["--threads=3", "--max-inflight=40"]] {
        let scenario =
            [&["fg", "--count=600", "--rate=4000,1000..3000,4000", "--warmup=0.02"], more].concat();
        let expected = ["foreground at 4000/s", "foreground at 1000..3000/s", "foreground at 4000/s (2)"];
        everywhere(&scenario, phases(&expected.map(|phase| (phase, 200))));
    }
}

#[test]
fn open_loop_of_other_work() {
    let echo = ["echo", "--count=200", "--rate=4000", "--warmup=0"];
    everywhere(&echo, phases(&[("echo at 4000/s", 200)]));
    let big = ["big", "--sizes=100k", "--volume=2mi", "--rate=200", "--arrivals=poisson"];
    everywhere(&big, phases(&[("100000 bytes at 200/s", 20)]));
    let unique = ["unique", "--uniques=10", "--repeat=4", "--clients=3", "--rate=4000"];
    on_servers(&unique, |run| {
        phases(&[("submit, foreground at 4000/s", 120), ("answer, foreground", 120)])(run);
        phases(&[("submit, background at 4000/s", 120), ("run, background", 10)])(run);
    });
    let prio = ["prio", "--count=300", "--rate=2000..6000"];
    everywhere(&prio, |run| {
        let phase = "three priorities at 2000..6000/s";
        phases(&[(phase, 300)])(run);
        for part in ["kind high", "kind fg", "kind low"] {
            assert_eq!(run.jobs_of_part(phase, part), 100, "{}", run.what);
        }
    });
}

#[test]
fn several_threads_share_the_work() {
    for scenario in [
        &["fg", "--count=4000", "--warmup=0.05", "--grabs=4", "--clients=5"][..],
        &["bg", "--count=4000", "--warmup=100", "--workers=7"],
        &["flow", "--count=4000", "--warmup=0.05"],
    ] {
        let jobs =
            |run: &Run| run.json["phases"].as_array().unwrap().iter().all(|phase| phase["jobs"] == 4000);
        everywhere(&[scenario, &["--threads=4"]].concat(), |run| assert!(jobs(run), "{}", run.what));
    }
}

/// Starts a load that goes on beside others.
fn beside(scenario: &[&str], address: SocketAddr) -> Process {
    let mut command = Command::new(loadgen());
    command.args(scenario).arg(format!("--server={address}")).arg("--json");
    Process::start(command, b"")
}

#[test]
fn the_sides_run_alone() {
    let server = Server::gearshard(&["-t", "2"]);
    let worker = beside(&["fg", "--side=worker", "--count=700", "--workers=3"], server.address());
    let client = ["fg", "--side=client", "--count=700", "--warmup=0"];
    Run::of("client", &client, server.address(), &[]).assert_passed();
    // Two clients at once, for the same workers.
    let more = worker.finish().success();
    let more: Value = serde_json::from_slice(&more.stdout).unwrap();
    assert_eq!(more["phases"][0]["jobs"], 700);

    let workers = beside(&["fg", "--side=worker", "--count=900", "--threads=2"], server.address());
    let other = beside(&["fg", "--side=client", "--count=400", "--warmup=0"], server.address());
    let client = ["fg", "--side=client", "--count=500", "--warmup=0"];
    Run::of("one of two clients", &client, server.address(), &[]).assert_passed();
    other.finish().success();
    workers.finish().success();

    let address = server.address();
    let jobs = ["--count=600", "--functions=9", "--sizes=64:3,5k:1"];
    let workers = beside(&[&["mixed", "--side=worker"][..], &jobs].concat(), address);
    let client = [&["mixed", "--side=client", "--warmup=0"][..], &jobs].concat();
    Run::of("mixed", &client, address, &[]).assert_passed();
    workers.finish().success();

    let workers = beside(&["flow", "--side=worker", "--count=600"], address);
    let client = ["flow", "--side=client", "--count=600", "--warmup=0"];
    Run::of("flow", &client, address, &[]).assert_passed();
    workers.finish().success();

    Run::of("enqueue", &["bg", "--side=client", "--count=800"], address, &[]).assert_passed();
    let drain = Run::of("drain", &["bg", "--side=worker", "--count=800"], address, &[]);
    drain.assert_passed();
    assert_eq!(drain.jobs("drain"), 800);
}

#[test]
fn a_stored_report_comes_back_and_has_every_form() {
    let server = Server::gearshard(&[]);
    let mut command = Command::new(loadgen());
    command.args(["mixed", "--count=2000", "--rate=8000", "--warmup=0", "--json=run.json", "--progress"]);
    command.arg(format!("--server={}", server.address()));
    let mut first = Process::start(command, b"");
    first.wait(support::DEADLINE);
    let stored = std::fs::read(first.dir().join("run.json")).unwrap();
    let mut command = Command::new(loadgen());
    command.current_dir(first.dir());
    command.args(["report", "--json=again.json", "--csv=run.csv", "--csv-intervals=intervals.csv"]);
    command.args(["--hgrm=run.hgrm", "--hlog=run.hlog", "--html=run.html", "run.json"]);
    Process::run(command, b"").success();
    let file = |name: &str| {
        String::from_utf8(std::fs::read(first.dir().join(name)).unwrap_or_else(|_| panic!("no {name}")))
            .unwrap()
    };
    assert!(file("again.json").as_bytes() == stored, "{}", file("again.json"));
    let phase = "mixed at 8000/s";
    assert!(file("run.csv").lines().any(|row| row.contains(&format!(",{phase},2000,"))));
    assert!(file("run.csv").contains(&format!(",{phase} / kind high,")));
    assert!(file("intervals.csv").lines().count() > 2);
    for name in ["run-mixed-at-8000-s.hgrm", "run-mixed-at-8000-s-uncorrected.hgrm"] {
        assert!(file(name).contains("#[Max"), "{name}");
    }
    assert!(file("run-mixed-at-8000-s-kind-low.hgrm").contains("#[Max"));
    assert!(file("run.hlog").lines().any(|line| line.starts_with("Tag=mixed-at-8000-s,")));
    assert!(file("run.html").contains("</html>"));
}

#[test]
fn background() {
    let scenario = ["bg", "--count=3000", "--warmup=100"];
    everywhere(&scenario, phases(&[("enqueue", 3000), ("drain", 3000)]));
}

#[test]
fn flow() {
    let scenario = ["flow", "--count=3000", "--warmup=0.05"];
    everywhere(&scenario, phases(&[("flow", 3000)]));
}

#[test]
fn connect() {
    let scenario = ["connect", "--count=300", "--concurrency=20"];
    everywhere(&scenario, phases(&[("connect and first answer", 300)]));
    let scenario = ["connect", "--count=100", "--rate=1000", "--keep"];
    everywhere(&scenario, phases(&[("connect and first answer at 1000/s", 100)]));
}

#[test]
fn unique() {
    let scenario = ["unique", "--uniques=50", "--repeat=3", "--clients=4"];
    on_servers(&scenario, |run| {
        phases(&[
            ("submit, foreground", 600),
            ("answer, foreground", 600),
            ("submit, background", 600),
            ("run, background", 50),
        ])(run);
        for kind in ["foreground", "background"] {
            let runs = run.figure(&format!("runs a submit, {kind}")) * 600.0;
            assert!((runs - 50.0).abs() < 1e-6, "{runs} runs: {}", run.what);
        }
    });
}

#[test]
fn prio() {
    let scenario = ["prio", "--count=900", "--rounds=2", "--grabs=2"];
    everywhere(
        &scenario,
        phases(&[
            ("enqueue, three priorities", 1800),
            ("drain, three priorities", 1800),
            ("enqueue, one priority", 1800),
            ("drain, one priority", 1800),
        ]),
    );
}

#[test]
fn big() {
    let scenario = ["big", "--sizes=100k,5mi", "--volume=20mi", "--clients=2"];
    everywhere(&scenario, |run| {
        phases(&[("100000 bytes", 209), ("5242880 bytes", 4)])(run);
        assert!(run.figure("5242880 bytes: relayed, there and back") > 0.0);
    });
}

#[test]
fn mixed() {
    let mix = "--mix=fg=4,bg=2,high=1,low=1,high-bg=1,low-bg=1";
    let scenario =
        ["mixed", "--count=2000", "--warmup=0.05", mix, "--sizes=16:2,1k:2,20k:1", "--functions=20"];
    everywhere(&scenario, |run| {
        phases(&[("mixed", 2000)])(run);
        // Every job has a kind, a size and a function.
        let kinds = ["kind fg", "kind high", "kind low", "kind bg", "kind high-bg", "kind low-bg"];
        let sizes = ["16 bytes", "1000 bytes", "20000 bytes"];
        let functions = ["function 1", "functions 2 to 10", "functions 11 to 20"];
        for parts in [&kinds[..], &sizes, &functions] {
            let jobs: u64 = parts.iter().map(|part| run.jobs_of_part("mixed", part)).sum();
            assert_eq!(jobs, 2000, "{}", run.what);
        }
    });
}

#[test]
fn functions() {
    let scenario = ["functions", "--total=60", "--each=20", "--beside=4", "--count=600"];
    let expected = [("enqueue, 4 of 4", 600), ("drain, 20 of 60", 600)];
    on_servers(&scenario, phases(&expected));
    // Workers ask in vain.
    on_relay(&["--no-job"], &scenario, phases(&expected));
    let scenario = ["functions", "--spread=1,7,200", "--workers=4", "--count=600"];
    let expected =
        [("drain, 1 functions", 600), ("drain, 7 functions", 600), ("enqueue, 200 functions", 600)];
    everywhere(&scenario, phases(&expected));
}

#[test]
fn sleepers() {
    let scenario = ["sleepers", "--sleepers=30", "--workers=2", "--count=1", "--duration=0.2"];
    everywhere(&scenario, |run| {
        phases(&[("one job at a time", 1)])(run);
        assert!(run.jobs("working, no sleepers") > 0 && run.jobs("working beside sleepers") > 0);
        assert!(run.figure("NOOPs a job") >= 1.0);
    });
}

#[test]
fn depth() {
    let scenario = ["depth", "--from=100", "--to=2000"];
    let expected =
        [("enqueue to 100", 100), ("enqueue to 1000", 900), ("enqueue to 2000", 1000), ("drain", 2000)];
    everywhere(&scenario, phases(&expected));
}

/// Runs a scenario through a proxy that does `act` to the `nth` packet of
/// this kind on its way from the server; the run must fail.
fn through_a_proxy(scenario: &[&str], command: Wire, nth: usize, act: Act) -> Run {
    let server = Server::gearshard(&[]);
    let proxy = Proxy::start(server.address(), command, nth, act);
    let run = Run::of(
        &format!("{act:?} of {}", command.name()),
        scenario,
        proxy.address(),
        &["--patience=1".to_owned()],
    );
    assert!(proxy.acted(), "there was no such packet: {}", run.what);
    assert!(!run.passed, "nothing was noticed: {}", run.what);
    run
}

const FOREGROUND: &[&str] = &["fg", "--count=500", "--warmup=0"];
const BACKGROUND: &[&str] = &["bg", "--count=500", "--warmup=0"];
const ECHO: &[&str] = &["echo", "--count=500", "--warmup=0", "--clients=1"];
/// One of each, so that the next packet of a kind is on the same connection.
const PRIO: &[&str] = &["prio", "--count=300", "--rounds=1", "--grabs=8"];
const UNIQUE: &[&str] = &["unique", "--uniques=20", "--repeat=2", "--clients=2"];

#[test]
fn a_lost_result_is_noticed() {
    let run = through_a_proxy(FOREGROUND, Wire::WorkComplete, 100, Act::Drop);
    assert_eq!((run.faults("lost"), run.all_faults()), (1, vec!["lost"]), "{}", run.what);
    assert!(!run.json["aborted"].is_null());
}

#[test]
fn a_lost_assignment_is_noticed() {
    let run = through_a_proxy(BACKGROUND, Wire::JobAssignUniq, 100, Act::Drop);
    assert_eq!((run.faults("lost"), run.all_faults()), (1, vec!["lost"]), "{}", run.what);
}

#[test]
fn a_lost_echo_is_noticed() {
    // The first is the answer to the generator's greeting.
    let run = through_a_proxy(ECHO, Wire::EchoRes, 100, Act::Drop);
    assert_eq!((run.faults("lost"), run.all_faults()), (1, vec!["lost"]), "{}", run.what);
}

#[test]
fn a_result_that_comes_twice_is_noticed() {
    let run = through_a_proxy(FOREGROUND, Wire::WorkComplete, 100, Act::Duplicate);
    assert_eq!((run.faults("duplicated"), run.all_faults()), (1, vec!["duplicated"]), "{}", run.what);
}

#[test]
fn a_job_that_is_assigned_twice_is_noticed() {
    let run = through_a_proxy(BACKGROUND, Wire::JobAssignUniq, 100, Act::Duplicate);
    assert_eq!(run.faults("duplicated"), 1, "{}", run.what);
    // The server may refuse the second result before the run has ended.
    assert!(run.all_faults().iter().all(|fault| ["duplicated", "refused"].contains(fault)), "{}", run.what);
}

#[test]
fn an_answer_too_many_to_a_shared_unique_is_noticed() {
    let run = through_a_proxy(UNIQUE, Wire::WorkComplete, 10, Act::Duplicate);
    assert!(run.faults("duplicated") >= 1, "{}", run.what);
}

#[test]
fn echoes_in_the_wrong_order_are_noticed() {
    let run = through_a_proxy(ECHO, Wire::EchoRes, 100, Act::Swap);
    assert_eq!((run.faults("reordered"), run.all_faults()), (1, vec!["reordered"]), "{}", run.what);
}

#[test]
fn jobs_in_the_wrong_order_are_noticed() {
    let run = through_a_proxy(PRIO, Wire::JobAssignUniq, 50, Act::Swap);
    assert_eq!((run.faults("reordered"), run.all_faults()), (1, vec!["reordered"]), "{}", run.what);
}

#[test]
fn a_damaged_job_is_noticed() {
    let run = through_a_proxy(BACKGROUND, Wire::JobAssignUniq, 100, Act::Damage);
    assert_eq!((run.faults("damaged"), run.all_faults()), (1, vec!["damaged"]), "{}", run.what);
}

#[test]
fn a_damaged_result_is_noticed() {
    let run = through_a_proxy(FOREGROUND, Wire::WorkComplete, 100, Act::Damage);
    assert_eq!((run.faults("damaged"), run.all_faults()), (1, vec!["damaged"]), "{}", run.what);
}

#[test]
fn a_damaged_echo_is_noticed() {
    let run = through_a_proxy(ECHO, Wire::EchoRes, 100, Act::Damage);
    assert_eq!((run.faults("damaged"), run.all_faults()), (1, vec!["damaged"]), "{}", run.what);
    let storm = ["connect", "--count=50", "--concurrency=5"];
    let run = through_a_proxy(&storm, Wire::EchoRes, 20, Act::Damage);
    assert_eq!((run.faults("damaged"), run.all_faults()), (1, vec!["damaged"]), "{}", run.what);
}

#[test]
fn a_connection_that_the_server_closes_is_noticed() {
    let run = through_a_proxy(FOREGROUND, Wire::WorkComplete, 100, Act::Close);
    assert!(run.faults("disconnected") >= 1 && !run.json["aborted"].is_null(), "{}", run.what);
    let storm = ["connect", "--count=50", "--concurrency=5"];
    let run = through_a_proxy(&storm, Wire::EchoRes, 20, Act::Close);
    assert_eq!((run.faults("disconnected"), run.all_faults()), (1, vec!["disconnected"]), "{}", run.what);
}
