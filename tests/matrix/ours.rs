//! Our own clients, as a program like those of the other libraries.

use gearshard::client::asynchronous::AsyncClient;
use gearshard::client::conversation::{ClientConversation, ClientEvent};
use gearshard::client::{Admin, Client, ClientError, Job, JobHandle, JobStatus, Pending, Update};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;

use crate::programs::Program;
use crate::support::{DEADLINE, wait_until};

/// A client that blocks, or one for tokio.
pub(crate) enum Ours {
    Blocking(Client),
    Tokio(Runtime, AsyncClient),
}

impl Ours {
    pub(crate) fn connect(program: Program, servers: &str) -> Self {
        if program == Program::Blocking {
            return Self::Blocking(Client::connect(servers).unwrap());
        }
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(AsyncClient::connect(servers)).unwrap();
        Self::Tokio(runtime, client)
    }

    /// One that has not asked for exceptions.
    fn without_exceptions(program: Program, servers: &str) -> Self {
        let builder =
            Client::builder(gearshard::client::ServerAddress::list(servers).unwrap()).exceptions(false);
        if program == Program::Blocking {
            return Self::Blocking(builder.build().unwrap());
        }
        Self::Tokio(Runtime::new().unwrap(), builder.build_async().unwrap())
    }

    pub(crate) fn run(&self, job: Job) -> Result<Vec<u8>, ClientError> {
        match self {
            Self::Blocking(client) => client.run(job),
            Self::Tokio(runtime, client) => runtime.block_on(client.run(job)),
        }
    }

    fn run_within(&self, job: Job, limit: Duration) -> Result<Vec<u8>, ClientError> {
        match self {
            Self::Blocking(client) => client.submit(job).and_then(|job| job.timeout(Some(limit)).wait()),
            Self::Tokio(runtime, client) => {
                runtime.block_on(async { client.submit(job).await?.timeout(Some(limit)).wait().await })
            }
        }
    }

    fn updates(&self, job: Job) -> Vec<Update> {
        match self {
            Self::Blocking(client) => client.submit(job).unwrap().map(Result::unwrap).collect(),
            Self::Tokio(runtime, client) => runtime.block_on(async {
                let mut pending = client.submit(job).await.unwrap();
                let mut updates = Vec::new();
                while let Some(update) = pending.next_update().await {
                    updates.push(update.unwrap());
                }
                updates
            }),
        }
    }

    /// Results of jobs that are all submitted before the first is waited for, each with its handle.
    fn together(&self, jobs: Vec<Job>, meanwhile: impl FnOnce()) -> Vec<(JobHandle, Vec<u8>)> {
        match self {
            Self::Blocking(client) => {
                let pending: Vec<Pending> = jobs.into_iter().map(|job| client.submit(job).unwrap()).collect();
                let followed = pending.into_iter().map(|mut job| (job.handle().unwrap(), job));
                let followed: Vec<_> = followed.collect();
                meanwhile();
                followed.into_iter().map(|(handle, job)| (handle, job.wait().unwrap())).collect()
            }
            Self::Tokio(runtime, client) => runtime.block_on(async {
                let mut followed = Vec::new();
                for job in jobs {
                    followed.push(client.submit(job).await.unwrap());
                }
                let mut handles = Vec::new();
                for job in &mut followed {
                    handles.push(job.handle().await.unwrap());
                }
                meanwhile();
                let mut results = Vec::new();
                for (handle, job) in handles.into_iter().zip(followed) {
                    results.push((handle, job.wait().await.unwrap()));
                }
                results
            }),
        }
    }

    fn background(&self, job: Job) -> JobHandle {
        match self {
            Self::Blocking(client) => client.submit_background(job),
            Self::Tokio(runtime, client) => runtime.block_on(client.submit_background(job)),
        }
        .unwrap()
    }

    fn status(&self, handle: &JobHandle) -> JobStatus {
        match self {
            Self::Blocking(client) => client.status(handle),
            Self::Tokio(runtime, client) => runtime.block_on(client.status(handle)),
        }
        .unwrap()
    }

    fn status_by_unique(&self, unique: &str) -> JobStatus {
        match self {
            Self::Blocking(client) => client.status_by_unique(unique),
            Self::Tokio(runtime, client) => runtime.block_on(client.status_by_unique(unique)),
        }
        .unwrap()
    }

