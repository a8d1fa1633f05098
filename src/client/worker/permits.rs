//! How many jobs may run at a time, over all connections of a worker.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// So many permits, handed out first come, first served: a busy server's
/// connections cannot keep those of another from working.
#[derive(Debug)]
pub(super) struct Permits {
    total: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    tickets: u64,
    returned: u64,
    closed: bool,
}

impl Permits {
    pub(super) fn new(total: usize) -> Self {
        Self { total: total as u64, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a permit; false when there will be none, because the worker stops.
    pub(super) fn acquire(&self) -> bool {
        let mut state = self.lock();
        let ticket = state.tickets;
        state.tickets += 1;
        while ticket >= state.returned + self.total && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed
    }

    pub(super) fn release(&self) {
        let mut state = self.lock();
        let waited_for = self.is_wanted(&state);
        state.returned += 1;
        drop(state);
        // Waking nobody is a system call too.
        if waited_for {
            self.changed.notify_all();
        }
    }

    /// Whether somebody waits for one.
    pub(super) fn wanted(&self) -> bool {
        self.is_wanted(&self.lock())
    }

    const fn is_wanted(&self, state: &State) -> bool {
        state.tickets > state.returned + self.total
    }

    /// Nobody is to wait any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn no_more_than_the_permitted_number_is_inside() {
        let permits = Permits::new(2);
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        assert!(permits.acquire());
                        most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, SeqCst);
                        permits.release();
                    }
                });
            }
        });
        assert_eq!(most.load(SeqCst), 2);
        assert!(!permits.wanted());
        permits.close();
        assert!(!permits.acquire());
    }
}
