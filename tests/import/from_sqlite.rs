//! What gearmand has left in SQLite.

use gearshard::protocol::packet::Command::{JobCreated, SubmitJobBg};

use super::from_redis::{fill, is_imported_whole};
use super::support::Connection;
use super::support::process::TempDir;
use super::*;

#[test]
fn every_job_of_gearmand_is_imported_whole_and_once() {
    let dir = TempDir::new();
    let file = dir.path().join("queue.db");
    let source = ["--queue-type=libsqlite3".to_owned(), format!("--libsqlite3-db={}", file.display())];
    let jobs = fill(&source);
    let before = std::fs::read(&file).unwrap();
    is_imported_whole(&source, &jobs);
    assert!(std::fs::read(&file).unwrap() == before, "the source is left as it is");
}

#[test]
fn a_file_has_one_name_only() {
    let dir = TempDir::new();
    let (file, link) = (dir.path().join("queue.db"), dir.path().join("link.db"));
    let option =
        |file: &Path| ["--queue-type=libsqlite3".to_owned(), format!("--libsqlite3-db={}", file.display())];
    let mut server = Server::gearshard(&option(&file).each_ref().map(String::as_str));
    let mut connection = Connection::open(server.address());
    for unique in ["", "", "-", "u"] {
        connection.send(SubmitJobBg, &[b"f", unique.as_bytes()], b"data");
        connection.expect(JobCreated);
    }
    server.kill();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let log = TempDir::new();
    assert_eq!(import(&option(&file), log.path()).success().text(), counted(4, 4, 0, 0));
    assert_eq!(import(&option(&link), log.path()).success().text(), counted(4, 0, 4, 0));
    // Made keys are empty uniques again.
    let uniques: Vec<String> =
        dump(log.path()).iter().map(|line| line.split('\t').nth(1).unwrap().to_owned()).collect();
    assert_eq!(uniques, ["", "", "-", "u"]);
}
