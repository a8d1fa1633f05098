//! Jobs in somebody else's engine, in the shape in which gearmand keeps them: a row for each job.
//!
//! An [`Engine`] knows one kind of database and nothing of jobs' numbers.
//! Source of the schemas: gearmand-spec.md, section 19.

pub mod at_end;
pub mod job;
mod key;
#[cfg(feature = "memcached")]
pub mod memcached;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
pub mod replay;
pub mod shared;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod store;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod table;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::queue::job::Priority;

/// A job as gearmand keeps it. Its number, how often it was lost, and a reducer have no place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// gearmand's `unique_key`: the unique, or a key that was made for a job without one.
    pub key: Cow<'a, [u8]>,
    /// The function.
    pub function: Cow<'a, [u8]>,
    /// Its lane; see [`level`].
    pub priority: Priority,
    /// The workload.
    pub data: Cow<'a, [u8]>,
    /// Unix seconds before which it is not run; 0 for at once.
    pub not_before_s: u64,
}

/// What names a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// As in [`Row::key`].
    pub key: Box<[u8]>,
    /// The function.
    pub function: Box<[u8]>,
}

/// A row that is there and is no job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Which one, as a person would look for it.
    pub row: String,
    /// What is wrong with it.
    pub what: String,
}

impl Row<'_> {
    /// What names it.
    #[must_use]
    pub fn name(&self) -> Key {
        Key { key: (*self.key).into(), function: (*self.function).into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job \"{}\" of function \"{}\"", self.key.escape_ascii(), self.function.escape_ascii())
    }
}

/// Why an engine did not do what it was asked.
#[derive(Debug)]
pub enum EngineError {
    /// It cannot be reached, or not be spoken with any more: it is tried again after [`Engine::connect`].
    Lost(String),
    /// It understood, and says no; nothing was changed.
    Refused(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(what) | Self::Refused(what) => f.write_str(what),
        }
    }
}

/// What an operator should know.
#[derive(Debug)]
pub enum News<'a> {
    /// The engine went away: what it said.
    Away(&'a str),
    /// It is there again.
    Back,
    /// It refused a job or its end: which, and what it said.
    Refused(&'a Key, &'a str),
    /// A row is no job and was left alone.
    Bad(&'a BadRow),
    /// So many more rows were no jobs.
    MoreBad(usize),
    /// Two rows are one job; the later one was taken out.
    Twice(&'a Key),
    /// Jobs are less safe than they seem: why.
    Unsafe(&'a str),
}

impl fmt::Display for News<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(what) => {
                write!(f, "The durable queue is away, background jobs are refused until it is back: {what}")
            }
            Self::Back => f.write_str("The durable queue is back"),
            Self::Refused(key, what) => write!(f, "The durable queue refuses {key}: {what}"),
            Self::Bad(BadRow { row, what }) => write!(f, "Left alone in the durable queue: {row}: {what}"),
            Self::MoreBad(rows) => write!(f, "Left alone in the durable queue: {rows} more rows"),
            Self::Twice(key) => {
                write!(f, "Taken out of the durable queue: {key}, which coalesces with an earlier row")
            }
            Self::Unsafe(why) => f.write_str(why),
        }
    }
}

/// Who hears the news.
pub type Tell = Arc<dyn Fn(&News<'_>) + Send + Sync>;

/// A database with gearmand's schema in it.
///
/// It is used by one thread at a time. No call waits longer than a few seconds
/// for an engine that does not answer.
pub trait Engine: Send {
    /// Whether the schema can keep such a row.
    ///
    /// # Errors
    /// Why not, in words for whoever submitted the job.
    fn holds(&self, row: &Row<'_>) -> Result<(), &'static str>;

    /// Takes out the rows of `gone`, as far as they are there, then puts in
    /// `new`, each in the place of one with the same key and function. All of
    /// it is safe when this returns, and where the engine has transactions, it
    /// is one. No key stands in `new` twice, nor in `gone` twice.
    ///
    /// # Errors
    /// When it was not done, or nobody knows: then it may be done again.
    fn apply(&mut self, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError>;

    /// Every row, the oldest first as far as the engine knows. One that is no
    /// job is told and left where it is.
    ///
    /// # Errors
    /// When not all can be read.
    fn read(&mut self, each: &mut dyn FnMut(Result<Row<'static>, BadRow>)) -> Result<(), EngineError>;

    /// Connects again, whatever the state of the old connection, and makes the
    /// table if it is not there.
    ///
    /// # Errors
    /// When the engine cannot be reached or used.
    fn connect(&mut self) -> Result<(), EngineError>;

    /// What in its settings makes jobs less safe than they seem.
    ///
    /// # Errors
    /// When it cannot be reached.
    fn warnings(&mut self) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }
}

impl<E: Engine + ?Sized> Engine for Box<E> {
    fn holds(&self, row: &Row<'_>) -> Result<(), &'static str> {
        (**self).holds(row)
    }

    fn apply(&mut self, new: &[Row<'_>], gone: &[Key]) -> Result<(), EngineError> {
        (**self).apply(new, gone)
    }

    fn read(&mut self, each: &mut dyn FnMut(Result<Row<'static>, BadRow>)) -> Result<(), EngineError> {
        (**self).read(each)
    }

    fn connect(&mut self) -> Result<(), EngineError> {
        (**self).connect()
    }

    fn warnings(&mut self) -> Result<Vec<String>, EngineError> {
        (**self).warnings()
    }
}

/// gearmand's number for a priority: 0 high, 1 normal, 2 low.
#[must_use]
pub const fn level(priority: Priority) -> u8 {
    2 - priority.index() as u8
}

/// The priority with this number.
#[must_use]
pub fn priority_of(level: i64) -> Option<Priority> {
    Priority::FROM_HIGH.get(usize::try_from(level).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_gearmands() {
        assert_eq!(Priority::FROM_HIGH.map(level), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(priority_of), Priority::FROM_HIGH.map(Some));
        assert_eq!([-1, 3].map(priority_of), [None; 2]);
    }
}
