//! Jobs in a table of MySQL or MariaDB.
//!
//! A call is one transaction with few statements, many rows in each. The rows
//! are read in the order in which InnoDB keeps them, which without a primary
//! key (gearmand's table has none) is that in which they were written.
//!
//! Columns of text compare as their collation says: for most, `A` is `a`. So
//! what is to go is compared byte for byte, and a job is refused whose key is
//! another's for the server only. A table that is made here keeps bytes.

use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Error, Opts, OptsBuilder, Value};

use super::table::{Columns, Limits, quoted};
use super::{BadRow, Engine, EngineError, Key, Row, level};
use errors::{DUPLICATE, code, told, try_again};

mod errors;
mod schema;

/// How long the server may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the server may take to answer a statement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a transaction is done anew that another one was in the way of.
const TRIES: usize = 3;
/// What goes into one statement, about.
const STATEMENT_BYTES: usize = 4 << 20;
/// Rows in one statement at most. Fewer are sent as powers of two, each of which is prepared once.
const STATEMENT_ROWS: usize = 256;
/// Keys in one statement at most: the server plans each as a range of its own.
const STATEMENT_KEYS: usize = 128;

/// Where the server is, and who we are there.
#[derive(Clone, Debug)]
pub struct Login<'a> {
    /// A host, the path of a socket, or `localhost`: the socket of this machine if there is one.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// The user.
    pub user: &'a str,
    /// The password; may be empty.
    pub password: &'a str,
    /// The database that the table is in.
    pub database: &'a str,
}

/// A table of MySQL or MariaDB, and the connection to it.
#[derive(Debug)]
pub struct MySql {
    opts: Opts,
    /// With its quotes.
    table: String,
    session: Option<Session>,
    limits: Limits,
}

impl MySql {
    /// Connects, and makes `table` if it is not there.
    ///
    /// # Errors
    /// When the server cannot be reached, or the table not be used.
    pub fn open(login: &Login<'_>, table: &str) -> Result<Self, EngineError> {
        let opts = options(login, |path| std::path::Path::new(path).exists());
        let table = quoted(table, '`', str::to_owned)?;
        let (session, limits) = Session::start(&opts, &table)?;
        Ok(Self { opts, table, session: Some(session), limits })
    }

    /// The session, and forgets it when it has failed.
    fn with<T>(
        &mut self,
        run: impl FnOnce(&mut Session, &str) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let Some(session) = &mut self.session else {
            return Err(EngineError::Lost("MySQL: not connected".to_owned()));
        };
        let result = run(session, &self.table);
        if let Err(EngineError::Lost(_)) = result {
            self.session = None;
        }
        result
    }
}

