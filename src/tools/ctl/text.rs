//! Texts of peers and people: what may be shown on a screen, and times as they are typed.

use std::time::Duration;

use jiff::SignedDuration;

/// Bytes of a peer as a screen may show them: control characters, which could
/// steer a terminal, and what is not UTF-8 are escaped.
pub(in crate::tools) fn shown(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || is_direction(character) {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        shown.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    shown
}

// These turn the direction of what follows around.
const fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Reads `5`, `1.5`, `200ms`, `5s`, `1m30s`, `2h`; bare numbers are seconds.
///
/// # Errors
/// What to write instead.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let help = || "write a time such as 5s, 200ms, 1m30s or 2h; a bare number is seconds".to_owned();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| help());
    }
    let signed: SignedDuration = text.parse().map_err(|_| help())?;
    Duration::try_from(signed).map_err(|_| help())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(shown("größe".as_bytes()), "größe");
        assert_eq!(shown(b"a\x1b[2Jb\tc\xffd"), "a\\u{1b}[2Jb\\tc\\xffd");
        assert_eq!(shown("\u{9b}x\u{202e}".as_bytes()), "\\u{9b}x\\u{202e}");
    }

    #[test]
    fn times_are_read_as_people_type_them() {
        let cases =
            [("5", 5000), ("1.5", 1500), ("200ms", 200), ("1m30s", 90_000), ("2h", 7_200_000), ("0", 0)];
        for (text, ms) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "x", "-1", "-5s", "5 apples", "nan", "inf", "1e99"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
