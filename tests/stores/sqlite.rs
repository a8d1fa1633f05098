//! gearmand's `libsqlite3`.

use gearshard::protocol::packet::Command;
use rusqlite::Connection;

use crate::support::process::TempDir;
use crate::support::{Kind as ServerKind, Process, Server, wait_until};
use crate::talk::{background, drain, refusal, seen, submit};
use crate::{Kind, Rows, Times};

struct Sqlite(TempDir);

impl Sqlite {
    fn open(&self) -> Connection {
        Connection::open(self.0.path().join("queue.db")).unwrap()
    }
}

impl Kind for Sqlite {
    const TIMES: Times = Times::All;

    fn start() -> Self {
        Self(TempDir::new())
    }

    fn args(&self) -> Vec<String> {
        let file = self.0.path().join("queue.db");
        vec!["--queue-type=libsqlite3".to_owned(), format!("--libsqlite3-db={}", file.display())]
    }
}

impl Rows for Sqlite {
    fn gearmand_args(&self) -> Vec<String> {
        self.args()
    }

    fn rows(&self) -> usize {
        let count = "SELECT count(*) FROM gearman_queue";
        self.open().query_row(count, [], |row| row.get::<_, u32>(0)).unwrap() as usize
    }

    fn spoil(&self) -> usize {
        let insert =
            "INSERT INTO gearman_queue (unique_key, function_name, priority, data, when_to_run) VALUES";
        let rows = [
            "(NULL, 'f', 1, 'x', 0)",
            "('a', NULL, 1, 'x', 0)",
            "('b', 'f', 3, 'x', 0)",
            "('c', 'f', 'high', 'x', 0)",
            "('d', 'f', 1, 12, 0)",
            "('e', 'f', 1, 'x', -1)",
            "('f' || char(0) || 'g', 'f', 1, 'x', 0)",
        ];
        let connection = self.open();
        for row in rows {
            connection.execute_batch(&format!("{insert} {row}")).unwrap();
        }
        rows.len()
    }
}

crate::suite!(sqlite, Sqlite);
crate::rows_suite!(sqlite_rows, Sqlite);

