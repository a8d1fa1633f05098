//! Which plots a page has.

use hdrhistogram::Histogram;

use super::Page;
use super::markup::Text;
use super::merged::{Merged, Moment, Side, Spread};
use super::plot::{Axis, Bar, Bars, Line, Plot, Size, put};
use crate::report::Phase;
use crate::report::units::{micros, rate};

/// Points of a percentile curve for every nine.
const POINTS_A_NINE: u32 = 24;
/// Beyond six nines nobody has enough jobs.
const NINES_MAX: f64 = 6.0;

/// With more servers their spreads would only cover each other.
const BANDS_MAX: usize = 3;

/// The servers that have a phase, with their places on the page.
type Phases<'p, 'a> = Vec<(usize, &'p Side<'a>, &'p Merged<'a>)>;

/// What is drawn of an interval's latency.
type Pick = fn(&Histogram<u64>) -> u64;

const PERCENTILES: [(&str, Pick); 3] = [
    ("p50", |latency| latency.value_at_quantile(0.5)),
    ("p99", |latency| latency.value_at_quantile(0.99)),
    ("max", Histogram::max),
];

impl<'a> Page<'a> {
    /// Every phase of every server, as bars.
    pub(super) fn write_overview(&self, out: &mut String) {
        if !self.is_alone() || self.names.len() > 1 {
            put(
                out,
                format_args!(
                    "<section class=\"long\">\n<h2>{}</h2>\n<div class=\"plots\">\n",
                    if self.is_alone() { "Phase by phase" } else { "Side by side" }
                ),
            );
            self.write_bars(
                out,
                "Jobs a second",
                "longer is better",
                |part| Some(part.jobs_per_second),
                rate,
            );
            self.write_cpu(out);
            out.push_str("</div>\n</section>\n");
        }
    }

    fn write_cpu(&self, out: &mut String) {
        let pick = |part: &Phase| part.server.as_ref().map(|spent| spent.cpu_us_per_job);
        self.write_bars(out, "Server’s processor time a job", "shorter is better", pick, micros);
    }

    fn write_bars(
        &self,
        out: &mut String,
        title: &str,
        note: &str,
        pick: impl Fn(&Phase) -> Option<f64>,
        show: fn(f64) -> String,
    ) {
        let bar = |name: &str, index: usize, spread: Spread| Bar {
            name: name.to_owned(),
            colour: index,
            value: spread.median,
            least: spread.least,
            most: spread.most,
            label: show(spread.median),
        };
        let group = |name: &&str| {
            let bars = self.sides.iter().enumerate().filter_map(|(index, side)| {
                let label = if self.is_alone() { name } else { side.label };
                Some(bar(label, index, side.phase(name)?.spread(&pick)?))
            });
            let title = if self.is_alone() || self.names.len() == 1 { "" } else { name };
            (title.to_owned(), bars.collect::<Vec<_>>())
        };
        let groups: Vec<_> = self.names.iter().map(group).filter(|(_, bars)| !bars.is_empty()).collect();
        if !groups.is_empty() {
            Bars { title, note, groups, is_wide: false }.write(out);
        }
    }

    /// A phase: its latencies, and its course if there is more than a moment of it.
    pub(super) fn write_phase(&self, out: &mut String, name: &str) {
        let phases: Phases<'_, 'a> = self
            .sides
            .iter()
            .enumerate()
            .filter_map(|(index, side)| Some((index, side, side.phase(name)?)))
            .collect();
        let with_course: Phases<'_, 'a> =
            phases.iter().copied().filter(|(_, _, phase)| phase.course.len() > 1).collect();
        let has_latencies = with_course
            .iter()
            .any(|(_, _, phase)| phase.course.iter().any(|moment| moment.latency.is_some()));
        let mut plots: Vec<Plot> =
            [self.percentiles(&phases), self.rates(&with_course)].into_iter().flatten().collect();
        let mut small = Vec::new();
        if self.is_alone() {
            plots.extend(phases.iter().filter_map(|(_, _, phase)| percentiles_of_parts(phase)));
        }
        if has_latencies && self.is_alone() {
            plots.push(latencies_together(&with_course));
        } else if has_latencies {
            small = latencies_apart(&with_course);
        }
        // One that would stand beside a hole takes all the width.
        if let Some(last) = plots.len().checked_sub(1).filter(|last| last.is_multiple_of(2)) {
            plots[last].size = Size::Whole;
        }
        let costs = if self.is_alone() && self.names.len() == 1 { both_costs(&phases) } else { None };
        if plots.is_empty() && costs.is_none() {
            return;
        }
        put(out, format_args!("<section>\n<h2>{}</h2>\n<div class=\"plots\">\n", Text(name)));
        plots.iter().for_each(|plot| plot.write(out));
        if let Some(costs) = costs {
            costs.write(out);
        }
        out.push_str("</div>\n");
        if !small.is_empty() {
            out.push_str("<div class=\"plots three\">\n");
            small.iter().for_each(|plot| plot.write(out));
            out.push_str("</div>\n");
        }
        out.push_str("</section>\n");
    }

