//! The server around the shards: listeners, threads, start and stop.
//!
//! ```
//! use gearshard::server::{Listen, Options, Server};
//!
//! let listen = vec![Listen::Host { host: "127.0.0.1".to_owned(), port: 0 }];
//! let server = Server::bind(Options { listen, ..Options::default() })?;
//! println!("listening on {}", server.local_addresses()[0]);
//! let control = server.control();
//! let running = std::thread::spawn(move || server.run());
//! control.stop();
//! running.join().expect("the server does not panic")?;
//! # Ok::<(), gearshard::server::ServerError>(())
//! ```
//!
//! A [`Server`] is a value: several live in one process, and none of them
//! touches signals, the environment or anything else that is global.

mod acceptor;
mod banner;
mod control;
mod daemon;
mod engines;
mod import;
mod listener;
pub mod log;
mod options;
mod policies;
mod process;
mod progress;
mod signals;
pub mod start;
mod store;
mod syslog;
mod trial;
mod wal_tool;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use mio::{Poll, Waker};

use crate::protocol::encode::RELAYED_BODY_BYTES_MAX;
use crate::reactor::bus::{Address, inbox};
use crate::reactor::event_loop::{self, EventLoop, Parts};
use crate::reactor::gauges::Gauges;
use crate::reactor::{Clock, Delivery, Limits, micros};
use crate::shard::ids::{SHARDS_MAX, ShardId};
use crate::storage::StoreError;
use acceptor::Acceptor;
use control::ControlState;
use listener::Listener;
use log::Level;
use store::OpenStore;

pub use control::Control;
pub use options::{Durability, EngineOptions, Keepalive, Listen, OnFailure, Options, PORT, StoreOptions};
pub use store::Kept;

/// Descriptors left over for everything that is not a connection, and for each shard.
const SPARE_DESCRIPTORS: u64 = 64;
const SHARD_DESCRIPTORS: u64 = 4;
/// How long the shards may take to close their connections before `run` returns without them.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// The same, when all jobs are written only then.
const STORE_PATIENCE: Duration = Duration::from_secs(3600);

/// Where a server listens, after binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// With the port that was chosen when 0 was asked for.
    Tcp(SocketAddr),
    /// The socket's file.
    Unix(PathBuf),
}

