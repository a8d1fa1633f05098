//! The names of jobs in Redis, and what gearmand's names do not say.
//!
//! gearmand's key of a job is `<prefix>-<function>-<unique>`. Where function
//! or unique have a hyphen, that is the key of other jobs too: a [`Note`]
//! tells them apart, and a second job with the key of another one gets a key of
//! its own, `<prefix>-<function>-<unique>=<bytes of the function>`.

use crate::storage::rows::Row;

/// What stands between the parts of a key.
const HYPHEN: u8 = b'-';
/// Length of a unique that gearmand's library makes.
const UUID_BYTES: usize = 36;

/// How the jobs of one queue are called.
pub(super) struct Names {
    prefix: Vec<u8>,
    /// The hash that keeps a [`Note`] for each job's key.
    pub(super) notes: Vec<u8>,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        // gearmand stops at a key that begins with its prefix and is no job. Of the two, one does not
        // begin with it, unless there is none.
        let names = ["gearshard:", "jobs:gearshard:"].map(|name| format!("{name}{prefix}"));
        let [name, other] = names;
        let notes = if name.starts_with(prefix) { other } else { name };
        Self { prefix: prefix.into(), notes: notes.into() }
    }

    /// What SCAN finds the keys of jobs by.
    pub(super) fn pattern(&self) -> Vec<u8> {
        let mut pattern = Vec::new();
        for &byte in &self.prefix {
            if b"*?[]\\^".contains(&byte) {
                pattern.push(b'\\');
            }
            pattern.push(byte);
        }
        pattern.extend_from_slice(b"-*");
        pattern
    }

    /// gearmand's key.
    pub(super) fn key(&self, function: &[u8], unique: &[u8]) -> Vec<u8> {
        [&self.prefix, &[HYPHEN][..], function, &[HYPHEN], unique].concat()
    }

    /// Ours, where gearmand's is taken by another job.
    pub(super) fn other_key(&self, function: &[u8], unique: &[u8]) -> Vec<u8> {
        let mut key = self.key(function, unique);
        key.extend_from_slice(format!("={}", function.len()).as_bytes());
        key
    }

    /// The function and the unique of a job without a note. As gearmand, up to
    /// the first hyphen and what follows it; but a unique that gearmand's
    /// library has made is recognised.
    pub(super) fn parse<'a>(&self, key: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let name = self.name(key)?;
        let start = name.len().checked_sub(UUID_BYTES + 1);
        let uuid = start.filter(|&start| name[start] == HYPHEN && is_uuid(&name[start + 1..]));
        let hyphen = uuid.or_else(|| name.iter().position(|&byte| byte == HYPHEN))?;
        Some((&name[..hyphen], &name[hyphen + 1..]))
    }

    fn name<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(&self.prefix[..])?.strip_prefix(&[HYPHEN])
    }

    /// As [`parse`](Self::parse), for a job with this note.
    pub(super) fn noted<'a>(&self, key: &'a [u8], note: &Note) -> Option<(&'a [u8], &'a [u8])> {
        let (function, rest) = self.name(key)?.split_at_checked(note.function_bytes)?;
        let (unique, rest) = rest.strip_prefix(&[HYPHEN])?.split_at_checked(note.unique_bytes)?;
        let whole = rest.is_empty() || rest == format!("={}", function.len()).as_bytes();
        whole.then_some((function, unique))
    }
}

/// Whether another function and unique can have the same key.
pub(super) fn is_ambiguous(function: &[u8], unique: &[u8]) -> bool {
    function.contains(&HYPHEN) || unique.contains(&HYPHEN)
}

fn is_uuid(bytes: &[u8]) -> bool {
    let fits = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == HYPHEN,
        _ => byte.is_ascii_hexdigit(),
    };
    bytes.len() == UUID_BYTES && bytes.iter().enumerate().all(fits)
}

/// What is known of a job beyond gearmand's hash. As text, numbers with spaces
/// between them: sequence, unix seconds before which it is not run, bytes of
/// the function, bytes of the unique, CRC32C of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Later jobs have higher ones.
    pub(super) sequence: u64,
    pub(super) not_before_s: u64,
    function_bytes: usize,
    unique_bytes: usize,
    /// The note is void when gearmand has put other data under the same key.
    sum: u32,
}

