//! Retry policies and dead letters, which only this crate's server has.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::rows::Shape;
use super::{Admin, AdminError, sendable};
use crate::protocol::admin::{AdminCommand, Dead};
use crate::protocol::field;
use crate::protocol::retry::{Cause, RetryPolicy};

/// A background job that is kept after its last attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its handle, the same as ever.
    pub handle: Vec<u8>,
    /// Its function.
    pub function: Vec<u8>,
    /// Its unique; empty when it has none.
    pub unique: Vec<u8>,
    /// How often it was run.
    pub attempts: u16,
    /// What ended its last run.
    pub cause: Cause,
    /// When that was.
    pub died: SystemTime,
    /// Length of its workload in bytes; `None` when the server would have to read it from its disk.
    pub workload_bytes: Option<u64>,
}

/// Which dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetters<'a> {
    /// That of the job with this handle, or those of the function with this name.
    Named(&'a [u8]),
    /// All.
    All,
}

impl<'a> DeadLetters<'a> {
    fn word(self) -> Result<Dead<'a>, AdminError> {
        match self {
            Self::Named(name) => sendable(name).map(Dead::Named),
            Self::All => Ok(Dead::All),
        }
    }
}

impl Admin {
    /// The dead letters of a function, or of all; of each function that which died first before
    /// others. Of this crate's server only; others refuse.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn show_dead(&mut self, function: Option<&[u8]>) -> Result<Vec<DeadLetter>, AdminError> {
        let function = function.map(sendable).transpose()?;
        self.list(AdminCommand::ShowDead(function), &Shape::Ends(dead_letter))
    }

    /// Makes jobs of dead letters again, which have never been run; how many. One that shares its
    /// function and unique with a job joins that, or stays when that is a foreground job.
    ///
    /// # Errors
    /// [`AdminError::Refused`] with `UNKNOWN_JOB` for a handle that names no dead letter; else see [`AdminError`].
    pub fn requeue_dead(&mut self, which: DeadLetters<'_>) -> Result<u64, AdminError> {
        self.count(AdminCommand::RequeueDead(which.word()?))
    }

    /// Forgets dead letters; how many.
    ///
    /// # Errors
    /// As [`requeue_dead`](Self::requeue_dead).
    pub fn purge_dead(&mut self, which: DeadLetters<'_>) -> Result<u64, AdminError> {
        self.count(AdminCommand::PurgeDead(which.word()?))
    }

    /// The functions that have retry policies, and these. Of this crate's server only; others refuse.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn show_retries(&mut self) -> Result<Vec<(Vec<u8>, RetryPolicy)>, AdminError> {
        self.list(AdminCommand::ShowRetries, &Shape::Ends(policy))
    }

    /// Gives a function (or [`EVERY_FUNCTION`](super::EVERY_FUNCTION)) a retry policy, or takes it away.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn set_retry(
        &mut self,
        function: impl AsRef<[u8]>,
        policy: Option<RetryPolicy>,
    ) -> Result<(), AdminError> {
        self.order(AdminCommand::Retry(sendable(function.as_ref())?, policy))
    }

    fn count(&mut self, command: AdminCommand<'_>) -> Result<u64, AdminError> {
        let text = self.ask(&command.line())?;
        text.parse().map_err(|_| self.garbage(text.as_bytes()))
    }
}

fn columns<const COUNT: usize>(line: &[u8]) -> Option<[&[u8]; COUNT]> {
    let columns: Vec<&[u8]> = line.split(|&byte| byte == b'\t').collect();
    columns.try_into().ok()
}

fn dead_letter(line: &[u8]) -> Option<DeadLetter> {
    let [handle, function, unique, attempts, cause, at_s, bytes] = columns(line)?;
    let text = |field| std::str::from_utf8(field).ok();
    let at_s = Duration::from_secs(text(at_s)?.parse().ok()?);
    Some(DeadLetter {
        handle: field::read(handle)?,
        function: field::read(function)?,
        unique: field::read(unique)?,
        attempts: text(attempts)?.parse().ok()?,
        cause: Cause::ALL.into_iter().find(|known| known.name().as_bytes() == cause)?,
        died: UNIX_EPOCH.checked_add(at_s)?,
        workload_bytes: if bytes == b"-" { None } else { Some(text(bytes)?.parse().ok()?) },
    })
}

fn policy(line: &[u8]) -> Option<(Vec<u8>, RetryPolicy)> {
    let [function, policy] = columns(line)?;
    Some((field::read(function)?, std::str::from_utf8(policy).ok()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_with_all_their_columns() {
        let letter = dead_letter(b"H:x:7\ta\\x09b\t\t3\ttimeout\t1700000000\t12").unwrap();
        assert_eq!((&*letter.function, &*letter.unique, letter.attempts), (&b"a\tb"[..], &b""[..], 3));
        assert_eq!((letter.cause, letter.workload_bytes), (Cause::Timeout, Some(12)));
        assert_eq!(dead_letter(b"h\tf\tu\t1\tlost\t1\t-").unwrap().workload_bytes, None);
        for bad in [
            "h\tf\tu\t1\tlost\t1",
            "h\tf\tu\t1\tbored\t1\t1",
            "h\tf\tu\t-1\tlost\t1\t1",
            "h\t\\\tu\t1\tlost\t1\t1",
        ] {
            assert_eq!(dead_letter(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn policies_are_read_with_their_functions() {
        let (function, policy) = policy(b"*\tattempts=2,on=fail,then=drop").unwrap();
        assert_eq!((&*function, policy.attempts), (super::super::EVERY_FUNCTION, 2));
        for bad in ["f", "f\tattempts=0", "f\toff", "f\tattempts=2\t"] {
            assert_eq!(super::policy(bad.as_bytes()), None, "{bad}");
        }
    }
}
