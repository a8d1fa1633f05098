//! Workers of a home: what they serve, the jobs that they grab, and what they
//! say about them.
//!
//! Rules (numbers as in `owner.rs`):
//! 5. A GRAB waits while nothing is known yet of one of the worker's functions.
//! 6. Without a belief above none: NO_JOB, at once or after a moment
//!    (`open_grab.rs`), and nobody is asked. Otherwise the
//!    owner of the best-believed function is asked for a job of its functions,
//!    down to what the worker's other functions promise. A miss lowers beliefs,
//!    and the choice is made again. A worker with many functions, all that its
//!    home serves, takes the owners in turn and is content with a job of any;
//!    while such claims mostly find one, a miss only leads to the next owner.

use std::cmp::Reverse;
use std::iter;

use smallvec::SmallVec;

use super::client::{HANDLE_BYTES_MAX, NAMES_BYTES_MAX};
use super::connection::Question;
use super::context::Context;
use super::home::Home;
use super::ids::{ConnId, ShardId};
use super::message::{
    Assignment, Best, Bests, Claimed, HomeFunction, Message, Others, OwnerFunction, Reply, Run, WorkKind,
};
use super::outbox::{Outbox, Tail, Urgency};
use super::outlook::Outlook;
use super::placement::owner_of;
use super::registrations::Registration;
use super::sleep::is_asleep;
use super::worker::{Grab, GrabForm, Held, Sleep, Worker};
use crate::protocol::encode::encode_head;
use crate::protocol::number;
use crate::protocol::packet::{Command, Magic};
use crate::queue::body::Body;
use crate::queue::job::{Priority, workload_at};
use crate::queue::name::Name;

/// A claim names so many functions at most: its work stays bounded.
pub(super) const CLAIM_FUNCTIONS_MAX: usize = 16;

/// Ready functions that are looked at for others to name beside the chosen one.
const READY_LOOKED_AT_MAX: usize = 64;

/// Claims that found a job of late, at most; each in vain halves them.
const LUCK_MAX: u8 = 8;

/// Claims in vain for one GRAB after which beliefs are corrected whatever the luck.
const MISSES_MAX: u8 = 3;

/// A CAN_DO_TIMEOUT below this is raised to it (gearmand-spec.md, section 9).
const TIMEOUT_MS_MIN: i64 = 1000;

/// Longest number in a CAN_DO_TIMEOUT, longest denominator in a WORK_STATUS.
const TIMEOUT_DIGITS_MAX: usize = 20;
const DENOMINATOR_DIGITS_MAX: usize = 10;

impl Home {
    pub(super) fn can_do_timeout<O: Outbox>(
        &mut self,
        conn: ConnId,
        name: &[u8],
        timeout: &[u8],
        cx: &mut Context<'_, O>,
    ) {
        let timeout = number::parse(timeout).ok().filter(|_| timeout.len() <= TIMEOUT_DIGITS_MAX);
        let Some(timeout_ms) = timeout else {
            return self.reject(conn, "the time of a CAN_DO_TIMEOUT is out of range", cx);
        };
        let timeout_ms = if timeout_ms <= 0 { 0 } else { timeout_ms.max(TIMEOUT_MS_MIN) };
        self.can_do(conn, name, u32::try_from(timeout_ms).unwrap_or(u32::MAX), cx);
    }

