//! Who sleeps at a home, and who is woken.
//!
//! A wake comes from the owner with a job. It goes to the worker of the
//! function that has slept longest, and is not lost before that worker has
//! come for the job: if it leaves, takes another job or lets our patience run
//! out, the wake goes to the next sleeper, here or at another home. A worker
//! is sent at most one NOOP for each of its PRE_SLEEPs and GRABs.
//!
//! Rule 7 (numbers as in `owner.rs`): PRE_SLEEP beside a belief above none is
//! answered with NOOP at once.

use super::belief::Listed;
use super::context::Context;
use super::home::Home;
use super::ids::ConnId;
use super::interest::WAKE_ALL;
use super::message::{HomeFunction, Message};
use super::outbox::{Outbox, Urgency};
use super::worker::{Sleep, Worker};
use crate::protocol::packet::Command;

/// A woken worker, and until when it may take its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) until_us: u64,
    worker: ConnId,
    wake: u64,
}

/// Whether it is to be woken.
pub(super) fn is_asleep(worker: &Worker) -> bool {
    worker.sleep == Sleep::Asleep
}

impl Home {
    pub(super) fn pre_sleep<O: Outbox>(&mut self, conn: ConnId, cx: &mut Context<'_, O>) {
        let Some(worker) = self.worker_of(conn) else { return };
        let before = std::mem::replace(&mut worker.sleep, Sleep::Asleep);
        let ready = self.choose(conn).map(|(_, slot)| slot);
        self.line_up(conn, cx);
        if let Some(slot) = ready {
            self.send_noop(conn, slot, cx);
        }
        // A wake that it did not follow is for the others, unless it has just
        // been renewed.
        let Some(worker) = self.connections.worker(conn) else { return };
        if let Sleep::Woken { function: old, .. } = before
            && !matches!(worker.sleep, Sleep::Woken { function, .. } if function == old)
        {
            self.wake_another(old, cx);
        }
    }

    /// Puts a worker into the lines of sleepers where it does not stand yet.
    pub(super) fn line_up<O: Outbox>(&mut self, conn: ConnId, cx: &mut Context<'_, O>) {
        let Some(worker) = self.connections.worker_mut(conn) else { return };
        for slot in std::mem::take(&mut worker.unlisted) {
            let Some(registration) = worker.functions.get_mut(slot).filter(|entry| entry.listing == 0) else {
                continue;
            };
            self.listing = self.listing.checked_add(1).unwrap_or(1);
            registration.listing = self.listing;
            let entry = self.beliefs.at_mut(slot);
            entry.sleepers.push_back(Listed { worker: conn, listing: self.listing });
            if let Some(function) = entry.function.filter(|_| std::mem::take(&mut entry.sleepless_told)) {
                cx.send(entry.owner, Message::Sleeper { function });
            }
        }
    }

    /// Wakes up to `count` sleepers of a function, open GRABs first; how many
    /// wakes are left over.
    pub(super) fn wake<O: Outbox>(&mut self, slot: u32, count: u32, cx: &mut Context<'_, O>) -> u32 {
        let mut count = self.wake_open(slot, count, cx);
        while count > 0 {
            let entry = self.beliefs.at_mut(slot);
            let Some(listed) = entry.sleepers.pop_front() else { break };
            let worker = self.connections.worker_mut(listed.worker);
            let registration = worker.and_then(|worker| {
                let registration = worker.functions.get_mut(slot)?;
                (registration.listing == listed.listing).then(|| registration.listing = 0)?;
                worker.unlist(slot);
                Some(worker)
            });
            let Some(worker) = registration else {
                entry.stale = entry.stale.saturating_sub(1);
                continue;
            };
            if is_asleep(worker) {
                self.send_noop(listed.worker, slot, cx);
                count = if count == WAKE_ALL { WAKE_ALL } else { count - 1 };
            }
        }
        count
    }

    /// Wakes sleepers; what is left goes back to the owner, who asks elsewhere.
    pub(super) fn wake_or_pass<O: Outbox>(&mut self, slot: u32, count: u32, cx: &mut Context<'_, O>) {
        let left = self.wake(slot, count, cx);
        let entry = self.beliefs.at_mut(slot);
        if let Some(function) = entry.function.filter(|_| left > 0) {
            entry.sleepless_told = true;
            cx.send(entry.owner, Message::Unwoken { function, left });
        }
    }

    /// A woken worker did not take the job: if it still waits, someone else
    /// is woken.
    pub(super) fn wake_another<O: Outbox>(&mut self, function: HomeFunction, cx: &mut Context<'_, O>) {
        let Some(slot) = self.beliefs.slot_of(function) else { return };
        if self.beliefs.at(slot).best.is_some() {
            self.wake_or_pass(slot, 1, cx);
        }
    }

    /// Entries of a line of sleepers have lost their registrations.
    pub(super) fn strike(&mut self, slot: u32, count: usize) {
        let entry = self.beliefs.at_mut(slot);
        entry.stale += count;
        if entry.stale * 2 <= entry.sleepers.len() {
            return;
        }
        entry.stale = 0;
        let mut sleepers = std::mem::take(&mut entry.sleepers);
        sleepers.retain(|listed| {
            let worker = self.connections.worker_mut(listed.worker);
            let registration = worker.and_then(|worker| worker.functions.get_mut(slot));
            registration.is_some_and(|registration| registration.listing == listed.listing)
        });
        sleepers.shrink_to(sleepers.len() * 2);
        self.beliefs.at_mut(slot).sleepers = sleepers;
    }

    pub(super) fn expire<O: Outbox>(&mut self, cx: &mut Context<'_, O>) {
        self.expire_open(cx);
        while let Some(patience) = self.patience.pop_front_if(|first| first.until_us <= cx.now.mono_us) {
            let worker = self.connections.worker(patience.worker);
            if let Some(Sleep::Woken { function, wake }) = worker.map(|worker| worker.sleep)
                && wake == patience.wake
            {
                self.wake_another(function, cx);
            }
        }
    }

    fn send_noop<O: Outbox>(&mut self, conn: ConnId, slot: u32, cx: &mut Context<'_, O>) {
        let function = self.beliefs.key(slot);
        self.wakes += 1;
        let wake = self.wakes;
        if let Some(worker) = self.connections.worker_mut(conn) {
            worker.sleep = Sleep::Woken { function, wake };
        }
        let until_us = cx.now.mono_us + cx.settings.wake_patience_us;
        self.patience.push_back(Patience { until_us, worker: conn, wake });
        cx.counts.noops += 1;
        self.put(Command::Noop, &[], b"");
        cx.out.write(conn, Urgency::Now, &self.scratch, None);
    }
}
