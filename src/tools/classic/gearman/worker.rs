//! Worker mode: a command for each job, one job at a time.
//!
//! All servers are served, the last that was named first.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::command;
use super::options::Options;
use super::output::Output;
use super::servers::{Place, servers};
use super::trouble::Trouble;
use crate::client::FUNCTION_BYTES_MAX;
use crate::client::conversation::{WorkerConversation, WorkerEvent};
use crate::client::socket::{Socket, poll_for};

/// How much is received at a time.
const READ_BYTES: usize = 64 << 10;
/// How long a server may take to read a result.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait after an attempt to connect failed, or a connection was lost at once.
const PAUSE: Duration = Duration::from_millis(500);
/// How long to wait, at the end, until the server has taken everything.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a command that fails is told of.
const JOB_FAILED: Trouble = Trouble::Code("GEARMAN_UNKNOWN_STATE");

/// Serves until so many jobs have been run as `-c` says.
pub(super) fn run(options: &Options) -> ExitCode {
    let places = match servers(options) {
        Ok(places) => places,
        Err(bad) if bad.in_own_variable => {
            bad.trouble.tell("Error occurred while parsing GEARMAN_SERVER");
            return ExitCode::SUCCESS;
        }
        Err(bad) => {
            bad.trouble.tell("gearman_worker_add_server");
            return ExitCode::FAILURE;
        }
    };
    if options.tls {
        let _ =
            writeln!(io::stderr().lock(), "gearman: TLS (-S) is not supported; leave it out or use a tunnel");
        return ExitCode::FAILURE;
    }
    for function in &options.functions {
        if let Err(trouble) = check(function) {
            trouble.tell("gearman_worker_add_function");
            return ExitCode::FAILURE;
        }
    }
    let posts = places.into_iter().map(|place| Post { place, line: None, since: None }).collect();
    let mut worker = Worker { options, posts, output: Output::new(), buffer: vec![0; READ_BYTES] };
    // As the original: what goes wrong counts as a job, and a job that fails as two.
    let mut left = if options.count == 0 { u64::MAX } else { options.count.into() };
    while left > 0 {
        let done = worker.work().inspect_err(|trouble| trouble.tell("gearman_worker_work"));
        left = left.saturating_sub(if done == Err(JOB_FAILED) { 2 } else { 1 });
        if left > 0 && matches!(done, Err(Trouble::Unreachable { .. })) {
            std::thread::sleep(PAUSE);
        }
    }
    worker.leave();
    ExitCode::SUCCESS
}

fn check(function: &[u8]) -> Result<(), Trouble> {
    if function.is_empty() {
        return Err(Trouble::Invalid(
            "_worker_function_create(GEARMAN_INVALID_ARGUMENT) invalid function -> libgearman/worker.cc:1327:",
        ));
    }
    if function.len() > FUNCTION_BYTES_MAX {
        return Err(Trouble::Invalid(
            "_worker_function_create(GEARMAN_INVALID_ARGUMENT) function name longer then \
             GEARMAN_MAX_FUNCTION_SIZE -> libgearman/worker.cc:1323:",
        ));
    }
    Ok(())
}

/// A server, and the connection to it.
struct Post {
    place: Place,
    line: Option<Line>,
    /// When the connection was made, or was last tried.
    since: Option<Instant>,
}

struct Line {
    socket: Socket,
    talk: WorkerConversation,
}

/// A job that was handed out.
struct Held {
    handle: Vec<u8>,
    function: Vec<u8>,
    workload: Vec<u8>,
}

/// What a server answered to a grab.
enum Answer {
    Job(Held),
    None,
}

struct Worker<'a> {
    options: &'a Options,
    posts: Vec<Post>,
    output: Output,
    buffer: Vec<u8>,
}

