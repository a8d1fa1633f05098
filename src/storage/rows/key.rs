//! Keys of rows for jobs whose unique names no row.
//!
//! Several jobs may have no unique, and several `-`, which compares workloads.
//! gearmand files them all under one key, where they replace each other; here
//! each has a key made of its number.
//!
//! ```text
//! gearshard::<16 hex digits>     no unique
//! gearshard:-:<16 hex digits>    unique -
//! ```

use std::borrow::Cow;

const NONE: &[u8] = b"gearshard::";
const DATA: &[u8] = b"gearshard:-:";
/// Numbers are about the microseconds since 1970. One of the year 2250 or later was
/// not made here, and must not make the numbers of new jobs run out.
const NUMBER_MAX: u64 = 1 << 53;

/// The unique that compares workloads.
pub(super) const BY_DATA: &[u8] = b"-";

/// The key of a job's row.
pub(super) fn key_of(unique: &[u8], number: u64) -> Cow<'_, [u8]> {
    let prefix = match unique {
        b"" => NONE,
        BY_DATA => DATA,
        _ => return Cow::Borrowed(unique),
    };
    Cow::Owned([prefix, format!("{number:016x}").as_bytes()].concat())
}

/// The unique and the number behind a made key.
pub(super) fn made(key: &[u8]) -> Option<(&'static [u8], u64)> {
    let (unique, digits): (&[u8], _) = match (key.strip_prefix(NONE), key.strip_prefix(DATA)) {
        (Some(digits), _) => (b"", digits),
        (_, Some(digits)) => (BY_DATA, digits),
        _ => return None,
    };
    let lower = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 16 || !digits.iter().all(lower) {
        return None;
    }
    let number = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (number <= NUMBER_MAX).then_some((unique, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_keys_are_read_back_and_uniques_are_left_alone() {
        for unique in [b"".as_slice(), BY_DATA] {
            for number in [0, 1, 1_790_000_000_000_000, NUMBER_MAX] {
                let key = key_of(unique, number);
                assert!(key.len() <= 64);
                assert_eq!(made(&key), Some((unique, number)));
            }
            assert_eq!(made(&key_of(unique, NUMBER_MAX + 1)), None);
        }
        for unique in ["u", "--", "gearshard::", "gearshard::1", "gearshard:-:00000000000000AB"] {
            assert_eq!(*key_of(unique.as_bytes(), 7), *unique.as_bytes());
            assert_eq!(made(unique.as_bytes()), None);
        }
        assert_eq!(made(b"gearshard::+000000000000001"), None);
    }
}
