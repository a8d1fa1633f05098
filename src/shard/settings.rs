//! What a shard is told once, at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::ids::ShardId;
use super::placement::owner_of_job;
use crate::protocol::handle::HandlePrefix;
use crate::protocol::retry::RetryPolicy;

/// How many sleeping workers a queued job wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// One for each job, and another when that one does not come for it.
    OnePerJob,
    /// As gearmand's `--worker-wakeup=N` with N above 0: N for each job.
    Count(u32),
    /// As gearmand's `--worker-wakeup=0`: every sleeper of the function.
    All,
}

/// How often a job is tried before it is given up (gearmand-spec.md, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retries {
    /// `--job-retries=-1`: for ever.
    Unlimited,
    /// `--job-retries=N`: N attempts in all; 0 means one, as 1 does.
    Attempts(u32),
}

/// Retry policies by function; `None` where there is to be none.
pub type Policies = BTreeMap<Box<[u8]>, Option<RetryPolicy>>;

/// The same for every shard of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Number of shards.
    pub shards: u16,
    /// What handles start with.
    pub handle_prefix: HandlePrefix,
    /// How many sleepers a job wakes.
    pub wakeup: Wakeup,
    /// When a job of a function without a policy is given up.
    pub retries: Retries,
    /// The policies to start with, by function (see [`EVERY_FUNCTION`](crate::protocol::retry::EVERY_FUNCTION)).
    pub policies: Policies,
    /// Dead letters that a function keeps; the oldest go first.
    pub dead_max: usize,
    /// Whether every connection gets exceptions without asking (`--exceptions`).
    pub exceptions: bool,
    /// Answer to `version`, after `OK `.
    pub version: String,
    /// Answer to `verbose`: the name of the log level.
    pub verbose: String,
    /// Answer to `getpid`.
    pub pid: u32,
    /// Whether [`Event::Accepted`](super::outbox::Event::Accepted) is wanted.
    pub report_accepted: bool,
    /// Replies that one connection may be owed before it is not read any more.
    pub open_replies_max: usize,
    /// Functions that one worker may register.
    pub worker_functions_max: usize,
    /// Functions that one shard may own.
    pub functions_max: usize,
    /// How long a woken worker may take to come for a job before another is woken, in microseconds.
    pub wake_patience_us: u64,
    /// How long a GRAB may wait for a job that is likely to come, in microseconds; 0 for NO_JOB at once.
    pub grab_open_us: u64,
    /// Whether background jobs are stored, through [`Outbox::store`](super::outbox::Outbox::store).
    pub durable: bool,
    /// Owners of jobs whose numbers name another shard: they are from a time
    /// when the server had more or fewer shards.
    pub moved: Arc<HashMap<u64, ShardId>>,
    /// Whether uniques have the same hashes in every process. Only for counting instructions:
    /// a peer that knows the hashes can choose uniques that share one.
    pub known_hashes: bool,
}

impl Settings {
    /// The owner of the job with this number.
    #[must_use]
    pub fn owner_of_job(&self, number: u64) -> ShardId {
        if !self.moved.is_empty()
            && let Some(&owner) = self.moved.get(&number)
        {
            return owner;
        }
        owner_of_job(number, self.shards)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 1,
            handle_prefix: HandlePrefix::new("H:localhost"),
            wakeup: Wakeup::OnePerJob,
            retries: Retries::Unlimited,
            policies: Policies::new(),
            dead_max: 100_000,
            exceptions: false,
            version: concat!("2.0.0+gearshard.", env!("CARGO_PKG_VERSION")).to_owned(),
            verbose: "ERROR".to_owned(),
            pid: 0,
            report_accepted: false,
            open_replies_max: 4096,
            worker_functions_max: 10_000,
            functions_max: 1_000_000,
            wake_patience_us: 50_000,
            grab_open_us: 1_000,
            durable: false,
            moved: Arc::default(),
            known_hashes: false,
        }
    }
}
