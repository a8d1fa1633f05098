//! The owner's part of a shard: the jobs of the functions that hash to it.
//!
//! Decides which jobs exist, who runs them and who is told. Knows homes only
//! by their messages; `interest.rs` is where it tells them that jobs wait.
//!
//! Rule 8 of the belief mirror: `Ready` is sent before the `Created` of the job
//! that it is about.

use super::client::Key;
use super::context::Context;
use super::durable::Unstored;
use super::ids::{ConnId, Now, ShardId};
use super::interest::Interest;
use super::message::{
    Assignment, Bests, Claimed, JobStatus, Message, Others, Refusal, Reply, Run, Submit, Waiter, WorkKind,
};
use super::outbox::{Event, Outbox};
use super::retry::OwnPolicies;
use super::runnable::{Heard, Runnable};
use super::settings::Settings;
use super::spill::Spill;
use crate::protocol::retry::Cause;
use crate::queue::body::Body;
use crate::queue::job::{Party, Priority, Standing, State, Waiting, workload_at};
use crate::queue::name::Name;
use crate::queue::{JobView, NewJob, Queue};

/// Jobs, and the homes that are interested in them.
#[derive(Default)]
pub(super) struct Owner {
    pub(super) queue: Queue,
    /// By index of the function.
    pub(super) interest: Vec<Interest>,
    pub(super) runnable: Runnable,
    /// Of `interest`, by home.
    pub(super) heard: Heard,
    /// The last number given to a job, divided by the number of shards.
    pub(super) last_number: u64,
    pub(super) unstored: Unstored,
    pub(super) spill: Spill,
    pub(super) policies: OwnPolicies,
    /// Index of the function of the last submit.
    last_function: u32,
}

impl Owner {
    pub(super) fn new(id: ShardId, settings: &Settings) -> Self {
        let queue = if settings.known_hashes { Queue::with_known_hashes() } else { Queue::default() };
        Self { queue, policies: OwnPolicies::new(id, settings), ..Self::default() }
    }

    pub(super) fn submit<O: Outbox>(&mut self, submit: Submit, cx: &mut Context<'_, O>) {
        let Some(function) = self.function(&submit.function, cx) else {
            return refuse(&submit, Refusal::TooManyFunctions, cx);
        };
        let unique = &submit.body[..usize::from(submit.unique_bytes)];
        let workload = &submit.body[workload_at(submit.unique_bytes, submit.reducer_bytes)..];
        let filing = self.queue.filing(function, unique, workload);
        if let Some(at) = self.queue.find_same(function, filing, unique, workload) {
            return self.join(at, &submit, cx);
        }
        if self.queue.functions[function].is_full(submit.priority) {
            return refuse(&submit, Refusal::QueueFull, cx);
        }
        let kept = (submit.waiter.is_none() && cx.settings.durable).then(|| submit.body.clone());
        if kept.is_some()
            && let Some(why) = self.unstored.closed
        {
            return refuse(&submit, Refusal::NotKept(why), cx);
        }
        let number = self.next_number(cx);
        report_accepted(&submit, cx);
        let new = NewJob {
            function,
            number,
            body: submit.body,
            unique_bytes: submit.unique_bytes,
            reducer_bytes: submit.reducer_bytes,
            priority: submit.priority,
            standing: if submit.waiter.is_some() { Standing::Foreground } else { Standing::Background },
            not_before_s: submit.not_before_s,
            filing,
        };
        let at = self.queue.add(new, now_s(cx));
        if let Some(waiter) = submit.waiter {
            self.queue.clients_mut(at).push(waiting(waiter));
        }
        if let Some(body) = kept {
            self.keep(at, body, submit.not_before_s, cx);
        }
        cx.counts.submitted += 1;
        // An epoch job wakes nobody before its time: there is nothing to grab.
        if !matches!(self.queue.job(at).state, State::Scheduled { .. }) {
            self.announce(function, 1, cx);
        }
        self.answer(submit.reply, number, submit.waiter, cx);
    }

