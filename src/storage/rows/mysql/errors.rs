//! What the server's error numbers mean for jobs.
//!
//! Source of the numbers: MySQL's and MariaDB's error references.

use mysql::Error;

use crate::storage::rows::EngineError;

/// A row with this key is there.
pub(super) const DUPLICATE: u16 = 1062;
/// The table is not there.
pub(super) const NO_TABLE: u16 = 1146;

/// The number, if the server has answered at all.
pub(super) fn code(error: &Error) -> Option<u16> {
    match error {
        Error::MySqlError(error) => Some(error.code),
        _ => None,
    }
}

/// Whether another transaction was in the way: lock wait timeout, deadlock.
pub(super) const fn try_again(code: u16) -> bool {
    matches!(code, 1205 | 1213)
}

/// Whether the same statement may succeed later: too many connections, out of
/// memory, shutting down, killed, read-only, another transaction in the way.
const fn passes_by(code: u16) -> bool {
    try_again(code)
        || matches!(
            code,
            1037 | 1038 | 1040 | 1053 | 1077 | 1079 | 1152 | 1158
                ..=1161 | 1203 | 1226 | 1290 | 1317 | 1792 | 1836 | 1927
        )
}

pub(super) fn told(error: Error) -> EngineError {
    match error {
        Error::MySqlError(error) => {
            let what = format!("MySQL: {}: {} {}", error.message, error.code, error.state);
            if passes_by(error.code) { EngineError::Lost(what) } else { EngineError::Refused(what) }
        }
        Error::IoError(error) => EngineError::Lost(format!("MySQL: {error}")),
        Error::CodecError(error) => EngineError::Lost(format!("MySQL: {error}")),
        Error::DriverError(error) => EngineError::Lost(format!("MySQL: {error}")),
        other => EngineError::Lost(format!("MySQL: {other}")),
    }
}
