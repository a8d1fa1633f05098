//! Handles that say themselves who waits for the job: no table to look it up in.
//!
//! `H:cccccc:nnnnnnnnnn`: the client's place and the job's number, both
//! hexadecimal. A place is given to another connection when one closes; the
//! number tells jobs of the former from those of the latter.

/// Bytes of every handle.
pub(super) const HANDLE_BYTES: usize = 19;

/// The place of nobody: a background job's result goes nowhere.
pub(super) const NOBODY: u32 = 0xff_ffff;

/// A job's handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    /// Who waits for the result.
    pub(super) client: u32,
    /// Counts up from 1.
    pub(super) number: u64,
}

impl Handle {
    /// As it goes over the wire.
    pub(super) fn bytes(self) -> [u8; HANDLE_BYTES] {
        let mut bytes = *b"H:000000:0000000000";
        put(&mut bytes[2..8], u64::from(self.client));
        put(&mut bytes[9..], self.number);
        bytes
    }

    /// The handle that these bytes are, if they are one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HANDLE_BYTES] = bytes.try_into().ok()?;
        if !bytes.starts_with(b"H:") || bytes[8] != b':' {
            return None;
        }
        let client = u32::try_from(take(&bytes[2..8])?).expect("six digits fit");
        Some(Self { client, number: take(&bytes[9..])? })
    }
}

fn put(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value % 16) as usize];
        value /= 16;
    }
}

fn take(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(value * 16 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_round_trip_and_others_are_refused() {
        for handle in [Handle { client: 0, number: 1 }, Handle { client: NOBODY, number: (1 << 40) - 1 }] {
            assert_eq!(Handle::parse(&handle.bytes()), Some(handle));
        }
        for bad in ["", "H:000000:000000000", "X:000000:0000000000", "H:00000g:0000000000"] {
            assert_eq!(Handle::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
