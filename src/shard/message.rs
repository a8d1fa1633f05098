//! What shards say to each other.
//!
//! Only the order of messages from one shard to another is relied on. A
//! message names a connection by its [`ConnId`], so one that comes too late
//! is dropped by comparison.

use smallvec::SmallVec;

use super::ids::ConnId;
use crate::protocol::retry::RetryPolicy;
use crate::queue::body::Body;
use crate::queue::change::NotKept;
use crate::queue::job::Priority;
use crate::queue::name::Name;

/// A place in a connection's order of replies, waiting for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The connection that asked.
    pub conn: ConnId,
    /// Which of its requests; counts up, wrapping.
    pub sequence: u32,
}

/// A client waiting for a foreground job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The client's connection.
    pub conn: ConnId,
    /// The place in that connection's table of awaited jobs.
    pub ticket: u32,
}

/// A function as its owner counts it. Valid as long as the home that uses it
/// has interest in the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerFunction(pub u32);

/// A function as a home counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HomeFunction {
    /// Place in the home's table.
    pub slot: u32,
    /// Which of the place's functions.
    pub generation: u32,
}

/// What a home is told waits in a function: the best runnable priority.
pub type Best = Option<Priority>;

/// A new job, on its way to the owner of its function.
#[derive(Debug)]
pub struct Submit {
    /// Where JOB_CREATED or ERROR goes.
    pub reply: Reply,
    /// The client's place to wait in; `None` for background jobs.
    pub waiter: Option<Waiter>,
    /// Function name.
    pub function: Name,
    /// Unique, reducer if any, and workload, with a NUL between each two.
    pub body: Body,
    /// Length of the unique in `body`.
    pub unique_bytes: u16,
    /// Length of the reducer behind it; 0 for none.
    pub reducer_bytes: u16,
    /// Which lane.
    pub priority: Priority,
    /// Unix seconds before which it must not run; 0 for at once.
    pub not_before_s: u64,
}

/// Why a submit was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `maxqueue` of the function is reached.
    QueueFull,
    /// The server is draining.
    Draining,
    /// The memory ceiling is reached.
    MemoryFull,
    /// The owner has as many functions as it may have.
    TooManyFunctions,
    /// The store does not keep the job.
    NotKept(NotKept),
}

/// One function of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The function.
    pub function: OwnerFunction,
    /// What CAN_DO_TIMEOUT gave it, in milliseconds; 0 for none.
    pub timeout_ms: u32,
}

/// Which functions a claim is for beside those that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// None.
    No,
    /// All of which the home has told: the worker serves them, without any time limit.
    Any,
    /// The same; and if there is no job the home wants to know what is left of
    /// all that it has been told.
    AnyOrNews,
}

/// One run of a job. What a worker says of a run that it has lost is told by
/// it from what it says of a later one, even of the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The number in the job's handle.
    pub number: u64,
    /// Runs that were lost before it.
    pub losses: u16,
    /// Where the owner keeps the job; it means nothing to others, nor once the job is gone.
    pub place: u32,
}

/// A job on its way to a worker.
#[derive(Debug)]
pub struct Assignment {
    /// Which run of which job.
    pub run: Run,
    /// Its function, as the worker's home counts it.
    pub function: HomeFunction,
    /// Unique, reducer if any, and workload, with a NUL between each two.
    pub body: Body,
    /// Length of the unique in `body`.
    pub unique_bytes: u16,
    /// Length of the reducer behind it; 0 for none.
    pub reducer_bytes: u16,
}

/// News about the best priority of some functions, as one answer carries them.
pub type Bests = SmallVec<[(HomeFunction, Best); 2]>;

/// What a worker says about its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkKind {
    /// WORK_DATA
    Data,
    /// WORK_WARNING
    Warning,
    /// WORK_STATUS; the body holds `numerator\0denominator` as sent.
    Status {
        /// As stored for GET_STATUS.
        numerator: u32,
        /// As stored for GET_STATUS.
        denominator: u32,
    },
    /// WORK_COMPLETE
    Complete,
    /// WORK_FAIL
    Fail,
    /// WORK_EXCEPTION
    Exception,
}

