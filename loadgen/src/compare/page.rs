//! A comparison as an HTML page: the reports of all runs, with what the
//! comparison knows beyond them.

use std::io::Write as _;
use std::path::Path;

use super::measure::{Numbers, WHOLE};
use super::{Compare, Compared, SYSCALLS};
use crate::abort::Abort;
use crate::report::html::{self, Shown, Started};
use crate::report::{Report, output, units};
use crate::server::line::Line;

/// Writes the page.
///
/// # Errors
/// When the runs have no phase in common, or the file cannot be written.
pub(super) fn write(compared: &Compared, options: &Compare, path: &Path) -> Result<(), Abort> {
    let with_figures = |(report, numbers)| with_figures(report, numbers);
    let sides: Vec<(String, Vec<Report>)> = compared
        .servers
        .iter()
        .map(|server| {
            let reports = server.reports.iter().zip(&server.runs).map(with_figures);
            (server.label.clone(), reports.collect())
        })
        .collect();
    let lines: Vec<Started> = options.servers.iter().map(|line| started(line, options)).collect();
    let verdicts: Vec<(bool, String)> =
        compared.verdicts.iter().map(|verdict| (verdict.met, verdict.with_sides())).collect();
    let command: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let page = html::page(&Shown {
        sides: &sides,
        base: Some(&compared.base),
        command: Some(&command),
        lines: &lines,
        verdicts: &verdicts,
    })?;
    output::file(path, |out| Ok(out.write_all(page.as_bytes())?))
}

/// A report, and what was measured of its run from outside.
fn with_figures(report: &Report, numbers: &Numbers) -> Report {
    let mut report = report.clone();
    let whole = |name: &str| numbers.get(WHOLE).and_then(|whole| whole.get(name)).copied();
    if let Some(calls) = whole(SYSCALLS) {
        report.figure("system calls", calls, "a job");
    }
    if let Some(bytes) = whole("peak_rss") {
        report.figure("most server memory", bytes / 1e6, "MB");
    }
    report
}

fn started(line: &Line, options: &Compare) -> Started {
    Started {
        label: line.label.clone(),
        server: units::command(&line.words()),
        scenario: units::command(options.scenario_of(&line.label)),
    }
}