fn serve(store: &Sqlite, more: &[&str]) -> Server {
    let args = store.args();
    Server::gearshard(&args.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
}

#[test]
fn the_table_is_gearmands_to_the_letter() {
    let schema = |store: &Sqlite| {
        let select = "SELECT replace(sql, '\"', '') FROM sqlite_master WHERE name = 'gearman_queue'";
        store.open().query_row(select, [], |row| row.get::<_, String>(0)).unwrap()
    };
    let (ours, theirs) = (Sqlite::start(), Sqlite::start());
    drop(serve(&ours, &[]));
    let args = theirs.gearmand_args();
    drop(Server::start(ServerKind::Gearmand, &args.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(schema(&ours), schema(&theirs));
}

#[test]
fn an_old_table_gets_its_time_column_and_rows_of_gearmands_empty_workloads_are_jobs() {
    let store = Sqlite::start();
    let old =
        "CREATE TABLE gearman_queue ( unique_key TEXT, function_name TEXT, priority INTEGER, data BLOB, \
               PRIMARY KEY (unique_key, function_name));
               INSERT INTO gearman_queue VALUES ('second', 'f', 1, x'00ff', NULL);
               INSERT INTO gearman_queue VALUES ('first', 'f', 0, NULL, NULL)";
    store.open().execute_batch(&old.replace(", NULL)", ")")).unwrap();
    let server = serve(&store, &[]);
    assert_eq!(drain(&server, &[b"f"]), [seen(b"f", b"first", b""), seen(b"f", b"second", b"\0\xff")]);
    store.open().prepare("SELECT when_to_run FROM gearman_queue").unwrap();
}

#[test]
fn names_are_kept_byte_by_byte_as_text() {
    let store = Sqlite::start();
    let mut server = serve(&store, &["--libsqlite3-table=an odd \"name\"; --"]);
    let job = seen(b"\xff\xfe", b"\x80unique", b"x");
    submit(&mut server.connect(), Command::SubmitJobBg, &job);
    server.kill();
    let select = "SELECT typeof(unique_key) || typeof(function_name) || typeof(data) FROM \
                  \"an odd \"\"name\"\"; --\"";
    let types = store.open().query_row(select, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(types, "texttextblob");
    let server = serve(&store, &["--libsqlite3-table=an odd \"name\"; --"]);
    assert_eq!(drain(&server, &[b"\xff\xfe"]), [job]);
}

#[test]
fn the_journal_mode_is_left_as_it_is() {
    let mode = |store: &Sqlite| {
        store.open().query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)).unwrap()
    };
    let store = Sqlite::start();
    background(&mut serve(&store, &[]).connect(), "f", "", "x");
    assert_eq!(mode(&store), "delete");
    store.open().query_row("PRAGMA journal_mode=wal", [], |_| Ok(())).unwrap();
    background(&mut serve(&store, &[]).connect(), "f", "", "x");
    assert_eq!((mode(&store), store.rows()), ("wal".to_owned(), 2));
}

#[test]
fn with_store_queue_on_shutdown_rows_are_written_at_a_clean_end_only() {
    let store = Sqlite::start();
    let at_end = ["--store-queue-on-shutdown", "--threads=2"];
    let mut server = serve(&store, &at_end);
    let mut client = server.connect();
    let jobs: Vec<String> = (0..20).map(|number| format!("u{number}")).collect();
    for unique in &jobs {
        background(&mut client, unique, unique, "x");
    }
    drain(&server, &[b"u0"]);
    assert_eq!(store.rows(), 0, "nothing is written while it runs");
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(store.rows(), 19);
    let mut server = serve(&store, &at_end);
    wait_until("rows that are jobs are taken out", || store.rows() == 0);
    assert_eq!(drain(&server, &[b"u1"]), [seen(b"u1", b"u1", b"x")]);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(store.rows(), 18);
    let mut server = serve(&store, &at_end);
    wait_until("rows that are jobs are taken out", || store.rows() == 0);
    server.kill();
    assert_eq!(store.rows(), 0, "a crash loses them, as in gearmand");
}

#[test]
fn while_another_process_has_the_file_jobs_are_refused_and_then_taken_again() {
    let store = Sqlite::start();
    let server = serve(&store, &[]);
    let mut client = server.connect();
    background(&mut client, "f", "before", "x");
    let other = store.open();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let text = refusal(&mut client, Command::SubmitJobBg, &[b"f", b"meanwhile"]);
    assert!(text.contains("cannot be reached"), "{text}");
    other.execute_batch("COMMIT").unwrap();
    wait_until("the file is free again", || {
        client.send(Command::SubmitJobBg, &[b"f", b"after"], b"x");
        client.read_packet().command == Command::JobCreated
    });
    wait_until("what was refused is not there", || store.rows() == 2);
}

#[test]
fn what_is_no_queue_is_refused_with_its_reason() {
    let store = Sqlite::start();
    let path = store.0.path();
    std::fs::write(path.join("text.db"), "This is no database, but it is long enough to be one. ".repeat(99))
        .unwrap();
    store.open().execute_batch("CREATE TABLE other (a, b); CREATE VIEW seen AS SELECT a FROM other").unwrap();
    let file = |name: &str| format!("--libsqlite3-db={}", path.join(name).display());
    let cases: [(&[&str], &str); 5] = [
        (&[], "needs --libsqlite3-db=FILE"),
        (&[&file("text.db")], "file is not a database"),
        (&[&file("no/such/dir.db")], "unable to open database file"),
        (&[&file("queue.db"), "--libsqlite3-table=other"], "unique_key"),
        (&[&file("queue.db"), "--libsqlite3-table=sqlite_x"], "reserved"),
    ];
    for (args, text) in cases {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gearshard"));
        command
            .args(["--queue-type=libsqlite3", "--port=0", "--listen=127.0.0.1", "--log-file=none"])
            .args(args);
        let done = Process::run(command, b"");
        assert_eq!(done.status.code(), Some(1), "{args:?}");
        assert!(done.stderr.contains(text), "{args:?}: {}", done.stderr);
    }
}
