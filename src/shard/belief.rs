//! Which jobs a home believes wait at each owner.
//!
//! A belief is a delayed copy of what the owner last told us. It may be too
//! high (someone else took the job; the next claim misses and corrects it) but
//! never too low, or a worker would sleep beside work. Nothing here sends
//! messages; `grab.rs` decides when to claim.
//!
//! One entry per function that a worker of this home serves. Entries are found
//! by name when a worker registers, and by slot ever after.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::ids::{ConnId, ShardId};
use super::message::{Best, HomeFunction, OwnerFunction};
use super::open_grab::{OpenGrab, Pace};
use crate::queue::job::Priority;
use crate::queue::name::Name;

/// A worker in the line of those to be woken. Valid as long as the worker's
/// registration carries the same listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) worker: ConnId,
    pub(super) listing: u32,
}

/// What the home knows of one function.
pub(super) struct Belief {
    pub(super) name: Name,
    pub(super) owner: ShardId,
    /// How the owner counts it; `None` until the first interest is answered.
    pub(super) function: Option<OwnerFunction>,
    pub(super) best: Best,
    /// Registrations on this home.
    pub(super) workers: u32,
    /// Workers that slept when they were listed, longest first. Some may have
    /// woken for another function since: they are struck off when met.
    pub(super) sleepers: VecDeque<Listed>,
    /// Entries of `sleepers` whose registration is gone.
    pub(super) stale: usize,
    /// The owner was told that nobody sleeps here.
    pub(super) sleepless_told: bool,
    /// Workers whose GRAB waits for the first answer.
    pub(super) parked: Vec<ConnId>,
    /// GRABs that wait for a job to come, longest first; some may have been answered since.
    pub(super) open_grabs: VecDeque<OpenGrab>,
    /// How quickly its jobs come here.
    pub(super) pace: Pace,
    generation: u32,
    /// Place in the list of the functions with this best, or of the unknown ones.
    place: usize,
}

/// All functions that workers of this home serve.
#[derive(Default)]
pub(super) struct Beliefs {
    entries: Vec<Option<Belief>>,
    free: Vec<u32>,
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
    generation: u32,
    /// Functions with a runnable job at best this priority, in no order.
    ready: [Vec<u32>; 3],
    /// By owner, how many of them are its functions.
    ready_at: Vec<[u32; 3]>,
    /// The owner from which on the next ready one is looked for.
    next_owner: usize,
    /// Functions whose first interest is unanswered, in no order.
    unknown: Vec<u32>,
    /// The last functions of which a job came to be believed, in a ring.
    news: Vec<u32>,
    /// How many there have been.
    news_count: usize,
}

/// Places of the ring of news; a power of two.
const NEWS_KEPT: usize = 4096;

impl Beliefs {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<u32> {
        let same =
            |&slot: &u32| self.entries[slot as usize].as_ref().is_some_and(|entry| *entry.name == *name);
        self.by_name.find(self.hasher.hash_one(name), same).copied()
    }

    /// The entry in a slot that is in use.
    pub(super) fn at(&self, slot: u32) -> &Belief {
        self.entries[slot as usize].as_ref().expect("a registered function has an entry")
    }

    pub(super) fn at_mut(&mut self, slot: u32) -> &mut Belief {
        self.entries[slot as usize].as_mut().expect("a registered function has an entry")
    }

    /// The slot of a function, unless it was given up since.
    pub(super) fn slot_of(&self, key: HomeFunction) -> Option<u32> {
        let entry = self.entries.get(key.slot as usize)?.as_ref()?;
        (entry.generation == key.generation).then_some(key.slot)
    }

    pub(super) fn key(&self, slot: u32) -> HomeFunction {
        HomeFunction { slot, generation: self.at(slot).generation }
    }

