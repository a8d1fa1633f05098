//! What is tried again and what is not, as operators write and read it.

use std::fmt;

/// What made a run of a job come to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Its worker's connection is gone, or the worker gave the job up.
    Lost,
    /// Its worker took longer than the function's timeout.
    Timeout,
    /// WORK_FAIL
    Fail,
    /// WORK_EXCEPTION
    Exception,
}

impl Cause {
    /// Its name in lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Fail => "fail",
            Self::Exception => "exception",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
