//! `gearctl top` in a terminal and as text.

use crate::support::{Process, Server, wait_until};
use crate::terminal::Terminal;
use crate::{against_both, at, client, fails, gearctl, json, nowhere, printed, run};
use gearshard::client::{Job, Worker};

against_both! {
    keys_sort_and_hide;
    a_server_goes_away_and_comes_back;
    a_batch_is_text;
}

/// Jobs of several functions: `few` 1, `some` 3, `many` 5, all without workers; `idle` has a worker only.
fn fill(server: &Server) -> Worker {
    let client = client(server);
    for (function, jobs) in [("few", 1), ("some", 3), ("many", 5)] {
        (0..jobs).for_each(|_| drop(client.submit_background(Job::new(function, "")).unwrap()));
    }
    let worker = Worker::builder([server.address().into()]).function("idle", |_| Ok("")).start().unwrap();
    wait_until("the worker is registered", || server.counts("idle").2 == 1);
    worker
}

/// The names of the functions in the table, from above.
fn order(lines: &[String]) -> Vec<&str> {
    let table = lines.iter().skip_while(|line| !line.contains("FUNCTION")).skip(1);
    let names = table.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| ["few", "some", "many", "idle"].contains(name)).collect()
}

fn top(server: &Server, columns: u16, lines: u16) -> Terminal {
    Terminal::start(&at(server, &["top", "-i", "20ms"]), columns, lines)
}

fn keys_sort_and_hide(server: &mut Server) {
    let _worker = fill(server);
    let mut top = top(server, 80, 24);
    let lines = top.wait_for("table", |lines| order(lines) == ["many", "some", "few", "idle"]);
    assert!(lines[0].starts_with("gearctl top  "), "{lines:?}");
    assert!(lines[1].contains("up, 9 waiting, 0 running, 4 functions"), "{lines:?}");
    assert!(lines[2].contains("▼WAITING") && lines[2].contains("OLDEST"), "{lines:?}");
    assert!(lines[23].starts_with("q quit  ←→ sort  r reverse"), "{lines:?}");
    for (key, expected) in [
        ("1", ["few", "idle", "many", "some"]),
        ("1", ["some", "many", "idle", "few"]),
        ("5", ["idle", "few", "many", "some"]),
        ("3", ["many", "some", "few", "idle"]),
        ("r", ["idle", "few", "some", "many"]),
        // To the column before, which is the one of names, and back to its right.
        ("\u{1b}[D", ["few", "idle", "many", "some"]),
        ("\u{1b}[C", ["many", "some", "few", "idle"]),
        ("r", ["idle", "few", "some", "many"]),
    ] {
        top.press(key);
        top.wait_for(&format!("order after {key}: {expected:?}"), |lines| order(lines) == expected);
    }
    top.press("i");
    top.wait_for("table without idle functions", |lines| order(lines) == ["few", "some", "many"]);
    // What changes is seen.
    client(server).submit_background(Job::new("few", "")).unwrap();
    top.wait_for("second job", |lines| {
        lines.iter().any(|line| line.starts_with("few ") && line.contains(" 2 "))
    });
    top.press("p");
    top.wait_for("pause", |lines| lines[0].contains("PAUSED"));
    top.press("q");
    assert!(top.end().success());
}

fn a_server_goes_away_and_comes_back(server: &mut Server) {
    let _worker = fill(server);
    let mut top = top(server, 100, 20);
    top.wait_for("table", |lines| order(lines).len() == 4);
    let (port, kind) = (server.port(), server.kind());
    server.kill();
    let lines = top.wait_for("server that is away", |lines| lines[1].contains("AWAY: "));
    assert!(lines[0].contains("1 of 1 servers away"), "{lines:?}");
    top.wait_for("reason", |lines| lines[1].contains("cannot reach"));
    assert_eq!(order(&top.lines()).len(), 0, "what it had is not known any more");
    let again = Server::start_on(kind, &[], port);
    client(&again).submit_background(Job::new("few", "")).unwrap();
    top.wait_for("server that is back", |lines| {
        lines[1].contains("up, 1 waiting") && order(lines).contains(&"few")
    });
    top.press("\u{3}");
    assert!(top.end().success());
}

