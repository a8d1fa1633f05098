//! One connection: the bytes on their way in both directions, and what the
//! server must think of the peer after the requests that it has been handed.

use std::collections::VecDeque;
use std::rc::Rc;

use gearshard::shard::ids::ConnId;

use crate::ask::{Admin, Ask, Grab, Unique};
use crate::model::{RunId, SubmitId, Tick};

pub(crate) type LinkId = usize;

/// A connection from its first to its last moment.
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    pub(crate) home: usize,
    /// The server has not yet been told that it is gone.
    pub(crate) open: bool,
    /// The peer has closed its end.
    pub(crate) peer_gone: bool,
    /// The server wants it closed.
    pub(crate) closing: bool,
    pub(crate) held: bool,
    pub(crate) congested: bool,
    /// Sent by the peer, not yet taken from the socket.
    pub(crate) inbound: VecDeque<(Ask, Vec<u8>)>,
    /// Taken from the socket, but held before it was handed over.
    pub(crate) waiting_again: Vec<(Ask, Vec<u8>)>,
    /// Written by the server in a turn that is not over.
    pub(crate) unflushed: Vec<News>,
    /// Ready to be read by the peer.
    pub(crate) outbound: VecDeque<News>,
    /// The beginning of a packet that is not complete.
    pub(crate) partial: Vec<u8>,
    /// Lines of an answer that is not complete.
    pub(crate) list: Vec<String>,
    /// Requests handed over, whose replies are due in this order.
    pub(crate) expected: VecDeque<Expected>,
    /// Functions and their timeouts in milliseconds.
    pub(crate) registered: Rc<Vec<(u8, u32)>>,
    /// PRE_SLEEP was handed over after the last grab.
    pub(crate) asleep: bool,
    /// NOOP was written after the last PRE_SLEEP.
    pub(crate) woken: bool,
    pub(crate) exceptions: bool,
}

impl Link {
    pub(crate) fn new(conn: ConnId, exceptions: bool) -> Self {
        Self {
            conn,
            home: conn.shard().index(),
            open: true,
            peer_gone: false,
            closing: false,
            held: false,
            congested: false,
            inbound: VecDeque::new(),
            waiting_again: Vec::new(),
            unflushed: Vec::new(),
            outbound: VecDeque::new(),
            partial: Vec::new(),
            list: Vec::new(),
            expected: VecDeque::new(),
            registered: Rc::default(),
            asleep: false,
            woken: false,
            exceptions,
        }
    }

    pub(crate) fn serves(&self, function: u8) -> bool {
        self.registered.iter().any(|&(served, _)| served == function)
    }

    pub(crate) fn owes_a_grab(&self) -> bool {
        self.expected.iter().any(|expected| matches!(expected, Expected::Grab(_)))
    }

    /// Whether a frame of it can be handed over.
    pub(crate) fn readable(&self) -> bool {
        self.open && !self.held && !self.closing && !self.inbound.is_empty()
    }
}

/// A reply that is due.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Submit(SubmitId),
    Grab(Asked),
    /// JOB_NOT_FOUND; unless it must come it may as well be left out.
    WorkError {
        must: bool,
    },
    Status {
        number: u64,
    },
    StatusUnique {
        unique: Unique,
    },
    Echo(u32),
    Option,
    Admin {
        admin: Admin,
        handed: Tick,
    },
}

/// A grab as it was handed over.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) kind: Grab,
    pub(crate) sent: Tick,
    pub(crate) functions: Rc<Vec<(u8, u32)>>,
    pub(crate) handed_us: u64,
}

/// What the peer reads.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Noop,
    NoJob,
    Assigned {
        number: u64,
        run: RunId,
    },
    Created(SubmitId),
    Refused,
    /// An answer with its lines.
    Text(Vec<String>),
    /// JOB_NOT_FOUND
    NotFound,
    Other,
}
