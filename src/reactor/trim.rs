//! Gives memory back to the system once a deep queue has drained.
//!
//! The allocator gives back what it no longer needs while it works; a shard
//! that has come to rest does not work. Where mimalloc is not the allocator
//! this does nothing.

/// Less than this is not worth the trouble.
const TRIM_BYTES_MIN: u64 = 16 << 20;

/// When a shard last gave memory back, and what it has used since.
#[derive(Default)]
pub(super) struct Trim {
    most_bytes: u64,
}

impl Trim {
    /// The shard uses so many bytes and is about to rest: when that is less
    /// than half of what it has used, the rest is given back.
    pub(super) fn at_rest(&mut self, bytes: u64) {
        if self.is_due(bytes) {
            self.most_bytes = bytes;
            collect();
        }
    }

    /// The shard uses so many bytes.
    pub(super) fn note(&mut self, bytes: u64) {
        self.most_bytes = self.most_bytes.max(bytes);
    }

    const fn is_due(&self, bytes: u64) -> bool {
        self.most_bytes >= TRIM_BYTES_MIN && bytes < self.most_bytes / 2
    }
}

#[allow(unsafe_code, reason = "the allocator's interface is C")]
fn collect() {
    // SAFETY: takes no pointer; it may be called by any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_half_of_much_is_free() {
        let mut trim = Trim::default();
        trim.note(TRIM_BYTES_MIN - 1);
        assert!(!trim.is_due(0));
        trim.note(4 * TRIM_BYTES_MIN);
        assert!(!trim.is_due(2 * TRIM_BYTES_MIN));
        assert!(trim.is_due(TRIM_BYTES_MIN));
        trim.at_rest(TRIM_BYTES_MIN);
        assert!(!trim.is_due(TRIM_BYTES_MIN) && trim.is_due(0));
    }
}
