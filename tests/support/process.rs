//! A child process that never outlives its test.

use super::DEADLINE;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A directory that goes away with its owner.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// A new, empty directory; the path is short enough for a unix socket.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gearshard-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // A process with our id that was killed may have left it behind.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Nobody can do anything about a directory that will not go.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running program whose output goes to files; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    dir: TempDir,
    exited: Option<ExitStatus>,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it wrote to standard output.
    pub stdout: Vec<u8>,
    /// All that it wrote to standard error, for people to read.
    pub stderr: String,
}

impl Finished {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails, and shows what the program said, unless it exited with 0.
    pub fn success(self) -> Self {
        assert!(self.status.success(), "{}\nstdout: {}\nstderr: {}", self.status, self.text(), self.stderr);
        self
    }
}

impl Process {
    /// Starts `command`, with `input` on its standard input.
    ///
    /// The working directory is a new temporary one, see [`Process::dir`],
    /// unless the command has one already.
    pub fn start(command: Command, input: &[u8]) -> Self {
        Self::start_in(TempDir::new(), command, input)
    }

    /// As [`Process::start`], in a directory that the caller has prepared.
    pub fn start_in(dir: TempDir, mut command: Command, input: &[u8]) -> Self {
        let name =
            Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        if command.get_current_dir().is_none() {
            command.current_dir(dir.path());
        }
        let input_file = dir.path().join(".stdin");
        File::create(&input_file).unwrap().write_all(input).unwrap();
        let child = command
            .stdin(File::open(&input_file).unwrap())
            .stdout(File::create(dir.path().join(".stdout")).unwrap())
            .stderr(File::create(dir.path().join(".stderr")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name, child, dir, exited: None }
    }

    /// Runs `command` to its end, which must come within [`DEADLINE`].
    pub fn run(command: Command, input: &[u8]) -> Finished {
        Self::start(command, input).finish()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its working directory, unless the command named another.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.read(".stdout")
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.read(".stderr")
    }

    fn read_bytes(&self, file: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        File::open(self.dir.path().join(file)).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn read(&self, file: &str) -> String {
        String::from_utf8_lossy(&self.read_bytes(file)).into_owned()
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().unwrap();
        }
        self.exited
    }

    /// Waits for the end, which must come within `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                return status;
            }
            if start.elapsed() > limit {
                self.kill();
                panic!(
                    "{} did not end within {limit:?}\nstdout: {}\nstderr: {}",
                    self.name,
                    self.stdout(),
                    self.stderr()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end and takes the output.
    pub fn finish(mut self) -> Finished {
        let status = self.wait(DEADLINE);
        Finished { status, stdout: self.read_bytes(".stdout"), stderr: self.stderr() }
    }

    /// Waits until standard output contains `text`.
    pub fn wait_for_output(&mut self, text: &str) {
        let start = Instant::now();
        while !self.stdout().contains(text) {
            let ended = self.exit_status();
            assert!(
                ended.is_none() && start.elapsed() < DEADLINE,
                "{} did not print {text:?} (ended: {ended:?})\nstdout: {}\nstderr: {}",
                self.name,
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal by name (`TERM`, `HUP`, `USR1`, `STOP`...).
    pub fn signal(&self, name: &str) {
        assert!(self.exited.is_none(), "{} has ended, its pid may belong to another", self.name);
        let kill = format!("kill -s {name} {}", self.pid());
        let status = Command::new("/bin/sh").arg("-c").arg(&kill).status().unwrap();
        assert!(status.success(), "{kill} failed");
    }

    /// Ends it at once, with SIGKILL.
    pub fn kill(&mut self) {
        if self.exit_status().is_none() {
            // It may end by itself at this very moment.
            let _ = self.child.kill();
            self.exited = Some(self.child.wait().unwrap());
        }
    }

    /// A field of `/proc/PID/status` in bytes, such as `VmRSS`.
    pub fn memory_bytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .and_then(|value| value.trim().strip_suffix(" kB"))
            .unwrap_or_else(|| panic!("no {field} in {status}"));
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Processor time used so far, of all threads together.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
        let after_name = stat.rsplit_once(')').unwrap().1;
        let ticks: u64 =
            after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        // USER_HZ is 100 on every Linux that Rust runs on.
        Duration::from_millis(ticks * 10)
    }

    /// How many file descriptors it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
