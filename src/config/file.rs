//! Config files: words as on the command line, spread over lines.
//!
//! As gearmand: no quoting, and a word that is neither an option nor the value
//! of one is passed over. Unlike gearmand, a word that starts with `#` begins a
//! comment that hides the rest of its line, options included.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The words of a config file and where they stand.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    path: PathBuf,
    /// The words in order, comments left out.
    pub(super) words: Vec<OsString>,
    /// The line of each word, counted from 1.
    lines: Vec<usize>,
}

impl ConfigFile {
    /// Reads `path`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::from_bytes(path, &fs::read(path)?))
    }

    fn from_bytes(path: &Path, bytes: &[u8]) -> Self {
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            for word in words.take_while(|word| !word.starts_with(b"#")) {
                file.words.push(OsString::from_vec(word.to_vec()));
                file.lines.push(index + 1);
            }
        }
        file
    }

    /// Where in the file `about` stands: `path, line 3`.
    ///
    /// `about` is an option's long name with dashes, or a whole word. A long
    /// name may be written shortened or as a letter; then only the file is named.
    pub(super) fn place(&self, about: &str) -> String {
        let is_about = |word: &OsString| {
            let rest = word.as_bytes().strip_prefix(about.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
        };
        let path = self.path.display();
        match self.words.iter().rposition(is_about) {
            Some(index) => format!("{path}, line {}", self.lines[index]),
            None => path.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ConfigFile {
        ConfigFile::from_bytes(Path::new("g.conf"), text.as_bytes())
    }

    #[test]
    fn comments_end_with_their_line() {
        let file = read("# --port=1\n--port=2 # --threads=3\r\n  --mysql-password=a#b key=value\n\n#\n-R");
        assert_eq!(file.words, ["--port=2", "--mysql-password=a#b", "key=value", "-R"]);
        assert_eq!(file.lines, [2, 3, 3, 6]);
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let file = read("--listen localhost\n--threads=abc\n--threadsx\n--foo");
        assert_eq!(file.place("--threads"), "g.conf, line 2");
        assert_eq!(file.place("--foo"), "g.conf, line 4");
        assert_eq!(file.place("--backlog"), "g.conf");
    }
}
