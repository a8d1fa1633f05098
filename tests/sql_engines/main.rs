//! Jobs as rows in real SQL servers: every byte comes back, what a table
//! cannot keep is refused in words, and a server that goes away is noticed.

#![cfg(all(feature = "mysql", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod lost;
mod mysql;
mod postgres;
mod tables;
mod written;

use std::borrow::Cow;

use gearshard::queue::job::Priority;
use gearshard::storage::rows::mysql::{Login, MySql};
use gearshard::storage::rows::postgres::Postgres;
use gearshard::storage::rows::{BadRow, Engine, EngineError, Key, Row};
use support::databases::{Database, Sql};

/// Runs a test for both servers, each under its own name.
macro_rules! for_both {
    ($($name:ident)+) => {
        mod postgres_server {
            $(#[test] fn $name() { super::$name(crate::support::databases::Sql::Postgres) })+
        }
        mod mariadb_server {
            $(#[test] fn $name() { super::$name(crate::support::databases::Sql::MariaDb) })+
        }
    };
}
use for_both;

/// The engine for `table` in the database `name`.
fn try_open(database: &Database, name: &str, table: &str) -> Result<Box<dyn Engine>, EngineError> {
    Ok(match database.sql() {
        Sql::Postgres => Box::new(Postgres::open(&database.conninfo(name), table)?),
        Sql::MariaDb => {
            let login = Login {
                host: "127.0.0.1",
                port: database.port(),
                user: "gearman",
                password: database.password(),
                database: name,
            };
            Box::new(MySql::open(&login, table)?)
        }
    })
}

fn open(database: &Database, name: &str) -> Box<dyn Engine> {
    try_open(database, name, "queue").unwrap()
}

fn row<'a>(key: &'a str, function: &'a str, data: &'a [u8]) -> Row<'a> {
    Row {
        key: Cow::Borrowed(key.as_bytes()),
        function: Cow::Borrowed(function.as_bytes()),
        priority: Priority::Normal,
        data: Cow::Borrowed(data),
        not_before_s: 0,
    }
}

fn key(key: &str, function: &str) -> Key {
    Key { key: key.as_bytes().into(), function: function.as_bytes().into() }
}

/// All rows, and what is no job.
fn all(engine: &mut dyn Engine) -> (Vec<Row<'static>>, Vec<BadRow>) {
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    engine
        .read(&mut |row| match row {
            Ok(row) => rows.push(row),
            Err(row) => bad.push(row),
        })
        .unwrap();
    (rows, bad)
}

/// All rows, every one of them a job.
fn rows(engine: &mut dyn Engine) -> Vec<Row<'static>> {
    let (rows, bad) = all(engine);
    assert_eq!(bad, []);
    rows
}

fn refusal<T>(result: Result<T, EngineError>) -> String {
    match result {
        Err(EngineError::Refused(what)) => what,
        Err(EngineError::Lost(what)) => panic!("lost: {what}"),
        Ok(_) => panic!("not refused"),
    }
}
