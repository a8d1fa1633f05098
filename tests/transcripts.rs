//! Plays the transcripts in `tests/transcripts` against gearshard and against
//! Debian's gearmand 1.1.20. Their format is explained in the README there.
//!
//! `TRANSCRIPTS=05-submitting cargo test --test transcripts` plays only those
//! whose path contains the given text.

mod support;

#[path = "transcripts/runner/connection.rs"]
mod connection;
#[path = "transcripts/runner/player.rs"]
mod player;
#[path = "transcripts/runner/script.rs"]
mod script;
#[path = "transcripts/runner/template.rs"]
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use gearshard::protocol::packet::Command;

use player::Stage;
use script::{Action, Expected, Script, Sent};
use support::{Kind, Server};

/// Transcripts played at the same time; nearly all of them only wait.
const PLAYERS: usize = 48;

#[test]
fn gearmand_does_what_the_transcripts_say() {
    play_all(Kind::Gearmand, &[]);
}

#[test]
fn gearshard_with_one_shard_does_what_the_transcripts_say() {
    play_all(Kind::Gearshard, &["--threads=1"]);
}

#[test]
fn gearshard_with_four_shards_does_what_the_transcripts_say() {
    play_all(Kind::Gearshard, &["--threads=4"]);
}

/// The servers of one run: one for each list of arguments.
struct Servers {
    kind: Kind,
    arguments: Vec<String>,
    shared: Mutex<BTreeMap<Vec<String>, Arc<OnceLock<Server>>>>,
}

impl Servers {
    fn arguments(&self, script: &Script) -> Vec<String> {
        let mut arguments = self.arguments.clone();
        let names_it = script.arguments.iter().any(|argument| argument.starts_with("--worker-wakeup"));
        if !names_it && !script.default_wakeup {
            arguments.push("--worker-wakeup=0".to_owned());
        }
        arguments.extend(script.arguments.iter().cloned());
        arguments
    }

