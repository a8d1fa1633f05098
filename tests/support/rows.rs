//! Jobs as rows of gearmand's schemas.

use gearshard::queue::job::Priority;
use gearshard::storage::rows::{Key, Row};

/// A job of normal priority that may run at once.
pub fn row(function: &str, unique: &str, data: &[u8]) -> Row<'static> {
    Row {
        key: unique.as_bytes().to_vec().into(),
        function: function.as_bytes().to_vec().into(),
        priority: Priority::Normal,
        data: data.to_vec().into(),
        not_before_s: 0,
    }
}

/// What names a row.
pub fn key(row: &Row<'_>) -> Key {
    Key { key: row.key.as_ref().into(), function: row.function.as_ref().into() }
}
