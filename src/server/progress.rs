//! How far a long run has got.

use std::time::{Duration, Instant};

use super::log::tell_stderr;

/// Tells standard error once a second.
pub(super) struct Progress {
    next: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(1);

    pub(super) fn start() -> Self {
        Self { next: Instant::now() + Self::EVERY }
    }

    pub(super) fn tell(&mut self, text: impl FnOnce() -> String) {
        if Instant::now() >= self.next {
            self.next = Instant::now() + Self::EVERY;
            tell_stderr(&text());
        }
    }
}
