//! Map/reduce: a job that is split into parts, which run as jobs of their own
//! wherever there are workers, and whose results become one.
//!
//! What libgearman's partitioners and aggregators do, on the same packets: the
//! client names the function of the parts as the job's reducer.

use super::client::Client;
use super::job::Job;
use super::worker::{Function, JobError, JobResult, WorkerJob};

/// How many parts of one job are in flight.
const IN_FLIGHT: usize = 256;

/// A function that splits its job, has the parts run by the function that the
/// job's client named with [`Job::reducer`], and makes one result of theirs.
///
/// ```no_run
/// use gearshard::client::{Client, Job, MapReduce, Worker};
///
/// let servers = "localhost:4730";
/// // Splits a text into lines, and adds up what is counted in each.
/// let total = MapReduce::new(
///     Client::connect(servers)?,
///     |text| text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect(),
///     |counts| {
///         let mut total = 0;
///         for count in counts {
///             total += std::str::from_utf8(&count)?.parse::<u64>()?;
///         }
///         Ok(total.to_string())
///     },
/// );
/// let splitting = Worker::builder_for(servers)?.serve("total words", None, total).start()?;
/// let counting = Worker::builder_for(servers)?
///     .concurrency(4)
///     .function("count words", |job| Ok(job.workload().split(u8::is_ascii_whitespace).count().to_string()))
///     .start()?;
///
/// let client = Client::connect(servers)?;
/// let words = client.run(Job::new("total words", "to be\nor not to be").reducer("count words"))?;
/// # Ok::<(), gearshard::client::ClientError>(())
/// ```
///
/// The client of the job sees progress: how many of the parts are done. When a
/// part fails, so does the job. The parts need a worker beside the one that
/// splits, which is busy until they are done.
pub struct MapReduce<S, R> {
    client: Client,
    split: S,
    reduce: R,
}

impl<S, R, T> MapReduce<S, R>
where
    S: Fn(&[u8]) -> Vec<Vec<u8>>,
    R: Fn(Vec<Vec<u8>>) -> Result<T, JobError>,
{
    /// `client` submits the parts; `split` makes their workloads of the job's;
    /// `reduce` gets the results of all parts, in the order of the parts.
    #[must_use]
    pub const fn new(client: Client, split: S, reduce: R) -> Self {
        Self { client, split, reduce }
    }
}

impl<S, R, T> Function for MapReduce<S, R>
where
    S: Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync,
    R: Fn(Vec<Vec<u8>>) -> Result<T, JobError> + Send + Sync,
    T: Into<Vec<u8>>,
{
    fn run(&self, job: &mut WorkerJob<'_>) -> JobResult {
        let Some(function) = job.reducer().map(<[u8]>::to_vec) else {
            return Err(JobError::exception(
                "submit this job with a reducer: the function that runs its parts",
            ));
        };
        let parts = (self.split)(job.workload());
        let total = parts.len();
        let count = |parts: usize| u32::try_from(parts).unwrap_or(u32::MAX);
        job.progress(0, count(total))?;
        let mut results = vec![Vec::new(); total];
        let jobs = parts.into_iter().map(|part| Job::new(function.clone(), part));
        for (done, (number, result)) in self.client.run_all(jobs, IN_FLIGHT).enumerate() {
            let result = result.map_err(|error| JobError::exception(format!("part {number}: {error}")))?;
            results[usize::try_from(number).expect("a number below the number of parts")] = result;
            job.progress(count(done + 1), count(total))?;
        }
        (self.reduce)(results).map(Into::into)
    }
}

impl<S, R> std::fmt::Debug for MapReduce<S, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MapReduce").field("client", &self.client).finish_non_exhaustive()
    }
}
