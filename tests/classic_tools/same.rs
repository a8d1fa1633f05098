//! What need not be the same, and why. Everything else is compared byte for byte.

use std::path::Path;

use crate::support::Server;

/// What stands in the place of a descriptor.
const DESCRIPTOR: &[u8] = b"FD";

/// Takes out of outputs what two runs cannot have in common.
pub(crate) struct Same {
    /// Texts that differ from run to run, and what stands in their place.
    words: Vec<(Vec<u8>, &'static [u8])>,
    /// The handles that have been seen, in order.
    handles: Vec<Vec<u8>>,
}

impl Same {
    pub(crate) fn new(server: &Server, dead: u16, dir: &Path) -> Self {
        let words: [(String, &[u8]); 4] = [
            // Every run has a server of its own: its port and its process id.
            (server.port().to_string(), b"PORT"),
            (format!("{}\n", server.pid()), b"SERVER-PID\n"),
            // A port that nobody listens on is found anew each time.
            (dead.to_string(), b"DEAD"),
            // So is the directory for files that a step makes.
            (dir.to_str().unwrap().to_owned(), b"DIR"),
        ];
        let words = words.map(|(text, word)| (text.into_bytes(), word));
        Self { words: words.into(), handles: Vec::new() }
    }

    /// The same bytes for the same behaviour.
    pub(crate) fn of(&mut self, bytes: &[u8]) -> Vec<u8> {
        // Each process has an id of its own, and says it in its messages.
        let mut bytes = replace_digits(bytes, b"pid(");
        bytes = self.number_handles(&bytes);
        for (text, word) in &self.words {
            bytes = replace(&bytes, text, word);
        }
        // The first word of a line of `workers` is the server's descriptor, and the lines stand in the order of
        // the server's slots: both depend on when the server saw earlier connections go.
        let mut lines: Vec<Vec<u8>> =
            bytes.split_inclusive(|&byte| byte == b'\n').map(without_descriptor).collect();
        lines
            .chunk_by_mut(|a, b| a.starts_with(DESCRIPTOR) && b.starts_with(DESCRIPTOR))
            .for_each(<[_]>::sort);
        lines.concat()
    }

    // A server counts its handles, ours from the time on: they are numbered as they come.
    fn number_handles(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = bytes;
        while let Some(at) = find(rest, b"H:") {
            let is_handle = |byte: &u8| byte.is_ascii_alphanumeric() || b":-._".contains(byte);
            let length = rest[at..].iter().take_while(|byte| is_handle(byte)).count();
            let (before, handle) = (&rest[..at], &rest[at..at + length]);
            out.extend_from_slice(before);
            // H:host:number
            if handle.iter().filter(|&&byte| byte == b':').count() == 2 {
                let known = self.handles.iter().position(|known| known == handle).unwrap_or_else(|| {
                    self.handles.push(handle.to_vec());
                    self.handles.len() - 1
                });
                out.extend_from_slice(format!("HANDLE-{known}").as_bytes());
            } else {
                out.extend_from_slice(handle);
            }
            rest = &rest[at + length..];
        }
        out.extend_from_slice(rest);
        out
    }
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

// A number is replaced only as a whole.
fn replace(bytes: &[u8], text: &[u8], word: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, text) {
        let (before, after) = (&rest[..at], &rest[at + text.len()..]);
        out.extend_from_slice(before);
        let inside = out.last().is_some_and(u8::is_ascii_digit)
            || (!text.ends_with(b"\n") && after.first().is_some_and(u8::is_ascii_digit));
        out.extend_from_slice(if inside { text } else { word });
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

fn replace_digits(bytes: &[u8], after: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, after) {
        let end = at + after.len();
        out.extend_from_slice(&rest[..end]);
        let digits = rest[end..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            out.push(b'N');
        }
        rest = &rest[end + digits..];
    }
    out.extend_from_slice(rest);
    out
}

fn without_descriptor(line: &[u8]) -> Vec<u8> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 0 && line[digits..].starts_with(b" 127.0.0.1 ") {
        return [DESCRIPTOR, &line[digits..]].concat();
    }
    line.to_vec()
}

#[test]
fn only_what_differs_is_taken_out() {
    let server = Server::gearshard(&[]);
    let mut same = Same::new(&server, 12, Path::new("/nowhere"));
    let text = b"7 127.0.0.1 - : f\nTask created: H:vm-1:17\nH:vm-1:18 H:vm-1:17 H:x pid(12)\n12 123 112\n";
    let expected =
        b"FD 127.0.0.1 - : f\nTask created: HANDLE-0\nHANDLE-1 HANDLE-0 H:x pid(N)\nDEAD 123 112\n";
    assert_eq!(String::from_utf8_lossy(&same.of(text)), String::from_utf8_lossy(expected));
}
