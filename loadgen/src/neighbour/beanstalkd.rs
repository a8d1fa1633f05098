//! beanstalkd: jobs that are put into a tube, reserved and deleted.
//!
//!     client: use <jobs>     put 0 0 <seconds> <bytes>  + payload
//!     worker: watch <jobs>   reserve   delete <id>
//!     server: INSERTED <id>   RESERVED <id> <bytes>  + payload   DELETED   USING   WATCHING
//!
//! For round trips a worker puts the result into a tube of the client's, whose name
//! comes with the job, and the client reserves and deletes it there. A connection
//! that waits in a reserve is not read from, so each has one at a time, and everything
//! else goes before it.

use super::requests::{Requests, ran_for};
use super::wire::{CR_LF, Read, block, each, line, number, put_number, strange, words};
use super::{Work, queue_name};
use crate::engine::connection::Broken;
use crate::engine::conversation::{Conversation, Greeting};
use crate::engine::ledger::Fault;
use crate::engine::progress::Unit;
use crate::engine::role::{Order, Turn};

/// list-tube-used.
pub(super) fn greeting() -> Greeting {
    Greeting {
        protocol: "beanstalkd",
        server_first: false,
        question: b"list-tube-used\r\n".to_vec(),
        answer: b"USING default\r\n".to_vec(),
    }
}

/// Asked as a barrier, since nothing else is answered as it is.
const BARRIER: &[u8] = b"list-tubes-watched\r\n";

/// Seconds that a worker may have a job: longer than any run waits.
const RUN_SECONDS: &str = "3600";

/// Puts jobs, and reserves results.
pub(crate) struct Client {
    requests: Requests,
    work: Work,
    jobs: Vec<u8>,
    results: Vec<u8>,
    reserves: bool,
}

impl Client {
    /// The client with this number of the run with this tag, with `in_flight` jobs unanswered.
    pub(crate) fn new(tag: u32, client: u32, in_flight: u32, work: Work) -> Self {
        Self {
            requests: Requests::new(in_flight),
            work,
            jobs: queue_name(tag, None),
            results: queue_name(tag, Some(client)),
            reserves: false,
        }
    }

    fn put_what_may_be(&mut self, turn: &mut Turn<'_>) {
        self.requests.submit(turn, self.work, &self.results, put);
        let waits = self.work == Work::Fg && self.requests.count() > 0;
        if waits && !std::mem::replace(&mut self.reserves, true) {
            turn.output.extend_from_slice(b"reserve\r\n");
        }
    }
}

impl Conversation for Client {
    fn greeting(&self) -> Greeting {
        greeting()
    }

    fn seated(&mut self, turn: &mut Turn<'_>) {
        tube(turn.output, b"use ", &self.jobs);
        if self.work == Work::Fg {
            tube(turn.output, b"watch ", &self.results);
            tube(turn.output, b"ignore ", b"default");
        }
    }

    fn order(&mut self, turn: &mut Turn<'_>, order: Order) {
        if order == Order::Submit {
            self.put_what_may_be(turn);
        }
    }

    fn barrier(&mut self, turn: &mut Turn<'_>) {
        turn.output.extend_from_slice(BARRIER);
    }

    fn receive(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<usize, Broken> {
        each(bytes, said, |said| match said {
            Said::Reserved { id, payload } => {
                turn.tally.count(Unit::Received);
                self.reserves = false;
                self.requests.answered(turn, payload);
                delete(turn.output, id);
                self.put_what_may_be(turn);
            }
            Said::Inserted if self.work == Work::Flow => {
                turn.tally.count(Unit::Received);
                self.requests.accepted(turn);
                self.put_what_may_be(turn);
            }
            other => heard(turn, &other),
        })
    }

    fn in_flight(&self) -> u64 {
        self.requests.count()
    }
}

/// Reserves jobs, puts their results and deletes them.
pub(crate) struct Worker {
    work: Work,
    jobs: Vec<u8>,
    reserves: bool,
}

impl Worker {
    /// A worker of the run with this tag.
    pub(crate) fn new(tag: u32, work: Work) -> Self {
        Self { work, jobs: queue_name(tag, None), reserves: false }
    }

    fn run(&self, turn: &mut Turn<'_>, job: &[u8]) {
        if let Some((results, payload)) = ran_for(turn, self.work, job) {
            tube(turn.output, b"use ", results);
            put(turn.output, payload.len());
            turn.output.extend_from_slice(payload);
            turn.output.extend_from_slice(CR_LF);
        }
    }
}

impl Conversation for Worker {
    fn greeting(&self) -> Greeting {
        greeting()
    }

