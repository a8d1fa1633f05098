//! Going to the background.
//!
//! One fork and a new session, without a change of directory, as gearmand does
//! it. The process that was started waits until the server is ready and then
//! exits with 0; when the server fails first it exits with 1. Until then the
//! server keeps the standard streams, so that a start that fails can say why.

#![allow(unsafe_code, reason = "the fork of a process with one thread, which has no safe wrapper")]

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::mem::ManuallyDrop;
use std::process;

use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

/// Held by the background process until the server is ready.
#[derive(Debug)]
pub(super) struct Starting {
    /// Never closed by us unless the server is ready: when it fails, the process
    /// that waits must not end before the reason has been told.
    parent: ManuallyDrop<PipeWriter>,
}

/// Returns in the background process only.
///
/// # Panics
/// When there is more than one thread.
pub(super) fn detach() -> io::Result<Starting> {
    let (ready, parent) = io::pipe()?;
    assert_eq!(threads()?, 1, "nothing may start a thread before the fork");
    // SAFETY: only the calling thread exists, as was just checked. So no other
    // thread can hold a lock that the child would find locked for ever.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => {
            drop(parent);
            process::exit(wait(ready));
        }
        ForkResult::Child => {
            drop(ready);
            setsid()?;
            Ok(Starting { parent: ManuallyDrop::new(parent) })
        }
    }
}

impl Starting {
    /// Lets go of the standard streams and of the process that waits.
    pub(super) fn ready(self) -> io::Result<()> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        match ManuallyDrop::into_inner(self.parent).write_all(b"1") {
            // Somebody has killed it; the server is none the worse.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// The exit code: the pipe ends without a word when the server has failed.
fn wait(mut ready: PipeReader) -> i32 {
    let mut word = [0];
    i32::from(ready.read_exact(&mut word).is_err())
}

fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}