    /// Registers a function; once more only changes its time.
    pub(super) fn can_do<O: Outbox>(
        &mut self,
        conn: ConnId,
        name: &[u8],
        timeout_ms: u32,
        cx: &mut Context<'_, O>,
    ) {
        let known = self.beliefs.find(name);
        let Some(worker) = self.worker_of(conn) else { return };
        worker.timed |= timeout_ms != 0;
        if let Some(registration) = known.and_then(|slot| worker.functions.get_mut(slot)) {
            registration.timeout_ms = timeout_ms;
            return;
        }
        if name.len() > NAMES_BYTES_MAX {
            return self.refuse(conn, "ARGUMENT_TOO_LARGE", "Function name too large", cx);
        }
        if worker.functions.len() >= cx.settings.worker_functions_max {
            let text = "Worker has too many functions, raise --functions-per-worker";
            return self.refuse(conn, "QUEUE_ERROR", text, cx);
        }
        if known.is_none() && self.beliefs.len() >= cx.settings.functions_max {
            let text = "Server has too many functions, raise --max-functions";
            return self.refuse(conn, "QUEUE_ERROR", text, cx);
        }
        let owner = owner_of(name, cx.settings.shards);
        let slot = known.unwrap_or_else(|| self.beliefs.insert(Name::from(name), owner));
        self.beliefs.at_mut(slot).workers += 1;
        let Some(worker) = self.worker_of(conn) else { return };
        worker.functions.insert(slot, timeout_ms);
        worker.unlist(slot);
        let asleep = is_asleep(worker);
        self.note(conn, slot);
        self.tell_interest(slot, cx);
        if asleep {
            // A sleeper that learns something new must not miss what waits there.
            self.line_up(conn, cx);
            if self.beliefs.at(slot).best.is_some() {
                self.wake(slot, 1, cx);
            }
        }
    }

    pub(super) fn cant_do<O: Outbox>(&mut self, conn: ConnId, name: &[u8], cx: &mut Context<'_, O>) {
        if let Some(slot) = self.beliefs.find(name) {
            self.unregister(conn, slot, cx);
        }
    }

    pub(super) fn reset_abilities<O: Outbox>(&mut self, conn: ConnId, cx: &mut Context<'_, O>) {
        let Some(worker) = self.connections.worker_mut(conn) else { return };
        worker.outlook = Outlook::default();
        // All of them at once: looking for those of each function would take long.
        let lost = worker.held.drain().map(|(number, held)| (held.order, held.run(number))).collect();
        abandon(conn, lost, cx);
        let Some(worker) = self.connections.worker(conn) else { return };
        let slots: Vec<u32> = worker.functions.iter().map(|registration| registration.slot).collect();
        for slot in slots {
            self.unregister(conn, slot, cx);
        }
    }

    /// Ends one registration: its running jobs are given up, and a wake that
    /// the worker had for it goes to another.
    fn unregister<O: Outbox>(&mut self, conn: ConnId, slot: u32, cx: &mut Context<'_, O>) {
        let key = self.beliefs.key(slot);
        let Some(worker) = self.connections.worker_mut(conn) else { return };
        let Some(registration) = worker.functions.remove(slot) else { return };
        let mut lost: Vec<(u64, Run)> = Vec::new();
        worker.held.retain(|&number, held| {
            let keep = held.slot != slot;
            if !keep {
                lost.push((held.order, held.run(number)));
            }
            keep
        });
        let woken = matches!(worker.sleep, Sleep::Woken { function, .. } if function == key);
        abandon(conn, lost, cx);
        if registration.listing != 0 {
            self.strike(slot, 1);
        }
        if woken {
            self.wake_another(key, cx);
        }
        self.forget(slot, cx);
    }

    /// One registration of a function is gone from this home.
    fn forget<O: Outbox>(&mut self, slot: u32, cx: &mut Context<'_, O>) {
        self.beliefs.at_mut(slot).workers -= 1;
        self.tell_interest(slot, cx);
        self.trim_line(slot);
        if self.beliefs.at(slot).workers == 0 {
            self.beliefs.remove(slot);
        }
    }

    fn tell_interest<O: Outbox>(&mut self, slot: u32, cx: &mut Context<'_, O>) {
        let entry = self.beliefs.at(slot);
        let (owner, workers, function) = (entry.owner, entry.workers, entry.name.clone());
        cx.send(owner, Message::Interest { function, key: self.beliefs.key(slot), workers });
    }

