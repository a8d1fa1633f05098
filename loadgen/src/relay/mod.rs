//! The least that a Gearman server can be: submits go to workers and results go
//! back, and nothing else is kept. What it costs is what the system calls cost,
//! so it is the limit that a real server is compared with.
//!
//! Jobs that wait are handed out by priority, in order. There is no joining of
//! uniques, no status and no limit, and it trusts its peers: it is for
//! measurements only.

mod backlog;
mod event_loop;
mod handle;
mod switch;

use std::io::Write;
use std::net::SocketAddr;

use clap::Args;

use self::event_loop::EventLoop;
use self::switch::Switch;
use crate::abort::Abort;
use crate::options::values::address;

/// `relay`
#[derive(Args, Debug)]
pub(crate) struct Relay {
    /// Where to listen; port 0 takes a free one, which is printed
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4730", value_parser = address)]
    listen: SocketAddr,
    /// Send to clients at the end of every turn, not only when nothing else is ready
    #[arg(long)]
    eager: bool,
    /// Answer a GRAB_JOB that finds no job with NO_JOB, as a server must. Without it the worker
    /// is sent the next job, which saves it NO_JOB, PRE_SLEEP and NOOP
    #[arg(long)]
    no_job: bool,
}

/// Relays until the process is ended.
///
/// # Errors
/// When it cannot listen, or the system refuses to poll.
pub(crate) fn run(options: &Relay) -> Result<(), Abort> {
    // A fleet too large for the limit is closed when it connects.
    let _ = rlimit::increase_nofile_limit(rlimit::INFINITY);
    let mut event_loop = EventLoop::listen(options.listen, options.eager, Switch::new(options.no_job))
        .map_err(|error| Abort(format!("cannot listen on {}: {error}", options.listen)))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "Listening on {}", event_loop.address()?)?;
    out.flush()?;
    drop(out);
    event_loop.run()
}
