//! Dead letters as operators see them: listed, requeued and purged.
//!
//! A dead letter is no job: nothing counts it, no status knows it, and a submit
//! with its unique makes a new job. Requeued, it is a job again that has never
//! been run, under the handle that it always had.

use std::collections::BTreeMap;

use super::context::Context;
use super::message::{Bring, Letters};
use super::outbox::{Event, Outbox};
use super::owner::{Owner, now_s};
use super::settings::Settings;
use crate::protocol::field;
use crate::protocol::retry::Cause;
use crate::queue::change::Death;
use crate::queue::job::Standing;
use crate::queue::name::Name;

impl Owner {
    /// Keeps a running job as a dead letter; who waited for it has been told.
    pub(super) fn bury<O: Outbox>(&mut self, at: u32, cause: Cause, cx: &mut Context<'_, O>) {
        let job = self.queue.job(at);
        let (function, losses) = (job.function, job.losses.saturating_add(1));
        let handle = cx.settings.handle_prefix.handle(job.number);
        let name = &self.queue.functions[function].name;
        cx.out.event(Event::Died { handle: handle.as_bytes(), function: name, cause });
        cx.counts.died += 1;
        self.queue.bury(at, losses, Death { cause, at_s: now_s(cx) });
        self.note_state(at, cx);
        while self.queue.functions[function].dead() > cx.settings.dead_max {
            let oldest = self.queue.oldest_dead(function).expect("there are some");
            let handle = cx.settings.handle_prefix.handle(self.queue.job(oldest).number);
            let name = &self.queue.functions[function].name;
            cx.out.event(Event::Purged { handle: handle.as_bytes(), function: name });
            self.purge(oldest, cx);
        }
    }

    pub(super) fn purge<O: Outbox>(&mut self, at: u32, cx: &mut Context<'_, O>) {
        cx.counts.purged += 1;
        self.remove(at, cx);
    }

    /// Requeues or purges dead letters; how many. `None` when one was named that is not there.
    pub(super) fn bring<O: Outbox>(
        &mut self,
        letters: &Letters,
        bring: Bring,
        cx: &mut Context<'_, O>,
    ) -> Option<usize> {
        let places: Vec<u32> = match letters {
            Letters::One(number) => vec![self.queue.find_dead(*number)?],
            Letters::Of(name) => match self.queue.functions.find(name) {
                Some(function) => self.queue.dead_letters(Some(function)).map(|(at, _)| at).collect(),
                None => Vec::new(),
            },
            Letters::All => self.queue.dead_letters(None).map(|(at, _)| at).collect(),
        };
        let letters = places.len();
        if bring == Bring::Away {
            places.into_iter().for_each(|at| self.purge(at, cx));
            return Some(letters);
        }
        let mut runnable: BTreeMap<u32, u32> = BTreeMap::new();
        let mut back = 0;
        for at in places {
            let function = self.queue.job(at).function;
            match self.revive(at, cx) {
                Revived::Job => {
                    *runnable.entry(function).or_default() += 1;
                    back += 1;
                }
                Revived::Joined => back += 1,
                Revived::Not => {}
            }
        }
        for (function, jobs) in runnable {
            self.announce(function, jobs, cx);
        }
        Some(back)
    }

    fn revive<O: Outbox>(&mut self, at: u32, cx: &mut Context<'_, O>) -> Revived {
        let job = self.queue.job(at);
        let filing = self.queue.filing(job.function, job.unique(), job.workload());
        let same = self.queue.find_same(job.function, filing, job.unique(), job.workload());
        let Some(same) = same.map(|at| self.queue.job(at)) else {
            cx.counts.revived += 1;
            self.queue.revive(at, filing);
            self.note_state(at, cx);
            return Revived::Job;
        };
        // What it joins must be as safe as it is: the store has it, and it does
        // not go with a client.
        if same.standing == Standing::Foreground || self.unstored.awaits(same.number) {
            return Revived::Not;
        }
        cx.counts.coalesced += 1;
        self.remove(at, cx);
        Revived::Joined
    }

    // `<handle>\t<function>\t<unique>\t<attempts>\t<cause>\t<unix seconds>\t<workload bytes>`;
    // of a workload that only the store has, `-`.
    pub(super) fn dead_text(&self, function: Option<&Name>, settings: &Settings) -> Vec<u8> {
        let mut text = Vec::new();
        let function = match function.map(|name| self.queue.functions.find(name)) {
            Some(None) => return text,
            Some(found) => found,
            None => None,
        };
        for (_, letter) in self.queue.dead_letters(function) {
            let Death { cause, at_s } = letter.state.death().expect("it is a dead letter");
            field::push(&mut text, settings.handle_prefix.handle(letter.number).as_bytes());
            text.push(b'\t');
            field::push(&mut text, &self.queue.functions[letter.function].name);
            text.push(b'\t');
            field::push(&mut text, letter.unique());
            let attempts = letter.losses;
            text.extend_from_slice(format!("\t{attempts}\t{cause}\t{at_s}\t").as_bytes());
            match letter.is_spilled() {
                true => text.push(b'-'),
                false => text.extend_from_slice(letter.workload().len().to_string().as_bytes()),
            }
            text.push(b'\n');
        }
        text
    }
}

/// What became of a dead letter that was to be requeued.
enum Revived {
    /// It is a job again.
    Job,
    /// A job with its unique waits or runs: it has joined that one.
    Joined,
    /// It stays.
    Not,
}
