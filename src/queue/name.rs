//! Short byte strings: function names and uniques on their way.

use std::ops::Deref;

/// Longest name kept without an allocation of its own.
const INLINE_BYTES: usize = 30;

/// An immutable byte string; short ones are kept in place.
#[derive(Clone)]
pub struct Name(Repr);

#[derive(Clone)]
enum Repr {
    Inline { length: u8, bytes: [u8; INLINE_BYTES] },
    Heap(Box<[u8]>),
}

impl From<&[u8]> for Name {
    fn from(from: &[u8]) -> Self {
        if from.len() > INLINE_BYTES {
            return Self(Repr::Heap(from.into()));
        }
        let mut bytes = [0; INLINE_BYTES];
        bytes[..from.len()].copy_from_slice(from);
        let length = u8::try_from(from.len()).expect("an inline name is short");
        Self(Repr::Inline { length, bytes })
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_length_keep_their_bytes() {
        for length in [0, 1, INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1, 8000] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let name = Name::from(&bytes[..]);
            assert_eq!(*name, bytes[..]);
            assert_eq!(name, name.clone());
        }
        assert_eq!(size_of::<Name>(), 32);
    }
}
