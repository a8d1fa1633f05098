//! Clients and workers of any Gearman server.
//!
//! - [`Client`] submits jobs, follows them and asks for their status; many
//!   threads and many jobs share a connection.
//! - [`Worker`] serves functions for all servers of a list at once.
//! - [`MapReduce`] splits jobs into parts that run wherever there are workers.
//! - [`Admin`] lists what a server has and gives it orders.
//! - [`conversation`] is the protocol under it, without sockets.
//! - `asynchronous`, with the feature `tokio`, has clients and workers for programs on tokio.
//!
//! Knows packets, not queues: nothing of this crate's server is used here.

mod address;
pub mod admin;
#[cfg(feature = "tokio")]
pub mod asynchronous;
mod batch;
mod choice;
#[allow(clippy::module_inception, reason = "the client among clients and workers")]
mod client;
pub mod conversation;
mod error;
mod gathered;
mod job;
mod link;
mod mailbox;
mod map_reduce;
mod options;
mod pending;
mod read_timeout;
mod servers;
pub(crate) mod socket;
mod status;
mod worker;

pub use address::{InvalidAddress, PORT, SERVERS_VARIABLE, ServerAddress};
pub use admin::Admin;
pub use batch::{Batch, Results};
pub use client::{Client, ClientBuilder};
pub use error::{ClientError, LossReason};
pub use job::{FUNCTION_BYTES_MAX, InvalidJob, Job, JobHandle, Mode, Priority, UNIQUE_BYTES_MAX};
pub use map_reduce::MapReduce;
pub use options::{OnLoss, Spread};
pub use pending::{Pending, Update};
pub use status::JobStatus;
pub use worker::{Function, JobError, JobResult, Notice, Stopper, Worker, WorkerBuilder, WorkerJob};
