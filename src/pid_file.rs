//! The pid file.
//!
//! It appears before the sockets are bound and goes when the server does, as
//! supervisors expect. A file that another server has meanwhile written to the
//! same path is left alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

/// A pid file on disk, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes this process's id to `path`, in place of a file that is there.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The mode is gearmand's.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o744).open(path)?;
        file.write_all(contents().as_bytes())?;
        Ok(Self { path: path.to_owned() })
    }

    /// Removes the file while it is still ours. Once is enough; a file that
    /// cannot be removed is stale, which every reader of pid files knows.
    pub(crate) fn remove(&self) {
        if fs::read_to_string(&self.path).is_ok_and(|text| text == contents()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn contents() -> String {
    format!("{}\n", process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replaces_an_old_file_and_goes_with_the_server() {
        let path = std::env::temp_dir().join(format!("gearshard-pid-{}", process::id()));
        fs::write(&path, "an old number, and longer than the new one\n").unwrap();
        let pid_file = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", process::id()));
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & !0o744, 0);
        assert_ne!(mode & 0o600, 0);
        drop(pid_file);
        assert!(!path.exists());
    }

    #[test]
    fn leaves_the_file_of_a_later_server() {
        let path = std::env::temp_dir().join(format!("gearshard-pid-other-{}", process::id()));
        let pid_file = PidFile::create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(pid_file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        fs::remove_file(&path).unwrap();
    }
}