impl Note {
    pub(super) fn of(row: &Row<'_>, sequence: u64) -> Self {
        Self {
            sequence,
            not_before_s: row.not_before_s,
            function_bytes: row.function.len(),
            unique_bytes: row.key.len(),
            sum: crc32c::crc32c(&row.data),
        }
    }

    pub(super) fn fits(&self, data: &[u8]) -> bool {
        self.sum == crc32c::crc32c(data)
    }

    pub(super) fn text(&self) -> String {
        let Self { sequence, not_before_s, function_bytes, unique_bytes, sum } = self;
        format!("{sequence} {not_before_s} {function_bytes} {unique_bytes} {sum}")
    }

    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut numbers = std::str::from_utf8(text).ok()?.split(' ').map(|number| number.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let (sequence, not_before_s) = (next()?, next()?);
        let (function_bytes, unique_bytes) = (next()?.try_into().ok()?, next()?.try_into().ok()?);
        Some(Self { sequence, not_before_s, function_bytes, unique_bytes, sum: next()?.try_into().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::queue::job::Priority;

    fn note(function: &'static [u8], unique: &'static [u8]) -> Note {
        let row = Row {
            key: Cow::Borrowed(unique),
            function: Cow::Borrowed(function),
            priority: Priority::Normal,
            data: Cow::Borrowed(b"data"),
            not_before_s: u64::MAX,
        };
        Note::of(&row, 7)
    }

    #[test]
    fn keys_are_gearmands_and_are_read_as_gearmand_reads_them() {
        let names = Names::new("_gear_");
        assert_eq!(names.key(b"resize", b"7"), b"_gear_-resize-7");
        let uuid = b"d81615a2-e5f8-11f1-9780-02fc00000001";
        let cases: [(&[u8], &[u8]); 5] =
            [(b"resize", b"7"), (b"resize", b""), (b"", b""), (b"a", b"b-c"), (b"a-b", uuid)];
        for (function, unique) in cases {
            assert_eq!(names.parse(&names.key(function, unique)), Some((function, unique)));
        }
        assert_eq!(names.parse(b"_gear_-a-b-c"), Some((&b"a"[..], &b"b-c"[..])));
        for foreign in [&b"_gear_"[..], b"_gear_-resize", b"_gear_2-resize-7", b"other"] {
            assert_eq!(names.parse(foreign), None);
        }
    }

    #[test]
    fn a_note_tells_jobs_with_the_same_key_apart() {
        let names = Names::new("p");
        let (one, other) = (note(b"a-b", b"c"), note(b"a", b"b-c"));
        let key = names.key(b"a-b", b"c");
        assert_eq!(key, names.key(b"a", b"b-c"));
        assert_eq!(names.noted(&key, &one), Some((&b"a-b"[..], &b"c"[..])));
        assert_eq!(names.noted(&key, &other), Some((&b"a"[..], &b"b-c"[..])));
        let key = names.other_key(b"a", b"b-c");
        assert_eq!(names.noted(&key, &other), Some((&b"a"[..], &b"b-c"[..])));
        assert_eq!(names.noted(&key, &one), None);
        assert!(is_ambiguous(b"a", b"b-c") && is_ambiguous(b"a-b", b"c") && !is_ambiguous(b"a", b"c"));
    }

    #[test]
    fn notes_survive_and_damaged_ones_are_refused() {
        let note = note(b"resize", b"7");
        assert_eq!(Note::read(note.text().as_bytes()), Some(note));
        assert!(note.fits(b"data") && !note.fits(b"other"));
        for text in [&b""[..], b"1 2 3 4", b"1 2 3 4 -5", b"1 2 3 4 4294967296", b"\xff"] {
            assert_eq!(Note::read(text), None);
        }
    }

    #[test]
    fn notes_are_not_found_among_the_jobs() {
        for prefix in ["_gear_", "g", "gearshard:", "jobs:gearshard:", "ge*"] {
            assert!(!Names::new(prefix).notes.starts_with(prefix.as_bytes()), "{prefix}");
        }
        assert_eq!(Names::new("a*[b]\\").pattern(), b"a\\*\\[b\\]\\\\-*");
    }
}
