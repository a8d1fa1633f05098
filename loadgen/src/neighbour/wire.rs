//! What the three protocols have in common: lines that end in CR LF, with
//! decimal lengths in them and blocks of so many bytes behind them.

use crate::engine::connection::Broken;

/// Ends lines and blocks.
pub(super) const CR_LF: &[u8] = b"\r\n";

/// No line of these servers is longer: NATS describes itself in a few kilobytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Something read from the start of some bytes, and its length; nothing when not
/// all of it is there.
pub(super) type Read<T> = Result<Option<(T, usize)>, Broken>;

/// The first line, without its end.
pub(super) fn line(bytes: &[u8]) -> Read<&[u8]> {
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) => match bytes[..end].strip_suffix(b"\r") {
            Some(line) => Ok(Some((line, end + 1))),
            None => Err(strange(&bytes[..end])),
        },
        None if bytes.len() > LINE_BYTES_MAX => Err(strange(&bytes[..100])),
        None => Ok(None),
    }
}

/// The block of `length` bytes at `start`, with CR LF behind it.
pub(super) fn block(bytes: &[u8], start: usize, length: usize) -> Read<&[u8]> {
    let end = start.saturating_add(length);
    match bytes.get(end..end.saturating_add(2)) {
        Some(b"\r\n") => Ok(Some((&bytes[start..end], end + 2))),
        Some(other) => Err(strange(other)),
        None => Ok(None),
    }
}

/// A decimal number.
pub(super) fn number(digits: &[u8]) -> Result<usize, Broken> {
    let text = std::str::from_utf8(digits).map_err(|_| strange(digits))?;
    text.parse().map_err(|_| strange(digits))
}

/// The words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ').filter(|word| !word.is_empty())
}

/// What the protocol does not have.
pub(super) fn strange(bytes: &[u8]) -> Broken {
    Broken::Protocol(String::from_utf8_lossy(bytes).into_owned())
}

/// Reads with `next` until something is not whole, and hands it over; returns the length of all.
pub(super) fn each<'a, T>(
    bytes: &'a [u8],
    next: impl Fn(&'a [u8]) -> Read<T>,
    mut act: impl FnMut(T),
) -> Result<usize, Broken> {
    let mut used = 0;
    while let Some((said, length)) = next(&bytes[used..])? {
        act(said);
        used += length;
    }
    Ok(used)
}

/// Appends a number in decimal.
pub(super) fn put_number(out: &mut Vec<u8>, number: usize) {
    use std::io::Write;

    write!(out, "{number}").expect("memory takes every number");
}

/// Every whole beginning of `bytes` must be read as such: nothing, and no error.
#[cfg(test)]
pub(super) fn assert_waits_for_all<'a, T>(bytes: &'a [u8], next: impl Fn(&'a [u8]) -> Read<T>) {
    for length in 0..bytes.len() {
        assert!(matches!(next(&bytes[..length]), Ok(None)), "{length} of {}", bytes.escape_ascii());
    }
    let (_, used) = next(bytes).unwrap().expect("all of it is there");
    assert_eq!(used, bytes.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_blocks_end_where_they_say() {
        assert_eq!(line(b"a b\r\nc").unwrap(), Some((&b"a b"[..], 5)));
        assert_eq!(line(b"a b\r").unwrap(), None);
        assert!(line(b"a\n").is_err() && line(&[b'x'; LINE_BYTES_MAX + 1]).is_err());
        assert_eq!(block(b"3\r\nabc\r\nd", 3, 3).unwrap(), Some((&b"abc"[..], 8)));
        assert_eq!(block(b"abc\r", 0, 3).unwrap(), None);
        assert!(block(b"abcd\r\n", 0, 3).is_err());
        assert_eq!(block(b"abc", 1, usize::MAX).unwrap(), None);
        assert_eq!(number(b"120").unwrap(), 120);
        assert!(number(b"").is_err() && number(b"-1").is_err() && number(b"\xff").is_err());
        let mut out = Vec::new();
        put_number(&mut out, 1205);
        assert_eq!(out, b"1205");
    }
}
