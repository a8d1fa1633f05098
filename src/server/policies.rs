//! Retry policies that operators have set, kept in the directory of the log.
//!
//! They are settings of the server, not jobs, so they have a file of their own
//! that a person can read and change while no server runs: a line for each
//! function, as `show retries` writes them. A thread writes all of them to a
//! new file and renames it, so that a crash leaves the old ones or the new.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crossbeam_channel::Receiver;

use super::log::{Level, Log};
use crate::protocol::field;
use crate::protocol::retry::RetryPolicy;
use crate::reactor::PolicyChange;
use crate::storage::StoreError;

/// Its name in the directory of the log.
const FILE: &str = "retries";
/// What it is written as before it has that name.
const NEW_FILE: &str = "retries.new";

/// What operators have set.
pub(super) type Kept = BTreeMap<Box<[u8]>, RetryPolicy>;

/// What is kept in `directory`.
///
/// # Errors
/// When it cannot be read, or is not what was written.
pub(super) fn read(directory: &Path) -> Result<Kept, StoreError> {
    let path = directory.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::new()),
        Err(error) => return Err(StoreError::io("read", path)(error)),
    };
    let mut kept = Kept::new();
    let mut offset = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let Some((function, policy)) = parse(line) else {
            let what = "the line is no function and retry policy; correct or remove it";
            return Err(StoreError::Damaged { file: path, offset, what });
        };
        kept.insert(function.into(), policy);
        offset += line.len() as u64;
    }
    Ok(kept)
}

fn parse(line: &[u8]) -> Option<(Vec<u8>, RetryPolicy)> {
    let line = line.strip_suffix(b"\n")?;
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let policy = std::str::from_utf8(&line[tab + 1..]).ok()?.parse().ok()?;
    Some((field::read(&line[..tab])?, policy))
}

/// Keeps what comes through `changes` until all senders are gone.
pub(super) fn run(directory: &Path, mut kept: Kept, changes: &Receiver<PolicyChange>, log: &Log) {
    while let Ok(first) = changes.recv() {
        for (function, policy) in std::iter::once(first).chain(changes.try_iter()) {
            match policy {
                Some(policy) => drop(kept.insert(function, policy)),
                None => drop(kept.remove(&function)),
            }
        }
        if let Err((path, error)) = write(directory, &kept) {
            // It holds all the same, and the next change is written with it.
            let path = path.display();
            log(Level::Error, format_args!("The retry policies are not kept: cannot write {path}: {error}"));
        }
    }
}

fn write(directory: &Path, kept: &Kept) -> Result<(), (PathBuf, io::Error)> {
    let mut text = Vec::new();
    for (function, policy) in kept {
        field::push(&mut text, function);
        text.extend_from_slice(format!("\t{policy}\n").as_bytes());
    }
    let (path, new) = (directory.join(FILE), directory.join(NEW_FILE));
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()
    });
    written.map_err(|error| (new.clone(), error))?;
    fs::rename(&new, &path).map_err(|error| (path, error))?;
    File::open(directory).and_then(|it| it.sync_all()).map_err(|error| (directory.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gearshard-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// Keeps changes in a directory; what was logged.
    fn keep(directory: &Path, changes: &[(&[u8], &str)]) -> Vec<String> {
        let (sender, receiver) = crossbeam_channel::unbounded();
        for &(function, policy) in changes {
            sender.send((function.into(), crate::protocol::retry::parse(policy).unwrap())).unwrap();
        }
        drop(sender);
        let logged = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&logged);
        let log: Log = Arc::new(move |_, text| lines.lock().unwrap().push(text.to_string()));
        run(directory, read(directory).unwrap_or_default(), &receiver, &log);
        std::mem::take(&mut logged.lock().unwrap())
    }

    #[test]
    fn what_was_set_last_is_kept_for_any_function() {
        let directory = Directory::new("policies");
        assert!(read(&directory.0).unwrap().is_empty());
        keep(&directory.0, &[(b"*", "attempts=3"), (b"a\tb\n", "attempts=1,on=fail"), (b"f", "attempts=4")]);
        keep(&directory.0, &[(b"f", "attempts=2,backoff=9s"), (b"*", "off"), (b"g", "off")]);
        let kept: Vec<String> = read(&directory.0)
            .unwrap()
            .iter()
            .map(|(name, policy)| format!("{} {policy}", name.escape_ascii()))
            .collect();
        let expected = [
            "a\\tb\\n attempts=1,on=fail,then=dead",
            "f attempts=2,on=lost,timeout,backoff=9s,max-backoff=3600s,then=dead",
        ];
        assert_eq!(kept, expected);
    }

    #[test]
    fn a_line_that_is_no_policy_is_told_with_its_place() {
        let directory = Directory::new("bad-policies");
        for (text, place) in
            [("f\tattempts=2\ng\tattempts=0\n", 13), ("f attempts=2\n", 0), ("f\tattempts=2", 0)]
        {
            fs::write(directory.0.join(FILE), text).unwrap();
            let told = read(&directory.0).unwrap_err().to_string();
            assert!(told.contains(&format!("retries is damaged at byte {place}")), "{told}");
        }
    }

    #[test]
    fn a_disk_that_refuses_is_told_and_not_fatal() {
        let directory = Directory::new("no-policies");
        let logged = keep(&directory.0.join("gone"), &[(b"f", "attempts=2")]);
        assert!(logged[0].contains("not kept") && logged[0].contains("retries.new"), "{logged:?}");
    }
}