    /// Its connection is gone: everything that it had goes to others.
    pub(super) fn worker_gone<O: Outbox>(&mut self, conn: ConnId, worker: &Worker, cx: &mut Context<'_, O>) {
        let lost = worker.held.iter().map(|(&number, held)| (held.order, held.run(number))).collect();
        abandon(conn, lost, cx);
        let woken = match worker.sleep {
            Sleep::Woken { function, .. } => Some(function),
            Sleep::Awake | Sleep::Asleep => worker.grab.and_then(|grab| grab.woken_for),
        };
        for registration in worker.functions.iter() {
            if registration.listing != 0 {
                self.strike(registration.slot, 1);
            }
        }
        if let Some(function) = woken {
            self.wake_another(function, cx);
        }
        for registration in worker.functions.iter() {
            self.forget(registration.slot, cx);
        }
    }

    pub(super) fn grab<O: Outbox>(&mut self, conn: ConnId, form: GrabForm, cx: &mut Context<'_, O>) {
        let Some(reply) = self.ask(conn, Question::Grab, cx) else { return };
        let Some(worker) = self.worker_of(conn) else { return };
        let woken_for = match std::mem::take(&mut worker.sleep) {
            Sleep::Woken { function, .. } => Some(function),
            Sleep::Awake | Sleep::Asleep => None,
        };
        let grab = Grab { woken_for, ..Grab::new(form, reply.sequence) };
        if worker.grab.is_none() {
            worker.grab = Some(grab);
        } else if !self.line_up_behind(conn, grab, cx) {
            return;
        }
        self.go_on_grabbing(conn, cx);
    }

    /// Goes on with the worker's GRAB, and with those behind it while there are no jobs.
    pub(super) fn go_on_grabbing<O: Outbox>(&mut self, conn: ConnId, cx: &mut Context<'_, O>) {
        while self.is_vain(conn, cx) {
            self.answer_no_job(conn, cx);
        }
        self.update_hold(conn, cx);
    }

    /// Parks a GRAB (rule 5), claims (rule 6), or keeps it open. True when none of
    /// it is possible.
    fn is_vain<O: Outbox>(&mut self, conn: ConnId, cx: &mut Context<'_, O>) -> bool {
        let Some(worker) = self.connections.worker(conn) else { return false };
        let Some(grab) = worker.grab else { return false };
        if let Some(slot) = self.unknown_of(worker) {
            self.beliefs.at_mut(slot).parked.push(conn);
            return false;
        }
        if worker.functions.len() > CLAIM_FUNCTIONS_MAX
            && (grab.misses == 0 || !self.is_unlucky(grab))
            && self.serves_all(worker, cx)
            && let Some((floor, owner)) = self.next_owner()
        {
            let others = if self.is_unlucky(grab) { Others::AnyOrNews } else { Others::Any };
            let functions = SmallVec::new();
            cx.send(owner, Message::Claim { worker: conn, functions, floor, others });
            return false;
        }
        let Some((priority, slot)) = self.choose(conn) else { return !self.keep_open(conn, cx) };
        let Some(worker) = self.connections.worker(conn) else { return false };
        let claim = match worker.functions.len() {
            ..=CLAIM_FUNCTIONS_MAX => self.claim_of_few(conn, worker, slot),
            _ => self.claim_of_many(conn, worker, priority, slot, cx),
        };
        cx.send(self.beliefs.at(slot).owner, claim);
        false
    }

    /// Answers the worker's GRAB, and turns to the one behind it.
    pub(super) fn answer_no_job<O: Outbox>(&mut self, conn: ConnId, cx: &mut Context<'_, O>) {
        let grab = self.connections.worker_mut(conn).and_then(|worker| worker.grab.take());
        let Some(grab) = grab else { return };
        self.put(Command::NoJob, &[], b"");
        let urgency = self.urgency_for(conn, 0);
        self.answer(Reply { conn, sequence: grab.sequence }, urgency, None, cx);
        if let Some(worker) = self.connections.worker_mut(conn) {
            worker.grab = worker.grabs_behind.pop_front();
        }
    }

    /// One of the worker's functions of which nothing is known yet.
    fn unknown_of(&self, worker: &Worker) -> Option<u32> {
        let unknown = self.beliefs.unknown();
        if unknown.len() <= worker.functions.len() {
            return unknown.iter().copied().find(|&slot| worker.functions.contains(slot));
        }
        let mut slots = worker.functions.iter().map(|registration| registration.slot);
        slots.find(|&slot| self.beliefs.at(slot).function.is_none())
    }

