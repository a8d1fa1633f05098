//! Repeats of one measurement put together: figures by their median and spread,
//! latencies by adding the histograms up.

use hdrhistogram::Histogram;

use crate::abort::Abort;
use crate::report::{Latency, Part, Phase, Report};

/// A figure over all repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) repeats: usize,
}

impl Spread {
    /// Nothing of nothing.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median, least, most, repeats: values.len() })
    }

    /// Least and most, when they differ: `2.22–2.55 ms`.
    pub(super) fn between(&self, show: fn(f64) -> String) -> Option<String> {
        let (least, most) = (show(self.least), show(self.most));
        let unit = |text: &str| text.split_once(' ').map(|(_, unit)| unit.to_owned());
        if least == most {
            None
        } else if unit(&least) == unit(&most) {
            let (digits, _) = least.split_once(' ').unwrap_or((&least, ""));
            Some(format!("{digits}–{most}"))
        } else {
            Some(format!("{least} – {most}"))
        }
    }
}

/// A server, with the phases it went through.
pub(super) struct Side<'a> {
    pub(super) label: &'a str,
    pub(super) reports: &'a [Report],
    pub(super) phases: Vec<Merged<'a>>,
}

/// The repeats of one phase.
pub(super) struct Merged<'a> {
    pub(super) name: &'a str,
    repeats: Vec<&'a Phase>,
    /// Jobs of one kind, one size or some functions, with their latencies in nanoseconds.
    pub(super) parts: Vec<(&'a str, Histogram<u64>)>,
    /// Nanoseconds.
    pub(super) latency: Option<Histogram<u64>>,
    /// Nanoseconds.
    pub(super) uncorrected: Option<Histogram<u64>>,
    pub(super) course: Vec<Moment>,
}

/// An interval of all repeats.
pub(super) struct Moment {
    /// Its middle, seconds from the start of the phase.
    pub(super) at_s: f64,
    pub(super) rate: Spread,
    /// Nanoseconds; nothing when nothing came back.
    pub(super) latency: Option<Histogram<u64>>,
}

impl<'a> Side<'a> {
    /// Puts the repeats together phase by phase; a phase is known by its name.
    pub(super) fn new(label: &'a str, reports: &'a [Report]) -> Result<Self, Abort> {
        let mut phases: Vec<(&str, Vec<&Phase>)> = Vec::new();
        for phase in reports.iter().flat_map(|report| &report.phases) {
            match phases.iter_mut().find(|(name, _)| *name == phase.name) {
                Some((_, parts)) => parts.push(phase),
                None => phases.push((&phase.name, vec![phase])),
            }
        }
        let phases =
            phases.into_iter().map(|(name, parts)| Merged::new(name, parts)).collect::<Result<_, _>>()?;
        Ok(Self { label, reports, phases })
    }

    pub(super) fn phase(&self, name: &str) -> Option<&Merged<'a>> {
        self.phases.iter().find(|phase| phase.name == name)
    }

    /// A figure of the reports by its name, and its unit.
    pub(super) fn figure(&self, name: &str) -> Option<(Spread, &str)> {
        let found = || {
            self.reports.iter().flat_map(|report| &report.figures).filter(move |figure| figure.name == name)
        };
        let unit = &found().next()?.unit;
        Some((Spread::of(found().map(|figure| figure.value))?, unit))
    }
}

impl<'a> Merged<'a> {
    fn new(name: &'a str, repeats: Vec<&'a Phase>) -> Result<Self, Abort> {
        let latency = sum(repeats.iter().filter_map(|phase| phase.latency.as_ref()))?;
        let uncorrected = sum(repeats.iter().filter_map(|phase| phase.uncorrected.as_ref()))?;
        let mut parts: Vec<(&str, Histogram<u64>)> = Vec::new();
        for part in repeats.iter().flat_map(|phase| &phase.parts) {
            if parts.iter().all(|(name, _)| *name != part.name) {
                let latency = sum(named(&repeats, &part.name).map(|part| &part.latency))?;
                parts.extend(latency.map(|latency| (part.name.as_str(), latency)));
            }
        }
        let course = course(&repeats)?;
        Ok(Self { name, repeats, parts, latency, uncorrected, course })
    }

    /// A figure of the jobs of the part with this name.
    pub(super) fn spread_of(&self, name: &str, pick: impl Fn(&Part) -> f64) -> Option<Spread> {
        Spread::of(named(&self.repeats, name).map(pick))
    }

