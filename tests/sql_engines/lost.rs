//! Servers that go away and come back.

use std::process::Command;

use gearshard::storage::rows::{Engine, EngineError};

use super::support::databases::{Database, Sql};
use super::{for_both, open, row, rows, try_open};

for_both!(a_server_that_goes_away_is_noticed_and_used_again);

fn lost(result: Result<(), EngineError>) {
    match result {
        Err(EngineError::Lost(_)) => {}
        other => panic!("{other:?}"),
    }
}

fn signal(name: &str, processes: &[u32]) {
    for pid in processes {
        let status = Command::new("/bin/sh").arg("-c").arg(format!("kill -s {name} {pid}")).status();
        assert!(status.unwrap().success(), "{name} {pid}");
    }
}

/// Connects again; what was written before is there.
fn back(engine: &mut dyn Engine, rows_before: usize) {
    engine.connect().unwrap();
    assert_eq!(rows(engine).len(), rows_before);
}

fn a_server_that_goes_away_is_noticed_and_used_again(sql: Sql) {
    let mut database = Database::start(sql);
    let name = database.create();
    let mut engine = open(&database, &name);
    engine.apply(&[row("a", "f", b"1")], &[]).unwrap();
    database.kill();
    lost(engine.apply(&[row("b", "f", b"2")], &[]));
    lost(engine.apply(&[row("b", "f", b"2")], &[]));
    lost(engine.read(&mut |_| ()));
    lost(engine.connect());
    lost(try_open(&database, &name, "queue").map(drop));
    database.restart();
    back(&mut *engine, 1);
    engine.apply(&[row("b", "f", b"2")], &[]).unwrap();

    database.stop();
    lost(engine.read(&mut |_| ()));
    database.restart();
    back(&mut *engine, 2);

    // One that is there and does not answer: only a limit of time shows it.
    let processes = database.processes();
    signal("STOP", &processes);
    lost(engine.apply(&[row("c", "f", b"3")], &[]));
    signal("CONT", &processes);
    engine.connect().unwrap();
    engine.apply(&[row("c", "f", b"3")], &[]).unwrap();
    assert_eq!(rows(&mut *engine).len(), 3);
}
