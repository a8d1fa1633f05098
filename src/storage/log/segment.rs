//! One file of a log.
//!
//! A segment starts with two copies of its header, [`COPY_BYTES`] apart:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `GSWAL001` |
//! | 8 | 4 | CRC32C of all that follows |
//! | 12 | 4 | which log this is: the shard whose jobs it keeps |
//! | 16 | 4 | how many shards the server had |
//! | 20 | 4 | number of the segment, which is also its name |
//! | 24 | 8 | number of its first batch |
//! | 32 | 8 | nonce |
//!
//! Batches follow from [`HEADER_BYTES`] on. A file of zeros with a segment's
//! name was made ahead of its time and is not a segment yet.

use std::collections::VecDeque;
use std::io;

use super::places::Place;
use super::record::{u32_at, u64_at};
use crate::storage::disk::DiskFile;

const MAGIC: [u8; 8] = *b"GSWAL001";
const COPY: usize = 40;
/// From one copy of the header to the other.
const COPY_BYTES: usize = 2048;
/// Where the first batch starts.
pub(super) const HEADER_BYTES: u64 = 4096;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) log: u32,
    pub(super) shards: u32,
    pub(super) number: u32,
    pub(super) first_batch: u64,
    pub(super) nonce: u64,
}

impl Header {
    /// Both copies, as they lie at the start of the file.
    pub(super) fn written(&self) -> Vec<u8> {
        let mut copy = MAGIC.to_vec();
        copy.extend_from_slice(&[0; 4]);
        for part in [self.log, self.shards, self.number] {
            copy.extend_from_slice(&part.to_le_bytes());
        }
        copy.extend_from_slice(&self.first_batch.to_le_bytes());
        copy.extend_from_slice(&self.nonce.to_le_bytes());
        let sum = crc32c::crc32c(&copy[12..]);
        copy[8..12].copy_from_slice(&sum.to_le_bytes());
        let mut bytes = copy.clone();
        bytes.resize(COPY_BYTES, 0);
        bytes.extend_from_slice(&copy);
        bytes
    }

    /// The header at the start of a file's bytes: that of the first copy that is whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        [0, COPY_BYTES].into_iter().find_map(|at| Self::copy(bytes.get(at..)?.get(..COPY)?))
    }

    fn copy(copy: &[u8]) -> Option<Self> {
        if !copy.starts_with(&MAGIC) || u32_at(copy, 8)? != crc32c::crc32c(&copy[12..]) {
            return None;
        }
        Some(Self {
            log: u32_at(copy, 12)?,
            shards: u32_at(copy, 16)?,
            number: u32_at(copy, 20)?,
            first_batch: u64_at(copy, 24)?,
            nonce: u64_at(copy, 32)?,
        })
    }
}

/// The name of the segment with this number.
pub(super) fn name(number: u32) -> String {
    format!("{number:08x}.wal")
}

/// The number of the segment with this name.
pub(super) fn numbered(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".wal").filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok().filter(|&number| self::name(number) == name)
}

/// A segment in use.
pub(super) struct Segment<F> {
    pub(super) header: Header,
    pub(super) file: F,
    /// Length of the file.
    pub(super) bytes: u64,
    /// Where its batches end.
    pub(super) end: u64,
    /// Jobs whose latest record as added lies here, and the bytes of those.
    pub(super) jobs: u64,
    pub(super) job_bytes: u64,
}

impl<F> Segment<F> {
    /// A segment that is there already, with no job counted yet.
    pub(super) const fn found(header: Header, file: F, bytes: u64, end: u64) -> Self {
        Self { header, file, bytes, end, jobs: 0, job_bytes: 0 }
    }

    /// Counts a job that lies here.
    pub(super) fn count(&mut self, place: Place) {
        self.jobs += 1;
        self.job_bytes += u64::from(place.bytes);
    }

    /// Counts a job no more.
    pub(super) fn discount(&mut self, place: Place) {
        self.jobs -= 1;
        self.job_bytes -= u64::from(place.bytes);
    }

    /// Bytes that are left behind the last batch.
    pub(super) const fn room(&self) -> u64 {
        self.bytes - self.end
    }
}

impl<F: DiskFile> Segment<F> {
    /// Makes a segment of a file that was made ahead; the directory knows it already.
    pub(super) fn begin(header: Header, file: F, bytes: u64) -> io::Result<Self> {
        file.write(0, &header.written())?;
        file.sync()?;
        Ok(Self::found(header, file, bytes, HEADER_BYTES))
    }

    /// Gives back the space behind the last batch: no more is written here.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.file.cut(self.end)?;
        self.bytes = self.end;
        Ok(())
    }
}

/// Where among the segments, the oldest first, the one with this number stands.
fn index_of<F>(segments: &VecDeque<Segment<F>>, number: u32) -> usize {
    let after_oldest =
        segments.front().map_or(0, |oldest| number.wrapping_sub(oldest.header.number)) as usize;
    if segments.get(after_oldest).is_some_and(|segment| segment.header.number == number) {
        return after_oldest;
    }
    // Some are missing: only in a damaged log.
    segments.partition_point(|segment| segment.header.number < number)
}

/// The segment that a job's place names.
pub(super) fn segment_of<F>(segments: &VecDeque<Segment<F>>, number: u32) -> &Segment<F> {
    &segments[index_of(segments, number)]
}

/// The same, to change it.
pub(super) fn segment_of_mut<F>(segments: &mut VecDeque<Segment<F>>, number: u32) -> &mut Segment<F> {
    let at = index_of(segments, number);
    &mut segments[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_loss_of_one_copy() {
        let header = Header { log: 3, shards: 64, number: 0xabc, first_batch: 9, nonce: u64::MAX };
        let bytes = header.written();
        assert_eq!(Header::read(&bytes), Some(header));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(Header::read(&changed), Some(header), "byte {at}");
        }
        assert_eq!(Header::read(&vec![0; 4096]), None);
    }

    #[test]
    fn names_are_numbers() {
        for number in [1, 0xabc, u32::MAX] {
            assert_eq!(numbered(&name(number)), Some(number));
        }
        for other in ["lock", "1.wal", "0000000G.wal", "0000000A.wal", "+000001a.wal"] {
            assert_eq!(numbered(other), None, "{other}");
        }
    }
}
