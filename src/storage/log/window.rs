//! A file that is read piece by piece.

use std::io;

use crate::storage::disk::DiskFile;

/// The piece of a file that was read last.
#[derive(Default)]
pub(super) struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// `count` bytes from `from` on, if the piece has them.
    pub(super) fn get(&self, from: u64, count: usize) -> Option<&[u8]> {
        let skipped = usize::try_from(from.checked_sub(self.start)?).ok()?;
        self.bytes.get(skipped..)?.get(..count)
    }

    /// The same bytes of `file`, fewer where it ends at `end`. When they have to
    /// be read, the piece is `ahead` bytes long at least.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn read<F: DiskFile>(
        &mut self,
        file: &F,
        end: u64,
        from: u64,
        count: usize,
        ahead: usize,
    ) -> io::Result<&[u8]> {
        let left = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
        let count = count.min(left);
        if self.get(from, count).is_none() {
            self.bytes.clear();
            self.bytes.resize(ahead.max(count).min(left), 0);
            self.start = from;
            file.read(from, &mut self.bytes).inspect_err(|_| self.bytes.clear())?;
        }
        Ok(self.get(from, count).expect("it was read just above"))
    }
}
