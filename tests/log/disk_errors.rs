//! A call fails: nothing is acknowledged after it, and what was comes back.

use std::io::ErrorKind;

use gearshard::storage::{Store, StoreError};

use super::model::Model;
use super::open;
use super::sim_disk::{Fault, SimDisk};

#[test]
fn an_error_at_any_call_is_final_and_loses_nothing() {
    for call in 1..=200 {
        for kind in [ErrorKind::Other, ErrorKind::WriteZero] {
            let mut random = fastrand::Rng::with_seed(call);
            let disk = SimDisk::new(call);
            let mut model = Model::default();
            disk.fail(call, Fault::Error(kind));
            if let Ok((mut log, found)) = open(&disk, 16 << 10) {
                model.check(&found);
                let error = loop {
                    if let Err(error) = model.step(&mut log, &mut random, 400, true) {
                        break error;
                    }
                };
                assert!(matches!(error, StoreError::Io { .. }), "{error}");
                // Reading and removing may be tried again; writing and syncing may not.
                let told = error.to_string();
                let final_ = ["write", "sync", "begin", "make", "shorten"]
                    .iter()
                    .any(|doing| told.contains(&format!("cannot {doing} ")));
                let changes = model.changes(&mut random, 400);
                let later = log.write(&changes).and_then(|()| log.sync());
                assert_eq!(matches!(later, Err(StoreError::Poisoned)), final_, "call {call}: {told}");
            }
            disk.end_process();
            let (_, found) = open(&disk, 16 << 10).unwrap();
            model.check(&found);
        }
    }
}
