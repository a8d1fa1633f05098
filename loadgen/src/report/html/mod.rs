//! The report as one HTML page that needs nothing else: no network, no script,
//! no fonts. It is made to be read on a screen, light or dark, and on A4.

mod figures;
mod markup;
mod merged;
mod plot;
mod tables;

use self::markup::Text;
use self::merged::{Merged, Side};
use self::plot::{colour, put};
use super::units::{bytes, command, micros, moment, number, rate};
use super::{Phase, Report};
use crate::abort::Abort;

const STYLE: &str = include_str!("style.css");

/// The page of one or several servers, each by its name with one report a
/// repeat. Repeats are put together: figures are medians, shown with their
/// spread, and latencies are those of all repeats.
///
/// # Errors
/// When there is nothing to show, the reports are not of one scenario, or a
/// histogram cannot be read.
pub(crate) fn page(sides: &[(String, Vec<Report>)]) -> Result<String, Abort> {
    let first = sides.iter().find_map(|(_, reports)| reports.first());
    let first = first.ok_or_else(|| Abort("there is no report to make a page of".to_owned()))?;
    for (label, report) in sides.iter().flat_map(|(label, all)| all.iter().map(move |report| (label, report)))
    {
        if report.scenario != first.scenario {
            return Err(Abort(format!(
                "{label} is of the scenario {}, the first report of {}; a page holds one scenario",
                report.scenario, first.scenario
            )));
        }
    }
    let with_reports = sides.iter().filter(|(_, reports)| !reports.is_empty());
    let sides: Vec<Side<'_>> =
        with_reports.map(|(label, reports)| Side::new(label, reports)).collect::<Result<_, _>>()?;
    Ok(Page { first, names: phase_names(&sides), sides }.write())
}

/// All phases, in the order in which the servers went through them.
fn phase_names<'a>(sides: &[Side<'a>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for phase in sides.iter().flat_map(|side| &side.phases) {
        if !names.contains(&phase.name) {
            names.push(phase.name);
        }
    }
    names
}

struct Page<'a> {
    first: &'a Report,
    names: Vec<&'a str>,
    sides: Vec<Side<'a>>,
}

