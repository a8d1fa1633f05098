//! What an owner does so that background jobs outlive the process.
//!
//! Every change of a durable job goes out through the outbox, in order. The
//! answer to a background submit waits until the store has all changes up to
//! it; the job itself waits for nothing and may run before. Foreground jobs
//! belong to a client that waits and are not stored.
//!
//! Nothing here knows how or where jobs are stored.

use std::collections::VecDeque;

use super::context::Context;
use super::message::{Message, Refusal, Reply, Waiter};
use super::outbox::Outbox;
use super::owner::{Owner, now_s};
use crate::queue::NewJob;
use crate::queue::body::Body;
use crate::queue::change::{Change, NotKept, Progress, RetryState, StoredJob};
use crate::queue::job::{Standing, State};

/// What the store has yet to confirm.
#[derive(Default)]
pub(super) struct Unstored {
    /// Changes handed over so far.
    handed: u64,
    /// Those that the store has.
    stored: u64,
    /// Why the store takes no more jobs for now, if so.
    pub(super) closed: Option<NotKept>,
    /// Answers that wait, in the order of `after`.
    answers: VecDeque<Answer>,
    /// Answers to operators that wait in the same way.
    texts: VecDeque<(u64, Reply, Vec<u8>)>,
}

impl Unstored {
    /// Whether the submit of a job still waits for the store.
    pub(super) fn awaits(&self, number: u64) -> bool {
        self.answers.iter().any(|answer| answer.number == number)
    }
}

/// The answer to a background submit.
struct Answer {
    /// It may go when so many changes are stored.
    after: u64,
    reply: Reply,
    number: u64,
}

impl Owner {
    fn hand_over<O: Outbox>(&mut self, change: Change, cx: &mut Context<'_, O>) {
        self.unstored.handed += 1;
        cx.out.store(change);
    }

    /// Has a background job stored, if jobs are; `body` is the job's.
    pub(super) fn keep<O: Outbox>(
        &mut self,
        at: u32,
        body: Body,
        not_before_s: u64,
        cx: &mut Context<'_, O>,
    ) {
        let job = self.queue.job(at);
        let stored = StoredJob {
            number: job.number,
            function: self.queue.functions[job.function].name.clone(),
            body,
            unique_bytes: job.unique_bytes,
            reducer_bytes: job.reducer_bytes,
            priority: job.priority,
            not_before_s,
            losses: job.losses,
            death: None,
        };
        let number = stored.number;
        self.queue.set_standing(at, Standing::Durable);
        self.hand_over(Change::Added(stored), cx);
        self.note_stored_after(self.unstored.handed, number, at);
    }

    /// A background submit joined a job: it is run even if nobody waits.
    pub(super) fn make_background<O: Outbox>(&mut self, at: u32, cx: &mut Context<'_, O>) {
        let job = self.queue.job(at);
        if job.standing != Standing::Foreground {
            return;
        }
        if cx.settings.durable {
            // A foreground job is never scheduled for later.
            self.keep(at, job.to_body(), 0, cx);
        } else {
            self.queue.set_standing(at, Standing::Background);
        }
    }

    /// Takes a job out, here and in the store.
    pub(super) fn remove<O: Outbox>(&mut self, at: u32, cx: &mut Context<'_, O>) {
        self.unkeep(at, cx);
        self.forget_ahead(at);
        self.queue.remove(at);
    }

    /// The store need not keep a job any more.
    pub(super) fn unkeep<O: Outbox>(&mut self, at: u32, cx: &mut Context<'_, O>) {
        let job = self.queue.job(at);
        if job.standing == Standing::Durable {
            let number = job.number;
            self.queue.set_standing(at, Standing::Background);
            self.hand_over(Change::Removed { number }, cx);
        }
    }

    /// A job was requeued, or is a dead letter, or no longer.
    pub(super) fn note_state<O: Outbox>(&mut self, at: u32, cx: &mut Context<'_, O>) {
        let job = self.queue.job(at);
        if job.standing == Standing::Durable {
            let not_before_s = match job.state {
                State::Scheduled { due_s } => due_s.whole(),
                _ => 0,
            };
            let state = RetryState { losses: job.losses, not_before_s, death: job.state.death() };
            let number = job.number;
            self.hand_over(Change::Altered { number, state }, cx);
            self.note_stored_after(self.unstored.handed, number, at);
        }
    }

