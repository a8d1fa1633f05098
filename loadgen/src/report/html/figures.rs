//! Which plots a page has.

use hdrhistogram::Histogram;

use super::Page;
use super::markup::Text;
use super::merged::{Merged, Moment, Side, Spread};
use super::plot::{Axis, Bar, Bars, Line, Plot, Size, put};
use crate::report::Phase;
use crate::report::units::{micros, rate, seconds};

/// Points of a percentile curve for every nine.
const POINTS_A_NINE: u32 = 24;
/// Beyond six nines nobody has enough jobs.
const NINES_MAX: f64 = 6.0;

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
            Bars { title, note, groups }.write(out);
        }
    }

    /// A phase: its latencies, and its course if there is more than a moment of it.
    pub(super) fn write_phase(&self, out: &mut String, name: &str) {
        let phases: Vec<(usize, &Side<'a>, &Merged<'a>)> = self
            .sides
            .iter()
            .enumerate()
            .filter_map(|(index, side)| Some((index, side, side.phase(name)?)))
            .collect();
        let mut plots = String::new();
        self.write_percentiles(&mut plots, &phases);
        let with_course: Vec<_> =
            phases.iter().copied().filter(|(_, _, phase)| phase.course.len() > 1).collect();
        if !with_course.is_empty() {
            self.write_rates(&mut plots, &with_course);
        }
        let mut small = String::new();
        if with_course.iter().any(|(_, _, phase)| phase.course.iter().any(|moment| moment.latency.is_some()))
        {
            if self.is_alone() {
                write_latencies(&mut plots, &with_course);
            } else {
                write_latencies_apart(&mut small, &with_course);
            }
        }
        if self.is_alone() && self.names.len() == 1 {
            write_both_costs(&mut plots, &phases);
        }
        if plots.is_empty() {
            return;
        }
        put(out, format_args!("<section>\n<h2>{}</h2>\n<div class=\"plots\">\n{plots}</div>\n", Text(name)));
        if !small.is_empty() {
            put(out, format_args!("<div class=\"plots three\" style=\"margin-top:1rem\">\n{small}</div>\n"));
        }
        out.push_str("</section>\n");
    }

    fn write_percentiles(&self, out: &mut String, phases: &[(usize, &Side<'a>, &Merged<'a>)]) {
        let mut lines = Vec::new();
        for (index, side, phase) in phases {
            let both =
                [(&phase.latency, "", "from the due time"), (&phase.uncorrected, "dash", "uncorrected")];
            for (latency, class, meaning) in both {
                let Some(latency) = latency else { continue };
                let name = match (self.is_alone(), phase.uncorrected.is_some()) {
                    (true, _) => meaning.to_owned(),
                    (false, true) => format!("{}, {meaning}", side.label),
                    (false, false) => side.label.to_owned(),
                };
                lines.push(Line {
                    points: spectrum(latency),
                    colour: *index,
                    class,
                    name: Some(name),
                    band: vec![],
                });
            }
        }
        if lines.is_empty() {
            return;
        }
        let nines =
            lines.iter().filter_map(|line| line.points.last()).map(|point| point.0).fold(1.0, f64::max);
        let y = latency_axis(&lines);
        let note = "share of the jobs that took no longer";
        let title = "Latency by percentile";
        let has_neighbours = phases.iter().any(|(_, _, phase)| phase.course.len() > 1)
            || (self.is_alone() && self.names.len() == 1);
        let size = if has_neighbours { Size::Half } else { Size::Whole };
        Plot { title, note, x: Axis::nines(nines), y, lines, level: None, size }.write(out);
    }

    fn write_rates(&self, out: &mut String, phases: &[(usize, &Side<'a>, &Merged<'a>)]) {
        let lines: Vec<Line> = phases
            .iter()
            .map(|(index, side, phase)| Line {
                points: phase.course.iter().map(|moment| (moment.at_s, moment.rate.median)).collect(),
                colour: *index,
                class: "",
                name: Some(if self.is_alone() { "answered".to_owned() } else { side.label.to_owned() }),
                band: phase.course.iter().map(|moment| (moment.rate.least, moment.rate.most)).collect(),
            })
            .collect();
        let offered = phases.iter().find_map(|(_, _, phase)| phase.spread(|part| part.offered_per_second));
        let level = offered.map(|offered| (offered.median, "offered on average".to_owned()));
        let rates = lines.iter().flat_map(|line| line.band.iter().map(|band| band.1));
        let most = rates.chain(level.as_ref().map(|level| level.0)).fold(0.0, f64::max);
        let y = Axis::linear(most, rate);
        let title = "Throughput over time";
        Plot { title, note: "jobs a second", x: time_axis(phases), y, lines, level, size: Size::Half }
            .write(out);
    }
}

