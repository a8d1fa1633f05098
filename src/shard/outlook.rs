//! Which of a worker's functions is asked for next: of those with the best
//! belief, the one whose turn it is.
//!
//! A worker may have thousands of functions beside a home that has thousands
//! of them ready, so neither are looked through for every GRAB. Three ways lead
//! to the same answer:
//!
//! - The first few in turn are looked at: with a backlog everywhere, or with
//!   few functions, that is all.
//! - What is ready at the home is looked through, when that is little.
//! - Else the worker's *outlook* is used: its ready functions by their turns. It
//!   is brought up to date with the home's news of what was believed since, or
//!   built anew when that is too much. That happens no sooner than looking
//!   through has cost as much, so at most twice the cheaper way is paid.
//!
//! An outlook may name what is ready no more, and then forgets it when met; it
//! never lacks what was ready when it was brought up to date.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::belief::Beliefs;
use super::message::Best;
use super::registrations::Registrations;
use crate::queue::job::Priority;

/// So many of the first in turn are looked at.
const FIRST_IN_TURN: usize = 4;

/// A worker's ready functions.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    lanes: Option<Box<Lanes>>,
    /// Functions looked at since the lanes were up to date.
    spent: usize,
}

/// By [`Priority::index`], turns and slots of functions that had it as their best.
#[derive(Debug, Default)]
struct Lanes {
    /// How much of the home's news is in here.
    news: usize,
    turns: [BinaryHeap<Reverse<(i64, u32)>>; 3],
}

impl Outlook {
    /// The function with the best belief, of several the one whose turn it is.
    pub(super) fn choose(
        &mut self,
        functions: &mut Registrations,
        beliefs: &Beliefs,
    ) -> Option<(Priority, u32)> {
        let ready = |priority: &Priority| !beliefs.ready(*priority).is_empty();
        for priority in Priority::FROM_HIGH.into_iter().filter(ready) {
            let is_ready = |slot: &u32| beliefs.at(*slot).best == Some(priority);
            let first = functions.iter().take(FIRST_IN_TURN).map(|entry| entry.slot).find(is_ready);
            let found = match first {
                None if functions.len() > FIRST_IN_TURN => self.search(priority, functions, beliefs),
                found => found,
            };
            if let Some(slot) = found {
                return Some((priority, slot));
            }
        }
        None
    }

    /// What is believed of one of the functions while the home's news does not
    /// tell it: the function is new to the worker, or has another turn.
    pub(super) fn note(&mut self, slot: u32, best: Best, functions: &mut Registrations) {
        if let Some(lanes) = &mut self.lanes {
            lanes.note(slot, best, functions);
        }
    }

    fn search(
        &mut self,
        priority: Priority,
        functions: &mut Registrations,
        beliefs: &Beliefs,
    ) -> Option<u32> {
        let ready = beliefs.ready(priority);
        let news = self.lanes.as_ref().and_then(|lanes| beliefs.news_since(lanes.news));
        let news = news.filter(|news| news.len() < functions.len());
        let update = news.as_ref().map_or(functions.len(), ExactSizeIterator::len);
        if self.spent + ready.len() <= update {
            self.spent += ready.len();
            let turns = ready.iter().filter_map(|&slot| Some((functions.get(slot)?.turn(), slot)));
            return turns.min().map(|(_, slot)| slot);
        }
        self.spent = 0;
        let lanes = self.lanes.get_or_insert_default();
        match news.filter(|_| lanes.len() <= 2 * functions.len()) {
            Some(news) => news.for_each(|slot| {
                if functions.contains(slot) {
                    lanes.note(slot, beliefs.at(slot).best, functions);
                }
            }),
            None => lanes.rebuild(functions, beliefs),
        }
        lanes.news = beliefs.news();
        lanes.first(priority, functions, beliefs)
    }
}

impl Lanes {
    fn len(&self) -> usize {
        self.turns.iter().map(BinaryHeap::len).sum()
    }

    fn note(&mut self, slot: u32, best: Best, functions: &mut Registrations) {
        let (Some(priority), Some(entry)) = (best, functions.get_mut(slot)) else { return };
        if entry.noted & priority.bit() == 0 {
            entry.noted |= priority.bit();
            self.turns[priority.index()].push(Reverse((entry.turn(), slot)));
        }
    }

    fn rebuild(&mut self, functions: &mut Registrations, beliefs: &Beliefs) {
        let mut turns: [Vec<_>; 3] = std::mem::take(&mut self.turns).map(BinaryHeap::into_vec);
        turns.iter_mut().for_each(Vec::clear);
        for entry in functions.iter_mut() {
            let best = beliefs.at(entry.slot).best;
            entry.noted = best.map_or(0, Priority::bit);
            if let Some(priority) = best {
                turns[priority.index()].push(Reverse((entry.turn(), entry.slot)));
            }
        }
        self.turns = turns.map(BinaryHeap::from);
    }

