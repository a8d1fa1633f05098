//! A directory on a disk, as narrow as the log needs it.
//!
//! The log sees nothing else of the system, so that a simulated disk can lose,
//! tear and reorder what was not synced, and fail at any call.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One directory with files.
pub trait Disk: Send {
    /// A file of it.
    type File: DiskFile;

    /// How the directory is called in messages.
    fn path(&self) -> &Path;

    /// The names of all files.
    ///
    /// # Errors
    /// The system's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file of so many zeros, for which the space is taken.
    ///
    /// # Errors
    /// The system's; also when there is such a file.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Self::File>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Removes a file; it may come back after a loss of power before [`sync`](Self::sync).
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes safe which files there are.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self) -> io::Result<()>;

    /// A number that no peer can guess.
    fn nonce(&self) -> u64;
}

/// One file.
pub trait DiskFile: Send {
    /// How long it is, in bytes.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// The system's; also when the file ends before.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` to `offset` and behind it.
    ///
    /// # Errors
    /// The system's.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts off what lies behind the first `bytes`. It may come back after a
    /// loss of power.
    ///
    /// # Errors
    /// The system's.
    fn cut(&self, bytes: u64) -> io::Result<()>;

    /// Makes safe what was written.
    ///
    /// # Errors
    /// The system's. They are final: what was written before may be lost.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the real file system.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
}

impl RealDisk {
    /// The directory at `path`, made if it is not there.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { path })
    }
}

impl Disk for RealDisk {
    type File = File;

    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<File> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        if let Err(error) = take_space(&file, bytes) {
            // The error is told; what it took of the space is given back if that works.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.path.join(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn nonce(&self) -> u64 {
        use std::hash::BuildHasher;
        // Keyed from the system's random numbers.
        std::hash::RandomState::new().hash_one(std::process::id())
    }
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Makes an empty file so many zeros long, for which the disk has room.
fn take_space(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        // Not every file system can promise room; writing takes it anywhere.
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let zeros = vec![0; 1 << 20];
            let mut offset = 0;
            while offset < bytes {
                let count = zeros.len().min(usize::try_from(bytes - offset).unwrap_or(zeros.len()));
                file.write_all_at(&zeros[..count], offset)?;
                offset += count as u64;
            }
            Ok(())
        }
        taken => Ok(taken?),
    }
}

/// Keeps a second process off a directory as long as it lives.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Lock {
    /// Takes the directory at `path`, which is made if it is not there; `None`
    /// when another process has it.
    ///
    /// # Errors
    /// The system's.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        std::fs::create_dir_all(path)?;
        let name = path.join("lock");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
