//! What becomes of a job whose run came to nothing.
//!
//! Without a policy that is as in gearmand (gearmand-spec.md, section 8): a
//! lost or late run is followed by another one at once, as often as
//! `--job-retries` allows, and WORK_FAIL is the end. A function's policy
//! overrides that: it says after what its jobs are run again, how often and
//! when, and what is left of a background job after its last attempt. A
//! foreground job has a client that waits, who is told and knows best: its
//! WORK_FAIL is always the end, and it is never a dead letter.

use std::collections::BTreeMap;

use super::context::Context;
use super::ids::{ConnId, ShardId};
use super::message::WorkKind;
use super::outbox::{Event, Outbox};
use super::owner::{Owner, tell};
use super::placement::owner_of;
use super::settings::{Retries, Settings};
use crate::protocol::field;
use crate::protocol::retry::{Cause, EVERY_FUNCTION, RetryPolicy, Then};
use crate::queue::body::Body;
use crate::queue::job::Standing;

/// The policies of an owner's functions.
#[derive(Default)]
pub(super) struct OwnPolicies {
    of_every: Option<RetryPolicy>,
    by_function: BTreeMap<Box<[u8]>, RetryPolicy>,
}

impl OwnPolicies {
    pub(super) fn new(id: ShardId, settings: &Settings) -> Self {
        let own = |name: &[u8]| name != EVERY_FUNCTION && owner_of(name, settings.shards) == id;
        let by_function = settings.policies.iter().filter(|(name, _)| own(name));
        Self {
            of_every: settings.policies.get(EVERY_FUNCTION).copied().flatten(),
            by_function: by_function.filter_map(|(name, &policy)| Some((name.clone(), policy?))).collect(),
        }
    }

    fn of(&self, function: &[u8]) -> Option<&RetryPolicy> {
        self.by_function.get(function).or(self.of_every.as_ref())
    }
}

/// What becomes of a job.
enum Verdict {
    /// It is run again, after so many seconds.
    Again { wait_s: u32 },
    /// It is kept as a dead letter.
    Dies,
    /// It is over.
    Ends,
}

impl Owner {
    /// A run of a job came to nothing, and its worker will not be heard on it.
    pub(super) fn lose<O: Outbox>(&mut self, at: u32, cause: Cause, cx: &mut Context<'_, O>) {
        let job = self.queue.job(at);
        if job.is_unwanted() {
            self.remove(at, cx);
            return;
        }
        let verdict = self.verdict(at, cause, cx.settings);
        if let Verdict::Again { wait_s } = verdict {
            return self.run_again(at, wait_s, cx);
        }
        let job = self.queue.job(at);
        if matches!(verdict, Verdict::Ends) {
            let handle = cx.settings.handle_prefix.handle(job.number);
            cx.out.event(Event::Dropped { handle: handle.as_bytes(), unique: job.unique() });
            cx.counts.dropped += 1;
        }
        tell(job, WorkKind::Fail, &Body::copy(b""), None, cx);
        match verdict {
            Verdict::Dies => self.bury(at, cause, cx),
            _ => self.remove(at, cx),
        }
    }

    /// The worker of a job says that it came to nothing.
    pub(super) fn fail<O: Outbox>(
        &mut self,
        at: u32,
        cause: Cause,
        worker: ConnId,
        body: &Body,
        cx: &mut Context<'_, O>,
    ) {
        let verdict = self.verdict(at, cause, cx.settings);
        if let Verdict::Again { wait_s } = verdict {
            return self.run_again(at, wait_s, cx);
        }
        let kind = if cause == Cause::Exception { WorkKind::Exception } else { WorkKind::Fail };
        tell(self.queue.job(at), kind, body, Some(worker), cx);
        match verdict {
            Verdict::Dies => self.bury(at, cause, cx),
            _ => {
                cx.counts.failed += 1;
                self.remove(at, cx);
            }
        }
    }

    fn verdict(&self, at: u32, cause: Cause, settings: &Settings) -> Verdict {
        let job = self.queue.job(at);
        let background = matches!(job.standing, Standing::Background | Standing::Durable);
        let attempts = job.losses.saturating_add(1);
        let Some(policy) = self.policies.of(&self.queue.functions[job.function].name) else {
            let spent = matches!(settings.retries, Retries::Attempts(most) if u32::from(attempts) >= most);
            return if cause.is_failure() || spent { Verdict::Ends } else { Verdict::Again { wait_s: 0 } };
        };
        // What the worker has answered is over, unless the policy minds it.
        if cause.is_failure() && !(policy.on.fail && background) {
            return Verdict::Ends;
        }
        if policy.on.has(cause) && attempts < policy.attempts {
            return Verdict::Again { wait_s: policy.wait_s(attempts) };
        }
        if background && policy.then == Then::Dead { Verdict::Dies } else { Verdict::Ends }
    }

    fn run_again<O: Outbox>(&mut self, at: u32, wait_s: u32, cx: &mut Context<'_, O>) {
        cx.counts.requeued += 1;
        if wait_s > 0 {
            // Whole seconds, and never early.
            let due_us = cx.now.unix_us.saturating_add(u64::from(wait_s) * 1_000_000);
            self.queue.requeue_later(at, due_us.div_ceil(1_000_000));
            return self.note_state(at, cx);
        }
        let function = self.queue.job(at).function;
        self.queue.requeue(at);
        self.note_state(at, cx);
        self.announce(function, 1, cx);
    }

    /// Whether the policy holds from now on; there is room for so many.
    pub(super) fn set_policy<O: Outbox>(
        &mut self,
        function: &[u8],
        policy: Option<RetryPolicy>,
        cx: &mut Context<'_, O>,
    ) -> bool {
        let OwnPolicies { of_every, by_function } = &mut self.policies;
        if function == EVERY_FUNCTION {
            *of_every = policy;
            // Every owner is told; one of them says so.
            if cx.id != ShardId(0) {
                return true;
            }
        } else if let Some(policy) = policy {
            if by_function.len() >= cx.settings.functions_max && !by_function.contains_key(function) {
                return false;
            }
            by_function.insert(function.into(), policy);
        } else {
            by_function.remove(function);
        }
        cx.out.event(Event::Policy { function, policy });
        true
    }

    // `<name>\t<policy>`; what is for every function stands first.
    pub(super) fn policies_text(&self, id: ShardId) -> Vec<u8> {
        let of_every = self.policies.of_every.as_ref().filter(|_| id == ShardId(0));
        let of_every = of_every.map(|policy| (EVERY_FUNCTION, policy));
        let by_function = self.policies.by_function.iter().map(|(name, policy)| (&**name, policy));
        let mut text = Vec::new();
        for (name, policy) in of_every.into_iter().chain(by_function) {
            field::push(&mut text, name);
            text.extend_from_slice(format!("\t{policy}\n").as_bytes());
        }
        text
    }
}
