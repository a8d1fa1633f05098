//! One change, as bytes.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | CRC32C of all that follows |
//! | 4 | 4 | length of all that follows, in bytes |
//! | 8 | 1 | kind: 1 added, 2 lost, 3 removed, 4 reclaimed, 5 altered |
//! | 9 | 1 | low half: priority, 0 low, 1 normal, 2 high; high half: what killed it, 0 for nothing |
//! | 10 | 2 | losses |
//! | 12 | 8 | number of the job; of a reclaimed one: the oldest segment left |
//!
//! of an altered and of an added job
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 20 | 8 | unix seconds before which it is not run; of a dead letter: when it became one |
//!
//! and of an added job
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 28 | 2 | length of the function |
//! | 30 | 2 | length of the unique |
//! | 32 | 2 | length of the reducer, 0 for none |
//! | 34 | | function, then unique, reducer if any, and workload with a NUL between each two |
//!
//! Numbers are little endian. What kills a job: 1 a lost worker, 2 a timeout,
//! 3 WORK_FAIL, 4 WORK_EXCEPTION. A lost job is an altered one that has nothing
//! but losses.

use crate::protocol::retry::Cause;
use crate::queue::body::Body;
use crate::queue::change::{Change, Death, RetryState, StoredJob};
use crate::queue::job::{Priority, workload_at};
use crate::queue::name::Name;

/// In front of every record: its checksum and its length.
pub(super) const HEAD_BYTES: usize = 8;
/// Length of a record of a lost or removed job, head included.
const SHORT_BYTES: usize = 20;
/// Of an altered job.
const ALTERED_BYTES: usize = 28;
/// Of an added job, without its function and body.
const ADDED_BYTES: usize = 34;

const ADDED: u8 = 1;
const LOST: u8 = 2;
const REMOVED: u8 = 3;
const RECLAIMED: u8 = 4;
const ALTERED: u8 = 5;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Added(AddedJob<'a>),
    Altered {
        number: u64,
        state: RetryState,
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
    pub(super) state: RetryState,
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
            losses: self.state.losses,
            not_before_s: self.state.not_before_s,
            death: self.state.death,
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
            state: job.state(),
        }
    }
}

impl<'a> From<&'a Change> for Record<'a> {
    fn from(change: &'a Change) -> Self {
        match change {
            Change::Added(job) => Self::Added(job.into()),
            Change::Altered { number, state } => Self::Altered { number: *number, state: *state },
            Change::Removed { number } => Self::Removed { number: *number },
        }
    }
}

impl<'a> Record<'a> {
    /// Its length as bytes, head included.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Added(job) => ADDED_BYTES + job.function.len() + job.body.len(),
            Self::Altered { state, .. } if !is_plain(state) => ALTERED_BYTES,
            _ => SHORT_BYTES,
        }
    }

    /// Appends it.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let start = to.len();
        to.extend_from_slice(&[0; 4]);
        let length = u32::try_from(self.bytes() - HEAD_BYTES).expect("packets are shorter than 4 GiB");
        to.extend_from_slice(&length.to_le_bytes());
        let mut short = |kind: u8, halves: u8, losses: u16, number: u64| {
            to.extend_from_slice(&[kind, halves]);
            to.extend_from_slice(&losses.to_le_bytes());
            to.extend_from_slice(&number.to_le_bytes());
        };
        match self {
            Self::Added(job) => {
                let halves = job.priority as u8 | killer(&job.state) << 4;
                short(ADDED, halves, job.state.losses, job.number);
                to.extend_from_slice(&moment_s(&job.state).to_le_bytes());
                let function_bytes =
                    u16::try_from(job.function.len()).expect("names of functions are limited");
                for bytes in [function_bytes, job.unique_bytes, job.reducer_bytes] {
                    to.extend_from_slice(&bytes.to_le_bytes());
                }
                to.extend_from_slice(job.function);
                to.extend_from_slice(job.body);
            }
            Self::Altered { number, state } if is_plain(state) => {
                short(LOST, 0, state.losses, *number);
            }
            Self::Altered { number, state } => {
                short(ALTERED, killer(state) << 4, state.losses, *number);
                to.extend_from_slice(&moment_s(state).to_le_bytes());
            }
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
            ADDED => Self::Added(added(record, number)?),
            LOST => Self::Altered { number, state: RetryState { losses, ..RetryState::default() } },
            ALTERED => Self::Altered { number, state: state(record)? },
            REMOVED => Self::Removed { number },
            RECLAIMED => Self::Reclaimed { oldest: number },
            _ => return None,
        };
        Some((read, length))
    }
}

/// Whether losses say all.
fn is_plain(state: &RetryState) -> bool {
    state.not_before_s == 0 && state.death.is_none()
}

/// The number of what killed a job; 0 for nothing.
fn killer(state: &RetryState) -> u8 {
    let place = |death: Death| Cause::ALL.iter().position(|&cause| cause == death.cause);
    state.death.and_then(place).map_or(0, |place| place as u8 + 1)
}

/// When it may be run, or died.
fn moment_s(state: &RetryState) -> u64 {
    state.death.map_or(state.not_before_s, |death| death.at_s)
}

fn state(record: &[u8]) -> Option<RetryState> {
    let (losses, moment_s) = (u16_at(record, 10)?, u64_at(record, 20)?);
    let killer = usize::from(record[9] >> 4);
    if killer == 0 {
        return Some(RetryState { losses, not_before_s: moment_s, death: None });
    }
    let death = Death { cause: *Cause::ALL.get(killer - 1)?, at_s: moment_s };
    Some(RetryState { losses, not_before_s: 0, death: Some(death) })
}

fn added(record: &[u8], number: u64) -> Option<AddedJob<'_>> {
    let priority = match record[9] & 0xf {
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
    let state = state(record)?;
    Some(AddedJob { number, function, body, unique_bytes, reducer_bytes, priority, state })
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
            state: RetryState { losses: 3, not_before_s: u64::MAX, death: None },
        };
        let bare = AddedJob { body: b"\0", unique_bytes: 0, reducer_bytes: 0, ..job };
        let dead =
            |cause| RetryState { losses: 4, not_before_s: 0, death: Some(Death { cause, at_s: 1 << 33 }) };
        let altered = |state| Record::Altered { number: 1 << 40, state };
        let records = [
            Record::Added(job),
            Record::Added(bare),
            Record::Added(AddedJob { state: dead(Cause::Exception), ..job }),
            altered(RetryState { losses: 9, ..RetryState::default() }),
            altered(RetryState { losses: 9, not_before_s: 1 << 34, death: None }),
            altered(dead(Cause::Lost)),
            altered(dead(Cause::Timeout)),
            altered(dead(Cause::Fail)),
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
    fn a_record_of_losses_alone_is_as_short_as_ever() {
        let state = RetryState { losses: 9, ..RetryState::default() };
        let mut bytes = Vec::new();
        Record::Altered { number: 5, state }.write(&mut bytes);
        assert_eq!(&bytes[4..], [12, 0, 0, 0, LOST, 0, 9, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
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
