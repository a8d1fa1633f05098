//! Functions: their names, lanes and limits.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::job::{Job, Priority};
use super::lane::Lane;
use super::name::Name;
use super::slab::Slab;

/// One function and the jobs that it has.
pub struct Function {
    /// Its name; any bytes, possibly none.
    pub name: Name,
    /// Runnable jobs, by [`Priority::index`].
    pub(super) lanes: [Lane; 3],
    /// Jobs that wait, runnable or scheduled, by [`Priority::index`].
    pub(super) waiting: [usize; 3],
    /// Jobs with workers.
    pub(super) running: usize,
    /// Dead letters.
    pub(super) dead: usize,
    /// Jobs that are not here any more.
    pub(super) ended: u64,
    /// `maxqueue`: how many jobs may be there for one more of a priority to
    /// be taken, by [`Priority::index`]; 0 for no limit.
    pub limits: [u32; 3],
}

impl Function {
    fn new(name: Name) -> Self {
        let lanes = Default::default();
        Self { name, lanes, waiting: [0; 3], running: 0, dead: 0, ended: 0, limits: [0; 3] }
    }

    /// Jobs that wait at a priority, epoch jobs included.
    #[must_use]
    pub fn waiting(&self, priority: Priority) -> usize {
        self.waiting[priority.index()]
    }

    /// Jobs with workers.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }

    /// Dead letters, which are none of its jobs any more.
    #[must_use]
    pub fn dead(&self) -> usize {
        self.dead
    }

    /// How many jobs have come and gone, however they ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// All jobs: waiting, scheduled and running.
    #[must_use]
    pub fn total(&self) -> usize {
        self.waiting.iter().sum::<usize>() + self.running
    }

    /// Jobs that could be run at once.
    #[must_use]
    pub fn runnable(&self) -> usize {
        self.lanes.iter().map(Lane::len).sum()
    }

    /// The best priority at which a job could be run at once.
    #[must_use]
    pub fn best(&self) -> Option<Priority> {
        Priority::FROM_HIGH.into_iter().find(|priority| !self.lanes[priority.index()].is_empty())
    }

    /// Whether a job of this priority could be run at once.
    #[must_use]
    pub fn has(&self, priority: Priority) -> bool {
        !self.lanes[priority.index()].is_empty()
    }

    /// Whether one more job of this priority is over the limit.
    #[must_use]
    pub fn is_full(&self, priority: Priority) -> bool {
        let limit = self.limits[priority.index()];
        limit > 0 && self.total() >= limit as usize
    }

    pub(super) fn first(&self, priority: Priority, jobs: &Slab<Job>) -> Option<u32> {
        self.lanes[priority.index()].first(jobs)
    }
}

/// All functions of a shard, by name and by index.
#[derive(Default)]
pub struct Functions {
    entries: Vec<Option<Function>>,
    free: Vec<u32>,
    by_name: HashTable<u32>,
    /// Seeded at random: names are chosen by peers.
    hasher: DefaultHashBuilder,
}

impl Functions {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The index of a function.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<u32> {
        let same = |&at: &u32| self.entries[at as usize].as_ref().is_some_and(|f| *f.name == *name);
        self.by_name.find(self.hasher.hash_one(name), same).copied()
    }

    /// The function with an index, if there is one.
    #[must_use]
    pub fn get(&self, at: u32) -> Option<&Function> {
        self.entries.get(at as usize)?.as_ref()
    }

    /// Adds a function that is not there yet.
    pub fn insert(&mut self, name: Name) -> u32 {
        let hash = self.hasher.hash_one(&*name);
        let at = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("functions are limited")
        });
        self.entries[at as usize] = Some(Function::new(name));
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.by_name.insert_unique(hash, at, |&other| {
            hasher.hash_one(&*entries[other as usize].as_ref().expect("a listed function is there").name)
        });
        at
    }

    /// Forgets a function; it must have no jobs and no dead letters.
    pub fn remove(&mut self, at: u32) {
        let Some(function) = self.entries[at as usize].take() else { return };
        assert_eq!(function.total() + function.dead, 0, "a function is forgotten only without jobs");
        let hash = self.hasher.hash_one(&*function.name);
        if let Ok(entry) = self.by_name.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        self.free.push(at);
    }

    /// All functions with their indexes, in the order of these.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Function)> {
        (0..).zip(&self.entries).filter_map(|(at, entry)| Some((at, entry.as_ref()?)))
    }
}

impl std::ops::Index<u32> for Functions {
    type Output = Function;

    fn index(&self, at: u32) -> &Function {
        self.entries[at as usize].as_ref().expect("the index names a function")
    }
}

impl std::ops::IndexMut<u32> for Functions {
    fn index_mut(&mut self, at: u32) -> &mut Function {
        self.entries[at as usize].as_mut().expect("the index names a function")
    }
}
