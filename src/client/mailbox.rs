//! What has been received for each request and nobody has taken yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::conversation::ClientEvent;
use super::error::{ClientError, LossReason};
use super::job::Mode;
use super::status::JobStatus;

/// What a letter costs beside its bytes, so that many empty ones count too.
const LETTER_BYTES: usize = 64;

/// One event, on its way to whoever waits for it.
#[derive(Debug)]
pub(super) enum Letter {
    Created(Box<[u8]>),
    Refused { code: String, text: String },
    Data(Vec<u8>),
    Warning(Vec<u8>),
    Progress { numerator: u64, denominator: u64 },
    Complete(Vec<u8>),
    Failed,
    Exception(Vec<u8>),
    Status(JobStatus),
    Echo(Vec<u8>),
    OptionSet,
    Unread,
    Lost(Arc<LossReason>),
}

impl Letter {
    fn new(event: &ClientEvent<'_>) -> Self {
        let words = |bytes| String::from_utf8_lossy(bytes).into_owned();
        match *event {
            ClientEvent::Created { handle } => Self::Created(handle.into()),
            ClientEvent::Refused { code, text } => Self::Refused { code: words(code), text: words(text) },
            ClientEvent::Data(data) => Self::Data(data.to_vec()),
            ClientEvent::Warning(data) => Self::Warning(data.to_vec()),
            ClientEvent::Progress { numerator, denominator } => Self::Progress { numerator, denominator },
            ClientEvent::Complete(data) => Self::Complete(data.to_vec()),
            ClientEvent::Failed => Self::Failed,
            ClientEvent::Exception(data) => Self::Exception(data.to_vec()),
            ClientEvent::Status(status) => Self::Status(status),
            ClientEvent::Echo(data) => Self::Echo(data.to_vec()),
            ClientEvent::OptionSet => Self::OptionSet,
        }
    }

    /// Checks that it brings `data` back.
    pub(super) fn check_echo(&self, data: &[u8]) -> Result<(), ClientError> {
        match self {
            Self::Echo(echoed) if echoed == data => Ok(()),
            _ => Err(ClientError::Refused {
                code: "ECHO_DATA_CORRUPTION".to_owned(),
                text: "other bytes came back than were sent".to_owned(),
            }),
        }
    }

    fn bytes(&self) -> usize {
        LETTER_BYTES
            + match self {
                Self::Data(data)
                | Self::Warning(data)
                | Self::Complete(data)
                | Self::Exception(data)
                | Self::Echo(data) => data.len(),
                _ => 0,
            }
    }
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Slot(u32),
    Batch(u64),
}

/// A batch, and the name that it gave to one of its jobs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) batch: u64,
    pub(super) tag: u64,
}

#[derive(Debug)]
struct Mailbox {
    letters: VecDeque<Letter>,
    unread_bytes: usize,
    mode: Mode,
    /// Nobody waits any more: what comes is thrown away.
    abandoned: bool,
    /// Nothing more comes.
    ended: bool,
    /// Too much has come; the rest is thrown away.
    full: bool,
    member: Option<Member>,
}

impl Mailbox {
    fn put(&mut self, letter: Letter) {
        self.unread_bytes += letter.bytes();
        self.letters.push_back(letter);
    }
}

/// The mailboxes of one connection, by slot.
#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    slots: Vec<Option<Mailbox>>,
    free: Vec<u32>,
    /// The queues of letters that have been used, so that the next job need not allocate one.
    spare: Vec<VecDeque<Letter>>,
    /// Per batch: the tags of jobs with letters, each once for every letter.
    batches: HashMap<u64, VecDeque<u64>>,
}

/// How many used queues are kept.
const SPARE_MAX: usize = 64;

