//! Which shard owns a function, and which is the best home for a connection.
//!
//! A stable hash with a fixed seed: every shard and every run agree. The
//! tables that peers could flood use hashes seeded at random instead.

use super::ids::ShardId;
use crate::protocol::decode::Frame;
use crate::protocol::fnv;
use crate::protocol::packet::Command;

/// The owner of a function among `shards` shards.
#[must_use]
pub fn owner_of(function: &[u8], shards: u16) -> ShardId {
    // The high half is folded in, as the low bits alone mix poorly for names
    // that differ in their first bytes.
    let hash = fnv::hash(function);
    let folded = (hash ^ hash >> 32) % u64::from(shards);
    ShardId(u16::try_from(folded).expect("a remainder of a u16 is one"))
}

/// The shard where a connection that begins with this frame costs the fewest
/// messages: the owner of the function that it names, if it names one.
#[must_use]
pub fn home_for(frame: &Frame<'_>, shards: u16) -> Option<ShardId> {
    let Frame::Binary(packet) = frame else { return None };
    let names_function = matches!(
        packet.command,
        Command::CanDo
            | Command::CanDoTimeout
            | Command::SubmitJob
            | Command::SubmitJobBg
            | Command::SubmitJobEpoch
            | Command::SubmitJobHigh
            | Command::SubmitJobHighBg
            | Command::SubmitJobLow
            | Command::SubmitJobLowBg
            | Command::SubmitReduceJob
            | Command::SubmitReduceJobBackground
    );
    names_function.then(|| owner_of(packet.args[0], shards))
}

/// The owner of the job with this number.
#[must_use]
pub fn owner_of_job(number: u64, shards: u16) -> ShardId {
    ShardId(u16::try_from(number % u64::from(shards)).expect("a remainder of a u16 is one"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::decode::decode;
    use crate::protocol::encode::encode;
    use crate::protocol::packet::Magic;

    #[test]
    fn the_first_function_decides_on_the_home() {
        let home = |command, args: &[&[u8]]| {
            let mut bytes = Vec::new();
            encode(&mut bytes, Magic::Request, command, args, b"");
            let (frame, _) = decode(&bytes, 100).unwrap().unwrap();
            home_for(&frame, 8)
        };
        let owner = Some(owner_of(b"resize", 8));
        assert_eq!(home(Command::CanDo, &[b"resize"]), owner);
        assert_eq!(home(Command::CanDoTimeout, &[b"resize", b"3"]), owner);
        assert_eq!(home(Command::SubmitJob, &[b"resize", b"unique"]), owner);
        assert_eq!(home(Command::SubmitJobEpoch, &[b"resize", b"unique", b"7"]), owner);
        assert_eq!(home(Command::SetClientId, &[b"resize"]), None);
        assert_eq!(home(Command::CantDo, &[b"resize"]), None);
        assert_eq!(home(Command::GrabJob, &[]), None);
        assert_eq!(home_for(&Frame::Line(b"status"), 8), None);
    }

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
