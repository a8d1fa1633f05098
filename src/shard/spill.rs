//! Workloads that wait in the store only.
//!
//! Above a bound the newest jobs leave their workloads to the store, as soon as
//! it has them; function, unique, priority and place in the queue stay. What is
//! about to be run is read back ahead of time. A worker that is given a job
//! whose workload is not back yet waits for it: the claim is answered when it
//! is, and nothing else waits.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::context::Context;
use super::ids::ConnId;
use super::message::{Claimed, Others};
use super::outbox::Outbox;
use super::owner::{Owner, party};
use crate::queue::change::{ReadBack, StoredJob};
use crate::queue::job::{Priority, Standing};

/// Jobs of a function and priority that are read ahead of their turn.
const AHEAD_JOBS: usize = 1024;
/// Bytes above which nothing is read ahead.
const AHEAD_BYTES: usize = 32 << 20;
/// Entries of jobs that are gone are cleared out of longer lists.
const CLEARED_FROM: usize = 4096;

/// One job, if it is still there.
#[derive(Clone, Copy)]
struct Entry {
    number: u64,
    at: u32,
}

/// A worker that has been given a job and waits for its workload.
struct Claim {
    worker: ConnId,
    functions: SmallVec<[Claimed; 2]>,
    others: Others,
    /// How long it may take from then on, in microseconds; `None` for no limit.
    timeout_us: Option<u64>,
}

/// Which workloads are where.
#[derive(Default)]
pub(super) struct Spill {
    /// Bytes of jobs above which workloads are left to the store; `None` for never.
    bound: Option<usize>,
    /// Jobs that the store has when so many changes are stored.
    unconfirmed: VecDeque<(u64, Entry)>,
    /// Jobs that the store has and whose workloads are here, the newest last.
    resident: VecDeque<Entry>,
    /// Jobs that the store was asked for.
    asked: HashSet<u64>,
    /// Jobs that were read ahead, and their bytes.
    ahead: HashMap<u64, usize>,
    ahead_bytes: usize,
    /// By the number of the job.
    claims: HashMap<u64, Claim>,
    /// By function and priority: when this job is taken, more is read ahead.
    marks: HashMap<(u32, Priority), u64>,
}

impl Spill {
    /// A job that may have been read ahead has left the queue or gone to a worker.
    fn forget(&mut self, number: u64) {
        if let Some(bytes) = self.ahead.remove(&number) {
            self.ahead_bytes -= bytes;
        }
    }

    fn keep_ahead(&mut self, number: u64, bytes: usize) {
        self.ahead.insert(number, bytes);
        self.ahead_bytes += bytes;
    }
}

impl Owner {
    /// Whether a workload is in the store only, or was and waits for its turn here.
    pub(super) fn is_spilling(&self) -> bool {
        self.queue.spilled() > 0 || !self.spill.ahead.is_empty()
    }

    /// A job leaves the queue.
    pub(super) fn forget_ahead(&mut self, at: u32) {
        if self.is_spilling() {
            self.spill.forget(self.queue.job(at).number);
        }
    }

    /// From now on jobs may take so many bytes before workloads are left to the store.
    pub(super) fn bound_bytes(&mut self, bytes: usize) {
        self.spill.bound = Some(bytes);
        self.spill_excess();
    }

    /// A job will be in the store, workload and all, when so many changes are stored.
    pub(super) fn note_stored_after(&mut self, changes: u64, number: u64, at: u32) {
        if self.spill.bound.is_some() {
            self.spill.unconfirmed.push_back((changes, Entry { number, at }));
        }
    }

    /// A job is in the store, workload and all.
    pub(super) fn note_stored(&mut self, number: u64, at: u32) {
        if self.spill.bound.is_some() {
            self.spill.resident.push_back(Entry { number, at });
        }
    }

    /// So many changes are stored.
    pub(super) fn spill_stored(&mut self, changes: u64) {
        while let Some((_, entry)) = self.spill.unconfirmed.pop_front_if(|(after, _)| *after <= changes) {
            self.spill.resident.push_back(entry);
        }
        let Self { queue, spill, .. } = self;
        if spill.resident.len() > CLEARED_FROM + 2 * queue.len() {
            spill.resident.retain(|entry| queue.numbered(entry.at, entry.number).is_some());
        }
        self.spill_excess();
    }

    /// Leaves workloads to the store, the newest first, until the jobs here are small enough.
    pub(super) fn spill_excess(&mut self) {
        let Some(bound) = self.spill.bound else { return };
        while self.queue.bytes() > bound
            && let Some(Entry { number, at }) = self.spill.resident.pop_back()
        {
            let Some(job) = self.queue.numbered(at, number) else { continue };
            let idle =
                job.running().is_none() && !job.is_spilled() && !self.spill.ahead.contains_key(&number);
            // What is known by its workload has to be here, and who is next is not worth it.
            let spills = idle
                && job.standing == Standing::Durable
                && !job.workload().is_empty()
                && job.unique() != b"-"
                && self.queue.ahead(job.function, job.priority, 1).next() != Some(at);
            if spills {
                self.queue.spill(at);
            }
        }
    }

