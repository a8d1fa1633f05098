//! The tables of a page: all that was measured, in figures.

use super::Page;
use super::markup::Text;
use super::merged::{Merged, Spread};
use super::plot::{colour, put};
use crate::report::units::{bytes, micros, number, percent, rate, seconds};
use crate::report::{Latency, Phase};

type Column = (&'static str, fn(&Phase) -> Option<f64>, fn(f64) -> String);

const TIMES: [Column; 8] = [
    ("jobs", |part| Some(part.jobs as f64), rate),
    ("time", |part| Some(part.seconds), seconds),
    ("jobs/s", |part| Some(part.jobs_per_second), rate),
    ("p50", |part| Some(part.latency.as_ref()?.p50_us), micros),
    ("p90", |part| Some(part.latency.as_ref()?.p90_us), micros),
    ("p99", |part| Some(part.latency.as_ref()?.p99_us), micros),
    ("p99.9", |part| Some(part.latency.as_ref()?.p99_9_us), micros),
    ("longest", |part| Some(part.latency.as_ref()?.max_us), micros),
];

const COSTS: [Column; 7] = [
    ("CPU a job", |part| Some(part.server.as_ref()?.cpu_us_per_job), micros),
    ("jobs a CPU second", |part| Some(part.server.as_ref()?.jobs_per_cpu_second), rate),
    ("switches a job", |part| Some(part.server.as_ref()?.switches_per_job), number),
    ("memory before", |part| Some(part.server.as_ref()?.rss_before_bytes as f64), |size| bytes(size as u64)),
    ("memory after", |part| Some(part.server.as_ref()?.rss_after_bytes as f64), |size| bytes(size as u64)),
    ("generator’s CPU a job", |part| Some(part.generator.as_ref()?.cpu_us_per_job), micros),
    ("generator busy", |part| Some(part.generator_busy), percent),
];

impl Page<'_> {
    pub(super) fn write_tables(&self, out: &mut String) {
        if !self.names.is_empty() {
            self.write_table(out, "Throughput and latency", &TIMES, true);
            self.write_table(out, "Cost", &COSTS, false);
        }
        self.write_figures(out);
    }

    fn write_table(&self, out: &mut String, title: &str, columns: &[Column], is_latency: bool) {
        open_table(out, title);
        put(out, format_args!("<th>phase</th>"));
        for (heading, _, _) in columns {
            put(out, format_args!("<th>{}</th>", Text(heading)));
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for name in &self.names {
            for (index, side) in self.sides.iter().enumerate() {
                let Some(phase) = side.phase(name) else { continue };
                out.push_str("<tr><td>");
                if self.is_alone() {
                    put(out, format_args!("{}", Text(name)));
                } else {
                    let style = colour(index);
                    put(
                        out,
                        format_args!(
                            "<span class=\"swatch\" style=\"{style}\"></span>{}, {}",
                            Text(side.label),
                            Text(name)
                        ),
                    );
                }
                out.push_str("</td>");
                for (_, pick, show) in columns {
                    write_cell(out, phase.spread(pick), *show);
                }
                out.push_str("</tr>\n");
                if is_latency {
                    write_uncorrected(out, phase);
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
                        put(
                            out,
                            format_args!(
                                "<td>{} {}{}</td>",
                                number(spread.median),
                                Text(unit),
                                spread_text(&spread, number)
                            ),
                        );
                    }
                    None => out.push_str("<td>–</td>"),
                }
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n</section>\n");
    }
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

/// In an open loop: what was asked for, and the latency as the late sender saw it.
fn write_uncorrected(out: &mut String, phase: &Merged<'_>) {
    let offered = phase.spread(|part| part.offered_per_second);
    if offered.is_none() && phase.uncorrected.is_none() {
        return;
    }
    out.push_str("<tr class=\"sub\"><td>offered; uncorrected latency</td><td></td><td></td>");
    write_cell(out, offered, rate);
    let picks: [fn(&Latency) -> f64; 5] =
        [|all| all.p50_us, |all| all.p90_us, |all| all.p99_us, |all| all.p99_9_us, |all| all.max_us];
    for pick in picks {
        write_cell(out, phase.spread(|part| part.uncorrected.as_ref().map(pick)), micros);
    }
    out.push_str("</tr>\n");
}

fn write_cell(out: &mut String, spread: Option<Spread>, show: fn(f64) -> String) {
    match spread {
        Some(spread) => {
            put(out, format_args!("<td>{}{}</td>", Text(show(spread.median)), spread_text(&spread, show)));
        }
        None => out.push_str("<td>–</td>"),
    }
}

/// Least and most, when they differ.
fn spread_text(spread: &Spread, show: fn(f64) -> String) -> String {
    let (least, most) = (show(spread.least), show(spread.most));
    if least == most {
        return String::new();
    }
    format!("<br/><span class=\"spread\">{} to {}</span>", Text(least), Text(most))
}
