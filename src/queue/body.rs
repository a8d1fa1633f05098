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
        match parts {
            [one] => Self(Arc::from(*one)),
            parts => Self(Arc::from(parts.concat())),
        }
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
