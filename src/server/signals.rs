//! Signals, which ask the server to end, or to open its log file again.
//!
//! A thread of its own waits for them, so no handler ever runs in the middle of
//! something. Until the server can be controlled, a signal that asks it to end
//! ends the process on the spot.

use std::io;
use std::process;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::thread;

use parking_lot::Mutex;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator;

use super::Control;
use super::log::LogWriter;
use crate::pid_file::PidFile;

/// What signals act on; filled in while the server starts.
#[derive(Clone, Default)]
pub(super) struct Signals(Arc<Mutex<Reach>>);

#[derive(Default)]
struct Reach {
    pid_file: Weak<PidFile>,
    log: Option<LogWriter>,
    control: Option<Control>,
}

impl Signals {
    /// Begins to wait for signals.
    pub(super) fn catch() -> io::Result<Self> {
        // A file that may not grow is an error of the write and no reason to end.
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let mut caught = iterator::Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP])?;
        let signals = Self::default();
        let acting = signals.clone();
        let waiting = move || caught.forever().for_each(|signal| acting.act(signal));
        thread::Builder::new().name("signals".to_owned()).spawn(waiting)?;
        Ok(signals)
    }

    /// From now on a signal that ends the process removes this file.
    pub(super) fn remove_at_end(&self, pid_file: &Arc<PidFile>) {
        self.0.lock().pid_file = Arc::downgrade(pid_file);
    }

    /// From now on SIGHUP opens this log's file again.
    pub(super) fn reopen(&self, log: &LogWriter) {
        self.0.lock().log = Some(log.clone());
    }

    /// From now on signals ask this server to end.
    pub(super) fn control(&self, control: Control) {
        self.0.lock().control = Some(control);
    }

    fn act(&self, signal: i32) {
        let reach = self.0.lock();
        match (signal, &reach.control) {
            (SIGHUP, _) => {
                if let Some(log) = &reach.log {
                    log.reopen();
                }
            }
            (SIGUSR1, Some(control)) => control.shutdown_gracefully(),
            (SIGUSR2, Some(control)) => control.drain(),
            (_, Some(control)) => control.stop(),
            (_, None) => {
                if let Some(pid_file) = reach.pid_file.upgrade() {
                    pid_file.remove();
                }
                process::exit(0);
            }
        }
    }
}