    /// Submits with these keys are about to come.
    pub(super) fn foresee<'a>(&self, keys: impl Iterator<Item = Key<'a>>) {
        if !self.queue.is_deep() {
            return;
        }
        for Key { function, unique, workload } in keys {
            if let Some(function) = self.find(function) {
                self.queue.fetch(function, unique, workload);
            }
        }
    }

    /// A submit of a job that is already there.
    fn join<O: Outbox>(&mut self, at: u32, submit: &Submit, cx: &mut Context<'_, O>) {
        let stores = submit.waiter.is_none() && cx.settings.durable;
        if stores
            && self.queue.job(at).standing == Standing::Foreground
            && let Some(why) = self.unstored.closed
        {
            return refuse(submit, Refusal::NotKept(why), cx);
        }
        match submit.waiter {
            Some(waiter) => self.queue.clients_mut(at).push(waiting(waiter)),
            None => self.make_background(at, cx),
        }
        cx.counts.coalesced += 1;
        let number = self.queue.job(at).number;
        self.answer(submit.reply, number, submit.waiter, cx);
    }

    pub(super) fn claim<O: Outbox>(
        &mut self,
        worker: ConnId,
        functions: &[Claimed],
        floor: Priority,
        others: Others,
        cx: &mut Context<'_, O>,
    ) {
        let taken = self.take(worker, functions, floor, others, cx);
        if let Some(at) = taken
            && self.is_spilling()
        {
            self.note_taken(at, cx);
            if self.queue.job(at).is_spilled() {
                return self.wait_for_workload(at, worker, functions, others, cx);
            }
        }
        self.answer_claim(worker, taken, functions, others, cx);
    }

    /// Gives a worker the job that was taken for it, or tells it that there is none.
    pub(super) fn answer_claim<O: Outbox>(
        &mut self,
        worker: ConnId,
        taken: Option<u32>,
        functions: &[Claimed],
        others: Others,
        cx: &mut Context<'_, O>,
    ) {
        let home = worker.shard();
        let function = taken.map(|at| self.queue.job(at).function);
        let (mut bests, mut key) = (Bests::new(), None);
        for claimed in functions {
            let Some(best) = self.correct(home, claimed.function.0) else { continue };
            if function == Some(claimed.function.0) {
                key = Some(best.0);
            }
            bests.push(best);
        }
        let (Some(at), Some(function)) = (taken, function) else {
            cx.counts.missed += 1;
            if others == Others::AnyOrNews {
                self.correct_what_was_heard(home, &mut bests);
            }
            return cx.send(home, Message::Missed { worker, bests });
        };
        if key.is_none()
            && let Some(best) = self.correct(home, function)
        {
            key = Some(best.0);
            bests.push(best);
        }
        let job = self.queue.job(at);
        let run = Run { number: job.number, losses: job.losses, place: at };
        let Some(key) = key else {
            // The worker has gone while the workload was on its way.
            return self.returned(worker, run, cx);
        };
        let job = self.queue.job(at);
        let job = Assignment {
            run,
            function: key,
            body: job.shared_body().clone(),
            unique_bytes: job.unique_bytes,
            reducer_bytes: job.reducer_bytes,
        };
        cx.counts.assigned += 1;
        cx.send(home, Message::Assigned { worker, job, bests });
    }

    fn take<O: Outbox>(
        &mut self,
        worker: ConnId,
        functions: &[Claimed],
        floor: Priority,
        others: Others,
        cx: &Context<'_, O>,
    ) -> Option<u32> {
        for priority in Priority::FROM_HIGH.into_iter().take_while(|&priority| priority >= floor) {
            for claimed in functions {
                let deadline_us = match claimed.timeout_ms {
                    0 => u64::MAX,
                    ms => cx.now.mono_us + u64::from(ms) * 1000,
                };
                let taken = self.queue.take(claimed.function.0, priority, party(worker), deadline_us);
                if taken.is_some() {
                    return taken;
                }
            }
            if others != Others::No
                && let Some(function) = self.another(worker.shard(), priority)
            {
                return self.queue.take(function, priority, party(worker), u64::MAX);
            }
        }
        None
    }

    /// A function that a home has workers of, with a job of this priority.
    fn another(&mut self, home: ShardId, priority: Priority) -> Option<u32> {
        let Self { queue, interest, runnable, .. } = self;
        let has = |function: u32| queue.functions[function].has(priority);
        let wanted = |function: u32| interest[function as usize].homes.iter().any(|entry| entry.home == home);
        runnable.next(priority, has, wanted)
    }

    pub(super) fn work<O: Outbox>(
        &mut self,
        worker: ConnId,
        run: Run,
        kind: WorkKind,
        body: &Body,
        cx: &mut Context<'_, O>,
    ) {
        // The home has checked that the worker holds the job; it may have run
        // out of time since.
        let Some(at) = self.held_by(run, worker) else { return };
        match kind {
            WorkKind::Status { numerator, denominator } => {
                self.queue.set_progress(at, numerator, denominator)
            }
            WorkKind::Fail => return self.fail(at, Cause::Fail, worker, body, cx),
            WorkKind::Exception => return self.fail(at, Cause::Exception, worker, body, cx),
            WorkKind::Data | WorkKind::Warning | WorkKind::Complete => {}
        }
        tell(self.queue.job(at), kind, body, Some(worker), cx);
        if kind == WorkKind::Complete {
            cx.counts.completed += 1;
            self.remove(at, cx);
        }
    }

    pub(super) fn abandoned<O: Outbox>(&mut self, worker: ConnId, runs: &[Run], cx: &mut Context<'_, O>) {
        for &run in runs {
            if let Some(at) = self.held_by(run, worker) {
                self.lose(at, Cause::Lost, cx);
            }
        }
    }

    pub(super) fn returned<O: Outbox>(&mut self, worker: ConnId, run: Run, cx: &mut Context<'_, O>) {
        let Some(at) = self.held_by(run, worker) else { return };
        if self.queue.job(at).is_unwanted() {
            self.remove(at, cx);
            return;
        }
        let function = self.queue.job(at).function;
        self.queue.restore(at);
        self.announce(function, 1, cx);
    }

    pub(super) fn detach<O: Outbox>(&mut self, waiter: Waiter, number: u64, cx: &mut Context<'_, O>) {
        let Some(at) = self.queue.find(number) else { return };
        let clients = self.queue.clients_mut(at);
        if !clients.remove(waiting(waiter)) || !clients.as_slice().is_empty() {
            return;
        }
        let job = self.queue.job(at);
        if job.standing != Standing::Foreground {
            return;
        }
        cx.counts.abandoned += 1;
        // As gearmand: the worker goes on, and a client that comes back joins again.
        if job.running().is_none() {
            self.remove(at, cx);
        }
    }

    pub(super) fn status<O: Outbox>(&mut self, reply: Reply, number: u64, cx: &mut Context<'_, O>) {
        let status = self.queue.find(number).map(|at| status_of(self.queue.job(at)));
        cx.send(reply.conn.shard(), Message::StatusAnswer { reply, status });
    }

    pub(super) fn unique_status<O: Outbox>(&mut self, reply: Reply, unique: &[u8], cx: &mut Context<'_, O>) {
        let status = self.queue.find_unique(unique).map(|at| status_of(self.queue.job(at)));
        cx.send(reply.conn.shard(), Message::UniqueAnswer { reply, status });
    }

    pub(super) fn expire<O: Outbox>(&mut self, cx: &mut Context<'_, O>) {
        while let Some(function) = self.queue.release_due(now_s(cx)) {
            self.announce(function, 1, cx);
        }
        while let Some(at) = self.queue.overdue(cx.now.mono_us) {
            self.time_out(at, cx);
        }
    }

    /// Monotonic time at which `expire` may have something to do.
    pub(super) fn deadline_us(&self, now: Now) -> Option<u64> {
        let epoch = self.queue.next_due_s().map(|due_s| {
            let wait_us = due_s.saturating_mul(1_000_000).saturating_sub(now.unix_us);
            // The clock may be set while nothing happens: look again soon.
            now.mono_us + wait_us.min(EPOCH_LOOK_US)
        });
        [epoch, self.queue.next_deadline_us()].into_iter().flatten().min()
    }

    /// Sends WORK_FAIL to who waits and forgets the job, or, if it runs, lets
    /// its worker finish unheard. Whether there was such a job.
    pub(super) fn cancel<O: Outbox>(&mut self, number: u64, cx: &mut Context<'_, O>) -> bool {
        let Some(at) = self.queue.find(number) else { return false };
        let job = self.queue.job(at);
        if job.standing == Standing::Dead {
            return true;
        }
        cx.counts.cancelled += 1;
        tell(job, WorkKind::Fail, &Body::copy(b""), None, cx);
        if job.running().is_some() {
            self.unkeep(at, cx);
            self.queue.kill_running(at);
        } else {
            self.remove(at, cx);
        }
        true
    }

    /// Whether the function exists now.
    pub(super) fn create_function<O: Outbox>(&mut self, name: &Name, cx: &Context<'_, O>) -> bool {
        self.function(name, cx).is_some()
    }

    /// Forgets a function with its dead letters, and fails what waits in it.
    pub(super) fn drop_function<O: Outbox>(
        &mut self,
        name: &[u8],
        cx: &mut Context<'_, O>,
    ) -> Result<(), DropRefusal> {
        let function = self.queue.functions.find(name).ok_or(DropRefusal::NotFound)?;
        if self.interest[function as usize].workers() > 0 || self.queue.functions[function].running() > 0 {
            return Err(DropRefusal::InUse);
        }
        let entry = &self.queue.functions[function];
        if entry.total() + entry.dead() > 0 {
            for at in self.queue.jobs_of(function) {
                if self.queue.job(at).state.death().is_some() {
                    self.purge(at, cx);
                    continue;
                }
                tell(self.queue.job(at), WorkKind::Fail, &Body::copy(b""), None, cx);
                cx.counts.cancelled += 1;
                self.remove(at, cx);
            }
        }
        self.queue.functions.remove(function);
        self.runnable.forget(function);
        Ok(())
    }

    /// A running job is out of time (gearmand-spec.md, section 9).
    fn time_out<O: Outbox>(&mut self, at: u32, cx: &mut Context<'_, O>) {
        let job = self.queue.job(at);
        let Some(running) = job.running() else { return };
        let (worker, number) = (ConnId::from_bits(running.worker.name()), job.number);
        let handle = cx.settings.handle_prefix.handle(number);
        let name = &self.queue.functions[job.function].name;
        cx.out.event(Event::TimedOut { handle: handle.as_bytes(), function: name });
        cx.send(worker.shard(), Message::Released { worker, number });
        self.lose(at, Cause::Timeout, cx);
    }

    /// A running job, if it is in this run and this worker has it.
    fn held_by(&self, run: Run, worker: ConnId) -> Option<u32> {
        let job = self.queue.numbered(run.place, run.number)?;
        let running = job.running()?;
        (job.losses == run.losses && running.worker == party(worker)).then_some(run.place)
    }

    /// The index of a function, most likely that of the last submit.
    fn find(&self, name: &[u8]) -> Option<u32> {
        let last = self.queue.functions.get(self.last_function);
        match last {
            Some(function) if *function.name == *name => Some(self.last_function),
            _ => self.queue.functions.find(name),
        }
    }

    fn function<O: Outbox>(&mut self, name: &Name, cx: &Context<'_, O>) -> Option<u32> {
        match self.find(name) {
            Some(function) => {
                self.last_function = function;
                Some(function)
            }
            None if self.queue.functions.len() >= cx.settings.functions_max => None,
            None => Some(self.create(name.clone())),
        }
    }

    pub(super) fn create(&mut self, name: Name) -> u32 {
        let function = self.queue.functions.insert(name);
        if self.interest.len() <= function as usize {
            self.interest.resize_with(function as usize + 1, Interest::default);
        }
        function
    }

    /// Numbers are about the microseconds since the Unix epoch, so they never
    /// repeat, not even after a restart, and tell a job's age.
    fn next_number<O: Outbox>(&mut self, cx: &Context<'_, O>) -> u64 {
        let shards = u64::from(cx.settings.shards);
        self.last_number = (self.last_number + 1).max(cx.now.unix_us / shards);
        self.last_number * shards + u64::from(cx.id.0)
    }
}

