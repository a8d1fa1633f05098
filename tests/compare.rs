//! The load generator's comparison of servers: that it runs them, judges them,
//! says what is wrong, and leaves nothing behind. Nothing here is timed.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::process::Command;

use serde_json::Value;
use support::loadgen::loadgen;
use support::markup::elements;
use support::process::{Finished, TempDir};
use support::{Peers, Process, wait_until};

/// Jobs of a run: enough to be measured, too few to be waited for.
const SHORT: [&str; 5] = ["fg", "--count", "2000", "--warmup", "0"];

fn ours() -> String {
    format!("ours={} -t 1", env!("CARGO_BIN_EXE_gearshard"))
}

fn command(options: &[&str], scenario: &[&str]) -> Command {
    let mut command = Command::new(loadgen());
    command.arg("compare").args(options).arg("--").args(scenario);
    command
}

/// Runs a comparison and checks its exit code.
fn compare(options: &[&str], scenario: &[&str], code: i32) -> Finished {
    let finished = Process::run(command(options, scenario), b"");
    assert_eq!(finished.status.code(), Some(code), "{}\n{}", finished.text(), finished.stderr);
    finished
}

/// The comparison as JSON.
fn json(options: &[&str], scenario: &[&str]) -> Value {
    let finished = compare(&[&["--json"], options].concat(), scenario, 0);
    serde_json::from_slice(&finished.stdout).unwrap()
}

/// Processes with `marker` on their command line.
fn processes_with(marker: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    // A process may end while we look.
    let has = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(marker))
    };
    pids.filter(has).collect()
}

