//! Job handles: `<prefix>:<number>`.
//!
//! The number alone names a job inside a server; the prefix makes it unique
//! among servers. Parsing accepts exactly what formatting writes, so that two
//! spellings never name one job. Source: gearmand-spec.md, section 3.

/// A handle and its terminating NUL fit into this many bytes in every client.
pub const HANDLE_BYTES_MAX: usize = 63;

/// The longest prefix that leaves room for `:` and any number.
pub const PREFIX_BYTES_MAX: usize = HANDLE_BYTES_MAX - 1 - 20;

/// What every handle of one server starts with, colon included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlePrefix(Box<[u8]>);

impl HandlePrefix {
    /// A prefix such as `H:host`, cut to [`PREFIX_BYTES_MAX`] bytes.
    ///
    /// NUL bytes would end a handle early and are left out.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let bytes = prefix.bytes().filter(|&byte| byte != 0).take(PREFIX_BYTES_MAX);
        Self(bytes.chain([b':']).collect())
    }

    /// The handle of job `number`.
    #[must_use]
    pub fn handle(&self, number: u64) -> Handle {
        let mut handle = Handle { bytes: [0; HANDLE_BYTES_MAX], length: 0 };
        handle.push(&self.0);
        handle.push(itoa::Buffer::new().format(number).as_bytes());
        handle
    }

    /// The number in a handle of this server. Like gearmand, the comparison
    /// ends at the first NUL byte.
    #[must_use]
    pub fn parse(&self, handle: &[u8]) -> Option<u64> {
        let end = handle.iter().position(|&byte| byte == 0).unwrap_or(handle.len());
        let digits = handle[..end].strip_prefix(&*self.0)?;
        if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
            return None;
        }
        digits.iter().try_fold(0u64, |number, &byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        })
    }
}

/// The text of one handle, kept on the stack.
#[derive(Clone, Copy)]
pub struct Handle {
    bytes: [u8; HANDLE_BYTES_MAX],
    length: usize,
}

impl Handle {
    /// The text, without a terminator.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, part: &[u8]) {
        self.bytes[self.length..self.length + part.len()].copy_from_slice(part);
        self.length += part.len();
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_round_trip_up_to_the_largest_number() {
        let prefix = HandlePrefix::new("H:host");
        for number in [0, 1, 10, 1_795_240_000_000_000, u64::MAX] {
            let handle = prefix.handle(number);
            assert_eq!(handle.to_string(), format!("H:host:{number}"));
            assert_eq!(prefix.parse(handle.as_bytes()), Some(number));
        }
    }

    #[test]
    fn only_the_canonical_spelling_is_a_handle() {
        let prefix = HandlePrefix::new("H:host");
        for bad in
            ["", "H:host:", "H:host:01", "H:host:+1", "H:host:1 ", "H:other:1", "H:host:18446744073709551616"]
        {
            assert_eq!(prefix.parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(prefix.parse(b"H:host:7\0junk"), Some(7));
    }

    #[test]
    fn a_long_prefix_is_cut_so_that_every_handle_fits() {
        let prefix = HandlePrefix::new(&"p".repeat(200));
        assert_eq!(prefix.handle(u64::MAX).as_bytes().len(), HANDLE_BYTES_MAX);
    }
}
