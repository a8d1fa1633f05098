//! The table: made if it is not there, looked at if it is.

use hashbrown::HashMap;
use mysql::prelude::Queryable;
use mysql::{Conn, Error, Row, Value};

use super::errors::{NO_TABLE, code, told};
use crate::storage::rows::EngineError;
use crate::storage::rows::table::{Limits, Text};

/// Settings of the session; the largest packet that the server takes.
///
/// Nothing is cut to fit a column. No transaction waits long for another one,
/// nor locks what it does not write, unless the server's binary log needs that.
pub(super) fn set_up(conn: &mut Conn) -> Result<usize, Error> {
    conn.query_drop(
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, \
         innodb_lock_wait_timeout = 3, lock_wait_timeout = 5, wait_timeout = 31536000",
    )?;
    conn.query_drop("SET NAMES utf8mb4")?;
    let found: Option<(usize, String)> =
        conn.query_first("SELECT @@max_allowed_packet, IF(@@log_bin, @@binlog_format, '')")?;
    let (packet_max, binlog) = found.unwrap_or((1 << 20, String::new()));
    if binlog != "STATEMENT" {
        conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")?;
    }
    Ok(packet_max)
}

/// What the table keeps, and whether its keys are text. It is made if it is not there.
pub(super) fn open(conn: &mut Conn, table: &str, packet_max: usize) -> Result<(Limits, bool), EngineError> {
    let mut columns = match columns(conn, table) {
        Err(error) if code(&error) == Some(NO_TABLE) => {
            make(conn, table).map_err(told)?;
            self::columns(conn, table)
        }
        found => found,
    }
    .map_err(told)?;
    if !columns.contains_key("when_to_run") {
        // A table from before jobs had times.
        conn.query_drop(format!("ALTER TABLE {table} ADD COLUMN when_to_run BIGINT")).map_err(told)?;
        columns = self::columns(conn, table).map_err(told)?;
    }
    let column = |name: &str| {
        columns.get(name).ok_or_else(|| {
            EngineError::Refused(format!("MySQL: the table {table} is there and has no column {name}"))
        })
    };
    let wrong = |name: &str, wanted: &str| {
        EngineError::Refused(format!("MySQL: the column {name} of the table {table} is no {wanted}"))
    };
    let text = |name: &str| column(name)?.text().ok_or_else(|| wrong(name, "VARCHAR"));
    let (key, function) = (text("unique_key")?, text("function_name")?);
    let when_max = column("when_to_run")?.integer_max().ok_or_else(|| wrong("when_to_run", "INT"))?;
    column("priority")?.integer_max().ok_or_else(|| wrong("priority", "INT"))?;
    let data_max = column("data")?.blob_max().ok_or_else(|| wrong("data", "BLOB"))?;
    one_of_each(conn, table)?;
    // A packet holds the rest of its row and of its statement too.
    let data_bytes_max = data_max.min(packet_max.saturating_sub(4096));
    Ok((Limits { key, function, when_max, data_bytes_max }, key.utf8 || function.utf8))
}

/// Makes the table as gearmand does, but for what it keeps: bytes, whatever
/// the server's character set and collation are, and times after 2038.
/// gearmand can use both.
fn make(conn: &mut Conn, table: &str) -> Result<(), Error> {
    conn.query_drop(format!(
        "CREATE TABLE IF NOT EXISTS {table} (unique_key VARBINARY(64), function_name VARBINARY(255), \
         priority INT, data LONGBLOB, when_to_run BIGINT, UNIQUE KEY (unique_key, function_name)) \
         ENGINE=InnoDB"
    ))
}

