//! Who is who: shards, connections, and the time they are told.

/// One event loop and what it owns, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// For indexing tables of shards.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The most shards that a [`ConnId`] can tell apart.
pub const SHARDS_MAX: usize = 1 << SHARD_BITS;
/// The most connections of one shard that a [`ConnId`] can tell apart.
pub const SLOTS_MAX: usize = 1 << SLOT_BITS;

const SHARD_BITS: u32 = 10;
const SLOT_BITS: u32 = 22;

/// A connection: its home shard, its slot there, and the slot's generation.
///
/// A slot is used again, a generation is not, so a late message to a dead
/// connection is told from one to its successor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

impl ConnId {
    /// # Panics
    /// When `slot` is not below [`SLOTS_MAX`] or `shard` not below [`SHARDS_MAX`].
    #[must_use]
    pub const fn new(shard: ShardId, slot: usize, generation: u32) -> Self {
        assert!(slot < SLOTS_MAX && (shard.0 as usize) < SHARDS_MAX, "ids fit their fields");
        Self((generation as u64) << 32 | (shard.0 as u64) << SLOT_BITS | slot as u64)
    }

    /// All of it as one number.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// What [`to_bits`](Self::to_bits) made a number of.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The shard that the connection lives on.
    #[must_use]
    pub const fn shard(self) -> ShardId {
        ShardId((self.0 >> SLOT_BITS) as u16 & (SHARDS_MAX - 1) as u16)
    }

    /// Its place in that shard's tables.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.0 as usize & (SLOTS_MAX - 1)
    }

    /// Which of the slot's connections it is.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl std::fmt::Debug for ConnId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}#{}", self.shard().0, self.slot(), self.generation())
    }
}

/// The time, as the rim read it once for a turn of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since some fixed moment; never goes back.
    pub mono_us: u64,
    /// Microseconds since the Unix epoch; may jump when the clock is set.
    pub unix_us: u64,
}

impl Now {
    /// The same clock reading, `us` microseconds later.
    #[must_use]
    pub const fn plus_us(self, us: u64) -> Self {
        Self { mono_us: self.mono_us + us, unix_us: self.unix_us + us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_ids_keep_their_parts() {
        for (shard, slot, generation) in [(0, 0, 0), (1023, SLOTS_MAX - 1, u32::MAX), (5, 77, 3)] {
            let conn = ConnId::new(ShardId(shard), slot, generation);
            assert_eq!((conn.shard(), conn.slot(), conn.generation()), (ShardId(shard), slot, generation));
        }
    }
}
