//! Why a store does not work.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a store cannot be opened, read or written.
#[derive(Debug)]
pub enum StoreError {
    /// A call to the system failed.
    Io {
        /// What was being done, as in "cannot `doing`".
        doing: &'static str,
        /// With which file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What was written earlier is not what is there.
    Damaged {
        /// In which file.
        file: PathBuf,
        /// From which byte on.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Another process has it.
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// A job was asked for that is not there.
    Unknown {
        /// Its number.
        number: u64,
    },
    /// There is no space for it. Nothing was written; the store goes on.
    Full,
    /// Whoever keeps the jobs cannot be reached. Nobody knows what was written;
    /// it may be written again, and the store goes on.
    Away,
    /// Whoever keeps the jobs cannot be used.
    Engine {
        /// gearmand's name of the queue type.
        queue_type: &'static str,
        /// What it said.
        what: String,
    },
    /// The server ended, and jobs could not be written before.
    Unkept {
        /// How many.
        jobs: usize,
    },
    /// The server ended while jobs that are over could not be taken out.
    Owed {
        /// How many.
        jobs: usize,
    },
    /// An earlier error was final.
    Poisoned,
}

impl StoreError {
    /// What becomes of the system's error in "cannot `doing` `file`".
    pub(crate) fn io(doing: &'static str, file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |error| Self::Io { doing, file, error }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, file, error } => write!(f, "cannot {doing} {}: {error}", file.display()),
            Self::Damaged { file, offset, what } => write!(
                f,
                "{} is damaged at byte {offset}: {what}; restore it from a copy, or see with \
                 `gearshard wal check` what is lost and go on without it after `gearshard wal repair`",
                file.display()
            ),
            Self::InUse { directory } => {
                write!(f, "another server uses {}; stop it or choose another --wal-dir", directory.display())
            }
            Self::Unknown { number } => write!(f, "the log has no job {number}, though it was given it"),
            Self::Full => f.write_str("the disk is full; free some space, the server goes on by itself"),
            Self::Away => {
                f.write_str("the database cannot be reached; start it, the server goes on by itself")
            }
            Self::Engine { queue_type, what } => write!(f, "{queue_type} cannot be used: {what}"),
            Self::Unkept { jobs } => write!(f, "{jobs} jobs could not be written at the end and are lost"),
            Self::Owed { jobs } => {
                write!(f, "{jobs} jobs that are over could not be taken out in time, and run again")
            }
            Self::Poisoned => {
                f.write_str("the store failed earlier and takes nothing more; restart the server")
            }
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
