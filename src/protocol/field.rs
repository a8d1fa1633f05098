//! Names in lists whose columns a tab parts: any bytes, on one line.

/// Appends `bytes`. What would part columns or lines, a backslash, and what a
/// terminal does not show are written as `\x09`.
pub fn push(text: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_control() || byte == b'\\' {
            text.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        } else {
            text.push(byte);
        }
    }
}

/// What was pushed; `None` when nobody can have pushed this.
#[must_use]
pub fn read(field: &[u8]) -> Option<Vec<u8>> {
    let mut parts = field.split(|&byte| byte == b'\\');
    let mut bytes = parts.next()?.to_vec();
    for part in parts {
        let (digits, rest) = part.strip_prefix(b"x")?.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_make_a_field_of_one_line_and_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        let mut text = Vec::new();
        push(&mut text, &all);
        assert!(!text.iter().any(u8::is_ascii_control));
        assert_eq!(read(&text), Some(all));
        assert_eq!(read("größe".as_bytes()), Some("größe".as_bytes().to_vec()));
        for bad in ["\\", "\\x0", "\\t", "\\xzz", "\\x+1"] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }
}