impl Mailboxes {
    /// A slot for a request that has been made.
    pub(super) fn open(&mut self, mode: Mode, member: Option<Member>) -> u32 {
        let letters = self.spare.pop().unwrap_or_default();
        let mailbox =
            Mailbox { letters, unread_bytes: 0, mode, abandoned: false, ended: false, full: false, member };
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(mailbox);
                slot
            }
            None => {
                self.slots.push(Some(mailbox));
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 jobs are in flight")
            }
        }
    }

    fn get(&mut self, slot: u32) -> Option<&mut Mailbox> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    fn free(&mut self, slot: u32) {
        if let Some(mut mailbox) = self.slots[slot as usize].take() {
            mailbox.letters.clear();
            if self.spare.len() < SPARE_MAX {
                self.spare.push(mailbox.letters);
            }
            self.free.push(slot);
        }
    }

    /// Files an event; what is over `unread_bytes_max` is not kept.
    pub(super) fn deliver(&mut self, slot: u32, event: &ClientEvent<'_>, unread_bytes_max: usize) {
        let Some(mailbox) = self.get(slot) else { return };
        let last = event.is_last(mailbox.mode);
        mailbox.ended |= last;
        if mailbox.abandoned {
            if last {
                self.free(slot);
            }
            return;
        }
        if mailbox.full {
            return;
        }
        let letter = Letter::new(event);
        if mailbox.unread_bytes + letter.bytes() > unread_bytes_max.saturating_add(LETTER_BYTES) {
            mailbox.full = true;
            mailbox.letters.clear();
            mailbox.put(Letter::Unread);
        } else {
            mailbox.put(letter);
        }
        if let Some(Member { batch, tag }) = mailbox.member {
            self.batches.entry(batch).or_default().push_back(tag);
        }
    }

    /// The oldest letter.
    pub(super) fn take(&mut self, slot: u32) -> Option<Letter> {
        let mailbox = self.get(slot)?;
        let letter = mailbox.letters.pop_front()?;
        mailbox.unread_bytes -= letter.bytes().min(mailbox.unread_bytes);
        Some(letter)
    }

    /// Whether there is something for whoever waits for this.
    pub(super) fn is_ready(&self, awaited: Awaited) -> bool {
        match awaited {
            Awaited::Slot(slot) => {
                let mailbox = self.slots.get(slot as usize).and_then(Option::as_ref);
                mailbox.is_some_and(|mailbox| !mailbox.letters.is_empty())
            }
            Awaited::Batch(batch) => self.batches.get(&batch).is_some_and(|tags| !tags.is_empty()),
        }
    }

    /// The request was not made after all.
    pub(super) fn discard(&mut self, slot: u32) {
        self.free(slot);
    }

    /// Nobody waits for this request any more.
    pub(super) fn abandon(&mut self, slot: u32) {
        let Some(mailbox) = self.get(slot) else { return };
        mailbox.abandoned = true;
        if mailbox.ended {
            self.free(slot);
        }
    }

    /// The connection is gone, and with it everything in flight.
    pub(super) fn lose(&mut self, reason: &Arc<LossReason>) {
        for slot in 0..u32::try_from(self.slots.len()).expect("a slot's number has 32 bits") {
            let Some(mailbox) = self.get(slot) else { continue };
            if mailbox.ended {
                continue;
            }
            mailbox.ended = true;
            if mailbox.abandoned {
                self.free(slot);
                continue;
            }
            mailbox.put(Letter::Lost(Arc::clone(reason)));
            if let Some(Member { batch, tag }) = mailbox.member {
                self.batches.entry(batch).or_default().push_back(tag);
            }
        }
    }

    /// Moves the tags of a batch's jobs with letters to `ready`.
    pub(super) fn take_ready(&mut self, batch: u64, ready: &mut VecDeque<u64>) {
        if let Some(tags) = self.batches.get_mut(&batch) {
            ready.append(tags);
        }
    }

    /// The batch is over.
    pub(super) fn close_batch(&mut self, batch: u64) {
        self.batches.remove(&batch);
    }
}
