//! NATS: requests to a queue group of subscribers, which answer to an inbox.
//!
//!     client: SUB <inbox> 1          PUB <work> <inbox> <bytes>  + payload
//!     worker: SUB <work> workers 1   PUB <inbox> <bytes>  + payload
//!     server: MSG <subject> <sid> [<reply>] <bytes>  + payload   PING   PONG   -ERR <text>
//!
//! The server pushes: workers ask for nothing, so there is no number of jobs that
//! they have ahead. Without JetStream it keeps nothing, and nobody confirms anything.

use super::requests::{Requests, ran};
use super::wire::{Read, block, each, line, number, put_number, strange, words};
use crate::engine::connection::Broken;
use crate::engine::conversation::{Conversation, Greeting};
use crate::engine::ledger::Fault;
use crate::engine::progress::Unit;
use crate::engine::role::{Order, Turn};

/// CONNECT, and PING to hear that it was understood. The server says INFO first.
pub(super) fn greeting() -> Greeting {
    Greeting {
        protocol: "NATS",
        server_first: true,
        question: b"CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false,\"lang\":\"rust\",\
            \"version\":\"1\",\"protocol\":1}\r\nPING\r\n"
            .to_vec(),
        answer: b"PONG\r\n".to_vec(),
    }
}

/// Where clients' requests come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inbox {
    /// One subject for each client: the least that the server can have to do.
    Client,
    /// A subject of its own for each request below a wildcard, as official clients have it.
    Request,
}

/// Asks, and waits at its inbox.
pub(crate) struct Client {
    requests: Requests,
    work: Vec<u8>,
    inbox: Vec<u8>,
    inboxes: Inbox,
}

impl Client {
    /// The client with this number of the run with this tag, with `in_flight` requests unanswered.
    pub(crate) fn new(tag: u32, client: u32, in_flight: u32, inboxes: Inbox) -> Self {
        let inbox = format!("_INBOX.{tag:08x}.{client}").into_bytes();
        Self { requests: Requests::new(in_flight), work: work(tag), inbox, inboxes }
    }

    fn ask_what_may_be(&mut self, turn: &mut Turn<'_>) {
        while let Some(stamp) = self.requests.next(turn) {
            turn.output.extend_from_slice(b"PUB ");
            turn.output.extend_from_slice(&self.work);
            turn.output.push(b' ');
            turn.output.extend_from_slice(&self.inbox);
            if self.inboxes == Inbox::Request {
                turn.output.push(b'.');
                put_number(turn.output, stamp.number as usize);
            }
            turn.output.push(b' ');
            put_number(turn.output, turn.run.payloads.bytes_of(stamp.number));
            turn.output.extend_from_slice(b"\r\n");
            turn.run.payloads.write(stamp, turn.output);
            turn.output.extend_from_slice(b"\r\n");
        }
    }
}

impl Conversation for Client {
    fn greeting(&self) -> Greeting {
        greeting()
    }

    fn seated(&mut self, turn: &mut Turn<'_>) {
        let below: &[u8] = if self.inboxes == Inbox::Request { b".*" } else { b"" };
        turn.output.extend([b"SUB ", &self.inbox[..], below, b" 1\r\n"].concat());
    }

    fn order(&mut self, turn: &mut Turn<'_>, order: Order) {
        if order == Order::Submit {
            self.ask_what_may_be(turn);
        }
    }

    fn barrier(&mut self, turn: &mut Turn<'_>) {
        turn.output.extend_from_slice(b"PING\r\n");
    }

    fn receive(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<usize, Broken> {
        each(bytes, said, |said| match said {
            Said::Message { payload, .. } => {
                turn.tally.count(Unit::Received);
                self.requests.answered(turn, payload);
                self.ask_what_may_be(turn);
            }
            other => heard(turn, &other),
        })
    }

    fn in_flight(&self) -> u64 {
        self.requests.count()
    }
}

/// One of the queue group; sends payloads back.
pub(crate) struct Worker {
    work: Vec<u8>,
}

impl Worker {
    /// A worker of the run with this tag.
    pub(crate) fn new(tag: u32) -> Self {
        Self { work: work(tag) }
    }
}

impl Conversation for Worker {
    fn greeting(&self) -> Greeting {
        greeting()
    }

