//! What every worker can be told, whether it blocks or not.

use std::time::{Duration, Instant};

use super::notice::{Notice, OnNotice};
use crate::client::address::ServerAddress;
use crate::client::conversation::{PACKET_BYTES_MAX, WorkerConversation};
use crate::client::error::ClientError;
use crate::client::job::{FUNCTION_BYTES_MAX, check_name};

/// A connection that lasted this long was a good one: the next attempt comes soon.
const GOOD: Duration = Duration::from_secs(5);

/// Settings of a worker; the builders' methods say what each means.
pub(in crate::client) struct Settings {
    pub(in crate::client) servers: Vec<ServerAddress>,
    pub(in crate::client) id: Option<Vec<u8>>,
    pub(in crate::client) concurrency: usize,
    pub(in crate::client) packet_bytes_max: u32,
    pub(in crate::client) connect_timeout: Duration,
    pub(in crate::client) answer_timeout: Duration,
    pub(in crate::client) recheck: Duration,
    pub(in crate::client) reconnect: (Duration, Duration),
    pub(in crate::client) on_notice: Option<OnNotice>,
}

impl Settings {
    pub(in crate::client) fn new(servers: Vec<ServerAddress>) -> Self {
        Self {
            servers,
            id: None,
            concurrency: 1,
            packet_bytes_max: PACKET_BYTES_MAX,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(60),
            recheck: Duration::from_secs(30),
            reconnect: (Duration::from_millis(100), Duration::from_secs(10)),
            on_notice: None,
        }
    }

    /// Whether a worker of these functions can start.
    pub(in crate::client) fn check<'a>(
        &self,
        mut functions: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), ClientError> {
        functions.try_for_each(|name| check_name("function", name, FUNCTION_BYTES_MAX))?;
        if self.servers.is_empty() {
            return Err(ClientError::NoServer { attempts: Vec::new() });
        }
        Ok(())
    }

    /// What is said first on a new connection: who the worker is, and its functions.
    pub(in crate::client) fn introduction<'a>(
        &self,
        ahead: usize,
        functions: impl Iterator<Item = (&'a [u8], Option<Duration>)>,
    ) -> WorkerConversation {
        let mut talk = WorkerConversation::new(ahead, self.packet_bytes_max);
        if let Some(id) = &self.id {
            talk.set_id(id);
        }
        functions.for_each(|(name, timeout)| talk.can_do(name, timeout));
        talk
    }

    pub(in crate::client) fn notify(&self, notice: impl FnOnce() -> Notice) {
        if let Some(on_notice) = &self.on_notice {
            on_notice(&notice());
        }
    }
}

/// How long a server is left alone between two connections: longer with every
/// failure, and with a random part left off so that not all workers come at once.
pub(in crate::client) struct Pauses {
    first: Duration,
    most: Duration,
    next: Duration,
    began: Instant,
}

impl Pauses {
    pub(in crate::client) fn new(settings: &Settings) -> Self {
        let (first, most) = settings.reconnect;
        Self { first, most, next: first, began: Instant::now() }
    }

    /// A connection is about to be made; the pause to make after it.
    pub(in crate::client) fn begin(&mut self) -> Duration {
        self.began = Instant::now();
        self.next.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// It is over, or was not to be had. `wanted`: its end is no failure.
    pub(in crate::client) fn end(&mut self, wanted: bool) {
        let good = wanted || self.began.elapsed() > GOOD;
        self.next = if good { self.first } else { (self.next * 2).min(self.most) };
    }
}

/// The methods that the builders of both kinds of workers have in common. Each
/// has its [`Settings`] in a field of that name.
macro_rules! common_methods {
    () => {
        /// What the worker is called in a server's list of workers. Default: nothing.
        pub fn id(mut self, id: impl Into<Vec<u8>>) -> Self {
            self.settings.id = Some(id.into());
            self
        }

        /// The longest packet to accept from a server, in bytes. Default: 1 GiB.
        pub const fn packet_bytes_max(mut self, bytes: u32) -> Self {
            self.settings.packet_bytes_max = bytes;
            self
        }

        /// How long connecting to a server may take. Default: 5 seconds.
        pub const fn connect_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.connect_timeout = timeout;
            self
        }

        /// How long a connection sleeps before it asks for a job all the same: so a
        /// server that falls silent, or forgets to wake its workers, is noticed. Default: 30 seconds.
        pub const fn recheck(mut self, interval: std::time::Duration) -> Self {
            self.settings.recheck = interval;
            self
        }

        /// How long to wait before connecting again, at first and at most; it
        /// doubles with every failure, and a random part is left off so that not
        /// all workers come at once. Default: 100 milliseconds and 10 seconds.
        pub const fn reconnect(mut self, first: std::time::Duration, most: std::time::Duration) -> Self {
            self.settings.reconnect = (first, most);
            self
        }

        /// Is told what happens to the worker, for a log. Called from the threads
        /// that the worker runs on.
        pub fn on_notice(
            mut self,
            tell: impl Fn(&$crate::client::worker::Notice) + Send + Sync + 'static,
        ) -> Self {
            self.settings.on_notice = Some(Box::new(tell));
            self
        }
    };
}

pub(in crate::client) use common_methods;
