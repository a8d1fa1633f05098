//! Where the two servers differ on purpose, and what the scripts do about it.
//!
//! The generator asks [`Exception::avoid`] before it leaves something out, so
//! the report says how often each exception applied; one that never applies
//! has no business here.

use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is done about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Scripts leave it out.
    NotSent,
    /// Scripts send it as a connection's last words: we must close the
    /// connection, for the reference the script does it; all else is compared.
    OnlyWeClose,
    /// The answers are levelled before they are compared.
    Levelled,
}

macro_rules! exceptions {
    ($($name:ident: $treatment:ident, $what:literal, $why:literal;)*) => {
        /// A difference that is meant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Exception {
            $(#[doc = $what] $name,)*
        }

        impl Exception {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What scripts do about it.
            pub fn treatment(self) -> Treatment {
                match self { $(Self::$name => Treatment::$treatment,)* }
            }

            /// What it is about.
            pub fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// Why the servers differ.
            pub fn why(self) -> &'static str {
                match self { $(Self::$name => $why,)* }
            }
        }
    };
}

exceptions! {
    HugeType: NotSent,
        "a packet type of 0x80000000 or more",
        "gearmand dies of it; we close the connection (tests of bad input)";
    ShortPacket: OnlyWeClose,
        "a packet that ends before its arguments do",
        "gearmand waits and takes the missing bytes from the next packet; we close at once";
    InternalError: OnlyWeClose,
        "a handle, unique or number too long for gearmand's buffers",
        "gearmand closes the connection when it next has something to send; we close at once";
    UniqueOf64: NotSent,
        "a unique of exactly 64 bytes",
        "gearmand keeps 63 of them and never finds the job again; we keep all";
    SharedUnique: NotSent,
        "GET_STATUS_UNIQUE of a unique that jobs of several functions have",
        "the newest answers; jobs that come to two shards in one breath have no order";
    PriorityAcrossFunctions: NotSent,
        "different priorities in the functions of one worker",
        "gearmand 1.1.20 looks at priority inside one function only; we do as 2.0, over all";
    EpochTimer: NotSent,
        "a sleeping worker beside a job for the future",
        "gearmand wakes the worker at once and in vain, and 1.1.20 not when the job is due; we wake it when it is due";
    FutureJobHides: NotSent,
        "jobs of low priority beside a job for the future",
        "gearmand 1.1.20 stops looking at the first lane that has jobs, even when none is due; we look on";
    DeadJobListed: NotSent,
        "looking at, or joining, a queued job that was cancelled or that nobody waits for",
        "gearmand keeps it until a worker comes across it; with us it is gone at once";
    BackgroundJobJoined: NotSent,
        "a client that hangs up while it waits for a job that is also a background job",
        "gearmand then loses the job; with us a background job lives on";
    JoinedJobListed: NotSent,
        "`show jobs` with a foreground job that a background submit joined",
        "gearmand shows a foreground job; with us it is a background job from then on";
    DeadJobOfLostWorker: NotSent,
        "the loss of a worker whose job nobody waits for",
        "gearmand wakes workers for the job and then throws it away; we throw it away";
    CancelRunning: NotSent,
        "cancelling a running job",
        "gearmand sends its clients WORK_FAIL and later WORK_COMPLETE too; we send one end of a job";
    SleepAfterNoop: NotSent,
        "PRE_SLEEP after a NOOP without a grab between",
        "gearmand never wakes that worker again; we do";
    RegisterAsleep: NotSent,
        "CAN_DO from a sleeping worker",
        "gearmand does not look for jobs that wait already; we do";
    UnregisterAsleep: NotSent,
        "CANT_DO or RESET_ABILITIES from a sleeping worker that holds a job",
        "gearmand wakes that worker for the job that it gives back; we wake only who serves the function";
    RegisteredTwice: NotSent,
        "CAN_DO of a function that the worker has",
        "gearmand counts the worker twice; with us it is the same registration";
    WorkerTimeout: NotSent,
        "a CAN_DO_TIMEOUT that could run out during a script",
        "gearmand has one timer for a connection and leaves it running behind a finished job";
    CreateWithBareLf: NotSent,
        "`create function` with a bare line feed",
        "gearmand cuts off the last letter of the name; we do not";
    DropWithJobs: NotSent,
        "`drop function` of one with queued jobs",
        "gearmand leaves the jobs unreachable for ever; we fail them";
    ResultWithoutNul: NotSent,
        "WORK_COMPLETE, WORK_DATA, WORK_WARNING and WORK_EXCEPTION of a bare handle",
        "gearmand waits for a NUL; we take it as a handle with an empty result, as Perl means it";
    NoopInVain: Levelled,
        "NOOP in answer to PRE_SLEEP when the job for it has gone elsewhere",
        "a shard hears of new jobs at once, of taken ones when it asks; the next grab must set it right, and is checked";
    FailWithNul: Levelled,
        "WORK_FAIL with NUL bytes behind the handle",
        "gearmand adds one after an exception and relays a worker's; we send the handle alone";
    OwnNumbers: Levelled,
        "handles, version, process id, descriptors in `workers`",
        "they name a server or a moment; handles are compared by order of appearance";
}

static APPLIED: [AtomicU64; Exception::ALL.len()] = [const { AtomicU64::new(0) }; Exception::ALL.len()];

impl Exception {
    /// Whether the case at hand is this exception; counted when it is.
    pub fn avoid(self, at_hand: bool) -> bool {
        if at_hand {
            self.applied();
        }
        at_hand
    }

    /// Counts a case.
    pub fn applied(self) {
        APPLIED[self as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many cases there were.
    pub fn times(self) -> u64 {
        APPLIED[self as usize].load(Ordering::Relaxed)
    }
}

impl Display for Exception {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let done = match self.treatment() {
            Treatment::NotSent => "not sent",
            Treatment::OnlyWeClose => "only we close",
            Treatment::Levelled => "levelled",
        };
        write!(f, "{} [{done}]: {}", self.what(), self.why())
    }
}