    /// The function to ask for: the one with the best belief, of several the one
    /// whose turn it is.
    pub(super) fn choose(&mut self, conn: ConnId) -> Option<(Priority, u32)> {
        let worker = self.connections.worker_mut(conn)?;
        worker.outlook.choose(&mut worker.functions, &self.beliefs)
    }

    /// A function is new to the worker, or has another turn.
    fn note(&mut self, conn: ConnId, slot: u32) {
        if let Some(worker) = self.connections.worker_mut(conn) {
            worker.outlook.note(slot, self.beliefs.at(slot).best, &mut worker.functions);
        }
    }

    /// What to ask the owner of `slot` for: its functions in their turns, and
    /// no priority below what is believed of the functions not asked for.
    fn claim_of_few(&self, conn: ConnId, worker: &Worker, slot: u32) -> Message {
        let owner = self.beliefs.at(slot).owner;
        let mut functions = SmallVec::new();
        let mut floor: Best = None;
        for &Registration { slot, timeout_ms, .. } in worker.functions.iter() {
            let belief = self.beliefs.at(slot);
            match belief.function {
                Some(function) if belief.owner == owner && belief.best.is_some() => {
                    functions.push(Claimed { function, timeout_ms });
                }
                _ => floor = floor.max(belief.best),
            }
        }
        Message::Claim { worker: conn, functions, floor: floor.unwrap_or(Priority::Low), others: Others::No }
    }

    /// Whether an owner may give the worker a job of any function that this home
    /// has told it of.
    fn serves_all<O: Outbox>(&self, worker: &Worker, cx: &Context<'_, O>) -> bool {
        cx.settings.shards > 1 && worker.functions.len() == self.beliefs.len() && !worker.timed
    }

    /// Whether owners are likely to have nothing, so that it is better to learn
    /// from one what is left than to ask on.
    fn is_unlucky(&self, grab: Grab) -> bool {
        self.luck == 0 || grab.misses >= MISSES_MAX
    }

    /// The owner whose turn it is among those of the best-believed functions.
    fn next_owner(&mut self) -> Option<(Priority, ShardId)> {
        let mut priorities = Priority::FROM_HIGH.into_iter();
        priorities.find_map(|priority| Some((priority, self.beliefs.next_owner(priority)?)))
    }

    /// The same for a worker whose functions are too many to be named. What is
    /// believed of so many is out of date for most, where other homes take
    /// their jobs as well: the owner may do with another function of its own.
    fn claim_of_many<O: Outbox>(
        &self,
        conn: ConnId,
        worker: &Worker,
        priority: Priority,
        slot: u32,
        cx: &Context<'_, O>,
    ) -> Message {
        let owner = self.beliefs.at(slot).owner;
        let others = if self.serves_all(worker, cx) { Others::AnyOrNews } else { Others::No };
        // With one shard nobody else takes what is believed here: one is enough.
        let looked_at = if others == Others::No && cx.settings.shards > 1 { READY_LOOKED_AT_MAX } else { 0 };
        let beside = self.beliefs.ready_beside(slot).take(looked_at);
        let beside = beside.filter(|&other| self.beliefs.at(other).owner == owner);
        let functions = iter::once(slot).chain(beside).filter_map(|slot| {
            let timeout_ms = worker.functions.get(slot)?.timeout_ms;
            Some(Claimed { function: self.beliefs.at(slot).function?, timeout_ms })
        });
        let functions = functions.take(CLAIM_FUNCTIONS_MAX).collect();
        Message::Claim { worker: conn, functions, floor: priority, others }
    }

