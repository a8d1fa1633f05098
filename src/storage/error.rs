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
    /// The queue type is not built into this version.
    Unbuilt {
        /// gearmand's name of it.
        queue_type: &'static str,
    },
    /// There is no space for it. Nothing was written; the store goes on.
    Full,
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
            Self::Unbuilt { queue_type } => {
                write!(f, "{queue_type} is not built into this version; build it with `--features stores`")
            }
            Self::Full => f.write_str("the disk is full; free some space, the server goes on by itself"),
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
