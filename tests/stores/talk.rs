//! Clients and workers, packet by packet.

use gearshard::protocol::packet::Command;

use crate::support::{Connection, Reply, Server};

/// A job as a worker sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) function: Vec<u8>,
    pub(crate) unique: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

pub(crate) fn seen(function: &[u8], unique: &[u8], data: &[u8]) -> Seen {
    Seen { function: function.to_vec(), unique: unique.to_vec(), data: data.to_vec() }
}

/// Submits; the handle.
pub(crate) fn submit(client: &mut Connection, command: Command, job: &Seen) -> String {
    client.send(command, &[&job.function, &job.unique], &job.data);
    client.expect(Command::JobCreated).text(0)
}

/// Submits a normal background job; the handle.
pub(crate) fn background(client: &mut Connection, function: &str, unique: &str, data: &str) -> String {
    submit(client, Command::SubmitJobBg, &seen(function.as_bytes(), unique.as_bytes(), data.as_bytes()))
}

/// A worker of these functions.
pub(crate) fn worker(server: &Server, functions: &[&[u8]]) -> Connection {
    let mut worker = server.connect();
    for function in functions {
        worker.send(Command::CanDo, &[function], b"");
    }
    worker
}

/// Grabs a job, if there is one: its handle, and what it is.
pub(crate) fn grab(worker: &mut Connection) -> Option<(Vec<u8>, Seen)> {
    worker.send(Command::GrabJobUniq, &[], b"");
    loop {
        let Reply { command, mut args, data, .. } = worker.read_packet();
        match command {
            Command::Noop => {}
            Command::NoJob => return None,
            Command::JobAssignUniq => {
                let (handle, function, unique) = (
                    std::mem::take(&mut args[0]),
                    std::mem::take(&mut args[1]),
                    std::mem::take(&mut args[2]),
                );
                return Some((handle, Seen { function, unique, data }));
            }
            other => panic!("{other:?} for a GRAB_JOB_UNIQ"),
        }
    }
}

/// Runs every job of these functions, and says which they were, in order.
pub(crate) fn drain(server: &Server, functions: &[&[u8]]) -> Vec<Seen> {
    let mut worker = worker(server, functions);
    let mut all = Vec::new();
    while let Some((handle, job)) = grab(&mut worker) {
        worker.send(Command::WorkComplete, &[&handle], b"");
        all.push(job);
    }
    worker.settle();
    all
}

/// What a job that is refused is told.
pub(crate) fn refusal(client: &mut Connection, command: Command, args: &[&[u8]]) -> String {
    client.send(command, args, b"x");
    let error = client.expect(Command::Error);
    assert_eq!(error.text(0), "QUEUE_ERROR");
    String::from_utf8_lossy(if error.args.len() > 1 { &error.args[1] } else { &error.data }).into_owned()
}