    fn seated(&mut self, turn: &mut Turn<'_>) {
        tube(turn.output, b"watch ", &self.jobs);
        tube(turn.output, b"ignore ", b"default");
    }

    fn order(&mut self, turn: &mut Turn<'_>, order: Order) {
        if order == Order::Work && !self.reserves {
            self.reserves = true;
            turn.output.extend_from_slice(b"reserve\r\n");
        }
    }

    fn barrier(&mut self, turn: &mut Turn<'_>) {
        turn.output.extend_from_slice(BARRIER);
    }

    fn receive(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<usize, Broken> {
        each(bytes, said, |said| match said {
            Said::Reserved { id, payload } => {
                turn.tally.count(Unit::Received);
                self.run(turn, payload);
                delete(turn.output, id);
                turn.output.extend_from_slice(b"reserve\r\n");
            }
            other => heard(turn, &other),
        })
    }
}

/// What both sides do with what is not a job.
fn heard(turn: &mut Turn<'_>, said: &Said<'_>) {
    turn.tally.count(Unit::Received);
    match said {
        Said::Inserted => turn.tally.count(Unit::Accepted),
        Said::Listed => turn.tally.count(Unit::Echoed),
        Said::Done => {}
        Said::Refused => turn.run.ledger.fault(Fault::refused, 1),
        Said::Reserved { .. } => turn.run.ledger.fault(Fault::unexpected, 1),
    }
}

fn tube(out: &mut Vec<u8>, command: &[u8], tube: &[u8]) {
    out.extend_from_slice(command);
    out.extend_from_slice(tube);
    out.extend_from_slice(b"\r\n");
}

fn delete(out: &mut Vec<u8>, id: &[u8]) {
    tube(out, b"delete ", id);
}

/// A put up to its `length` bytes; CR LF goes behind those.
fn put(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(b"put 0 0 ");
    out.extend_from_slice(RUN_SECONDS.as_bytes());
    out.push(b' ');
    put_number(out, length);
    out.extend_from_slice(b"\r\n");
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    Inserted,
    Reserved {
        id: &'a [u8],
        payload: &'a [u8],
    },
    /// The answer to the barrier.
    Listed,
    /// What was asked has been done.
    Done,
    /// What was asked cannot be done.
    Refused,
}

fn said(bytes: &[u8]) -> Read<Said<'_>> {
    let Some((line, start)) = line(bytes)? else { return Ok(None) };
    let mut words = words(line);
    let mut word = || words.next().ok_or_else(|| strange(line));
    let said = match word()? {
        b"INSERTED" => Said::Inserted,
        b"RESERVED" => {
            let (id, length) = (word()?, number(word()?)?);
            let block = block(bytes, start, length)?;
            return Ok(block.map(|(payload, end)| (Said::Reserved { id, payload }, end)));
        }
        b"OK" => {
            let block = block(bytes, start, number(word()?)?)?;
            return Ok(block.map(|(_, end)| (Said::Listed, end)));
        }
        b"DELETED" | b"USING" | b"WATCHING" => Said::Done,
        b"NOT_FOUND" | b"BURIED" | b"OUT_OF_MEMORY" | b"INTERNAL_ERROR" | b"DRAINING" | b"BAD_FORMAT"
        | b"UNKNOWN_COMMAND" | b"JOB_TOO_BIG" | b"EXPECTED_CRLF" | b"DEADLINE_SOON" | b"NOT_IGNORED" => {
            Said::Refused
        }
        _ => return Err(strange(line)),
    };
    Ok(Some((said, start)))
}

#[cfg(test)]
mod tests {
    use super::super::wire::assert_waits_for_all;
    use super::*;

    #[test]
    fn what_a_server_says_is_understood_when_it_is_whole() {
        let job = b"RESERVED 17 4\r\na\r\nb\r\n";
        let list = b"OK 14\r\n---\n- default\n\r\n";
        assert_waits_for_all(job, said);
        assert_waits_for_all(list, said);
        assert_eq!(said(job).unwrap().unwrap().0, Said::Reserved { id: b"17", payload: b"a\r\nb" });
        for (text, expected) in [
            (&list[..], Said::Listed),
            (b"INSERTED 3\r\n", Said::Inserted),
            (b"WATCHING 2\r\n", Said::Done),
            (b"DELETED\r\nDELETED\r\n", Said::Done),
            (b"NOT_FOUND\r\n", Said::Refused),
        ] {
            assert_eq!(said(text).unwrap().unwrap().0, expected);
        }
        for bad in
            [&b"HTTP/1.1 400\r\n"[..], b"RESERVED 1\r\n", b"RESERVED 1 x\r\n", b"OK 1\r\nabc\r\n", b"\r\n"]
        {
            assert!(said(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
