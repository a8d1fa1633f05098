//! The invariants by name, and how one that is broken stops a run.

/// What must hold. The comment says where the rule comes from: `P1`..`P7` are
/// the properties that are seen from outside, the rest is job accounting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// P1: a grab gets the best priority among the visible jobs of all its functions.
    HighestPriorityFirst,
    /// P1: first in, first out within one function and priority.
    FifoWithinLane,
    /// P2: no NO_JOB beside a job that was visible before the grab was sent.
    NoFalseNoJob,
    /// P3: at rest no sleeper that was not woken sits beside a runnable job.
    NoLostWakeup,
    /// P4: one NOOP for one PRE_SLEEP, so at most one between two grabs of an orderly worker.
    OneNoopForOneSleep,
    /// P4: NOOP goes only to a worker that sleeps and serves something.
    NoopOnlyToSleepers,
    /// P5: replies come in the order of their requests.
    RepliesInOrder,
    /// P5: nothing comes that was not asked for.
    NoReplyWithoutRequest,
    /// P5: every request that has a reply has got it at rest.
    EveryRequestAnswered,
    /// P5: news of a job comes after its JOB_CREATED and not after its end.
    NewsOnlyWhileAwaited,
    /// Every submit that waits hears of the end exactly once.
    EndHeardByEveryWaiter,
    /// WORK_DATA arrives in the order it was sent, none left out.
    DataInOrder,
    /// P6: only the worker that holds a job is listened to; another gets JOB_NOT_FOUND.
    WorkOnlyFromHolder,
    /// P6: the holder is never told that its job does not exist.
    HolderIsKnown,
    /// P6: a job is at one worker only, unless the first one lost it.
    NotRunTwice,
    /// A job that has ended does not run again.
    NotRunAfterItsEnd,
    /// P6: what a lost worker held waits again.
    RequeuedAfterLoss,
    /// P6: at most as many attempts as `--job-retries` or the policy allows.
    RetriesObeyed,
    /// No attempt before its back-off is over.
    BackoffNotEarly,
    /// A background job that was given up is listed as a dead letter until an operator takes it,
    /// and no other job is.
    DeadLettersKept,
    /// P6: a foreground job without clients is gone at rest and does not run.
    AbandonedIsGone,
    /// A cancelled or dropped job is gone and does not run.
    CancelledIsGone,
    /// P7: one job for one function and unique at any time.
    OneJobForOneUnique,
    /// P7: a submit joins only jobs of its own function and unique.
    JoinsOnlyItsOwnUnique,
    /// A handle names one job for ever.
    HandleNotReused,
    /// The owner of a function can be told from the handle.
    HandleNamesItsOwner,
    /// The worker gets function, unique, reducer and workload as submitted.
    AssignedAsSubmitted,
    /// Only what the worker registered is assigned to it.
    AssignedOnlyWhatIsServed,
    /// A job that nobody submitted does not exist.
    NoJobOutOfNothing,
    /// An acknowledged job that has not ended is there.
    NoJobLost,
    /// A job that has ended is not there.
    NoJobLeftOver,
    /// EPOCH: not before its time.
    EpochNotEarly,
    /// CAN_DO_TIMEOUT takes the job back in time, and not before.
    TimeoutObeyed,
    /// A submit is refused only by a full queue or while draining.
    RefusedOnlyWithReason,
    /// `maxqueue` bounds the function's jobs.
    MaxqueueObeyed,
    /// WORK_EXCEPTION goes to those who asked for exceptions, WORK_FAIL to the others.
    ExceptionsOnlyWhenAsked,
    /// GET_STATUS and GET_STATUS_UNIQUE tell the truth.
    StatusOfJobIsTrue,
    /// The lines of `status` equal the model.
    StatusEqualsModel,
    /// The lines of `prioritystatus` equal the model.
    PriorityStatusEqualsModel,
    /// The stores keep the background jobs with their losses, and nothing else.
    StoreEqualsJobs,
    /// The lines of `show jobs` equal the model, retries included.
    ShowJobsEqualsModel,
    /// The lines of `show unique jobs` equal the model.
    ShowUniqueJobsEqualsModel,
    /// The lines of `workers` equal the model.
    WorkersEqualsModel,
    /// Counters add up: accepted = there + ended.
    CountersAddUp,
    /// Without jobs no memory is counted for jobs.
    MemoryReturned,
    /// Without input, silence comes after a bounded number of steps.
    QuietComes,
    /// After `expire` the next deadline lies ahead.
    DeadlineMovesOn,
    /// At rest no connection is held.
    NoneHeldAtRest,
    /// A connection is closed when it breaks the protocol, and only then.
    OnlyBadInputCloses,
    /// Nothing is written to a connection that is gone, and no message goes to oneself.
    OutboxContract,
}

/// Stops the run with the broken rule's name.
macro_rules! broken {
    ($rule:ident, $($text:tt)*) => {
        panic!("[{:?}] {}", crate::rules::Rule::$rule, format_args!($($text)*))
    };
}

/// Stops the run unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $rule:ident, $($text:tt)*) => {
        if !$condition {
            crate::rules::broken!($rule, $($text)*);
        }
    };
}

pub(crate) use {broken, ensure};