impl Page<'_> {
    fn write(&self) -> String {
        let mut out = String::with_capacity(64 << 10);
        let title = self.title();
        put(
            &mut out,
            format_args!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
                Text(&title)
            ),
        );
        self.write_header(&mut out, &title);
        self.write_verdict(&mut out);
        self.write_tiles(&mut out);
        self.write_overview(&mut out);
        for name in &self.names {
            self.write_phase(&mut out, name);
        }
        self.write_tables(&mut out);
        self.write_footer(&mut out);
        out.push_str("</body>\n</html>\n");
        out
    }

    fn is_alone(&self) -> bool {
        self.sides.len() == 1
    }

    fn title(&self) -> String {
        let labels: Vec<_> = self.sides.iter().map(|side| side.label).collect();
        match labels.as_slice() {
            [one] => format!("{} against {one}", self.first.scenario),
            [all @ .., last] => format!("{}: {} and {last}", self.first.scenario, all.join(", ")),
            [] => self.first.scenario.clone(),
        }
    }

    fn write_header(&self, out: &mut String, title: &str) {
        let repeats = self.sides.iter().map(|side| side.reports.len()).max().unwrap_or(1);
        put(
            out,
            format_args!(
                "<header>\n<h1>{}</h1>\n<p class=\"soft\">{}",
                Text(title),
                moment(self.first.started_unix_ms)
            ),
        );
        if repeats > 1 {
            put(out, format_args!(" · {repeats} repeats; figures are medians, with least and most"));
        }
        out.push_str("</p>\n");
        for side in &self.sides {
            let Some(report) = side.reports.first().filter(|report| !report.command.is_empty()) else {
                continue;
            };
            let who = if self.is_alone() { String::new() } else { format!("{}: ", side.label) };
            put(
                out,
                format_args!(
                    "<code class=\"command\">{}{}</code>\n",
                    Text(who),
                    Text(command(&report.command))
                ),
            );
        }
        out.push_str("</header>\n");
    }

    /// Faults and warnings; what several repeats have in common is said once.
    fn write_verdict(&self, out: &mut String) {
        let mut notes: Vec<(&str, &str, String, usize)> = Vec::new();
        let mut note = |class, head, text: String| match notes.iter_mut().find(|note| note.2 == text) {
            Some(found) => found.3 += 1,
            None => notes.push((class, head, text, 1)),
        };
        for side in &self.sides {
            let who = if self.is_alone() { String::new() } else { format!("{}: ", side.label) };
            for report in side.reports {
                if let Some(aborted) = &report.aborted {
                    note("bad", "Aborted", format!("{who}{aborted}"));
                }
                for (name, count) in report.faults.list().into_iter().filter(|fault| fault.1 > 0) {
                    note("bad", "Fault", format!("{who}{count} {name}"));
                }
                for warning in &report.warnings {
                    note("warn", "Warning", format!("{who}{warning}"));
                }
            }
        }
        let passed = self.sides.iter().flat_map(|side| side.reports).all(Report::passed);
        if passed {
            out.push_str("<p class=\"note good\"><b>Passed</b>Every job accounted for: none lost, duplicated or damaged.</p>\n");
        } else {
            out.push_str("<p class=\"note bad\"><b>Failed</b>Not every job was accounted for, or the run ended before its time.</p>\n");
        }
        for (class, head, text, times) in notes {
            let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
            put(out, format_args!("<p class=\"note {class}\"><b>{head}</b>{}{times}</p>\n", Text(text)));
        }
    }

    /// The figures that matter most: those of the last phase of every server.
    fn write_tiles(&self, out: &mut String) {
        let Some(name) = self.names.last() else { return };
        out.push_str("<section>\n");
        for (index, side) in self.sides.iter().enumerate() {
            let Some(phase) = side.phase(name) else { continue };
            if !self.is_alone() || self.names.len() > 1 {
                let of = if self.names.len() > 1 {
                    format!("{}, {name}", side.label)
                } else {
                    side.label.to_owned()
                };
                put(
                    out,
                    format_args!(
                        "<p class=\"side\"><span class=\"swatch\" style=\"{}\"></span>{}</p>\n",
                        colour(index),
                        Text(of)
                    ),
                );
            }
            out.push_str("<div class=\"tiles\">\n");
            let base = self.sides.first().filter(|_| index > 0).and_then(|base| base.phase(name));
            write_side_tiles(out, phase, base);
            out.push_str("</div>\n");
        }
        out.push_str("</section>\n");
    }

    fn write_footer(&self, out: &mut String) {
        let version = env!("CARGO_PKG_VERSION");
        put(
            out,
            format_args!(
                "<footer><p>gearshard-loadgen {version}. Latency is from the submit to the answer, or as the scenario says; in an open loop it is counted from the moment at which the job was to be sent, so that a server that falls behind cannot hide it, and “uncorrected” is counted from the moment at which it was. p99: 99 of 100 jobs took no longer. CPU is processor time, user and system.</p></footer>\n"
            ),
        );
    }
}

/// Name, what it shows of a phase and how, and the unit if that does not tell it.
type Tile = (&'static str, fn(&Phase) -> Option<f64>, fn(f64) -> String, &'static str);

