//! The functions of a worker, in the order in which they are served.
//!
//! A new one goes to the front, the one that was served last to the end
//! (gearmand-spec.md, sections 6 and 7.2). Any number of functions: each is
//! found, moved or taken out in the same time. Few are looked through, many
//! have a table.

use hashbrown::HashTable;

/// Workers with more functions have a table of them.
const UNTABLED_MAX: usize = 8;

/// Stands for no place.
const NONE: u32 = u32::MAX;

/// One function that a worker serves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registration {
    /// Slot of the function in the home's beliefs.
    pub(super) slot: u32,
    /// From CAN_DO_TIMEOUT, in milliseconds; 0 for none.
    pub(super) timeout_ms: u32,
    /// Under which it stands in the function's line of sleepers; 0 if it does not.
    pub(super) listing: u32,
    /// Lanes of the worker's outlook in which it stands with this turn, a bit each.
    pub(super) noted: u8,
    /// Where it stands in the order; smaller is served first.
    turn: i64,
    /// Places of its neighbours in the order.
    before: u32,
    after: u32,
}

impl Registration {
    pub(super) const fn turn(&self) -> i64 {
        self.turn
    }
}

/// The functions of a worker.
#[derive(Debug)]
pub(super) struct Registrations {
    /// In no order; without gaps.
    entries: Vec<Registration>,
    /// Places of entries by slot, if there are many.
    places: HashTable<u32>,
    first: u32,
    last: u32,
    first_turn: i64,
    last_turn: i64,
}

impl Default for Registrations {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            places: HashTable::new(),
            first: NONE,
            last: NONE,
            first_turn: 0,
            last_turn: 0,
        }
    }
}

impl Registrations {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        self.place_of(slot).is_some()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Registration> {
        self.place_of(slot).map(|place| &self.entries[place as usize])
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Registration> {
        self.place_of(slot).map(|place| &mut self.entries[place as usize])
    }

    /// Adds a function that is not there yet.
    pub(super) fn insert(&mut self, slot: u32, timeout_ms: u32) {
        self.first_turn -= 1;
        let place = u32::try_from(self.entries.len()).expect("a worker's functions are limited");
        self.entries.push(Registration {
            slot,
            timeout_ms,
            listing: 0,
            noted: 0,
            turn: self.first_turn,
            before: NONE,
            after: self.first,
        });
        match self.first {
            NONE => self.last = place,
            first => self.entries[first as usize].before = place,
        }
        self.first = place;
        match self.entries.len() {
            ..=UNTABLED_MAX => {}
            count if count == UNTABLED_MAX + 1 => (0..=place).for_each(|place| self.table(place)),
            _ => self.table(place),
        }
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Registration> {
        let place = self.place_of(slot)?;
        self.untable(place);
        self.unlink(place);
        let end = u32::try_from(self.entries.len() - 1).expect("a worker's functions are limited");
        if place != end {
            self.untable(end);
        }
        let removed = self.entries.swap_remove(place as usize);
        if place != end {
            let Registration { before, after, .. } = self.entries[place as usize];
            *self.after(before) = place;
            *self.before(after) = place;
            if self.entries.len() > UNTABLED_MAX {
                self.table(place);
            }
        }
        if self.entries.len() <= UNTABLED_MAX {
            self.places = HashTable::new();
        }
        if self.entries.len() * 4 <= self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        Some(removed)
    }

    /// The function was served: the others go first.
    pub(super) fn rotate(&mut self, slot: u32) {
        if self.entries.len() < 2 {
            return;
        }
        let Some(place) = self.place_of(slot) else { return };
        self.unlink(place);
        self.last_turn += 1;
        let last = std::mem::replace(&mut self.last, place);
        self.entries[last as usize].after = place;
        let entry = &mut self.entries[place as usize];
        (entry.before, entry.after) = (last, NONE);
        (entry.turn, entry.noted) = (self.last_turn, 0);
    }

    /// In the order in which they are served.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Registration> {
        let at = |place: u32| self.entries.get(place as usize);
        std::iter::successors(at(self.first), move |entry| at(entry.after))
    }

