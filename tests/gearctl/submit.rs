//! Jobs submitted from a terminal or a script.

use crate::support::process::{Finished, TempDir};
use crate::support::{Process, Server, wait_until};
use crate::terminal::Terminal;
use crate::{against_both, at, client, fails, gearctl, nowhere, printed, run, usual_worker};
use gearshard::client::Worker;
use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};

against_both! {
    a_workload_comes_from_anywhere;
    every_line_is_a_job;
    one_job_is_followed;
    failures_have_exit_codes;
    background_jobs_are_queued_as_told;
    uniques_join;
    results_come_as_lines_of_json;
    results_come_while_the_input_goes_on;
    a_reducer_is_passed_on;
}

fn with_input(command: Command, input: &str) -> Finished {
    Process::run(command, input.as_bytes()).success()
}

fn a_workload_comes_from_anywhere(server: &mut Server) {
    let _worker = usual_worker(server);
    assert_eq!(printed(at(server, &["submit", "reverse", "abc"])), "cba");
    assert_eq!(with_input(at(server, &["submit", "reverse"]), "abc\n").text(), "\ncba");
    let dir = TempDir::new();
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name).display().to_string());
    std::fs::write(&one, b"\xff\0x").unwrap();
    std::fs::write(&two, "two").unwrap();
    assert_eq!(run(at(server, &["submit", "reverse", "-f", &one])).success().stdout, b"x\0\xff");
    let both = run(at(server, &["submit", "-k", "reverse", "-f", &one, "-f", &two, "-f", "-"])).success();
    assert_eq!(both.stdout, b"x\0\xff\nowt\n\n");
    assert_eq!(printed(at(server, &["submit", "reverse", "abc", "-n", "3"])), "cba\ncba\ncba\n");
    assert_eq!(printed(at(server, &["submit", "reverse", ""])), "");
    let large = "0123456789".repeat(300_000);
    let reversed = with_input(at(server, &["submit", "reverse"]), &large).text();
    assert!(reversed.bytes().rev().eq(large.bytes()));
}

fn every_line_is_a_job(server: &mut Server) {
    let _worker = usual_worker(server);
    let input: String = (0..2000).map(|number| format!("line {number}\r\n")).collect();
    let ordered = with_input(at(server, &["submit", "-lk", "reverse"]), &input).text();
    let expected: String = input.lines().map(|line| line.chars().rev().collect::<String>() + "\n").collect();
    assert_eq!(ordered, expected);
    let unordered = with_input(at(server, &["submit", "-l", "reverse", "--in-flight", "7"]), &input).text();
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&unordered), sorted(&expected));
    assert_eq!(with_input(at(server, &["submit", "-l", "reverse"]), "").text(), "");
    assert_eq!(with_input(at(server, &["submit", "-l", "reverse", "-n", "2"]), "ab\n\ncd").text().len(), 14);
}

fn one_job_is_followed(server: &mut Server) {
    let _worker = usual_worker(server);
    let finished = run(at(server, &["submit", "pieces", "--progress", "x"])).success();
    assert_eq!(finished.text(), "one,two,three");
    let told: Vec<_> = finished.stderr.lines().collect();
    assert_eq!(
        told,
        ["gearctl: warning: careful", "gearctl: warning: \\u{1b}[2J", "gearctl: 1 of 2"],
        "a warning cannot steer the terminal"
    );
    let quiet = run(at(server, &["submit", "pieces", "-q", "x"])).success();
    assert_eq!((&*quiet.text(), &*quiet.stderr), ("one,two,three", ""));
    let many = run(at(server, &["submit", "pieces", "-n", "2", "x"])).success();
    assert_eq!(many.text(), "one,two,three\none,two,three\n");
    assert!(many.stderr.contains("warning of job 1: careful"), "{}", many.stderr);
}

