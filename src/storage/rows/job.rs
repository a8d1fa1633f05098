//! From a row to the job that it keeps.

use super::{Row, key};
use crate::queue::body::Body;
use crate::queue::change::StoredJob;
use crate::queue::name::Name;

/// The job of a row, without a number, and the number in its key if that is a
/// made one, else 0.
///
/// # Errors
/// When it is no job; what is wrong.
pub fn job_of(row: &Row<'_>) -> Result<(StoredJob, u64), &'static str> {
    let (unique, number) = key::made(&row.key).unwrap_or((&row.key, 0));
    let Ok(unique_bytes) = u16::try_from(unique.len()) else {
        return Err("its key is longer than any unique");
    };
    if row.key.contains(&0) || row.function.contains(&0) {
        return Err("no unique and no function has a NUL in it");
    }
    let job = StoredJob {
        number: 0,
        function: Name::from(&*row.function),
        body: Body::joined(&[unique, &row.data], None),
        unique_bytes,
        reducer_bytes: 0,
        priority: row.priority,
        not_before_s: row.not_before_s,
        losses: 0,
        death: None,
    };
    Ok((job, number))
}
