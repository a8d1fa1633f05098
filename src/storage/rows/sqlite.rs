//! gearmand's `libsqlite3`: a table in a file.
//!
//! The schema is gearmand's to the letter. Keys are bound as TEXT whatever
//! their bytes are, as gearmand does, and read back byte by byte. The file's
//! journal mode stays what it is; `synchronous` is FULL, so that a commit is
//! on disk.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};

use super::{BadRow, Engine, EngineError, Key, Row, level, priority_of};

/// How long another process may have the file, as in gearmand.
const BUSY_TIMEOUT: Duration = Duration::from_secs(6);
/// How long it may have it when that was too long before: jobs wait to be refused.
const RETRY_TIMEOUT: Duration = Duration::from_millis(250);

/// A table in a SQLite database.
#[derive(Debug)]
pub struct Sqlite {
    file: PathBuf,
    /// Quoted.
    table: String,
    connection: Connection,
}

impl Sqlite {
    /// Opens `file` and the table in it; both are made if they are not there.
    ///
    /// # Errors
    /// When the file is no database, cannot be used, or the table is another one.
    pub fn open(file: &Path, table: &str) -> Result<Self, EngineError> {
        if table.is_empty() || table.contains('\0') {
            return Err(EngineError::Refused("--libsqlite3-table needs the name of a table".to_owned()));
        }
        let table = format!("\"{}\"", table.replace('"', "\"\""));
        let connection = open(file, &table, BUSY_TIMEOUT)?;
        Ok(Self { file: file.to_owned(), table, connection })
    }

    /// Whether the schema can keep a row.
    ///
    /// # Errors
    /// Why not.
    pub fn holds(row: &Row<'_>) -> Result<(), &'static str> {
        // SQLite's own limits, as it is built here: a row is a value, too.
        const ROW_BYTES_MAX: usize = 1_000_000_000 - 1024;
        if row.key.len() + row.function.len() + row.data.len() > ROW_BYTES_MAX {
            return Err("Workload is larger than the durable queue can keep, a gigabyte");
        }
        match i64::try_from(row.not_before_s) {
            Ok(_) => Ok(()),
            Err(_) => Err("Time is later than the durable queue can keep"),
        }
    }
}

fn open(file: &Path, table: &str, busy: Duration) -> Result<Connection, EngineError> {
    let named = |error: rusqlite::Error| match failed(&error) {
        EngineError::Lost(what) => EngineError::Lost(format!("{}: {what}", file.display())),
        EngineError::Refused(what) => EngineError::Refused(format!("{}: {what}", file.display())),
    };
    let connection = Connection::open(file).map_err(named)?;
    connection.busy_timeout(busy).map_err(named)?;
    prepare(&connection, table).map_err(named)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(named)?;
    Ok(connection)
}

fn prepare(connection: &Connection, table: &str) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    let mut statement = connection.prepare(&format!("PRAGMA table_info({table})"))?;
    let columns = statement.query_map([], |row| row.get::<_, String>(1))?;
    let columns = columns.collect::<rusqlite::Result<Vec<_>>>()?;
    if columns.is_empty() {
        connection.execute_batch(&format!(
            "CREATE TABLE {table} ( unique_key TEXT, function_name TEXT, priority INTEGER, data BLOB, \
             when_to_run INTEGER, PRIMARY KEY (unique_key, function_name))"
        ))?;
    } else if !columns.iter().any(|column| column.eq_ignore_ascii_case("when_to_run")) {
        // gearmand's table before 1.0.
        connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN when_to_run INTEGER"))?;
    }
    // Whether it is gearmand's is known before anything relies on it.
    connection
        .prepare(&format!(
            "SELECT unique_key, function_name, priority, data, when_to_run FROM {table} ORDER BY rowid"
        ))
        .map(drop)
}

/// What an error of SQLite means for what was asked.
fn failed(error: &rusqlite::Error) -> EngineError {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed, OperationInterrupted,
        OutOfMemory, ReadOnly, SystemIoFailure,
    };
    match error.sqlite_error_code() {
        Some(
            DatabaseBusy
            | DatabaseLocked
            | DiskFull
            | SystemIoFailure
            | CannotOpen
            | OutOfMemory
            | ReadOnly
            | OperationInterrupted
            | FileLockingProtocolFailed,
        ) => EngineError::Lost(error.to_string()),
        _ => EngineError::Refused(error.to_string()),
    }
}

fn text(bytes: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(bytes))
}

fn apply(connection: &mut Connection, table: &str, new: &[Row<'_>], gone: &[Key]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut delete = transaction
            .prepare_cached(&format!("DELETE FROM {table} WHERE unique_key=? and function_name=?"))?;
        for key in gone {
            delete.execute(params![text(&key.key), text(&key.function)])?;
        }
        let mut insert = transaction.prepare_cached(&format!(
            "INSERT OR REPLACE INTO {table} (priority, unique_key, function_name, data, when_to_run) VALUES \
             (?,?,?,?,?)"
        ))?;
        for row in new {
            // `holds` has seen to it that it fits.
            let when = i64::try_from(row.not_before_s).unwrap_or(i64::MAX);
            let data = ToSqlOutput::Borrowed(ValueRef::Blob(&row.data));
            insert.execute(params![level(row.priority), text(&row.key), text(&row.function), data, when])?;
        }
    }
    transaction.commit()
}

/// A row as it is in the table.
fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Result<Row<'static>, BadRow>> {
    let name = |at| {
        row.get_ref(at).map(|value| match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
            _ => None,
        })
    };
    let number = |at| {
        row.get_ref(at).map(|value| match value {
            ValueRef::Integer(number) => Some(number),
            ValueRef::Null => Some(0),
            _ => None,
        })
    };
    let rowid: i64 = row.get(5)?;
    let bad = |what: &str| Err(BadRow { row: format!("row {rowid}"), what: what.to_owned() });
    let (Some(key), Some(function)) = (name(0)?, name(1)?) else {
        return Ok(bad("unique_key and function_name must be text"));
    };
    let Some(priority) = number(2)?.and_then(priority_of) else {
        return Ok(bad("priority is none of 0 high, 1 normal, 2 low"));
    };
    let data = match row.get_ref(3)? {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
        // What gearmand makes of an empty workload.
        ValueRef::Null => Vec::new(),
        _ => return Ok(bad("data is a number")),
    };
    let Some(Ok(not_before_s)) = number(4)?.map(u64::try_from) else {
        return Ok(bad("when_to_run is no time"));
    };
    let (key, function, data) = (Cow::Owned(key), Cow::Owned(function), Cow::Owned(data));
    Ok(Ok(Row { key, function, priority, data, not_before_s }))
}

impl Engine for Sqlite {
    fn holds(&self, row: &Row<'_>) -> Result<(), &'static str> {
        Self::holds(row)
    }

    fn apply(&mut self, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError> {
        apply(&mut self.connection, &self.table, new, gone).map_err(|error| failed(&error))
    }

    fn read(&mut self, each: &mut dyn FnMut(Result<Row<'static>, BadRow>)) -> Result<(), EngineError> {
        let select = format!(
            "SELECT unique_key, function_name, priority, data, when_to_run, rowid FROM {} ORDER BY rowid",
            self.table
        );
        let mut read = || {
            let mut statement = self.connection.prepare(&select)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                each(read_row(row)?);
            }
            Ok(())
        };
        read().map_err(|error| failed(&error))
    }

    fn connect(&mut self) -> Result<(), EngineError> {
        self.connection = open(&self.file, &self.table, RETRY_TIMEOUT)?;
        Ok(())
    }
}
