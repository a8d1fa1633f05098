//! When the server is killed: by chance, and with the same seed always the same.

use std::time::Duration;

use crate::engine::fleet::Extent;
use crate::engine::plan::scatter;

/// The parts of `extent` that lie between kills: short ones and long ones, together all of it.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shares of a count or a time, to be as chance has it"
)]
pub(super) fn parts(extent: Extent, lives: u32, seed: u64) -> Vec<Extent> {
    let weights: Vec<f64> = (0..lives).map(|life| chance(seed, u64::from(life))).collect();
    let all: f64 = weights.iter().sum();
    // Each ends where it would by the sum of all before it, so that nothing is lost by rounding.
    let ends = weights.iter().scan(0.0, |sum, weight| {
        *sum += weight;
        Some(*sum / all)
    });
    let mut before = 0;
    ends.map(|end| match extent {
        Extent::Jobs(jobs) => {
            let upto = (jobs as f64 * end).round() as u64;
            let part = upto.saturating_sub(before).max(1);
            before += part;
            Extent::Jobs(part)
        }
        Extent::Time(time) => {
            let upto = (time.as_nanos() as f64 * end).round() as u64;
            let part = upto.saturating_sub(before);
            before += part;
            Extent::Time(Duration::from_nanos(part))
        }
    })
    .collect()
}

/// Above 0 and at most 1.
#[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
pub(super) fn chance(seed: u64, place: u64) -> f64 {
    let random = scatter(scatter(seed).wrapping_add(place));
    ((random >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_differ_come_to_the_whole_and_follow_from_the_seed() {
        for lives in [1, 2, 10, 1000] {
            let jobs: u64 = parts(Extent::Jobs(200_000), lives, 7)
                .into_iter()
                .map(|part| match part {
                    Extent::Jobs(jobs) => jobs,
                    Extent::Time(_) => panic!("jobs stay jobs"),
                })
                .sum();
            assert_eq!(jobs, 200_000, "{lives}");
        }
        let of = |seed| parts(Extent::Time(Duration::from_secs(10)), 20, seed);
        let times: Vec<Duration> = of(1)
            .into_iter()
            .map(|part| match part {
                Extent::Time(time) => time,
                Extent::Jobs(_) => panic!("a time stays a time"),
            })
            .collect();
        assert_eq!(times.iter().sum::<Duration>(), Duration::from_secs(10));
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(*most > *least * 4, "{least:?} {most:?}");
        assert!(of(1) == of(1) && of(1) != of(2));
        // More kills than jobs.
        assert_eq!(parts(Extent::Jobs(2), 5, 1).len(), 5);
    }
}