fn a_batch_is_text(server: &mut Server) {
    let _worker = fill(server);
    let text = printed(at(server, &["top", "-i", "20ms"]));
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("FUNCTION  WAITING  RUNNING  WORKERS  IN/s  DONE/s  OLDEST"), "{text}");
    assert!(lines[1].starts_with("many            5        0        0"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let rows = json(at(server, &["top", "-i", "20ms", "--json", "--sort", "function", "i*", "few"]));
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    assert_eq!((&rows[0]["function"], &rows[0]["waiting"]), (&"few".into(), &1.into()));
    assert_eq!(rows[1]["workers"], 1);
    assert_eq!(printed(at(server, &["top", "-i", "20ms", "-n", "3", "-q"])).matches("FUNCTION").count(), 3);
    let both = format!("{},{}", server.address(), nowhere());
    let finished = fails(gearctl(&["top", "-b", "-i", "20ms", "-s", &both]), 3, "cannot reach");
    assert!(finished.text().contains("SERVER"), "{}", finished.text());
    fails(at(server, &["top", "--sort", "size"]), 2, "waiting");
}

/// What `top` knows of `grows` in a figure, as it comes to know it.
fn figures_of_growth(server: &Server, figure: &str) -> String {
    let client = client(server);
    let mut top = Process::start(at(server, &["top", "--json", "-n", "0", "-i", "10ms"]), b"");
    top.wait_for_output("[]\n");
    for _ in 0..500 {
        client.submit_background(Job::new("grows", "")).unwrap();
    }
    let mut kind = String::new();
    wait_until("growth is seen", || {
        let text = top.stdout();
        // The last line may not be whole yet.
        let tables = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let seen = tables.into_iter().find(|table| table[0][figure]["value"].as_f64() > Some(0.0));
        kind = seen.map(|table| table[0][figure]["is"].as_str().unwrap().to_owned()).unwrap_or_default();
        !kind.is_empty()
    });
    top.signal("INT");
    assert!(top.finish().success().stderr.is_empty());
    kind
}

#[test]
fn what_a_server_does_not_tell_has_bounds() {
    for (figure, bound) in [("in_per_second", "at_least"), ("oldest_seconds", "at_most")] {
        assert_eq!(figures_of_growth(&Server::gearshard(&["--threads=2"]), figure), "exactly");
        assert_eq!(figures_of_growth(&Server::gearmand(&[]), figure), bound);
    }
}

#[test]
fn jobs_that_end_are_counted() {
    let server = Server::gearshard(&["--threads=2"]);
    let _worker = crate::usual_worker(&server);
    let client = client(&server);
    let mut top = Terminal::start(&at(&server, &["top", "-i", "50ms", "--sort", "done"]), 80, 24);
    top.wait_for("rates", |lines| {
        lines.iter().any(|line| line.starts_with("reverse ") && line.contains(" 0 "))
    });
    let done = |lines: &[String]| {
        let row = lines.iter().find(|line| line.starts_with("reverse "))?;
        row.split_whitespace().nth(5)?.parse::<f64>().ok()
    };
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                client.run(Job::new("reverse", "x")).unwrap();
            }
        });
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            top.wait_for("jobs that end", |lines| done(lines) > Some(1.0));
        }));
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        seen.unwrap();
    });
    top.press("q");
    assert!(top.end().success());
}

#[test]
fn nothing_is_broken_on_a_screen_of_any_size() {
    let server = Server::gearshard(&[]);
    let _worker = fill(&server);
    let client = client(&server);
    for name in ["日本語の関数の名前はとても長い", &"long-".repeat(60), "\u{1b}[31mred"] {
        client.submit_background(Job::new(name, "")).unwrap();
    }
    for (columns, lines) in [(80, 24), (40, 12), (200, 50), (20, 5), (12, 3), (3, 2)] {
        let mut top = top(&server, columns, lines);
        let title = &"gearctl top"[..11.min(usize::from(columns) - 1)];
        let shown = top.wait_for("title", |shown| shown[0].starts_with(title));
        assert_eq!(shown.len(), usize::from(lines));
        if lines >= 12 {
            let expected = if columns >= 60 { "OLDEST" } else { "WORKERS" };
            let shown = top.wait_for("table", |shown| shown.iter().any(|line| line.contains("many ")));
            let heading = shown.iter().find(|line| line.contains("FUNCTION")).unwrap();
            assert!(heading.trim_end().ends_with(expected), "{shown:#?}");
            let row = shown.iter().find(|line| line.starts_with("many ")).unwrap();
            assert!(row.split_whitespace().nth(1) == Some("5"), "{shown:#?}");
            assert!(shown.last().unwrap().starts_with("q quit"), "{shown:#?}");
        }
        top.press("q");
        assert!(top.end().success());
    }
}

#[test]
fn a_screen_that_changes_its_size_is_drawn_anew() {
    let server = Server::gearshard(&[]);
    let _worker = fill(&server);
    let mut top = top(&server, 80, 24);
    top.wait_for("wide table", |lines| lines[2].contains("OLDEST"));
    top.resize(40, 10);
    let lines = top.wait_for("narrow table", |lines| {
        lines[2].contains("WORKERS") && !lines[2].contains("OLDEST") && lines[9].starts_with("q quit")
    });
    assert_eq!(lines.len(), 10);
    top.resize(120, 30);
    top.wait_for("wide table", |lines| lines[2].contains("OLDEST") && lines[29].contains("scroll"));
    top.press("\u{1b}");
    assert!(top.end().success());
}

