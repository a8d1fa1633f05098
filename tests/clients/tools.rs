//! The `gearman` and `gearadmin` tools.

use crate::against_both;
use crate::languages::tool;
use crate::support::process::Finished;
use crate::support::{Kind, Peers, Process, Server, wait_until};

fn gearman(server: &Server, args: &[&str], input: &str) -> Finished {
    let mut command = tool(server);
    command.args(args);
    Process::run(command, input.as_bytes())
}

fn gearadmin(server: &Server, args: &[&str]) -> Finished {
    let mut command = Peers::require().gearadmin();
    command.args(["--host", "127.0.0.1", "--port", &server.port().to_string()]).args(args);
    Process::run(command, b"")
}

// A `gearman -w` that serves `function` with a shell command.
fn serve(server: &Server, args: &[&str], function: &str, shell: &str) -> Process {
    let mut command = tool(server);
    command.args(["-w", "-f", function]).args(args).args(["--", "/bin/sh", "-c", shell]);
    let process = Process::start(command, b"");
    wait_until("the tool serves", || server.counts(function).2 == 1);
    process
}

fn foreground(server: &Server) {
    let _worker = serve(server, &[], "upper", "tr a-z A-Z");
    assert_eq!(gearman(server, &["-f", "upper"], "hello").success().text(), "HELLO");
    assert_eq!(gearman(server, &["-f", "upper", "one", "two"], "").success().text(), "ONETWO");
    assert_eq!(gearman(server, &["-f", "upper", "-s"], "not read").success().text(), "");
    for priority in ["-I", "-L"] {
        assert_eq!(gearman(server, &["-f", "upper", priority, "x"], "").success().text(), "X");
    }
    assert_eq!(gearman(server, &["-f", "upper", "-u", "mine", "x"], "").success().text(), "X");
}

fn lines(server: &Server) {
    let _worker = serve(server, &[], "upper", "tr a-z A-Z");
    assert_eq!(gearman(server, &["-f", "upper", "-n"], "a\nb\n").success().text(), "A\nB\n");
    assert_eq!(gearman(server, &["-f", "upper", "-N"], "a\nb\n").success().text(), "AB");
    assert_eq!(gearman(server, &["-f", "upper", "-P", "x"], "").success().text(), "upper: X");
    // The worker sends a WORK_DATA for each line of its command's output; at
    // each the client prints all that it has.
    let _pieces = serve(server, &["-n"], "pieces", "printf '1\\n2\\n3\\n'");
    assert_eq!(gearman(server, &["-f", "pieces", "x"], "").success().text(), "1\n1\n2\n1\n2\n3\n");
}

fn several_functions(server: &Server) {
    let _upper = serve(server, &[], "upper", "tr a-z A-Z");
    let _count = serve(server, &[], "count", "wc -c");
    let output = gearman(server, &["-f", "upper", "-f", "count", "four"], "").success().text();
    // Which of the two is done first is nobody's business.
    assert!(output == "FOUR4\n" || output == "4\nFOUR", "{output}");
}

fn failure_and_timeout(server: &Server) {
    let _worker = serve(server, &[], "fails", "exit 1");
    let failed = gearman(server, &["-f", "fails", "x"], "");
    assert_eq!((failed.status.code(), failed.stderr.as_str()), (Some(1), "Job failed\n"));
    let waited = gearman(server, &["-f", "served by nobody", "-t", "200", "x"], "");
    assert!(waited.stderr.contains("GEARMAN_TIMEOUT"), "{}", waited.stderr);
    wait_until("the job of a client that left is gone", || {
        let counts = server.counts("served by nobody");
        // gearmand keeps such a job until a worker asks for it.
        counts == (0, 0, 0) || server.kind() == Kind::Gearmand
    });
}

