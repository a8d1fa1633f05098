//! What a job carries, so that whoever receives it can tell that it is whole.
//!
//! `number u64 | slot u32 | run u32 | filling`: the job's number, its place in
//! the submitting client's table, and a tag of the run. The filling is a window
//! into a fixed table of random bytes, placed by the number, so writing it is
//! one copy and checking it one comparison at any size.

use crate::engine::plan::Picks;

/// Bytes of a payload that are not filling; none is shorter.
pub(crate) const STAMP_BYTES: usize = 16;

/// How many different windows there are.
const WINDOWS: u64 = 1021;

/// What a payload says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Counts up from 0 over the run.
    pub(crate) number: u64,
    /// Place in the submitting client's table of jobs in flight.
    pub(crate) slot: u32,
}

/// Why a payload is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Wrong length or changed bytes.
    Damaged,
    /// Stamped by another run.
    Foreign,
}

/// Writes and checks the payloads of one run.
pub(crate) struct Payloads {
    run: u32,
    sizes: Picks<usize>,
    table: Vec<u8>,
}

impl Payloads {
    /// Payloads of these sizes in bytes, each at least [`STAMP_BYTES`].
    pub(crate) fn new(run: u32, sizes: Picks<usize>) -> Self {
        let least = sizes.values().iter().min().copied().unwrap_or_default();
        assert!(least >= STAMP_BYTES, "a payload has room for its stamp");
        let filling = sizes.values().iter().max().copied().unwrap_or_default();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let table = std::iter::repeat_with(|| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .flatten()
        .take(filling + WINDOWS as usize)
        .collect();
        Self { run, sizes, table }
    }

    /// Length of a job's payload.
    pub(crate) fn bytes_of(&self, number: u64) -> usize {
        *self.sizes.of(number)
    }

    /// Which size a job's payload has.
    pub(crate) const fn sizes(&self) -> &Picks<usize> {
        &self.sizes
    }

    /// The tag of this run.
    pub(crate) const fn run(&self) -> u32 {
        self.run
    }

    /// Appends the payload of a job.
    pub(crate) fn write(&self, stamp: Stamp, out: &mut Vec<u8>) {
        out.extend_from_slice(&stamp.number.to_le_bytes());
        out.extend_from_slice(&stamp.slot.to_le_bytes());
        out.extend_from_slice(&self.run.to_le_bytes());
        out.extend_from_slice(self.filling(stamp.number));
    }

    /// Checks every byte of a payload of this run.
    pub(crate) fn read(&self, payload: &[u8]) -> Result<Stamp, Damage> {
        let tag = payload.first_chunk::<STAMP_BYTES>().and_then(|stamp| stamp.last_chunk::<4>());
        if tag.is_some_and(|tag| u32::from_le_bytes(*tag) != self.run) {
            return Err(Damage::Foreign);
        }
        self.read_any(payload).map(|(_, stamp)| stamp)
    }

    /// Checks every byte of a payload of any run with the same sizes; tells the run's tag.
    pub(crate) fn read_any(&self, payload: &[u8]) -> Result<(u32, Stamp), Damage> {
        let Some((stamp, filling)) = payload.split_first_chunk::<STAMP_BYTES>() else {
            return Err(Damage::Damaged);
        };
        let number = u64::from_le_bytes(*stamp.first_chunk().expect("a stamp has 16 bytes"));
        let slot = u32::from_le_bytes([stamp[8], stamp[9], stamp[10], stamp[11]]);
        let run = u32::from_le_bytes([stamp[12], stamp[13], stamp[14], stamp[15]]);
        if filling != self.filling(number) {
            return Err(Damage::Damaged);
        }
        Ok((run, Stamp { number, slot }))
    }

    fn filling(&self, number: u64) -> &[u8] {
        let start = (number % WINDOWS) as usize;
        &self.table[start..start + self.bytes_of(number) - STAMP_BYTES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_noticed() {
        let payloads = Payloads::new(7, Picks::one(64));
        for number in [0, 1, WINDOWS - 1, WINDOWS, u64::MAX] {
            let stamp = Stamp { number, slot: 3 };
            let mut bytes = Vec::new();
            payloads.write(stamp, &mut bytes);
            assert_eq!(bytes.len(), 64);
            assert_eq!(payloads.read(&bytes), Ok(stamp));
            assert_eq!(payloads.read(&bytes[..63]), Err(Damage::Damaged));
            for at in STAMP_BYTES..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert_eq!(payloads.read(&changed), Err(Damage::Damaged), "byte {at}");
            }
        }
    }

    #[test]
    fn another_run_is_told_apart_and_a_bare_stamp_is_enough() {
        let mut bytes = Vec::new();
        Payloads::new(1, Picks::one(STAMP_BYTES)).write(Stamp { number: 5, slot: 0 }, &mut bytes);
        assert_eq!(Payloads::new(2, Picks::one(STAMP_BYTES)).read(&bytes), Err(Damage::Foreign));
        let any = Payloads::new(2, Picks::one(STAMP_BYTES)).read_any(&bytes);
        assert_eq!(any, Ok((1, Stamp { number: 5, slot: 0 })));
        assert_eq!(Payloads::new(1, Picks::one(STAMP_BYTES)).read(b"short"), Err(Damage::Damaged));
    }
}
