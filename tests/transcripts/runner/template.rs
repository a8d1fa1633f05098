//! Bytes with blanks: what a transcript line sends or expects.
//!
//! `{f}` is a name made up for this transcript, `{h1}` a handle that the server
//! chooses, `{8180*a}` a repetition, `{u:64}` a name filled up to 64 bytes,
//! `{now+2}` a unix time, `{*}` any word. Knows nothing of packets.

use std::collections::BTreeMap;

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// These bytes.
    Literal(Vec<u8>),
    /// A name or handle, filled up to a length if one is given.
    Named { name: String, fill: Option<usize> },
    /// Seconds since 1970 plus this.
    Now(i64),
    /// Any word; only in what is expected.
    Any,
}

/// Bytes with blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template(pub(crate) Vec<Piece>);

impl Template {
    /// Reads `text`; `|` stands for the next field, of which there are `fields`,
    /// and is written as NUL.
    pub(crate) fn parse_fields(text: &str, fields: usize) -> Result<Self, String> {
        let mut parser = Parser::new(text);
        let mut found = 1;
        while let Some(character) = parser.next() {
            if character == '|' && fields > 1 {
                found += 1;
                parser.literal(&[0]);
            } else {
                parser.take(character)?;
            }
        }
        if found == fields {
            Ok(parser.template)
        } else {
            Err(format!("{fields} fields are needed, here are {found}"))
        }
    }

    /// Reads `text` as it stands.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::parse_fields(text, 1)
    }

    /// Adds literal bytes at the end.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self.0.last_mut() {
            Some(Piece::Literal(literal)) => literal.extend(bytes),
            _ => self.0.push(Piece::Literal(bytes.to_vec())),
        }
    }

    /// Whether it is just these bytes.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        matches!(&self.0[..], [Piece::Literal(literal)] if literal == bytes)
    }

    /// Whether it ends with these bytes.
    pub(crate) fn ends_with(&self, bytes: &[u8]) -> bool {
        matches!(self.0.last(), Some(Piece::Literal(literal)) if literal.ends_with(bytes))
    }

    /// How many line ends it holds.
    pub(crate) fn line_ends(&self) -> usize {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(bytes) => bytes.iter().filter(|&&byte| byte == b'\n').count(),
                _ => 0,
            })
            .sum()
    }
}

/// Whether a name is a handle: `h` and a number. The server chooses handles.
pub(crate) fn is_handle(name: &str) -> bool {
    name.strip_prefix('h')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

struct Parser<'a> {
    rest: std::str::Chars<'a>,
    template: Template,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.chars(), template: Template::default() }
    }

    fn next(&mut self) -> Option<char> {
        self.rest.next()
    }

    fn literal(&mut self, bytes: &[u8]) {
        self.template.push(bytes);
    }

    fn take(&mut self, character: char) -> Result<(), String> {
        match character {
            '\\' => {
                let byte = self.escape()?;
                self.literal(&[byte]);
            }
            '{' => self.blank()?,
            '}' => return Err("a } without {; write \\} for the character".to_owned()),
            other => self.literal(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<u8, String> {
        let character = self.next().ok_or("a \\ at the end")?;
        Ok(match character {
            '0' => 0,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            's' => b' ',
            'x' => {
                let digits: String = self.rest.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits} is not a byte"))?
            }
            '\\' | '{' | '}' | '|' | '"' => character as u8,
            other => return Err(format!("unknown escape \\{other}")),
        })
    }

    // The inside of {...}: a repetition, a time, a name, or any word.
    fn blank(&mut self) -> Result<(), String> {
        let inside: String = self.rest.by_ref().take_while(|&character| character != '}').collect();
        if inside == "*" {
            self.template.0.push(Piece::Any);
        } else if let Some((count, what)) = inside.split_once('*') {
            let count: usize = count.parse().map_err(|_| format!("{{{inside}}}: how often?"))?;
            let what = Template::parse(what)?;
            let [Piece::Literal(bytes)] = &what.0[..] else {
                return Err(format!("{{{inside}}}: only plain characters can be repeated"));
            };
            self.literal(&bytes.repeat(count));
        } else if let Some(offset) = inside.strip_prefix("now") {
            let offset = if offset.is_empty() { Ok(0) } else { offset.parse() };
            self.template.0.push(Piece::Now(offset.map_err(|_| format!("{{{inside}}}: how many seconds?"))?));
        } else {
            let (name, fill) = match inside.split_once(':') {
                Some((name, fill)) => {
                    (name, Some(fill.parse().map_err(|_| format!("{{{inside}}}: how long?"))?))
                }
                None => (inside.as_str(), None),
            };
            let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase());
            if !starts_well || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(format!("{{{inside}}} is not a name"));
            }
            self.template.0.push(Piece::Named { name: name.to_owned(), fill });
        }
        Ok(())
    }
}

/// What the names of one playing stand for.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    mark: String,
    bound: BTreeMap<String, Vec<u8>>,
}

impl Names {
    /// No names yet; those to come end in `mark`, which no other transcript has.
    pub(crate) fn new(mark: String) -> Self {
        Self { mark, bound: BTreeMap::new() }
    }

    /// Gives `name` a meaning in advance.
    pub(crate) fn bind(&mut self, name: &str, value: &[u8]) {
        self.bound.insert(name.to_owned(), value.to_vec());
    }