/// Why a function was not dropped.
pub(super) enum DropRefusal {
    NotFound,
    InUse,
}

/// How long an epoch job may be missed after the clock was set forward.
const EPOCH_LOOK_US: u64 = 1_000_000;

pub(super) fn now_s<O: Outbox>(cx: &Context<'_, O>) -> u64 {
    cx.now.unix_us / 1_000_000
}

pub(super) fn party(conn: ConnId) -> Party {
    Party::new(conn.to_bits())
}

fn waiting(waiter: Waiter) -> Waiting {
    Waiting { client: party(waiter.conn), ticket: waiter.ticket }
}

fn refuse<O: Outbox>(submit: &Submit, refusal: Refusal, cx: &mut Context<'_, O>) {
    cx.counts.refused += 1;
    let message = Message::Refused { reply: submit.reply, waiter: submit.waiter, refusal };
    cx.send(submit.reply.conn.shard(), message);
}

fn report_accepted<O: Outbox>(submit: &Submit, cx: &mut Context<'_, O>) {
    if !cx.settings.report_accepted {
        return;
    }
    let (unique, rest) = submit.body.split_at(usize::from(submit.unique_bytes));
    let mut when = itoa::Buffer::new();
    let last = match submit.reducer_bytes {
        0 => when.format(submit.not_before_s).as_bytes(),
        bytes => &rest[1..][..usize::from(bytes)],
    };
    cx.out.event(Event::Accepted { function: &submit.function, unique, last });
}

/// Sends news of a job to every client that waits for it.
pub(super) fn tell<O: Outbox>(
    job: JobView<'_>,
    kind: WorkKind,
    body: &Body,
    producer: Option<ConnId>,
    cx: &mut Context<'_, O>,
) {
    for waiting in job.clients() {
        let conn = ConnId::from_bits(waiting.client.name());
        let waiter = Waiter { conn, ticket: waiting.ticket };
        cx.send(
            conn.shard(),
            Message::Deliver { waiter, number: job.number, kind, body: body.clone(), producer },
        );
    }
}

fn status_of(job: JobView<'_>) -> JobStatus {
    let running = job.running();
    JobStatus {
        number: job.number,
        running: running.is_some(),
        numerator: running.map_or(0, |running| running.numerator),
        denominator: running.map_or(0, |running| running.denominator),
        clients: u32::try_from(job.clients().len()).unwrap_or(u32::MAX),
    }
}