    pub(super) fn spread(&self, pick: impl Fn(&Phase) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.repeats.iter().filter_map(|phase| pick(phase)))
    }
}

fn named<'a>(repeats: &[&'a Phase], name: &str) -> impl Iterator<Item = &'a Part> {
    repeats.iter().flat_map(|phase| &phase.parts).filter(move |part| part.name == name)
}

fn sum<'a>(latencies: impl Iterator<Item = &'a Latency>) -> Result<Option<Histogram<u64>>, Abort> {
    let mut all: Option<Histogram<u64>> = None;
    for latency in latencies.filter(|latency| !latency.histogram.is_empty()) {
        add(&mut all, latency.histogram()?)?;
    }
    Ok(all)
}

fn add(all: &mut Option<Histogram<u64>>, more: Histogram<u64>) -> Result<(), Abort> {
    match all {
        None => *all = Some(more),
        Some(all) => {
            all.add(more)
                .map_err(|error| Abort(format!("these latencies cannot be put together: {error}")))?;
        }
    }
    Ok(())
}

fn course(parts: &[&Phase]) -> Result<Vec<Moment>, Abort> {
    // Where something else was counted than the jobs, the course would be of that.
    let counts_jobs =
        |part: &&Phase| part.intervals.iter().map(|interval| interval.jobs).sum::<u64>() == part.jobs;
    if !parts.iter().all(counts_jobs) {
        return Ok(Vec::new());
    }
    // Repeats need not be of one length; what only some have is left out.
    let length = parts.iter().map(|part| part.intervals.len()).min().unwrap_or(0);
    let moment = |index: usize| {
        let intervals = || parts.iter().map(|part| &part.intervals[index]);
        let mut latency = None;
        for interval in intervals() {
            if let Some(more) = interval.histogram()? {
                add(&mut latency, more)?;
            }
        }
        let at = Spread::of(intervals().map(|interval| interval.start_s + interval.seconds / 2.0));
        let rate = Spread::of(intervals().map(crate::report::Interval::jobs_per_second));
        Ok(at.zip(rate).map(|(at, rate)| Moment { at_s: at.median, rate, latency }))
    };
    (0..length).map(moment).filter_map(Result::transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn the_median_stands_between_the_middle_two() {
        assert_eq!(Spread::of([]), None);
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.least, spread.most, spread.repeats), (2.5, 1.0, 4.0, 4));
        assert_eq!(Spread::of([9.0, 1.0, 2.0]).unwrap().median, 2.0);
    }

    #[test]
    fn a_spread_says_its_unit_once() {
        let between = |least, most| {
            let spread = Spread { median: least, least, most, repeats: 2 };
            spread.between(crate::report::units::micros)
        };
        assert_eq!(between(2220.0, 2550.0).unwrap(), "2.22–2.55 ms");
        assert_eq!(between(900.0, 1100.0).unwrap(), "900 us – 1.10 ms");
        assert_eq!(between(900.0, 900.0), None);
    }

    #[test]
    fn a_course_of_something_else_than_the_jobs_is_not_shown() {
        let mut reports = vec![example::open_loop("a")];
        reports[0].phases[0].jobs = 5;
        assert!(Side::new("server", &reports).unwrap().phases[0].course.is_empty());
    }

    #[test]
    fn repeats_are_one_phase_with_all_latencies() {
        let mut reports = vec![example::open_loop("a"), example::open_loop("a")];
        reports[1].phases[0].jobs_per_second = 500.0;
        let nothing = reports[1].phases[0].intervals.pop().unwrap();
        assert_eq!(nothing.jobs, 0);
        let side = Side::new("server", &reports).unwrap();
        assert_eq!(side.phases.len(), 1);
        let phase = side.phase("a").unwrap();
        assert_eq!(phase.latency.as_ref().unwrap().len(), 2000);
        let rate = phase.spread(|part| Some(part.jobs_per_second)).unwrap();
        assert_eq!((rate.repeats, rate.most), (2, 500.0));
        assert_eq!(phase.course.len(), 2);
        assert_eq!((phase.course[1].at_s, phase.course[1].rate.median), (1.5, 500.0));
        assert_eq!(phase.course[1].latency.as_ref().unwrap().len(), 1000);
    }
}
