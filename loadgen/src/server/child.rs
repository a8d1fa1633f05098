//! Child processes that end with us, in directories of their own. Each leads a
//! process group, so that what it started ends with it.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::abort::Abort;

/// How often a child is looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What a server may take to end when asked to.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// So many last lines of a child's output are shown.
const LINES_SHOWN: usize = 12;

/// A directory to run in.
pub(crate) struct Directory {
    path: PathBuf,
    /// Whether it goes away with its owner.
    passing: bool,
}

impl Directory {
    /// A new one that goes away with its owner.
    pub(crate) fn new() -> Result<Self, Abort> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gearshard-loadgen-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)
            .map_err(|error| Abort(format!("cannot make the directory {}: {error}", path.display())))?;
        Ok(Self { path, passing: true })
    }

    /// One that stays, made where it is not there.
    pub(crate) fn kept(path: &Path) -> Result<Self, Abort> {
        let wrong =
            |error: std::io::Error| Abort(format!("cannot use the directory {}: {error}", path.display()));
        std::fs::create_dir_all(path).map_err(wrong)?;
        Ok(Self { path: path.canonicalize().map_err(wrong)?, passing: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.passing {
            // Nobody can do anything about a directory that will not go.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A running program; ended when dropped.
pub(crate) struct Running {
    child: Child,
    ended: Option<ExitStatus>,
    directory: Directory,
}

impl Running {
    /// Starts `command` in `directory`, its output in files there, on `cores`
    /// if there are any.
    pub(crate) fn start(command: Command, directory: Directory, cores: &[usize]) -> Result<Self, Abort> {
        let child = spawn(command, &directory, cores)?;
        Ok(Self { child, ended: None, directory })
    }

    /// Starts `command` in place of what has ended, in the same directory.
    pub(crate) fn start_again(&mut self, command: Command, cores: &[usize]) -> Result<(), Abort> {
        assert!(self.ended.is_some(), "what runs is not replaced");
        self.child = spawn(command, &self.directory, cores)?;
        self.ended = None;
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Abort> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// A file in its directory, such as `stdout`.
    pub(crate) fn read(&self, name: &str) -> Result<String, Abort> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.directory.path().join(name))?).into_owned())
    }

    /// Its last words, indented.
    pub(crate) fn last_lines(&self) -> String {
        let said: Vec<String> = ["stdout", "stderr"].iter().filter_map(|name| self.read(name).ok()).collect();
        let lines: Vec<&str> = said.iter().flat_map(|text| text.lines()).collect();
        let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
        if shown.is_empty() {
            return "\n  (it said nothing)".to_owned();
        }
        shown.iter().flat_map(|line| ["\n  ", line]).collect()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(&mut self, signal: Signal) -> Result<(), Abort> {
        let asked = Instant::now();
        while self.ended()?.is_none() {
            if asked.elapsed() > END_TIMEOUT {
                return self.kill();
            }
            if asked.elapsed() < LOOK_INTERVAL {
                self.signal(signal)?;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Ends it at once, with SIGKILL; when this returns it has ended.
    pub(crate) fn kill(&mut self) -> Result<(), Abort> {
        if self.ended()?.is_none() {
            self.signal(Signal::SIGKILL)?;
            self.ended = Some(self.child.wait()?);
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), Abort> {
        let pid = i32::try_from(self.pid()).expect("the system's process ids are i32");
        killpg(Pid::from_raw(pid), signal).map_err(|error| Abort(format!("process {pid}: {error}")))
    }
}

fn spawn(mut command: Command, directory: &Directory, cores: &[usize]) -> Result<Child, Abort> {
    // Appended to: what it said before it was started again stays.
    let file = |name: &str| OpenOptions::new().append(true).create(true).open(directory.path().join(name));
    command.current_dir(directory.path()).stdin(Stdio::null()).process_group(0);
    command.stdout(file("stdout")?).stderr(file("stderr")?);
    let program = command.get_program().to_string_lossy().into_owned();
    on_cores(cores, || command.spawn())?.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Abort(format!("{program}: there is no such program; give its path, or put it on the PATH"))
        }
        _ => Abort(format!("{program}: cannot be started: {error}")),
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.end(Signal::SIGTERM).is_err() {
            // It may have ended by itself at this very moment.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Does `work` with this thread on `cores`: children inherit them.
fn on_cores<T>(cores: &[usize], work: impl FnOnce() -> T) -> Result<T, Abort> {
    if cores.is_empty() {
        return Ok(work());
    }
    let this = Pid::from_raw(0);
    let refused =
        |error: nix::Error| Abort(format!("cannot pin to core {cores:?}: {error}; are they there?"));
    let before = sched_getaffinity(this).map_err(refused)?;
    let mut wanted = CpuSet::new();
    for &core in cores {
        wanted.set(core).map_err(refused)?;
    }
    sched_setaffinity(this, &wanted).map_err(refused)?;
    let outcome = work();
    sched_setaffinity(this, &before).map_err(refused)?;
    Ok(outcome)
}
