//! Which rows of other stores a log has been given already.
//!
//! The file `imported` in the log's directory is a list of frames:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | CRC32C of all that follows |
//! | 4 | 4 | how many rows follow |
//! | 8 | 4 | kind: 1 given, 2 settled |
//! | 12 | 24 each | [`fingerprint`] of a row, and the number of its job, 0 if that was known before |
//!
//! Numbers are little endian. A frame is safe before its jobs are written to
//! the log, and the next frame is written only after the log's sync: so of all
//! frames but the last one, every row has been given. Whether the jobs of the
//! last one came into the log, the log knows, as long as no server has run on it;
//! therefore a server asks, too, before it runs ([`settle`]), and what was
//! found stands in a settled frame in its place.

use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hashbrown::HashSet;
use siphasher::sip128::{Hasher128, SipHasher};

use super::StoreError;

const NAME: &str = "imported";
const HEAD_BYTES: usize = 12;
const ROW_BYTES: usize = 24;
const GIVEN: u32 = 1;
const SETTLED: u32 = 2;

/// A row and the number that its job has been given.
pub type Given = (u128, u64);

/// What tells a row from all others: two are the same when all parts are.
#[must_use]
pub fn fingerprint(parts: &[&[u8]]) -> u128 {
    let mut hasher = SipHasher::new();
    for part in parts {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part);
    }
    hasher.finish128().as_u128()
}

/// The list of a log's directory.
#[derive(Debug)]
pub struct Imported {
    path: PathBuf,
    file: File,
    rows: HashSet<u128>,
    /// The last frame, if its jobs may not be in the log.
    pending: Vec<Given>,
}

impl Imported {
    /// Reads the list, which is made if it is not there; `keeps` tells whether
    /// the log has a job with this number.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is damaged.
    pub fn open(directory: &Path, keeps: impl Fn(u64) -> bool) -> Result<Self, StoreError> {
        let path = directory.join(NAME);
        let is_new = !path.exists();
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(StoreError::io("open", &path))?;
        if is_new {
            let synced = File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(StoreError::io("sync", directory))?;
        }
        let mut imported = Self { path, file, rows: HashSet::new(), pending: Vec::new() };
        imported.read()?;
        imported.settle(keeps)?;
        Ok(imported)
    }

    /// Whether this row has been given.
    #[must_use]
    pub fn knows(&self, row: u128) -> bool {
        self.rows.contains(&row)
    }

    /// Says that these rows are about to be given, and that the log is synced
    /// with all that were before.
    ///
    /// # Errors
    /// When that is not safe.
    pub fn begin(&mut self, rows: &[Given]) -> Result<(), StoreError> {
        self.append(GIVEN, rows)?;
        self.rows.extend(self.pending.drain(..).map(|(row, _)| row));
        self.pending.extend_from_slice(rows);
        Ok(())
    }

    /// Says that the log is synced with all rows that were begun.
    ///
    /// # Errors
    /// When that is not safe.
    pub fn end(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() { Ok(()) } else { self.begin(&[]) }
    }

    fn settle(&mut self, keeps: impl Fn(u64) -> bool) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let is_given = |&&(_, number): &&Given| number == 0 || keeps(number);
        let given: Vec<Given> = self.pending.iter().filter(is_given).copied().collect();
        self.append(SETTLED, &given)?;
        self.pending.clear();
        self.rows.extend(given.into_iter().map(|(row, _)| row));
        Ok(())
    }

    fn append(&mut self, kind: u32, rows: &[Given]) -> Result<(), StoreError> {
        let mut frame = vec![0; 4];
        let count = u32::try_from(rows.len()).expect("a batch has fewer rows");
        frame.extend_from_slice(&count.to_le_bytes());
        frame.extend_from_slice(&kind.to_le_bytes());
        for (row, number) in rows {
            frame.extend_from_slice(&row.to_le_bytes());
            frame.extend_from_slice(&number.to_le_bytes());
        }
        let sum = crc32c::crc32c(&frame[4..]);
        frame[..4].copy_from_slice(&sum.to_le_bytes());
        let written = self.file.write_all(&frame).and_then(|()| self.file.sync_data());
        written.map_err(StoreError::io("write", &self.path))
    }

    /// Reads all frames; cuts off one that was never finished.
    fn read(&mut self) -> Result<(), StoreError> {
        let length = self.file.metadata().map_err(StoreError::io("read", &self.path))?.len();
        let mut reader = io::BufReader::with_capacity(1 << 20, &self.file);
        let mut end = 0;
        while end < length {
            let frame = read_frame(&mut reader, length - end).map_err(StoreError::io("read", &self.path))?;
            let Some((kind, rows)) = frame else { break };
            end += (HEAD_BYTES + rows.len() * ROW_BYTES) as u64;
            let before = std::mem::take(&mut self.pending);
            if kind == SETTLED {
                self.rows.extend(rows.into_iter().map(|(row, _)| row));
            } else {
                self.rows.extend(before.into_iter().map(|(row, _)| row));
                self.pending = rows;
            }
        }
        let cut = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
        cut.map(drop).map_err(StoreError::io("write", &self.path))
    }
}