    /// A worker was given a job: has more read back, if it is time for that.
    pub(super) fn note_taken<O: Outbox>(&mut self, at: u32, cx: &mut Context<'_, O>) {
        let job = self.queue.job(at);
        let (number, lane) = (job.number, (job.function, job.priority));
        self.spill.forget(number);
        if self.queue.spilled() > 0 && self.spill.marks.get(&lane) == Some(&number) {
            self.read_ahead(lane, Vec::new(), cx);
        }
    }

    /// A worker was given a job whose workload is in the store.
    pub(super) fn wait_for_workload<O: Outbox>(
        &mut self,
        at: u32,
        worker: ConnId,
        functions: &[Claimed],
        others: Others,
        cx: &mut Context<'_, O>,
    ) {
        let job = self.queue.job(at);
        let (number, lane) = (job.number, (job.function, job.priority));
        let deadline_us = job.running().map_or(u64::MAX, |running| running.deadline_us);
        // The worker's time begins when it has the job.
        self.queue.set_deadline(at, u64::MAX);
        let timeout_us = (deadline_us != u64::MAX).then(|| deadline_us - cx.now.mono_us);
        let claim = Claim { worker, functions: SmallVec::from_slice(functions), others, timeout_us };
        self.spill.claims.insert(number, claim);
        let first = if self.spill.asked.insert(number) { vec![number] } else { Vec::new() };
        self.read_ahead(lane, first, cx);
    }

    /// Asks the store for `first` and what is served next after it.
    fn read_ahead<O: Outbox>(&mut self, lane: (u32, Priority), first: Vec<u64>, cx: &mut Context<'_, O>) {
        let Self { queue, spill, .. } = self;
        let mut numbers = first;
        if spill.ahead_bytes < AHEAD_BYTES {
            let next: SmallVec<[u32; 64]> = queue.ahead(lane.0, lane.1, AHEAD_JOBS).collect();
            if let Some(&middle) = next.get(next.len() / 2) {
                spill.marks.insert(lane, queue.job(middle).number);
            }
            for at in next {
                let job = queue.job(at);
                if job.is_spilled() && spill.asked.insert(job.number) {
                    numbers.push(job.number);
                }
            }
        }
        if !numbers.is_empty() {
            cx.out.read(numbers);
        }
    }

    /// The store has read jobs.
    pub(super) fn read_back<O: Outbox>(&mut self, read: ReadBack, cx: &mut Context<'_, O>) {
        for job in read.jobs {
            self.spill.asked.remove(&job.number);
            self.unspill(&job);
            if let Some(claim) = self.spill.claims.remove(&job.number) {
                self.settle_claim(job.number, &claim, cx);
            }
        }
        let mut again = Vec::new();
        for number in read.left {
            if !self.spill.claims.contains_key(&number) {
                self.spill.asked.remove(&number);
                continue;
            }
            let at = self.queue.find(number);
            if at.is_some_and(|at| self.queue.job(at).standing == Standing::Durable) {
                again.push(number);
            } else {
                // It was cancelled: the store need not have it any more.
                self.spill.asked.remove(&number);
                if let Some(claim) = self.spill.claims.remove(&number) {
                    self.settle_claim(number, &claim, cx);
                }
            }
        }
        if !again.is_empty() {
            cx.out.read(again);
        }
    }

    fn unspill(&mut self, read: &StoredJob) {
        let Some(at) = self.queue.find(read.number) else { return };
        if !self.queue.job(at).is_spilled() {
            return;
        }
        self.queue.unspill(at, read.body.clone());
        if !self.spill.claims.contains_key(&read.number) {
            self.spill.keep_ahead(read.number, read.body.len());
        }
    }

    /// The workload that a worker waits for is here.
    fn settle_claim<O: Outbox>(&mut self, number: u64, claim: &Claim, cx: &mut Context<'_, O>) {
        let at = self.queue.find(number);
        let held = at.filter(|&at| {
            self.queue.job(at).running().is_some_and(|running| running.worker == party(claim.worker))
        });
        let wanted = held.filter(|&at| !self.queue.job(at).is_unwanted());
        if let (Some(at), None) = (held, wanted) {
            // It was cancelled, and no worker has seen it.
            self.remove(at, cx);
        }
        if let (Some(at), Some(timeout_us)) = (wanted, claim.timeout_us) {
            self.queue.set_deadline(at, cx.now.mono_us + timeout_us);
        }
        self.answer_claim(claim.worker, wanted, &claim.functions, claim.others, cx);
    }
}
