//! GRABs that stay open for a moment because a job is likely to come.
//!
//! Where the jobs of a function come quickly one after the other, NO_JOB makes
//! the worker sleep only to be woken at once: NO_JOB, PRE_SLEEP, NOOP and
//! another GRAB_JOB for nothing. So there a GRAB that finds no job is not
//! answered yet, and the next job goes straight to it. It stands in the lines
//! of its worker's functions and is woken before any sleeper, the one that has
//! been open longest first. When its moment is over it is answered by what is
//! believed then (rule 6). Results and further GRABs of the worker are taken in
//! meanwhile; anything else ends the moment at once.
//!
//! Where jobs come more slowly than the moment is long, NO_JOB comes at once.

use smallvec::SmallVec;

use super::context::Context;
use super::grab::CLAIM_FUNCTIONS_MAX;
use super::home::Home;
use super::ids::ConnId;
use super::interest::WAKE_ALL;
use super::message::Message;
use super::outbox::Outbox;
use super::worker::{Grab, Worker};

/// A GRAB in a line of those that stay open. Valid as long as it is unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenGrab {
    worker: ConnId,
    sequence: u32,
}

/// A GRAB that may stay open, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) until_us: u64,
    grab: OpenGrab,
}

/// Gaps between two jobs count as at most this, so that a pause is soon forgotten.
const GAP_MAX_US: u32 = 16_000;
/// So many jobs make a mean.
const GAPS: u32 = 8;

/// How quickly the jobs of a function come to a home.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    last_us: u64,
    gap_us: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { last_us: 0, gap_us: GAP_MAX_US }
    }
}

impl Pace {
    /// A job has come.
    pub(super) fn note(&mut self, now_us: u64) {
        let gap_us = now_us.saturating_sub(self.last_us).min(u64::from(GAP_MAX_US));
        self.last_us = now_us;
        let others_us = self.gap_us - self.gap_us.div_ceil(GAPS);
        self.gap_us = others_us + u32::try_from(gap_us).unwrap_or(GAP_MAX_US) / GAPS;
    }

    /// Whether the next one is likely to come within so long.
    fn is_within(&self, us: u64, now_us: u64) -> bool {
        u64::from(self.gap_us) < us && now_us.saturating_sub(self.last_us) < us
    }
}

impl Home {
    /// Keeps the worker's GRAB, for which there is no job, open; whether it does.
    pub(super) fn keep_open<O: Outbox>(&mut self, conn: ConnId, cx: &mut Context<'_, O>) -> bool {
        let now_us = cx.now.mono_us;
        let Some(worker) = self.connections.worker(conn) else { return false };
        let Some(grab) = worker.grab else { return false };
        if worker.functions.len() > CLAIM_FUNCTIONS_MAX {
            return false;
        }
        let slots = slots_of(worker);
        let entry = OpenGrab { worker: conn, sequence: grab.sequence };
        let until_us = match grab.open_until_us {
            Some(until_us) if until_us > now_us => until_us,
            Some(_) => return false,
            None => {
                let moment_us = cx.settings.grab_open_us;
                let is_quick = |&slot: &u32| self.beliefs.at(slot).pace.is_within(moment_us, now_us);
                if !slots.iter().any(is_quick) {
                    return false;
                }
                let until_us = now_us + moment_us;
                self.moments.push_back(Moment { until_us, grab: entry });
                until_us
            }
        };
        if let Some(worker) = self.connections.worker_mut(conn) {
            // Nothing waits: whoever it was woken for has been served.
            let open_until_us = Some(until_us);
            worker.grab = Some(Grab { open: true, open_until_us, woken_for: None, ..grab });
        }
        for slot in slots {
            let belief = self.beliefs.at_mut(slot);
            belief.open_grabs.push_back(entry);
            if let Some(function) = belief.function.filter(|_| std::mem::take(&mut belief.sleepless_told)) {
                cx.send(belief.owner, Message::Sleeper { function });
            }
        }
        true
    }