/// A job must not be in the table twice.
fn one_of_each(conn: &mut Conn, table: &str) -> Result<(), EngineError> {
    let rows: Vec<Row> = conn.query(format!("SHOW INDEX FROM {table} WHERE Non_unique = 0")).map_err(told)?;
    let mut indices: HashMap<String, Vec<String>> = HashMap::new();
    for row in rows {
        let index = row.get("Key_name").unwrap_or_default();
        let column: String = row.get("Column_name").unwrap_or_default();
        indices.entry(index).or_default().push(column.to_ascii_lowercase());
    }
    let right = |columns: &Vec<String>| {
        columns.len() == 2
            && ["unique_key", "function_name"].iter().all(|name| columns.iter().any(|column| column == name))
    };
    if indices.values().any(right) {
        return Ok(());
    }
    Err(EngineError::Refused(format!(
        "MySQL: the table {table} lets a job be in it twice; \
         ALTER TABLE {table} ADD UNIQUE KEY (unique_key, function_name)"
    )))
}

/// A column as `SHOW COLUMNS` tells it: `varchar(64)`, `int(11)`, `bigint unsigned`.
struct Column {
    /// In lower case, without what follows.
    kind: String,
    /// The number in parentheses.
    length: Option<usize>,
    unsigned: bool,
}

fn columns(conn: &mut Conn, table: &str) -> Result<HashMap<String, Column>, Error> {
    let rows: Vec<Row> = conn.query(format!("SHOW COLUMNS FROM {table}"))?;
    let column = |row: &Row| {
        let text = |index: usize| match row.as_ref(index) {
            Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).to_ascii_lowercase(),
            _ => String::new(),
        };
        (text(0), Column::parse(&text(1)))
    };
    Ok(rows.iter().map(column).collect())
}

impl Column {
    fn parse(text: &str) -> Self {
        let kind: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
        let length = text[kind.len()..].strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let length = length.and_then(|(number, _)| number.parse().ok());
        Self { kind, length, unsigned: text.contains("unsigned") }
    }

    fn text(&self) -> Option<Text> {
        let characters = |length_max| Text { length_max, utf8: true, nul: true };
        let bytes = |length_max| Text { length_max, utf8: false, nul: true };
        match &*self.kind {
            "varchar" => Some(characters(self.length?)),
            "varbinary" => Some(bytes(self.length?)),
            // Their length is in bytes, of which a character may take four.
            "tinytext" => Some(characters(63)),
            "text" | "mediumtext" | "longtext" => Some(characters(16383)),
            "tinyblob" => Some(bytes(255)),
            "blob" | "mediumblob" | "longblob" => Some(bytes(65535)),
            _ => None,
        }
    }

    fn integer_max(&self) -> Option<u64> {
        let bits = match &*self.kind {
            "tinyint" => 8,
            "smallint" => 16,
            "mediumint" => 24,
            "int" => 32,
            "bigint" => 64,
            _ => return None,
        };
        let bits = if self.unsigned { bits } else { bits - 1 };
        // Times are signed where they are read.
        Some((u64::MAX >> (64 - bits)).min(i64::MAX as u64))
    }

    fn blob_max(&self) -> Option<usize> {
        match &*self.kind {
            "tinyblob" => Some(0xff),
            "blob" => Some(0xffff),
            "mediumblob" => Some(0xff_ffff),
            "longblob" => Some(0xffff_ffff),
            "varbinary" => self.length,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_column_takes_is_in_its_type() {
        let text = |kind| Column::parse(kind).text().map(|text| (text.length_max, text.utf8));
        assert_eq!(text("varchar(64)"), Some((64, true)));
        assert_eq!(text("varbinary(255)"), Some((255, false)));
        assert_eq!(text("int(11)"), None);
        let integer = |kind| Column::parse(kind).integer_max();
        assert_eq!(integer("int(11)"), Some(i32::MAX as u64));
        assert_eq!(integer("int"), Some(i32::MAX as u64));
        assert_eq!(integer("int(10) unsigned"), Some(u64::from(u32::MAX)));
        assert_eq!(integer("bigint(20)"), Some(i64::MAX as u64));
        assert_eq!(integer("bigint unsigned"), Some(i64::MAX as u64));
        assert_eq!(integer("datetime"), None);
        assert_eq!(Column::parse("blob").blob_max(), Some(65535));
        assert_eq!(Column::parse("text").blob_max(), None);
    }
}
