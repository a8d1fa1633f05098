//! What each job is, decided by its number alone: the submitting and the working
//! side come to the same answer without speaking to each other, on one host or two.

use gearshard::protocol::packet::Command;

/// One of several values for every job number.
#[derive(Clone, Debug)]
pub(crate) struct Picks<T> {
    values: Vec<T>,
    /// So many of the values are taken in turn, the first ones.
    used: usize,
    /// For values that are not taken in turn: the share of numbers that get
    /// this value or one before it, in 2^-32.
    up_to: Option<Vec<u32>>,
    /// Keeps different picks for the same number independent.
    salt: u64,
}

impl<T> Picks<T> {
    /// The same for all jobs.
    pub(crate) fn one(value: T) -> Self {
        Self::in_turn(vec![value])
    }

    /// Job number N gets value N modulo their count.
    pub(crate) fn in_turn(values: Vec<T>) -> Self {
        let used = values.len();
        Self::first_in_turn(values, used)
    }

    /// Job number N gets value N modulo `used`; the values behind these are there, and not used.
    pub(crate) fn first_in_turn(values: Vec<T>, used: usize) -> Self {
        assert!((1..=values.len()).contains(&used), "there is a value to pick");
        Self { values, used, up_to: None, salt: 0 }
    }

    /// Every value as often as its weight says, as if by chance.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of at most 1 times 2^32, saturating"
    )]
    pub(crate) fn weighted(salt: u64, weighted: Vec<(T, f64)>) -> Self {
        let all: f64 = weighted.iter().map(|(_, weight)| weight).sum();
        assert!(all > 0.0, "a value has a weight");
        let mut sum = 0.0;
        let mut up_to = Vec::with_capacity(weighted.len());
        let mut values = Vec::with_capacity(weighted.len());
        for (value, weight) in weighted {
            sum += weight;
            up_to.push((sum / all * f64::from(u32::MAX)) as u32);
            values.push(value);
        }
        Self { used: values.len(), values, up_to: Some(up_to), salt }
    }

    /// The place of the value of job `number`.
    pub(crate) fn place(&self, number: u64) -> usize {
        match &self.up_to {
            None => (number % self.used as u64) as usize,
            Some(up_to) => {
                let chance = (scatter(number ^ self.salt) >> 32) as u32;
                // The last share may fall short of the whole by a rounding.
                up_to.partition_point(|&share| share < chance).min(self.values.len() - 1)
            }
        }
    }

    /// The value of job `number`.
    pub(crate) fn of(&self, number: u64) -> &T {
        &self.values[self.place(number)]
    }

    /// All values.
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }
}

/// splitmix64: neighbours come out far apart.
pub(crate) const fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How a job is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Whether nobody waits for the result.
    pub(crate) background: bool,
    /// Its priority.
    pub(crate) level: Level,
}

/// The priority of a job; the server hands out the first of these first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    High,
    Normal,
    Low,
}

impl Kind {
    /// A foreground job of normal priority.
    pub(crate) const FOREGROUND: Self = Self { background: false, level: Level::Normal };
    /// A background job of normal priority.
    pub(crate) const BACKGROUND: Self = Self { background: true, level: Level::Normal };

    /// All of them, by the names that people give them.
    pub(crate) const NAMED: [(&str, Self); 6] = [
        ("fg", Self::FOREGROUND),
        ("high", Self { background: false, level: Level::High }),
        ("low", Self { background: false, level: Level::Low }),
        ("bg", Self::BACKGROUND),
        ("high-bg", Self { background: true, level: Level::High }),
        ("low-bg", Self { background: true, level: Level::Low }),
    ];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        let (name, _) =
            Self::NAMED.into_iter().find(|(_, kind)| *kind == self).expect("every kind has a name");
        name
    }

    /// The packet that submits it.
    pub(crate) const fn command(self) -> Command {
        match (self.background, self.level) {
            (false, Level::High) => Command::SubmitJobHigh,
            (false, Level::Normal) => Command::SubmitJob,
            (false, Level::Low) => Command::SubmitJobLow,
            (true, Level::High) => Command::SubmitJobHighBg,
            (true, Level::Normal) => Command::SubmitJobBg,
            (true, Level::Low) => Command::SubmitJobLowBg,
        }
    }

    /// How a packet submits a job, if it does.
    pub(crate) const fn of(command: Command) -> Option<Self> {
        let (background, level) = match command {
            Command::SubmitJobHigh => (false, Level::High),
            Command::SubmitJob => (false, Level::Normal),
            Command::SubmitJobLow => (false, Level::Low),
            Command::SubmitJobHighBg => (true, Level::High),
            Command::SubmitJobBg => (true, Level::Normal),
            Command::SubmitJobLowBg => (true, Level::Low),
            _ => return None,
        };
        Some(Self { background, level })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_in_turn() {
        let picks = Picks::in_turn(vec!["a", "b", "c"]);
        assert_eq!((*picks.of(0), *picks.of(4), *picks.of(u64::MAX)), ("a", "b", "a"));
        let picks = Picks::first_in_turn(vec!["a", "b", "c"], 2);
        assert_eq!((*picks.of(0), *picks.of(3), *picks.of(4)), ("a", "b", "a"));
    }

    #[test]
    fn weights_are_kept_and_a_number_has_always_the_same_value() {
        let picks = Picks::weighted(7, vec![("often", 70.0), ("never", 0.0), ("rarely", 30.0)]);
        let often = (0..100_000).filter(|&number| *picks.of(number) == "often").count();
        assert!((69_000..71_000).contains(&often), "{often}");
        assert!((0..100_000).all(|number| *picks.of(number) != "never"));
        assert!((0..1_000).all(|number| picks.of(number) == picks.of(number)));
    }

    #[test]
    fn a_kind_is_told_from_its_packet() {
        for (name, kind) in Kind::NAMED {
            assert_eq!((Kind::of(kind.command()), kind.name()), (Some(kind), name));
        }
        assert_eq!(Kind::of(Command::GrabJob), None);
    }

    #[test]
    fn two_picks_of_the_same_number_are_independent() {
        let halves = |salt| Picks::weighted(salt, vec![(false, 1.0), (true, 1.0)]);
        let (one, two) = (halves(1), halves(2));
        let same = (0..100_000).filter(|&number| one.of(number) == two.of(number)).count();
        assert!((48_000..52_000).contains(&same), "{same}");
    }
}
