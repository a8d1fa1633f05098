//! How a command ends when it does not end well: one line of text and an exit code.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use crate::client::admin::AdminError;
use crate::client::{ClientError, InvalidAddress, InvalidJob};

/// The command line is wrong.
pub(super) const USAGE: u8 = 2;
const REFUSED: u8 = 1;
const SERVER: u8 = 3;
const LATE: u8 = 4;

/// What every help and manual page says about exit codes.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it was tried and failed: a job failed, a server refused, there is no such job or function
  2  the command line is wrong, or a file cannot be read
  3  a server cannot be reached, is lost, does not answer, or is no Gearman server
  4  it did not end within the time that was given

Servers are those of --server, else of GEARMAN_SERVERS, else localhost:4730.";

/// Why a command did not do what it was told.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line asks for what cannot be.
    Usage(String),
    /// It was tried and failed.
    Refused(String),
    /// A server is away or talks nonsense.
    Server(String),
    /// The time that was given is over.
    Late(String),
    /// The output cannot be written.
    Output(io::Error),
    /// It has been told already, and ends with the code of this one.
    Told(Box<Self>),
}

impl Failure {
    /// The same, once its text has been shown.
    pub(super) fn told(self) -> Self {
        tell(&self.text());
        Self::Told(Box::new(self))
    }

    fn text(&self) -> String {
        match self {
            Self::Usage(text) | Self::Refused(text) | Self::Server(text) | Self::Late(text) => text.clone(),
            Self::Output(error) => format!("cannot write the output: {error}"),
            Self::Told(failure) => failure.text(),
        }
    }

    /// Which of several failures decides: the greater.
    pub(super) const fn gravity(&self) -> u8 {
        match self.code() {
            SERVER => 3,
            REFUSED => 2,
            _ => 1,
        }
    }

    const fn code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Output(_) => REFUSED,
            Self::Usage(_) => USAGE,
            Self::Server(_) => SERVER,
            Self::Late(_) => LATE,
            Self::Told(failure) => failure.code(),
        }
    }
}

/// Writes a line about the command itself; nobody may be there to read it.
pub(super) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "gearctl: {text}");
}

/// The exit code of a command, and its message if there is one to give.
pub(super) fn exit(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // As with `gearctl status | head -1`: the reader has had enough.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::Told(_)) {
                tell(&failure.text());
            }
            ExitCode::from(failure.code())
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<InvalidAddress> for Failure {
    fn from(error: InvalidAddress) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<InvalidJob> for Failure {
    fn from(error: InvalidJob) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        let text = error.to_string();
        match error {
            AdminError::Refused { .. } => Self::Refused(text),
            AdminError::Name(_) => Self::Usage(text),
            _ => Self::Server(text),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        match error {
            ClientError::Address(_) | ClientError::Job(_) => Self::Usage(text),
            ClientError::NoServer { .. } | ClientError::Lost { .. } => Self::Server(text),
            ClientError::Timeout { .. } => Self::Late(text),
            _ => Self::Refused(text),
        }
    }
}