    fn percentiles(&self, phases: &[(usize, &Side<'a>, &Merged<'a>)]) -> Option<Plot> {
        let mut lines = Vec::new();
        for (index, side, phase) in phases {
            let both =
                [(&phase.latency, false, "from the due time"), (&phase.uncorrected, true, "uncorrected")];
            for (latency, dashed, meaning) in both {
                let Some(latency) = latency else { continue };
                let name = match (self.is_alone(), phase.uncorrected.is_some()) {
                    (true, _) => meaning.to_owned(),
                    (false, true) => format!("{}, {meaning}", side.label),
                    (false, false) => side.label.to_owned(),
                };
                let mut line = Line::new(*index, name, spectrum(latency));
                if dashed {
                    line.class = "dash";
                }
                lines.push(line);
            }
        }
        let ends = lines.iter().filter_map(|line| line.points.last()).map(|point| point.0);
        let nines = ends.reduce(f64::max)?;
        Some(Plot {
            title: "Latency by percentile".to_owned(),
            note: "share of the jobs that took no longer",
            x: Axis::nines(nines),
            y: latency_axis(&lines),
            lines,
            level: None,
            size: Size::Half,
        })
    }

    fn rates(&self, phases: &[(usize, &Side<'a>, &Merged<'a>)]) -> Option<Plot> {
        let line = |(index, side, phase): &(usize, &Side<'_>, &Merged<'_>)| {
            let points = phase.course.iter().map(|moment| (moment.at_s, moment.rate.median)).collect();
            let name = if self.is_alone() { "answered" } else { side.label };
            let mut line = Line::new(*index, name.to_owned(), points);
            if phases.len() <= BANDS_MAX {
                line.band = phase.course.iter().map(|moment| (moment.rate.least, moment.rate.most)).collect();
            }
            line
        };
        let lines: Vec<Line> = phases.iter().map(line).collect();
        let offered = phases.iter().find_map(|(_, _, phase)| phase.spread(|part| part.offered_per_second));
        let level = offered.map(|offered| (offered.median, "offered on average".to_owned()));
        let moments = phases.iter().flat_map(|(_, _, phase)| &phase.course);
        let most =
            |moment: &Moment| if phases.len() <= BANDS_MAX { moment.rate.most } else { moment.rate.median };
        let rates = moments.map(most);
        let most = rates.chain(level.as_ref().map(|level| level.0)).reduce(f64::max)?;
        Some(Plot {
            title: "Throughput over time".to_owned(),
            note: "jobs a second",
            x: time_axis(phases),
            y: Axis::linear(most, short_rate),
            lines,
            level,
            size: Size::Half,
        })
    }
}

/// One server: kinds, sizes and functions of jobs beside each other.
fn percentiles_of_parts(phase: &Merged<'_>) -> Option<Plot> {
    let line = |(index, (name, latency)): (usize, &(&str, Histogram<u64>))| {
        Line::new(index, (*name).to_owned(), spectrum(latency))
    };
    let lines: Vec<Line> = phase.parts.iter().enumerate().map(line).collect();
    let nines = lines.iter().filter_map(|line| line.points.last()).map(|point| point.0).reduce(f64::max)?;
    Some(Plot {
        title: "Latency of parts of the jobs".to_owned(),
        note: "share of each part that took no longer",
        x: Axis::nines(nines),
        y: latency_axis(&lines),
        lines,
        level: None,
        size: Size::Half,
    })
}

/// One server: its percentiles in one plot.
fn latencies_together(phases: &[(usize, &Side<'_>, &Merged<'_>)]) -> Plot {
    let lines: Vec<Line> = phases
        .iter()
        .flat_map(|(_, _, phase)| {
            (0..).zip(PERCENTILES).map(|(index, (name, pick))| {
                Line::new(index, name.to_owned(), latencies(&phase.course, pick))
            })
        })
        .collect();
    Plot {
        title: "Latency over time".to_owned(),
        note: "in each interval",
        x: time_axis(phases),
        y: latency_axis(&lines),
        lines,
        level: None,
        size: Size::Half,
    }
}

