//! Memory that a packet is received into and that its body stays in.

use std::ops::Deref;

use memmap2::{MmapMut, MmapOptions};

/// Buffers of at least this size are mapped: the system gives their memory as
/// it is written to, and has it back the moment they are dropped.
const MAPPED_BYTES_MIN: usize = 4 << 20;
/// What a mapped buffer takes at a time, where the system has huge pages.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Bytes with room for more behind them. Room takes no memory yet.
pub struct Buffer(Kind);

enum Kind {
    Heap(Vec<u8>),
    Mapped(Box<Mapped>),
}

struct Mapped {
    map: MmapMut,
    length: usize,
}

/// Where to receive to.
pub enum Room<'a> {
    /// The unused capacity.
    Capacity(&'a mut Vec<u8>),
    /// All of it.
    Slice(&'a mut [u8]),
}

impl Default for Buffer {
    fn default() -> Self {
        Self(Kind::Heap(Vec::new()))
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Kind::Heap(bytes))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Heap(bytes) => bytes,
            Kind::Mapped(mapped) => &mapped.map[..mapped.length],
        }
    }
}

impl Buffer {
    /// How many bytes it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match &self.0 {
            Kind::Heap(bytes) => bytes.capacity(),
            Kind::Mapped(mapped) => mapped.map.len(),
        }
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn taken_bytes(&self) -> usize {
        match &self.0 {
            Kind::Heap(bytes) => bytes.len(),
            Kind::Mapped(mapped) => mapped.length.next_multiple_of(HUGE_PAGE_BYTES),
        }
    }

    /// Sees to it that it can hold `capacity` bytes, and no more than that if
    /// it has to grow; whether that worked.
    pub fn grow(&mut self, capacity: usize) -> bool {
        if capacity <= self.capacity() {
            return true;
        }
        let grown = if capacity >= MAPPED_BYTES_MIN { Self::mapped(capacity) } else { None };
        match (grown, &mut self.0) {
            (Some(mut grown), _) => {
                grown.append(self);
                *self = grown;
                true
            }
            (None, Kind::Heap(bytes)) => bytes.try_reserve_exact(capacity - bytes.len()).is_ok(),
            (None, Kind::Mapped(_)) => false,
        }
    }

    fn mapped(capacity: usize) -> Option<Self> {
        let map = MmapOptions::new().len(capacity).no_reserve_swap().map_anon().ok()?;
        // Without huge pages it is only slower.
        #[cfg(target_os = "linux")]
        let _refused = map.advise(memmap2::Advice::HugePage);
        Some(Self(Kind::Mapped(Box::new(Mapped { map, length: 0 }))))
    }

    /// Receives into the room behind the bytes; `receive` tells how many came.
    ///
    /// # Errors
    /// Those of `receive`.
    pub fn fill(
        &mut self,
        receive: impl FnOnce(Room<'_>) -> std::io::Result<usize>,
    ) -> std::io::Result<usize> {
        match &mut self.0 {
            Kind::Heap(bytes) => receive(Room::Capacity(bytes)),
            Kind::Mapped(mapped) => {
                let count = receive(Room::Slice(&mut mapped.map[mapped.length..]))?;
                mapped.length += count;
                Ok(count)
            }
        }
    }

    /// Appends a copy of `bytes`; a large buffer must have the room for them.
    pub fn append(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Kind::Heap(heap) => heap.extend_from_slice(bytes),
            Kind::Mapped(mapped) => {
                let end = mapped.length + bytes.len();
                mapped.map[mapped.length..end].copy_from_slice(bytes);
                mapped.length = end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[test]
    fn what_was_received_stays_when_a_buffer_grows_into_a_mapping() {
        let bytes = pattern(3 * MAPPED_BYTES_MIN);
        let mut buffer = Buffer::default();
        let mut capacity = 1000;
        while buffer.len() < bytes.len() {
            assert!(buffer.grow(capacity.min(bytes.len())));
            let rest = &bytes[buffer.len()..];
            let filled = buffer.fill(|room| {
                Ok(match room {
                    Room::Capacity(vec) => {
                        let count = vec.capacity() - vec.len();
                        vec.extend_from_slice(&rest[..count]);
                        count
                    }
                    Room::Slice(room) => {
                        room.copy_from_slice(&rest[..room.len()]);
                        room.len()
                    }
                })
            });
            assert_eq!(filled.unwrap() + bytes.len() - rest.len(), buffer.len());
            capacity *= 5;
        }
        assert!(matches!(buffer.0, Kind::Mapped(_)) && *buffer == *bytes);
        assert_eq!(buffer.capacity(), bytes.len());
    }

    #[test]
    fn room_takes_no_memory_until_it_is_written_to() {
        let mut buffer = Buffer::default();
        assert!(buffer.grow(1 << 30));
        assert_eq!((buffer.capacity(), buffer.taken_bytes()), (1 << 30, 0));
        buffer.append(b"x");
        assert_eq!(buffer.taken_bytes(), HUGE_PAGE_BYTES);
    }

    #[test]
    fn too_much_is_refused_and_changes_nothing() {
        let mut buffer = Buffer::default();
        buffer.append(b"abc");
        assert!(!buffer.grow(isize::MAX as usize - 100));
        assert_eq!(*buffer, *b"abc");
    }
}
