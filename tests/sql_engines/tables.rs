//! Tables that were there before.

use gearshard::storage::rows::Row;

use super::support::databases::{Database, Sql, shared};
use super::{all, for_both, key, open, refusal, row, rows, try_open};

for_both!(
    gearmands_table_is_used_whatever_the_order_of_its_columns
    a_table_from_before_times_is_given_them
    rows_that_are_no_jobs_are_told_and_left
    a_table_that_cannot_be_used_is_told_with_what_to_do
    no_name_of_a_table_breaks_out_of_its_quotes
);

/// gearmand's own statement, with another name.
fn gearmands(sql: Sql) -> &'static str {
    match sql {
        Sql::Postgres => {
            "CREATE TABLE queue (unique_key VARCHAR(64), function_name VARCHAR(255), priority INTEGER, \
             data BYTEA, when_to_run INTEGER, UNIQUE (unique_key, function_name))"
        }
        Sql::MariaDb => {
            "CREATE TABLE queue (unique_key VARCHAR(64),function_name VARCHAR(255),priority INT,\
             data LONGBLOB,when_to_run INT,unique key (unique_key, function_name))"
        }
    }
}

fn blob(sql: Sql) -> &'static str {
    if sql == Sql::Postgres { "BYTEA" } else { "LONGBLOB" }
}

fn with_table(database: &Database, create: &str) -> String {
    let name = database.create();
    database.query(&name, create);
    name
}

fn gearmands_table_is_used_whatever_the_order_of_its_columns(sql: Sql) {
    let database = shared(sql);
    let turned = format!(
        "CREATE TABLE queue (when_to_run INT, note VARCHAR(9) DEFAULT 'ours', data {}, priority INT, \
         function_name VARCHAR(255), unique_key VARCHAR(64), UNIQUE (function_name, unique_key))",
        blob(sql)
    );
    for create in [gearmands(sql), &turned] {
        let name = with_table(&database, create);
        let mut engine = open(&database, &name);
        let written = [row("a", "f", b"1\0"), Row { not_before_s: i32::MAX as u64, ..row("b", "f", b"") }];
        for row in &written {
            engine.holds(row).unwrap();
        }
        engine.apply(&written, &[]).unwrap();
        engine.apply(&[row("c", "f", b"3")], &[key("a", "f")]).unwrap();
        assert_eq!(rows(&mut *engine), [written[1].clone(), row("c", "f", b"3")]);
        let late = Row { not_before_s: 1 << 31, ..row("d", "f", b"") };
        assert!(engine.holds(&late).unwrap_err().contains("when_to_run"));
        let long = "k".repeat(256);
        assert!(engine.holds(&row("d", &long, b"")).unwrap_err().contains("function_name"));
        let bytes = Row { key: b"\xff"[..].into(), ..row("", "f", b"") };
        assert!(engine.holds(&bytes).unwrap_err().contains("UTF-8"));
    }
}

fn a_table_from_before_times_is_given_them(sql: Sql) {
    let database = shared(sql);
    let create = format!(
        "CREATE TABLE queue (unique_key VARCHAR(64), function_name VARCHAR(255), priority INT, data {}, \
         UNIQUE (unique_key, function_name))",
        blob(sql)
    );
    let name = with_table(&database, &create);
    database.query(&name, "INSERT INTO queue VALUES ('old', 'f', 1, 'x')");
    let mut engine = open(&database, &name);
    let late = Row { not_before_s: 1 << 40, ..row("new", "f", b"y") };
    engine.apply(std::slice::from_ref(&late), &[]).unwrap();
    assert_eq!(rows(&mut *engine), [row("old", "f", b"x"), late]);
}

fn rows_that_are_no_jobs_are_told_and_left(sql: Sql) {
    let database = shared(sql);
    let name = with_table(&database, gearmands(sql));
    database.query(
        &name,
        "INSERT INTO queue (unique_key, function_name, priority, data, when_to_run) VALUES \
         (NULL, 'f', 1, 'x', 0), ('k', NULL, 1, 'x', 0), ('seven', 'f', 7, 'x', 0), ('none', 'f', NULL, 'x', 0), \
         ('early', 'f', 1, 'x', -5), ('good', 'f', 2, NULL, NULL)",
    );
    let mut engine = open(&database, &name);
    let (jobs, bad) = all(&mut *engine);
    assert_eq!(jobs.len(), 1);
    assert_eq!((&*jobs[0].key, &*jobs[0].data, jobs[0].not_before_s), (&b"good"[..], &b""[..], 0));
    let told: Vec<String> = bad.iter().map(|bad| format!("{}: {}", bad.row, bad.what)).collect();
    assert_eq!(
        told,
        [
            "unique_key NULL, function_name 'f': unique_key is NULL",
            "unique_key 'k', function_name NULL: function_name is NULL",
            "unique_key 'seven', function_name 'f': priority is 7, not 0, 1 or 2",
            "unique_key 'none', function_name 'f': priority is NULL",
            "unique_key 'early', function_name 'f': when_to_run is -5",
        ]
    );
    engine.apply(&[], &[key("good", "f")]).unwrap();
    assert_eq!(all(&mut *engine).1.len(), 5);
}

fn a_table_that_cannot_be_used_is_told_with_what_to_do(sql: Sql) {
    let database = shared(sql);
    let columns = "unique_key VARCHAR(64), function_name VARCHAR(255), priority INT, when_to_run INT";
    let data = format!("data {}", blob(sql));
    for (create, said) in [
        (format!("{columns}, {data}"), "ADD UNIQUE"),
        (columns.to_owned(), "no column data"),
        (format!("{columns}, data INT"), "column data"),
        (format!("{}, {data}", columns.replace("VARCHAR(64)", "INT")), "column unique_key"),
        (format!("{}, {data}", columns.replace("priority INT", "priority VARCHAR(9)")), "column priority"),
    ] {
        let name = with_table(&database, &format!("CREATE TABLE queue ({create})"));
        let refused = refusal(try_open(&database, &name, "queue"));
        assert!(refused.contains(said), "{refused}");
    }
    let refused = refusal(try_open(&database, "nowhere", "queue"));
    assert!(refused.contains("nowhere"), "{refused}");
}

fn no_name_of_a_table_breaks_out_of_its_quotes(sql: Sql) {
    let database = shared(sql);
    let name = with_table(&database, "CREATE TABLE keep (a INT)");
    for table in ["select", "jobs; DROP TABLE keep", "a'b", "über"] {
        let mut engine = try_open(&database, &name, table).unwrap();
        engine.apply(&[row("a", "f", b"1")], &[]).unwrap();
        assert_eq!(rows(&mut *engine).len(), 1, "{table}");
    }
    database.query(&name, "SELECT a FROM keep");
    for table in ["", "a\"b`c", "a.b.c"] {
        assert!(refusal(try_open(&database, &name, table)).contains("no name of a table"));
    }
}
