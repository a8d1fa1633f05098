//! How long a socket is read before the reader looks at the time again.

use std::time::Duration;

/// A read timeout of at least this is long enough for any deadline.
const LONG_READ: Duration = Duration::from_secs(1);

/// The read timeout to set, if the one that is set does not do.
///
/// One that is shorter than what is left is good enough: whoever wakes early
/// looks at the time and waits again. So a client that makes one request after
/// the other with the same time limit sets it once.
pub(super) fn better_timeout(set: Option<Duration>, left: Option<Duration>) -> Option<Option<Duration>> {
    match (set, left) {
        (None, None) => None,
        (Some(set), _) if set >= LONG_READ && left.is_none_or(|left| set <= left) => None,
        (_, None) => Some(None),
        (Some(set), Some(left)) if set <= left && left <= set * 4 => None,
        (_, Some(left)) => {
            // Half of what is left rounded to a power of two, so that the next one's fits it too.
            let micros = u64::try_from(left.as_micros()).unwrap_or(u64::MAX).max(2);
            Some(Some(Duration::from_micros(1 << (micros.ilog2() - u32::from(micros.is_power_of_two())))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_timeout_is_set_once_for_many_requests_with_the_same_limit() {
        let mut set = None;
        let mut changes = 0;
        for passed_us in 0..1000 {
            let left = Duration::from_secs(30) - Duration::from_micros(passed_us);
            for left in [Some(left), None] {
                if let Some(timeout) = better_timeout(set, left) {
                    changes += 1;
                    set = timeout;
                }
                assert!(left.is_none_or(|left| set.is_some_and(|set| set <= left)));
            }
        }
        // Without a limit at first, then with one.
        assert_eq!(changes, 1);
        assert_eq!(better_timeout(Some(Duration::from_secs(16)), Some(Duration::from_millis(3))), {
            Some(Some(Duration::from_micros(2048)))
        });
    }
}