impl Engine for MySql {
    fn holds(&self, row: &Row<'_>) -> Result<(), &'static str> {
        self.limits.hold(row)
    }

    fn apply(&mut self, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError> {
        self.with(|session, table| session.apply(table, new, gone))
    }

    fn read(&mut self, each: &mut dyn FnMut(Result<Row<'static>, BadRow>)) -> Result<(), EngineError> {
        self.with(|session, table| session.read(table, each))
    }

    fn connect(&mut self) -> Result<(), EngineError> {
        self.session = None;
        let (session, limits) = Session::start(&self.opts, &self.table)?;
        self.session = Some(session);
        self.limits = limits;
        Ok(())
    }
}

/// Where the servers of this world have their sockets; libmysqlclient knows one of them.
const SOCKETS: [&str; 3] = ["/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"];

fn options(login: &Login<'_>, exists: impl Fn(&str) -> bool) -> Opts {
    // As libmysqlclient: localhost is no address.
    let socket = match login.host {
        path if path.starts_with('/') => Some(path),
        "localhost" => SOCKETS.into_iter().find(|path| exists(path)),
        _ => None,
    };
    let timeout_ms = u32::try_from(ANSWER_TIMEOUT.as_millis()).ok();
    let opts = OptsBuilder::new()
        .ip_or_hostname(Some(login.host))
        .tcp_port(login.port)
        .socket(socket)
        .prefer_socket(false)
        .user(Some(login.user))
        .pass(Some(login.password))
        .db_name(Some(login.database))
        .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
        .read_timeout(Some(ANSWER_TIMEOUT))
        .write_timeout(Some(ANSWER_TIMEOUT))
        .tcp_user_timeout_ms(timeout_ms)
        .tcp_keepalive_time_ms(timeout_ms);
    opts.into()
}

/// A connection that has been let in and has found its table.
#[derive(Debug)]
struct Session {
    conn: Conn,
    /// The columns are text, which the server compares in its own way.
    text: bool,
    /// Bytes of one statement.
    statement_bytes: usize,
}

impl Session {
    fn start(opts: &Opts, table: &str) -> Result<(Self, Limits), EngineError> {
        let mut conn = Conn::new(opts.clone()).map_err(told)?;
        let packet_max = schema::set_up(&mut conn).map_err(told)?;
        let (limits, text) = schema::open(&mut conn, table, packet_max)?;
        let statement_bytes = STATEMENT_BYTES.min(packet_max / 2);
        Ok((Self { conn, text, statement_bytes }, limits))
    }

    fn apply(&mut self, table: &str, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError> {
        let gone: Vec<_> = gone.iter().map(|gone| (&*gone.key, &*gone.function)).collect();
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let mut replace = false;
        let mut tries = 0;
        loop {
            let Err(error) = self.transact(table, new, &gone, replace) else { return Ok(()) };
            let Some(code) = code(&error) else { return Err(told(error)) };
            // A statement that was refused leaves its transaction open.
            self.conn.query_drop("ROLLBACK").map_err(told)?;
            if code == DUPLICATE && !replace {
                replace = true;
            } else if try_again(code) && tries < TRIES {
                tries += 1;
            } else {
                return Err(told(error));
            }
        }
    }

    /// All in one transaction. Rows are put in the place of others only if
    /// `replace`: nearly always there are none, and looking for them has its price.
    fn transact(
        &mut self,
        table: &str,
        new: &[Row<'_>],
        gone: &[(&[u8], &[u8])],
        replace: bool,
    ) -> Result<(), Error> {
        if gone.is_empty() && !replace && new.len() == 1 {
            return self.insert(table, new);
        }
        self.conn.query_drop("START TRANSACTION")?;
        self.delete(table, gone)?;
        if replace {
            let keys: Vec<_> = new.iter().map(|row| (&*row.key, &*row.function)).collect();
            self.delete(table, &keys)?;
        }
        self.insert(table, new)?;
        self.conn.query_drop("COMMIT")
    }

    fn delete(&mut self, table: &str, keys: &[(&[u8], &[u8])]) -> Result<(), Error> {
        let mut rest = keys;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(power_of_two(rest.len().min(STATEMENT_KEYS)));
            let values = part.iter().flat_map(|(key, function)| {
                // The bytes once more, for the comparison that the index cannot make.
                let again = if self.text { 2 } else { 1 };
                (0..again).flat_map(|_| [bytes(key), bytes(function)])
            });
            let values: Vec<Value> = values.collect();
            let statement = self.conn.prep(delete_sql(table, part.len(), self.text))?;
            self.conn.exec_drop(statement, values)?;
            rest = after;
        }
        Ok(())
    }

    fn insert(&mut self, table: &str, rows: &[Row<'_>]) -> Result<(), Error> {
        let mut rest = rows;
        while !rest.is_empty() {
            let mut size = 0;
            let fits = |row: &&Row<'_>| {
                size += row.key.len() + row.function.len() + row.data.len() + 32;
                size <= self.statement_bytes
            };
            let count = rest.iter().take(STATEMENT_ROWS).take_while(fits).count().max(1);
            let (part, after) = rest.split_at(power_of_two(count));
            let values = part.iter().flat_map(|row| {
                [
                    bytes(&row.key),
                    bytes(&row.function),
                    Value::Int(level(row.priority).into()),
                    bytes(&row.data),
                    Value::UInt(row.not_before_s),
                ]
            });
            let values: Vec<Value> = values.collect();
            let statement = self.conn.prep(insert_sql(table, part.len()))?;
            self.conn.exec_drop(statement, values)?;
            rest = after;
        }
        Ok(())
    }

    fn read(
        &mut self,
        table: &str,
        each: &mut dyn FnMut(Result<Row<'static>, BadRow>),
    ) -> Result<(), EngineError> {
        let select = format!("SELECT unique_key, function_name, priority, data, when_to_run FROM {table}");
        let rows = self.conn.exec_iter(select, ()).map_err(told)?;
        for row in rows {
            each(columns(row.map_err(told)?).into_row());
        }
        Ok(())
    }
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec())
}

/// The largest power of two that is no more than `count`, which is not 0.
fn power_of_two(count: usize) -> usize {
    1 << count.ilog2()
}

fn delete_sql(table: &str, keys: usize, text: bool) -> String {
    let one = if text {
        "(unique_key = ? AND function_name = ? \
         AND CAST(CONVERT(unique_key USING utf8mb4) AS BINARY) = ? \
         AND CAST(CONVERT(function_name USING utf8mb4) AS BINARY) = ?)"
    } else {
        "(unique_key = ? AND function_name = ?)"
    };
    format!("DELETE FROM {table} WHERE {}", vec![one; keys].join(" OR "))
}

fn insert_sql(table: &str, rows: usize) -> String {
    format!(
        "INSERT INTO {table} (unique_key, function_name, priority, data, when_to_run) VALUES {}",
        vec!["(?,?,?,?,?)"; rows].join(",")
    )
}

fn columns(row: mysql::Row) -> Columns {
    let mut values = row.unwrap().into_iter();
    let mut next = || values.next().unwrap_or(Value::NULL);
    let text = |value| match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    };
    let number = |value| match value {
        Value::Int(number) => Some(number),
        Value::UInt(number) => Some(i64::try_from(number).unwrap_or(i64::MAX)),
        _ => None,
    };
    Columns {
        key: text(next()),
        function: text(next()),
        priority: number(next()),
        data: text(next()),
        when_to_run: number(next()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_the_socket_if_there_is_one() {
        let login = |host| Login { host, port: 3306, user: "gearman", password: "", database: "jobs" };
        let socket = |host, there: bool| {
            let opts = options(&login(host), |_| there);
            opts.get_socket().map(str::to_owned)
        };
        assert_eq!(socket("localhost", true).as_deref(), Some(SOCKETS[0]));
        assert_eq!(socket("localhost", false), None);
        assert_eq!(socket("127.0.0.1", true), None);
        assert_eq!(socket("/srv/db.sock", false).as_deref(), Some("/srv/db.sock"));
    }
}
