//! How the values of options are written.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::engine::payload::STAMP_BYTES;

pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("{error}; give HOST:PORT"))?;
    found.next().ok_or_else(|| "the name has no address".to_owned())
}

pub(crate) fn positive(text: &str) -> Result<u32, String> {
    match count(text)?.try_into() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("is too large".to_owned()),
    }
}

/// A number, with `_` or `,` anywhere and behind it `k`, `m` or `g` for
/// thousands, or `ki`, `mi` or `gi` for powers of 1024.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let plain: String = text.chars().filter(|letter| !matches!(letter, '_' | ',')).collect();
    let plain = plain.to_ascii_lowercase();
    let units: [(&str, u64); 6] = [
        ("ki", 1 << 10),
        ("mi", 1 << 20),
        ("gi", 1 << 30),
        ("k", 1_000),
        ("m", 1_000_000),
        ("g", 1_000_000_000),
    ];
    let with_unit = |(unit, factor)| Some((plain.strip_suffix(unit)?, factor));
    let (digits, factor) = units.into_iter().find_map(with_unit).unwrap_or((&plain, 1));
    let number: u64 = digits.parse().map_err(|_| "is not a number".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "is too large".to_owned())
}

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..1e6).contains(&seconds) => Ok(seconds),
        _ => Err("is not a number of seconds".to_owned()),
    }
}

pub(crate) fn payload_bytes(text: &str) -> Result<usize, String> {
    let bytes = usize::try_from(count(text)?).map_err(|error| error.to_string())?;
    if bytes < STAMP_BYTES {
        return Err(format!("a payload needs {STAMP_BYTES} bytes to be told from others"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_may_be_written_as_people_do() {
        assert_eq!(count("1_000"), Ok(1000));
        assert_eq!(count("1,000"), Ok(1000));
        assert_eq!(count("300k"), Ok(300_000));
        assert_eq!(count("1M"), Ok(1_000_000));
        assert_eq!((count("64Mi"), count("2ki"), count("1g")), (Ok(64 << 20), Ok(2048), Ok(1_000_000_000)));
        assert!(count("many").is_err() && count("99999999999999999m").is_err());
        assert!(positive("0").is_err() && payload_bytes("15").is_err() && seconds("-1").is_err());
    }
}