    /// The first in turn that is ready; what stands before it is forgotten.
    fn first(&mut self, priority: Priority, functions: &mut Registrations, beliefs: &Beliefs) -> Option<u32> {
        let turns = &mut self.turns[priority.index()];
        while let Some(&Reverse((turn, slot))) = turns.peek() {
            if let Some(entry) = functions.get_mut(slot).filter(|entry| entry.turn() == turn) {
                if beliefs.at(slot).best == Some(priority) {
                    return Some(slot);
                }
                entry.noted &= !priority.bit();
            }
            turns.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::name::Name;
    use crate::shard::ids::ShardId;
    use crate::shard::message::OwnerFunction;

    const BESTS: [Best; 4] = [None, Some(Priority::Low), Some(Priority::Normal), Some(Priority::High)];

    struct Home {
        random: fastrand::Rng,
        beliefs: Beliefs,
        slots: Vec<u32>,
    }

    impl Home {
        fn new(count: u16) -> Self {
            let mut beliefs = Beliefs::default();
            let add = |n: u16| beliefs.insert(Name::from(&n.to_le_bytes()[..]), ShardId(0));
            let slots: Vec<u32> = (0..count).map(add).collect();
            let mut home = Self { random: fastrand::Rng::with_seed(3), beliefs, slots };
            for slot in home.slots.clone() {
                home.beliefs.learn(slot, OwnerFunction(slot), None);
            }
            home
        }

        fn change(&mut self) {
            let slot = self.slots[self.random.usize(..self.slots.len())];
            let best = BESTS[[0, 0, 1, 2, 2, 2, 3][self.random.usize(..7)]];
            self.beliefs.set(slot, best);
        }
    }

    /// What `choose` must find, by looking at everything.
    fn plainly(functions: &Registrations, beliefs: &Beliefs) -> Option<(Priority, u32)> {
        let best_of = |slot| beliefs.at(slot).best;
        let best = functions.iter().map(|entry| best_of(entry.slot)).max().flatten()?;
        let first = functions.iter().find(|entry| best_of(entry.slot) == Some(best))?;
        Some((best, first.slot))
    }

    #[test]
    fn every_way_leads_to_the_first_in_turn_of_the_best() {
        for (count, changes) in [(12, 1), (400, 1), (400, 30), (6000, 3), (6000, 7000)] {
            let mut home = Home::new(count);
            let mut functions = Registrations::default();
            let mut outlook = Outlook::default();
            for at in (0..home.slots.len()).step_by(2) {
                functions.insert(home.slots[at], 0);
            }
            for _ in 0..if changes > 1000 { 20 } else { 3000 } {
                for _ in 0..home.random.usize(..=changes) {
                    home.change();
                }
                let expected = plainly(&functions, &home.beliefs);
                assert_eq!(outlook.choose(&mut functions, &home.beliefs), expected);
                if let Some((_, slot)) = expected {
                    if home.random.bool() {
                        home.beliefs.set(slot, BESTS[home.random.usize(..3)]);
                    }
                    functions.rotate(slot);
                    outlook.note(slot, home.beliefs.at(slot).best, &mut functions);
                }
                let other = home.slots[home.random.usize(..home.slots.len())];
                if functions.remove(other).is_none() {
                    functions.insert(other, 0);
                    outlook.note(other, home.beliefs.at(other).best, &mut functions);
                }
            }
            assert!(outlook.lanes.is_some(), "{count} functions, {changes} changes: no outlook was needed");
        }
    }

    #[test]
    fn an_outlook_does_not_grow_with_what_was_served() {
        let mut home = Home::new(100);
        let mut functions = Registrations::default();
        let mut outlook = Outlook::default();
        for &slot in &home.slots {
            functions.insert(slot, 0);
            home.beliefs.set(slot, Some(if slot < 50 { Priority::Normal } else { Priority::High }));
        }
        // The last in turn are the ones with high jobs, now and then.
        for round in 0..10_000 {
            let (priority, slot) = outlook.choose(&mut functions, &home.beliefs).unwrap();
            assert_eq!(priority, Priority::High);
            home.beliefs.set(slot, Some(Priority::Normal));
            functions.rotate(slot);
            outlook.note(slot, home.beliefs.at(slot).best, &mut functions);
            home.beliefs.set(50 + round % 50, Some(Priority::High));
        }
        let length = outlook.lanes.map_or(0, |lanes| lanes.len());
        assert!(length <= 4 * functions.len(), "{length}");
    }
}
