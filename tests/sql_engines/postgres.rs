//! What is PostgreSQL's own.

use super::support::databases::{Sql, shared};
use super::{key, open, refusal, row, rows, try_open};
use gearshard::storage::rows::Row;
use gearshard::storage::rows::postgres::Postgres;

#[test]
fn bytes_are_kept_as_they_are_where_the_database_knows_no_encoding() {
    let database = shared(Sql::Postgres);
    database.query("postgres", "CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0");
    let mut engine = open(&database, "bytes");
    let written = [Row { key: b"\xff\xe9"[..].into(), ..row("", "f\u{e4}", b"\0") }];
    engine.holds(&written[0]).unwrap();
    engine.apply(&written, &[]).unwrap();
    assert_eq!(rows(&mut *engine), written);
    let nul = Row { key: b"\0"[..].into(), ..row("", "f", b"") };
    assert!(engine.holds(&nul).unwrap_err().contains("unique"));
    assert!(refusal(engine.apply(&[nul], &[])).contains("PostgreSQL"));
}

#[test]
fn a_name_without_quotes_is_in_lower_case_as_for_gearmand() {
    let database = shared(Sql::Postgres);
    let name = database.create();
    database.query(&name, "CREATE SCHEMA other");
    for (given, there) in [("Queue", "queue"), ("\"Queue\"", "\"Queue\""), ("other.Jobs", "other.jobs")] {
        let mut engine = try_open(&database, &name, given).unwrap();
        engine.apply(&[row("a", "f", b"1")], &[]).unwrap();
        assert_eq!(database.query(&name, &format!("SELECT unique_key FROM {there}")), "a\n");
    }
}

#[test]
fn the_socket_of_the_machine_and_a_url_are_understood() {
    let database = shared(Sql::Postgres);
    let name = database.create();
    let socket = database.socket();
    let (port, password) = (database.port(), database.password().replace(' ', "%20"));
    let login = format!("port={port} user=gearman password='{}' dbname={name}", database.password());
    Postgres::open(&format!("host={} {login}", socket.display()), "queue").unwrap();
    let url = format!("postgresql://gearman:{password}@127.0.0.1:{port}/{name}");
    Postgres::open(&url, "queue").unwrap();
    let wrong = refusal(Postgres::open(&url.replace(&password, "wrong"), "queue"));
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    assert!(refusal(Postgres::open("host=", "queue")).contains("--libpq-conninfo"));
    assert!(refusal(Postgres::open("nonsense=1", "queue")).contains("nonsense"));
}

#[test]
fn who_may_not_write_hears_it_at_once() {
    let database = shared(Sql::Postgres);
    let name = database.create();
    let create = "CREATE TABLE queue (unique_key VARCHAR(64), function_name VARCHAR(255), priority INTEGER, \
                  data BYTEA, when_to_run INTEGER, UNIQUE (unique_key, function_name))";
    database.query(&name, create);
    database.query(&name, "CREATE USER reader PASSWORD 'reader'; GRANT SELECT ON queue TO reader");
    let conninfo =
        format!("host=127.0.0.1 port={} user=reader password=reader dbname={name}", database.port());
    let refused = refusal(Postgres::open(&conninfo, "queue"));
    assert!(refused.contains("permission denied"), "{refused}");
}

#[test]
fn a_queue_that_grows_and_shrinks_is_searched_by_its_index() {
    let database = shared(Sql::Postgres);
    let name = database.create();
    let mut engine = open(&database, &name);
    database.query(
        &name,
        "INSERT INTO queue SELECT 'key-' || n, 'f', 1, '', 0 FROM generate_series(1, 100000) AS n",
    );
    let scans = || {
        let sql = "SELECT pg_stat_force_next_flush(), seq_tup_read FROM pg_stat_user_tables WHERE relname = 'queue'";
        database.query(&name, sql).trim().to_owned()
    };
    let before = scans();
    for number in 1..200 {
        let gone = key(&format!("key-{number}"), "f");
        engine.apply(&[row(&format!("new-{number}"), "f", b"")], &[gone]).unwrap();
    }
    // The server's statistics of a session are seen when it ends.
    drop(engine);
    assert_eq!(database.query(&name, "SELECT count(*) FROM queue"), "100000\n");
    let mut after = scans();
    super::support::wait_until("the statistics of the writer", || {
        after = scans();
        let sql = "SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'queue'";
        database.query(&name, sql) == "199\n"
    });
    // Only the count has read the table.
    let read = |text: &str| text.trim_start_matches('\t').parse::<u64>().unwrap();
    assert!(read(&after) - read(&before) <= 100_000, "{before} {after}");
}