    /// Answers an operator when what was done is stored.
    pub(super) fn answer_admin<O: Outbox>(&mut self, reply: Reply, text: Vec<u8>, cx: &mut Context<'_, O>) {
        let after = self.unstored.handed;
        if after == self.unstored.stored {
            cx.send(reply.conn.shard(), Message::AdminAnswer { reply, text });
        } else {
            self.unstored.texts.push_back((after, reply, text));
        }
    }

    /// Answers a submit: a background one when what it stands for is stored.
    pub(super) fn answer<O: Outbox>(
        &mut self,
        reply: Reply,
        number: u64,
        waiter: Option<Waiter>,
        cx: &mut Context<'_, O>,
    ) {
        let after = self.unstored.handed;
        if waiter.is_some() || after == self.unstored.stored {
            cx.send(reply.conn.shard(), Message::Created { reply, number, waiter });
        } else {
            self.unstored.answers.push_back(Answer { after, reply, number });
        }
    }

    /// The store has got on.
    pub(super) fn stored<O: Outbox>(&mut self, progress: &Progress, cx: &mut Context<'_, O>) {
        let unstored = &mut self.unstored;
        assert!(
            (unstored.stored..=unstored.handed).contains(&progress.changes),
            "a store confirms what it was given, in order"
        );
        (unstored.stored, unstored.closed) = (progress.changes, progress.closed);
        while let Some(answer) = self.unstored.answers.pop_front_if(|answer| answer.after <= progress.changes)
        {
            let Answer { reply, number, .. } = answer;
            let home = reply.conn.shard();
            if let Ok(at) = progress.refused.binary_search_by_key(&number, |&(number, _)| number) {
                cx.counts.refused += 1;
                let refusal = Refusal::NotKept(progress.refused[at].1);
                cx.send(home, Message::Refused { reply, waiter: None, refusal });
            } else {
                cx.send(home, Message::Created { reply, number, waiter: None });
            }
        }
        while let Some((_, reply, text)) =
            self.unstored.texts.pop_front_if(|(after, ..)| *after <= progress.changes)
        {
            cx.send(reply.conn.shard(), Message::AdminAnswer { reply, text });
        }
        for &(number, _) in &progress.refused {
            self.let_go(number);
        }
        self.spill_stored(progress.changes);
    }

    /// The store does not keep a job: whoever submitted it is told so. It
    /// goes, unless a worker has it already or a client waits for it.
    fn let_go(&mut self, number: u64) {
        let found = self.queue.find(number).or_else(|| self.queue.find_dead(number));
        let Some(at) = found else { return };
        let job = self.queue.job(at);
        if job.standing != Standing::Durable {
            return;
        }
        if job.running().is_some() {
            self.queue.set_standing(at, Standing::Background);
        } else if job.clients().is_empty() {
            self.queue.remove(at);
        } else {
            self.queue.set_standing(at, Standing::Foreground);
        }
    }

    /// Takes in a job or a dead letter that a store has kept.
    pub(super) fn restore<O: Outbox>(&mut self, job: StoredJob, cx: &mut Context<'_, O>) {
        let name = job.function.clone();
        let function = self.queue.functions.find(&name).unwrap_or_else(|| self.create(name));
        let filing = self.queue.filing(function, job.unique(), job.workload());
        // A job that was cancelled while it ran leaves its unique to another.
        let same = self.queue.find_same(function, filing, job.unique(), job.workload());
        let new = NewJob {
            function,
            number: job.number,
            body: job.body,
            unique_bytes: job.unique_bytes,
            reducer_bytes: job.reducer_bytes,
            priority: job.priority,
            standing: Standing::Durable,
            not_before_s: job.not_before_s,
            filing: filing.filter(|_| same.is_none() && job.death.is_none()),
        };
        let at = self.queue.add(new, now_s(cx));
        match job.death {
            Some(death) => self.queue.bury(at, job.losses, death),
            None => self.queue.set_losses(at, job.losses),
        }
        self.note_stored(job.number, at);
        self.spill_excess();
        if !matches!(self.queue.job(at).state, State::Scheduled { .. } | State::DeadLetter { .. }) {
            self.announce(function, 1, cx);
        }
    }

    /// Numbers up to this one have been given to jobs.
    pub(super) fn skip_numbers(&mut self, number: u64, shards: u16) {
        self.last_number = self.last_number.max(number / u64::from(shards));
    }
}
