//! What `--rate` says.

use std::str::FromStr;

use super::schedule::{Arrivals, Schedule};
use crate::engine::fleet::Extent;

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seconds(count: u64) -> Extent {
        Extent::Time(Duration::from_secs(count))
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
}