    pub(super) fn assigned<O: Outbox>(
        &mut self,
        from: ShardId,
        conn: ConnId,
        job: &Assignment,
        bests: &Bests,
        cx: &mut Context<'_, O>,
    ) {
        self.believe(bests);
        let slot = self.beliefs.slot_of(job.function);
        let worker = self.connections.worker_mut(conn);
        let (Some(slot), Some(worker)) = (slot, worker) else {
            // The worker left while the job was on its way to it.
            return cx.send(from, Message::Returned { worker: conn, run: job.run });
        };
        let grab = worker.grab.take().expect("a claim is made for a GRAB, and the GRAB waits for it");
        worker.grabbed += 1;
        self.luck = (self.luck + 1).min(LUCK_MAX);
        let Run { number, losses, place } = job.run;
        worker.held.insert(number, Held { slot, losses, place, order: worker.grabbed });
        worker.functions.rotate(slot);
        worker.outlook.note(slot, self.beliefs.at(slot).best, &mut worker.functions);
        self.beliefs.at_mut(slot).pace.note(cx.now.mono_us);
        self.answer_assigned(conn, grab, slot, job, cx);
        if let Some(function) = grab.woken_for.filter(|&function| function != job.function) {
            self.wake_another(function, cx);
        }
        if let Some(worker) = self.connections.worker_mut(conn)
            && let Some(next) = worker.grabs_behind.pop_front()
        {
            worker.grab = Some(next);
            self.go_on_grabbing(conn, cx);
        }
        self.forget_moments();
    }

    fn answer_assigned<O: Outbox>(
        &mut self,
        conn: ConnId,
        grab: Grab,
        slot: u32,
        job: &Assignment,
        cx: &mut Context<'_, O>,
    ) {
        let handle = cx.settings.handle_prefix.handle(job.run.number);
        let function = &self.beliefs.at(slot).name;
        let (unique, rest) = job.body.split_at(usize::from(job.unique_bytes));
        let reducer = &rest[1..][..usize::from(job.reducer_bytes)];
        let start = workload_at(job.unique_bytes, job.reducer_bytes);
        let args: &[&[u8]] = &[handle.as_bytes(), function, unique, reducer];
        let (command, args) = match grab.form {
            GrabForm::Plain => (Command::JobAssign, &args[..2]),
            GrabForm::All if !reducer.is_empty() => (Command::JobAssignAll, args),
            GrabForm::Unique | GrabForm::All => (Command::JobAssignUniq, &args[..3]),
        };
        self.scratch.clear();
        encode_head(&mut self.scratch, Magic::Response, command, args, job.body.len() - start);
        let tail = Tail { body: &job.body, start };
        let urgency = self.urgency_for(conn, 1);
        self.answer(Reply { conn, sequence: grab.sequence }, urgency, Some(tail), cx);
    }

    /// How soon a GRAB's answer must leave: at once, unless the worker has
    /// more jobs than the `told` ones that leave with it, and so something to do.
    fn urgency_for(&self, conn: ConnId, told: usize) -> Urgency {
        let busy = self.connections.worker(conn).is_some_and(|worker| worker.held.len() > told);
        if busy { Urgency::Idle } else { Urgency::Now }
    }

    pub(super) fn missed<O: Outbox>(&mut self, conn: ConnId, bests: &Bests, cx: &mut Context<'_, O>) {
        self.believe(bests);
        if let Some(grab) = self.connections.worker_mut(conn).and_then(|worker| worker.grab.as_mut()) {
            grab.misses = grab.misses.saturating_add(1);
        }
        self.luck /= 2;
        self.go_on_grabbing(conn, cx);
    }

    fn believe(&mut self, bests: &Bests) {
        for &(key, best) in bests {
            if let Some(slot) = self.beliefs.slot_of(key) {
                self.beliefs.set(slot, best);
            }
        }
    }

    /// An owner says what waits in a function (rules 1, 2 and 7).
    pub(super) fn ready<O: Outbox>(
        &mut self,
        from: ShardId,
        key: HomeFunction,
        function: OwnerFunction,
        best: Best,
        wake: u32,
        cx: &mut Context<'_, O>,
    ) {
        // A wake for a function given up since is passed on by its owner, who
        // learns of that from the interest that fell to nothing.
        let Some(slot) = self.beliefs.slot_of(key) else { return };
        debug_assert_eq!(self.beliefs.at(slot).owner, from, "a function has one owner");
        self.beliefs.learn(slot, function, best);
        if wake > 0 {
            self.wake_or_pass(slot, wake, cx);
        }
        for conn in std::mem::take(&mut self.beliefs.at_mut(slot).parked) {
            self.go_on_grabbing(conn, cx);
        }
    }

