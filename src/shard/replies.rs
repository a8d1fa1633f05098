//! The order of replies on one connection.
//!
//! JOB_CREATED carries no request id: clients match replies to requests by
//! order. Requests whose owners differ are answered out of order between the
//! shards; here their answers wait for each other. News of a job never
//! overtakes its JOB_CREATED: while any answer is held back, news queues
//! behind it. What an answer says is decided elsewhere.

use std::collections::VecDeque;

use super::outbox::{Tail, Urgency};
use crate::queue::body::Body;

/// Room that an emptied queue of replies may keep.
const SLOTS_KEPT: usize = 32;

/// Bytes that are due to a connection.
#[derive(Debug)]
struct Held {
    urgency: Urgency,
    head: Box<[u8]>,
    tail: Option<(Body, usize)>,
}

#[derive(Debug)]
enum Slot<Q> {
    Open(Q),
    Answered(Held),
}

/// Open questions `Q` and held answers of one connection, oldest first.
#[derive(Debug)]
pub(super) struct Replies<Q> {
    slots: VecDeque<Slot<Q>>,
    /// Sequence of the first slot.
    first: u32,
    /// Answered slots that wait for an earlier one.
    held: usize,
}

/// Where bytes go when their turn has come.
pub(super) trait Sink {
    /// Writes `head`, then `tail` if any.
    fn write(&mut self, urgency: Urgency, head: &[u8], tail: Option<Tail<'_>>);
}

impl<Q> Default for Replies<Q> {
    fn default() -> Self {
        Self { slots: VecDeque::new(), first: 0, held: 0 }
    }
}

impl<Q> Replies<Q> {
    /// How many replies are due, held answers included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Reserves the next place for the answer to `question`; its sequence.
    pub(super) fn open(&mut self, question: Q) -> u32 {
        let sequence = self.first.wrapping_add(u32::try_from(self.slots.len()).expect("replies are bounded"));
        self.slots.push_back(Slot::Open(question));
        sequence
    }

    /// The open question with this sequence.
    pub(super) fn question(&mut self, sequence: u32) -> Option<&mut Q> {
        match self.slots.get_mut(sequence.wrapping_sub(self.first) as usize)? {
            Slot::Open(question) => Some(question),
            Slot::Answered(_) => None,
        }
    }

    /// Answers an open question, at once if nothing before it is open.
    pub(super) fn answer(
        &mut self,
        sequence: u32,
        urgency: Urgency,
        head: &[u8],
        tail: Option<Tail<'_>>,
        sink: &mut impl Sink,
    ) {
        let at = sequence.wrapping_sub(self.first) as usize;
        if at == 0 && !self.slots.is_empty() {
            self.pop();
            sink.write(urgency, head, tail);
            self.flush(sink);
        } else if let Some(slot @ Slot::Open(_)) = self.slots.get_mut(at) {
            *slot = Slot::Answered(Held::new(urgency, head, tail));
            self.held += 1;
        }
    }

    /// A reply that is known as soon as its request is read.
    pub(super) fn reply(&mut self, urgency: Urgency, head: &[u8], sink: &mut impl Sink) {
        if self.slots.is_empty() {
            sink.write(urgency, head, None);
        } else {
            self.hold(Held::new(urgency, head, None));
        }
    }

    /// News of a job: at once, unless an answer is held back, which might be
    /// the job's own JOB_CREATED.
    pub(super) fn news(
        &mut self,
        urgency: Urgency,
        head: &[u8],
        tail: Option<Tail<'_>>,
        sink: &mut impl Sink,
    ) {
        if self.held == 0 {
            sink.write(urgency, head, tail);
        } else {
            self.hold(Held::new(urgency, head, tail));
        }
    }

    fn hold(&mut self, held: Held) {
        self.slots.push_back(Slot::Answered(held));
        self.held += 1;
    }

    fn pop(&mut self) -> Option<Slot<Q>> {
        let slot = self.slots.pop_front()?;
        self.first = self.first.wrapping_add(1);
        if self.slots.is_empty() && self.slots.capacity() > SLOTS_KEPT {
            self.slots.shrink_to(SLOTS_KEPT);
        }
        Some(slot)
    }

    fn flush(&mut self, sink: &mut impl Sink) {
        while let Some(Slot::Answered(_)) = self.slots.front() {
            let Some(Slot::Answered(held)) = self.pop() else { return };
            self.held -= 1;
            let tail = held.tail.as_ref().map(|(body, start)| Tail { body, start: *start });
            sink.write(held.urgency, &held.head, tail);
        }
    }
}

impl Held {
    fn new(urgency: Urgency, head: &[u8], tail: Option<Tail<'_>>) -> Self {
        Self { urgency, head: head.into(), tail: tail.map(|tail| (tail.body.clone(), tail.start)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Written(Vec<String>);

    impl Sink for Written {
        fn write(&mut self, _: Urgency, head: &[u8], _: Option<Tail<'_>>) {
            self.0.push(String::from_utf8(head.to_vec()).unwrap());
        }
    }

    #[test]
    fn answers_leave_in_the_order_of_their_questions() {
        let (mut replies, mut sink) = (Replies::default(), Written::default());
        let sequences: Vec<u32> = (0..3).map(|question| replies.open(question)).collect();
        replies.answer(sequences[2], Urgency::Idle, b"c", None, &mut sink);
        replies.answer(sequences[1], Urgency::Idle, b"b", None, &mut sink);
        assert!(sink.0.is_empty());
        assert_eq!(replies.question(sequences[0]), Some(&mut 0));
        assert_eq!(replies.question(sequences[1]), None);
        replies.reply(Urgency::Idle, b"d", &mut sink);
        replies.answer(sequences[0], Urgency::Idle, b"a", None, &mut sink);
        assert_eq!(sink.0, ["a", "b", "c", "d"]);
        assert_eq!(replies.len(), 0);
    }

    #[test]
    fn news_waits_only_for_held_answers() {
        let (mut replies, mut sink) = (Replies::default(), Written::default());
        let first = replies.open(());
        replies.news(Urgency::Idle, b"other job", None, &mut sink);
        let second = replies.open(());
        replies.answer(second, Urgency::Idle, b"created", None, &mut sink);
        replies.news(Urgency::Idle, b"data", None, &mut sink);
        assert_eq!(sink.0, ["other job"]);
        replies.answer(first, Urgency::Idle, b"first", None, &mut sink);
        assert_eq!(sink.0, ["other job", "first", "created", "data"]);
    }

    #[test]
    fn a_late_or_repeated_answer_is_ignored() {
        let (mut replies, mut sink) = (Replies::default(), Written::default());
        let first = replies.open(());
        let second = replies.open(());
        replies.answer(second, Urgency::Idle, b"b", None, &mut sink);
        replies.answer(second, Urgency::Idle, b"again", None, &mut sink);
        replies.answer(first, Urgency::Idle, b"a", None, &mut sink);
        replies.answer(first, Urgency::Idle, b"again", None, &mut sink);
        assert_eq!(sink.0, ["a", "b"]);
    }
}
