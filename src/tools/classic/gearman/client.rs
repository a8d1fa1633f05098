//! Client mode: a job for each operand, for each line, or for all of standard input.
//!
//! For each workload, all functions get their job at once, the last that was
//! named first, and the next workload's turn comes when they have ended.

use std::collections::HashSet;
use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

use super::options::Options;
use super::output::Output;
use super::servers::{Place, servers};
use super::trouble::Trouble;
use crate::client::conversation::{ClientConversation, ClientEvent};
use crate::client::socket::Socket;
use crate::client::{FUNCTION_BYTES_MAX, Job, Mode, UNIQUE_BYTES_MAX};

/// How much is received at a time.
const READ_BYTES: usize = 64 << 10;

/// Submits the jobs and prints what becomes of them. As the original: it fails when a job
/// fails or has no server to be read from, not when the server is away.
pub(super) fn run(options: &Options) -> ExitCode {
    let places = match servers(options) {
        Ok(places) => places,
        Err(bad) => {
            let place = if bad.in_own_variable {
                "Error occurred while parsing GEARMAN_SERVER"
            } else {
                "gearman_client_add_server"
            };
            bad.trouble.tell(place);
            return ExitCode::SUCCESS;
        }
    };
    if options.tls {
        // A job that was to be sealed must not travel in the open.
        let _ =
            writeln!(io::stderr().lock(), "gearman: TLS (-S) is not supported; leave it out or use a tunnel");
        return ExitCode::FAILURE;
    }
    let mut client = Client {
        options,
        places,
        line: None,
        output: Output::new(),
        next_key: 0,
        failed: false,
        buffer: vec![0; READ_BYTES],
    };
    let read = client.all();
    if let Err(error) = read {
        let _ = writeln!(io::stderr().lock(), "gearman: cannot read standard input: {error}");
        client.failed = true;
    }
    if client.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A connection.
struct Line {
    socket: Socket,
    talk: ClientConversation,
}

struct Client<'a> {
    options: &'a Options,
    places: Vec<Place>,
    line: Option<Line>,
    output: Output,
    next_key: u64,
    failed: bool,
    buffer: Vec<u8>,
}

/// The jobs of one workload.
struct Tasks<'a> {
    options: &'a Options,
    output: &'a mut Output,
    /// The key of the first, which is the last function's.
    first_key: u64,
    open: HashSet<u64>,
    /// The functions, in the order of the keys.
    functions: Vec<&'a [u8]>,
    failed: bool,
    /// What a job's news gave rise to.
    trouble: Option<Trouble>,
    /// The connection is out of step.
    broken: bool,
}

impl Client<'_> {
    fn all(&mut self) -> io::Result<()> {
        let options = self.options;
        if !options.operands.is_empty() {
            options.operands.iter().for_each(|workload| self.submit(Some(workload)));
        } else if options.no_input {
            self.submit(None);
        } else if options.by_line {
            self.lines()?;
        } else {
            let mut workload = Vec::new();
            io::stdin().lock().read_to_end(&mut workload)?;
            self.submit(Some(&workload).filter(|workload| !workload.is_empty()).map(Vec::as_slice));
        }
        Ok(())
    }

    fn lines(&mut self) -> io::Result<()> {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            if self.options.without_newline && line.last() == Some(&b'\n') {
                line.pop();
            }
            self.submit(Some(&line));
            line.clear();
        }
        Ok(())
    }

    /// Submits a workload to all functions and waits for the ends.
    fn submit(&mut self, workload: Option<&[u8]>) {
        let options = self.options;
        let mut functions: Vec<&[u8]> = Vec::new();
        for function in &options.functions {
            match check(function, options.unique.as_deref(), workload) {
                Ok(()) => functions.push(function),
                Err(trouble) => trouble.tell("gearman_client_add_task"),
            }
        }
        functions.reverse();
        if functions.is_empty() {
            return;
        }
        if let Err(trouble) = self.connect().and_then(|line| self.follow(line, functions, workload)) {
            trouble.tell("gearman_client_run_tasks");
        }
    }

    // The line is handed out, and comes back when it is still good.
    fn connect(&mut self) -> Result<Line, Trouble> {
        if let Some(line) = self.line.take() {
            return Ok(line);
        }
        if self.options.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Trouble::Timeout { servers: self.places.len(), worker: false });
        }
        let mut trouble = Trouble::Code("GEARMAN_NO_SERVERS");
        for place in &self.places {
            match place.connect(self.options) {
                Ok(socket) => return Ok(Line { socket, talk: ClientConversation::default() }),
                Err(error) => trouble = error,
            }
        }
        Err(trouble)
    }

    fn follow(
        &mut self,
        mut line: Line,
        functions: Vec<&[u8]>,
        workload: Option<&[u8]>,
    ) -> Result<(), Trouble> {
        let options = self.options;
        let mode = if options.background { Mode::Background } else { Mode::Foreground };
        let first_key = self.next_key;
        for function in &functions {
            let unique = match options.unique.as_deref() {
                // As the original, which checks for one byte more than it sends.
                Some(unique) if !unique.is_empty() => {
                    unique[..unique.len().min(UNIQUE_BYTES_MAX - 1)].to_vec()
                }
                _ => uuid().into_bytes(),
            };
            let job =
                Job::new(*function, workload.unwrap_or_default()).unique(unique).priority(options.priority);
            let submitted = line.talk.submit(self.next_key, &job, mode);
            // What can be wrong with the names has been looked at.
            submitted.map_err(|_| Trouble::Code("GEARMAN_ARGUMENT_TOO_LARGE"))?;
            self.next_key += 1;
        }
        let mut tasks = Tasks {
            options,
            output: &mut self.output,
            first_key,
            open: (first_key..self.next_key).collect(),
            functions,
            failed: false,
            trouble: None,
            broken: false,
        };
        let end = tasks.wait(&mut line, &mut self.buffer);
        self.failed |= tasks.failed;
        // A refusal and a silence leave the connection as it is; what still comes for these jobs is passed over.
        if !tasks.broken
            && matches!(
                end,
                Ok(()) | Err(Trouble::Refused { .. } | Trouble::Timeout { .. } | Trouble::Code(_))
            )
        {
            self.line = Some(line);
        }
        end
    }
}

