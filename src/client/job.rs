//! A job to submit, and the name that a server gives to it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::address::ServerAddress;
use crate::protocol::encode::RELAYED_BODY_BYTES_MAX;
use crate::protocol::packet::Command;

/// The longest function name, in bytes, as in libgearman.
pub const FUNCTION_BYTES_MAX: usize = 512;
/// The longest unique and reducer name, in bytes; servers refuse longer ones.
pub const UNIQUE_BYTES_MAX: usize = 64;
/// The unique that makes the workload the key.
const BY_WORKLOAD: &[u8] = b"-";

/// Which waiting jobs of a server go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Before the others.
    High,
    /// The usual.
    #[default]
    Normal,
    /// After the others.
    Low,
}

/// Whether anybody waits for the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The client waits, and the job goes when the client goes.
    Foreground,
    /// Nobody waits: the server alone sees to it.
    Background,
}

/// A job to submit: a function's name, a workload, and how it should be treated.
///
/// ```
/// use gearshard::client::Job;
/// use std::time::Duration;
///
/// let urgent = Job::new("resize", b"...").high().unique("picture-17");
/// let tomorrow = Job::new("report", "").after(Duration::from_secs(24 * 3600));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use = "a job does nothing until a client submits it"]
pub struct Job {
    function: Vec<u8>,
    workload: Vec<u8>,
    unique: Vec<u8>,
    priority: Priority,
    epoch: Option<u64>,
    reducer: Option<Vec<u8>>,
}

impl Job {
    /// A job of normal priority for the workers that serve `function`.
    pub fn new(function: impl Into<Vec<u8>>, workload: impl Into<Vec<u8>>) -> Self {
        Self {
            function: function.into(),
            workload: workload.into(),
            unique: Vec::new(),
            priority: Priority::Normal,
            epoch: None,
            reducer: None,
        }
    }

    /// Coalesces: while a job with this function and unique waits or runs, the
    /// server runs nothing new and gives its result to everybody who asked.
    ///
    /// At most [`UNIQUE_BYTES_MAX`] bytes. Empty means none.
    pub fn unique(mut self, unique: impl Into<Vec<u8>>) -> Self {
        self.unique = unique.into();
        self
    }

    /// Coalesces with a job of the same function and the same workload.
    ///
    /// An empty workload never coalesces.
    pub fn unique_by_workload(self) -> Self {
        self.unique(BY_WORKLOAD)
    }

    /// Sets the priority. Jobs with a time or a reducer have the normal one: the protocol has no other.
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Goes before jobs of normal priority.
    pub const fn high(self) -> Self {
        self.priority(Priority::High)
    }

    /// Goes after jobs of normal priority.
    pub const fn low(self) -> Self {
        self.priority(Priority::Low)
    }

    /// Does not run before `time`, to the second. Such a job runs in the background.
    pub fn at(mut self, time: SystemTime) -> Self {
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Rather late than early: servers know whole seconds.
        self.epoch = Some(since_1970.as_secs() + u64::from(since_1970.subsec_nanos() > 0));
        self
    }

    /// Does not run before `delay` has passed, counted from this call. See [`at`](Self::at).
    pub fn after(self, delay: Duration) -> Self {
        let now = SystemTime::now();
        self.at(now.checked_add(delay).unwrap_or(now))
    }

    /// For a job that its worker splits: names the function that runs the parts. See
    /// [`MapReduce`](crate::client::MapReduce).
    pub fn reducer(mut self, function: impl Into<Vec<u8>>) -> Self {
        self.reducer = Some(function.into());
        self
    }

    /// The function's name.
    #[must_use]
    pub fn function_name(&self) -> &[u8] {
        &self.function
    }

    /// What the worker is given.
    #[must_use]
    pub fn workload(&self) -> &[u8] {
        &self.workload
    }

    /// The unique; empty when there is none, `-` when it is the workload.
    #[must_use]
    pub fn unique_name(&self) -> &[u8] {
        &self.unique
    }

    /// The reducer's name, if the job has one.
    #[must_use]
    pub fn reducer_name(&self) -> Option<&[u8]> {
        self.reducer.as_deref()
    }

    /// Before which second since 1970 it does not run.
    #[must_use]
    pub const fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// What decides on the server that a job belongs to, where there are several: jobs that may coalesce
    /// have the same. `None` for a job that coalesces with no other.
    #[must_use]
    pub(crate) fn coalescing_key(&self) -> Option<&[u8]> {
        match &*self.unique {
            b"" => None,
            BY_WORKLOAD => Some(&self.workload),
            unique => Some(unique),
        }
    }

    /// A background job without a unique gets one of its own: some servers'
    /// stores keep jobs by their unique.
    pub(crate) fn with_own_unique(self) -> Self {
        if self.unique.is_empty() {
            let unique = format!("{:032x}", fastrand::u128(..));
            return self.unique(unique);
        }
        self
    }

