//! gearshard: a Gearman job server for machines with many cores.
//!
//! # The map
//!
//! Bytes become packets in [`protocol`]; packets become decisions in `shard`,
//! which is pure; decisions become bytes again in `reactor`. Whatever touches a
//! socket, a clock or a file stands at the rim. From the ground floor up; code
//! uses what stands above its own row, never what stands below it:
//!
//! | floor | owns | must not know |
//! |---|---|---|
//! | [`protocol`] | packet table, framing, admin lines, handles | sockets, queues, clocks |
//! | `queue` | jobs, functions, priorities, the unique index | packets, connections' roles, shards |
//! | `shard` | homes (connections' roles), owners (functions), messages between them | mio, threads, clocks, I/O errors |
//! | `storage` | the log of durable jobs, and its thread | workers, packets, shards |
//! | `reactor` | the mio loop, sockets, buffers, inboxes, pinning | what a job means |
//! | `config` | command line, config file, environment | sockets, jobs |
//! | `server` | listening, accepting, log, signals, wiring | any rule of Gearman |
//! | [`client`] | clients and workers of any Gearman server | everything above but [`protocol`] |
//! | [`tools`] | command lines, tables, screens | everything but [`client`] |
//!
//! # The life of a job
//!
//! 1. A client's shard (its *home*) decodes SUBMIT_JOB, reserves the place of
//!    the reply, and sends `Submit` to the shard that the function's name
//!    hashes to (its *owner*).
//! 2. The owner coalesces it with the same job, or files it in the lane of its
//!    priority; tells the homes that believe less waits there; asks one of them
//!    to wake a sleeping worker; and answers `Created`.
//! 3. The worker's home sends NOOP. The worker's GRAB_JOB makes the home choose
//!    among the worker's functions by what it believes of each, and `Claim`
//!    from that function's owner, who answers `Assigned` or `Missed`.
//! 4. What the worker says (WORK_*) goes to the owner, which the number in the
//!    handle names, and from there to every home with a client that waits.
//! 5. The job ends with WORK_COMPLETE, WORK_FAIL or WORK_EXCEPTION; a worker
//!    that is lost or too slow sends it back to step 2.
//!
//! With a store, the owner hands every change of a background job to a thread
//! that writes it to the shard's log (`storage`), and `Created` leaves when the
//! job is on disk. A start takes in what the log has kept before it accepts.
//!
//! No shard ever waits for another, and nothing is locked on the way.

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod config;
#[cfg(any(feature = "server", feature = "tools"))]
mod pid_file;
pub mod protocol;
#[cfg(feature = "server")]
pub mod queue;
#[cfg(feature = "server")]
pub mod reactor;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod shard;
#[cfg(feature = "server")]
pub mod storage;
#[cfg(feature = "tools")]
pub mod tools;

#[cfg(feature = "server")]
#[doc(inline)]
pub use server::Server;
