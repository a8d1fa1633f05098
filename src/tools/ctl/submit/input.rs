//! Where the workloads come from.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use super::Options;
use crate::tools::ctl::failure::{Failure, tell};

/// How many workloads are read ahead.
const AHEAD: usize = 256;

/// What there is to submit at the moment.
pub(super) enum Next {
    Workload(Vec<u8>),
    /// Nothing has been read yet; there may be more.
    NotYet,
    End,
}

/// The workloads, each as many times as there are to be copies.
pub(super) struct Input {
    /// Read by a thread of its own: whoever waits for a line of a slow program must still see results.
    read: Receiver<Result<Vec<u8>, Failure>>,
    current: Vec<u8>,
    copies: u64,
    left: u64,
    /// How many there will be, if that is known.
    pub(super) length: Option<u64>,
}

impl Input {
    pub(super) fn new(options: &Options) -> Self {
        let (send, read) = sync_channel(AHEAD);
        let (payload, files, lines) = (options.payload.clone(), options.file.clone(), options.lines);
        let length = match (&payload, files.len(), lines) {
            (_, _, true) => None,
            (Some(_), _, _) | (None, 0, _) => Some(options.copies),
            (None, files, _) => Some(options.copies.saturating_mul(files as u64)),
        };
        if payload.is_none() && files.is_empty() && io::stdin().is_terminal() {
            tell("reading from the terminal; Ctrl-D ends it");
        }
        thread::spawn(move || {
            // Nobody takes any more once the command has failed.
            let mut give = |workload| send.send(workload).is_ok();
            let sources: Vec<Source> = match payload {
                Some(payload) => vec![Source::Given(payload.into_bytes())],
                None if files.is_empty() => vec![Source::Standard],
                None => files.into_iter().map(Source::File).collect(),
            };
            sources.into_iter().all(|source| source.give(lines, &mut give));
        });
        Self { read, current: Vec::new(), copies: options.copies, left: 0, length }
    }

    pub(super) fn next(&mut self) -> Result<Next, Failure> {
        if self.left == 0 {
            match self.read.try_recv() {
                Ok(workload) => (self.current, self.left) = (workload?, self.copies),
                Err(TryRecvError::Empty) => return Ok(Next::NotYet),
                Err(TryRecvError::Disconnected) => return Ok(Next::End),
            }
        }
        self.take()
    }

    /// As [`next`](Self::next), but waits.
    pub(super) fn wait(&mut self) -> Result<Next, Failure> {
        if self.left == 0 {
            let Ok(workload) = self.read.recv() else { return Ok(Next::End) };
            (self.current, self.left) = (workload?, self.copies);
        }
        self.take()
    }

    fn take(&mut self) -> Result<Next, Failure> {
        if self.left == 0 {
            return Ok(Next::NotYet);
        }
        self.left -= 1;
        let last = self.left == 0;
        Ok(Next::Workload(if last { std::mem::take(&mut self.current) } else { self.current.clone() }))
    }
}

enum Source {
    Given(Vec<u8>),
    Standard,
    File(PathBuf),
}

impl Source {
    /// Gives all its workloads; false once nobody takes them, or it cannot be read.
    fn give(self, lines: bool, give: &mut impl FnMut(Result<Vec<u8>, Failure>) -> bool) -> bool {
        let (name, opened): (String, io::Result<Box<dyn BufRead>>) = match self {
            Self::Given(payload) => ("the payload".to_owned(), Ok(Box::new(io::Cursor::new(payload)))),
            Self::Standard => ("standard input".to_owned(), Ok(Box::new(io::stdin().lock()))),
            Self::File(path) if path == Path::new("-") => return Self::Standard.give(lines, give),
            Self::File(path) => {
                let opened = File::open(&path);
                (path.display().to_string(), opened.map(|file| Box::new(BufReader::new(file)) as _))
            }
        };
        let unreadable = |error: io::Error| Failure::Usage(format!("cannot read {name}: {error}"));
        let mut reader = match opened {
            Ok(reader) => reader,
            Err(error) => {
                give(Err(unreadable(error)));
                return false;
            }
        };
        loop {
            let mut workload = Vec::new();
            let read = if lines {
                reader.read_until(b'\n', &mut workload)
            } else {
                reader.read_to_end(&mut workload)
            };
            match read {
                Err(error) => {
                    give(Err(unreadable(error)));
                    return false;
                }
                Ok(0) if lines => return true,
                Ok(_) if lines => {
                    let line = workload.strip_suffix(b"\n").unwrap_or(&workload);
                    let bytes = line.strip_suffix(b"\r").unwrap_or(line).len();
                    workload.truncate(bytes);
                    if !give(Ok(workload)) {
                        return false;
                    }
                }
                Ok(_) => return give(Ok(workload)),
            }
        }
    }
}
