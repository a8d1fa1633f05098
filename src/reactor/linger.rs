//! Whether a shard that finds nothing to do gives way once before it parks.
//!
//! Parking costs a shard two switches of its thread, and whoever wakes it a
//! system call. Under load there is more to do in a moment: another shard is
//! about to answer, or a peer on the same core has had no time to send. So a
//! busy shard first yields its core, which costs nothing worth speaking of
//! when nobody wants it, and otherwise lets more work gather for the next turn
//! than a wake for each piece would.
//!
//! A shard that is not busy parks at once: whoever has yielded waits for the
//! scheduler, whoever has parked is woken.

/// How long work is counted before the shard is called busy or not.
const WINDOW_US: u64 = 1_000;
/// Receives and messages in a window that make a shard busy: some thousand
/// jobs a second.
const BUSY_WORK: u64 = 32;

/// What a shard has had to do of late.
#[derive(Default)]
pub(super) struct Linger {
    /// There is another shard that may send something.
    has_peers: bool,
    since_us: u64,
    work: u64,
    busy: bool,
    yielded: bool,
}

impl Linger {
    /// One of so many shards. One alone is woken by its sockets only, and never lingers.
    pub(super) fn new(shards: u16) -> Self {
        Self { has_peers: shards > 1, ..Self::default() }
    }

    /// So many receives or messages were handled.
    pub(super) const fn worked(&mut self, count: u64) {
        self.work += count;
    }

    /// A turn begins; `found`: there is something to do in it.
    pub(super) const fn begin_turn(&mut self, now_us: u64, found: bool) {
        if found {
            self.yielded = false;
        }
        let elapsed_us = now_us.saturating_sub(self.since_us);
        if elapsed_us >= WINDOW_US {
            self.busy = self.work * WINDOW_US >= BUSY_WORK * elapsed_us;
            (self.work, self.since_us) = (0, now_us);
        }
    }

    /// The shard would park: whether it should yield and look once more. Once
    /// only, until it has found something.
    pub(super) const fn before_park(&mut self) -> bool {
        let yields = self.has_peers && self.busy && !self.yielded;
        self.yielded |= yields;
        yields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window with so much work in it.
    fn after(shards: u16, work: u64) -> Linger {
        let mut linger = Linger::new(shards);
        linger.begin_turn(50_000, true);
        linger.worked(work);
        linger.begin_turn(50_000 + WINDOW_US, true);
        linger
    }

    #[test]
    fn a_busy_shard_yields_once_until_it_finds_something() {
        let mut linger = after(2, BUSY_WORK);
        assert!(linger.before_park());
        linger.begin_turn(51_010, false);
        assert!(!linger.before_park(), "it found nothing after the first time");
        linger.begin_turn(51_020, true);
        assert!(linger.before_park());
    }

    #[test]
    fn idle_and_lonely_shards_park_at_once() {
        assert!(!after(2, BUSY_WORK - 1).before_park());
        assert!(!after(1, 100 * BUSY_WORK).before_park());
        let mut linger = after(2, 10 * BUSY_WORK);
        linger.worked(BUSY_WORK);
        linger.begin_turn(50_000 + 20 * WINDOW_US, true);
        assert!(!linger.before_park(), "the work is spread over a long rest");
    }
}