fn failures_have_exit_codes(server: &mut Server) {
    let _worker = usual_worker(server);
    fails(at(server, &["submit", "fails", "x"]), 1, "the job failed");
    fails(at(server, &["submit", "throws", "x"]), 1, "exception: broken");
    fails(at(server, &["submit", "nobody", "x", "-t", "50ms"]), 4, "no result within");
    let many = fails(at(server, &["submit", "throws", "-n", "30", "x"]), 1, "30 of 30 jobs failed");
    // Not each of very many; in which order they end is the workers' business.
    assert_eq!(many.stderr.matches("gearctl: job ").count(), 20, "{}", many.stderr);
    fails(at(server, &["submit", "-f", "/nonexistent/file", "reverse"]), 2, "cannot read /nonexistent/file");
    fails(at(server, &["submit", "reverse", "x", "--unique", &"u".repeat(65)]), 2, "64");
    fails(at(server, &["submit", "reverse", "x", "--at", "soon"]), 2, "write a time such as 18:00");
    fails(at(server, &["submit", "reverse", "x", "-p", "low", "--in", "1"]), 2, "a time and a priority");
    fails(at(server, &["submit", "reverse", "x", "-n", "0"]), 2, "0");
    fails(gearctl(&["submit", "reverse", "x", "-s", &nowhere()]), 3, "start one or check the address");
}

fn background_jobs_are_queued_as_told(server: &mut Server) {
    let handle = printed(at(server, &["submit", "-b", "later", "x"]));
    assert!(client(server).status(&handle.trim().parse().unwrap()).unwrap().known, "{handle}");
    assert_eq!(
        printed(at(server, &["submit", "-b", "later", "x", "-n", "3", "-p", "high"])).lines().count(),
        3
    );
    assert_eq!(printed(at(server, &["submit", "-b", "later", "x", "-p", "low"])).lines().count(), 1);
    assert_eq!(server.admin("prioritystatus"), "later\t3\t1\t1\t0\n");
    // Jobs with a time wait for it though a worker is there.
    let times = [&["--in", "1h"][..], &["--at", "2090-01-01 12:00"], &["--at", "@4000000000"]];
    for time in times {
        assert!(printed(at(server, &[&["submit", "timed", "x"], time].concat())).starts_with("H:"));
    }
    let _worker = Worker::builder([server.address().into()])
        .function("later", |_| Ok(""))
        .function("timed", |_| Ok(""))
        .start()
        .unwrap();
    wait_until("what has no time is done", || server.counts("later").0 == 0);
    assert_eq!(server.counts("timed").0, 3);
}

fn uniques_join(server: &mut Server) {
    let handles = printed(at(server, &["submit", "-b", "f", "x", "-u", "one", "-n", "3"]));
    let mut handles: Vec<_> = handles.lines().collect();
    handles.dedup();
    assert_eq!((handles.len(), server.counts("f").0), (1, 1));
    let same = with_input(at(server, &["submit", "-bl", "g", "--unique-by-workload"]), "a\nb\na\n").text();
    assert_eq!((same.lines().count(), server.counts("g").0), (3, 2));
}

