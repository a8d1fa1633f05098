//! A worker's command, run for one job.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// It exited with 0.
    pub(super) well: bool,
}

/// Runs `words` (a program and its arguments) with `workload` on its standard
/// input, and hands its output to `each`, in pieces of any size.
///
/// Input and output flow at the same time, so that neither side waits for the
/// other however large they are. A command need not read its input.
///
/// # Errors
/// When the command cannot be started or waited for.
pub(super) fn run(words: &[Vec<u8>], workload: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<Ended> {
    let (program, args) = words.split_first().expect("a command has a name");
    let mut child = Command::new(OsStr::from_bytes(program))
        .args(args.iter().map(|arg| OsStr::from_bytes(arg)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let input = child.stdin.take();
    let output = child.stdout.take().expect("it was asked for");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that has read enough closes its end.
            let _ = input.map(|mut input| input.write_all(workload));
        });
        let mut output = BufReader::new(output);
        // An output that cannot be read is at its end.
        while let Ok(piece) = output.fill_buf() {
            if piece.is_empty() {
                break;
            }
            each(piece);
            let count = piece.len();
            output.consume(count);
        }
    });
    Ok(Ended { well: child.wait()?.success() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(words: &[&str], workload: &[u8]) -> (Vec<u8>, bool) {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let mut output = Vec::new();
        let ended = run(&words, workload, |piece| output.extend_from_slice(piece)).unwrap();
        (output, ended.well)
    }

    #[test]
    fn large_input_and_output_flow_at_the_same_time() {
        let workload = vec![b'x'; 8 << 20];
        assert!(output(&["cat"], &workload) == (workload, true));
    }

    #[test]
    fn a_command_need_not_read() {
        assert_eq!(output(&["echo", "out"], &vec![b'x'; 8 << 20]), (b"out\n".to_vec(), true));
    }

    #[test]
    fn failing_and_being_killed_are_no_good_ends() {
        assert_eq!(output(&["sh", "-c", "echo a; exit 3"], b""), (b"a\n".to_vec(), false));
        assert_eq!(output(&["sh", "-c", "echo a; kill -9 $$"], b""), (b"a\n".to_vec(), false));
        assert!(run(&[b"/no/such/command".to_vec()], b"", |_| ()).is_err());
    }
}
