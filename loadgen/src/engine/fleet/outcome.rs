//! What a phase came to, and whether that tells of the server or of the generator.

use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use crate::engine::sample::{Sample, bounded};
use crate::process::Used;

/// A thread busier than this is a limit.
const BUSY_MAX: f64 = 0.9;

/// Shorter phases say nothing of limits.
const LIMIT_SEEN_AFTER: Duration = Duration::from_millis(500);

/// What a phase came to.
pub(crate) struct Outcome {
    /// When the orders were given.
    pub(crate) began: SystemTime,
    /// How many were counted.
    pub(crate) jobs: u64,
    /// From the orders to the last of them.
    pub(crate) elapsed: Duration,
    /// Nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// What the server and the generator used.
    pub(crate) used: Used,
    /// Share of the time that the generator's busiest thread had the processor.
    pub(crate) busy: f64,
    /// As `latency`, of the run's parts that had jobs.
    pub(crate) parts: Vec<(String, Histogram<u64>)>,
    /// Open loop: jobs a second that were to be sent.
    pub(crate) offered_per_second: Option<f64>,
    /// Open loop: nanoseconds from the real send, where `latency` is from the
    /// moment at which a job was to be sent.
    pub(crate) uncorrected: Option<Histogram<u64>>,
    /// Open loop: nanoseconds by which the generator itself was late to send.
    pub(crate) lateness: Option<Histogram<u64>>,
    /// Open loop: jobs that were due and never sent, since too many were in flight.
    pub(crate) unsent: u64,
    /// Open loop: whether jobs were held back for that reason.
    pub(crate) held: bool,
    /// The phase piece by piece.
    pub(crate) intervals: Vec<Sample>,
}

impl Outcome {
    /// The outcome of two parts of one phase.
    pub(crate) fn and(mut self, other: Self) -> Self {
        let seconds = (self.elapsed + other.elapsed).as_secs_f64().max(f64::MIN_POSITIVE);
        let mean = |one: f64, two: f64| {
            (one * self.elapsed.as_secs_f64() + two * other.elapsed.as_secs_f64()) / seconds
        };
        self.busy = mean(self.busy, other.busy);
        self.offered_per_second =
            self.offered_per_second.zip(other.offered_per_second).map(|(one, two)| mean(one, two));
        let sum = |one: Option<Histogram<u64>>, two: Option<Histogram<u64>>| {
            let mut sum = one?;
            sum.add(two?).expect("all histograms have the same bounds");
            Some(sum)
        };
        self.uncorrected = sum(self.uncorrected, other.uncorrected);
        self.lateness = sum(self.lateness, other.lateness);
        self.unsent += other.unsent;
        self.held |= other.held;
        let later = |mut piece: Sample| {
            piece.start += self.elapsed;
            piece
        };
        self.intervals.extend(other.intervals.into_iter().map(later));
        self.intervals = bounded(self.intervals);
        self.used = self.used.and(&other.used);
        for (name, more) in other.parts {
            match self.parts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.add(more).expect("all histograms have the same bounds"),
                None => self.parts.push((name, more)),
            }
        }
        self.jobs += other.jobs;
        self.elapsed += other.elapsed;
        self.latency.add(other.latency).expect("all histograms have the same bounds");
        self
    }

    /// In words, whether something other than the server alone limits the figures.
    pub(crate) fn limit(&self) -> Option<String> {
        if self.elapsed < LIMIT_SEEN_AFTER {
            return None;
        }
        let seconds = self.elapsed.as_secs_f64();
        let server = self.used.server.map(|server| server.cpu_seconds / seconds);
        let generator = self.used.generator.map(|generator| generator.cpu_seconds / seconds);
        limit(self.busy, generator, server, self.used.cores_shared)
    }

    /// What was counted stands for so many operations.
    pub(crate) fn recount(&mut self, jobs: u64) {
        self.used = self.used.over(jobs);
        self.jobs = jobs;
    }
}

/// In processors: the generator's `busiest` thread, all of the `generator`, the
/// `server`, and what they may run on if that is not apart from each other.
#[allow(clippy::cast_precision_loss, reason = "a few processors")]
fn limit(busiest: f64, generator: Option<f64>, server: Option<f64>, cores: Option<usize>) -> Option<String> {
    if busiest > BUSY_MAX {
        let busy = busiest * 100.0;
        return Some(match server {
            Some(server) if server > BUSY_MAX => format!(
                "the generator's busiest thread was busy {busy:.0} % of the time, and the server used {server:.2} processors: either may be the limit; give the generator more --threads to find out"
            ),
            _ => format!(
                "the generator and not the server is the limit: its busiest thread was busy {busy:.0} % of the time; give it more --threads, or believe only the server's processor time"
            ),
        });
    }
    let (generator, server, cores) = (generator?, server?, cores?);
    (generator + server > BUSY_MAX * cores as f64 && generator > server / 2.0).then(|| {
        format!(
            "the generator ({generator:.2} processors) and the server ({server:.2}) filled this machine's {cores} between them: they slow each other; pin them apart, run one elsewhere, or believe only the server's processor time"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_whoever_is_busy() {
        assert_eq!(limit(0.5, Some(0.5), Some(0.99), Some(2)), None);
        assert_eq!(limit(0.5, None, None, Some(2)), None);
        assert!(limit(0.95, Some(0.95), Some(0.4), Some(4)).unwrap().contains("and not the server"));
        assert!(limit(0.95, Some(0.95), None, Some(4)).unwrap().contains("and not the server"));
        assert!(limit(0.95, Some(0.95), Some(0.95), Some(4)).unwrap().contains("either"));
        // Two threads on two processors that a server wants, too.
        assert!(limit(0.6, Some(1.2), Some(0.75), Some(2)).unwrap().contains("between them"));
        // A server that is elsewhere on the machine.
        assert_eq!(limit(0.85, Some(0.85), Some(0.95), None), None);
    }
}