fn background(server: &Server) {
    assert_eq!(gearman(server, &["-f", "order", "-b", "-L", "low"], "").success().text(), "");
    let verbose = gearman(server, &["-f", "order", "-b", "-v", "normal"], "").success().text();
    let handle = verbose.strip_prefix("Task created: ").unwrap().trim_end().to_string();
    gearman(server, &["-f", "order", "-b", "-I", "high"], "").success();
    for _ in 0..3 {
        gearman(server, &["-f", "order", "-b", "-L", "-u", "same", "low, once"], "").success();
    }
    assert_eq!(gearadmin(server, &["--priority-status"]).success().text(), "order\t1\t1\t2\t0\n.\n");
    let jobs = gearadmin(server, &["--show-jobs"]).success().text();
    assert!(jobs.contains(&format!("{handle}\t0\t0\t1\n")), "{handle} in {jobs}");

    let mut worker = tool(server);
    worker.args(["-w", "-f", "order", "-c", "4", "--", "/bin/sh", "-c", "cat >>done; echo >>done"]);
    let mut worker = Process::start(worker, b"");
    assert!(worker.wait(crate::support::DEADLINE).success(), "{}", worker.stderr());
    let done = std::fs::read_to_string(worker.dir().join("done")).unwrap();
    assert_eq!(done, "high\nnormal\nlow\nlow, once\n");
    wait_until("the worker has left", || server.counts("order") == (0, 0, 0));
}

fn admin(server: &mut Server) {
    // It reports a refusal on standard error, and exits with 0.
    let ask = |args: &[&str]| {
        let answer = gearadmin(server, args).success();
        answer.text() + &answer.stderr.replace('\r', "")
    };
    assert_eq!(ask(&["--getpid"]), format!("{}\n", server.pid()));
    let version = ask(&["--server-version"]);
    assert!(version.split('.').count() >= 2 && version.ends_with('\n'), "{version}");
    assert_eq!(ask(&["--server-verbose"]), "ERROR\n");
    assert_eq!(ask(&["--status"]), ".\n");
    assert_eq!(ask(&["--show-jobs"]), ".\n");

    assert_eq!(ask(&["--create-function", "made"]), "OK\n");
    assert_eq!(ask(&["--status"]), "made\t0\t0\t0\n.\n");
    assert_eq!(ask(&["--drop-function", "made"]), "OK\n");
    assert_eq!(ask(&["--status"]), ".\n");
    assert_eq!(ask(&["--drop-function", "made"]), "Error: function not found\n");

    gearman(server, &["-f", "f", "-b", "-u", "unique one", "x"], "").success();
    gearman(server, &["-f", "f", "-b", "-u", "unique two", "x"], "").success();
    let mut uniques: Vec<String> = ask(&["--show-unique-jobs"]).lines().map(str::to_string).collect();
    uniques.sort();
    assert_eq!(uniques, [".", "unique one", "unique two"]);
    let jobs = ask(&["--show-jobs"]);
    let (handle, rest) = jobs.lines().next().unwrap().split_once('\t').unwrap();
    assert_eq!(rest, "0\t0\t1");
    assert_eq!(ask(&["--cancel-job", handle]), "OK\n");
    assert_eq!(ask(&["--cancel-job", "H:elsewhere:1"]), "Error: UNKNOWN_JOB\n");
    if server.kind() == Kind::Gearshard {
        assert_eq!(ask(&["--status"]), "f\t1\t0\t0\n.\n", "a cancelled job is gone at once");
    }
    assert_eq!(ask(&["--priority-status"]).lines().count(), 2);

    let worker = serve(server, &[], "f", "cat");
    let workers = ask(&["--workers"]);
    assert!(workers.contains(" 127.0.0.1 - : f\n"), "{workers}");
    let busy = "Error: there are still connected workers or executing clients\n";
    assert_eq!(ask(&["--drop-function", "f"]), busy);
    drop(worker);
    assert!(server.stop().success());
    let refused = gearadmin(server, &["--status"]);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.text());
}

against_both! {
    gearman_tool_foreground => foreground;
    gearman_tool_line_by_line => lines;
    gearman_tool_several_functions => several_functions;
    gearman_tool_failure_and_timeout => failure_and_timeout;
    gearman_tool_background_and_priorities => background;
    gearadmin_every_command => admin;
}
