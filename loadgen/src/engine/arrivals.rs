//! When the jobs of an open loop are due.
//!
//! A schedule is the same for every thread that plays it: each takes the
//! arrivals of its own clients and passes over the others. The times of a
//! changing rate are those of a steady one, seen through the inverse of the
//! number of jobs that are due by a time.

use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::engine::fleet::Extent;

/// How the times between jobs are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arrivals {
    /// Evenly.
    Constant,
    /// By chance, each independent of those before: as many callers come who know nothing of each other.
    Poisson,
}

/// A rate that stays, or changes evenly from one to the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slope {
    /// Jobs a second at the start.
    pub(crate) from: f64,
    /// Jobs a second at the end.
    pub(crate) to: f64,
}

/// What `--rate` says: one slope a phase.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rate(pub(crate) Vec<Slope>);

/// More steps than that are a slip of the finger.
const STEPS_MAX: usize = 1000;

/// A timer cannot tell more jobs a second apart.
const RATE_MAX: f64 = 1e9;

impl FromStr for Rate {
    type Err = String;

    /// `5000` stays, `1000..20000` rises evenly, `1000..20000/5` rises in 5 steps;
    /// several with `,` between them follow each other.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut slopes = Vec::new();
        for part in text.split(',') {
            let Some((from, to)) = part.split_once("..") else {
                let rate = rate(part)?;
                slopes.push(Slope { from: rate, to: rate });
                continue;
            };
            match to.split_once('/') {
                None => slopes.push(slope(from, to)?),
                Some((to, steps)) => slopes.extend(stairs(slope(from, to)?, steps)?),
            }
        }
        if slopes.len() > STEPS_MAX {
            return Err(format!("has more than {STEPS_MAX} steps"));
        }
        if let Some(none) = slopes.iter().find(|slope| slope.from + slope.to <= 0.0) {
            return Err(format!("{none} sends nothing; a rate is above 0, and a ramp has one end above 0"));
        }
        Ok(Self(slopes))
    }
}

fn slope(from: &str, to: &str) -> Result<Slope, String> {
    Ok(Slope { from: rate(from)?, to: rate(to)? })
}

fn stairs(slope: Slope, steps: &str) -> Result<Vec<Slope>, String> {
    let count = steps.trim().parse::<u32>().ok().filter(|&count| (2..=STEPS_MAX).contains(&(count as usize)));
    let count = count.ok_or_else(|| format!("'{steps}' is not a number of steps from 2 to {STEPS_MAX}"))?;
    let step = |index| {
        let rate = slope.from + (slope.to - slope.from) * f64::from(index) / f64::from(count - 1);
        Slope { from: rate, to: rate }
    };
    Ok((0..count).map(step).collect())
}

fn rate(text: &str) -> Result<f64, String> {
    let lower = text.trim().replace('_', "").to_ascii_lowercase();
    let (digits, factor) = match lower.as_bytes() {
        [.., b'k'] => (&lower[..lower.len() - 1], 1e3),
        [.., b'm'] => (&lower[..lower.len() - 1], 1e6),
        _ => (lower.as_str(), 1.0),
    };
    match digits.parse::<f64>() {
        Ok(rate) if (0.0..=RATE_MAX).contains(&(rate * factor)) => Ok(rate * factor),
        _ => Err(format!(
            "'{text}' is not a rate in jobs a second; write 5000, a ramp 1000..20000, a ramp in steps 1000..20000/5, or several with commas between: 1000,2000,5000"
        )),
    }
}

impl std::fmt::Display for Slope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The same rate, not one that was computed to be nearly so.
        if self.from.to_bits() == self.to.to_bits() {
            write!(f, "{}/s", self.from)
        } else {
            write!(f, "{}..{}/s", self.from, self.to)
        }
    }
}

impl Rate {
    /// The schedules of all phases; they share `extent` equally.
    #[allow(clippy::cast_precision_loss, reason = "a share of a duration")]
    pub(crate) fn schedules(&self, extent: Extent, arrivals: Arrivals, seed: u64) -> Vec<Schedule> {
        let phases = self.0.len();
        let schedule = |(index, &slope): (usize, &Slope)| {
            let seed = seed.wrapping_add(index as u64);
            match extent {
                Extent::Time(time) => {
                    Schedule::new(slope, time.as_secs_f64() / phases as f64, None, arrivals, seed)
                }
                Extent::Jobs(jobs) => {
                    let (each, over) = (jobs / phases as u64, jobs % phases as u64);
                    let jobs = each + u64::from((index as u64) < over);
                    let seconds = 2.0 * jobs as f64 / (slope.from + slope.to);
                    Schedule::new(slope, seconds, Some(jobs), arrivals, seed)
                }
            }
        };
        self.0.iter().enumerate().map(schedule).collect()
    }
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
    fn new(slope: Slope, seconds: f64, jobs: Option<u64>, arrivals: Arrivals, seed: u64) -> Self {
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

/// What is due next on one thread, out of a schedule that all threads play.
pub(crate) struct Agenda {
    schedule: Schedule,
    started: Instant,
    /// Number of the schedule's first job.
    first: u64,
    /// Clients on all threads; job N goes to client N modulo that.
    clients: u64,
    /// Jobs passed over and given out so far.
    passed: u64,
    /// The next job that is for this thread.
    next: Option<Due>,
    /// Jobs that were due until then waited for others, not for this thread.
    held_until: Option<Instant>,
}

/// A job that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) number: u64,
    pub(crate) at: Instant,
    /// The connection it goes to.
    pub(crate) seat: usize,
}

impl Agenda {
    /// The part of `schedule` for a thread whose clients have these seats;
    /// those of other threads have none.
    pub(crate) fn new(
        schedule: Schedule,
        started: Instant,
        first: u64,
        clients: u64,
        seats: &[Option<usize>],
    ) -> Self {
        let mut agenda = Self { schedule, started, first, clients, passed: 0, next: None, held_until: None };
        agenda.advance(seats);
        agenda
    }

