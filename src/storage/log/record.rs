//! One change, as bytes.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | CRC32C of all that follows |
//! | 4 | 4 | length of all that follows, in bytes |
//! | 8 | 1 | kind: 1 added, 2 lost, 3 removed, 4 reclaimed |
//! | 9 | 1 | priority: 0 low, 1 normal, 2 high |
//! | 10 | 2 | losses |
//! | 12 | 8 | number of the job; of a reclaimed one: the oldest segment left |
//!
//! and of an added job
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 20 | 8 | unix seconds before which it is not run |
//! | 28 | 2 | length of the function |
//! | 30 | 2 | length of the unique |
//! | 32 | 2 | length of the reducer, 0 for none |
//! | 34 | | function, then unique, reducer if any, and workload with a NUL between each two |
//!
//! Numbers are little endian.

use crate::queue::body::Body;
use crate::queue::change::{Change, StoredJob};
use crate::queue::job::{Priority, workload_at};
use crate::queue::name::Name;

/// In front of every record: its checksum and its length.
pub(super) const HEAD_BYTES: usize = 8;
/// Length of a record that is not of an added job, head included.
const SHORT_BYTES: usize = 20;
/// Of an added job, without its function and body.
const ADDED_BYTES: usize = 34;

const ADDED: u8 = 1;
const LOST: u8 = 2;
const REMOVED: u8 = 3;
const RECLAIMED: u8 = 4;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Added(AddedJob<'a>),
    Lost {
        number: u64,
        losses: u16,
    },
    Removed {
        number: u64,
    },
    /// Segments older than this one are not needed.
    Reclaimed {
        oldest: u64,
    },
}

/// An added job, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddedJob<'a> {
    pub(super) number: u64,
    pub(super) function: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) unique_bytes: u16,
    pub(super) reducer_bytes: u16,
    pub(super) priority: Priority,
    pub(super) not_before_s: u64,
    pub(super) losses: u16,
}

impl AddedJob<'_> {
    /// With bytes of its own.
    pub(super) fn stored(&self) -> StoredJob {
        StoredJob {
            number: self.number,
            function: Name::from(self.function),
            body: Body::copy(self.body),
            unique_bytes: self.unique_bytes,
            reducer_bytes: self.reducer_bytes,
            priority: self.priority,
            not_before_s: self.not_before_s,
            losses: self.losses,
        }
    }
}

impl<'a> From<&'a StoredJob> for AddedJob<'a> {
    fn from(job: &'a StoredJob) -> Self {
        Self {
            number: job.number,
            function: &job.function,
            body: &job.body,
            unique_bytes: job.unique_bytes,
            reducer_bytes: job.reducer_bytes,
            priority: job.priority,
            not_before_s: job.not_before_s,
            losses: job.losses,
        }
    }
}

impl<'a> From<&'a Change> for Record<'a> {
    fn from(change: &'a Change) -> Self {
        match change {
            Change::Added(job) => Self::Added(job.into()),
            Change::Lost { number, losses } => Self::Lost { number: *number, losses: *losses },
            Change::Removed { number } => Self::Removed { number: *number },
        }
    }
}