    /// Puts a GRAB behind the one that is open. Whether that one has found a
    /// job after all, and is to be gone on with.
    pub(super) fn line_up_behind<O: Outbox>(
        &mut self,
        conn: ConnId,
        grab: Grab,
        cx: &Context<'_, O>,
    ) -> bool {
        let until_us = cx.now.mono_us + cx.settings.grab_open_us;
        let entry = OpenGrab { worker: conn, sequence: grab.sequence };
        self.moments.push_back(Moment { until_us, grab: entry });
        let found = self.choose(conn).is_some();
        if let Some(worker) = self.connections.worker_mut(conn) {
            worker.grabs_behind.push_back(Grab { open_until_us: Some(until_us), ..grab });
            if let Some(first) = &mut worker.grab {
                first.open = !found;
            }
        }
        found
    }

    /// The worker turns to something else: answers its open GRABs. There was
    /// no job when they came, or when they were last looked at.
    pub(super) fn end_moment<O: Outbox>(&mut self, conn: ConnId, cx: &mut Context<'_, O>) {
        let is_open = |worker: &Worker| worker.grab.is_some_and(|grab| grab.open);
        if !self.connections.worker(conn).is_some_and(is_open) {
            return;
        }
        while self.connections.worker(conn).is_some_and(|worker| worker.grab.is_some()) {
            self.answer_no_job(conn, cx);
        }
        self.forget_moments();
    }

    /// Lets up to `count` open GRABs of a function claim; how many wakes are left over.
    pub(super) fn wake_open<O: Outbox>(&mut self, slot: u32, count: u32, cx: &mut Context<'_, O>) -> u32 {
        let mut left = count;
        while left > 0 {
            let Some(entry) = self.beliefs.at_mut(slot).open_grabs.pop_front() else { break };
            let key = self.beliefs.key(slot);
            let worker = self.connections.worker_mut(entry.worker);
            let grab = worker.and_then(|worker| worker.grab.as_mut());
            let Some(grab) = grab.filter(|grab| grab.open && grab.sequence == entry.sequence) else {
                continue;
            };
            (grab.open, grab.woken_for) = (false, Some(key));
            self.go_on_grabbing(entry.worker, cx);
            left = if left == WAKE_ALL { WAKE_ALL } else { left - 1 };
        }
        left
    }

    /// Answers the GRABs whose moment is over.
    pub(super) fn expire_open<O: Outbox>(&mut self, cx: &mut Context<'_, O>) {
        let now_us = cx.now.mono_us;
        while let Some(moment) = self.moments.pop_front_if(|first| first.until_us <= now_us) {
            let conn = moment.grab.worker;
            let grab = self.connections.worker_mut(conn).and_then(|worker| worker.grab.as_mut());
            let is_over =
                |grab: &&mut Grab| grab.open && grab.open_until_us.is_some_and(|until_us| until_us <= now_us);
            if let Some(grab) = grab.filter(is_over) {
                grab.open = false;
                self.go_on_grabbing(conn, cx);
            }
            self.leave_lines(conn);
        }
    }

    /// A GRAB was answered: forgets the moments of those that were answered.
    pub(super) fn forget_moments(&mut self) {
        while let Some(first) = self.moments.front().copied()
            && !self.is_unanswered(first.grab)
        {
            self.moments.pop_front();
            self.leave_lines(first.grab.worker);
        }
    }

    fn leave_lines(&mut self, conn: ConnId) {
        let worker = self.connections.worker(conn);
        let slots = worker.filter(|worker| worker.functions.len() <= CLAIM_FUNCTIONS_MAX).map(slots_of);
        for slot in slots.into_iter().flatten() {
            self.trim_line(slot);
        }
    }

    /// Drops what has been answered from the front of a function's line.
    pub(super) fn trim_line(&mut self, slot: u32) {
        while let Some(&first) = self.beliefs.at(slot).open_grabs.front()
            && !self.is_unanswered(first)
        {
            self.beliefs.at_mut(slot).open_grabs.pop_front();
        }
    }

    /// GRABs are answered in order: those behind the first have not been.
    fn is_unanswered(&self, entry: OpenGrab) -> bool {
        let first = self.connections.worker(entry.worker).and_then(|worker| worker.grab);
        first.is_some_and(|first| entry.sequence.wrapping_sub(first.sequence) <= u32::MAX / 2)
    }
}

fn slots_of(worker: &Worker) -> SmallVec<[u32; 4]> {
    worker.functions.iter().map(|registration| registration.slot).collect()
}
