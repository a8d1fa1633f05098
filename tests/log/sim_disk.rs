//! A disk in memory that forgets, tears and reorders what was not synced.
//!
//! What a program sees of it is what it has written. What a loss of power
//! leaves is decided sector by sector: of everything written since the last
//! sync of a file, each sector is there or not; of everything that happened to
//! the directory since its last sync, each step is there or not.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use gearshard::storage::disk::{Disk, DiskFile};

/// What a file holds, by its identity: names come and go.
#[derive(Clone, Default)]
struct Content {
    seen: Vec<u8>,
    safe: Vec<u8>,
    /// Since the last sync, in order.
    writes: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone)]
enum Step {
    Made(String, usize),
    Removed(String),
}

/// What happens at which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// From this call on, nothing is done any more.
    PowerOff,
    /// This one call fails so; a write writes half of its bytes first.
    Error(io::ErrorKind),
}

struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    steps: Vec<Step>,
    calls: u64,
    fault: Option<(u64, Fault)>,
    /// Bytes that all files together may have.
    space: u64,
    random: Rng,
}

/// A handle on the disk; clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

/// A file of it.
pub(crate) struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl SimDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: Vec::new(),
            names: BTreeMap::new(),
            safe_names: BTreeMap::new(),
            steps: Vec::new(),
            calls: 0,
            fault: None,
            space: u64::MAX,
            random: Rng::with_seed(seed),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Something is to go wrong at the `after`th call from now on, counted from 1.
    pub(crate) fn fail(&self, after: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.calls + after, fault));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn mend(&self) {
        self.state().fault = None;
    }

    /// From now on so many bytes fit.
    pub(crate) fn set_space(&self, bytes: u64) {
        self.state().space = bytes;
    }

    /// Bytes that all files have.
    pub(crate) fn used(&self) -> u64 {
        self.state().used()
    }

    /// The process ends: what it has written stays.
    pub(crate) fn end_process(&self) {
        self.mend();
    }

    /// The power goes: what was not synced may stay or not. `sector` is what the
    /// disk writes at once.
    pub(crate) fn lose_power(&self, sector: usize) {
        self.state().lose_power(sector);
    }

    /// The bytes of each file, to look at or to damage.
    pub(crate) fn each_file(&self, mut each: impl FnMut(&str, &mut Vec<u8>)) {
        let State { files, names, .. } = &mut *self.state();
        for (name, &file) in names.iter() {
            each(name, &mut files[file].seen);
        }
    }

    /// A copy that has nothing unsynced.
    pub(crate) fn copy(&self) -> Self {
        let state = self.state();
        let names = state.names.clone();
        let settled = |content: &Content| Content {
            seen: content.seen.clone(),
            safe: content.seen.clone(),
            writes: Vec::new(),
        };
        Self(Arc::new(Mutex::new(State {
            files: state.files.iter().map(settled).collect(),
            safe_names: names.clone(),
            names,
            steps: Vec::new(),
            calls: 0,
            fault: None,
            space: u64::MAX,
            random: Rng::with_seed(1),
        })))
    }
}

impl State {
    /// Counts a call; how many bytes of a write are to be written, and the error after them.
    fn call(&mut self, bytes: usize) -> (usize, io::Result<()>) {
        self.calls += 1;
        match self.fault {
            Some((at, Fault::PowerOff)) if self.calls >= at => {
                // What was under way may have got anywhere.
                let done = if self.calls == at { bytes } else { 0 };
                (done, Err(io::Error::other("the power is off")))
            }
            Some((at, Fault::Error(kind))) if self.calls == at => (bytes / 2, Err(kind.into())),
            _ => (bytes, Ok(())),
        }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|&file| self.files[file].seen.len() as u64).sum()
    }

    fn lose_power(&mut self, sector: usize) {
        let Self { files, names, safe_names, steps, random, .. } = self;
        // Some losses take everything, some nearly nothing.
        let kept = random.f64();
        for content in files.iter_mut() {
            for (offset, bytes) in content.writes.drain(..) {
                let mut at = offset;
                while at < offset + bytes.len() {
                    let end = (at / sector * sector + sector).min(offset + bytes.len());
                    if random.f64() < kept {
                        content.safe[at..end].copy_from_slice(&bytes[at - offset..end - offset]);
                    }
                    at = end;
                }
            }
            content.seen.clone_from(&content.safe);
        }
        for step in steps.drain(..) {
            if random.f64() >= kept {
                continue;
            }
            match step {
                Step::Made(name, file) => drop(safe_names.insert(name, file)),
                Step::Removed(name) => drop(safe_names.remove(&name)),
            }
        }
        names.clone_from(safe_names);
        self.fault = None;
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn path(&self) -> &Path {
        Path::new("sim")
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.call(0).1?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<SimFile> {
        let mut state = self.state();
        let (_, done) = state.call(0);
        done?;
        if state.used() + bytes > state.space {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        let zeros = vec![0; usize::try_from(bytes).unwrap()];
        state.files.push(Content { seen: zeros.clone(), safe: zeros, writes: Vec::new() });
        state.names.insert(name.to_owned(), file);
        state.steps.push(Step::Made(name.to_owned(), file));
        Ok(SimFile { disk: self.clone(), file })
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.state();
        state.call(0).1?;
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(SimFile { disk: self.clone(), file })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call(0).1?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.steps.push(Step::Removed(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.call(0).1?;
        let State { names, safe_names, steps, .. } = &mut *state;
        steps.clear();
        safe_names.clone_from(names);
        Ok(())
    }

    fn nonce(&self) -> u64 {
        self.state().random.u64(..)
    }
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.call(0).1?;
        Ok(state.files[self.file].seen.len() as u64)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call(0).1?;
        let start = usize::try_from(offset).unwrap();
        let from = state.files[self.file].seen.get(start..start + bytes.len());
        bytes.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let (count, done) = state.call(bytes.len());
        let start = usize::try_from(offset).unwrap();
        let content = &mut state.files[self.file];
        assert!(start + bytes.len() <= content.seen.len(), "a log writes into space that it has taken");
        content.seen[start..start + count].copy_from_slice(&bytes[..count]);
        content.writes.push((start, bytes[..count].to_vec()));
        done
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call(0).1?;
        let bytes = usize::try_from(bytes).unwrap();
        let content = &mut state.files[self.file];
        assert!(
            content.writes.iter().all(|(start, written)| start + written.len() <= bytes),
            "only what was never written is cut off"
        );
        content.seen.truncate(bytes);
        // It comes back with a loss of power, unless a sync was between.
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call(0).1?;
        let content = &mut state.files[self.file];
        content.writes.clear();
        let Content { seen, safe, .. } = content;
        safe.clone_from(seen);
        Ok(())
    }
}
