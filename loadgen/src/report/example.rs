//! Reports for the tests of the writers.

use super::{FORMAT, Interval, Latency, Part, Phase, Report};
use crate::engine::ledger::Faults;
use crate::engine::progress::latency_histogram;

/// A phase of an open loop: three seconds, nothing came back in the last.
pub(crate) fn open_loop(phase: &str) -> Report {
    let mut all = latency_histogram();
    let mut intervals = Vec::new();
    for second in 0..3_u32 {
        let mut latency = latency_histogram();
        for job in (0..500_u64).filter(|_| second < 2) {
            latency.record(80_000 + job * job * (u64::from(second) * 7 + 1)).unwrap();
        }
        all.add(&latency).unwrap();
        intervals.push(Interval::of(f64::from(second), 1.0, latency.len(), &latency));
    }
    let mut uncorrected = latency_histogram();
    uncorrected.record_n(70_000, 1000).unwrap();
    let phase = Phase {
        name: phase.to_owned(),
        start_s: Some(1.5),
        jobs: 1000,
        seconds: 3.0,
        jobs_per_second: 1000.0 / 3.0,
        offered_per_second: Some(500.0),
        latency: Latency::of(&all),
        uncorrected: Latency::of(&uncorrected),
        parts: vec![Part {
            name: "kind high".to_owned(),
            jobs: 1000,
            latency: Latency::of(&uncorrected).unwrap(),
        }],
        server: None,
        generator: None,
        generator_busy: 0.25,
        intervals,
    };
    Report {
        format: FORMAT,
        scenario: "fg".to_owned(),
        server: "127.0.0.1:4730".to_owned(),
        command: vec!["gearshard-loadgen".to_owned(), "fg".to_owned()],
        started_unix_ms: 1_700_000_000_500,
        phases: vec![phase],
        figures: Vec::new(),
        warnings: Vec::new(),
        faults: Faults::default(),
        aborted: None,
    }
}
