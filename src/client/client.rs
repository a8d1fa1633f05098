//! The client: submits jobs and asks servers.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::ServerAddress;
use super::batch::{Batch, Results};
use super::conversation::ClientConversation;
use super::error::ClientError;
use super::job::{Job, JobHandle, Mode, UNIQUE_BYTES_MAX, check_name};
use super::options::{OnLoss, Options, Spread};
use super::pending::{Pending, Update};
use super::servers::Servers;
use super::status::{JobStatus, Search};

/// A client of one or several servers.
///
/// It may be shared among threads and cloned cheaply; all of them use the same
/// connection to each server. It has no thread of its own: whoever waits reads
/// for the others.
///
/// ```no_run
/// use gearshard::client::{Client, Job};
///
/// let client = Client::connect("localhost:4730")?;
/// let reversed = client.run(Job::new("reverse", "hello"))?;
/// let handle = client.submit_background(Job::new("mail", "...").low())?;
/// # Ok::<(), gearshard::client::ClientError>(())
/// ```
#[derive(Clone)]
pub struct Client {
    servers: Arc<Servers>,
}

impl Client {
    /// A client of the servers in a list such as `one:4730,two,unix:/run/gearman.sock`.
    /// Connects to the first that answers.
    ///
    /// # Errors
    /// When an address cannot be read, or no server can be reached.
    pub fn connect(servers: &str) -> Result<Self, ClientError> {
        let client = Self::builder(ServerAddress::list(servers)?).build()?;
        client.reach()?;
        Ok(client)
    }

    /// A client of the servers that `GEARMAN_SERVERS` names, or of this
    /// machine's. Connects to the first that answers.
    ///
    /// # Errors
    /// When an address cannot be read, or no server can be reached.
    pub fn from_environment() -> Result<Self, ClientError> {
        let client = Self::builder(ServerAddress::from_environment()?).build()?;
        client.reach()?;
        Ok(client)
    }

    /// A client with other than the usual settings.
    pub fn builder(servers: impl IntoIterator<Item = ServerAddress>) -> ClientBuilder {
        ClientBuilder { options: Options::new(servers.into_iter().collect()) }
    }

    /// Connects to the first server that answers, unless there is a connection.
    ///
    /// # Errors
    /// When there is none.
    pub fn reach(&self) -> Result<(), ClientError> {
        let mut attempts = Vec::new();
        for link in &self.servers.links {
            match link.connect() {
                Ok(()) => return Ok(()),
                Err(error) => attempts.push(((*link.address).clone(), Arc::new(error))),
            }
        }
        Err(ClientError::NoServer { attempts })
    }

    /// The servers that it was given.
    #[must_use]
    pub fn servers(&self) -> &[ServerAddress] {
        &self.servers.options.servers
    }

    /// Submits a foreground job and waits for its result: all parts that the worker sent, in a row.
    ///
    /// # Errors
    /// When the job does not end with a result; see [`ClientError`].
    pub fn run(&self, job: Job) -> Result<Vec<u8>, ClientError> {
        self.submit(job)?.wait()
    }

    /// Submits a foreground job. It is on its way when this returns.
    ///
    /// # Errors
    /// When the job is invalid or no server can be reached.
    pub fn submit(&self, job: Job) -> Result<Pending, ClientError> {
        Pending::submit(&self.servers, job, Mode::Foreground, None, false)
    }

    /// Submits a background job, and returns once the server has taken it.
    ///
    /// A job without a unique gets a random one. When the connection goes
    /// before the server has answered, the job is submitted again (see
    /// [`OnLoss`]) and may then run twice.
    ///
    /// # Errors
    /// When the job is invalid, no server can be reached, or the server refuses it.
    pub fn submit_background(&self, job: Job) -> Result<JobHandle, ClientError> {
        let job = job.with_own_unique();
        let mut pending = Pending::submit(&self.servers, job, Mode::Background, None, false)?;
        loop {
            match pending.next_update() {
                Some(Ok(Update::Created(handle))) => return Ok(handle),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(ClientError::Failed),
            }
        }
    }

    /// Many jobs at once, followed one by one.
    pub fn batch(&self) -> Batch {
        Batch::new(&self.servers)
    }

    /// Runs all `jobs`, at most `in_flight` at a time, and gives their numbers
    /// (0, 1, 2...) and results in the order in which they end.
    ///
    /// ```no_run
    /// # use gearshard::client::{Client, Job};
    /// # let client = Client::connect("localhost")?;
    /// let jobs = (0..1000).map(|number| Job::new("square", number.to_string()));
    /// for (number, result) in client.run_all(jobs, 100) {
    ///     println!("{number}: {}", String::from_utf8_lossy(&result?));
    /// }
    /// # Ok::<(), gearshard::client::ClientError>(())
    /// ```
    pub fn run_all<I>(&self, jobs: I, in_flight: usize) -> Results<I::IntoIter>
    where
        I: IntoIterator<Item = Job>,
    {
        Results::new(jobs.into_iter(), self.batch(), in_flight)
    }

