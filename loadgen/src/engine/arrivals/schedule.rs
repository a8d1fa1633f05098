//! The times at which the jobs of a phase are due. Those of a changing rate are
//! those of a steady one, seen through the inverse of the number of jobs that
//! are due by a time.

use std::time::Duration;

use super::rate::Slope;

/// How the times between jobs are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arrivals {
    /// Evenly.
    Constant,
    /// By chance, each independent of those before: as many callers come who know nothing of each other.
    Poisson,
}

/// The times of one phase's jobs, from its start, in order.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    slope: Slope,
    /// When the slope has come to its end, in seconds.
    seconds: f64,
    /// Ends after so many jobs, and not by the time.
    jobs: Option<u64>,
    arrivals: Arrivals,
    random: u64,
    /// How many jobs are due by now, on average.
    position: f64,
    passed: u64,
}

impl Schedule {
    pub(super) fn new(slope: Slope, seconds: f64, jobs: Option<u64>, arrivals: Arrivals, seed: u64) -> Self {
        Self { slope, seconds, jobs, arrivals, random: seed, position: 0.0, passed: 0 }
    }

    /// The rate, for people.
    pub(crate) const fn slope(&self) -> Slope {
        self.slope
    }

    /// Jobs a second on average.
    pub(crate) fn mean_rate(&self) -> f64 {
        f64::midpoint(self.slope.from, self.slope.to)
    }

    /// How many jobs it has, when it is that and not the time that ends it.
    pub(crate) const fn jobs(&self) -> Option<u64> {
        self.jobs
    }

    /// How long it goes on.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// The moment at which `position` jobs are due on average.
    fn time_of(&self, position: f64) -> f64 {
        let Slope { from, to } = self.slope;
        let all = f64::midpoint(from, to) * self.seconds;
        if position > all {
            // Chance may need more time for the last of a number of jobs.
            return self.seconds + (position - all) / to.max(from);
        }
        let bend = (to - from) / self.seconds;
        let root = (from * from + 2.0 * bend * position).max(0.0).sqrt();
        // This form of the quadratic's solution holds for no bend, too.
        if from + root > 0.0 { 2.0 * position / (from + root) } else { 0.0 }
    }

    /// splitmix64: above 0 and at most 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((mixed >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        match self.arrivals {
            Arrivals::Constant if self.passed == 0 => {}
            Arrivals::Constant => self.position += 1.0,
            Arrivals::Poisson => self.position -= self.chance().ln(),
        }
        let at = self.time_of(self.position);
        let over = self.jobs.map_or(at >= self.seconds, |jobs| self.passed >= jobs);
        (!over).then(|| {
            self.passed += 1;
            Duration::from_secs_f64(at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::arrivals::Rate;
    use crate::engine::fleet::Extent;

    fn schedule(rate: &str, extent: Extent, arrivals: Arrivals) -> Schedule {
        rate.parse::<Rate>().unwrap().schedules(extent, arrivals, 7).remove(0)
    }

    fn seconds(count: u64) -> Extent {
        Extent::Time(Duration::from_secs(count))
    }

    #[test]
    fn a_constant_rate_is_even_and_ends_with_the_time() {
        let all: Vec<_> = schedule("1k", seconds(2), Arrivals::Constant).collect();
        assert_eq!(all.len(), 2000);
        for (index, at) in (0..).zip(&all) {
            assert!(at.abs_diff(Duration::from_micros(index * 1000)) < Duration::from_nanos(10));
        }
    }

    #[test]
    fn chance_has_the_mean_and_the_variance_of_poisson_and_repeats() {
        let all: Vec<f64> =
            schedule("1000", seconds(100), Arrivals::Poisson).map(|at| at.as_secs_f64()).collect();
        // 100,000 expected, with a standard deviation of 316.
        assert!((98_500..101_500).contains(&all.len()), "{}", all.len());
        let gaps: Vec<f64> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let count = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        assert!((mean * 1e3 - 1.0).abs() < 0.02, "{mean}");
        assert!((variance * 1e6 - 1.0).abs() < 0.05, "{variance}");
        let again: Vec<f64> =
            schedule("1000", seconds(100), Arrivals::Poisson).map(|at| at.as_secs_f64()).collect();
        assert_eq!(all, again);
    }

    #[test]
    fn a_ramp_sends_its_jobs_where_the_rate_is_high() {
        let all: Vec<_> = schedule("0..1000", seconds(10), Arrivals::Constant).collect();
        assert_eq!(all.len(), 5000);
        let before = all.iter().filter(|at| at.as_secs_f64() < 5.0).count();
        assert!((1249..=1251).contains(&before), "a quarter in the first half: {before}");
        let down: Vec<_> = schedule("1000..0", seconds(10), Arrivals::Constant).collect();
        let before = down.iter().filter(|at| at.as_secs_f64() < 5.0).count();
        assert!((3749..=3751).contains(&before), "{before}");
        assert!(all.is_sorted() && down.is_sorted());
    }

    #[test]
    fn a_count_ends_a_schedule_whatever_the_time() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            for rate in ["50", "1..99", "99..0"] {
                assert_eq!(schedule(rate, Extent::Jobs(500), arrivals).count(), 500, "{rate}");
            }
        }
    }
}
