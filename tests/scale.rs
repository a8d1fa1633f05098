//! Many workers, many jobs, many functions: what each costs must not depend on
//! how many others there are. The load generator runs the same against Debian's
//! gearmand, and both figures are printed side by side.
//!
//! Nothing here is judged by the clock: counts, bytes, and ratios of the
//! server's processor time between a small and a large run of the same work.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::io::Write as _;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use support::loadgen::loadgen;
use support::{Kind, Process, Server};

/// Sleeping workers.
const SLEEPERS: u64 = 5_000;
/// NOOPs that a single job may cause among them: the one wanted, and room for
/// a machine so busy that the woken worker seems not to come.
const NOOPS_MAX: f64 = 4.0;
/// Descriptors that a server needs for the sleepers.
const DESCRIPTORS: &str = "--file-descriptors=8192";
/// Memory of a queued job beyond its payload and unique.
const JOB_OVERHEAD_BYTES_MAX: f64 = 200.0;
/// Share of the grown memory that may stay after the drain.
const KEPT_MAX: f64 = 0.25;
/// How much more one operation may cost among many than among few.
const RATIO_MAX: f64 = 2.0;
/// What else the machine does only ever makes a ratio worse, so a ratio counts
/// when it has been too large in each of so many runs.
const ATTEMPTS: usize = 3;
/// The longest any run of the generator may take; none takes a tenth of it.
const RUN_LIMIT: Duration = Duration::from_secs(900);

/// One test at a time: they measure.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the generator reports of one run.
struct Report {
    server: &'static str,
    json: Value,
}

impl Report {
    /// Runs a scenario against a server of its own; every job must be accounted for.
    fn of(name: &'static str, kind: Kind, server_args: &[&str], scenario: &[&str]) -> Self {
        let server = Server::start(kind, server_args);
        let mut command = Command::new(loadgen());
        command.args(scenario).arg(format!("--server={}", server.address()));
        command.arg(format!("--server-pid={}", server.pid())).arg("--json");
        let mut run = Process::start(command, b"");
        let status = run.wait(RUN_LIMIT);
        assert!(status.success(), "{name}, {scenario:?}: {status}\n{}{}", run.stdout(), run.stderr());
        Self { server: name, json: serde_json::from_str(&run.stdout()).unwrap() }
    }

    /// A figure by its name.
    fn figure(&self, name: &str) -> f64 {
        let figures = self.json["figures"].as_array().unwrap();
        let figure = figures.iter().find(|figure| figure["name"] == name);
        figure.unwrap_or_else(|| panic!("no figure {name}: {figures:?}"))["value"].as_f64().unwrap()
    }

    fn phase(&self, name: &str) -> Option<&Value> {
        self.json["phases"].as_array().unwrap().iter().find(|phase| phase["name"] == name)
    }

    /// Processor microseconds of the server for each operation of a phase, if there was such a phase.
    fn server_us(&self, phase: &str) -> Option<f64> {
        self.phase(phase)?["server"]["cpu_us_per_job"].as_f64()
    }
}

/// A line of a table: its name, and what it takes from a report.
type Row<'a> = (&'a str, &'a dyn Fn(&Report) -> Option<f64>);

