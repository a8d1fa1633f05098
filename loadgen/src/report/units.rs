//! Figures as people read them: three digits, and the unit that fits.

/// Three or four significant digits.
pub(super) fn number(value: f64) -> String {
    // What would be rounded up to another digit has that digit.
    match value.abs() {
        size if size >= 999.5 => grouped(value),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        size if size >= 0.9995 => format!("{value:.2}"),
        size if size >= 0.009_995 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

/// How a figure with this unit is written: what is counted has all its digits.
pub(super) fn written_in(unit: &str) -> fn(f64) -> String {
    if matches!(unit, "jobs" | "times") { grouped } else { number }
}

/// A whole number with its thousands apart.
#[allow(clippy::cast_possible_truncation, reason = "only what is far beyond any figure")]
fn grouped(value: f64) -> String {
    let digits = (value.abs().round() as u64).to_string();
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count: all digits up to a million, then millions.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn count(value: u64) -> String {
    if value < 1000 { value.to_string() } else { rate(value as f64) }
}

/// As [`count`], of what need not be whole.
pub(super) fn rate(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{} G", number(value / 1e9)),
        value if value >= 1e6 => format!("{} M", number(value / 1e6)),
        value => number(value),
    }
}

/// A time that was measured in microseconds.
pub(super) fn micros(us: f64) -> String {
    match us {
        // What would be rounded up to a thousand belongs to the next unit.
        us if us < 0.9995 => format!("{:.0} ns", us * 1e3),
        us if us < 999.5 => format!("{} us", number(us)),
        us if us < 999_500.0 => format!("{} ms", number(us / 1e3)),
        us => seconds(us / 1e6),
    }
}

/// A time that was measured in seconds.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 0.9995 { micros(seconds * 1e6) } else { format!("{} s", number(seconds)) }
}

/// Memory.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes < 999.5 => format!("{bytes:.0} B"),
        bytes if bytes < 999_500.0 => format!("{} KB", number(bytes / 1e3)),
        bytes if bytes < 999_500_000.0 => format!("{} MB", number(bytes / 1e6)),
        bytes => format!("{} GB", number(bytes / 1e9)),
    }
}

/// A share.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A moment, in UTC.
pub(super) fn moment(unix_ms: u64) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    moment.map_or_else(|| "unknown".to_owned(), |moment| moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// A command as a shell takes it.
pub(crate) fn command(words: &[String]) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=./:,@%+".contains(letter);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_unit_that_fits() {
        for (us, text) in [
            (0.25, "250 ns"),
            (4.0, "4.00 us"),
            (999.4, "999 us"),
            (999.6, "1.00 ms"),
            (12_345.0, "12.3 ms"),
            (999_600.0, "1.00 s"),
            (90e6, "90.0 s"),
        ] {
            assert_eq!(micros(us), text);
        }
        assert_eq!((bytes(0), bytes(12_300_000)), ("0 B".to_owned(), "12.3 MB".to_owned()));
        assert_eq!((count(999_999), count(1_250_000)), ("999,999".to_owned(), "1.25 M".to_owned()));
        assert_eq!((number(-1234.4), number(0.0)), ("-1,234".to_owned(), "0".to_owned()));
        assert_eq!((number(0.0123), number(0.000_12)), ("0.012".to_owned(), "0.00012".to_owned()));
        assert_eq!(
            (written_in("jobs")(1_234_567.0), written_in("ms")(20.0)),
            ("1,234,567".to_owned(), "20.0".to_owned())
        );
        assert_eq!((count(40), count(0)), ("40".to_owned(), "0".to_owned()));
        assert_eq!(moment(1_700_000_000_500), "2023-11-14 22:13:20 UTC");
    }

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let words = ["a", "--b=c d", "it's", ""].map(str::to_owned);
        assert_eq!(command(&words), r"a '--b=c d' 'it'\''s' ''");
    }
}
