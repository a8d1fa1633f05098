//! What the tables of SQL servers have in common: their names, and what a row of them must be to be a job.

use std::borrow::Cow;

use super::{BadRow, EngineError, Row, priority_of};

/// A table's name, perhaps with its schema before a dot, between `quote`s as SQL wants it.
///
/// gearmand puts the name into its statements as it is. So a name may come
/// with quotes around it, and `plain` does what the server does to one without.
pub(super) fn quoted(name: &str, quote: char, plain: fn(&str) -> String) -> Result<String, EngineError> {
    let bad = || EngineError::Refused(format!("{name:?} is no name of a table"));
    let mut parts = Vec::new();
    let mut rest = name;
    loop {
        let part = if let Some(inside) = rest.strip_prefix(quote) {
            let (part, after) = inside.split_once(quote).ok_or_else(bad)?;
            rest = after;
            part.to_owned()
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            rest = after;
            plain(part)
        };
        if part.is_empty() || part.contains(['\0', quote]) {
            return Err(bad());
        }
        parts.push(format!("{quote}{part}{quote}"));
        match rest.strip_prefix('.') {
            Some(more) if parts.len() < 2 => rest = more,
            None if rest.is_empty() => return Ok(parts.join(".")),
            _ => return Err(bad()),
        }
    }
}

/// The columns of a row as they were read.
pub(super) struct Columns {
    pub(super) key: Option<Vec<u8>>,
    pub(super) function: Option<Vec<u8>>,
    pub(super) priority: Option<i64>,
    pub(super) data: Option<Vec<u8>>,
    pub(super) when_to_run: Option<i64>,
}

impl Columns {
    /// The job. As gearmand writes them, no data is an empty workload, and no time is at once.
    pub(super) fn into_row(self) -> Result<Row<'static>, BadRow> {
        let Self { key, function, priority, data, when_to_run } = self;
        let name = |bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => format!("'{}'", bytes.escape_ascii()),
            None => "NULL".to_owned(),
        };
        let row = format!("unique_key {}, function_name {}", name(&key), name(&function));
        let bad = |what: String| BadRow { row: row.clone(), what };
        let Some(key) = key else { return Err(bad("unique_key is NULL".to_owned())) };
        let Some(function) = function else { return Err(bad("function_name is NULL".to_owned())) };
        let level = priority.ok_or_else(|| bad("priority is NULL".to_owned()))?;
        let priority =
            priority_of(level).ok_or_else(|| bad(format!("priority is {level}, not 0, 1 or 2")))?;
        let when = when_to_run.unwrap_or(0);
        let not_before_s = u64::try_from(when).map_err(|_| bad(format!("when_to_run is {when}")))?;
        Ok(Row {
            key: Cow::Owned(key),
            function: Cow::Owned(function),
            priority,
            data: Cow::Owned(data.unwrap_or_default()),
            not_before_s,
        })
    }
}

/// What a column of text takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// Characters, or bytes where it knows no characters.
    pub(super) length_max: usize,
    /// It takes UTF-8 only.
    pub(super) utf8: bool,
    /// It takes NUL.
    pub(super) nul: bool,
}

/// What a table takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) key: Text,
    pub(super) function: Text,
    pub(super) when_max: u64,
    pub(super) data_bytes_max: usize,
}