    pub(super) fn released(&mut self, conn: ConnId, number: u64) {
        if let Some(worker) = self.connections.worker_mut(conn) {
            worker.held.remove(&number);
        }
    }

    /// What a worker says about a job. A job that it does not hold is answered
    /// here, so that the answer is in order and costs nobody else anything.
    pub(super) fn work<O: Outbox>(
        &mut self,
        conn: ConnId,
        kind: WorkKind,
        handle: &[u8],
        data: &[u8],
        cx: &mut Context<'_, O>,
    ) {
        let number = cx.settings.handle_prefix.parse(handle);
        let worker = self.connections.worker_mut(conn);
        let held = number.zip(worker).and_then(|(number, worker)| {
            let run = worker.held.get(&number)?.run(number);
            if kind.is_last() {
                worker.held.remove(&number);
            }
            Some(run)
        });
        let Some(run) = held else {
            return self.refuse(conn, "JOB_NOT_FOUND", unknown_job(kind), cx);
        };
        let body = Body::joined(&[data], cx.received);
        let owner = cx.settings.owner_of_job(run.number);
        cx.send(owner, Message::Work { worker: conn, run, kind, body });
    }

    pub(super) fn work_fail<O: Outbox>(&mut self, conn: ConnId, handle: &[u8], cx: &mut Context<'_, O>) {
        if handle.len() > HANDLE_BYTES_MAX {
            let text = "Error occurred due to GEARMAND_JOB_HANDLE_SIZE being too small from snprintf";
            return self.refuse(conn, "ARGUMENT_TOO_LARGE", text, cx);
        }
        self.work(conn, WorkKind::Fail, handle, b"", cx);
    }

    pub(super) fn work_status<O: Outbox>(
        &mut self,
        conn: ConnId,
        handle: &[u8],
        numerator: &[u8],
        denominator: &[u8],
        cx: &mut Context<'_, O>,
    ) {
        let kind =
            WorkKind::Status { numerator: number::atoi(numerator), denominator: number::atoi(denominator) };
        let held = cx.settings.handle_prefix.parse(handle).is_some_and(|number| {
            self.connections.worker(conn).is_some_and(|worker| worker.held.contains_key(&number))
        });
        if held && denominator.len() > DENOMINATOR_DIGITS_MAX {
            return self.reject(conn, "the denominator of a WORK_STATUS is out of range", cx);
        }
        let body = [numerator, b"\0", denominator].concat();
        self.work(conn, kind, handle, &body, cx);
    }

    /// The connection as a worker; it becomes one if it was not.
    pub(super) fn worker_of(&mut self, conn: ConnId) -> Option<&mut Worker> {
        let connection = self.connections.get_mut(conn)?;
        Some(connection.worker.get_or_insert_default())
    }
}

/// Gives jobs back to their owners, most recently grabbed first.
fn abandon<O: Outbox>(worker: ConnId, mut lost: Vec<(u64, Run)>, cx: &mut Context<'_, O>) {
    lost.sort_unstable_by_key(|&(order, _)| Reverse(order));
    let owner = |run: Run| cx.settings.owner_of_job(run.number);
    let mut owners: Vec<ShardId> = lost.iter().map(|&(_, run)| owner(run)).collect();
    owners.sort_unstable();
    owners.dedup();
    for shard in owners {
        let runs = lost.iter().map(|&(_, run)| run).filter(|&run| owner(run) == shard).collect();
        cx.send(shard, Message::Abandoned { worker, runs });
    }
}

fn unknown_job(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::Data | WorkKind::Warning => "Job does not exist on server",
        WorkKind::Status { .. } | WorkKind::Complete | WorkKind::Fail => "Job given in work result not found",
        WorkKind::Exception => "An exception was received for a job that does not exist",
    }
}
