//! What cannot be imported says why, and what to do.

use super::support::process::TempDir;
use super::support::redis::Redis;
use super::*;

fn refusal(words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gearshard"));
    command.env_clear().arg("import").args(words);
    let done = Process::run(command, b"");
    assert_eq!((done.status.code(), done.text()), (Some(1), String::new()), "{}", done.stderr);
    done.stderr
}

#[test]
fn wrong_words_are_refused() {
    let dir = TempDir::new();
    let wal = format!("--wal-dir={}", dir.path().join("log").display());
    let missing = format!("--libsqlite3-db={}", dir.path().join("none.db").display());
    let cases: [(&[&str], &str); 8] = [
        (&[], "needs --queue-type"),
        (&["--queue-type=wal", &wal], "needs --queue-type"),
        (&["--queue-type=builtin", &wal], "needs --queue-type"),
        (&["--queue-type=nothing", &wal], "nothing"),
        (&["--queue-type=libtokyocabinet", &wal], "not built into this version"),
        (&["--queue-type=redis"], "needs --wal-dir"),
        (&["--queue-type=redis", &wal, "--no-such-option"], "no-such-option"),
        (&["--queue-type=libsqlite3", &wal, &missing], "none.db"),
    ];
    for (words, expected) in cases {
        let told = refusal(words);
        assert!(told.contains(expected), "{words:?}: {told}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gearshard"));
    command.args(["import", "--help"]);
    assert!(Process::run(command, b"").success().text().contains("usage: gearshard import"));
}

#[test]
fn a_store_that_is_away_and_a_log_in_use_are_told() {
    let mut redis = Redis::start(&[]);
    let dir = TempDir::new();
    let running = server(dir.path());
    let done = import(&redis.server_args(), dir.path());
    assert!(done.stderr.contains("another server uses"), "{}", done.stderr);
    drop(running);
    redis.kill();
    let done = import(&redis.server_args(), dir.path());
    assert_eq!(done.status.code(), Some(1));
    assert!(done.stderr.contains(&format!("127.0.0.1:{}", redis.port())), "{}", done.stderr);
}

#[test]
fn a_damaged_list_of_what_was_imported_is_told() {
    let redis = Redis::start(&[]);
    let dir = TempDir::new();
    engine(&redis).apply(&[row("f", "1", b"x")], &[]).unwrap();
    import(&redis.server_args(), dir.path()).success();
    let path = dir.path().join("imported");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[15] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let done = import(&redis.server_args(), dir.path());
    assert_eq!(done.status.code(), Some(1));
    assert!(done.stderr.contains("imported") && done.stderr.contains("damaged"), "{}", done.stderr);
}
