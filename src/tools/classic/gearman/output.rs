//! Standard output as a C program writes it: some of it at once, some of it through a buffer.
//!
//! Results go out at once, notes ("Task created", progress) when the
//! buffer is full, at a prefix, and at the end; on a terminal line by line.
//! In a file or a pipe this decides about the order, which the original's users know.

use std::io::{self, IsTerminal, Write};

/// What the C library's buffer holds.
const BUFFER_BYTES: usize = 4096;

/// Standard output; written to its end when dropped.
#[derive(Debug)]
pub(super) struct Output<W: Write = io::Stdout> {
    to: W,
    by_line: bool,
    notes: Vec<u8>,
}

impl Output {
    pub(super) fn new() -> Self {
        let to = io::stdout();
        let by_line = to.is_terminal();
        Self { to, by_line, notes: Vec::new() }
    }
}

impl<W: Write> Output<W> {
    /// Writes a note, through the buffer.
    pub(super) fn note(&mut self, text: &[u8]) -> io::Result<()> {
        self.notes.extend_from_slice(text);
        if self.by_line && self.notes.contains(&b'\n') {
            return self.flush();
        }
        while self.notes.len() >= BUFFER_BYTES {
            let rest = self.notes.split_off(BUFFER_BYTES);
            let full = std::mem::replace(&mut self.notes, rest);
            self.at_once(&full)?;
        }
        Ok(())
    }

    /// Empties the buffer.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let notes = std::mem::take(&mut self.notes);
        self.at_once(&notes)
    }

    /// Writes past the buffer.
    pub(super) fn at_once(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.to.flush()
    }
}

impl<W: Write> Drop for Output<W> {
    fn drop(&mut self) {
        // As in C: nobody hears of an error at the very end.
        let _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_wait_and_results_do_not() {
        let mut seen = Vec::new();
        let mut output = Output { to: &mut seen, by_line: false, notes: Vec::new() };
        output.note(b"created\n").unwrap();
        output.at_once(b"result").unwrap();
        output.note(b"prefix: ").unwrap();
        output.flush().unwrap();
        output.at_once(b"more").unwrap();
        output.note(&[b'x'; BUFFER_BYTES + 1]).unwrap();
        output.at_once(b"end").unwrap();
        drop(output);
        let expected = [b"resultcreated\nprefix: more", &[b'x'; BUFFER_BYTES][..], b"endx"].concat();
        assert_eq!(seen, expected);
    }
}