fn write_side_tiles(out: &mut String, phase: &Merged<'_>, base: Option<&Merged<'_>>) {
    let tiles: [Tile; 6] = [
        ("Throughput", |part| Some(part.jobs_per_second), rate, "jobs/s"),
        ("Median latency", |part| Some(part.latency.as_ref()?.p50_us), micros, ""),
        ("p99 latency", |part| Some(part.latency.as_ref()?.p99_us), micros, ""),
        ("Longest", |part| Some(part.latency.as_ref()?.max_us), micros, ""),
        ("Server CPU a job", |part| Some(part.server.as_ref()?.cpu_us_per_job), micros, ""),
        (
            "Server memory",
            |part| Some(part.server.as_ref()?.rss_after_bytes as f64),
            |size| bytes(size as u64),
            "",
        ),
    ];
    for (name, pick, show, unit) in tiles {
        let Some(spread) = phase.spread(pick) else { continue };
        let shown = show(spread.median);
        let (value, own_unit) = shown.split_once(' ').unwrap_or((&shown, ""));
        put(
            out,
            format_args!(
                "<div class=\"tile\"><div class=\"name\">{name}</div><div class=\"value\">{value} <small>{own_unit} {unit}</small></div><div class=\"more\">"
            ),
        );
        let mut more = Vec::new();
        if spread.repeats > 1 {
            more.push(format!("{} to {}", show(spread.least), show(spread.most)));
        }
        let base = base
            .and_then(|base| base.spread(pick))
            .filter(|base| base.median > 0.0 && name != "Generator busy");
        if let Some(base) = base {
            more.push(format!("{} x the first", number(spread.median / base.median)));
        }
        if name == "Throughput"
            && let Some(offered) = phase.spread(|part| part.offered_per_second)
        {
            more.push(format!("{} offered", rate(offered.median)));
        }
        put(out, format_args!("{}</div></div>\n", more.join("<br/>")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ledger::Faults;
    use crate::process::Spent;
    use crate::report::example;

    /// Names of all elements; panics when one is not closed where it should be.
    fn elements(page: &str) -> Vec<String> {
        let (mut found, mut open) = (Vec::new(), Vec::new());
        let body = page.strip_prefix("<!DOCTYPE html>").expect("a page says what it is");
        for tag in body.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("a tag ends");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name), "closed where another is open");
                continue;
            }
            let name = tag.split([' ', '/']).next().unwrap().to_owned();
            found.push(name.clone());
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
        found
    }

    fn sides() -> Vec<(String, Vec<Report>)> {
        let mut spent = Spent::default();
        (spent.cpu_seconds, spent.rss_after_bytes) = (0.004, 5_000_000);
        let spent = spent.over(1000);
        let repeat = |name: &str| {
            let mut report = example::open_loop(name);
            report.phases[0].server = Some(spent);
            report
        };
        vec![("ours".to_owned(), vec![repeat("a"), repeat("a")]), ("theirs".to_owned(), vec![repeat("a")])]
    }

    #[test]
    fn a_page_is_whole_and_needs_nothing_else() {
        for sides in
            [sides(), vec![sides().remove(0)], vec![("one".to_owned(), vec![example::open_loop("b")])]]
        {
            let page = page(&sides).unwrap();
            let elements = elements(&page);
            let figures = elements.iter().filter(|name| *name == "figure").count();
            assert!(figures >= 3, "{figures} plots");
            assert!(
                !elements.iter().any(|name| ["script", "link", "img", "iframe"].contains(&name.as_str()))
            );
            for outside in ["http:", "https:", "url(", "@import", "NaN", "inf"] {
                assert!(!page.contains(outside), "{outside}");
            }
            assert!(page.contains("Every job accounted for"));
        }
    }

    #[test]
    fn no_text_of_a_report_becomes_markup() {
        let evil = "<script>alert('1')</script>\"&";
        let mut report = example::open_loop(evil);
        report.server = evil.to_owned();
        report.scenario = evil.to_owned();
        report.command = vec![evil.to_owned()];
        report.warnings = vec![evil.to_owned()];
        report.aborted = Some(evil.to_owned());
        report.figures.push(super::super::Figure {
            name: evil.to_owned(),
            value: 1.0,
            unit: evil.to_owned(),
        });
        let sides = [(evil.to_owned(), vec![report.clone()]), ("other".to_owned(), vec![report])];
        let page = page(&sides).unwrap();
        assert!(!elements(&page).contains(&"script".to_owned()));
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)"));
    }

    #[test]
    fn a_page_names_every_fault() {
        let mut sides = sides();
        sides[1].1[0].faults(&Faults { lost: 3, ..Faults::default() });
        let page = page(&sides).unwrap();
        assert!(page.contains("theirs: 3 lost") && page.contains("Failed"));
        assert!(!page.contains("Every job accounted for"));
    }

    #[test]
    fn what_cannot_be_one_page_is_refused() {
        assert!(page(&[]).unwrap_err().0.contains("no report"));
        let mut sides = sides();
        sides[1].1[0].scenario = "bg".to_owned();
        assert!(page(&sides).unwrap_err().0.contains("theirs is of the scenario bg"));
    }
}
