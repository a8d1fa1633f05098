//! What a server knows of a job.

/// The state of a job, as a server tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStatus {
    /// The server has the job, waiting or running. A finished job is not known any more.
    pub known: bool,
    /// A worker has it.
    pub running: bool,
    /// How far it has got, of `denominator`; 0 of 0 until the worker says something else.
    pub numerator: u64,
    /// What `numerator` reaches when the job is done.
    pub denominator: u64,
    /// How many clients wait for it; told when the question named the unique.
    pub clients: Option<u64>,
}
