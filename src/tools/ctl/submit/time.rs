//! Points in time as they are typed.

use std::time::SystemTime;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// Reads `2026-12-24T18:00:00Z`, `2026-12-24 18:00` and `18:00` (the next one) in this machine's zone, and
/// `@1798135200` (seconds since 1970).
///
/// # Errors
/// What to write instead.
pub(super) fn time(text: &str) -> Result<SystemTime, String> {
    let help =
        || "write a time such as 18:00, '2026-12-24 18:00', 2026-12-24T18:00:00Z or @1798135200".to_owned();
    read(text, &Zoned::now()).map(SystemTime::from).ok_or_else(help)
}

fn read(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Some(seconds) = text.strip_prefix('@') {
        return Timestamp::from_second(seconds.parse().ok()?).ok();
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    let zoned = |civil: DateTime, zone: &TimeZone| civil.to_zoned(zone.clone()).ok();
    // A time alone would be read as one of today by the next branch.
    if !text.contains('-')
        && let Ok(time) = text.parse::<Time>()
    {
        let today = zoned(now.date().to_datetime(time), now.time_zone())?;
        let next = if today > *now { today } else { today.checked_add(1.day()).ok()? };
        return Some(next.timestamp());
    }
    Some(zoned(text.parse().ok()?, now.time_zone())?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_type_them() {
        let now: Zoned = "2026-11-21T19:30:00+01:00[+01:00]".parse().unwrap();
        let cases = [
            ("@1700000000", "2023-11-14T22:13:20Z"),
            ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
            ("2026-12-24 18:00", "2026-12-24T17:00:00Z"),
            ("2026-12-24", "2026-12-23T23:00:00Z"),
            ("20:00", "2026-11-21T19:00:00Z"),
            ("18:00:30", "2026-11-22T17:00:30Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, &now), expected.parse().ok(), "{text}");
        }
        for bad in ["", "tomorrow", "25:00", "@soon", "2026-13-01"] {
            assert_eq!(read(bad, &now), None, "{bad}");
        }
    }
}
