//! `gearshard wal` on whole and damaged logs.

use std::path::Path;
use std::process::Command;

use gearshard::client::Job;

use crate::support::Process;
use crate::support::process::{Finished, TempDir};
use crate::{client, durable, log_args, refusal};

fn wal(words: &[&str], dir: &Path) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gearshard"));
    command.arg("wal").args(words).arg(dir);
    Process::run(command, b"")
}

#[test]
fn a_damaged_log_is_refused_told_and_repaired() {
    let dir = TempDir::new();
    let mut server = durable(dir.path(), 1);
    let asker = client(&server);
    for number in 0..20 {
        let job = Job::new("resize", format!("picture {number}")).unique(format!("u{number}"));
        asker.submit_background(job).unwrap();
    }
    let in_use = wal(&["check"], dir.path());
    assert_eq!(in_use.status.code(), Some(1));
    assert!(in_use.stderr.contains("another server uses"), "{}", in_use.stderr);
    server.stop();

    assert!(wal(&["check"], dir.path()).success().text().contains("20 jobs"));
    assert!(wal(&["stat"], dir.path()).success().text().contains("functions   1\n"));
    let dumped = wal(&["dump"], dir.path()).success().text();
    let uniques: Vec<&str> = dumped.lines().map(|line| line.split('\t').nth(2).unwrap()).collect();
    assert_eq!(uniques, (0..20).map(|number| format!("u{number}")).collect::<Vec<_>>());

    // One bit in the middle of what was acknowledged.
    let file = dir.path().join("0000/00000001.wal");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(9).position(|window| window == b"picture 7").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let told = refusal(&log_args(dir.path(), 1).each_ref().map(String::as_str));
    assert!(told.contains("00000001.wal is damaged at byte"), "{told}");
    let checked = wal(&["check"], dir.path());
    assert_eq!(checked.status.code(), Some(1));
    assert!(checked.text().contains("damaged at byte"), "{checked:?}");
    assert!(checked.stderr.contains("damaged places: 1"), "{checked:?}");
    let repaired = wal(&["repair"], dir.path()).success().text();
    assert!(repaired.contains("19 jobs kept") && repaired.contains("0000.damaged-1"), "{repaired}");
    assert!(dir.path().join("0000.damaged-1/00000001.wal").exists());
    wal(&["check"], dir.path()).success();
    assert_eq!(durable(dir.path(), 1).counts("resize").0, 19);
}

#[test]
fn wrong_words_are_explained() {
    let dir = TempDir::new();
    for (words, text) in [(&["melt"][..], "knows no command melt"), (&["check"], "there is no log in")] {
        let done = wal(words, dir.path());
        assert_eq!(done.status.code(), Some(1));
        assert!(done.stderr.contains(text), "{}", done.stderr);
    }
    assert!(wal(&["check"], Path::new("/no/such")).stderr.contains("is no directory"));
    assert!(wal(&["--help"], Path::new("")).success().text().starts_with("usage: gearshard wal"));
}
