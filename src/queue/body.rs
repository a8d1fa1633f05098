//! The bytes of a job or a result, shared between shards without copying.

use std::ops::Deref;
use std::sync::Arc;

/// Immutable bytes; cloning shares them. Copied once, off the read buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Arc<[u8]>);

impl Body {
    /// Copies `parts`, one after the other, into one allocation.
    #[must_use]
    pub fn concat(parts: &[&[u8]]) -> Self {
        if let [one] = parts {
            return Self(Arc::from(*one));
        }
        // Filled with zeros first: cheaper than a second allocation to copy from.
        let length = parts.iter().map(|part| part.len()).sum();
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
        let mut rest = Arc::get_mut(&mut bytes).expect("nobody else has it yet");
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        Self(bytes)
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other() {
        assert_eq!(*Body::concat(&[b"ab", b"", b"cde"]), *b"abcde");
        assert_eq!(*Body::concat(&[b"one"]), *b"one");
        assert!(Body::concat(&[]).is_empty() && Body::concat(&[b"", b""]).is_empty());
    }
}