/// Prints a table with a column a report.
#[allow(clippy::explicit_write, reason = "libtest would swallow what eprintln! prints")]
fn table(title: &str, reports: &[&Report], rows: &[Row<'_>]) {
    let mut text = format!("\n{title}\n{:44}", "");
    for report in reports {
        text += &format!("{:>26}", report.server);
    }
    for (name, value) in rows {
        text += &format!("\n  {name:<42}");
        for report in reports {
            let cell = value(report).map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
            text += &format!("{cell:>26}");
        }
    }
    writeln!(std::io::stderr(), "{text}").unwrap();
}

/// The same once more against our server.
fn again<'a>(scenario: &'a [&'a str]) -> impl Fn() -> Report + 'a {
    || Report::of("gearshard", Kind::Gearshard, &[], scenario)
}

/// Judges the first run by `ratio`, and others if it is not good enough.
fn assert_ratio(what: &str, first: Report, again: &dyn Fn() -> Report, ratio: impl Fn(&Report) -> f64) {
    let mut seen = vec![ratio(&first)];
    drop(first);
    while seen.last().is_some_and(|&last| last > RATIO_MAX) {
        assert!(seen.len() < ATTEMPTS, "{what}: costs {seen:?} times as much");
        seen.push(ratio(&again()));
    }
}

#[test]
fn a_job_wakes_few_of_five_thousand_sleepers() {
    let _alone = alone();
    let sleepers = SLEEPERS.to_string();
    let scenario = ["sleepers", "--sleepers", &sleepers, "--count=5", "--duration=0"];
    let ours = Report::of("gearshard", Kind::Gearshard, &[DESCRIPTORS], &scenario);
    let stock = Report::of("gearmand", Kind::Gearmand, &[DESCRIPTORS], &scenario);
    let best = Report::of("gearmand --worker-wakeup=1", Kind::Gearmand, &[DESCRIPTORS, "-w", "1"], &scenario);

    table(
        "5,000 sleeping workers, one background job at a time",
        &[&ours, &stock, &best],
        &[
            ("most NOOPs for one job", &|report| Some(report.figure("most NOOPs for one job"))),
            ("submit to JOB_CREATED, median us", &|report| {
                report.phase("one job at a time")?["latency"]["p50_us"].as_f64()
            }),
            ("server us a job", &|report| report.server_us("one job at a time")),
            ("memory a sleeping worker, bytes", &|report| Some(report.figure("memory a sleeping worker"))),
        ],
    );
    let noops = ours.figure("most NOOPs for one job");
    assert!((1.0..=NOOPS_MAX).contains(&noops), "{noops} NOOPs for one job");
}

#[test]
fn a_million_queued_jobs_are_cheap_and_their_memory_is_given_back() {
    let _alone = alone();
    let scenario = |to| ["depth", "--size=100", "--grabs=8", "--from=1000", to];
    let million = scenario("--to=1000000");
    let ours = Report::of("gearshard", Kind::Gearshard, &[], &million);
    // Stock gearmand is quadratic in the depth: a tenth must do.
    let stock = Report::of("gearmand, a tenth", Kind::Gearmand, &[], &scenario("--to=100000"));
    let best_args = ["--hashtable-buckets=1000003"];
    let best = Report::of("gearmand, 1000003 buckets", Kind::Gearmand, &best_args, &million);

    table(
        "1,000 to 1,000,000 queued jobs of 100 bytes, each with a unique of 24",
        &[&ours, &stock, &best],
        &[
            ("server us a job, enqueue to 10,000", &|report| report.server_us("enqueue to 10000")),
            ("server us a job, enqueue to 100,000", &|report| report.server_us("enqueue to 100000")),
            ("server us a job, enqueue to 1,000,000", &|report| report.server_us("enqueue to 1000000")),
            ("server us a job, drain", &|report| report.server_us("drain")),
            ("bytes a job beyond payload and unique", &|report| {
                Some(report.figure("memory a job beyond payload and unique"))
            }),
            ("share of memory kept after the drain", &|report| {
                Some(report.figure("share of it kept after the drain"))
            }),
        ],
    );
    let overhead = ours.figure("memory a job beyond payload and unique");
    assert!(overhead <= JOB_OVERHEAD_BYTES_MAX, "{overhead} bytes for a queued job beside what it carries");
    let kept = ours.figure("share of it kept after the drain");
    assert!(kept <= KEPT_MAX, "{kept} of the memory is kept after the drain");
    assert_ratio("enqueueing at a million jobs", ours, &again(&million), |report| {
        report.server_us("enqueue to 1000000").unwrap() / report.server_us("enqueue to 10000").unwrap()
    });
}

#[test]
fn a_worker_with_a_thousand_functions_costs_no_more_than_one_with_ten() {
    let _alone = alone();
    let scenario = ["functions", "--total=20000", "--each=1000", "--beside=10", "--count=100000"];
    let ours = Report::of("gearshard", Kind::Gearshard, &[], &scenario);
    let theirs = Report::of("gearmand", Kind::Gearmand, &[], &scenario);

    let kinds = ["register", "grab in vain", "enqueue", "drain"];
    let name = |kind| format!("{kind}: many functions / few");
    for kind in kinds {
        let few = format!("{kind}, 10 of 10");
        let many = format!("{kind}, 1000 of 20000");
        table(
            &format!("{kind}: workers with 10 functions of 10, and with 1,000 of 20,000"),
            &[&ours, &theirs],
            &[
                ("server us each, 10 functions", &|report| report.server_us(&few)),
                ("server us each, 1,000 functions", &|report| report.server_us(&many)),
                ("ratio", &|report| Some(report.figure(&name(kind)))),
            ],
        );
    }
    let worst =
        |report: &Report| kinds.map(|kind| report.figure(&name(kind))).into_iter().fold(0.0, f64::max);
    assert_ratio("a worker with 1,000 functions of 20,000", ours, &again(&scenario), worst);
}