impl LocalAddress {
    /// The TCP address, if it is one.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // As gearmand: an IPv6 address stands without brackets.
            Self::Tcp(address) => write!(f, "{}:{}", address.ip(), address.port()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a server cannot start, or cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// A name to listen on has no address.
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Another process listens there.
    AddressInUse {
        /// Where.
        address: SocketAddr,
    },
    /// The address cannot be bound.
    Bind {
        /// Which one.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another process listens on the unix socket.
    SocketInUse {
        /// The socket's file.
        path: PathBuf,
    },
    /// A file that is no socket stands where the unix socket should be.
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The options name nothing to listen on.
    NoListener,
    /// More shards than a server can have.
    TooManyShards {
        /// How many were asked for.
        asked: usize,
    },
    /// Stored jobs cannot be read, or not be kept any more.
    Store(StoreError),
    /// The system refuses a thread, a descriptor or the like.
    System {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, source } => {
                write!(f, "cannot find the address of {host}: {source}; check --listen")
            }
            Self::AddressInUse { address } => {
                write!(f, "{address} is in use; stop the server there or choose another --port")
            }
            Self::Bind { address, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "may not listen on {address}: {source}; ports below 1024 need privileges")
            }
            Self::Bind { address, source } => {
                write!(f, "cannot listen on {address}: {source}; check --listen and --port")
            }
            Self::SocketInUse { path } => {
                write!(f, "a server listens on {} already; stop it or choose another path", path.display())
            }
            Self::NotASocket { path } => {
                write!(f, "{} exists and is not a socket; remove it or choose another path", path.display())
            }
            Self::NoListener => write!(f, "there is nothing to listen on; give at least one --listen"),
            Self::TooManyShards { asked } => {
                write!(f, "{asked} threads are more than {SHARDS_MAX}; lower --threads")
            }
            Self::Store(error) => write!(f, "durable queue: {error}"),
            Self::System { what, source } => write!(f, "cannot get {what}: {source}"),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve { source, .. } | Self::Bind { source, .. } | Self::System { source, .. } => {
                Some(source)
            }
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> ServerError {
    move |source| ServerError::System { what, source }
}

/// A server that listens but does not accept yet.
pub struct Server {
    options: Options,
    acceptor: Acceptor,
    event_loops: Vec<Parts>,
    store: Option<OpenStore>,
}

impl Server {
    /// Binds everything that `options` ask for. Clients can connect from now
    /// on; they are served once the server runs.
    ///
    /// # Errors
    /// When something cannot be bound, or the system refuses something else.
    pub fn bind(mut options: Options) -> Result<Self, ServerError> {
        let shards = shard_count(options.shards)?;
        options.settings.shards = shards;
        let listeners = listener::bind_all(&options)?;
        let gauges: Arc<[Gauges]> = (0..shards).map(|_| Gauges::default()).collect();
        let mut polls = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..shards {
            let poll = Poll::new().map_err(system("an event queue"))?;
            let waker =
                Waker::new(poll.registry(), event_loop::WAKE).map_err(system("an event descriptor"))?;
            let registry = poll.registry().try_clone().map_err(system("a descriptor"))?;
            let (address, inbox) = inbox(waker);
            addresses.push(address);
            polls.push((poll, registry, inbox));
        }
        let poll = Poll::new().map_err(system("an event queue"))?;
        let waker = Waker::new(poll.registry(), acceptor::WAKE).map_err(system("an event descriptor"))?;
        let acceptor = Acceptor {
            poll,
            listeners,
            shards: addresses.clone(),
            gauges: Arc::clone(&gauges),
            control: Arc::new(ControlState::new(waker)),
            connections_max: options.max_connections.unwrap_or_else(|| connections_by_descriptors(shards)),
            log: Arc::clone(&options.log),
        };
        let store =
            options.store.as_ref().map(|store| OpenStore::open(store, shards, &options.log)).transpose()?;
        options.settings.durable = store.is_some();
        if let Some(store) = &store {
            options.settings.moved = Arc::new(store.moved(shards));
            for (function, &policy) in store.policies().into_iter().flatten() {
                // What the command line says wins.
                options.settings.policies.entry(function.clone()).or_insert(Some(policy));
            }
        }
        let settings = Arc::new(options.settings.clone());
        let (clock, limits) = (Clock::start(), limits(&options));
        let event_loops = (0..shards)
            .map(ShardId)
            .zip(polls)
            .map(|(id, (poll, registry, inbox))| Parts {
                id,
                poll,
                registry,
                inbox,
                addresses: addresses.clone(),
                gauges: Arc::clone(&gauges),
                settings: Arc::clone(&settings),
                limits,
                clock,
                log: Arc::clone(&options.log),
                kept: None,
            })
            .collect();
        Ok(Self { options, acceptor, event_loops, store })
    }

    /// Where the server listens.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<LocalAddress> {
        self.acceptor.listeners.iter().map(|listener| listener.address.clone()).collect()
    }

    /// The listening descriptors, in the order of [`local_addresses`](Self::local_addresses).
    #[must_use]
    pub fn descriptors(&self) -> Vec<i32> {
        self.acceptor.listeners.iter().map(Listener::number).collect()
    }

    /// How many shards the server has.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.event_loops.len()
    }

    /// What was found in the store; `None` when jobs are kept in memory only.
    #[must_use]
    pub fn kept(&self) -> Option<Kept> {
        self.store.as_ref().map(OpenStore::kept)
    }

    /// How many connections the server takes.
    #[must_use]
    pub const fn connections_max(&self) -> usize {
        self.acceptor.connections_max
    }

    /// Ends the server from another thread, also before it runs.
    #[must_use]
    pub fn control(&self) -> Control {
        Control { state: Arc::clone(&self.acceptor.control), gauges: Arc::clone(&self.acceptor.gauges) }
    }

