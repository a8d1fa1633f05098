//! Which shard owns a function.
//!
//! A stable hash with a fixed seed: every shard and every run agree. The
//! tables that peers could flood use hashes seeded at random instead.

use super::ids::ShardId;
use crate::protocol::fnv;

/// The owner of a function among `shards` shards.
#[must_use]
pub fn owner_of(function: &[u8], shards: u16) -> ShardId {
    // The high half is folded in, as the low bits alone mix poorly for names
    // that differ in their first bytes.
    let hash = fnv::hash(function);
    let folded = (hash ^ hash >> 32) % u64::from(shards);
    ShardId(u16::try_from(folded).expect("a remainder of a u16 is one"))
}

/// The owner of the job with this number.
#[must_use]
pub fn owner_of_job(number: u64, shards: u16) -> ShardId {
    ShardId(u16::try_from(number % u64::from(shards)).expect("a remainder of a u16 is one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_spread_over_all_shards() {
        for shards in [1, 2, 3, 8, 64] {
            let mut counts = vec![0usize; usize::from(shards)];
            for n in 0..6400 {
                counts[owner_of(format!("function_{n}").as_bytes(), shards).index()] += 1;
            }
            let fair = 6400 / counts.len();
            assert!(counts.iter().all(|&count| count > fair / 2 && count < fair * 2), "{counts:?}");
        }
    }
}