/// The next frame in a file that has so many bytes left; `None` when it was never finished.
fn read_frame(file: &mut impl Read, left: u64) -> io::Result<Option<(u32, Vec<Given>)>> {
    let mut frame = vec![0; HEAD_BYTES];
    if left < HEAD_BYTES as u64 {
        return Ok(None);
    }
    file.read_exact(&mut frame)?;
    let word = |frame: &[u8], at: usize| u32::from_le_bytes(*frame[at..].first_chunk().expect("four bytes"));
    let bytes = word(&frame, 4) as usize * ROW_BYTES;
    if (bytes + HEAD_BYTES) as u64 > left {
        return Ok(None);
    }
    frame.resize(HEAD_BYTES + bytes, 0);
    file.read_exact(&mut frame[HEAD_BYTES..])?;
    let kind = word(&frame, 8);
    if word(&frame, 0) != crc32c::crc32c(&frame[4..]) || ![GIVEN, SETTLED].contains(&kind) {
        if (frame.len() as u64) < left {
            let what = "it is damaged; restore it from a copy, or remove it to import everything again";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        return Ok(None);
    }
    let row = |bytes: &[u8]| -> Given {
        let (row, number) = bytes.split_at(16);
        let row = u128::from_le_bytes(*row.first_chunk().expect("16 bytes"));
        (row, u64::from_le_bytes(*number.first_chunk().expect("8 bytes")))
    };
    Ok(Some((kind, frame[HEAD_BYTES..].chunks_exact(ROW_BYTES).map(row).collect())))
}

/// What a server does before it runs on a log: an import that was cut short
/// finds out later what the log had then. Without an import nothing is done.
///
/// # Errors
/// As [`Imported::open`].
pub fn settle(directory: &Path, keeps: impl Fn(u64) -> bool) -> Result<(), StoreError> {
    if directory.join(NAME).exists() {
        Imported::open(directory, keeps)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gearshard-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn open(&self, kept: &[u64]) -> Imported {
            Imported::open(&self.0, |number| kept.contains(&number)).unwrap()
        }

        fn bytes(&self) -> Vec<u8> {
            std::fs::read(self.0.join(NAME)).unwrap()
        }

        fn write(&self, bytes: &[u8]) {
            std::fs::write(self.0.join(NAME), bytes).unwrap();
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn known(imported: &Imported) -> Vec<u128> {
        (0..20).filter(|&row| imported.knows(row)).collect()
    }

    #[test]
    fn fingerprints_are_the_same_in_every_version() {
        assert_eq!(fingerprint(&[b"a", b"b"]), 0x762f2edc_dd5539fa_0d9ae6a4_3b8e082c);
        assert_ne!(fingerprint(&[b"ab", b""]), fingerprint(&[b"a", b"b"]));
    }

    #[test]
    fn only_of_the_last_frame_it_is_the_log_that_knows() {
        let directory = Directory::new("imported-last");
        let mut imported = directory.open(&[]);
        imported.begin(&[(1, 10), (2, 20)]).unwrap();
        imported.begin(&[(3, 30), (4, 40), (5, 0)]).unwrap();
        drop(imported);
        assert_eq!(known(&directory.open(&[40])), [1, 2, 4, 5]);
        // What was found then counts, whatever the log has later.
        let mut imported = directory.open(&[30]);
        assert_eq!(known(&imported), [1, 2, 4, 5]);
        imported.begin(&[(6, 60)]).unwrap();
        imported.end().unwrap();
        drop(imported);
        assert_eq!(known(&directory.open(&[])), [1, 2, 4, 5, 6]);
    }

    #[test]
    fn a_frame_that_was_cut_short_has_not_begun_and_damage_is_told() {
        let directory = Directory::new("imported-cut");
        let mut imported = directory.open(&[]);
        imported.begin(&[(1, 10)]).unwrap();
        let first = directory.bytes().len();
        imported.begin(&[(2, 20), (3, 30)]).unwrap();
        drop(imported);
        let whole = directory.bytes();
        for end in first..whole.len() {
            directory.write(&whole[..end]);
            assert_eq!(known(&directory.open(&[10, 20, 30])), [1], "{end}");
            let mut imported = directory.open(&[]);
            imported.begin(&[(7, 70)]).unwrap();
            imported.end().unwrap();
            assert_eq!(known(&directory.open(&[])), [1, 7], "{end}");
        }
        for bit in 0..first * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            directory.write(&damaged);
            // A length that points behind the end is that of a frame that was never finished.
            match Imported::open(&directory.0, |_| true) {
                Ok(imported) => assert_eq!(known(&imported), [0; 0], "bit {bit}"),
                Err(error) => assert!(error.to_string().contains("damaged"), "{error}"),
            }
        }
    }
}
