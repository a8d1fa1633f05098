//! Storage for jobs: dense indexes, stable places, memory given back.
//!
//! Entries live in chunks that never move, so a growing queue copies nothing,
//! and a chunk whose entries are all gone is freed, so a drained queue keeps
//! nothing (one empty chunk is kept, against freeing and asking in turns).

const CHUNK_ENTRIES: usize = 256;
const NONE: u32 = u32::MAX;

enum Entry<T> {
    Free { next: u32 },
    Full(T),
}

struct Chunk<T> {
    entries: Box<[Entry<T>; CHUNK_ENTRIES]>,
    full: usize,
    /// First free entry, counted within the chunk; `NONE` when there is none.
    free: u32,
}

impl<T> Chunk<T> {
    fn new() -> Self {
        let next = |at: usize| if at + 1 < CHUNK_ENTRIES { index(at + 1) } else { NONE };
        let entries: Box<[_]> = (0..CHUNK_ENTRIES).map(|at| Entry::Free { next: next(at) }).collect();
        let entries = entries.try_into().ok().expect("as many as were asked for");
        Self { entries, full: 0, free: 0 }
    }
}

/// Entries under small indexes; an index is used again after its removal.
pub struct Slab<T> {
    chunks: Vec<Option<Chunk<T>>>,
    /// Chunks that may have room. May name a chunk twice, or one that is full or gone.
    open: Vec<u32>,
    /// Places in `chunks` that are `None`.
    vacant: Vec<u32>,
    /// The empty chunk that is kept.
    spare: Option<u32>,
    length: usize,
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a shard holds fewer than 2^32 jobs")
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), open: Vec::new(), vacant: Vec::new(), spare: None, length: 0 }
    }
}

impl<T> Slab<T> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes reserved for entries, used or not.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        (self.chunks.len() - self.vacant.len()) * CHUNK_ENTRIES * size_of::<Entry<T>>()
    }

    /// Adds an entry and tells its index.
    pub fn insert(&mut self, value: T) -> u32 {
        let at = self.chunk_with_room();
        let chunk = self.chunks[at as usize].as_mut().expect("a chunk with room is there");
        let place = chunk.free;
        let entry = &mut chunk.entries[place as usize];
        let Entry::Free { next } = *entry else { unreachable!("the free list names free entries") };
        *entry = Entry::Full(value);
        chunk.free = next;
        chunk.full += 1;
        if self.spare == Some(at) {
            self.spare = None;
        }
        self.length += 1;
        at * index(CHUNK_ENTRIES) + place
    }

    /// Takes an entry out.
    pub fn remove(&mut self, at: u32) -> Option<T> {
        let (number, place) = (at / index(CHUNK_ENTRIES), at % index(CHUNK_ENTRIES));
        let chunk = self.chunks.get_mut(number as usize)?.as_mut()?;
        let entry = &mut chunk.entries[place as usize];
        if matches!(entry, Entry::Free { .. }) {
            return None;
        }
        let removed = std::mem::replace(entry, Entry::Free { next: chunk.free });
        if chunk.free == NONE {
            self.open.push(number);
        }
        chunk.free = place;
        chunk.full -= 1;
        self.length -= 1;
        if chunk.full == 0 {
            self.retire(number);
        }
        match removed {
            Entry::Full(value) => Some(value),
            Entry::Free { .. } => None,
        }
    }

    /// The entry under an index.
    #[must_use]
    pub fn get(&self, at: u32) -> Option<&T> {
        let chunk = self.chunks.get(at as usize / CHUNK_ENTRIES)?.as_ref()?;
        match &chunk.entries[at as usize % CHUNK_ENTRIES] {
            Entry::Full(value) => Some(value),
            Entry::Free { .. } => None,
        }
    }

    /// The entry under an index, to change it.
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(at as usize / CHUNK_ENTRIES)?.as_mut()?;
        match &mut chunk.entries[at as usize % CHUNK_ENTRIES] {
            Entry::Full(value) => Some(value),
            Entry::Free { .. } => None,
        }
    }

    /// All entries with their indexes, in the order of these.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let chunks = self.chunks.iter().enumerate();
        let chunks = chunks.filter_map(|(number, chunk)| Some((number, chunk.as_ref()?)));
        chunks.flat_map(|(number, chunk)| {
            chunk.entries.iter().enumerate().filter_map(move |(place, entry)| match entry {
                Entry::Full(value) => Some((index(number * CHUNK_ENTRIES + place), value)),
                Entry::Free { .. } => None,
            })
        })
    }

    fn chunk_with_room(&mut self) -> u32 {
        while let Some(&at) = self.open.last() {
            if self.chunks[at as usize].as_ref().is_some_and(|chunk| chunk.free != NONE) {
                return at;
            }
            self.open.pop();
        }
        let at = self.vacant.pop().unwrap_or_else(|| {
            self.chunks.push(None);
            index(self.chunks.len() - 1)
        });
        self.chunks[at as usize] = Some(Chunk::new());
        self.open.push(at);
        at
    }

    /// Frees a chunk that became empty, or keeps it as the spare one.
    fn retire(&mut self, number: u32) {
        if self.spare.is_none() {
            self.spare = Some(number);
            return;
        }
        self.chunks[number as usize] = None;
        self.vacant.push(number);
        if self.vacant.len() == self.chunks.len() - 1 && self.chunks.len() > 1024 {
            self.open.retain(|&at| self.spare == Some(at));
            self.open.shrink_to_fit();
        }
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        self.get(at).expect("the index names an entry")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        self.get_mut(at).expect("the index names an entry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_places_and_places_are_used_again() {
        let mut slab = Slab::default();
        let places: Vec<u32> = (0..1000).map(|n| slab.insert(n)).collect();
        assert_eq!(slab.len(), 1000);
        for (n, &at) in places.iter().enumerate() {
            assert_eq!(slab[at], n);
        }
        for &at in places.iter().step_by(2) {
            assert!(slab.remove(at).is_some());
            assert!(slab.remove(at).is_none(), "an entry is removed once");
        }
        let before = slab.reserved_bytes();
        for n in 0..500 {
            slab.insert(n);
        }
        assert_eq!(slab.reserved_bytes(), before, "free places are taken before new memory");
        assert_eq!(slab.iter().count(), 1000);
    }

    #[test]
    fn a_drained_slab_keeps_one_chunk() {
        for backwards in [false, true] {
            let mut slab = Slab::default();
            let mut places: Vec<u32> = (0..100_000).map(|n| slab.insert(n)).collect();
            if backwards {
                places.reverse();
            }
            for at in places {
                slab.remove(at);
            }
            assert!(slab.is_empty());
            assert_eq!(slab.reserved_bytes(), CHUNK_ENTRIES * size_of::<Entry<i32>>());
            let at = slab.insert(7);
            assert_eq!(slab[at], 7);
        }
    }
}
