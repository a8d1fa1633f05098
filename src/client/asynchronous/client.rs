//! The client.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pending::AsyncPending;
use super::servers::Servers;
use crate::client::address::ServerAddress;
use crate::client::client::{Client, ClientBuilder};
use crate::client::conversation::ClientConversation;
use crate::client::error::ClientError;
use crate::client::job::{Job, JobHandle, Mode, UNIQUE_BYTES_MAX, check_name};
use crate::client::options::Options;
use crate::client::pending::Update;
use crate::client::status::{JobStatus, Search};

/// A client of one or several servers, to be used inside of a tokio runtime.
///
/// It may be shared among tasks and cloned cheaply; all of them use the same
/// connection to each server. Submitting and awaiting many jobs at once, with
/// a `JoinSet` for example, needs nothing else.
#[derive(Clone)]
pub struct AsyncClient {
    servers: Arc<Servers>,
}

impl AsyncClient {
    pub(in crate::client) fn new(options: Options) -> Self {
        Self { servers: Arc::new(Servers::new(options)) }
    }

    /// A client of the servers in a list such as `one:4730,two,unix:/run/gearman.sock`.
    /// Connects to the first that answers.
    ///
    /// # Errors
    /// When an address cannot be read, or no server can be reached.
    pub async fn connect(servers: &str) -> Result<Self, ClientError> {
        let client = Self::builder(ServerAddress::list(servers)?).build_async()?;
        let mut attempts = Vec::new();
        for link in &client.servers.links {
            match link.connect().await {
                Ok(()) => return Ok(client),
                Err(error) => attempts.push(((*link.address).clone(), Arc::new(error))),
            }
        }
        Err(ClientError::NoServer { attempts })
    }

    /// A client with other than the usual settings; end with
    /// [`build_async`](ClientBuilder::build_async).
    pub fn builder(servers: impl IntoIterator<Item = ServerAddress>) -> ClientBuilder {
        Client::builder(servers)
    }

    /// Submits a foreground job and waits for its result: all parts that the worker sent, in a row.
    ///
    /// # Errors
    /// When the job does not end with a result; see [`ClientError`].
    pub async fn run(&self, job: Job) -> Result<Vec<u8>, ClientError> {
        self.submit(job).await?.wait().await
    }

    /// Submits a foreground job.
    ///
    /// # Errors
    /// When the job is invalid or no server can be reached.
    pub async fn submit(&self, job: Job) -> Result<AsyncPending, ClientError> {
        AsyncPending::submit(&self.servers, job, Mode::Foreground).await
    }

    /// Submits a background job, and returns once the server has taken it. As
    /// [`Client::submit_background`](crate::client::Client::submit_background).
    ///
    /// # Errors
    /// When the job is invalid, no server can be reached, or the server refuses it.
    pub async fn submit_background(&self, job: Job) -> Result<JobHandle, ClientError> {
        let mut pending =
            AsyncPending::submit(&self.servers, job.with_own_unique(), Mode::Background).await?;
        loop {
            match pending.next_update().await {
                Some(Ok(Update::Created(handle))) => return Ok(handle),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(ClientError::Failed),
            }
        }
    }

    /// What a server knows of a job. A handle that does not remember its
    /// server is looked for on all that can be reached.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn status(&self, handle: &JobHandle) -> Result<JobStatus, ClientError> {
        let servers = self.servers.options.servers_of(handle);
        self.first_that_knows(servers, |talk, key| talk.status(key, handle.as_bytes())).await
    }

    /// What the servers know of the job with this unique.
    ///
    /// # Errors
    /// When the unique is invalid, or no server can be reached.
    pub async fn status_by_unique(&self, unique: impl AsRef<[u8]>) -> Result<JobStatus, ClientError> {
        let unique = unique.as_ref();
        check_name("unique", unique, UNIQUE_BYTES_MAX)?;
        self.first_that_knows(0..self.servers.links.len(), |talk, key| talk.status_unique(key, unique)).await
    }

    async fn first_that_knows(
        &self,
        servers: Range<usize>,
        ask: impl Fn(&mut ClientConversation, u64),
    ) -> Result<JobStatus, ClientError> {
        let mut search = Search::new();
        for server in servers {
            if search.add(self.servers.ask(Some(server), &ask).await) {
                break;
            }
        }
        search.found()
    }

    /// Sends `data` to a server and back; how long that took.
    ///
    /// # Errors
    /// When no server can be reached, or what comes back is something else.
    pub async fn echo(&self, data: impl AsRef<[u8]>) -> Result<Duration, ClientError> {
        let data = data.as_ref();
        let start = Instant::now();
        self.servers.ask(None, |talk, key| talk.echo(key, data)).await?.check_echo(data)?;
        Ok(start.elapsed())
    }
}

impl std::fmt::Debug for AsyncClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncClient").field("servers", &self.servers.options.servers).finish_non_exhaustive()
    }
}
