//! Records that were written and synced together.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `GSB1` |
//! | 4 | 4 | CRC32C of bytes 8 to 32, after the segment's nonce |
//! | 8 | 8 | number of the batch in its log: one more than that of the batch before |
//! | 16 | 8 | number of the last batch that was known to be synced when this one was written |
//! | 24 | 4 | length of the records, in bytes |
//! | 28 | 4 | CRC32C of the records, after the segment's nonce |
//! | 32 | | records; then zeros up to the next multiple of 8 |
//!
//! The nonce is nothing that a peer can know, so a workload cannot pose as a batch.

use super::record::{u32_at, u64_at};

const MAGIC: [u8; 4] = *b"GSB1";
/// Length of what stands in front of the records.
pub(super) const HEAD_BYTES: usize = 32;
/// Batches start at multiples of this.
pub(super) const ALIGN: usize = 8;

/// What stands in front of a batch's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u64,
    pub(super) synced: u64,
    pub(super) bytes: u32,
    sum: u32,
}

impl Head {
    /// The head at the start of `bytes`, if there is a whole one.
    pub(super) fn read(bytes: &[u8], nonce: u64) -> Option<Self> {
        let head = bytes.get(..HEAD_BYTES).filter(|head| head.starts_with(&MAGIC))?;
        if u32_at(head, 4)? != sum(nonce, &head[8..]) {
            return None;
        }
        Some(Self {
            number: u64_at(head, 8)?,
            synced: u64_at(head, 16)?,
            bytes: u32_at(head, 24)?,
            sum: u32_at(head, 28)?,
        })
    }

    /// The records behind it, `bytes` starting with the head, if they are whole.
    pub(super) fn records<'a>(&self, bytes: &'a [u8], nonce: u64) -> Option<&'a [u8]> {
        let records = bytes.get(HEAD_BYTES..)?.get(..self.bytes as usize)?;
        (sum(nonce, records) == self.sum).then_some(records)
    }

    /// Length of the whole batch.
    pub(super) const fn batch_bytes(&self) -> usize {
        (HEAD_BYTES + self.bytes as usize).next_multiple_of(ALIGN)
    }
}

/// Makes a batch of `bytes`, which are room for a head and records behind it.
pub(super) fn finish(bytes: &mut Vec<u8>, number: u64, synced: u64, nonce: u64) {
    let records = &bytes[HEAD_BYTES..];
    let length = u32::try_from(records.len()).expect("a batch is limited");
    let records_sum = sum(nonce, records);
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..24].copy_from_slice(&synced.to_le_bytes());
    bytes[24..28].copy_from_slice(&length.to_le_bytes());
    bytes[28..32].copy_from_slice(&records_sum.to_le_bytes());
    let head_sum = sum(nonce, &bytes[8..HEAD_BYTES]);
    bytes[4..8].copy_from_slice(&head_sum.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
}

fn sum(nonce: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&nonce.to_le_bytes()), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_with_its_nonce_only_and_not_when_a_bit_has_changed() {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes.extend_from_slice(b"some records");
        finish(&mut bytes, 7, 6, 99);
        let read = |bytes: &[u8], nonce| {
            let head = Head::read(bytes, nonce)?;
            Some((head.number, head.synced, head.batch_bytes(), head.records(bytes, nonce)?.to_vec()))
        };
        assert_eq!(read(&bytes, 99), Some((7, 6, 48, b"some records".to_vec())));
        assert_eq!(bytes.len(), 48);
        assert_eq!(read(&bytes, 98), None);
        for bit in 0..(HEAD_BYTES + 12) * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&changed, 99), None, "bit {bit}");
        }
        for end in 0..HEAD_BYTES + 12 {
            assert_eq!(read(&bytes[..end], 99), None, "cut to {end}");
        }
    }
}