impl<'a> Record<'a> {
    /// Its length as bytes, head included.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Added(job) => ADDED_BYTES + job.function.len() + job.body.len(),
            _ => SHORT_BYTES,
        }
    }

    /// Appends it.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let start = to.len();
        to.extend_from_slice(&[0; 4]);
        let length = u32::try_from(self.bytes() - HEAD_BYTES).expect("packets are shorter than 4 GiB");
        to.extend_from_slice(&length.to_le_bytes());
        let mut short = |kind: u8, priority: u8, losses: u16, number: u64| {
            to.extend_from_slice(&[kind, priority]);
            to.extend_from_slice(&losses.to_le_bytes());
            to.extend_from_slice(&number.to_le_bytes());
        };
        match self {
            Self::Added(job) => {
                short(ADDED, job.priority as u8, job.losses, job.number);
                to.extend_from_slice(&job.not_before_s.to_le_bytes());
                let function_bytes =
                    u16::try_from(job.function.len()).expect("names of functions are limited");
                for bytes in [function_bytes, job.unique_bytes, job.reducer_bytes] {
                    to.extend_from_slice(&bytes.to_le_bytes());
                }
                to.extend_from_slice(job.function);
                to.extend_from_slice(job.body);
            }
            Self::Lost { number, losses } => short(LOST, 0, *losses, *number),
            Self::Removed { number } => short(REMOVED, 0, 0, *number),
            Self::Reclaimed { oldest } => short(RECLAIMED, 0, 0, *oldest),
        }
        let sum = crc32c::crc32c(&to[start + 4..]);
        to[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    }

    /// The record at the start of `bytes` and its length; `None` when there is
    /// none that is whole.
    pub(super) fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let length = HEAD_BYTES.checked_add(u32_at(bytes, 4)? as usize)?;
        let record = bytes.get(..length).filter(|record| record.len() >= SHORT_BYTES)?;
        if crc32c::crc32c(&record[4..]) != u32_at(record, 0)? {
            return None;
        }
        let (number, losses) = (u64_at(record, 12)?, u16_at(record, 10)?);
        let read = match record[8] {
            ADDED => Self::Added(added(record, number, losses)?),
            LOST => Self::Lost { number, losses },
            REMOVED => Self::Removed { number },
            RECLAIMED => Self::Reclaimed { oldest: number },
            _ => return None,
        };
        Some((read, length))
    }
}

fn added(record: &[u8], number: u64, losses: u16) -> Option<AddedJob<'_>> {
    let priority = match record[9] {
        0 => Priority::Low,
        1 => Priority::Normal,
        2 => Priority::High,
        _ => return None,
    };
    let (unique_bytes, reducer_bytes) = (u16_at(record, 30)?, u16_at(record, 32)?);
    let (function, body) = record.get(ADDED_BYTES..)?.split_at_checked(u16_at(record, 28)?.into())?;
    if workload_at(unique_bytes, reducer_bytes) > body.len() {
        return None;
    }
    let not_before_s = u64_at(record, 20)?;
    Some(AddedJob { number, function, body, unique_bytes, reducer_bytes, priority, not_before_s, losses })
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Vec<u8>> {
        let job = AddedJob {
            number: 77,
            function: b"resize",
            body: b"unique\0reducer\0work\0load",
            unique_bytes: 6,
            reducer_bytes: 7,
            priority: Priority::High,
            not_before_s: u64::MAX,
            losses: 3,
        };
        let bare = AddedJob { body: b"\0", unique_bytes: 0, reducer_bytes: 0, ..job };
        let records = [
            Record::Added(job),
            Record::Added(bare),
            Record::Lost { number: 1 << 40, losses: 9 },
            Record::Removed { number: 5 },
            Record::Reclaimed { oldest: 12 },
        ];
        let write = |record: &Record<'_>| {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            assert_eq!(bytes.len(), record.bytes());
            assert_eq!(Record::read(&bytes), Some((*record, bytes.len())));
            bytes
        };
        records.iter().map(write).collect()
    }

    #[test]
    fn records_survive_and_cut_or_changed_ones_are_refused() {
        for bytes in records() {
            let length = bytes.len();
            for end in 0..length {
                assert_eq!(Record::read(&bytes[..end]), None, "cut to {end} of {length}");
            }
            for bit in 0..length * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::read(&changed), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_stored_job_keeps_its_parts() {
        let bytes = &records()[0];
        let Some((Record::Added(job), _)) = Record::read(bytes) else { panic!("an added job") };
        let stored = job.stored();
        assert_eq!((stored.unique(), stored.workload()), (&b"unique"[..], &b"work\0load"[..]));
        assert_eq!(AddedJob::from(&stored), job);
    }
}