    /// What a server knows of a job. A handle that does not remember its
    /// server is looked for on all that can be reached.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn status(&self, handle: &JobHandle) -> Result<JobStatus, ClientError> {
        self.first_that_knows(self.servers.options.servers_of(handle), |talk, key| {
            talk.status(key, handle.as_bytes())
        })
    }

    /// What the servers know of the job with this unique.
    ///
    /// # Errors
    /// When the unique is invalid, or no server can be reached.
    pub fn status_by_unique(&self, unique: impl AsRef<[u8]>) -> Result<JobStatus, ClientError> {
        let unique = unique.as_ref();
        check_name("unique", unique, UNIQUE_BYTES_MAX)?;
        self.first_that_knows(0..self.servers.links.len(), |talk, key| talk.status_unique(key, unique))
    }

    fn first_that_knows(
        &self,
        mut servers: Range<usize>,
        ask: impl Fn(&mut ClientConversation, u64),
    ) -> Result<JobStatus, ClientError> {
        let mut search = Search::new();
        // Ends early once a server has the job.
        servers.any(|server| search.add(self.servers.ask(Some(server), &ask)));
        search.found()
    }

    /// Sends `data` to a server and back; how long that took.
    ///
    /// # Errors
    /// When no server can be reached, or what comes back is something else.
    pub fn echo(&self, data: impl AsRef<[u8]>) -> Result<Duration, ClientError> {
        let data = data.as_ref();
        let start = Instant::now();
        self.servers.ask(None, |talk, key| talk.echo(key, data))?.check_echo(data)?;
        Ok(start.elapsed())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("servers", &self.servers()).finish_non_exhaustive()
    }
}

/// Settings of a [`Client`].
///
/// ```no_run
/// use std::time::Duration;
/// use gearshard::client::{Client, OnLoss, ServerAddress, Spread};
///
/// let client = Client::builder(ServerAddress::list("one:4730,two:4730")?)
///     .spread(Spread::ByUnique)
///     .on_loss(OnLoss::Report)
///     .job_timeout(Some(Duration::from_secs(10)))
///     .build()?;
/// # Ok::<(), gearshard::client::ClientError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder {
    options: Options,
}

impl ClientBuilder {
    /// Which of several servers gets a job. Default: [`Spread::FirstThatAnswers`].
    pub const fn spread(mut self, spread: Spread) -> Self {
        self.options.spread = spread;
        self
    }

    /// What is done with jobs whose connection goes. Default: `OnLoss::Resubmit(5)`.
    pub const fn on_loss(mut self, on_loss: OnLoss) -> Self {
        self.options.on_loss = on_loss;
        self
    }

    /// How long connecting to one server may take. Default: 5 seconds.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long a server may take to answer a request, or not to read; a submitted
    /// job is answered when the server has taken it. After that the connection is
    /// given up. Default: 30 seconds.
    pub const fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.options.answer_timeout = timeout;
        self
    }

    /// How long a foreground job may take from submitting to its end, waiting for
    /// a worker included. Default: no limit.
    pub const fn job_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.options.job_timeout = timeout;
        self
    }

    /// How long to go on trying when no server can be reached. Default: zero, each is tried once.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.options.patience = patience;
        self
    }

    /// Whether to be told of exceptions; without, a job with an exception fails. Default: yes.
    pub const fn exceptions(mut self, wanted: bool) -> Self {
        self.options.exceptions = wanted;
        self
    }

    /// The longest packet to accept from a server, in bytes. Default: 1 GiB.
    pub const fn packet_bytes_max(mut self, bytes: u32) -> Self {
        self.options.packet_bytes_max = bytes;
        self
    }

    /// How much of a job's updates is kept for whoever waits for its end or does not read them,
    /// in bytes; the job ends with [`ClientError::Unread`] then. Default: 1 GiB.
    pub const fn unread_bytes_max(mut self, bytes: usize) -> Self {
        self.options.unread_bytes_max = bytes;
        self
    }

    /// The client for programs on tokio. It connects when it is first used.
    ///
    /// # Errors
    /// When there is no server in the list.
    #[cfg(feature = "tokio")]
    pub fn build_async(self) -> Result<super::asynchronous::AsyncClient, ClientError> {
        if self.options.servers.is_empty() {
            return Err(ClientError::NoServer { attempts: Vec::new() });
        }
        Ok(super::asynchronous::AsyncClient::new(self.options))
    }

    /// The client. It connects when it is first used.
    ///
    /// # Errors
    /// When there is no server in the list.
    pub fn build(self) -> Result<Client, ClientError> {
        if self.options.servers.is_empty() {
            return Err(ClientError::NoServer { attempts: Vec::new() });
        }
        Ok(Client { servers: Arc::new(Servers::new(self.options)) })
    }
}