fn results_come_as_lines_of_json(server: &mut Server) {
    let _worker = usual_worker(server);
    let lines = |args: &[&str]| -> Vec<serde_json::Value> {
        let text = run(at(server, args)).text();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let good = &lines(&["submit", "reverse", "--json", "a\"b"])[0];
    assert_eq!(
        (&good["outcome"], &good["result"], &good["job"]),
        (&"complete".into(), &"b\"a".into(), &0.into())
    );
    assert!(good["handle"].as_str().unwrap().starts_with("H:"));
    assert_eq!(lines(&["submit", "pieces", "--json", ""])[0]["result"], "one,two,three");
    let failed = &lines(&["submit", "throws", "--json", ""])[0];
    assert_eq!(failed["outcome"], "exception");
    assert!(failed["error"].as_str().unwrap().ends_with("broken"));
    assert_eq!(lines(&["submit", "reverse", "--json", "é"])[0]["result_hex"], "a9c3");
    assert_eq!(lines(&["submit", "-b", "f", "--json", "", "-n", "2"])[1]["outcome"], "queued");
}

fn results_come_while_the_input_goes_on(server: &mut Server) {
    let _worker = usual_worker(server);
    let mut submitting = Fed::start(at(server, &["submit", "-l", "reverse"]));
    for (line, so_far) in [("ab", "ba\n"), ("cd", "ba\ndc\n"), ("ef", "ba\ndc\nfe\n")] {
        submitting.say(line);
        // The next line is written only then.
        wait_until("the result is there", || submitting.output() == so_far);
    }
    submitting.finish();
}

/// A program whose input is written while it runs.
struct Fed {
    child: Child,
    dir: TempDir,
}

impl Fed {
    fn start(mut command: Command) -> Self {
        let dir = TempDir::new();
        let output = File::create(dir.path().join("output")).unwrap();
        Self { child: command.stdin(Stdio::piped()).stdout(output).spawn().unwrap(), dir }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("output")).unwrap()
    }

    /// Ends the input, and waits for the program's good end.
    fn finish(mut self) {
        drop(self.child.stdin.take());
        wait_until("it ends", || self.child.try_wait().unwrap().is_some());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn a_reducer_is_passed_on(server: &mut Server) {
    let _worker = usual_worker(server);
    assert_eq!(printed(at(server, &["submit", "describe", "x", "--reducer", "sum", "-u", "u"])), "u|sum");
}

#[test]
fn many_jobs_have_a_bar_on_a_terminal() {
    let server = Server::gearshard(&["--threads=2"]);
    let command = at(&server, &["submit", "reverse", "abc", "-n", "5"]);
    let mut terminal = Terminal::start(&command, 80, 24);
    terminal.wait_for("bar", |lines| lines.iter().any(|line| line.contains("] 0/5")));
    let _worker = usual_worker(&server);
    terminal.wait_for_last("all results, and no bar", |lines| {
        let results = lines.iter().filter(|line| line.trim() == "cba").count();
        results == 5 && !lines.iter().any(|line| line.contains("/5"))
    });
    assert!(terminal.end().success());
}

#[test]
fn a_line_runs_beside_those_that_came_before_it() {
    let server = Server::gearshard(&["--threads=2"]);
    let (told, order) = std::sync::mpsc::channel();
    let waiting = std::sync::Mutex::new(order);
    let _worker = Worker::builder([server.address().into()])
        .concurrency(2)
        .function("first", move |_| {
            waiting.lock().unwrap().recv()?;
            Ok("first")
        })
        .start()
        .unwrap();
    let mut submitting = Fed::start(at(&server, &["submit", "-l", "first"]));
    for jobs in 1..=2 {
        submitting.say("x");
        wait_until("the line is a job beside the other", || server.counts("first").0 == jobs);
    }
    for _ in 0..2 {
        told.send(()).unwrap();
    }
    submitting.finish();
}

#[test]
fn a_lost_server_is_reported_or_the_job_runs_again() {
    let servers = [Server::gearshard(&[]), Server::gearshard(&[])];
    let both = servers.each_ref().map(|server| server.address().to_string()).join(",");
    let [mut first, second] = servers;
    let mut again = Process::start(gearctl(&["submit", "reverse", "abc", "-s", &both]), b"");
    let mut report =
        Process::start(gearctl(&["submit", "reverse", "abc", "--no-resubmit", "-s", &both]), b"");
    wait_until("both jobs wait", || first.counts("reverse").0 == 2);
    first.kill();
    let lost = report.wait(crate::support::DEADLINE);
    assert_eq!((lost.code(), report.stderr().contains("is lost")), (Some(3), true), "{}", report.stderr());
    let _worker = usual_worker(&second);
    again.wait(crate::support::DEADLINE);
    assert_eq!(again.finish().success().text(), "cba");
}