/// One server: its percentiles in one plot.
fn write_latencies(out: &mut String, phases: &[(usize, &Side<'_>, &Merged<'_>)]) {
    let lines: Vec<Line> = phases
        .iter()
        .flat_map(|(_, _, phase)| {
            (0..).zip(PERCENTILES).map(|(index, (name, pick))| Line {
                points: latencies(&phase.course, pick),
                colour: index,
                class: "",
                name: Some(name.to_owned()),
                band: vec![],
            })
        })
        .collect();
    let y = latency_axis(&lines);
    let title = "Latency over time";
    Plot { title, note: "in each interval", x: time_axis(phases), y, lines, level: None, size: Size::Half }
        .write(out);
}

/// Several servers: a plot for every percentile, all to one scale.
fn write_latencies_apart(out: &mut String, phases: &[(usize, &Side<'_>, &Merged<'_>)]) {
    let lines = |pick: Pick| {
        let line = |(index, side, phase): &(usize, &Side<'_>, &Merged<'_>)| Line {
            points: latencies(&phase.course, pick),
            colour: *index,
            class: "",
            name: Some(side.label.to_owned()),
            band: vec![],
        };
        phases.iter().map(line).collect::<Vec<_>>()
    };
    let all: Vec<Line> = PERCENTILES.into_iter().flat_map(|(_, pick)| lines(pick)).collect();
    for (name, pick) in PERCENTILES {
        let title = format!("Latency over time, {name}");
        let (x, y) = (time_axis(phases), latency_axis(&all));
        Plot { title: &title, note: "", x, y, lines: lines(pick), level: None, size: Size::Third }.write(out);
    }
}

/// One server, one phase: what the server and the generator took for a job.
fn write_both_costs(out: &mut String, phases: &[(usize, &Side<'_>, &Merged<'_>)]) {
    let Some((_, _, phase)) = phases.first() else { return };
    let server = phase.spread(|part| Some(part.server.as_ref()?.cpu_us_per_job));
    let generator = phase.spread(|part| Some(part.generator.as_ref()?.cpu_us_per_job));
    let bars = [("server", 0, server), ("generator", 7, generator)].into_iter().filter_map(
        |(name, colour, spread)| {
            let Spread { median, least, most, .. } = spread?;
            Some(Bar { name: name.to_owned(), colour, value: median, least, most, label: micros(median) })
        },
    );
    let bars: Vec<Bar> = bars.collect();
    if !bars.is_empty() {
        let note = "user and system time of the whole process";
        Bars { title: "Processor time a job", note, groups: vec![(String::new(), bars)] }.write(out);
    }
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
    match us {
        us if us < 1.0 => format!("{} ns", (us * 1e3).round()),
        us if us < 1e3 => format!("{} us", us.round()),
        us if us < 1e6 => format!("{} ms", (us / 1e3).round()),
        us => format!("{} s", (us / 1e6).round()),
    }
}

fn time_axis(phases: &[(usize, &Side<'_>, &Merged<'_>)]) -> Axis {
    let ends = phases.iter().filter_map(|(_, _, phase)| phase.spread(|part| Some(part.seconds)));
    let end = ends.map(|spread| spread.most).fold(0.0, f64::max);
    Axis::linear_to(end, move |value| {
        if end < 1.0 {
            seconds(value).replace(".0 ", " ")
        } else {
            format!("{} s", (value * 10.0).round() / 10.0)
        }
    })
}
