//! The worker: one task and one connection for each server, and a task for each job that runs.

mod builder;
mod serve;
mod session;
mod task;

pub use builder::{AsyncWorker, AsyncWorkerBuilder};
pub use task::AsyncWorkerJob;
