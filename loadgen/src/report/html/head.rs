//! The top of a page: what was run, whether all went well, and for one server
//! the figures that matter most.

use super::Page;
use super::markup::Text;
use super::merged::{Merged, Spread};
use super::plot::{colour, put};
use crate::report::units::{bytes, command, micros, moment, rate};
use crate::report::{Phase, Report};

impl Page<'_> {
    pub(super) fn title(&self) -> String {
        let scenario = &self.first.scenario;
        let labels: Vec<_> = self.sides.iter().map(|side| side.label).collect();
        match labels.as_slice() {
            [one] => format!("{scenario} against {one}"),
            [all @ .., last] => format!("{scenario}: {} and {last}", all.join(", ")),
            [] => scenario.clone(),
        }
    }

    pub(super) fn write_header(&self, out: &mut String, title: &str) {
        let repeats = self.sides.iter().map(|side| side.reports.len()).max().unwrap_or(1);
        let started = moment(self.first.started_unix_ms);
        put(out, format_args!("<header>\n<h1>{}</h1>\n<p class=\"soft\">{started}", Text(title)));
        if repeats > 1 {
            put(out, format_args!(" · {repeats} repeats; figures are medians, with least and most"));
        }
        out.push_str("</p>\n");
        if self.shown.command.is_none() {
            for side in &self.sides {
                let Some(report) = side.reports.first().filter(|report| !report.command.is_empty()) else {
                    continue;
                };
                let who = if self.is_alone() { String::new() } else { format!("{}: ", side.label) };
                let words = command(&report.command);
                put(out, format_args!("<code class=\"command\">{}{}</code>\n", Text(who), Text(words)));
            }
        }
        out.push_str("</header>\n");
    }

    /// The one command that can be given again, at the end since it is long.
    pub(super) fn write_command(&self, out: &mut String) {
        if let Some(words) = self.shown.command {
            put(
                out,
                format_args!(
                    "<section>\n<h2>Command</h2>\n<code class=\"command\">{}</code>\n</section>\n",
                    Text(command(words))
                ),
            );
        }
    }

    /// Faults and warnings; what differs only in its figures is said once.
    pub(super) fn write_verdict(&self, out: &mut String) {
        // What tells them apart, how they are shown, and how often they came.
        let mut notes: Vec<(String, &str, &str, String, usize)> = Vec::new();
        let mut note = |key: String, class, head, text| match notes.iter_mut().find(|note| note.0 == key) {
            Some(found) => found.4 += 1,
            None => notes.push((key, class, head, text, 1)),
        };
        for side in &self.sides {
            let who = if self.is_alone() { String::new() } else { format!("{}: ", side.label) };
            for report in side.reports {
                if let Some(aborted) = &report.aborted {
                    note(format!("{who}{aborted}"), "bad", "Aborted", format!("{who}{aborted}"));
                }
                for (name, count) in report.faults.list().into_iter().filter(|fault| fault.1 > 0) {
                    note(format!("{who}{count} {name}"), "bad", "Fault", format!("{who}{count} {name}"));
                }
                for warning in &report.warnings {
                    let key = format!("{who}{}", without_figures(warning));
                    note(key, "warn", "Warning", format!("{who}{warning}"));
                }
            }
        }
        let passed = self.sides.iter().flat_map(|side| side.reports).all(Report::passed);
        if passed {
            out.push_str("<p class=\"note good\"><b>Passed</b>Every job accounted for: none lost, duplicated or damaged.</p>\n");
        } else {
            out.push_str("<p class=\"note bad\"><b>Failed</b>Not every job was accounted for, or the run ended before its time.</p>\n");
        }
        for (met, requirement) in self.shown.verdicts {
            let (class, head) = if *met { ("good", "Met") } else { ("bad", "Not met") };
            put(out, format_args!("<p class=\"note {class}\"><b>{head}</b>{}</p>\n", Text(requirement)));
        }
        for (_, class, head, text, times) in notes {
            let times = if times > 1 { format!(" (so or nearly so {times} times)") } else { String::new() };
            put(out, format_args!("<p class=\"note {class}\"><b>{head}</b>{}{times}</p>\n", Text(text)));
        }
    }

    /// The figures of one server's last phase.
    pub(super) fn write_tiles(&self, out: &mut String) {
        let [side] = self.sides.as_slice() else { return };
        let Some(phase) = self.names.last().and_then(|name| side.phase(name)) else { return };
        out.push_str("<section>\n");
        if self.names.len() > 1 {
            put(
                out,
                format_args!(
                    "<p class=\"side\"><span class=\"swatch\" style=\"{}\"></span>{}</p>\n",
                    colour(0),
                    Text(phase.name)
                ),
            );
        }
        out.push_str("<div class=\"tiles\">\n");
        write_phase_tiles(out, phase);
        out.push_str("</div>\n</section>\n");
    }
}

/// A warning without its figures; those in the name of the phase stay.
fn without_figures(warning: &str) -> String {
    let (phase, rest) = warning.split_once(": ").unwrap_or(("", warning));
    let rest = rest.chars().filter(|letter| !letter.is_ascii_digit() && *letter != '.');
    phase.chars().chain(rest).collect()
}

/// Name, what it shows of a phase, and how.
type Tile = (&'static str, fn(&Phase) -> Option<f64>, fn(f64) -> String);

fn write_phase_tiles(out: &mut String, phase: &Merged<'_>) {
    let tiles: [Tile; 6] = [
        ("Jobs a second", |part| Some(part.jobs_per_second), rate),
        ("Median latency", |part| Some(part.latency.as_ref()?.p50_us), micros),
        ("p99 latency", |part| Some(part.latency.as_ref()?.p99_us), micros),
        ("Longest", |part| Some(part.latency.as_ref()?.max_us), micros),
        ("Server CPU a job", |part| Some(part.server.as_ref()?.cpu_us_per_job), micros),
        (
            "Server memory",
            |part| Some(part.server.as_ref()?.rss_after_bytes as f64),
            |size| bytes(size as u64),
        ),
    ];
    for (name, pick, show) in tiles {
        let Some(spread) = phase.spread(pick) else { continue };
        let shown = show(spread.median);
        let (value, unit) = shown.split_once(' ').unwrap_or((&shown, ""));
        put(
            out,
            format_args!(
                "<div class=\"tile\"><div class=\"name\">{name}</div><div class=\"value\">{value} <small>{unit}</small></div><div class=\"more\">"
            ),
        );
        let mut more: Vec<String> = spread.between(show).into_iter().collect();
        if name == "Jobs a second"
            && let Some(Spread { median, .. }) = phase.spread(|part| part.offered_per_second)
        {
            more.push(format!("{} offered", rate(median)));
        }
        put(out, format_args!("{}</div></div>\n", more.join("<br/>")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_the_same_when_only_its_figures_differ() {
        let same = |one, two| without_figures(one) == without_figures(two);
        assert!(same("a 1: busy 91.5 % of the time", "a 1: busy 9 % of the time"));
        assert!(!same("a 1: busy 91 %", "a 2: busy 91 %") && !same("a: busy 91 %", "a: late 91 %"));
    }
}