    /// The packet that submits it.
    ///
    /// # Errors
    /// When there is none, or it cannot carry the names.
    pub fn command(&self, mode: Mode) -> Result<Command, InvalidJob> {
        check_name("function", &self.function, FUNCTION_BYTES_MAX)?;
        check_name("unique", &self.unique, UNIQUE_BYTES_MAX)?;
        check_name("reducer", self.reducer.as_deref().unwrap_or_default(), UNIQUE_BYTES_MAX)?;
        let bytes = self.workload.len();
        if bytes > RELAYED_BODY_BYTES_MAX as usize {
            return Err(InvalidJob::LargeWorkload { bytes });
        }
        let plain = self.priority == Priority::Normal;
        match (mode, self.epoch, &self.reducer) {
            (_, Some(_), Some(_)) => Err(InvalidJob::Combination("a time and a reducer")),
            (Mode::Foreground, Some(_), _) => Err(InvalidJob::ForegroundWithTime),
            (_, Some(_), _) if !plain => Err(InvalidJob::Combination("a time and a priority")),
            (_, _, Some(_)) if !plain => Err(InvalidJob::Combination("a reducer and a priority")),
            (Mode::Background, Some(_), None) => Ok(Command::SubmitJobEpoch),
            (Mode::Foreground, None, Some(_)) => Ok(Command::SubmitReduceJob),
            (Mode::Background, None, Some(_)) => Ok(Command::SubmitReduceJobBackground),
            (Mode::Foreground, None, None) => Ok(match self.priority {
                Priority::High => Command::SubmitJobHigh,
                Priority::Normal => Command::SubmitJob,
                Priority::Low => Command::SubmitJobLow,
            }),
            (Mode::Background, None, None) => Ok(match self.priority {
                Priority::High => Command::SubmitJobHighBg,
                Priority::Normal => Command::SubmitJobBg,
                Priority::Low => Command::SubmitJobLowBg,
            }),
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("function", &format_args!("{}", self.function.escape_ascii()))
            .field("workload_bytes", &self.workload.len())
            .field("unique", &format_args!("{}", self.unique.escape_ascii()))
            .field("priority", &self.priority)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

pub(crate) fn check_name(what: &'static str, name: &[u8], limit: usize) -> Result<(), InvalidJob> {
    if name.len() > limit {
        return Err(InvalidJob::LongName { what, bytes: name.len(), limit });
    }
    if name.contains(&0) { Err(InvalidJob::NulInName { what }) } else { Ok(()) }
}

/// Why the protocol cannot carry a job, or a worker cannot serve a function.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidJob {
    /// A name is too long.
    LongName {
        /// `function`, `unique` or `reducer`.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A name holds a NUL byte, which ends names in packets.
    NulInName {
        /// `function`, `unique` or `reducer`.
        what: &'static str,
    },
    /// The workload does not fit into a packet.
    LargeWorkload {
        /// Its length.
        bytes: usize,
    },
    /// A job with a time is not to be waited for.
    ForegroundWithTime,
    /// The protocol has no packet with both.
    Combination(&'static str),
}

impl fmt::Display for InvalidJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongName { what, bytes, limit } => {
                write!(f, "the {what} has {bytes} bytes, and may have {limit}; choose a shorter one")
            }
            Self::NulInName { what } => write!(f, "the {what} holds a NUL byte, which ends names in packets"),
            Self::LargeWorkload { bytes } => write!(
                f,
                "the workload has {bytes} bytes, and a packet {RELAYED_BODY_BYTES_MAX} at most; pass a reference to it instead"
            ),
            Self::ForegroundWithTime => {
                write!(f, "a job with a time runs in the background; submit it with submit_background")
            }
            Self::Combination(what) => {
                write!(f, "the protocol has no job with {what}; leave one of them out")
            }
        }
    }
}

impl std::error::Error for InvalidJob {}

/// The name that a server gave to a job, such as `H:host:17`.
///
/// One that came from a client remembers its server; one read from text
/// (`"H:host:17".parse()`) does not, and is looked for on every server.
///
/// ```
/// use gearshard::client::JobHandle;
///
/// let Ok(handle) = "H:host:17".parse::<JobHandle>();
/// assert_eq!((handle.as_bytes(), handle.server()), (&b"H:host:17"[..], None));
/// ```
#[derive(Clone)]
pub struct JobHandle {
    text: Box<[u8]>,
    server: Option<Arc<ServerAddress>>,
}

impl JobHandle {
    pub(crate) fn new(text: &[u8], server: Option<Arc<ServerAddress>>) -> Self {
        Self { text: text.into(), server }
    }

    /// The bytes of the name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The server that has the job, if that is known.
    #[must_use]
    pub fn server(&self) -> Option<&ServerAddress> {
        self.server.as_deref()
    }
}

impl PartialEq for JobHandle {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for JobHandle {}

impl std::hash::Hash for JobHandle {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl std::str::FromStr for JobHandle {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text.as_bytes(), None))
    }
}

impl From<&[u8]> for JobHandle {
    fn from(text: &[u8]) -> Self {
        Self::new(text, None)
    }
}

impl fmt::Display for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobHandle({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_job_has_its_packet() {
        let job = || Job::new("f", "x");
        let cases = [
            (job().high(), Mode::Foreground, Command::SubmitJobHigh),
            (job().low(), Mode::Background, Command::SubmitJobLowBg),
            (job().after(Duration::from_secs(1)), Mode::Background, Command::SubmitJobEpoch),
            (job().reducer("r"), Mode::Background, Command::SubmitReduceJobBackground),
        ];
        for (job, mode, command) in cases {
            assert_eq!(job.command(mode), Ok(command), "{job:?}");
        }
    }

    #[test]
    fn what_the_protocol_cannot_carry_is_refused() {
        let job = || Job::new("f", "x");
        let second = Duration::from_secs(1);
        let refused = [
            (Job::new("f\0", ""), Mode::Foreground),
            (Job::new("f".repeat(513), ""), Mode::Foreground),
            (job().unique("u".repeat(65)), Mode::Foreground),
            (job().after(second), Mode::Foreground),
            (job().after(second).high(), Mode::Background),
            (job().after(second).reducer("r"), Mode::Background),
            (job().reducer("r").low(), Mode::Background),
        ];
        for (job, mode) in refused {
            assert!(job.command(mode).is_err(), "{job:?}");
        }
    }

    #[test]
    fn a_time_is_rounded_up_to_the_second() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(Job::new("f", "").at(time).epoch(), Some(2));
        assert_eq!(Job::new("f", "").at(SystemTime::UNIX_EPOCH).epoch(), Some(0));
    }
}