impl WorkKind {
    /// Whether the job ends with it.
    #[must_use]
    pub const fn is_last(self) -> bool {
        matches!(self, Self::Complete | Self::Fail | Self::Exception)
    }
}

/// What STATUS_RES and STATUS_RES_UNIQUE tell about a job that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// The number in its handle.
    pub number: u64,
    /// Whether a worker has it.
    pub running: bool,
    /// From the last WORK_STATUS.
    pub numerator: u32,
    /// From the last WORK_STATUS.
    pub denominator: u32,
    /// Clients that wait for it.
    pub clients: u32,
}

/// Which dead letters.
#[derive(Clone, Debug)]
pub enum Letters {
    /// That of the job with this number.
    One(u64),
    /// Those of this function.
    Of(Name),
    /// All.
    All,
}

/// What to do with dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bring {
    /// Run them again.
    Back,
    /// Forget them.
    Away,
}

/// An admin question to a shard.
#[derive(Clone, Debug)]
pub enum AdminQuery {
    /// Lines of `workers`: the connections that live there.
    Workers,
    /// Lines of `status`.
    Status,
    /// Lines of `prioritystatus`.
    PriorityStatus,
    /// Lines of `show jobs`.
    ShowJobs,
    /// Lines of `show unique jobs`.
    ShowUniqueJobs,
    /// Lines of `show functions`.
    ShowFunctions,
    /// Lines of `show dead`, of one function or of all.
    ShowDead(Option<Name>),
    /// Lines of `show retries`.
    ShowRetries,
    /// `requeue dead` and `purge dead`; the answer is how many it was done with.
    Dead(Letters, Bring),
    /// `retry`: the policy of a function, or none.
    Retry(Name, Option<RetryPolicy>),
    /// `cancel job`
    Cancel {
        /// The number in the handle.
        number: u64,
    },
    /// `create function`
    CreateFunction(Name),
    /// `drop function`
    DropFunction(Name),
    /// `maxqueue`: limits for low, normal and high; 0 for none.
    MaxQueue(Name, [u32; 3]),
}

/// When a message leaves, beside the others that its shard sends in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// Before all that leave last, whatever their destinations; otherwise in order.
    First,
    /// After those to the same destination that were sent before it, but for those
    /// that leave last.
    InOrder,
    /// After all that leave first, and after those to the same destination that
    /// were sent before it.
    Last,
}

/// A message between shards.
#[derive(Debug)]
pub enum Message {
    // Home to owner.
    /// A new job.
    Submit(Submit),
    /// How many workers of the home serve a function; always answered by `Ready`.
    Interest {
        /// Function name.
        function: Name,
        /// How the home counts it.
        key: HomeFunction,
        /// Registrations on this home.
        workers: u32,
    },
    /// A worker wants a job of one of these functions, of at least this priority.
    Claim {
        /// Who asks.
        worker: ConnId,
        /// In order of preference.
        functions: SmallVec<[Claimed; 2]>,
        /// Lower priorities wait elsewhere.
        floor: Priority,
        /// What else will do.
        others: Others,
    },
    /// What a worker says about a job that it holds.
    Work {
        /// Who says it.
        worker: ConnId,
        /// Of which run.
        run: Run,
        /// What it says.
        kind: WorkKind,
        /// Data, or the status as sent.
        body: Body,
    },
    /// The worker will not finish these jobs; counts as an attempt.
    Abandoned {
        /// Who held them.
        worker: ConnId,
        /// Most recently grabbed first.
        runs: Vec<Run>,
    },
    /// An assignment found its worker gone and was never sent; no attempt.
    Returned {
        /// For whom it was meant.
        worker: ConnId,
        /// The run that did not begin.
        run: Run,
    },
    /// A client no longer waits for a job.
    Detach {
        /// Who waited.
        waiter: Waiter,
        /// For what.
        number: u64,
    },
    /// GET_STATUS
    StatusQuery {
        /// Where the answer goes.
        reply: Reply,
        /// The job.
        number: u64,
    },
    /// GET_STATUS_UNIQUE, asked of every owner.
    UniqueQuery {
        /// Where the answer goes.
        reply: Reply,
        /// The unique.
        unique: Name,
    },
    /// An admin command.
    Admin {
        /// Where the answer goes.
        reply: Reply,
        /// The question.
        query: AdminQuery,
    },
    /// This many wakes found no sleeper of the function here: ask elsewhere,
    /// and not here again before `Sleeper`.
    Unwoken {
        /// The function.
        function: OwnerFunction,
        /// Wakes left over.
        left: u32,
    },
    /// After `Unwoken`, a worker of the function sleeps here again.
    Sleeper {
        /// The function.
        function: OwnerFunction,
    },

