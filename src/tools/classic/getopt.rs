//! Short options in the manner of glibc's `getopt`: bundles, values that follow
//! at once or as the next argument, and operands that may stand anywhere.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// One step through the arguments.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An option without a value.
    Flag(u8),
    /// An option and its value.
    Value(u8, Vec<u8>),
    /// An option that there is not.
    Unknown(u8),
    /// An option without the value that it needs.
    Missing(u8),
}

/// The arguments of a program, read option by option.
#[derive(Debug)]
pub(super) struct Getopt {
    /// As for `getopt`: letters, each followed by a colon if it takes a value.
    letters: &'static [u8],
    args: VecDeque<Vec<u8>>,
    /// The rest of a bundle such as `-bn`.
    bundle: VecDeque<u8>,
    operands: Vec<Vec<u8>>,
    /// Options stop at the first operand, as POSIX has it.
    strict: bool,
}

impl Getopt {
    /// Reads `args`, which are without the program's name.
    pub(super) fn new(letters: &'static str, args: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            letters: letters.as_bytes(),
            args: args.into_iter().map(OsString::into_vec).collect(),
            bundle: VecDeque::new(),
            operands: Vec::new(),
            strict: std::env::var_os("POSIXLY_CORRECT").is_some(),
        }
    }

    /// What is no option, in order; all of it once the options are at their end.
    pub(super) fn into_operands(self) -> Vec<Vec<u8>> {
        self.operands
    }

    fn takes_value(&self, letter: u8) -> Option<bool> {
        let at = self.letters.iter().position(|&known| known == letter && letter != b':')?;
        Some(self.letters.get(at + 1) == Some(&b':'))
    }

    // Fills the bundle with the next options, and lays operands aside.
    fn find(&mut self) -> bool {
        while let Some(arg) = self.args.pop_front() {
            match &*arg {
                b"--" => self.operands.extend(self.args.drain(..)),
                [b'-', _, ..] => {
                    self.bundle.extend(&arg[1..]);
                    return true;
                }
                _ => {
                    self.operands.push(arg);
                    if self.strict {
                        self.operands.extend(self.args.drain(..));
                    }
                }
            }
        }
        false
    }
}

impl Iterator for Getopt {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if self.bundle.is_empty() && !self.find() {
            return None;
        }
        let letter = self.bundle.pop_front()?;
        Some(match self.takes_value(letter) {
            None => Found::Unknown(letter),
            Some(false) => Found::Flag(letter),
            Some(true) if !self.bundle.is_empty() => Found::Value(letter, self.bundle.drain(..).collect()),
            Some(true) => {
                self.args.pop_front().map_or(Found::Missing(letter), |value| Found::Value(letter, value))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut options = Getopt::new("bf:n", args.iter().map(OsString::from));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let found = options.by_ref().map(|found| match found {
            Found::Flag(letter) => char::from(letter).to_string(),
            Found::Value(letter, value) => format!("{}={}", char::from(letter), text(value)),
            Found::Unknown(letter) => format!("{}?", char::from(letter)),
            Found::Missing(letter) => format!("{}:", char::from(letter)),
        });
        let found = found.collect();
        (found, options.into_operands().into_iter().map(text).collect())
    }

    #[test]
    fn options_are_read_as_glibc_does() {
        let cases: [(&[&str], &[&str], &[&str]); 8] = [
            (&["-bn"], &["b", "n"], &[]),
            (&["-nfx", "-f", "y"], &["n", "f=x", "f=y"], &[]),
            (&["-f", "-b"], &["f=-b"], &[]),
            (&["a", "-b", "c"], &["b"], &["a", "c"]),
            (&["a", "--", "-b", "--"], &[], &["a", "-b", "--"]),
            (&["-", "-zb", "-:"], &["z?", "b", ":?"], &["-"]),
            (&["--help"], &["-?", "h?", "e?", "l?", "p?"], &[]),
            (&["-bf"], &["b", "f:"], &[]),
        ];
        for (args, found, operands) in cases {
            let (read_found, read_operands) = read(args);
            assert_eq!(
                (&*read_found, &*read_operands),
                (&*to_strings(found), &*to_strings(operands)),
                "{args:?}"
            );
        }
    }

    fn to_strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }
}