    fn start(&self, arguments: &[String]) -> Server {
        Server::start(self.kind, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    // Plays `script`, which is number `number` of this run, on its server.
    fn play(&self, script: &Script, number: usize) -> Result<(), String> {
        let arguments = self.arguments(script);
        if script.alone {
            let mut server = self.start(&arguments);
            let outcome = player::play(script, &Stage::on(&server, number));
            return outcome.and_then(|()| match server.process().exit_status() {
                Some(status) => Err(format!("the server has ended: {status}\n{}", server.log())),
                None => Ok(()),
            });
        }
        let slot = Arc::clone(
            self.shared.lock().expect("nobody panics with it").entry(arguments.clone()).or_default(),
        );
        let server = slot.get_or_init(|| self.start(&arguments));
        player::play(script, &Stage::on(server, number))
    }

    // Servers that did not live to the end.
    fn casualties(self) -> Vec<String> {
        let shared = self.shared.into_inner().expect("nobody panics with it");
        let mut casualties = Vec::new();
        for (arguments, slot) in shared {
            let server = Arc::into_inner(slot).and_then(OnceLock::into_inner);
            let Some(mut server) = server else { continue };
            if let Some(status) = server.process().exit_status() {
                casualties.push(format!(
                    "{:?} {arguments:?} has ended: {status}\n{}",
                    self.kind,
                    server.log()
                ));
            }
        }
        casualties
    }
}

fn play_all(kind: Kind, arguments: &[&str]) {
    let scripts = read_scripts();
    let servers = Servers {
        kind,
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        shared: Mutex::default(),
    };
    let chosen = std::env::var("TRANSCRIPTS").unwrap_or_default();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(BTreeMap::new());
    let played = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(script) = scripts.get(number) else { break };
                    let skipped = script.skip.as_ref().is_some_and(|(skipped, _)| *skipped == kind);
                    if skipped || !script.path.to_string_lossy().contains(&chosen) {
                        continue;
                    }
                    played.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = servers.play(script, number) {
                        failures.lock().expect("nobody panics with it").insert(number, error);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panics with it");
    let mut report = String::new();
    for (number, error) in &failures {
        let script = &scripts[*number];
        report += &format!("\n{}: {}\n{error}\n", script.path.display(), script.title);
    }
    for casualty in servers.casualties() {
        report += &format!("\n{casualty}\n");
    }
    let played = played.into_inner();
    assert!(played > 0, "no transcript was played; TRANSCRIPTS={chosen}");
    assert!(
        report.is_empty(),
        "{} of {played} transcripts fail on {kind:?} {arguments:?}:\n{report}",
        failures.len()
    );
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// All transcripts, in the order of their paths.
fn read_scripts() -> Vec<Script> {
    let mut paths = Vec::new();
    for section in std::fs::read_dir(folder()).expect("the folder is there") {
        let section = section.expect("the folder is readable").path();
        if section.is_dir() {
            let files = std::fs::read_dir(section).expect("the folder is readable");
            paths.extend(files.map(|file| file.expect("the folder is readable").path()));
        }
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let mut scripts = Vec::new();
    let mut mistakes = String::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a transcript is text");
        let inside = path.strip_prefix(folder()).expect("it is in the folder");
        match Script::parse(inside, &text) {
            Ok(script) => scripts.push(script),
            Err(error) => mistakes += &format!("{}: {error}\n", path.display()),
        }
    }
    assert!(mistakes.is_empty(), "\n{mistakes}");
    scripts
}

fn expects_something(script: &Script) -> bool {
    script.all_steps().iter().any(|step| {
        matches!(step.action, Action::Expect { .. } | Action::OneOf { .. } | Action::Eventually { .. })
    })
}

// What is sent, and what is expected, in all scripts.
fn words(scripts: &[Script]) -> (BTreeSet<u32>, String) {
    let mut commands = BTreeSet::new();
    let mut lines = String::new();
    for step in scripts.iter().flat_map(Script::all_steps) {
        let (sent, expected) = match &step.action {
            Action::Send { what, .. } => (Some(what), None),
            Action::Expect { what, .. } | Action::Maybe { what, .. } | Action::OneOf { what, .. } => {
                (None, Some(what))
            }
            Action::Eventually { send, expect, .. } => (Some(send), Some(expect)),
            _ => (None, None),
        };
        match sent {
            Some(Sent::Packet { number, .. }) => drop(commands.insert(*number)),
            Some(Sent::Bytes(_)) => lines += &format!("{}\n", step.text),
            None => {}
        }
        if let Some(Expected::Packet { command, .. }) = expected {
            commands.insert(*command as u32);
        }
    }
    (commands, lines)
}

// What the player must say of these wrong transcripts.
const WRONG: &[(&str, &[&str])] = &[
    ("c> GRAB_JOB\nc< NOOP", &["line 3: c< NOOP", "expected: NOOP", "received: NO_JOB"]),
    ("c> GRAB_JOB\nc< nothing", &["line 3", "received: NO_JOB"]),
    ("c> GRAB_JOB\nc< closed", &["line 3", "received: NO_JOB"]),
    ("c> GRAB_JOB\nc> ECHO_REQ x\nc< NO_JOB", &["at the end", "unread by c", "ECHO_RES x"]),
    ("c> REQ 43\no> ECHO_REQ x\no< ECHO_RES x", &["at the end", "say `c< closed`"]),
    ("c> a b c d e f\no> ECHO_REQ x\no< ECHO_RES x", &["at the end", "c was closed by the server"]),
    ("c> REQ 43\nc< NO_JOB", &["line 3", "has closed the connection"]),
    ("c> GET_STATUS {h1}\nc< STATUS_RES {h1}|0|0|0|0", &["line 2", "no job has the handle {h1}"]),
    (
        "c> SUBMIT_JOB_BG {f}||1\nc< JOB_CREATED {h1}\nc> SUBMIT_JOB_BG {f}||2\nc< JOB_CREATED {h1}",
        &["line 5", "expected: JOB_CREATED H:", "received: JOB_CREATED H:"],
    ),
    (
        "c> SUBMIT_JOB_BG {f}|u|1\nc< JOB_CREATED {h1}\nc> SUBMIT_JOB_BG {f}|u|2\nc< JOB_CREATED {h2}",
        &["line 5", "expected: JOB_CREATED {h2}"],
    ),
    ("c> CAN_DO {f}\nc> status\nc< list", &["line 4", "without a line", "received: \"f~"]),
    ("c> status\nc< list\n    {f}\\t0\\t0\\t1", &["line 3", "expected: a list with"]),
    ("c> nonsense\nc< \"OK\\n\"", &["line 3", "expected: \"OK", "received: \"ERR UNKNOWN_COMMAND"]),
    ("w> CAN_DO {f}\nw> PRE_SLEEP\none of w v< NOOP", &["line 4", "none of them"]),
    (
        "w> CAN_DO {f}\nw> PRE_SLEEP\nc> SUBMIT_JOB_BG {f}||\nc< JOB_CREATED {h1}\nw< nothing",
        &["line 6", "received: NOOP"],
    ),
    (
        "c> SUBMIT_JOB {f}||\nc< JOB_CREATED {h1}\nw> CAN_DO {f}\nw> GRAB_JOB\nw< JOB_ASSIGN {h1}|{f}|\n\
         w> WORK_COMPLETE {h1}|r",
        &["at the end", "unread by c", "WORK_COMPLETE H:"],
    ),
];

#[test]
fn wrong_transcripts_fail_and_say_where() {
    let servers = [
        Server::gearmand(&["--worker-wakeup=0"]),
        Server::gearshard(&["--threads=1", "--worker-wakeup=0"]),
        Server::gearshard(&["--threads=4", "--worker-wakeup=0"]),
    ];
    // Several times: with other names, other shards are between the connections.
    for (number, (steps, wanted)) in (0..200).zip(WRONG.iter().cycle()) {
        let text = format!("# Spec 2: A wrong transcript.\n{steps}\n");
        let script = Script::parse(Path::new("wrong.txt"), &text).expect("it can be read");
        for server in &servers {
            let stage = Stage::on(server, number);
            let error = player::play(&script, &stage).expect_err(steps);
            for part in *wanted {
                assert!(error.contains(part), "{steps}\ndoes not fail with {part:?} on {stage:?}:\n{error}");
            }
        }
    }
}

#[test]
fn every_transcript_expects_something_and_lies_in_the_folder_of_its_section() {
    for script in read_scripts() {
        let path = script.path.display();
        assert!(expects_something(&script), "{path} expects nothing");
        let folder = if script.defect { "defects".to_owned() } else { format!("{:02}-", script.section) };
        assert!(path.to_string().starts_with(&folder), "{path} is not in its section's folder, {folder}...");
        assert!(script.defect || (2..=13).contains(&script.section), "{path}: no such section");
        assert!(
            !script.defect || [19, 22, 23].contains(&script.section),
            "{path}: defects are listed elsewhere"
        );
    }
}

#[test]
fn every_packet_and_every_admin_command_occurs() {
    let scripts = read_scripts();
    let (commands, lines) = words(&scripts);
    for command in Command::ALL {
        assert!(commands.contains(&(*command as u32)), "{} occurs in no transcript", command.name());
    }
    let admin = [
        "version",
        "verbose",
        "getpid",
        "workers",
        "status",
        "prioritystatus",
        "show jobs",
        "show unique jobs",
        "show functions",
        "cancel job",
        "create function",
        "drop function",
        "maxqueue",
        "shutdown",
    ];
    for command in admin {
        assert!(lines.contains(&format!("> {command}")), "`{command}` occurs in no transcript");
    }
    for section in 2..=13 {
        let found = scripts.iter().any(|script| !script.defect && script.section == section);
        assert!(found, "there is no transcript for section {section}");
    }
}
