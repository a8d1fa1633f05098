//! Redis: a list of jobs, and for round trips a list of results for each client.
//!
//!     client: LPUSH <jobs> <results><payload>    BRPOP <results> 0
//!     worker: BRPOP <jobs> 0                     LPUSH <results> <payload>
//!
//! Or BLMPOP, which takes several. A connection that waits in a BRPOP is not read
//! from, so each has one at a time, and everything else goes before it. A client
//! pushes and pops on one connection, which costs the server less than two would.

use super::requests::{Requests, ran_for};
use super::wire::{CR_LF, Read, block, each, line, number, put_number, strange};
use super::{Work, queue_name};
use crate::engine::connection::Broken;
use crate::engine::conversation::{Conversation, Greeting};
use crate::engine::ledger::Fault;
use crate::engine::progress::Unit;
use crate::engine::role::{Order, Turn};

/// PING.
pub(super) fn greeting() -> Greeting {
    Greeting {
        protocol: "Redis",
        server_first: false,
        question: b"PING\r\n".to_vec(),
        answer: b"+PONG\r\n".to_vec(),
    }
}

/// Takes from one list, once at a time.
struct Pop {
    list: Vec<u8>,
    /// How many it takes at once.
    batch: u32,
    waits: bool,
}

impl Pop {
    fn new(list: Vec<u8>, batch: u32) -> Self {
        Self { list, batch, waits: false }
    }

    /// Waits for more, unless it does.
    fn wait(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.waits, true) {
            return;
        }
        if self.batch == 1 {
            command(out, &[b"BRPOP", &self.list, b"0"]);
        } else {
            let batch = self.batch.to_string();
            let words = [&b"BLMPOP"[..], b"0", b"1", &self.list, b"RIGHT", b"COUNT", batch.as_bytes()];
            command(out, &words);
        }
    }
}

/// Pushes jobs, and pops results.
pub(crate) struct Client {
    requests: Requests,
    work: Work,
    jobs: Vec<u8>,
    results: Pop,
}

impl Client {
    /// The client with this number of the run with this tag, with `in_flight` jobs unanswered.
    pub(crate) fn new(tag: u32, client: u32, in_flight: u32, work: Work, batch: u32) -> Self {
        let results = Pop::new(queue_name(tag, Some(client)), batch);
        Self { requests: Requests::new(in_flight), work, jobs: queue_name(tag, None), results }
    }

    fn push_what_may_be(&mut self, turn: &mut Turn<'_>) {
        let head = |out: &mut Vec<u8>, length| push(out, &self.jobs, length);
        self.requests.submit(turn, self.work, &self.results.list, head);
        if self.work == Work::Fg && self.requests.count() > 0 {
            self.results.wait(turn.output);
        }
    }
}

impl Conversation for Client {
    fn greeting(&self) -> Greeting {
        greeting()
    }

    fn order(&mut self, turn: &mut Turn<'_>, order: Order) {
        if order == Order::Submit {
            self.push_what_may_be(turn);
        }
    }

    fn barrier(&mut self, turn: &mut Turn<'_>) {
        turn.output.extend_from_slice(b"PING\r\n");
    }

    fn receive(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<usize, Broken> {
        each(bytes, reply, |reply| match reply {
            Reply::Popped(results) => {
                turn.tally.count(Unit::Received);
                self.results.waits = false;
                results.iter().for_each(|result| self.requests.answered(turn, result));
                self.push_what_may_be(turn);
            }
            Reply::Pushed if self.work == Work::Flow => {
                turn.tally.count(Unit::Received);
                self.requests.accepted(turn);
                self.push_what_may_be(turn);
            }
            other => heard(turn, &other),
        })
    }

    fn in_flight(&self) -> u64 {
        self.requests.count()
    }
}

/// Pops jobs, and pushes results.
pub(crate) struct Worker {
    work: Work,
    jobs: Pop,
}

impl Worker {
    /// A worker of the run with this tag that takes up to `batch` jobs at once.
    pub(crate) fn new(tag: u32, work: Work, batch: u32) -> Self {
        Self { work, jobs: Pop::new(queue_name(tag, None), batch) }
    }

    fn run(&self, turn: &mut Turn<'_>, job: &[u8]) {
        if let Some((results, payload)) = ran_for(turn, self.work, job) {
            push(turn.output, results, payload.len());
            turn.output.extend_from_slice(payload);
            turn.output.extend_from_slice(CR_LF);
        }
    }
}

impl Conversation for Worker {
    fn greeting(&self) -> Greeting {
        greeting()
    }

    fn order(&mut self, turn: &mut Turn<'_>, order: Order) {
        if order == Order::Work {
            self.jobs.wait(turn.output);
        }
    }

    fn barrier(&mut self, turn: &mut Turn<'_>) {
        turn.output.extend_from_slice(b"PING\r\n");
    }

