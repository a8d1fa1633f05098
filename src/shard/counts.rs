//! Plain counters of one shard, read by the rim.

/// What a shard has and has done. Gauges first, then totals since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open connections.
    pub connections: u64,
    /// Jobs owned here: queued, scheduled or running.
    pub jobs: u64,
    /// Dead letters kept here.
    pub dead: u64,
    /// Bytes that jobs and dead letters take, workloads and bookkeeping.
    pub job_bytes: u64,
    /// Replies that connections of this home are owed.
    pub open_replies: u64,
    /// Jobs accepted.
    pub submitted: u64,
    /// Submits that joined a job already there.
    pub coalesced: u64,
    /// Submits refused (full queue, memory, draining, too many functions).
    pub refused: u64,
    /// Jobs handed to workers.
    pub assigned: u64,
    /// Jobs that ended with WORK_COMPLETE.
    pub completed: u64,
    /// Jobs that ended with WORK_FAIL or WORK_EXCEPTION.
    pub failed: u64,
    /// Jobs put back after a run that came to nothing.
    pub requeued: u64,
    /// Jobs given up after their last attempt.
    pub dropped: u64,
    /// Jobs that became dead letters.
    pub died: u64,
    /// Dead letters that were made jobs again.
    pub revived: u64,
    /// Dead letters that were forgotten.
    pub purged: u64,
    /// Jobs nobody waited for any more.
    pub abandoned: u64,
    /// Jobs cancelled by an operator.
    pub cancelled: u64,
    /// NOOPs sent.
    pub noops: u64,
    /// Claims that found nothing.
    pub missed: u64,
    /// Connections closed for breaking the protocol.
    pub bad_input: u64,
}