impl Worker<'_> {
    /// Runs one job, waited for if need be.
    fn work(&mut self) -> Result<(), Trouble> {
        loop {
            let mut connected = 0;
            let mut trouble = Trouble::Code("GEARMAN_NO_SERVERS");
            for index in 0..self.posts.len() {
                if let Err(error) = self.connect(index) {
                    trouble = error;
                    continue;
                }
                match self.grab(index) {
                    Ok(Answer::Job(held)) => return self.serve(index, &held),
                    Ok(Answer::None) => connected += 1,
                    Err(error) => self.lost(index, error)?,
                }
            }
            if connected > 0 {
                self.sleep()?;
            } else if matches!(trouble, Trouble::Unreachable { .. } | Trouble::Timeout { .. }) {
                return Err(trouble);
            }
        }
    }

    fn connect(&mut self, index: usize) -> Result<(), Trouble> {
        let several = self.posts.len() > 1;
        let options = self.options;
        let post = &mut self.posts[index];
        if post.line.is_some() {
            return Ok(());
        }
        let unreachable = Trouble::Unreachable { host: post.place.host.clone(), port: post.place.port };
        if let Some(rest) = post.since.and_then(|since| PAUSE.checked_sub(since.elapsed())) {
            // The original tries again and again without a pause.
            if several {
                return Err(unreachable);
            }
            std::thread::sleep(rest);
        }
        post.since = Some(Instant::now());
        let socket = post.place.connect(options)?;
        let mut talk = WorkerConversation::default();
        options.functions.iter().rev().for_each(|function| talk.can_do(function, None));
        post.line = Some(Line { socket, talk });
        Ok(())
    }

    // A connection is made anew in silence, unless somebody counts the time.
    fn lost(&mut self, index: usize, trouble: Trouble) -> Result<(), Trouble> {
        match trouble {
            Trouble::Closed | Trouble::Broken => {
                self.posts[index].line = None;
                if self.options.timeout.is_some() { Err(Trouble::WorkerLost) } else { Ok(()) }
            }
            Trouble::NoPacket | Trouble::NoCommand | Trouble::Unexpected(_) => {
                self.posts[index].line = None;
                Err(trouble)
            }
            // The time is over, or the server refuses a result; what was asked for may still come.
            _ => Err(trouble),
        }
    }

    fn grab(&mut self, index: usize) -> Result<Answer, Trouble> {
        let Self { options, posts, buffer, .. } = self;
        let line = posts[index].line.as_mut().expect("it is connected");
        line.talk.wake();
        line.talk.grab_one();
        line.flush()?;
        let mut answer = None;
        loop {
            let mut refused = false;
            line.receive(buffer, options.timeout, |event| match event {
                WorkerEvent::Assigned(job) => {
                    answer = Some(Answer::Job(Held {
                        handle: job.handle.to_vec(),
                        function: job.function.to_vec(),
                        workload: job.workload.to_vec(),
                    }));
                }
                WorkerEvent::NoJob => answer = Some(Answer::None),
                WorkerEvent::Refused { .. } => refused = true,
                _ => {}
            })?;
            match answer.take() {
                Some(answer) => return Ok(answer),
                // A result came too late: the server had taken the job back.
                None if refused => return Err(Trouble::Unexpected("ERROR")),
                None => {}
            }
        }
    }

    /// Waits until a server wakes the worker.
    fn sleep(&mut self) -> Result<(), Trouble> {
        let Self { options, posts, buffer, .. } = self;
        let mut asleep = Vec::new();
        for (index, post) in posts.iter_mut().enumerate() {
            if let Some(line) = &mut post.line {
                line.talk.sleep();
                if line.flush().is_err() {
                    post.line = None;
                    return Ok(());
                }
                asleep.push(index);
            }
        }
        // Servers that are away are tried again now and then.
        let away = asleep.len() < posts.len();
        loop {
            let mut fds: Vec<PollFd<'_>> = posts
                .iter()
                .filter_map(|post| post.line.as_ref())
                .map(|line| PollFd::from_borrowed_fd(line.socket.as_fd(), PollFlags::IN))
                .collect();
            let limit = if away { options.timeout.map_or(Some(PAUSE), Some) } else { options.timeout };
            poll_for(&mut fds, limit).map_err(|_| Trouble::Broken)?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if !ready.contains(&true) {
                return match options.timeout {
                    Some(_) => Err(Trouble::Timeout { servers: asleep.len(), worker: true }),
                    None if away => Ok(()),
                    None => continue,
                };
            }
            for (&index, _) in asleep.iter().zip(ready).filter(|(_, ready)| *ready) {
                let line = posts[index].line.as_mut().expect("it was there before the wait");
                let mut refused = false;
                let heard = line.receive(buffer, options.timeout, |event| {
                    refused |= matches!(event, WorkerEvent::Refused { .. });
                });
                let awake = !line.talk.is_asleep();
                if let Err(trouble) = heard {
                    return self.lost(index, trouble);
                }
                if refused {
                    return Err(Trouble::Unexpected("ERROR"));
                }
                if awake {
                    return Ok(());
                }
            }
        }
    }

    fn serve(&mut self, index: usize, held: &Held) -> Result<(), Trouble> {
        let Self { options, posts, output, .. } = self;
        let line = posts[index].line.as_mut().expect("the job came from there");
        if !options.functions.contains(&held.function) {
            line.talk.fail(&held.handle);
            let sent = line.flush();
            let unknown = "gearman_worker_work(GEARMAN_INVALID_FUNCTION_NAME) Function not found \
                           -> libgearman/worker.cc:1124:";
            return Err(sent.err().unwrap_or(Trouble::Invalid(unknown)));
        }
        let done = if options.operands.is_empty() {
            // What cannot be written is lost, as in the original.
            let _ = output.at_once(&held.workload);
            Ok(Vec::new())
        } else {
            line.run(options, held)
        };
        match &done {
            Ok(result) => line.talk.complete(&held.handle, result),
            Err(result) => {
                if !result.is_empty() {
                    line.talk.data(&held.handle, result);
                }
                line.talk.fail(&held.handle);
            }
        }
        if let Err(trouble) = line.flush() {
            return self.lost(index, trouble);
        }
        done.map(drop).map_err(|_| JOB_FAILED)
    }

    /// Closes in good order: closing a socket with something unread would reset
    /// the connection, and the last result with it.
    fn leave(mut self) {
        for line in self.posts.iter_mut().filter_map(|post| post.line.take()) {
            line.socket.finish();
            let start = Instant::now();
            while let Some(left) = GOODBYE.checked_sub(start.elapsed()) {
                let ready = line.socket.wait(true, false, Some(left)).is_ok_and(|ready| ready.read);
                if !ready || !matches!(line.socket.read(&mut self.buffer), Ok(1..)) {
                    break;
                }
            }
        }
    }
}