/// Several servers: a plot for every percentile, all to one scale.
fn latencies_apart(phases: &[(usize, &Side<'_>, &Merged<'_>)]) -> Vec<Plot> {
    let lines = |pick: Pick| {
        let line = |(index, side, phase): &(usize, &Side<'_>, &Merged<'_>)| {
            Line::new(*index, side.label.to_owned(), latencies(&phase.course, pick))
        };
        phases.iter().map(line).collect::<Vec<_>>()
    };
    let all: Vec<Line> = PERCENTILES.into_iter().flat_map(|(_, pick)| lines(pick)).collect();
    let plot = |(name, pick)| Plot {
        title: format!("Latency {name} over time"),
        note: "",
        x: time_axis(phases),
        y: latency_axis(&all),
        lines: lines(pick),
        level: None,
        size: Size::Third,
    };
    PERCENTILES.into_iter().map(plot).collect()
}

/// One server, one phase: what the server and the generator took for a job.
fn both_costs(phases: &[(usize, &Side<'_>, &Merged<'_>)]) -> Option<Bars<'static>> {
    let (_, _, phase) = phases.first()?;
    let server = phase.spread(|part| Some(part.server.as_ref()?.cpu_us_per_job));
    let generator = phase.spread(|part| Some(part.generator.as_ref()?.cpu_us_per_job));
    let bars = [("server", 0, server), ("generator", 7, generator)].into_iter().filter_map(
        |(name, colour, spread)| {
            let Spread { median, least, most, .. } = spread?;
            Some(Bar { name: name.to_owned(), colour, value: median, least, most, label: micros(median) })
        },
    );
    let bars: Vec<Bar> = bars.collect();
    (!bars.is_empty()).then(|| Bars {
        title: "Processor time a job",
        note: "user and system time of the whole process",
        groups: vec![(String::new(), bars)],
        is_wide: true,
    })
}

/// Microseconds by nines; the last point is the longest of all.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn spectrum(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    let nines = (latency.len() as f64).log10().clamp(1.0, NINES_MAX);
    let steps = (nines * f64::from(POINTS_A_NINE)).round() as u32;
    let at = |step: u32| {
        let nine = nines * f64::from(step) / f64::from(steps);
        let quantile = if step == steps { 1.0 } else { 1.0 - 10_f64.powf(-nine) };
        (nine, latency.value_at_quantile(quantile) as f64 / 1e3)
    };
    (0..=steps).map(at).collect()
}

/// Microseconds by seconds.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn latencies(course: &[Moment], pick: Pick) -> Vec<(f64, f64)> {
    let point = |moment: &Moment| Some((moment.at_s, pick(moment.latency.as_ref()?) as f64 / 1e3));
    course.iter().filter_map(point).collect()
}

fn latency_axis(lines: &[Line]) -> Axis {
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let least = values().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    Axis::log(least, values().fold(0.0, f64::max), short_micros)
}

/// A round time without digits that say nothing.
fn short_micros(us: f64) -> String {
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    match us {
        0.0 => "0 s".to_owned(),
        us if us < 1.0 => format!("{} ns", tenths(us * 1e3)),
        us if us < 1e3 => format!("{} us", tenths(us)),
        us if us < 1e6 => format!("{} ms", tenths(us / 1e3)),
        us => format!("{} s", tenths(us / 1e6)),
    }
}

/// A round rate without digits that say nothing.
fn short_rate(rate: f64) -> String {
    if rate < 1e6 {
        super::super::units::rate(rate).replace(".0", "")
    } else {
        format!("{} M", (rate / 1e4).round() / 100.0)
    }
}

fn time_axis(phases: &[(usize, &Side<'_>, &Merged<'_>)]) -> Axis {
    let ends = phases.iter().filter_map(|(_, _, phase)| phase.spread(|part| Some(part.seconds)));
    let end = ends.map(|spread| spread.most).fold(0.0, f64::max);
    Axis::linear_to(end, |value| short_micros(value * 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(
            [0.0, 0.5, 2.5, 2500.0, 1e6, 12.5e6].map(short_micros),
            ["0 s", "500 ns", "2.5 us", "2.5 ms", "1 s", "12.5 s"]
        );
        assert_eq!(
            [0.0, 50.0, 2500.0, 250_000.0, 1e6, 1.25e6].map(short_rate),
            ["0", "50", "2,500", "250,000", "1 M", "1.25 M"]
        );
    }
}