    fn seated(&mut self, turn: &mut Turn<'_>) {
        turn.output.extend([b"SUB ", &self.work[..], b" workers 1\r\n"].concat());
    }

    fn order(&mut self, _turn: &mut Turn<'_>, _order: Order) {}

    fn barrier(&mut self, turn: &mut Turn<'_>) {
        turn.output.extend_from_slice(b"PING\r\n");
    }

    fn receive(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<usize, Broken> {
        each(bytes, said, |said| match said {
            Said::Message { reply: Some(reply), payload } => {
                turn.tally.count(Unit::Received);
                ran(turn, payload);
                turn.output.extend_from_slice(b"PUB ");
                turn.output.extend_from_slice(reply);
                turn.output.push(b' ');
                put_number(turn.output, payload.len());
                turn.output.extend_from_slice(b"\r\n");
                turn.output.extend_from_slice(payload);
                turn.output.extend_from_slice(b"\r\n");
            }
            other => heard(turn, &other),
        })
    }
}

fn work(tag: u32) -> Vec<u8> {
    format!("work.{tag:08x}").into_bytes()
}

/// What both sides do with what is not a job.
fn heard(turn: &mut Turn<'_>, said: &Said<'_>) {
    turn.tally.count(Unit::Received);
    match said {
        Said::Ping => turn.output.extend_from_slice(b"PONG\r\n"),
        Said::Pong => turn.tally.count(Unit::Echoed),
        Said::Info => {}
        Said::Error => turn.run.ledger.fault(Fault::refused, 1),
        Said::Message { .. } => turn.run.ledger.fault(Fault::unexpected, 1),
    }
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    Message { reply: Option<&'a [u8]>, payload: &'a [u8] },
    Ping,
    Pong,
    Info,
    Error,
}

fn said(bytes: &[u8]) -> Read<Said<'_>> {
    let Some((line, start)) = line(bytes)? else { return Ok(None) };
    let mut words = words(line);
    let said = match words.next().unwrap_or_default() {
        b"MSG" => {
            // Behind the subject and the number of the subscription.
            let (third, fourth) = (words.nth(2).ok_or_else(|| strange(line))?, words.next());
            let (reply, length) = fourth.map_or((None, third), |length| (Some(third), length));
            let block = block(bytes, start, number(length)?)?;
            return Ok(block.map(|(payload, length)| (Said::Message { reply, payload }, length)));
        }
        b"PING" => Said::Ping,
        b"PONG" => Said::Pong,
        b"INFO" | b"+OK" => Said::Info,
        b"-ERR" => Said::Error,
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
        let with_reply = b"MSG work.1 1 _INBOX.1.2 4\r\na\r\nb\r\n";
        let without = b"MSG _INBOX.1.2 1 0\r\n\r\n";
        assert_waits_for_all(with_reply, said);
        assert_waits_for_all(without, said);
        let message = |reply, payload| Said::Message { reply, payload };
        assert_eq!(said(with_reply).unwrap().unwrap().0, message(Some(b"_INBOX.1.2"), b"a\r\nb"));
        assert_eq!(said(without).unwrap().unwrap().0, message(None, b""));
        for (text, expected) in [
            (&b"PING\r\nPONG\r\n"[..], Said::Ping),
            (b"PONG\r\n", Said::Pong),
            (b"INFO {\"max_payload\":1}\r\n", Said::Info),
            (b"-ERR 'Unknown Protocol Operation'\r\n", Said::Error),
        ] {
            assert_eq!(said(text).unwrap().unwrap().0, expected);
        }
        for bad in [&b"HTTP/1.1 400\r\n"[..], b"MSG a 1\r\n", b"MSG a 1 x\r\n", b"MSG a 1 2\r\nabcd"] {
            assert!(said(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
