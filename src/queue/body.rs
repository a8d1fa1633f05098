//! The bytes of a job or a result, shared between shards without copying.

use std::ops::Deref;

use triomphe::{Arc, ThinArc};

use super::buffer::Buffer;

/// Longer bodies keep the memory that they were received or put together in.
const COPIED_BYTES_MAX: usize = 16 << 10;
/// Bodies up to this size are put together without a detour over the heap.
const GATHERED_BYTES: usize = 256;

/// Immutable bytes; cloning shares them. Small ones are copied once, off the
/// read buffer; large ones stay where they were received.
#[derive(Clone)]
pub struct Body(Kind);

#[derive(Clone)]
enum Kind {
    Small(ThinArc<(), u8>),
    /// From `start` to the end.
    Large {
        bytes: Arc<Buffer>,
        start: u32,
    },
}

impl Body {
    /// A copy.
    #[must_use]
    pub fn copy(bytes: &[u8]) -> Self {
        if bytes.len() <= COPIED_BYTES_MAX {
            Self::small(bytes)
        } else {
            Self::from(Buffer::from(bytes.to_vec()))
        }
    }

    /// `parts` with a NUL between each two, as packets have them. Shares
    /// `received` where they end it so; otherwise they are copied.
    #[must_use]
    pub fn joined(parts: &[&[u8]], received: Option<&Self>) -> Self {
        if let Some(shared) = received.and_then(|received| received.ending_in(parts)) {
            return shared;
        }
        if let [one] = parts {
            return Self::copy(one);
        }
        let length = joined_bytes(parts);
        if length > GATHERED_BYTES {
            let joined = parts.join(&0);
            return if length > COPIED_BYTES_MAX {
                Self::from(Buffer::from(joined))
            } else {
                Self::small(&joined)
            };
        }
        let mut gathered = [0; GATHERED_BYTES];
        let mut end = 0;
        for part in parts {
            gathered[end..][..part.len()].copy_from_slice(part);
            end += part.len() + 1;
        }
        Self::small(&gathered[..length])
    }

    fn small(bytes: &[u8]) -> Self {
        Self(Kind::Small(ThinArc::from_header_and_slice((), bytes)))
    }

    /// The end of this body, shared, if it is `parts` with a NUL between each
    /// two, these very bytes, and enough of the whole to keep that for it.
    fn ending_in(&self, parts: &[&[u8]]) -> Option<Self> {
        let Kind::Large { bytes, .. } = &self.0 else { return None };
        let length = joined_bytes(parts);
        let start = bytes.len().checked_sub(length)?;
        if length < bytes.len() / 2 {
            return None;
        }
        let mut at = bytes[start..].as_ptr().addr();
        for part in parts {
            if part.as_ptr().addr() != at {
                return None;
            }
            at += part.len() + 1;
        }
        let start = u32::try_from(start).ok()?;
        Some(Self(Kind::Large { bytes: Arc::clone(bytes), start }))
    }
}

fn joined_bytes(parts: &[&[u8]]) -> usize {
    (parts.iter().map(|part| part.len() + 1).sum::<usize>()).saturating_sub(1)
}

impl From<Buffer> for Body {
    /// Keeps `bytes` as they are.
    fn from(bytes: Buffer) -> Self {
        Self(Kind::Large { bytes: Arc::new(bytes), start: 0 })
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Small(bytes) => &bytes.slice,
            Kind::Large { bytes, start } => &bytes[*start as usize..],
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_with_a_nul_between() {
        assert_eq!(*Body::joined(&[b"ab", b"", b"cde"], None), *b"ab\0\0cde");
        assert_eq!(*Body::joined(&[b"one"], None), *b"one");
        assert!(Body::joined(&[], None).is_empty() && Body::copy(b"").is_empty());
        for length in [GATHERED_BYTES - 2, GATHERED_BYTES, COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1] {
            let long = vec![7; length];
            assert_eq!(*Body::joined(&[b"u", &long], None), [b"u\0", &long[..]].concat());
            assert_eq!(*Body::copy(&long), long);
        }
    }

    #[test]
    fn the_end_of_a_received_body_is_shared_and_nothing_else_is() {
        let mut bytes = b"function\0unique\0".to_vec();
        bytes.resize(100_000, 7);
        let received = Body::from(Buffer::from(bytes));
        let (unique, workload) = (&received[9..15], &received[16..]);
        let shares = |parts: &[&[u8]]| {
            let body = Body::joined(parts, Some(&received));
            assert_eq!(*body, parts.join(&0));
            received.as_ptr_range().contains(&body.as_ptr())
        };
        assert!(shares(&[unique, workload]) && shares(&[workload]));
        assert!(!shares(&[b"unique", workload]), "equal bytes elsewhere are other bytes");
        assert!(!shares(&[unique, b"", workload]));
        assert!(!shares(&[unique, &workload[..workload.len() - 1]]), "something follows");
        assert!(!shares(&[&workload[60_000..]]), "a little does not keep much alive");
    }

    #[test]
    fn a_body_is_small() {
        assert_eq!((size_of::<Body>(), size_of::<Option<Body>>()), (16, 16));
    }
}
