//! Numbers as the C server reads them: like `strtol`, never like a validator.

/// The number is outside of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

/// Reads a decimal number as C's `strtoll` does: leading white space, a sign,
/// digits; whatever follows is ignored, and no digits at all are 0.
///
/// # Errors
/// When the number does not fit into 64 bits.
pub fn parse(bytes: &[u8]) -> Result<i64, OutOfRange> {
    let start = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r')).unwrap_or(bytes.len());
    let (negative, digits) = match &bytes[start..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut number: i64 = 0;
    for byte in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        let digit = i64::from(byte - b'0');
        number = number.checked_mul(10).ok_or(OutOfRange)?;
        number =
            if negative { number.checked_sub(digit) } else { number.checked_add(digit) }.ok_or(OutOfRange)?;
    }
    Ok(number)
}

/// Reads a number as C's `atoi` into an unsigned 32-bit field does: what does
/// not fit keeps its low bits, so `-5` is 4294967291.
#[must_use]
pub fn atoi(bytes: &[u8]) -> u32 {
    let number = parse(bytes).unwrap_or_else(|OutOfRange| {
        if bytes.trim_ascii_start().first() == Some(&b'-') { i64::MIN } else { i64::MAX }
    });
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        let cases: [(&[u8], Result<i64, OutOfRange>); 9] = [
            (b"", Ok(0)),
            (b"junk", Ok(0)),
            (b"12x", Ok(12)),
            (b" \t-3", Ok(-3)),
            (b"+7", Ok(7)),
            (b"\0\0\x01\0", Ok(0)),
            (b"9223372036854775807", Ok(i64::MAX)),
            (b"-9223372036854775808", Ok(i64::MIN)),
            (b"9223372036854775808", Err(OutOfRange)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(parse(bytes), expected, "{bytes:?}");
        }
        assert_eq!(atoi(b"-5"), 4_294_967_291);
        assert_eq!(atoi(b"99999999999999999999"), u32::MAX);
        assert_eq!(atoi(b"-99999999999999999999"), 0);
    }
}