#[test]
fn servers_are_compared_run_by_run() {
    let gearmand = Peers::require();
    let gearmand = format!(
        "c=LD_LIBRARY_PATH={} {} -t 1",
        gearmand.library_path().to_str().unwrap(),
        gearmand.path("usr/sbin/gearmand").display()
    );
    let options = [
        "--repeats",
        "2",
        "--base",
        "relay",
        "--server",
        &ours(),
        "--server",
        "relay=relay",
        "--server",
        &gearmand,
    ];
    let compared = json(&options, &SHORT);
    let servers = compared["servers"].as_array().unwrap();
    let labels: Vec<&str> = servers.iter().map(|server| server["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["ours", "relay", "c"]);
    for server in servers {
        let reports = server["reports"].as_array().unwrap();
        assert_eq!(reports.len(), 2);
        for report in reports {
            assert_eq!(report["phases"][0]["jobs"], 2000, "{report}");
        }
        for metric in ["cpu_per_job", "jobs_per_second", "p50", "p99_9", "rss"] {
            let spread = &server["phases"]["foreground"][metric];
            let at = |name: &str| spread[name].as_f64().unwrap();
            assert!(
                0.0 < at("min") && at("min") <= at("median") && at("median") <= at("max"),
                "{metric}: {spread}"
            );
        }
        assert!(server["phases"][""]["peak_rss"]["median"].as_f64().unwrap() > 1e6);
    }
    // Runs take turns: no server has its second run before each has had its first.
    let started = |server: &Value, run: usize| server["reports"][run]["started_unix_ms"].as_u64().unwrap();
    let last_first = servers.iter().map(|server| started(server, 0)).max().unwrap();
    assert!(servers.iter().all(|server| started(server, 1) >= last_first));
}

#[test]
fn a_page_shows_the_servers_side_by_side() {
    let directory = TempDir::new();
    let path = directory.path().join("page.html");
    let page = path.to_str().unwrap();
    let options = [
        "--repeats=2",
        "--base=relay",
        "--html",
        page,
        "--server",
        &ours(),
        "--server=many=relay --eager",
        "--run=many=fg --count=3000 --warmup=0 --grabs=8",
        "--server=relay=relay",
        "--require=many.p50 < 0",
    ];
    compare(&options, &SHORT, 1);
    let page = std::fs::read_to_string(&path).unwrap();
    let elements = elements(&page);
    let count = |name: &str| elements.iter().filter(|element| *element == name).count();
    assert_eq!((count("script"), count("link"), count("img")), (0, 0, 0));
    // Rate and cost side by side, percentiles, the course of the rate and of three percentiles.
    assert!(count("figure") >= 7, "{}", count("figure"));
    for text in [
        "fg: ours, many and relay",
        "2 repeats",
        "× to relay",
        "class=\"ratio\">×",
        "<b>Not met</b>many.p50 &lt; 0",
        "relay --eager</code>",
        "--grabs=8</code>",
        "Latency by percentile",
        "Throughput over time",
        "most server memory",
        "Every job accounted for",
    ] {
        assert!(page.contains(text), "no {text} in {page}");
    }
    assert!(!page.contains("NaN") && !page.contains("http"));
}

#[test]
fn servers_with_nothing_in_common_have_no_page_but_their_figures() {
    let directory = TempDir::new();
    let path = directory.path().join("page.html");
    let options = ["--repeats=1", "--html", path.to_str().unwrap(), "--server=a=relay", "--server=b=relay"];
    let options = [&options[..], &["--run=b=echo --count=100 --warmup=0"]].concat();
    let finished = compare(&options, &SHORT, 2);
    assert!(finished.stderr.contains("no phase in common") && !path.exists(), "{}", finished.stderr);
    assert!(
        finished.text().contains("foreground") && finished.text().contains("echo"),
        "{}",
        finished.text()
    );
    let nowhere = directory.path().join("missing/page.html");
    let options = ["--repeats=1", "--html", nowhere.to_str().unwrap(), "--server=a=relay"];
    let finished = compare(&options, &SHORT, 2);
    assert!(finished.stderr.contains("cannot write") && finished.text().is_empty(), "{}", finished.stderr);
}

#[test]
fn the_relay_does_every_kind_of_work() {
    for scenario in [
        &["bg", "--count", "3000", "--warmup", "10"][..],
        &["flow", "--count", "3000"],
        &["fg", "--count", "3000", "--warmup", "0", "--grabs", "8", "--size", "30000"],
    ] {
        let options =
            ["--repeats", "1", "--keep", "--server", "lazy=relay", "--server", "eager=relay --eager"];
        let compared = json(&options, scenario);
        for server in compared["servers"].as_array().unwrap() {
            assert_eq!(server["reports"][0]["phases"][0]["jobs"], 3000, "{scenario:?}");
        }
    }
}

#[test]
fn a_requirement_decides_the_exit_code() {
    let options = ["--repeats", "2", "--server", &ours(), "--server", "relay=relay"];
    let met = ["--require", "ours.cpu_per_job > 0.001*relay", "--require", "ours.peak_rss >= 1M"];
    let said = compare(&[&options[..], &met].concat(), &SHORT, 0).text();
    assert_eq!(said.matches("\nmet: ").count() + usize::from(said.starts_with("met: ")), 2, "{said}");
    let unmet = ["--require", "ours.foreground.p50 < 0", "--require", "relay.jobs_per_second >= 1"];
    let said = compare(&[&options[..], &unmet].concat(), &SHORT, 1).text();
    assert!(said.contains("NOT MET: ours.foreground.p50 < 0") && said.contains("\nmet: relay."), "{said}");
}

#[test]
fn what_cannot_run_says_why() {
    let relay = ["--server", "relay=relay"];
    let cases: [(&[&str], &[&str], &str); 7] = [
        (&["--server", "x=no-such-program {port}"], &SHORT, "there is no such program"),
        (&["--server", &format!("{} --no-such-option", ours())], &SHORT, "no-such-option"),
        (&["--server", "x=perl server.pl"], &SHORT, "{port}"),
        (&relay, &["fg", "--no-such-option"], "--no-such-option"),
        (&["--server", "relay=relay", "--require", "relay.speed > 1"], &SHORT, "there is no relay.speed"),
        (&["--server", "relay=relay", "--require", "theirs.p50 > 1"], &SHORT, "theirs"),
        (&["--server", "relay=relay", "--pin-server", "1000"], &SHORT, "core"),
    ];
    for (options, scenario, expected) in cases {
        let finished = compare(&[&["--repeats", "1"], options].concat(), scenario, 2);
        assert!(finished.stderr.contains(expected), "{expected}: {}", finished.stderr);
    }
}

#[test]
fn a_server_that_dies_is_named_and_nothing_stays() {
    let marker = format!("ends-{}", std::process::id());
    // The shell and its server go by the marker; the server is killed in the middle of the run.
    let dying = format!(
        "dying=sh -c '{} --port={{port}} --listen=127.0.0.1 --log-file=stderr --pid-file={marker} & \
         P=$!; sleep 2; kill -9 $P; echo the last words >&2'",
        env!("CARGO_BIN_EXE_gearshard")
    );
    let options = ["--repeats", "1", "--server", &dying];
    let finished = compare(&options, &["fg", "--duration", "600", "--warmup", "0"], 2);
    assert!(finished.stderr.contains("server dying has ended"), "{}", finished.stderr);
    assert!(finished.stderr.contains("the last words"), "{}", finished.stderr);
    assert_eq!(processes_with(&marker), Vec::<u32>::new());
}

#[test]
fn an_interrupted_comparison_ends_its_servers() {
    let marker = format!("interrupted-{}", std::process::id());
    let server = format!("{} --pid-file={marker}", ours());
    let command = command(&["--server", &server], &["fg", "--duration", "600", "--warmup", "0"]);
    let comparison = Process::start(command, b"");
    let itself = comparison.pid();
    let children = || processes_with(&marker).into_iter().filter(|&pid| pid != itself).count();
    wait_until("the server runs", || children() > 0);
    comparison.signal("INT");
    let finished = comparison.finish();
    assert_eq!(finished.status.code(), Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains("interrupted"), "{}", finished.stderr);
    assert_eq!(children(), 0);
}
