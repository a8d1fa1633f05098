//! What is MySQL's and MariaDB's own.

use super::support::databases::{Sql, shared};
use super::{key, open, refusal, row, rows, try_open};
use gearshard::storage::rows::mysql::{Login, MySql};

/// gearmand's table where the server's character set is the given one.
fn table(charset: &str) -> String {
    format!(
        "CREATE TABLE queue (unique_key VARCHAR(64),function_name VARCHAR(255),priority INT,\
         data LONGBLOB,when_to_run INT,unique key (unique_key, function_name)) CHARSET {charset}"
    )
}

#[test]
fn keys_that_are_equal_for_the_server_only_never_replace_each_other() {
    let database = shared(Sql::MariaDb);
    for charset in ["latin1", "utf8mb4"] {
        let name = database.create();
        database.query(&name, &table(charset));
        let mut engine = open(&database, &name);
        let first = [row("Job", "f", b"1"), row("ünique", "fünc", b"2")];
        engine.apply(&first, &[]).unwrap();
        for other in ["job", "Job ", "JOB"] {
            assert!(refusal(engine.apply(&[row(other, "f", b"3")], &[])).contains("Duplicate"));
            assert!(
                refusal(engine.apply(&[row(other, "f", b"3"), row("b", "f", b"")], &[]))
                    .contains("Duplicate")
            );
            engine.apply(&[], &[key(other, "f")]).unwrap();
            assert_eq!(rows(&mut *engine), first, "{charset}");
        }
        // Those that are equal do.
        let second = [row("Job", "f", b"4"), row("ünique", "fünc", b"5")];
        engine.apply(&second, &[]).unwrap();
        assert_eq!(rows(&mut *engine), second, "{charset}");
        engine.apply(&[], &[key("Job", "f"), key("ünique", "fünc")]).unwrap();
        assert_eq!(rows(&mut *engine), [], "{charset}");
    }
}

#[test]
fn what_a_character_set_lacks_is_refused_and_not_replaced() {
    let database = shared(Sql::MariaDb);
    let name = database.create();
    database.query(&name, &table("latin1"));
    let mut engine = open(&database, &name);
    assert!(refusal(engine.apply(&[row("日", "f", b"1")], &[])).contains("Incorrect string value"));
    assert_eq!(rows(&mut *engine), []);
}

#[test]
fn a_workload_beyond_the_largest_packet_is_refused_in_words() {
    let database = shared(Sql::MariaDb);
    let name = database.create();
    let engine = open(&database, &name);
    let data = vec![7; 16 << 20];
    let row = row("a", "f", &data);
    assert!(engine.holds(&row).unwrap_err().contains("workload"));
}

#[test]
fn the_socket_of_the_machine_and_a_wrong_password_are_understood() {
    let database = shared(Sql::MariaDb);
    let name = database.create();
    let socket = database.socket();
    let login = Login {
        host: socket.to_str().unwrap(),
        port: 0,
        user: "gearman",
        password: database.password(),
        database: &name,
    };
    MySql::open(&login, "gearman_queue").unwrap();
    let wrong = Login { password: "wrong", ..login };
    let refused = refusal(MySql::open(&wrong, "gearman_queue"));
    assert!(refused.contains("Access denied"), "{refused}");
}

#[test]
fn a_table_in_another_database_is_found() {
    let database = shared(Sql::MariaDb);
    let (name, other) = (database.create(), database.create());
    let mut engine = try_open(&database, &name, &format!("{other}.`queue`")).unwrap();
    engine.apply(&[row("a", "f", b"1")], &[]).unwrap();
    assert_eq!(database.query(&other, "SELECT unique_key FROM queue"), "a\n");
}
