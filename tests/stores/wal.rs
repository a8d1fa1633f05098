//! Our own log.

use crate::support::process::TempDir;
use crate::{Kind, Times};

struct Wal(TempDir);

impl Kind for Wal {
    const TIMES: Times = Times::All;

    fn start() -> Self {
        Self(TempDir::new())
    }

    fn args(&self) -> Vec<String> {
        vec!["--queue-type=wal".to_owned(), format!("--wal-dir={}", self.0.path().display())]
    }
}

crate::suite!(wal, Wal);
