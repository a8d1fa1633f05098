//! One connection's side of a conversation with a server: bytes come, bytes go.
//!
//! A [`Role`] has it in Gearman's packets; the neighbours' clients and workers
//! have theirs in the protocols of other servers. Nothing else of the engine
//! knows any protocol.

use std::time::Instant;

use gearshard::protocol::decode::{self, Frame};
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};

use crate::engine::connection::Broken;
use crate::engine::progress::Unit;
use crate::engine::role::{Order, Role, Turn};

/// Packets from a server are never refused for their length.
const BODY_BYTES_MAX: u32 = u32::MAX;

/// What a barrier's ECHO_REQ carries.
const BARRIER: &[u8] = b"barrier";

/// What is said before anything else, to learn that the server has accepted the
/// connection and speaks the protocol.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    /// The protocol, for people.
    pub(crate) protocol: &'static str,
    /// Whether the server says a line before it is asked.
    pub(crate) server_first: bool,
    pub(crate) question: Vec<u8>,
    /// All of the answer.
    pub(crate) answer: Vec<u8>,
}

impl Greeting {
    /// ECHO_REQ.
    pub(crate) fn gearman() -> Self {
        let mut greeting =
            Self { protocol: "Gearman", server_first: false, question: Vec::new(), answer: Vec::new() };
        encode(&mut greeting.question, Magic::Request, Command::EchoReq, &[], b"hello");
        encode(&mut greeting.answer, Magic::Response, Command::EchoRes, &[], b"hello");
        greeting
    }
}

/// What a connection says, and makes of what it hears.
pub(crate) trait Conversation: Send {
    /// How it begins.
    fn greeting(&self) -> Greeting;
    /// Says what is to be said once, when the connection is there.
    fn seated(&mut self, _turn: &mut Turn<'_>) {}
    /// Handles an order.
    fn order(&mut self, turn: &mut Turn<'_>, order: Order);
    /// Asks what the server answers after all that it was sent before; the answer
    /// is counted as [`Unit::Echoed`].
    fn barrier(&mut self, turn: &mut Turn<'_>);
    /// Handles what is whole at the start of `bytes`, and says how many that were.
    ///
    /// # Errors
    /// When it cannot be understood.
    fn receive(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<usize, Broken>;
    /// As [`Role::takes_arrivals`].
    fn takes_arrivals(&self) -> bool {
        false
    }
    /// As [`Role::arrival`].
    fn arrival(&mut self, _turn: &mut Turn<'_>, _number: u64, _due: Instant) {}
    /// As [`Role::in_flight`].
    fn in_flight(&self) -> u64 {
        0
    }
}

impl<R: Role> Conversation for R {
    fn greeting(&self) -> Greeting {
        Greeting::gearman()
    }

    fn seated(&mut self, turn: &mut Turn<'_>) {
        Role::seated(self, turn);
    }

    fn order(&mut self, turn: &mut Turn<'_>, order: Order) {
        Role::order(self, turn, order);
    }

    fn barrier(&mut self, turn: &mut Turn<'_>) {
        turn.send(Command::EchoReq, &[], BARRIER);
    }

    fn receive(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<usize, Broken> {
        let mut used = 0;
        loop {
            match decode::decode(&bytes[used..], BODY_BYTES_MAX) {
                Ok(Some((Frame::Binary(packet), length))) => {
                    turn.tally.count(Unit::Received);
                    if packet.command == Command::EchoRes && packet.data == BARRIER {
                        turn.tally.count(Unit::Echoed);
                    } else {
                        self.packet(turn, &packet);
                    }
                    used += length;
                }
                Ok(None) => return Ok(used),
                Ok(Some((Frame::Line(line), _))) => {
                    return Err(Broken::Protocol(String::from_utf8_lossy(line).into_owned()));
                }
                Err(error) => return Err(Broken::Protocol(error.to_string())),
            }
        }
    }

    fn takes_arrivals(&self) -> bool {
        Role::takes_arrivals(self)
    }

    fn arrival(&mut self, turn: &mut Turn<'_>, number: u64, due: Instant) {
        Role::arrival(self, turn, number, due);
    }

    fn in_flight(&self) -> u64 {
        Role::in_flight(self)
    }
}
