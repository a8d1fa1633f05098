//! Being told to end, while waiting for something else.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// SIGINT (Ctrl-C), SIGTERM and SIGHUP, which from here on do not end the process by themselves.
pub(in crate::tools) struct Interrupts {
    told: Receiver<()>,
}

impl Interrupts {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system refuses.
    pub(in crate::tools) fn new() -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let (tell, told) = channel();
        // It ends with the process.
        std::thread::spawn(move || signals.forever().all(|_| tell.send(()).is_ok()));
        Ok(Self { told })
    }

    /// Waits for so long; whether the process has been told to end meanwhile.
    pub(in crate::tools) fn within(&self, time: Duration) -> bool {
        match self.told.recv_timeout(time) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            // Nobody listens any more: as if nothing had been told.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(time);
                false
            }
        }
    }

    /// Waits until the process is told to end.
    pub(super) fn wait(&self) {
        // Without a sender nothing would ever come: then there is nothing to wait for either.
        let _ = self.told.recv();
    }
}
