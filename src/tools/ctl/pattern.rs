//! Names that a command is about: exact ones, or with `*` for anything.

/// Whether `name` is one of the patterns; none of them means every name.
pub(super) fn chosen(patterns: &[String], name: &[u8]) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern.as_bytes(), name))
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|&byte| byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    // What stands between two stars is looked for as early as possible.
    for part in parts.filter(|part| !part.is_empty()) {
        let Some(at) = rest.windows(part.len()).position(|window| window == part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything() {
        let cases = [
            ("mail", "mail", true),
            ("mail", "mails", false),
            ("mail*", "mails", true),
            ("*mail", "gmail", true),
            ("*a*b*", "xaxbx", true),
            ("*a*b*", "xbxax", false),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("*", "", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(chosen(&[pattern.to_owned()], name.as_bytes()), expected, "{pattern} {name}");
        }
        assert!(chosen(&[], b"anything"));
    }
}
