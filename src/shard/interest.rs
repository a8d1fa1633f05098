//! Which homes have workers of an owner's functions, and what they are told.
//!
//! The owner's side of the belief mirror: how many workers of a function each
//! home has, and what it was last told to wait there (`told`, the original of
//! the home's belief). Nothing here takes or changes a job.
//!
//! Rules (the numbers are those of the belief mirror):
//! 1. Interest sets `told` to what waits and is always answered.
//! 2. A job that becomes runnable raises `told` where it is lower, and says so.
//! 3. Falls are not announced; they ride on the answers to claims. What has
//!    fallen without a home's knowing is not announced to it when it rises again
//!    either: the fewer beliefs an answer corrects, the fewer there are to tell.
//!
//! Wakes: a job that becomes runnable asks one home to wake a sleeper (or as
//! many as `--worker-wakeup` says). A home without sleepers hands the wake
//! back and is not asked again before it says that a worker sleeps there.

use super::context::Context;
use super::ids::ShardId;
use super::message::{Best, Bests, HomeFunction, Message, OwnerFunction};
use super::outbox::Outbox;
use super::owner::Owner;
use super::runnable::Heard;
use super::settings::Wakeup;
use crate::queue::name::Name;

/// A wake of every sleeper.
pub(super) const WAKE_ALL: u32 = u32::MAX;

/// Beliefs that are corrected by one answer at most.
const CORRECTED_MAX: usize = 256;

/// A home that has workers of a function.
pub(super) struct HomeInterest {
    pub(super) home: ShardId,
    pub(super) key: HomeFunction,
    workers: u32,
    /// What the home was last told.
    told: Best,
    /// The home had no sleeper when it was last asked to wake one.
    sleepless: bool,
    /// The function is on the home's list of what it has heard.
    heard: bool,
}

impl HomeInterest {
    /// The home is being told that `best` waits in `function`.
    fn tell(&mut self, function: u32, best: Best, heard: &mut Heard) {
        self.told = best;
        if best.is_some() && !self.heard {
            self.heard = true;
            heard.of(self.home).push_back(function);
        }
    }

    /// Tells it, and has so many sleepers woken.
    fn announce<O: Outbox>(
        &mut self,
        function: u32,
        best: Best,
        wake: u32,
        heard: &mut Heard,
        cx: &mut Context<'_, O>,
    ) {
        self.tell(function, best, heard);
        cx.send(self.home, Message::Ready { key: self.key, function: OwnerFunction(function), best, wake });
    }
}

/// The homes that have workers of one function.
#[derive(Default)]
pub(super) struct Interest {
    pub(super) homes: Vec<HomeInterest>,
    /// Where the search for a home with sleepers starts.
    next: usize,
}

impl Interest {
    pub(super) fn of(&mut self, home: ShardId) -> Option<&mut HomeInterest> {
        self.homes.iter_mut().find(|entry| entry.home == home)
    }

    pub(super) fn workers(&self) -> u64 {
        self.homes.iter().map(|entry| u64::from(entry.workers)).sum()
    }

    /// The next home that may have sleepers, each in its turn.
    fn next_with_sleepers(&mut self) -> Option<ShardId> {
        let count = self.homes.len();
        let at = (0..count).map(|step| (self.next + step) % count).find(|&at| !self.homes[at].sleepless)?;
        self.next = (at + 1) % count;
        Some(self.homes[at].home)
    }
}

impl Owner {
    pub(super) fn interest<O: Outbox>(
        &mut self,
        home: ShardId,
        name: Name,
        key: HomeFunction,
        workers: u32,
        cx: &mut Context<'_, O>,
    ) {
        // Homes limit what their workers register, so this one is not refused.
        let function = self.queue.functions.find(&name).unwrap_or_else(|| self.create(name));
        let best = self.queue.functions[function].best();
        let interest = &mut self.interest[function as usize];
        if workers == 0 {
            interest.homes.retain(|entry| entry.home != home);
            // Wakes that were on their way to that home have found nobody.
            let runnable = self.runnable(function);
            if runnable > 0 {
                self.wake_elsewhere(function, runnable, cx);
            }
            return;
        }
        let at = match interest.homes.iter().position(|entry| entry.home == home) {
            Some(at) => at,
            None => {
                interest.homes.push(HomeInterest {
                    home,
                    key,
                    workers: 0,
                    told: None,
                    sleepless: false,
                    heard: false,
                });
                interest.homes.len() - 1
            }
        };
        let entry = &mut interest.homes[at];
        let before = std::mem::replace(&mut entry.workers, workers);
        entry.key = key;
        // A worker that came asleep has seen no wake for what waits already.
        let wake = match cx.settings.wakeup {
            _ if best.is_none() || workers < before => 0,
            Wakeup::All => WAKE_ALL,
            Wakeup::OnePerJob | Wakeup::Count(_) => 1,
        };
        entry.announce(function, best, wake, &mut self.heard, cx);
        if before == 0 {
            self.heard.tidy(home, self.interest.len());
        }
    }

