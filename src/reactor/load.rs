//! Whether a shard is busy: on its core for most of the time, not only often.
//!
//! A busy shard is handed no connections by others (see `Rim::may_hand_over`).

use rustix::time::{ClockId, clock_gettime};

/// How long is looked at.
const WINDOW_US: u64 = 20_000;

/// What a shard's thread has spent, up to a moment.
#[derive(Default)]
pub(super) struct Load {
    until_us: u64,
    spent_us: u64,
}

impl Load {
    /// Whether a while ends now for most of which this thread was on a core.
    pub(super) fn is_busy(&mut self, now_us: u64) -> bool {
        now_us.saturating_sub(self.until_us) >= WINDOW_US && self.end_window(now_us, spent_us())
    }

    const fn end_window(&mut self, now_us: u64, spent_us: u64) -> bool {
        let busy = 2 * spent_us.saturating_sub(self.spent_us) > now_us.saturating_sub(self.until_us);
        *self = Self { until_us: now_us, spent_us };
        busy
    }
}

/// Processor time of this thread.
fn spent_us() -> u64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec.cast_unsigned() * 1_000_000 + spent.tv_nsec.cast_unsigned() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_busy_that_is_at_work_for_more_than_half_of_the_time() {
        let mut load = Load { until_us: 1_000_000, spent_us: 500 };
        assert!(load.end_window(1_020_000, 10_501));
        assert!(!load.end_window(1_040_000, 20_501));
        assert!(!load.end_window(9_040_000, 30_000), "a long rest is no work");
    }

    #[test]
    fn a_window_ends_once_and_processor_time_grows_with_work() {
        let mut load = Load::default();
        assert!(!load.is_busy(WINDOW_US - 1));
        assert_eq!(load.spent_us, 0, "it has not looked");
        load.is_busy(WINDOW_US);
        assert!(!load.is_busy(2 * WINDOW_US - 1));
        let before = spent_us();
        while spent_us() < before + 2_000 {
            std::hint::spin_loop();
        }
    }
}