    /// All of them, in no order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Registration> {
        self.entries.iter_mut()
    }

    fn place_of(&self, slot: u32) -> Option<u32> {
        if self.entries.len() > UNTABLED_MAX {
            let same = |&place: &u32| self.entries[place as usize].slot == slot;
            return self.places.find(hash(slot), same).copied();
        }
        (0..).zip(&self.entries).find(|(_, entry)| entry.slot == slot).map(|(place, _)| place)
    }

    fn table(&mut self, place: u32) {
        let entries = &self.entries;
        let hash_of = |place: u32| hash(entries[place as usize].slot);
        self.places.insert_unique(hash_of(place), place, |&other| hash_of(other));
    }

    fn untable(&mut self, place: u32) {
        let hash = hash(self.entries[place as usize].slot);
        if let Ok(found) = self.places.find_entry(hash, |&other| other == place) {
            found.remove();
        }
    }

    /// Takes an entry out of the order.
    fn unlink(&mut self, place: u32) {
        let Registration { before, after, .. } = self.entries[place as usize];
        *self.after(before) = after;
        *self.before(after) = before;
    }

    /// What comes after the entry at a place; after none, the first.
    fn after(&mut self, place: u32) -> &mut u32 {
        match place {
            NONE => &mut self.first,
            place => &mut self.entries[place as usize].after,
        }
    }

    /// What comes before the entry at a place; before none, the last.
    fn before(&mut self, place: u32) -> &mut u32 {
        match place {
            NONE => &mut self.last,
            place => &mut self.entries[place as usize].before,
        }
    }
}

/// Slots are small numbers that no peer can choose.
fn hash(slot: u32) -> u64 {
    u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(functions: &Registrations) -> Vec<u32> {
        functions.iter().map(|entry| entry.slot).collect()
    }

    #[test]
    fn newest_first_then_in_turns() {
        let mut functions = Registrations::default();
        for slot in [1, 2, 3] {
            functions.insert(slot, 0);
        }
        let mut served = Vec::new();
        for _ in 0..6 {
            let next = functions.iter().next().unwrap().slot;
            served.push(next);
            functions.rotate(next);
        }
        assert_eq!(served, [3, 2, 1, 3, 2, 1]);
        functions.remove(2);
        assert_eq!(slots(&functions), [3, 1]);
        assert_eq!((functions.len(), functions.contains(2)), (2, false));
    }

    #[test]
    fn the_order_is_that_of_a_plain_list_whatever_is_done() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut functions = Registrations::default();
        let mut list: Vec<u32> = Vec::new();
        for step in 0..20_000 {
            // Grows past the size of a table, and shrinks again.
            let many = if step % 4_000 < 2_000 { 60 } else { 4 };
            let slot = random.u32(..many);
            let known = list.iter().position(|&other| other == slot);
            assert_eq!(functions.get(slot).map(|entry| entry.slot), known.map(|_| slot));
            match known {
                None => {
                    functions.insert(slot, slot * 3);
                    list.insert(0, slot);
                }
                Some(at) if random.u32(..3) == 0 => {
                    assert_eq!(functions.remove(slot).map(|entry| entry.timeout_ms), Some(slot * 3));
                    list.remove(at);
                }
                Some(at) => {
                    functions.rotate(slot);
                    let slot = list.remove(at);
                    list.push(slot);
                }
            }
            if step % 4_000 == 2_000 {
                for slot in list.drain(..) {
                    functions.remove(slot);
                }
            }
            assert_eq!(slots(&functions), list);
            let turns: Vec<i64> = functions.iter().map(Registration::turn).collect();
            assert!(turns.is_sorted_by(|one, next| one < next), "{turns:?}");
        }
    }
}