    // Owner to home.
    /// The job exists; `waiter` as in the submit.
    Created {
        /// The submit's.
        reply: Reply,
        /// The number in its handle.
        number: u64,
        /// The client's place, if it waits.
        waiter: Option<Waiter>,
    },
    /// The submit was refused.
    Refused {
        /// The submit's.
        reply: Reply,
        /// The client's place, free again.
        waiter: Option<Waiter>,
        /// Why.
        refusal: Refusal,
    },
    /// What waits in a function, and how many sleepers to wake for it.
    Ready {
        /// The function, as the home counts it.
        key: HomeFunction,
        /// The function, as the owner counts it.
        function: OwnerFunction,
        /// Best runnable priority.
        best: Best,
        /// Sleepers to wake; `u32::MAX` for all.
        wake: u32,
    },
    /// A claim's answer: a job.
    Assigned {
        /// Who asked.
        worker: ConnId,
        /// The job.
        job: Assignment,
        /// What still waits in the claimed functions.
        bests: Bests,
    },
    /// A claim's answer: none.
    Missed {
        /// Who asked.
        worker: ConnId,
        /// What still waits in the claimed functions.
        bests: Bests,
    },
    /// A job was taken from a worker (its time was up).
    Released {
        /// Who held it.
        worker: ConnId,
        /// The job.
        number: u64,
    },
    /// News of a job for a client that waits for it.
    Deliver {
        /// Who waits.
        waiter: Waiter,
        /// The job.
        number: u64,
        /// What the worker said.
        kind: WorkKind,
        /// Data, or the status as sent.
        body: Body,
        /// Who said it; paused when the client does not read. `None` when the server itself speaks.
        producer: Option<ConnId>,
    },
    /// Answer to `StatusQuery`.
    StatusAnswer {
        /// The question's.
        reply: Reply,
        /// `None` when there is no such job.
        status: Option<JobStatus>,
    },
    /// One owner's answer to `UniqueQuery`.
    UniqueAnswer {
        /// The question's.
        reply: Reply,
        /// `None` when there is no such job.
        status: Option<JobStatus>,
    },
    /// One owner's answer to `Admin`.
    AdminAnswer {
        /// The question's.
        reply: Reply,
        /// Text for the wire.
        text: Vec<u8>,
    },

    // Home to home.
    /// A client does not read what this worker produces: stop reading the worker.
    Pause {
        /// The worker.
        producer: ConnId,
    },
    /// Go on reading the worker; one for each `Pause`.
    Unpause {
        /// The worker.
        producer: ConnId,
    },
}

impl Message {
    /// What clients hear of leaves after what homes of workers must know before them.
    #[must_use]
    pub const fn leaves(&self) -> Leaves {
        match self {
            Self::Ready { .. } => Leaves::First,
            Self::Created { .. }
            | Self::Refused { .. }
            | Self::Deliver { .. }
            | Self::StatusAnswer { .. }
            | Self::UniqueAnswer { .. }
            | Self::AdminAnswer { .. } => Leaves::Last,
            _ => Leaves::InOrder,
        }
    }
}
