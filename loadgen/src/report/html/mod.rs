//! The report as one HTML page that needs nothing else: no network, no script,
//! no fonts. It is made to be read on a screen, light or dark, and on A4.

#[cfg(test)]
#[path = "../../../../tests/support/markup.rs"]
mod elements;
mod figures;
mod head;
mod markup;
mod merged;
mod plot;
mod tables;

use self::markup::Text;
use self::merged::Side;
use self::plot::put;
use super::Report;
use crate::abort::Abort;

const STYLE: &str = include_str!("style.css");

/// What a page shows.
#[derive(Clone, Copy, Default)]
pub(crate) struct Shown<'a> {
    /// One or several servers, each by its name with one report a repeat. Repeats
    /// are put together: figures are medians, shown with their spread, and latencies
    /// are those of all repeats.
    pub(crate) sides: &'a [(String, Vec<Report>)],
    /// The server that ratios are to; the first when it is not said.
    pub(crate) base: Option<&'a str>,
    /// The command that ran all of it, where it is one.
    pub(crate) command: Option<&'a [String]>,
    /// What each server was started with, and what was run against it.
    pub(crate) lines: &'a [Started],
    /// Requirements, and whether they are met.
    pub(crate) verdicts: &'a [(bool, String)],
}

/// How a server came to be measured.
pub(crate) struct Started {
    pub(crate) label: String,
    pub(crate) server: String,
    pub(crate) scenario: String,
}

/// The page.
///
/// # Errors
/// When there is nothing to show, the reports have nothing in common, or a
/// histogram cannot be read.
pub(crate) fn page(shown: &Shown<'_>) -> Result<String, Abort> {
    let first = shown.sides.iter().find_map(|(_, reports)| reports.first());
    let first = first.ok_or_else(|| Abort("there is no report to make a page of".to_owned()))?;
    let has_phase = |name: &str| first.phases.iter().any(|phase| phase.name == name);
    for (label, reports) in shown.sides {
        let other = |report: &&Report| {
            report.scenario != first.scenario && !report.phases.iter().any(|phase| has_phase(&phase.name))
        };
        if let Some(other) = reports.iter().find(other) {
            return Err(Abort(format!(
                "{label} is of the scenario {}, the first report of {}; they have no phase in common to be shown side by side",
                other.scenario, first.scenario
            )));
        }
    }
    let with_reports = shown.sides.iter().filter(|(_, reports)| !reports.is_empty());
    let sides: Vec<Side<'_>> =
        with_reports.map(|(label, reports)| Side::new(label, reports)).collect::<Result<_, _>>()?;
    Ok(Page { shown: *shown, first, names: phase_names(&sides), sides }.write())
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
    shown: Shown<'a>,
    first: &'a Report,
    names: Vec<&'a str>,
    sides: Vec<Side<'a>>,
}

impl<'a> Page<'a> {
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
        self.write_comparison(&mut out);
        self.write_overview(&mut out);
        for name in &self.names {
            self.write_phase(&mut out, name);
        }
        self.write_tables(&mut out);
        self.write_command(&mut out);
        write_footer(&mut out);
        out.push_str("</body>\n</html>\n");
        out
    }

    fn is_alone(&self) -> bool {
        self.sides.len() == 1
    }

    /// The server that ratios are to.
    fn base(&self) -> &Side<'a> {
        let named = self.shown.base.and_then(|base| self.sides.iter().find(|side| side.label == base));
        named.unwrap_or(&self.sides[0])
    }
}

fn write_footer(out: &mut String) {
    let version = env!("CARGO_PKG_VERSION");
    put(
        out,
        format_args!(
            "<footer><p>gearshard-loadgen {version}. Latency is from the submit to the answer, or as the scenario says; in an open loop it is counted from the moment at which the job was to be sent, so that a server that falls behind cannot hide it, and “uncorrected” is counted from the moment at which it was. p99: 99 of 100 jobs took no longer. CPU is processor time, user and system.</p></footer>\n"
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::elements::elements;
    use super::*;
    use crate::engine::ledger::Faults;
    use crate::process::Spent;
    use crate::report::example;

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

    fn page(sides: &[(String, Vec<Report>)]) -> Result<String, Abort> {
        super::page(&Shown { sides, ..Shown::default() })
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
            assert!(page.contains("<td class=\"part\">kind high</td><td>1,000</td>"), "{page}");
            assert_eq!(page.contains("Latency of parts of the jobs"), sides.len() == 1);
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
    fn ratios_are_to_the_base_and_requirements_are_judged() {
        let mut sides = sides();
        sides[0].1.iter_mut().for_each(|report| report.phases[0].jobs_per_second *= 3.0);
        let lines = [Started {
            label: "theirs".to_owned(),
            server: "server -p <1>".to_owned(),
            scenario: "fg".to_owned(),
        }];
        let verdicts = [(true, "theirs.p50 < 9".to_owned()), (false, "ours.p50 < 1".to_owned())];
        let command = ["gearshard-loadgen".to_owned(), "compare".to_owned()];
        let shown = Shown {
            sides: &sides,
            base: Some("theirs"),
            command: Some(&command),
            lines: &lines,
            verdicts: &verdicts,
        };
        let page = super::page(&shown).unwrap();
        elements(&page);
        assert!(page.contains("×3.00") && page.contains("server -p &lt;1&gt;"), "{page}");
        assert!(page.contains("<b>Met</b>theirs.p50") && page.contains("<b>Not met</b>ours.p50"));
        assert!(page.contains(">gearshard-loadgen compare</code>"));
        assert_eq!(page.matches("class=\"command\"").count(), 1);
    }

    #[test]
    fn what_cannot_be_one_page_is_refused() {
        assert!(page(&[]).unwrap_err().0.contains("no report"));
        let mut sides = sides();
        sides[1].1[0].scenario = "bg".to_owned();
        assert!(page(&sides).is_ok(), "they have a phase in common");
        sides[1].1[0].phases[0].name = "b".to_owned();
        assert!(page(&sides).unwrap_err().0.contains("theirs is of the scenario bg"));
    }
}