    /// Serves until it is told to end. Returns when every connection is closed;
    /// memory of jobs that were left may still be given back in the background.
    ///
    /// A panic in one of its threads aborts the process: half a server is worse
    /// than none.
    ///
    /// # Errors
    /// When the system refuses a thread, or the store fails: then nothing more
    /// is acknowledged, and what was is there again at the next start.
    pub fn run(mut self) -> Result<(), ServerError> {
        let log = Arc::clone(&self.options.log);
        let cores = if self.options.pin { cores_for(self.event_loops.len()) } else { Vec::new() };
        let (closed, all_closed) = mpsc::channel();
        let mut threads = self.event_loops.len();
        let store = self.store.take();
        let (failed, failure) = mpsc::channel();
        let mut lock = None;
        if let Some(store) = store {
            let control = self.control();
            let started = store.start(&mut self.event_loops, &control, &closed, &failed, &log)?;
            threads += started.threads;
            lock = started.lock;
        }
        for (index, parts) in self.event_loops.into_iter().enumerate() {
            let core = (!cores.is_empty()).then(|| cores[index % cores.len()]);
            let closed = closed.clone();
            let body = move || {
                if let Some(core) = core {
                    // Where the cpuset forbids it the thread runs anywhere.
                    core_affinity::set_for_current(core);
                }
                run_shard(parts, &closed);
            };
            let spawned = std::thread::Builder::new().name(format!("shard-{index}")).spawn(body);
            if let Err(source) = spawned {
                stop_all(&self.acceptor.shards);
                return Err(ServerError::System { what: "a thread for each shard", source });
            }
        }
        let acceptor = self.acceptor;
        let inboxes = acceptor.shards.clone();
        let accepted = or_abort(|| acceptor.run());
        if accepted.is_err() {
            stop_all(&inboxes);
        }
        let patience = match self.options.store {
            Some(StoreOptions::Rows(EngineOptions::Sqlite { on_shutdown: true, .. })) => STORE_PATIENCE,
            _ => STOP_PATIENCE,
        };
        for _ in 0..threads {
            if all_closed.recv_timeout(patience).is_err() {
                log(Level::Error, format_args!("A shard or its store does not stop; leaving without it"));
                break;
            }
        }
        drop(lock);
        if let Ok(error) = failure.try_recv() {
            return Err(ServerError::Store(error));
        }
        log(Level::Info, format_args!("Shutdown complete"));
        accepted.map_err(system("events of the listening sockets"))
    }
}

fn stop_all(shards: &[Address<Delivery>]) {
    for shard in shards {
        // A shard that is gone has stopped already.
        shard.send(Delivery::Stop);
    }
}

fn run_shard(parts: Parts, closed: &mpsc::Sender<()>) {
    or_abort(|| {
        let shard = EventLoop::new(parts).run();
        // Nobody listens any more when the server did not wait for us.
        let _left_behind = closed.send(());
        drop(shard);
    });
}

/// A server with a dead thread would leave its jobs and connections hanging
/// for ever, so a panic, which has been reported on stderr, ends the process.
fn or_abort<T>(body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| std::process::abort())
}

/// How many shards there are, when so many were asked for; 0 is one for every core.
fn shard_count(shards: u16) -> Result<u16, ServerError> {
    let asked = match shards {
        0 => std::thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX),
        shards => usize::from(shards),
    };
    if asked > SHARDS_MAX {
        return Err(ServerError::TooManyShards { asked });
    }
    Ok(u16::try_from(asked).expect("the most shards fit into 16 bits"))
}

/// The cores to pin `shards` threads to; none when pinning would not help. A
/// single thread has no partner to be kept apart from, and several such
/// servers on one machine would all sit on its first core.
fn cores_for(shards: usize) -> Vec<core_affinity::CoreId> {
    if shards < 2 {
        return Vec::new();
    }
    core_affinity::get_core_ids().unwrap_or_default()
}

fn connections_by_descriptors(shards: u16) -> usize {
    let spare = SPARE_DESCRIPTORS + SHARD_DESCRIPTORS * u64::from(shards);
    let connections = process::descriptors().saturating_sub(spare).max(16);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

fn limits(options: &Options) -> Limits {
    Limits {
        packet_bytes_max: options.packet_bytes_max.min(RELAYED_BODY_BYTES_MAX),
        write_buffer_max: options.write_buffer_max,
        write_stall_us: micros(options.write_stall),
        packet_timeout_us: (!options.packet_timeout.is_zero()).then(|| micros(options.packet_timeout)),
        memory_max: options.max_memory,
        queue_memory_max: options
            .max_queue_memory
            .filter(|_| matches!(options.store, Some(StoreOptions::Log { .. }))),
    }
}