impl Line {
    fn flush(&mut self) -> Result<(), Trouble> {
        let bytes = self.talk.outgoing();
        let count = bytes.len();
        self.socket.send_all(bytes, SEND_TIMEOUT).map_err(|_| Trouble::Broken)?;
        self.talk.sent(count);
        Ok(())
    }

    fn receive(
        &mut self,
        buffer: &mut [u8],
        timeout: Option<Duration>,
        each: impl FnMut(WorkerEvent<'_>),
    ) -> Result<(), Trouble> {
        if !self.socket.wait(true, false, timeout).map_err(|_| Trouble::Broken)?.read {
            return match timeout {
                Some(_) => Err(Trouble::Timeout { servers: 1, worker: true }),
                None => Ok(()),
            };
        }
        let count = self.socket.read(buffer).map_err(|_| Trouble::Broken)?;
        if count == 0 {
            return Err(Trouble::Closed);
        }
        self.talk.receive(&buffer[..count], each).map_err(Trouble::with_protocol)
    }

    /// Runs the command: its result, or what came before it failed.
    fn run(&mut self, options: &Options, held: &Held) -> Result<Vec<u8>, Vec<u8>> {
        let mut result = Vec::new();
        let mut sent = 0;
        let ended = command::run(&options.operands, &held.workload, |piece| {
            result.extend_from_slice(piece);
            if options.by_line {
                self.lines(options, held, &result, &mut sent);
            }
        });
        if options.by_line {
            if sent < result.len() {
                // The last line has no end.
                self.talk.data(&held.handle, &result);
            }
            result.clear();
        }
        match ended {
            Ok(ended) if ended.well => Ok(result),
            Ok(_) => Err(result),
            Err(error) => {
                let name = options.operands[0].escape_ascii();
                let _ = writeln!(io::stderr().lock(), "gearman: cannot run {name}: {error}");
                Err(result)
            }
        }
    }

    // As the original: each line of the output goes out with all that came before it.
    fn lines(&mut self, options: &Options, held: &Held, result: &[u8], sent: &mut usize) {
        while let Some(length) = result[*sent..].iter().position(|&byte| byte == b'\n') {
            *sent += length + 1;
            let end = if options.without_newline { *sent - 1 } else { *sent };
            self.talk.data(&held.handle, &result[..end]);
            // A connection that is lost shows when the job ends.
            let _ = self.flush();
        }
    }
}