    /// The bytes of what is sent.
    pub(crate) fn render(&self, template: &Template) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for piece in &template.0 {
            match piece {
                Piece::Literal(literal) => bytes.extend(literal),
                Piece::Named { name, fill } => match self.value(name, *fill) {
                    Some(value) => bytes.extend(value),
                    None => return Err(format!("no job has the handle {{{name}}} yet")),
                },
                Piece::Now(offset) => bytes.extend((unix_seconds() + offset).to_string().bytes()),
                Piece::Any => return Err("{*} can only be expected".to_owned()),
            }
        }
        Ok(bytes)
    }

    /// Whether `bytes` are what `template` says; on success its new handles are bound.
    pub(crate) fn matches(&mut self, template: &Template, bytes: &[u8]) -> bool {
        let mut found = self.clone();
        let matched = found.match_pieces(&template.0, bytes);
        if matched {
            *self = found;
        }
        matched
    }

    /// Whether a line of a list speaks of this transcript.
    pub(crate) fn mentioned_in(&self, line: &[u8]) -> bool {
        let first = line.split(|&byte| byte == b'\t').next().unwrap_or_default();
        self.bound.iter().any(|(name, value)| is_handle(name) && value == first)
            || line.windows(self.mark.len()).any(|window| window == self.mark.as_bytes())
    }

    /// `template` as it would read now, for messages.
    pub(crate) fn describe(&self, template: &Template) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in &template.0 {
            match piece {
                Piece::Literal(literal) => bytes.extend(literal),
                Piece::Named { name, fill } => match self.value(name, *fill) {
                    Some(value) => bytes.extend(value),
                    None => bytes.extend(format!("{{{name}}}").bytes()),
                },
                Piece::Now(offset) => bytes.extend(format!("{{now{offset:+}}}").bytes()),
                Piece::Any => bytes.extend(b"{*}"),
            }
        }
        bytes
    }

    fn value(&self, name: &str, fill: Option<usize>) -> Option<Vec<u8>> {
        let mut value = match self.bound.get(name) {
            Some(value) => value.clone(),
            None if is_handle(name) => return None,
            None => format!("{name}{}", self.mark).into_bytes(),
        };
        if let Some(fill) = fill {
            value.resize(fill, b'_');
        }
        Some(value)
    }

    fn match_pieces(&mut self, pieces: &[Piece], bytes: &[u8]) -> bool {
        let Some((first, others)) = pieces.split_first() else {
            return bytes.is_empty();
        };
        let fixed = match first {
            Piece::Literal(literal) => Some(literal.clone()),
            Piece::Named { name, fill } => self.value(name, *fill),
            Piece::Now(_) | Piece::Any => None,
        };
        if let Some(fixed) = fixed {
            return bytes.strip_prefix(&fixed[..]).is_some_and(|rest| self.match_pieces(others, rest));
        }
        // A word of any length that lets the rest match.
        let longest = bytes.iter().position(|&byte| matches!(byte, 0 | b' ' | b'\t' | b'\r' | b'\n'));
        (1..=longest.unwrap_or(bytes.len())).any(|length| {
            let before = self.bound.clone();
            let fits = self.bind_new(first, &bytes[..length]) && self.match_pieces(others, &bytes[length..]);
            if !fits {
                self.bound = before;
            }
            fits
        })
    }

    // Two handles with different names are different handles.
    fn bind_new(&mut self, piece: &Piece, value: &[u8]) -> bool {
        let Piece::Named { name, .. } = piece else {
            return true;
        };
        if self.bound.iter().any(|(other, bound)| is_handle(other) && bound == value) {
            return false;
        }
        self.bind(name, value);
        true
    }
}

fn unix_seconds() -> i64 {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_secs()).expect("seconds fit for ages")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Vec<u8> {
        Names::new("~1".to_owned()).render(&Template::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn escapes_names_and_repetitions_become_bytes() {
        let table: &[(&str, &[u8])] = &[
            ("plain text", b"plain text"),
            ("a\\0b\\n\\r\\t\\s\\\\", b"a\0b\n\r\t \\"),
            ("\\x00\\xff\\{\\}\\|\\\"", b"\x00\xff{}|\""),
            ("{f}", b"f~1"),
            ("{f:6}x", b"f~1___x"),
            ("{3*ab}{2*\\0}", b"ababab\0\0"),
            ("a|b", b"a|b"),
        ];
        for (text, bytes) in table {
            assert_eq!(rendered(text), *bytes, "{text}");
        }
        assert_eq!(
            Template::parse_fields("a|b|", 3).unwrap(),
            Template(vec![Piece::Literal(b"a\0b\0".to_vec())])
        );
    }

    #[test]
    fn bad_text_is_refused() {
        for text in ["\\q", "a\\", "{", "}", "{x*a}", "{F}", "{now+x}", "{u:x}", "\\xzz"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        assert!(Template::parse_fields("a|b", 3).is_err());
        assert!(Template::parse_fields("a|b|c|d", 3).is_err());
    }

    #[test]
    fn a_handle_is_bound_once_and_differs_from_other_handles() {
        let mut names = Names::new("~1".to_owned());
        let template = |text| Template::parse(text).unwrap();
        assert!(names.render(&template("{h1}")).is_err());
        assert!(names.matches(&template("{h1}"), b"H:x:7"));
        assert!(!names.matches(&template("{h1}"), b"H:x:8"));
        assert!(!names.matches(&template("{h2}"), b"H:x:7"));
        assert!(names.matches(&template("{h2}"), b"H:x:70"));
        assert!(names.matches(&template("{*} - : {f}"), b"12 - : f~1"));
        assert!(!names.matches(&template("{*}"), b"two words"));
        assert_eq!(names.render(&template("{h2}")).unwrap(), b"H:x:70");
        assert!(names.mentioned_in(b"H:x:7\t0\t0\t0"));
        assert!(!names.mentioned_in(b"H:x:71\t0\t0\t0"));
        assert!(names.mentioned_in(b"f~1\t0"));
    }
}