    fn echo(&self, data: &[u8]) -> Duration {
        match self {
            Self::Blocking(client) => client.echo(data),
            Self::Tokio(runtime, client) => runtime.block_on(client.echo(data)),
        }
        .unwrap()
    }
}

fn reversed(client: &Ours, job: impl FnOnce(Vec<u8>) -> Job, workload: &[u8]) {
    let expected: Vec<u8> = workload.iter().rev().copied().collect();
    assert!(client.run(job(workload.to_vec())).unwrap() == expected, "{} bytes reversed", workload.len());
}

fn reverse(workload: Vec<u8>) -> Job {
    Job::new("reverse", workload)
}

/// Tries one feature, and panics when it does not work.
pub(crate) fn feature(name: &str, program: Program, servers: &str) {
    let client = &Ours::connect(program, servers);
    let file = std::env::current_dir().unwrap().join(name);
    let path = file.to_str().unwrap();
    match name {
        "queue" => queue(client),
        "echo" => {
            for data in [&b"there and back"[..], b"", b"\0\0"] {
                assert!(client.echo(data) > Duration::ZERO);
            }
        }
        "foreground" => reversed(client, reverse, b"Hello World!"),
        "urgency" => {
            reversed(client, |workload| reverse(workload).high(), b"high");
            reversed(client, |workload| reverse(workload).low(), b"low");
        }
        "binary" => reversed(client, reverse, &(0..=u8::MAX).collect::<Vec<u8>>()),
        "empty" => reversed(client, reverse, b""),
        "large" => {
            let large: Vec<u8> =
                (0..1u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            reversed(client, reverse, &large);
        }
        "stream" => stream(client),
        "failure" => assert!(matches!(client.run(Job::new("fails", "x")), Err(ClientError::Failed))),
        "exception" => {
            let end = client.run(Job::new("throws", "x"));
            assert!(matches!(&end, Err(ClientError::Exception(text)) if text == b"broken\0pipe"), "{end:?}");
        }
        "unasked_exception" => {
            let end = Ours::without_exceptions(program, servers).run(Job::new("throws", "x"));
            assert!(matches!(end, Err(ClientError::Failed)), "{end:?}");
        }
        "unknown_option" => assert_eq!(option(servers, b"nonsense"), "UNKNOWN_OPTION"),
        "unique" => assert_eq!(client.run(Job::new("unique_of", "x").unique("mine")).unwrap(), b"mine"),
        "background" => {
            client.background(Job::new("touch", path));
            wait_until("the job runs", || file.exists());
        }
        "many" => many(client),
        "coalescing" => {
            let same = |_| Job::new("until_file", path).unique("same");
            coalesced(client, [0, 1].map(same), Job::new("reverse", "x").unique("same"), &file);
        }
        "workload_coalescing" => {
            let same = |_| Job::new("until_file", path).unique_by_workload();
            coalesced(client, [0, 1].map(same), Job::new("reverse", "x").unique_by_workload(), &file);
        }
        "status" => {
            let handle = client.background(Job::new("until_file", path));
            followed(&file, || client.status(&handle));
            assert!(!client.status(&"H:nowhere:1".parse().unwrap()).known);
        }
        "status_by_unique" => {
            client.background(Job::new("until_file", path).unique("a unique"));
            followed(&file, || client.status_by_unique("a unique"));
            assert!(!client.status_by_unique("nobody's").known);
        }
        "client_timeout" => {
            let end = client.run_within(Job::new("served by nobody", "x"), Duration::from_millis(200));
            assert!(matches!(end, Err(ClientError::Timeout { .. })), "{end:?}");
        }
        "epoch" | "epoch_by_itself" => later(client, &file),
        "reducer" => {
            let joined = client.run(Job::new("split_words", "erehwyna krow").reducer("reverse")).unwrap();
            // libgearman's aggregator does not promise an order.
            assert!(
                joined == b"anywhere+work+" || joined == b"work+anywhere+",
                "{}",
                String::from_utf8_lossy(&joined)
            );
        }
        "admin" => admin(client, servers),
        "worker_text" => assert!(client.run(Job::new("version", "x")).unwrap().starts_with(b"OK ")),
        "takes_back" => assert_eq!(client.run(Job::new("guarded", path)).unwrap(), b"second"),
        _ => panic!("no feature {name}"),
    }
}

fn queue(client: &Ours) {
    for turn in 1..=2 {
        client.background(Job::new("record", format!("low {turn}")).low());
        client.background(Job::new("record", format!("normal {turn}")));
        client.background(Job::new("record", format!("high {turn}")).high());
    }
}

fn stream(client: &Ours) {
    let updates = client.updates(Job::new("pieces", "x"));
    assert!(matches!(updates[0], Update::Created(_)), "{updates:?}");
    assert!(updates.contains(&Update::Warning(b"careful".to_vec())), "{updates:?}");
    assert!(updates.contains(&Update::Progress { numerator: 1, denominator: 2 }), "{updates:?}");
    let data = updates.iter().flat_map(|update| match update {
        Update::Data(data) | Update::Complete(data) => data.clone(),
        _ => Vec::new(),
    });
    assert_eq!(data.collect::<Vec<u8>>(), b"one,two,three");
    assert_eq!(client.run(Job::new("pieces", "x")).unwrap(), b"one,two,three");
}

fn many(client: &Ours) {
    let count: usize = std::env::var("JOBS").unwrap().parse().unwrap();
    let texts: Vec<String> = (0..count).map(|number| format!("job {number}")).collect();
    let jobs = texts.iter().map(|text| Job::new("reverse", text.as_str())).collect();
    let results = client.together(jobs, || ());
    assert_eq!(results.len(), count);
    for (text, (_, result)) in texts.iter().zip(results) {
        assert_eq!(result, text.chars().rev().collect::<String>().as_bytes());
    }
    // The same on one thread, with some in flight at a time.
    if let Ours::Blocking(client) = client {
        let mut results: Vec<(u64, Vec<u8>)> = client
            .run_all(texts.iter().map(|text| Job::new("reverse", text.as_str())), 20)
            .map(|(number, result)| (number, result.unwrap()))
            .collect();
        results.sort();
        let expected = texts.iter().map(|text| text.chars().rev().collect::<String>().into_bytes());
        assert!(results.into_iter().map(|(_, result)| result).eq(expected));
    }
}

// Both of two jobs are one, which cannot end before both have been answered.
fn coalesced(client: &Ours, same: [Job; 2], other: Job, file: &Path) {
    let results = client.together(same.into(), || std::fs::write(file, b"").unwrap());
    assert_eq!(results[0], results[1], "one job, and one result");
    let others = client.together(vec![other], || ());
    assert_ne!(others[0].0, results[0].0, "another function, another job");
}

// The status of a job that runs until the file comes.
fn followed(file: &Path, status: impl Fn() -> JobStatus) {
    wait_until("the job runs", || {
        let status = status();
        assert!(status.known);
        status.running && (status.numerator, status.denominator) == (3, 7)
    });
    std::fs::write(file, b"").unwrap();
    wait_until("the job ends", || !status().known);
}

fn later(client: &Ours, file: &Path) {
    let due = SystemTime::now() + Duration::from_secs(2);
    let handle = client.background(Job::new("touch", file.to_str().unwrap()).at(due));
    assert!(client.status(&handle).known);
    wait_until("the job runs", || file.exists());
    assert!(SystemTime::now() >= due);
}

fn admin(client: &Ours, servers: &str) {
    let mut admin = Admin::connect(&servers.parse().unwrap(), DEADLINE).unwrap();
    let handle = client.background(Job::new("served by nobody", "x").unique("cancelled"));
    assert!(admin.show_unique_jobs().unwrap().contains(&b"cancelled".to_vec()));
    assert!(admin.show_jobs().unwrap().iter().any(|job| job.handle == handle.as_bytes()));
    assert!(admin.status().unwrap().iter().any(|function| function.name == b"reverse"));
    assert!(!admin.workers().unwrap().is_empty());
    admin.cancel_job(handle.as_bytes()).unwrap();
}

// The code of the refusal. The clients know no options but the one that servers know; the conversation does.
fn option(servers: &str, name: &[u8]) -> String {
    let mut stream = TcpStream::connect(servers).unwrap();
    let mut talk = ClientConversation::default();
    talk.option(1, name);
    stream.write_all(talk.outgoing()).unwrap();
    let mut refused = None;
    let mut buffer = [0; 1024];
    while refused.is_none() {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the server answers");
        talk.receive(&buffer[..count], |_, event| match event {
            ClientEvent::Refused { code, .. } => refused = Some(String::from_utf8_lossy(code).into_owned()),
            other => panic!("{other:?}"),
        })
        .unwrap();
    }
    refused.expect("seen just above")
}
