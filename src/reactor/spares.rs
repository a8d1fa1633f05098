//! Byte buffers that are between two uses.
//!
//! Connections own no buffer while they are idle; a busy shard lends the same
//! few, still warm in the cache, to one connection after another.

/// Buffers kept at most.
const KEPT_MAX: usize = 64;
/// Larger buffers are freed.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// What a fresh buffer can hold at least.
const FRESH_BYTES: usize = 512;

/// A stack of empty buffers.
#[derive(Default)]
pub(crate) struct Spares(Vec<Vec<u8>>);

impl Spares {
    /// An empty buffer; a fresh one has room for `bytes`.
    pub(crate) fn take(&mut self, bytes: usize) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(bytes.max(FRESH_BYTES)))
    }

    /// Takes a buffer back, whatever it holds.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if (1..=KEPT_BYTES_MAX).contains(&buffer.capacity()) && self.0.len() < KEPT_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_small_buffers_are_kept() {
        let mut spares = Spares::default();
        spares.give(vec![1, 2, 3]);
        spares.give(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        spares.give(Vec::new());
        assert_eq!(spares.0.len(), 1);
        assert!(spares.take(1).is_empty());
        assert!(spares.take(1000).capacity() >= 1000);
        for _ in 0..2 * KEPT_MAX {
            spares.give(Vec::with_capacity(10));
        }
        assert_eq!(spares.0.len(), KEPT_MAX);
    }
}