#[test]
fn more_rows_than_lines_are_scrolled() {
    let server = Server::gearshard(&[]);
    let client = client(&server);
    for number in 0..30 {
        client.submit_background(Job::new(format!("f{number:02}"), "")).unwrap();
    }
    let mut top = Terminal::start(&at(&server, &["top", "-i", "20ms", "--sort", "function"]), 80, 10);
    let has = |name: &'static str| move |lines: &[String]| lines.iter().any(|line| line.starts_with(name));
    top.wait_for("first row", has("f00 "));
    top.press("\u{1b}[B");
    let lines = top.wait_for("second row as the first", |lines| lines[3].starts_with("f01 "));
    assert!(!has("f00 ")(&lines));
    top.press("\u{1b}[F");
    let lines = top.wait_for("last row", has("f29 "));
    assert!(lines[8].starts_with("f29 "), "{lines:#?}");
    top.press("\u{1b}[H");
    top.wait_for("first row", has("f00 "));
    top.press("q");
    assert!(top.end().success());
}

#[test]
fn several_servers_are_told_apart_or_added_up() {
    let servers = crate::kinds().map(|kind| Server::start(kind, &[]));
    let _workers = servers.each_ref().map(fill);
    let both = servers.each_ref().map(|server| server.address().to_string()).join(",");
    let mut top = Terminal::start(&gearctl(&["top", "-i", "20ms", "-s", &both]), 100, 24);
    let lines = top.wait_for("both servers", |lines| order(lines).len() == 8);
    assert!(
        lines[3].contains("SERVER") && lines[1].contains("up, ") && lines[2].contains("up, "),
        "{lines:?}"
    );
    top.press("m");
    let lines = top.wait_for("sums", |lines| order(lines) == ["many", "some", "few", "idle"]);
    assert!(!lines[3].contains("SERVER"), "{lines:?}");
    assert!(lines[4].split_whitespace().nth(1) == Some("10"), "{lines:?}");
    top.press("q");
    assert!(top.end().success());
}

#[test]
fn signals_give_the_terminal_back() {
    let server = Server::gearshard(&[]);
    for signal in ["INT", "TERM", "HUP"] {
        let mut top = top(&server, 80, 24);
        top.wait_for("title", |lines| lines[0].starts_with("gearctl top"));
        top.signal(signal);
        assert!(top.end().success());
    }
    // A server that was never there is no reason to end.
    let mut top = Terminal::start(&gearctl(&["top", "-i", "20ms", "-s", &nowhere()]), 80, 24);
    top.wait_for("server that is away", |lines| lines[1].contains("AWAY"));
    top.press("\u{3}");
    assert!(top.end().success());
}

#[test]
fn completions_and_pages_are_there_for_every_command() {
    let tasks = [
        "submit", "work", "status", "top", "workers", "jobs", "cancel", "drain", "maxqueue", "ping",
        "version",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(gearctl(&["completions", shell]));
        assert!(tasks.iter().all(|task| script.contains(task)), "{shell}");
    }
    let dir = crate::support::process::TempDir::new();
    let pages = dir.path().join("man");
    run(gearctl(&["man", "--dir", pages.to_str().unwrap()])).success();
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    for task in tasks {
        assert!(page(&format!("gearctl-{task}.1")).contains(".TH"), "{task}");
    }
    for text in [page("gearctl.1"), printed(gearctl(&["man"])), printed(gearctl(&["--help"]))] {
        assert!(text.contains("Exit codes") && text.contains("GEARMAN_SERVERS"), "{text}");
    }
    assert!(page("gearctl-work.1").contains("EX_TEMPFAIL"));
    fails(gearctl(&["completions", "csh"]), 2, "bash");
    fails(gearctl(&["man", "--dir", "/dev/null/x"]), 2, "cannot write to /dev/null/x");
}

#[test]
fn completions_work_in_bash() {
    let dir = crate::support::process::TempDir::new();
    let script = dir.path().join("gearctl.bash");
    std::fs::write(&script, printed(gearctl(&["completions", "bash"]))).unwrap();
    let line = format!(
        "source {}; COMP_WORDS=(gearctl su); COMP_CWORD=1; _gearctl gearctl su gearctl; echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let mut shell = std::process::Command::new("/bin/bash");
    shell.args(["--norc", "-c", &line]);
    assert_eq!(printed(shell), "submit\n");
}
