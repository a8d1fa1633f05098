//! The command line of `gearman`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use super::super::getopt::{Found, Getopt};
use crate::client::{PORT, Priority};
use crate::protocol::number::atoi;

/// As for `getopt`.
const LETTERS: &str = "bc:f:h:HILnNp:Pst:u:vwi:dS";

/// What the command line asks for.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Options {
    pub(super) functions: Vec<Vec<u8>>,
    pub(super) host: Option<String>,
    pub(super) port: u16,
    /// How long to wait for the next thing to happen; `None` is for ever.
    pub(super) timeout: Option<Duration>,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) daemon: bool,
    pub(super) verbose: bool,
    pub(super) tls: bool,
    pub(super) worker: bool,
    /// How many jobs a worker runs; 0 is no limit.
    pub(super) count: u32,
    pub(super) by_line: bool,
    pub(super) without_newline: bool,
    pub(super) background: bool,
    pub(super) priority: Priority,
    pub(super) prefix: bool,
    pub(super) no_input: bool,
    pub(super) unique: Option<Vec<u8>>,
    /// The client's workloads, or the worker's command and its arguments.
    pub(super) operands: Vec<Vec<u8>>,
}

/// The help, because it was asked for or because something is wrong.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) text: Vec<u8>,
    pub(super) to_stdout: bool,
    pub(super) asked_for: bool,
}

/// Reads the command line; the first argument is the program's name.
///
/// # Errors
/// The help, when nothing is to be done.
pub(super) fn read(args: Vec<OsString>) -> Result<Options, Usage> {
    let mut args = args.into_iter();
    let name = args.next().unwrap_or_default();
    let mut options = Options {
        functions: Vec::new(),
        host: None,
        port: PORT,
        timeout: None,
        pid_file: None,
        daemon: false,
        verbose: false,
        tls: false,
        worker: false,
        count: 0,
        by_line: false,
        without_newline: false,
        background: false,
        priority: Priority::Normal,
        prefix: false,
        no_input: false,
        unique: None,
        operands: Vec::new(),
    };
    let (mut help, mut wrong) = (false, None);
    let mut found = Getopt::new(LETTERS, args);
    for option in found.by_ref() {
        match option {
            Found::Flag(b'H') => help = true,
            Found::Flag(flag) => options.set(flag),
            Found::Value(letter, value) => options.set_value(letter, value),
            // The original names neither the option nor what is wrong with it.
            Found::Unknown(_) | Found::Missing(_) => wrong = Some("-?"),
        }
    }
    options.operands = found.into_operands();
    if options.functions.is_empty() {
        wrong = Some("No Functions were provided");
    }
    if help || wrong.is_some() {
        let text = usage(name.as_bytes(), wrong.unwrap_or("(null)"), &options);
        return Err(Usage { text, to_stdout: wrong.is_none(), asked_for: help });
    }
    Ok(options)
}

impl Options {
    fn set(&mut self, flag: u8) {
        match flag {
            b'b' => self.background = true,
            b'I' => self.priority = Priority::High,
            b'L' => self.priority = Priority::Low,
            b'n' => self.by_line = true,
            b'N' => (self.by_line, self.without_newline) = (true, true),
            b'P' => self.prefix = true,
            b's' => self.no_input = true,
            b'v' => self.verbose = true,
            b'w' => self.worker = true,
            b'd' => self.daemon = true,
            _ => self.tls = true,
        }
    }

    fn set_value(&mut self, letter: u8, value: Vec<u8>) {
        match letter {
            b'c' => self.count = atoi(&value),
            b'f' => self.functions.push(value),
            b'h' => self.host = Some(String::from_utf8_lossy(&value).into_owned()),
            b'p' => {
                // As the original: what does not fit loses its upper bits, and nothing is the usual port.
                let port = atoi(&value) as u16;
                self.port = if port == 0 { PORT } else { port };
            }
            b't' => {
                let ms = u64::try_from(atoi(&value).cast_signed()).ok();
                self.timeout = ms.map(Duration::from_millis);
            }
            b'u' => self.unique = Some(value),
            _ => self.pid_file = Some(OsString::from_vec(value).into()),
        }
    }
}

// Byte by byte what the original prints, as people and scripts know it.
fn usage(name: &[u8], wrong: &str, options: &Options) -> Vec<u8> {
    let Options { verbose, background, by_line, without_newline, worker, .. } = options;
    let mut text = b"\n".to_vec();
    text.extend_from_slice(name);
    text.extend_from_slice(format!("\tError in usage({wrong}).\n\nClient mode: ").as_bytes());
    text.extend_from_slice(name);
    text.extend_from_slice(b" [options] [<data>]\nWorker mode: ");
    text.extend_from_slice(name);
    let options = format!(
        " -w [options] [<command> [<args> ...]]

Common options to both client and worker modes.
\t-f <function> - Function name to use for jobs (can give many)
\t-h <host>     - Job server host
\t-H            - Print this help menu
\t-v            - Print diagnostic information to stdout({verbose})
\t-p <port>     - Job server port
\t-t <timeout>  - Timeout in milliseconds
\t-i <pidfile>  - Create a pidfile for the process
\t-S            - Enable SSL connections

Client options:
\t-b            - Run jobs in the background({background})
\t-I            - Run jobs as high priority
\t-L            - Run jobs as low priority
\t-n            - Run one job per line({by_line})
\t-N            - Same as -n, but strip off the newline({without_newline})
\t-P            - Prefix all output lines with functions names
\t-s            - Send job without reading from standard input
\t-u <unique>   - Unique key to use for job

Worker options:
\t-c <count>    - Number of jobs for worker to run before exiting
\t-n            - Send data packet for each line({by_line})
\t-N            - Same as -n, but strip off the newline({without_newline})
\t-w            - Run in worker mode({worker})
"
    );
    text.extend_from_slice(options.as_bytes());
    text
}