    /// Adds a function nobody here has served; its owner is to be asked.
    pub(super) fn insert(&mut self, name: Name, owner: ShardId) -> u32 {
        let hash = self.hasher.hash_one(&*name);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("functions are limited")
        });
        self.generation = self.generation.wrapping_add(1);
        self.entries[slot as usize] = Some(Belief {
            name,
            owner,
            function: None,
            best: None,
            workers: 0,
            sleepers: VecDeque::new(),
            stale: 0,
            sleepless_told: false,
            parked: Vec::new(),
            open_grabs: VecDeque::new(),
            pace: Pace::default(),
            generation: self.generation,
            place: self.unknown.len(),
        });
        self.unknown.push(slot);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.by_name.insert_unique(hash, slot, |&other| {
            hasher.hash_one(&*entries[other as usize].as_ref().expect("a listed function is there").name)
        });
        slot
    }

    /// Forgets a function that nobody here serves any more.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Belief> {
        self.unlist(slot);
        let entry = self.entries[slot as usize].take()?;
        let hash = self.hasher.hash_one(&*entry.name);
        if let Ok(found) = self.by_name.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        self.free.push(slot);
        Some(entry)
    }

    /// Takes over what the owner says.
    pub(super) fn learn(&mut self, slot: u32, function: OwnerFunction, best: Best) {
        if self.at(slot).function == Some(function) && self.at(slot).best == best {
            return;
        }
        self.unlist(slot);
        self.at_mut(slot).function = Some(function);
        self.list(slot, best);
    }

    /// Takes over the best priority of a function that is known already.
    pub(super) fn set(&mut self, slot: u32, best: Best) {
        if self.at(slot).best != best {
            self.unlist(slot);
            self.list(slot, best);
        }
    }

    /// Functions believed to have a job of at best this priority.
    pub(super) fn ready(&self, priority: Priority) -> &[u32] {
        &self.ready[priority.index()]
    }

    /// An owner with functions believed to have a job of at best this priority,
    /// each in its turn.
    pub(super) fn next_owner(&mut self, priority: Priority) -> Option<ShardId> {
        let count = self.ready_at.len();
        let mut owners = (self.next_owner..count).chain(0..self.next_owner.min(count));
        let at = owners.find(|&at| self.ready_at[at][priority.index()] > 0)?;
        self.next_owner = at + 1;
        u16::try_from(at).ok().map(ShardId)
    }

    /// The other functions with the best priority of a ready one, from those
    /// listed after it on, around to it.
    pub(super) fn ready_beside(&self, slot: u32) -> impl Iterator<Item = u32> {
        let entry = self.at(slot);
        let list = entry.best.map_or(&[][..], |priority| self.ready(priority));
        let (before, after) = list.split_at(entry.place.min(list.len()));
        after.iter().skip(1).chain(before).copied()
    }

    /// Functions of which nothing is known yet.
    pub(super) fn unknown(&self) -> &[u32] {
        &self.unknown
    }

    /// How many times it came to be believed that a job of some best priority
    /// waits in a function.
    pub(super) fn news(&self) -> usize {
        self.news_count
    }

    /// In which functions, from the one after the first `seen` on; `None` when
    /// that is too long ago.
    pub(super) fn news_since(&self, seen: usize) -> Option<impl ExactSizeIterator<Item = u32>> {
        let kept = self.news_count - seen <= NEWS_KEPT;
        kept.then(|| (seen..self.news_count).map(|at| self.news[at % NEWS_KEPT]))
    }

    fn list(&mut self, slot: u32, best: Best) {
        self.at_mut(slot).best = best;
        if let Some(priority) = best {
            match self.news.get_mut(self.news_count % NEWS_KEPT) {
                Some(oldest) => *oldest = slot,
                None => self.news.push(slot),
            }
            self.news_count += 1;
            let list = &mut self.ready[priority.index()];
            let place = list.len();
            list.push(slot);
            self.at_mut(slot).place = place;
            let owner = self.at(slot).owner.index();
            if self.ready_at.len() <= owner {
                self.ready_at.resize(owner + 1, [0; 3]);
            }
            self.ready_at[owner][priority.index()] += 1;
        }
    }

    fn unlist(&mut self, slot: u32) {
        let entry = self.at(slot);
        let (place, owner) = (entry.place, entry.owner.index());
        let list = match (entry.function, entry.best) {
            (None, _) => &mut self.unknown,
            (Some(_), Some(priority)) => {
                self.ready_at[owner][priority.index()] -= 1;
                &mut self.ready[priority.index()]
            }
            (Some(_), None) => return,
        };
        list.swap_remove(place);
        if let Some(&moved) = list.get(place) {
            self.at_mut(moved).place = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_in_the_list_of_what_is_believed_of_it() {
        let mut beliefs = Beliefs::default();
        let slots: Vec<u32> = (0..9).map(|n| beliefs.insert(Name::from(&[n][..]), ShardId(0))).collect();
        assert_eq!(beliefs.unknown().len(), 9);
        let bests = [None, Some(Priority::Low), Some(Priority::Normal), Some(Priority::High)];
        for round in 0..4 {
            for (n, &slot) in slots.iter().enumerate() {
                beliefs.learn(slot, OwnerFunction(n as u32), bests[(n * 7 + round) % 4]);
            }
            for priority in Priority::FROM_HIGH {
                let mut expected: Vec<u32> =
                    slots.iter().copied().filter(|&slot| beliefs.at(slot).best == Some(priority)).collect();
                let mut ready = beliefs.ready(priority).to_vec();
                expected.sort_unstable();
                ready.sort_unstable();
                assert_eq!(ready, expected);
            }
        }
        assert!(beliefs.unknown().is_empty());
    }

    #[test]
    fn a_forgotten_function_is_not_taken_for_its_successor() {
        let mut beliefs = Beliefs::default();
        let slot = beliefs.insert(Name::from(&b"a"[..]), ShardId(0));
        let key = beliefs.key(slot);
        beliefs.remove(slot);
        assert_eq!(beliefs.insert(Name::from(&b"b"[..]), ShardId(0)), slot);
        assert_eq!(beliefs.slot_of(key), None);
        assert_eq!((beliefs.find(b"a"), beliefs.find(b"b")), (None, Some(slot)));
    }
}