impl Limits {
    /// Whether the table can keep `row`; if not, why.
    pub(super) fn hold(&self, row: &Row<'_>) -> Result<(), &'static str> {
        match self.key.refusal(&row.key) {
            None => {}
            Some(Refusal::Long) => {
                return Err("the unique is longer than the column unique_key of the table");
            }
            Some(Refusal::NotText) => {
                return Err("the unique is not UTF-8, and the table keeps nothing else");
            }
        }
        match self.function.refusal(&row.function) {
            None => {}
            Some(Refusal::Long) => {
                return Err("the function is longer than the column function_name of the table");
            }
            Some(Refusal::NotText) => {
                return Err("the function is not UTF-8, and the table keeps nothing else");
            }
        }
        if row.not_before_s > self.when_max {
            return Err("the time is too late for the column when_to_run of the table; make it a BIGINT");
        }
        if row.data.len() > self.data_bytes_max {
            return Err("the workload is larger than what the database takes");
        }
        Ok(())
    }
}

enum Refusal {
    Long,
    NotText,
}

impl Text {
    fn refusal(&self, bytes: &[u8]) -> Option<Refusal> {
        let length = if self.utf8 {
            let Ok(text) = std::str::from_utf8(bytes) else { return Some(Refusal::NotText) };
            text.chars().count()
        } else {
            bytes.len()
        };
        if !self.nul && bytes.contains(&0) {
            return Some(Refusal::NotText);
        }
        (length > self.length_max).then_some(Refusal::Long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::job::Priority;

    #[test]
    fn names_are_quoted_and_never_end_early() {
        let keep = |name| quoted(name, '`', str::to_owned).ok();
        let fold = |name| quoted(name, '"', str::to_lowercase).ok();
        assert_eq!(keep("gearman_queue").as_deref(), Some("`gearman_queue`"));
        assert_eq!(keep("jobs.`a.b`").as_deref(), Some("`jobs`.`a.b`"));
        assert_eq!(fold("Queue").as_deref(), Some("\"queue\""));
        assert_eq!(fold("\"Queue\"").as_deref(), Some("\"Queue\""));
        assert_eq!(fold("a\"; DROP TABLE b").as_deref(), None);
        for bad in ["", ".", "a.", ".a", "a.b.c", "a`b", "`a", "`a`b", "``", "a\0"] {
            assert_eq!(keep(bad), None, "{bad:?}");
        }
    }

    fn columns() -> Columns {
        Columns {
            key: Some(b"u".to_vec()),
            function: Some(b"f".to_vec()),
            priority: Some(1),
            data: None,
            when_to_run: None,
        }
    }

    #[test]
    fn a_row_without_data_and_time_is_a_job() {
        let row = columns().into_row().unwrap();
        assert_eq!((row.priority, &*row.data, row.not_before_s), (Priority::Normal, &b""[..], 0));
    }

    #[test]
    fn a_row_that_is_no_job_is_named() {
        let what = |change: fn(&mut Columns)| {
            let mut bad = columns();
            change(&mut bad);
            bad.into_row().unwrap_err()
        };
        let unnamed = what(|row| row.key = None);
        assert_eq!(unnamed.row, "unique_key NULL, function_name 'f'");
        assert_eq!(unnamed.what, "unique_key is NULL");
        assert_eq!(what(|row| row.function = None).what, "function_name is NULL");
        assert_eq!(what(|row| row.priority = None).what, "priority is NULL");
        assert_eq!(what(|row| row.priority = Some(7)).what, "priority is 7, not 0, 1 or 2");
        assert_eq!(what(|row| row.when_to_run = Some(-1)).what, "when_to_run is -1");
    }

    #[test]
    fn what_a_table_cannot_keep_is_refused() {
        let text = Text { length_max: 3, utf8: true, nul: false };
        let bytes = Text { length_max: 3, utf8: false, nul: true };
        let refused = |limit: Text, bytes: &[u8]| limit.refusal(bytes).is_some();
        assert!(!refused(text, "äöü".as_bytes()) && refused(text, b"abcd"));
        assert!(refused(text, b"\xff") && refused(text, b"a\0"));
        assert!(!refused(bytes, b"\xff\0a") && refused(bytes, "äö".as_bytes()));
        let limits = Limits { key: text, function: text, when_max: 9, data_bytes_max: 4 };
        let row = columns().into_row().unwrap();
        assert_eq!(limits.hold(&row), Ok(()));
        let late = Row { not_before_s: 10, ..row.clone() };
        assert!(limits.hold(&late).unwrap_err().contains("when_to_run"));
        let large = Row { data: Cow::Borrowed(b"12345"), ..row };
        assert!(limits.hold(&large).unwrap_err().contains("workload"));
    }
}
