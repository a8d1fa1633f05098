//! The tables of a page: servers beside each other, and all that was measured in figures.

use super::Page;
use super::markup::Text;
use super::merged::{Merged, Spread};
use super::plot::{colour, put};
use crate::report::units::{bytes, count, micros, number, percent, rate, seconds, written_in};
use crate::report::{Latency, Phase};

type Column = (&'static str, fn(&Phase) -> Option<f64>, fn(f64) -> String);

fn memory(size: f64) -> String {
    bytes(size as u64)
}

const COMPARED: [Column; 7] = [
    ("server’s CPU a job", |part| Some(part.server.as_ref()?.cpu_us_per_job), micros),
    ("jobs a CPU second", |part| Some(part.server.as_ref()?.jobs_per_cpu_second), rate),
    ("jobs/s", |part| Some(part.jobs_per_second), rate),
    ("p50", |part| Some(part.latency.as_ref()?.p50_us), micros),
    ("p99", |part| Some(part.latency.as_ref()?.p99_us), micros),
    ("p99.9", |part| Some(part.latency.as_ref()?.p99_9_us), micros),
    ("memory", |part| Some(part.server.as_ref()?.rss_after_bytes as f64), memory),
];

const TIMES: [Column; 8] = [
    ("jobs", |part| Some(part.jobs as f64), |jobs| count(jobs as u64)),
    ("time", |part| Some(part.seconds), seconds),
    ("jobs/s", |part| Some(part.jobs_per_second), rate),
    ("p50", |part| Some(part.latency.as_ref()?.p50_us), micros),
    ("p90", |part| Some(part.latency.as_ref()?.p90_us), micros),
    ("p99", |part| Some(part.latency.as_ref()?.p99_us), micros),
    ("p99.9", |part| Some(part.latency.as_ref()?.p99_9_us), micros),
    ("longest", |part| Some(part.latency.as_ref()?.max_us), micros),
];

/// The last columns of [`TIMES`].
const PERCENTILES: [fn(&Latency) -> f64; 5] =
    [|all| all.p50_us, |all| all.p90_us, |all| all.p99_us, |all| all.p99_9_us, |all| all.max_us];

const COSTS: [Column; 7] = [
    ("CPU a job", |part| Some(part.server.as_ref()?.cpu_us_per_job), micros),
    ("jobs a CPU second", |part| Some(part.server.as_ref()?.jobs_per_cpu_second), rate),
    ("switches a job", |part| Some(part.server.as_ref()?.switches_per_job), number),
    ("memory before", |part| Some(part.server.as_ref()?.rss_before_bytes as f64), memory),
    ("memory after", |part| Some(part.server.as_ref()?.rss_after_bytes as f64), memory),
    ("generator’s CPU a job", |part| Some(part.generator.as_ref()?.cpu_us_per_job), micros),
    ("generator busy", |part| Some(part.generator_busy), percent),
];

impl Page<'_> {
    /// Several servers: the figures that matter most, each with its ratio to the base.
    pub(super) fn write_comparison(&self, out: &mut String) {
        if self.is_alone() || self.names.is_empty() {
            return;
        }
        let base = Some(self.base());
        open_table(out, "Comparison");
        put(out, format_args!("<th>× to {}</th>", Text(self.base().label)));
        write_headings(out, &COMPARED);
        for name in &self.names {
            if self.names.len() > 1 {
                put(out, format_args!("<tr class=\"group\"><td colspan=\"8\">{}</td></tr>\n", Text(name)));
            }
            for (index, side) in self.sides.iter().enumerate() {
                let Some(phase) = side.phase(name) else { continue };
                put(out, format_args!("<tr><td>{}{}</td>", swatch(index), Text(side.label)));
                for (_, pick, show) in COMPARED {
                    let base = base.filter(|base| base.label != side.label).and_then(|base| base.phase(name));
                    write_compared(out, phase.spread(pick), base.and_then(|base| base.spread(pick)), show);
                }
                out.push_str("</tr>\n");
            }
        }
        out.push_str("</tbody></table></div>\n");
        self.write_lines(out);
        out.push_str("</section>\n");
    }

    /// What the servers are.
    fn write_lines(&self, out: &mut String) {
        if self.shown.lines.is_empty() {
            return;
        }
        out.push_str("<dl class=\"lines\">\n");
        for line in self.shown.lines {
            let index = self.sides.iter().position(|side| side.label == line.label).unwrap_or_default();
            put(
                out,
                format_args!(
                    "<dt>{}{}</dt><dd><code>{}</code><br/><code class=\"soft\">{}</code></dd>\n",
                    swatch(index),
                    Text(&line.label),
                    Text(&line.server),
                    Text(&line.scenario)
                ),
            );
        }
        out.push_str("</dl>\n");
    }

    pub(super) fn write_tables(&self, out: &mut String) {
        if !self.names.is_empty() {
            self.write_table(out, "Throughput and latency", &TIMES, true);
            self.write_table(out, "Cost", &COSTS, false);
        }
        self.write_figures(out);
    }

    fn write_table(&self, out: &mut String, title: &str, columns: &[Column], is_latency: bool) {
        open_table(out, title);
        out.push_str("<th>phase</th>");
        write_headings(out, columns);
        for name in &self.names {
            for (index, side) in self.sides.iter().enumerate() {
                let Some(phase) = side.phase(name) else { continue };
                if self.is_alone() {
                    put(out, format_args!("<tr><td>{}</td>", Text(name)));
                } else {
                    let (label, name) = (Text(side.label), Text(name));
                    put(out, format_args!("<tr><td>{}{label}, {name}</td>", swatch(index)));
                }
                for (_, pick, show) in columns {
                    write_cell(out, phase.spread(pick), *show);
                }
                out.push_str("</tr>\n");
                if is_latency {
                    write_uncorrected(out, phase);
                    write_parts(out, phase);
                }
            }
        }
        out.push_str("</tbody></table></div>\n</section>\n");
    }

    fn write_figures(&self, out: &mut String) {
        let mut names: Vec<&str> = Vec::new();
        for figure in self.sides.iter().flat_map(|side| side.reports).flat_map(|report| &report.figures) {
            if !names.contains(&figure.name.as_str()) {
                names.push(&figure.name);
            }
        }
        if names.is_empty() {
            return;
        }
        open_table(out, "Figures");
        out.push_str("<th></th>");
        for side in &self.sides {
            put(out, format_args!("<th>{}</th>", Text(side.label)));
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for name in names {
            put(out, format_args!("<tr><td>{}</td>", Text(name)));
            for side in &self.sides {
                match side.figure(name) {
                    Some((spread, unit)) => {
                        let show = written_in(unit);
                        let (median, spread) = (show(spread.median), spread_text(&spread, show));
                        put(out, format_args!("<td>{median} {}{spread}</td>", Text(unit)));
                    }
                    None => out.push_str("<td>–</td>"),
                }
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n</section>\n");
    }
}

fn swatch(index: usize) -> String {
    format!("<span class=\"swatch\" style=\"{}\"></span>", colour(index))
}

fn open_table(out: &mut String, title: &str) {
    put(
        out,
        format_args!(
            "<section class=\"long\">\n<h2>{}</h2>\n<div class=\"scroll\"><table>\n<thead><tr>",
            Text(title)
        ),
    );
}

fn write_headings(out: &mut String, columns: &[Column]) {
    for (heading, _, _) in columns {
        put(out, format_args!("<th>{}</th>", Text(heading)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
}

/// In an open loop: what was asked for, and the latency as the late sender saw it.
fn write_uncorrected(out: &mut String, phase: &Merged<'_>) {
    let offered = phase.spread(|part| part.offered_per_second);
    if offered.is_none() && phase.uncorrected.is_none() {
        return;
    }
    out.push_str("<tr class=\"sub\"><td>offered; uncorrected latency</td><td></td><td></td>");
    write_cell(out, offered, rate);
    for pick in PERCENTILES {
        write_cell(out, phase.spread(|part| part.uncorrected.as_ref().map(pick)), micros);
    }
    out.push_str("</tr>\n");
}

/// The latencies of kinds, sizes and functions.
fn write_parts(out: &mut String, phase: &Merged<'_>) {
    for (name, _) in &phase.parts {
        put(out, format_args!("<tr class=\"sub\"><td class=\"part\">{}</td>", Text(name)));
        write_cell(out, phase.spread_of(name, |part| part.jobs as f64), |jobs| count(jobs as u64));
        out.push_str("<td></td><td></td>");
        for pick in PERCENTILES {
            write_cell(out, phase.spread_of(name, |part| pick(&part.latency)), micros);
        }
        out.push_str("</tr>\n");
    }
}

fn write_cell(out: &mut String, spread: Option<Spread>, show: fn(f64) -> String) {
    match spread {
        Some(spread) => {
            put(out, format_args!("<td>{}{}</td>", Text(show(spread.median)), spread_text(&spread, show)));
        }
        None => out.push_str("<td>–</td>"),
    }
}

/// A median, its ratio to the base's, and its spread.
fn write_compared(out: &mut String, spread: Option<Spread>, base: Option<Spread>, show: fn(f64) -> String) {
    let Some(spread) = spread else { return out.push_str("<td>–</td>") };
    put(out, format_args!("<td><b>{}</b>", Text(show(spread.median))));
    if let Some(base) = base.filter(|base| base.median > 0.0) {
        put(out, format_args!(" <span class=\"ratio\">×{}</span>", number(spread.median / base.median)));
    }
    put(out, format_args!("{}</td>", spread_text(&spread, show)));
}

/// Least and most, when they differ.
fn spread_text(spread: &Spread, show: fn(f64) -> String) -> String {
    let between = spread.between(show);
    between.map_or_else(String::new, |text| format!("<br/><span class=\"spread\">{}</span>", Text(text)))
}
