//! Clients and workers for programs on tokio.
//!
//! The same jobs, updates, errors and settings as outside of this module, with
//! `async` where that waits. Every connection has a task of its own on the
//! runtime that it was first used on; what happens to a job wakes the task that
//! awaits it. Nothing here blocks a thread.
//!
//! ```no_run
//! # async fn example() -> Result<(), gearshard::client::ClientError> {
//! use gearshard::client::asynchronous::{AsyncClient, AsyncWorker};
//! use gearshard::client::Job;
//!
//! let worker = AsyncWorker::builder_for("localhost:4730")?
//!     .concurrency(100)
//!     .function("reverse", |job| async move {
//!         Ok(job.workload().iter().rev().copied().collect::<Vec<u8>>())
//!     })
//!     .start()?;
//! let client = AsyncClient::connect("localhost:4730").await?;
//! let reversed = client.run(Job::new("reverse", "hello")).await?;
//! worker.stop();
//! worker.join().await;
//! # Ok(())
//! # }
//! ```

mod client;
mod link;
mod pending;
mod servers;
mod stream;
mod worker;

pub use client::AsyncClient;
pub use pending::AsyncPending;
pub use worker::{AsyncWorker, AsyncWorkerBuilder, AsyncWorkerJob};
