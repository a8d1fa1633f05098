//! Jobs of one function that no worker has asked for: bytes in, the same bytes
//! out, in order.
//!
//! `bytes u32 | unique u32 | handle [19] | unique | data`, one record after the
//! other in chunks that never move, so the cost of a job does not depend on how
//! many there are.

use std::collections::VecDeque;

use super::handle::HANDLE_BYTES;

const CHUNK_BYTES_MIN: usize = 1024;
const CHUNK_BYTES_MAX: usize = 1024 * 1024;
const LENGTHS_BYTES: usize = 8;

/// A first-in, first-out queue of jobs.
#[derive(Default)]
pub(super) struct Backlog {
    chunks: VecDeque<Vec<u8>>,
    /// How much of the first chunk has been taken.
    taken: usize,
}

/// A job that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting<'a> {
    pub(super) handle: &'a [u8],
    pub(super) unique: &'a [u8],
    pub(super) data: &'a [u8],
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.front().is_none_or(|chunk| chunk.len() == self.taken)
    }

    /// Appends a job.
    pub(super) fn push(&mut self, job: Waiting<'_>) {
        let rest = job.handle.len() + job.unique.len() + job.data.len();
        let bytes = LENGTHS_BYTES + rest;
        if self.chunks.back().is_none_or(|chunk| chunk.capacity() - chunk.len() < bytes) {
            let last = self.chunks.back().map_or(0, Vec::capacity);
            // Only the last chunk may be empty, or those behind it would not be found.
            self.chunks.pop_back_if(|chunk| chunk.is_empty());
            let room = (last * 2).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX).max(bytes);
            self.chunks.push_back(Vec::with_capacity(room));
        }
        let chunk = self.chunks.back_mut().expect("a chunk with room was just made");
        for length in [rest, job.unique.len()] {
            let length = u32::try_from(length).expect("a packet's body is shorter than 4 GiB");
            chunk.extend_from_slice(&length.to_le_bytes());
        }
        for part in [job.handle, job.unique, job.data] {
            chunk.extend_from_slice(part);
        }
    }

    /// Takes the oldest job out and hands it to `each`; false when there is none.
    pub(super) fn pop(&mut self, each: impl FnOnce(Waiting<'_>)) -> bool {
        if self.is_empty() {
            return false;
        }
        let chunk = self.chunks.front().expect("a backlog that is not empty has a chunk");
        let record = &chunk[self.taken..];
        let length = |at: usize| {
            u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]) as usize
        };
        let (rest, unique) = (length(0), length(4));
        let body = &record[LENGTHS_BYTES..LENGTHS_BYTES + rest];
        let (handle, body) = body.split_at(HANDLE_BYTES);
        let (unique, data) = body.split_at(unique);
        each(Waiting { handle, unique, data });
        self.taken += LENGTHS_BYTES + rest;
        if self.taken == chunk.len() {
            self.taken = 0;
            let mut emptied = self.chunks.pop_front().expect("it was just read");
            // The room of a backlog that is short for most of the time is used again.
            if self.chunks.is_empty() && emptied.capacity() <= CHUNK_BYTES_MAX {
                emptied.clear();
                self.chunks.push_back(emptied);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mostly short ones; every hundredth is longer than a chunk.
    fn data(number: u32) -> Vec<u8> {
        let bytes = if number.is_multiple_of(100) { CHUNK_BYTES_MAX as u32 + number } else { number % 700 };
        number.to_le_bytes().into_iter().cycle().take(bytes as usize).collect()
    }

    #[test]
    fn jobs_leave_in_order_whatever_their_size() {
        let mut backlog = Backlog::default();
        let handle = [b'h'; HANDLE_BYTES];
        for _ in 0..2 {
            for number in 0..2_000u32 {
                backlog.push(Waiting { handle: &handle, unique: &number.to_be_bytes(), data: &data(number) });
            }
            for number in 0..2_000u32 {
                let expected =
                    Waiting { handle: &handle, unique: &number.to_be_bytes(), data: &data(number) };
                assert!(backlog.pop(|job| assert_eq!(job, expected)));
            }
            assert!(backlog.is_empty() && !backlog.pop(|job| panic!("{job:?}")));
            assert!(backlog.chunks.len() <= 1, "a drained backlog keeps one chunk at most");
        }
    }
}