    /// What a home is to believe of a function from now on; `None` when it has
    /// no worker of it any more.
    pub(super) fn correct(&mut self, home: ShardId, function: u32) -> Option<(HomeFunction, Best)> {
        let entry = self.interest.get_mut(function as usize)?.of(home)?;
        let best = self.queue.functions[function].best();
        entry.tell(function, best, &mut self.heard);
        Some((entry.key, best))
    }

    /// Nothing is left here of all that a home believes: it need not find that
    /// out function by function.
    pub(super) fn correct_what_was_heard(&mut self, home: ShardId, bests: &mut Bests) {
        for _ in 0..self.heard.of(home).len().min(CORRECTED_MAX) {
            let Some(function) = self.heard.of(home).pop_front() else { break };
            let Some(entry) = self.interest.get_mut(function as usize).and_then(|interest| interest.of(home))
            else {
                continue;
            };
            let before = entry.told;
            let best = self.queue.functions[function].best();
            entry.heard = false;
            entry.tell(function, best, &mut self.heard);
            if best != before {
                bests.push((entry.key, best));
            }
        }
    }

    /// A home could not use `left` wakes.
    pub(super) fn unwoken<O: Outbox>(
        &mut self,
        home: ShardId,
        function: OwnerFunction,
        left: u32,
        cx: &mut Context<'_, O>,
    ) {
        let Some(interest) = self.interest.get_mut(function.0 as usize) else { return };
        let Some(entry) = interest.of(home) else { return };
        entry.sleepless = true;
        let runnable = self.runnable(function.0);
        if left != WAKE_ALL && runnable > 0 {
            self.wake_elsewhere(function.0, left.min(runnable), cx);
        }
    }

    /// A worker sleeps at a home that had no sleepers.
    pub(super) fn sleeper<O: Outbox>(
        &mut self,
        home: ShardId,
        function: OwnerFunction,
        cx: &mut Context<'_, O>,
    ) {
        let Some(interest) = self.interest.get_mut(function.0 as usize) else { return };
        let Some(entry) = interest.of(home) else { return };
        entry.sleepless = false;
        // Jobs that became runnable meanwhile found nobody to wake here.
        let runnable = self.runnable(function.0);
        if runnable > 0 {
            self.tell_ready(function.0, home, wakes(cx.settings.wakeup, runnable), cx);
        }
    }

    /// Workers registered for a function, on all homes.
    pub(super) fn workers(&self, function: u32) -> u64 {
        self.interest[function as usize].workers()
    }

    /// A job became runnable (rule 2): tell the homes that believe less, and
    /// have sleepers woken.
    pub(super) fn announce<O: Outbox>(&mut self, function: u32, jobs: u32, cx: &mut Context<'_, O>) {
        let best = self.queue.functions[function].best();
        if cx.settings.shards > 1 {
            self.runnable.note(function, &self.queue.functions[function]);
        }
        let wake = wakes(cx.settings.wakeup, jobs);
        let interest = &mut self.interest[function as usize];
        let chosen = if wake == WAKE_ALL { None } else { interest.next_with_sleepers() };
        for entry in &mut interest.homes {
            let wake = match wake {
                WAKE_ALL if entry.sleepless => 0,
                WAKE_ALL => WAKE_ALL,
                wake if chosen == Some(entry.home) => wake,
                _ => 0,
            };
            if wake > 0 || best > entry.told {
                entry.announce(function, best, wake, &mut self.heard, cx);
            }
        }
    }

    fn wake_elsewhere<O: Outbox>(&mut self, function: u32, wake: u32, cx: &mut Context<'_, O>) {
        if let Some(home) = self.interest[function as usize].next_with_sleepers() {
            self.tell_ready(function, home, wake, cx);
        }
    }

    fn tell_ready<O: Outbox>(&mut self, function: u32, home: ShardId, wake: u32, cx: &mut Context<'_, O>) {
        let best = self.queue.functions[function].best();
        let Some(entry) = self.interest[function as usize].of(home) else { return };
        entry.announce(function, best, wake, &mut self.heard, cx);
    }

    fn runnable(&self, function: u32) -> u32 {
        u32::try_from(self.queue.functions[function].runnable()).unwrap_or(u32::MAX - 1)
    }
}

/// How many sleepers are woken for so many jobs.
fn wakes(wakeup: Wakeup, jobs: u32) -> u32 {
    match wakeup {
        Wakeup::All => WAKE_ALL,
        Wakeup::OnePerJob => jobs,
        Wakeup::Count(each) => jobs.saturating_mul(each).min(WAKE_ALL - 1),
    }
}
