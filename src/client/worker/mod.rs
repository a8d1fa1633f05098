//! The worker: serves functions for every server of a list.
//!
//! Each server has `concurrency` connections with a thread each; all threads
//! together run at most `concurrency` jobs at a time. A thread without a job
//! sleeps until its server wakes it.

mod builder;
mod function;
mod notice;
mod permits;
mod running;
mod serve;
mod session;
mod settings;
mod task;

pub use builder::WorkerBuilder;
pub use function::{Function, JobError, JobResult};
pub use notice::Notice;
pub use running::{Stopper, Worker};
pub use task::WorkerJob;

#[cfg(feature = "tokio")]
pub(super) use session::{GOODBYE, TICK, panic_message};
#[cfg(feature = "tokio")]
pub(super) use settings::{Pauses, Settings, common_methods};
#[cfg(feature = "tokio")]
pub(super) use task::Held;
