//! The report for people, at most a hundred columns wide.

use std::io::{self, Write};

use super::units::{bytes, count, micros, moment, number, percent, rate, seconds, written_in};
use super::{Figure, Latency, Report};
use crate::process::Spent;

const COLUMNS: usize = 100;
/// A name longer than this has a line of its own above its figures.
const NAME_MAX: usize = 24;

impl Report {
    /// Writes the summary.
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{} against {}, {}", self.scenario, self.server, moment(self.started_unix_ms))?;
        for table in [self.times(), self.costs()].iter().filter(|table| table.len() > 1) {
            writeln!(out)?;
            write_table(table, out)?;
        }
        if !self.figures.is_empty() {
            writeln!(out)?;
            self.write_figures(out)?;
        }
        writeln!(out)?;
        self.write_verdict(out)
    }

    /// How many, how fast, how late.
    fn times(&self) -> Vec<Vec<String>> {
        let mut rows = vec![
            ["phase", "jobs", "time", "jobs/s", "p50", "p90", "p99", "p99.9", "max"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for phase in &self.phases {
            let mut row = vec![
                phase.name.clone(),
                count(phase.jobs),
                seconds(phase.seconds),
                rate(phase.jobs_per_second),
            ];
            row.extend(latency_cells(phase.latency.as_ref()));
            rows.push(row);
            if phase.offered_per_second.is_some() || phase.uncorrected.is_some() {
                let offered = phase.offered_per_second.map(rate).unwrap_or_default();
                // The clock of these times starts only when a late job is sent at last.
                let mut row =
                    vec!["  offered; uncorrected".to_owned(), String::new(), String::new(), offered];
                row.extend(latency_cells(phase.uncorrected.as_ref()));
                rows.push(row);
            }
            for part in &phase.parts {
                let mut row =
                    vec![format!("  {}", part.name), count(part.jobs), String::new(), String::new()];
                row.extend(latency_cells(Some(&part.latency)));
                rows.push(row);
            }
        }
        rows
    }

    /// What it cost the server and the generator.
    fn costs(&self) -> Vec<Vec<String>> {
        let mut rows = vec![
            ["server's cost", "CPU a job", "jobs a CPU second", "switches a job", "memory", "generator busy"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for phase in &self.phases {
            let server = |pick: fn(&Spent) -> String| phase.server.as_ref().map_or_else(dash, pick);
            rows.push(vec![
                phase.name.clone(),
                server(|spent| micros(spent.cpu_us_per_job)),
                server(|spent| rate(spent.jobs_per_cpu_second)),
                server(|spent| number(spent.switches_per_job)),
                server(|spent| bytes(spent.rss_after_bytes)),
                percent(phase.generator_busy),
            ]);
        }
        rows
    }

    fn write_figures(&self, out: &mut impl Write) -> io::Result<()> {
        let width = |name: &str| name.chars().count();
        let names = self.figures.iter().map(|figure| width(&figure.name)).max().unwrap_or(0);
        let value = |figure: &Figure| written_in(&figure.unit)(figure.value);
        let values = self.figures.iter().map(|figure| width(&value(figure))).max().unwrap_or(0);
        for figure in &self.figures {
            let line = format!("  {:<names$}  {:>values$} {}", figure.name, value(figure), figure.unit);
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn write_verdict(&self, out: &mut impl Write) -> io::Result<()> {
        for warning in &self.warnings {
            write_wrapped("warning: ", warning, out)?;
        }
        for (name, count) in self.faults.list().into_iter().filter(|fault| fault.1 > 0) {
            writeln!(out, "FAULT: {count} {name}")?;
        }
        if let Some(aborted) = &self.aborted {
            write_wrapped("ABORTED: ", aborted, out)?;
        }
        writeln!(out, "{}", if self.passed() { "every job accounted for" } else { "FAILED" })
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn latency_cells(latency: Option<&Latency>) -> [String; 5] {
    latency.map_or_else(
        || std::array::from_fn(|_| dash()),
        |all| [all.p50_us, all.p90_us, all.p99_us, all.p99_9_us, all.max_us].map(micros),
    )
}

/// The first row are headings, the first column names.
fn write_table(rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.filter(|width| column > 0 || *width <= NAME_MAX).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in rows {
        let mut name = row[0].as_str();
        if name.chars().count() > NAME_MAX {
            writeln!(out, "  {name}")?;
            name = "";
        }
        write!(out, "  {name:<width$}", width = widths[0])?;
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            write!(out, "  {cell:>width$}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Breaks a text between words; what follows the first line is set in.
fn write_wrapped(head: &str, text: &str, out: &mut impl Write) -> io::Result<()> {
    let mut line = head.trim_end().to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            writeln!(out, "{line}")?;
            line = " ".repeat(head.len() - 1);
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(out, "{line}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abort::Abort;
    use crate::engine::ledger::Faults;
    use crate::report::example;

    fn printed(report: &Report) -> String {
        let mut out = Vec::new();
        report.write_text(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn any_fault_fails_the_run_and_is_named() {
        let mut report = Report::new("fg", "somewhere".to_owned());
        assert!(report.passed() && printed(&report).contains("every job accounted for"));
        report.faults(&Faults { lost: 3, ..Faults::default() });
        assert!(!report.passed() && printed(&report).contains("FAULT: 3 lost"));
        assert!(!printed(&report).contains("every job accounted for"));
    }

    #[test]
    fn an_aborted_run_has_failed() {
        let mut report = Report::new("fg", "somewhere".to_owned());
        report.abort(Abort("no answer".to_owned()));
        assert!(!report.passed() && printed(&report).contains("ABORTED: no answer"));
    }

    #[test]
    fn an_open_loop_shows_both_latencies_below_each_other() {
        let text = printed(&example::open_loop("steady"));
        let line = |start: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(start));
            line.unwrap_or_else(|| panic!("no {start} in {text}"))
        };
        let (corrected, uncorrected) = (line("steady"), line("offered; uncorrected"));
        assert!(uncorrected.contains("500") && uncorrected.contains("70."), "{text}");
        assert_eq!(corrected.len(), uncorrected.len(), "{text}");
    }

    #[test]
    fn the_summary_fits_a_hundred_columns() {
        let mut report = example::open_loop("a phase whose name is longer than its column is wide");
        report.phases[0].jobs = 8_000_000_000;
        report.phases[0].server = Some(Spent::default());
        report.phases.extend(example::open_loop("short").phases);
        report.warnings.push("the generator had too much to do ".repeat(9));
        report.figure("memory", 12_345.0, "bytes");
        let text = printed(&report);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert!(text.contains("\n           generator") || text.contains("\n         "), "{text}");
    }
}
