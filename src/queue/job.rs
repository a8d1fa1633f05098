//! One job.

/// The three lanes of a function; a greater one is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// SUBMIT_JOB_LOW and _BG.
    Low,
    /// SUBMIT_JOB, _BG, _EPOCH and reduce jobs.
    Normal,
    /// SUBMIT_JOB_HIGH and _BG.
    High,
}