impl Tasks<'_> {
    fn wait(&mut self, line: &mut Line, buffer: &mut [u8]) -> Result<(), Trouble> {
        while !self.open.is_empty() {
            let writes = !line.talk.outgoing().is_empty();
            let ready = line.socket.wait(true, writes, self.options.timeout).map_err(|_| Trouble::Broken)?;
            if !ready.read && !ready.write {
                if self.options.timeout.is_some() {
                    return Err(Trouble::Timeout { servers: 1, worker: false });
                }
                continue;
            }
            if ready.write {
                match line.socket.send(line.talk.outgoing()) {
                    Ok(count) => line.talk.sent(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // What the server said before it closed may still be there to read.
                    Err(_) if ready.read => {}
                    Err(_) => return Err(Trouble::Broken),
                }
            }
            if ready.read {
                let count = line.socket.read(buffer).map_err(|_| Trouble::Broken)?;
                if count == 0 {
                    return Err(Trouble::Closed);
                }
                let heard = line.talk.receive(&buffer[..count], |key, event| self.hear(key, &event));
                self.broken = heard.is_err();
                if let Some(trouble) = self.trouble.take() {
                    return Err(trouble);
                }
                heard.map_err(Trouble::with_protocol)?;
            }
        }
        Ok(())
    }

    fn hear(&mut self, key: u64, event: &ClientEvent<'_>) {
        if self.trouble.is_some() || !self.open.contains(&key) {
            return;
        }
        let mode = if self.options.background { Mode::Background } else { Mode::Foreground };
        if event.is_last(mode) {
            self.open.remove(&key);
        }
        let index = usize::try_from(key - self.first_key).expect("there are as many keys as functions");
        if self.show(self.functions[index], event).is_err() {
            // As the original, which is told that the job's news could not be used.
            self.trouble = Some(Trouble::Code("GEARMAN_IO_WAIT"));
        }
    }

    fn show(&mut self, function: &[u8], event: &ClientEvent<'_>) -> io::Result<()> {
        let prefix = if self.options.prefix { [function, b": "].concat() } else { Vec::new() };
        match event {
            ClientEvent::Created { handle } if self.options.verbose => {
                self.output.note(&[b"Task created: ", *handle, b"\n"].concat())
            }
            ClientEvent::Data(data) | ClientEvent::Complete(data) => {
                if self.options.prefix {
                    self.output.note(&prefix)?;
                    self.output.flush()?;
                }
                self.output.at_once(data)
            }
            ClientEvent::Warning(data) | ClientEvent::Exception(data) => {
                tell(&[&*prefix, data].concat());
                Ok(())
            }
            ClientEvent::Progress { numerator, denominator } => {
                let percent = numerator.saturating_mul(100).checked_div(*denominator).unwrap_or(0);
                let text = format!("{percent}% Complete\n");
                self.output.note(&[&*prefix, text.as_bytes()].concat())
            }
            ClientEvent::Failed => {
                self.failed = true;
                tell(&[&*prefix, b"Job failed\n"].concat());
                Ok(())
            }
            ClientEvent::Refused { code, text } => {
                let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                self.trouble = Some(Trouble::Refused { code: words(code), text: words(text) });
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn tell(bytes: &[u8]) {
    // Nobody may be there to read.
    let _ = io::stderr().lock().write_all(bytes);
}

fn check(function: &[u8], unique: Option<&[u8]>, workload: Option<&[u8]>) -> Result<(), Trouble> {
    let wrong = if function.is_empty() {
        "add_task(GEARMAN_INVALID_ARGUMENT) invalid function -> libgearman/add.cc:179:"
    } else if function.len() > FUNCTION_BYTES_MAX {
        "add_task(GEARMAN_INVALID_ARGUMENT) function name longer then GEARMAN_MAX_FUNCTION_SIZE -> libgearman/add.cc:175:"
    } else if unique.is_some_and(|unique| unique.len() > UNIQUE_BYTES_MAX) {
        "add_task(GEARMAN_INVALID_ARGUMENT) unique name longer then GEARMAN_MAX_UNIQUE_SIZE -> libgearman/add.cc:187:"
    } else if workload.is_some_and(<[u8]>::is_empty) {
        "add_task(GEARMAN_INVALID_ARGUMENT) invalid workload -> libgearman/add.cc:194:"
    } else {
        return Ok(());
    };
    Err(Trouble::Invalid(wrong))
}

/// A unique for a job without one, in the form that libgearman gives it: a server's store
/// may keep jobs by their unique.
fn uuid() -> String {
    // RFC 9562, version 4.
    let bits = fastrand::u128(..);
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (4 << 76) | (2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_form() {
        let text = uuid();
        assert_eq!(text.len(), 36);
        let at = |index: usize| text.as_bytes()[index];
        assert_eq!((at(8), at(13), at(14), at(18), at(23)), (b'-', b'-', b'4', b'-', b'-'), "{text}");
        assert!(b"89ab".contains(&at(19)), "{text}");
    }
}