    /// The next job.
    pub(crate) const fn next(&self) -> Option<Due> {
        self.next
    }

    /// Goes on to the job after the next.
    pub(crate) fn advance(&mut self, seats: &[Option<usize>]) {
        self.next = loop {
            let Some(after) = self.schedule.next() else { break None };
            let index = self.passed;
            self.passed += 1;
            let client = usize::try_from(index % self.clients).expect("a client's place fits");
            if let Some(seat) = seats.get(client).copied().flatten() {
                break Some(Due { number: self.first + index, at: self.started + after, seat });
            }
        };
    }

    /// The next job must wait for answers to others.
    pub(crate) fn hold(&mut self, now: Instant) {
        self.held_until = Some(now);
    }

    /// Whether it is by this thread alone that `due` was not sent earlier.
    pub(crate) fn late_by_itself(&self, due: &Due) -> bool {
        self.held_until.is_none_or(|held| due.at > held)
    }

    /// The number after that of the last job passed over or given out.
    pub(crate) const fn end(&self) -> u64 {
        self.first + self.passed
    }

    /// Whether a job has had to wait for others.
    pub(crate) const fn was_held(&self) -> bool {
        self.held_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn steps_share_the_extent() {
        let rate: Rate = "1000,2000..4000,0.5k".parse().unwrap();
        let counts: Vec<usize> =
            rate.schedules(seconds(3), Arrivals::Constant, 0).into_iter().map(Iterator::count).collect();
        assert_eq!(counts, [1000, 3000, 500]);
        let counts: Vec<usize> = rate
            .schedules(Extent::Jobs(10), Arrivals::Constant, 0)
            .into_iter()
            .map(Iterator::count)
            .collect();
        assert_eq!(counts, [4, 3, 3]);
        let stairs: Rate = "1000..5000/3".parse().unwrap();
        assert_eq!(stairs, "1000,3000,5000".parse().unwrap());
    }

    #[test]
    fn what_is_no_rate_is_refused_with_the_way_to_write_one() {
        for text in ["", "fast", "1000,", "1..", "..5", "-1", "nan", "inf", "1e12", "1000-2000"] {
            let error = text.parse::<Rate>().unwrap_err();
            assert!(error.contains("1000..20000/5"), "{text}: {error}");
        }
        assert!("0".parse::<Rate>().unwrap_err().contains("sends nothing"));
        assert!("0..0".parse::<Rate>().unwrap_err().contains("sends nothing"));
        assert!("1..9/1".parse::<Rate>().unwrap_err().contains("number of steps"));
        assert!("1..9/5000".parse::<Rate>().unwrap_err().contains("number of steps"));
    }

    #[test]
    fn threads_share_a_schedule_without_gaps() {
        let started = Instant::now();
        let mut sent = Vec::new();
        for seats in [vec![Some(0), None, Some(1)], vec![None, Some(5)]] {
            let schedule = schedule("100", Extent::Jobs(10), Arrivals::Poisson);
            let mut agenda = Agenda::new(schedule, started, 1000, 3, &seats);
            while let Some(due) = agenda.next() {
                sent.push((due.number, due.at, due.seat));
                agenda.advance(&seats);
            }
        }
        sent.sort_unstable();
        let numbers: Vec<u64> = sent.iter().map(|one| one.0).collect();
        assert_eq!(numbers, (1000..1010).collect::<Vec<_>>());
        assert!(sent.is_sorted_by_key(|one| one.1), "times rise with the numbers");
        assert_eq!(sent.iter().map(|one| one.2).take(4).collect::<Vec<_>>(), [0, 5, 1, 0]);
    }

    #[test]
    fn only_jobs_due_after_a_hold_are_late_by_the_thread_itself() {
        let started = Instant::now();
        let schedule = schedule("1", Extent::Jobs(3), Arrivals::Constant);
        let mut agenda = Agenda::new(schedule, started, 0, 1, &[Some(0)]);
        let first = agenda.next().unwrap();
        assert!(agenda.late_by_itself(&first) && !agenda.was_held());
        agenda.hold(started + Duration::from_millis(1500));
        agenda.advance(&[Some(0)]);
        assert!(!agenda.late_by_itself(&agenda.next().unwrap()) && agenda.was_held());
        agenda.advance(&[Some(0)]);
        assert!(agenda.late_by_itself(&agenda.next().unwrap()));
    }
}
