//! What a value may look like.
//!
//! Texts of refusals are gearmand's where gearmand would refuse too; behind them
//! stands what is allowed, where that is not plain from the option's name.

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::words::Refused;
use crate::protocol::retry::{self, RetryPolicy};
use crate::server::{Durability, OnFailure};

/// A whole number within `range`.
///
/// gearmand wraps negative numbers around where it has no use for them; here
/// they are refused.
pub(super) fn number(option: &str, value: &OsStr, range: RangeInclusive<i64>) -> Result<i64, Refused> {
    let Some(number) = value.to_str().and_then(|text| text.parse::<i64>().ok()) else {
        return Err(invalid(option, value, None));
    };
    if !range.contains(&number) {
        let allowed = format!("it must be between {} and {}", range.start(), range.end());
        return Err(invalid(option, value, Some(&allowed)));
    }
    Ok(number)
}

/// A number of bytes, with K, M, G or T for the powers of 1024.
pub(super) fn size(option: &str, value: &OsStr, range: RangeInclusive<u64>) -> Result<u64, Refused> {
    const ALLOWED: &str = "a size is a number of bytes, or a number with K, M or G such as 64K, 10M or 1G";
    let bytes = value.to_str().and_then(parse_size).ok_or_else(|| invalid(option, value, Some(ALLOWED)))?;
    if !range.contains(&bytes) {
        let allowed =
            format!("it must be between {} and {}", show_size(*range.start()), show_size(*range.end()));
        return Err(invalid(option, value, Some(&allowed)));
    }
    Ok(bytes)
}

/// A time, in seconds or with a unit.
pub(super) fn duration(option: &str, value: &OsStr) -> Result<Duration, Refused> {
    const ALLOWED: &str =
        "a time is a number of seconds, or a number with ms, s, m or h such as 500ms, 30s or 2m";
    value.to_str().and_then(parse_duration).ok_or_else(|| invalid(option, value, Some(ALLOWED)))
}

/// When a stored job is safe.
pub(super) fn durability(option: &str, value: &OsStr) -> Result<Durability, Refused> {
    const ALLOWED: &str = "it is always, interval:MS such as interval:50, or none";
    let read = |text: &str| match text.split_once(':') {
        None if text == "always" => Some(Durability::Always),
        None if text == "none" => Some(Durability::Never),
        Some(("interval", ms)) => {
            let ms = ms.parse().ok().filter(|&ms: &u32| ms > 0)?;
            Some(Durability::Interval(Duration::from_millis(ms.into())))
        }
        _ => None,
    };
    value.to_str().and_then(read).ok_or_else(|| invalid(option, value, Some(ALLOWED)))
}

/// A function and its retry policy.
pub(super) fn policy(option: &str, value: &OsStr) -> Result<(Box<[u8]>, Option<RetryPolicy>), Refused> {
    const ALLOWED: &str = "it is a function, a colon and a policy, such as resize:attempts=5 or *:attempts=5";
    // No policy has a colon, but a function may.
    let bytes = value.as_bytes();
    let colon = bytes.iter().rposition(|&byte| byte == b':').filter(|&colon| colon > 0);
    let (name, policy) = match colon {
        Some(colon) => (&bytes[..colon], String::from_utf8_lossy(&bytes[colon + 1..])),
        None => return Err(invalid(option, value, Some(ALLOWED))),
    };
    match retry::parse(&policy) {
        Ok(policy) => Ok((name.into(), policy)),
        Err(bad) => Err(invalid(option, value, Some(&bad.to_string()))),
    }
}

/// What becomes of the server when its log fails.
pub(super) fn on_failure(option: &str, value: &OsStr) -> Result<OnFailure, Refused> {
    match value.to_str() {
        Some("stop") => Ok(OnFailure::Stop),
        Some("refuse") => Ok(OnFailure::Refuse),
        _ => Err(invalid(option, value, Some("it is stop or refuse"))),
    }
}

/// gearmand's text for a bad value, and what would be a good one.
pub(super) fn invalid(option: &str, value: &OsStr, allowed: Option<&str>) -> Refused {
    let value = value.to_string_lossy();
    let quoted = if value.is_empty() { String::new() } else { format!(" ('{value}')") };
    let allowed = allowed.map_or(String::new(), |allowed| format!(": {allowed}"));
    Refused::option(option, format!("the argument{quoted} for option '--{option}' is invalid{allowed}"))
}

/// Writes a number of bytes the way it can be given: `64M`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    let exact = units.iter().find(|(_, shift)| bytes >> shift > 0 && bytes.trailing_zeros() >= *shift);
    if let Some((unit, shift)) = exact {
        return format!("{}{unit}", bytes >> shift);
    }
    match units.iter().find(|(_, shift)| bytes >> shift >= 10) {
        Some((unit, shift)) => format!("{:.1}{unit}", bytes as f64 / (1u64 << shift) as f64),
        None => bytes.to_string(),
    }
}

/// A share of the memory there is: `50%`.
pub(super) fn percentage(value: &OsStr) -> Option<u64> {
    let number = value.to_str()?.strip_suffix('%')?;
    digits(number).filter(|share| (1..=100).contains(share))
}

fn parse_size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.to_ascii_uppercase();
    let letter = unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit);
    let shift = match letter {
        "" if unit != "IB" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits(number)?.checked_mul(1 << shift)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = digits(number).filter(|&number| number <= u64::from(u32::MAX))?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        "h" => Some(Duration::from_secs(number * 3600)),
        _ => None,
    }
}

/// Digits only: `+5`, which `parse` takes, is no size.
fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_a_unit() {
        let cases = [
            ("0", Some(0)),
            ("123", Some(123)),
            ("64K", Some(65_536)),
            ("64k", Some(65_536)),
            ("10MiB", Some(10 << 20)),
            ("1GB", Some(1 << 30)),
            ("2T", Some(2 << 40)),
            ("7B", Some(7)),
            ("", None),
            ("K", None),
            ("1iB", None),
            ("1.5G", None),
            ("-1", None),
            ("+1", None),
            ("1 K", None),
            ("1P", None),
            ("99999999999T", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn times_take_a_unit() {
        let cases = [
            ("30", Some(Duration::from_secs(30))),
            ("30s", Some(Duration::from_secs(30))),
            ("500ms", Some(Duration::from_millis(500))),
            ("2m", Some(Duration::from_secs(120))),
            ("1h", Some(Duration::from_secs(3600))),
            ("", None),
            ("s", None),
            ("1d", None),
            ("-1", None),
            ("99999999999", None),
        ];
        for (text, duration) in cases {
            assert_eq!(parse_duration(text), duration, "{text}");
        }
    }

    #[test]
    fn shown_sizes_can_be_given_again() {
        for bytes in [0, 1, 1023, 1024, 64 << 20, 1 << 30, 3 << 40] {
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
        assert_eq!(show_size((16 << 30) + 12_345), "16.0G");
    }

    #[test]
    fn refusals_say_what_is_allowed() {
        let refused = number("backlog", OsStr::new("-5"), 0..=9).expect_err("-5 is not in 0..=9");
        assert_eq!(
            refused.message,
            "the argument ('-5') for option '--backlog' is invalid: it must be between 0 and 9"
        );
        let refused = number("backlog", OsStr::new(""), 0..=9).expect_err("nothing is no number");
        assert_eq!(refused.message, "the argument for option '--backlog' is invalid");
    }
}
