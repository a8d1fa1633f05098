//! Lists: tables and JSON, once and again and again, of one and of several servers.

use crate::support::{Process, Server};
use crate::{against_both, at, client, fails, gearctl, json, kinds, nowhere, printed, run};
use gearshard::client::{Job, Worker};

against_both! {
    status_shows_functions;
    status_of_single_jobs;
    workers_are_listed;
    versions_are_told;
}

fn status_shows_functions(server: &mut Server) {
    let client = client(server);
    client.submit_background(Job::new("mail", "1").high()).unwrap();
    client.submit_background(Job::new("mail", "2")).unwrap();
    client.submit_background(Job::new("\u{1b}[31mred", "")).unwrap();

    let table = printed(at(server, &["status"]));
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("FUNCTION       WAITING  RUNNING  WORKERS"));
    assert_eq!(lines.next(), Some("\\u{1b}[31mred        1        0        0"));
    assert_eq!(lines.next(), Some("mail                 2        0        0"));
    assert_eq!(lines.next(), None);

    let rows = json(at(server, &["status", "mai*", "--json"]));
    assert_eq!(
        rows,
        serde_json::json!([{
            "server": server.address().to_string(),
            "function": "mail", "total": 2, "waiting": 2, "running": 0, "workers": 0,
        }])
    );
    let rows = json(at(server, &["status", "--priorities", "--json", "mail"]));
    assert_eq!((&rows[0]["high"], &rows[0]["normal"], &rows[0]["low"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!(printed(at(server, &["status", "nothing"])), "FUNCTION  WAITING  RUNNING  WORKERS\n");
}

fn status_of_single_jobs(server: &mut Server) {
    let handle = client(server).submit_background(Job::new("mail", "1").unique("u1")).unwrap().to_string();
    let table = printed(at(server, &["status", "--handle", &handle]));
    assert!(table.lines().nth(1).unwrap().ends_with("  waiting         -        -"), "{table}");
    let rows = json(at(server, &["status", "--handle", &handle, "--json"]));
    assert_eq!((&rows[0]["known"], &rows[0]["running"]), (&true.into(), &false.into()));
    assert_eq!(rows[0]["job"], handle);
    let unknown = fails(at(server, &["status", "--handle", "H:x:1", "--json"]), 1, "1 of the jobs");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&unknown.stdout).unwrap()[0]["known"], false);
    let rows = json(at(server, &["status", "--unique", "u1", "--json"]));
    assert_eq!((&rows[0]["known"], &rows[0]["clients"]), (&true.into(), &0.into()));
}

fn workers_are_listed(server: &mut Server) {
    let worker = Worker::builder([server.address().into()]).id("\u{7}bell").function("mail", |_| Ok(""));
    let _worker = worker.start().unwrap();
    crate::support::wait_until("the worker is there", || server.counts("mail").2 == 1);
    let rows = json(at(server, &["workers", "--json"]));
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    assert_eq!(rows[0]["address"], "127.0.0.1");
    assert_eq!(rows[0]["id"], "\\u{7}bell");
    assert_eq!(rows[0]["functions"], serde_json::json!(["mail"]));
    assert!(printed(at(server, &["workers", "mail"])).contains("  mail\n"));
    assert_eq!(printed(at(server, &["workers", "other"])).lines().count(), 1);
    let all = json(at(server, &["workers", "--all", "--json"]));
    assert!(all.as_array().unwrap().len() > 1, "{all}");
}

fn versions_are_told(server: &mut Server) {
    let rows = json(at(server, &["version", "--json"]));
    assert_eq!(rows[0]["pid"], server.pid());
    assert!(!rows[0]["version"].as_str().unwrap().is_empty());
    let table = printed(at(server, &["version"]));
    assert!(table.starts_with("VERSION ") && table.contains(&server.pid().to_string()), "{table}");
}

#[test]
fn several_servers_are_told_apart_and_one_that_is_away_hides_nothing() {
    let servers = kinds().map(|kind| Server::start(kind, &[]));
    for server in &servers {
        client(server).submit_background(Job::new("f", "")).unwrap();
    }
    let [first, second] = servers.each_ref().map(|server| server.address().to_string());
    let both = format!("{first},{second}");
    let table = printed(gearctl(&["status", "-s", &both]));
    assert!(table.starts_with("SERVER "), "{table}");
    assert_eq!(table.matches("  f  ").count(), 2, "{table}");

    let away = nowhere();
    let args = ["status", "--server", &first, "--server", &away, "-s", &second, "--json"];
    let finished = fails(gearctl(&args), 3, &format!("cannot reach {away}: "));
    let rows: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    let from: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["server"].as_str().unwrap()).collect();
    assert_eq!(from, [first, second]);
}

#[test]
fn a_watched_list_comes_again_and_again() {
    let server = Server::gearshard(&[]);
    let mut watch = Process::start(at(&server, &["status", "--json", "--watch=10ms"]), b"");
    watch.wait_for_output("[]\n[]\n");
    client(&server).submit_background(Job::new("f", "")).unwrap();
    watch.wait_for_output("\"function\":\"f\"");
    assert!(watch.stdout().lines().filter(|line| line.ends_with(']')).count() > 2);
    let mut table = Process::start(at(&server, &["status", "-w=10ms"]), b"");
    table.wait_for_output("\n\nFUNCTION ");
    assert!(!table.stdout().contains('\u{1b}'), "a file is no screen");
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let server = Server::gearshard(&[]);
    let gearctl = env!("CARGO_BIN_EXE_gearctl");
    let mut shell = std::process::Command::new("/bin/bash");
    let line = format!("set -o pipefail; {gearctl} -s {} status --watch=1ms | head -1", server.address());
    shell.arg("-c").arg(line);
    let finished = run(shell).success();
    assert_eq!((finished.text().lines().count(), &*finished.stderr), (1, ""));
}

#[test]
fn what_cannot_be_is_told_with_what_to_do() {
    let server = Server::gearshard(&[]);
    fails(at(&server, &["stauts"]), 2, "status");
    fails(gearctl(&[]), 2, "Usage: gearctl");
    fails(at(&server, &["status", "--colour"]), 2, "--help");
    fails(gearctl(&["status", "-s", "host:http"]), 2, "write host, host:port");
    fails(at(&server, &["status", "--watch=soon"]), 2, "write a time such as 5s");
    fails(at(&server, &["status", "--handle", "H:1", "f"]), 2, "cannot be used with");
    fails(gearctl(&["status", "-s", &nowhere()]), 3, "start a server there or check the address");
    let help = printed(gearctl(&["--help"]));
    assert!(help.contains("Exit codes:") && help.contains("GEARMAN_SERVERS"), "{help}");
    assert!(printed(gearctl(&["--version"])).starts_with("gearctl "));
}