    fn receive(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<usize, Broken> {
        each(bytes, reply, |reply| match reply {
            Reply::Popped(jobs) => {
                turn.tally.count(Unit::Received);
                self.jobs.waits = false;
                jobs.iter().for_each(|job| self.run(turn, job));
                self.jobs.wait(turn.output);
            }
            other => heard(turn, &other),
        })
    }
}

/// What both sides do with what is not a job.
fn heard(turn: &mut Turn<'_>, reply: &Reply<'_>) {
    turn.tally.count(Unit::Received);
    match reply {
        Reply::Pushed => turn.tally.count(Unit::Accepted),
        Reply::Pong => turn.tally.count(Unit::Echoed),
        Reply::Error => turn.run.ledger.fault(Fault::refused, 1),
        Reply::Popped(_) => turn.run.ledger.fault(Fault::unexpected, 1),
    }
}

/// `*<words>`, and each word as `$<bytes>` and a block.
fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    head(out, b'*', words.len());
    for word in words {
        head(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// An LPUSH up to the `length` bytes that are pushed; CR LF goes behind those.
fn push(out: &mut Vec<u8>, list: &[u8], length: usize) {
    out.extend_from_slice(b"*3\r\n$5\r\nLPUSH\r\n");
    head(out, b'$', list.len());
    out.extend_from_slice(list);
    out.extend_from_slice(b"\r\n");
    head(out, b'$', length);
}

fn head(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    put_number(out, number);
    out.extend_from_slice(b"\r\n");
}

/// What a server answers.
#[derive(Debug, PartialEq, Eq)]
enum Reply<'a> {
    /// The length of the list.
    Pushed,
    /// The elements that a BRPOP or BLMPOP took.
    Popped(Vec<&'a [u8]>),
    Pong,
    Error,
}

fn reply(bytes: &[u8]) -> Read<Reply<'_>> {
    let Some((line, start)) = line(bytes)? else { return Ok(None) };
    let reply = match line.split_first() {
        Some((b':', _)) => Reply::Pushed,
        Some((b'+', b"PONG")) => Reply::Pong,
        Some((b'-', _)) => Reply::Error,
        // The list, and one element or an array of them.
        Some((b'*', b"2")) => {
            let Some((_, start)) = bulk(bytes, start)? else { return Ok(None) };
            return popped(bytes, start);
        }
        _ => return Err(strange(line)),
    };
    Ok(Some((reply, start)))
}

fn popped(bytes: &[u8], start: usize) -> Read<Reply<'_>> {
    let (mut count, mut at) = (1, start);
    if bytes.get(start) == Some(&b'*') {
        let Some((line, length)) = line(&bytes[start..])? else { return Ok(None) };
        (count, at) = (number(&line[1..])?, start + length);
    }
    let mut elements = Vec::new();
    for _ in 0..count {
        let Some((element, end)) = bulk(bytes, at)? else { return Ok(None) };
        elements.push(element);
        at = end;
    }
    Ok(Some((Reply::Popped(elements), at)))
}

/// `$<bytes>` and a block, at `start`.
fn bulk(bytes: &[u8], start: usize) -> Read<&[u8]> {
    let Some((line, length)) = line(&bytes[start..])? else { return Ok(None) };
    match line.split_first() {
        Some((b'$', digits)) => block(bytes, start + length, number(digits)?),
        _ => Err(strange(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::assert_waits_for_all;
    use super::*;

    #[test]
    fn what_a_server_answers_is_understood_when_it_is_whole() {
        let one = b"*2\r\n$4\r\njobs\r\n$3\r\n\r\na\r\n";
        let two = b"*2\r\n$4\r\njobs\r\n*2\r\n$1\r\na\r\n$0\r\n\r\n";
        assert_waits_for_all(one, reply);
        assert_waits_for_all(two, reply);
        assert_eq!(reply(one).unwrap().unwrap().0, Reply::Popped(vec![b"\r\na"]));
        assert_eq!(reply(two).unwrap().unwrap().0, Reply::Popped(vec![b"a", b""]));
        for (text, expected) in [
            (&b":12\r\n:13\r\n"[..], Reply::Pushed),
            (b"+PONG\r\n", Reply::Pong),
            (b"-OOM command not allowed\r\n", Reply::Error),
        ] {
            assert_eq!(reply(text).unwrap().unwrap().0, expected);
        }
        for bad in
            [&b"+OK\r\n"[..], b"*-1\r\n", b"*2\r\n:1\r\n", b"*2\r\n$1\r\na\r\n$x\r\n", b"$3\r\nabc\r\n"]
        {
            assert!(reply(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn commands_are_arrays_of_words() {
        let mut out = Vec::new();
        let mut pop = Pop::new(b"l".to_vec(), 1);
        pop.wait(&mut out);
        pop.wait(&mut out);
        assert_eq!(out, b"*3\r\n$5\r\nBRPOP\r\n$1\r\nl\r\n$1\r\n0\r\n");
        out.clear();
        push(&mut out, b"l", 12);
        assert_eq!(out, b"*3\r\n$5\r\nLPUSH\r\n$1\r\nl\r\n$12\r\n");
    }
}
