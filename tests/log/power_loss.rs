//! The power goes at any call, many times in the life of a log.

use super::model::Model;
use super::open;
use super::sim_disk::{Fault, SimDisk};

/// Losses of power in the life of one log.
const LOSSES: u32 = 6;

/// How many seeds: `GEARSHARD_LOG_SEEDS`, or many in the long mode.
fn seeds() -> u64 {
    let given = std::env::var("GEARSHARD_LOG_SEEDS").ok();
    let given = given.map(|text| text.parse().expect("GEARSHARD_LOG_SEEDS is a number"));
    let long = std::env::var_os("GEARSHARD_LONG").is_some();
    given.unwrap_or(if long { 1_000_000 } else { 5_000 })
}

fn live(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = SimDisk::new(seed);
    let segment_bytes = [8 << 10, 16 << 10, 64 << 10][random.usize(..3)];
    let bytes_max = [40, 400, 4_000, 20_000][random.usize(..4)];
    let always = random.bool();
    let mut model = Model::default();
    for _ in 0..LOSSES {
        // Some losses meet the opening itself.
        disk.fail(random.u64(1..200), Fault::PowerOff);
        if let Ok((mut log, found)) = open(&disk, segment_bytes) {
            model.check(&found);
            while model.step(&mut log, &mut random, bytes_max, always).is_ok() {}
        }
        if random.u8(..4) == 0 {
            disk.end_process();
        } else {
            disk.lose_power(if random.bool() { 512 } else { 4096 });
        }
    }
    let (_, found) =
        open(&disk, segment_bytes).unwrap_or_else(|error| panic!("the log does not open: {error}"));
    model.check(&found);
}

#[test]
fn nothing_acknowledged_is_lost_with_the_power() {
    let first = std::env::var("GEARSHARD_LOG_SEED").map_or(1, |text| text.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let seeds = seeds();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for seed in (first..first + seeds).filter(|seed| seed % threads == thread) {
                    let lived = std::panic::catch_unwind(|| live(seed));
                    assert!(
                        lived.is_ok(),
                        "seed {seed}: run with GEARSHARD_LOG_SEED={seed} GEARSHARD_LOG_SEEDS=1"
                    );
                }
            });
        }
    });
}

#[test]
fn seeds_that_once_found_something() {
    // 4847: reclaimed files were removed before the record that says so was safe.
    [4847].into_iter().for_each(live);
}
