//! Our own workers, as a program like those of the other libraries.

use gearshard::client::asynchronous::AsyncWorker;
use gearshard::client::conversation::{WorkerConversation, WorkerEvent};
use gearshard::client::{Client, Job, JobError, JobResult, MapReduce, ServerAddress, Worker};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::programs::Program;
use crate::support::wait_until;

/// For `guarded`: the least that servers take.
const TIMEOUT: Duration = Duration::from_secs(1);

type Plain = fn(&[u8]) -> JobResult;

/// Functions of the workload alone.
const PLAIN: [(&str, Plain); 5] = [
    ("reverse", |workload| Ok(workload.iter().rev().copied().collect())),
    ("fails", |_| Err(JobError::Failed)),
    ("throws", |_| Err(JobError::exception(*b"broken\0pipe"))),
    ("touch", |workload| Ok(std::fs::write(path(workload)?, b"").map(|()| Vec::new())?)),
    ("record", |workload| {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open("recorded")?;
        file.write_all(&[workload, b"\n"].concat())?;
        Ok(Vec::new())
    }),
];

fn path(workload: &[u8]) -> Result<PathBuf, JobError> {
    Ok(std::str::from_utf8(workload)?.into())
}

/// Serves until it is killed.
pub(crate) fn serve(program: Program, servers: &str, id: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _worker = if program == Program::Blocking {
        Ok(blocking(servers, id))
    } else {
        let _inside = runtime.enter();
        Err(tokio_worker(servers, id))
    };
    withdrawing(servers, id);
}

fn blocking(servers: &str, id: &str) -> Worker {
    let split = MapReduce::new(
        Client::connect(servers).unwrap(),
        |text| text.split(|&byte| byte == b' ').map(<[u8]>::to_vec).collect(),
        |words| Ok(words.into_iter().flat_map(|word| [word, b"+".to_vec()].concat()).collect::<Vec<u8>>()),
    );
    let builder =
        PLAIN.into_iter().fold(Worker::builder_for(servers).unwrap(), |builder, (name, function)| {
            builder.function(name, move |job| function(job.workload()))
        });
    builder
        .id(id)
        .function("pieces", |job| {
            job.data("one,")?;
            job.warning("careful")?;
            job.progress(1, 2)?;
            job.data("two,")?;
            Ok("three")
        })
        .function("unique_of", |job| Ok(job.unique().to_vec()))
        .function("until_file", |job| {
            job.progress(3, 7)?;
            let file = path(job.workload())?;
            wait_until("the file comes", || file.exists());
            Ok("done")
        })
        .function_within("guarded", TIMEOUT, |job| {
            let file = path(job.workload())?;
            if !file.exists() {
                // The first run never ends; the server is to take the job back.
                std::fs::write(file, b"")?;
                std::thread::sleep(Duration::MAX);
            }
            Ok("second")
        })
        .serve("split_words", None, split)
        .start()
        .unwrap()
}

fn tokio_worker(servers: &str, id: &str) -> AsyncWorker {
    let client = Client::builder(ServerAddress::list(servers).unwrap()).build_async().unwrap();
    let builder = AsyncWorker::builder_for(servers).unwrap();
    let builder = PLAIN.into_iter().fold(builder, |builder, (name, function)| {
        builder.function(name, move |job| async move { function(job.workload()) })
    });
    builder
        .id(id)
        .function("pieces", |job| async move {
            job.data("one,").await?;
            job.warning("careful").await?;
            job.progress(1, 2).await?;
            job.data("two,").await?;
            Ok("three")
        })
        .function("unique_of", |job| async move { Ok(job.unique().to_vec()) })
        .function("until_file", |job| async move {
            job.progress(3, 7).await?;
            let file = path(job.workload())?;
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok("done")
        })
        .function_within("guarded", TIMEOUT, |job| async move {
            let file = path(job.workload())?;
            if !file.exists() {
                std::fs::write(file, b"")?;
                std::future::pending::<()>().await;
            }
            Ok("second")
        })
        .function("split_words", move |job| {
            let client = client.clone();
            async move {
                let reducer = job.reducer().ok_or(JobError::Failed)?;
                let mut parts = Vec::new();
                for word in job.workload().split(|&byte| byte == b' ') {
                    parts.push(client.submit(Job::new(reducer, word)).await?);
                }
                let mut joined = Vec::new();
                for part in parts {
                    joined.extend(part.wait().await?);
                    joined.push(b'+');
                }
                Ok(joined)
            }
        })
        .start()
        .unwrap()
}

/// A connection that gives functions up while it serves. A [`Worker`] keeps
/// its functions; whoever needs this drives the conversation.
fn withdrawing(servers: &str, id: &str) {
    let mut stream = TcpStream::connect(servers).unwrap();
    let mut talk = WorkerConversation::default();
    talk.set_id(format!("{id}'s second").as_bytes());
    for function in ["temporary", "withdraw", "forget"] {
        talk.can_do(function.as_bytes(), None);
    }
    talk.grab();
    let mut buffer = [0; 1024];
    loop {
        stream.write_all(talk.outgoing()).unwrap();
        talk.sent(talk.outgoing().len());
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            return;
        }
        let (mut assigned, mut nothing) = (Vec::new(), false);
        let received = talk.receive(&buffer[..count], |event| match event {
            WorkerEvent::Assigned(job) => assigned.push((job.handle.to_vec(), job.function.to_vec())),
            WorkerEvent::NoJob => nothing = true,
            _ => {}
        });
        received.unwrap();
        for (handle, function) in assigned {
            talk.complete(&handle, b"");
            match &*function {
                b"withdraw" => talk.cant_do(b"temporary"),
                b"forget" => talk.reset_abilities(),
                _ => {}
            }
        }
        if nothing {
            talk.sleep();
        } else if !talk.is_asleep() {
            talk.grab();
        }
    }
}
