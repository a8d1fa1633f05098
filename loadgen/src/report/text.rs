//! The report for people.

use std::io::{self, Write};

use super::{Figure, Latency, Phase, Report};
use crate::abort::Abort;
use crate::process::Spent;

impl Report {
    /// Prints the report, as JSON or for people.
    pub(crate) fn print(&self, json: bool) -> Result<(), Abort> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, self).map_err(|error| Abort(error.to_string()))?;
            writeln!(out)?;
        } else {
            self.print_text(&mut out)?;
        }
        Ok(out.flush()?)
    }

    fn print_text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{} against {}", self.scenario, self.server)?;
        if !self.phases.is_empty() {
            writeln!(out)?;
            self.print_phases(out)?;
        }
        if !self.figures.is_empty() {
            writeln!(out)?;
            let width = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or(0);
            for Figure { name, value, unit } in &self.figures {
                writeln!(out, "  {name:<width$}  {} {unit}", number(*value))?;
            }
        }
        writeln!(out)?;
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        for (name, count) in self.faults.list() {
            if count > 0 {
                writeln!(out, "FAULT: {count} {name}")?;
            }
        }
        if let Some(aborted) = &self.aborted {
            writeln!(out, "ABORTED: {aborted}")?;
        }
        writeln!(out, "{}", if self.passed() { "every job accounted for" } else { "FAILED" })
    }

    fn print_phases(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rows = vec![
            [
                "phase",
                "count",
                "a second",
                "p50 us",
                "p90 us",
                "p99 us",
                "p99.9 us",
                "max us",
                "server us each",
                "a cpu second",
                "switches each",
                "server MB",
                "generator busy",
            ]
            .map(str::to_owned),
        ];
        rows.extend(self.phases.iter().map(Phase::row));
        let columns = rows[0].len();
        let widths: Vec<usize> =
            (0..columns).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
        for row in rows {
            write!(out, "  {:<width$}", row[0], width = widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(out, "  {cell:>width$}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

impl Phase {
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn row(&self) -> [String; 13] {
        let dash = || "-".to_owned();
        let latency =
            |pick: fn(&Latency) -> f64| self.latency.as_ref().map_or_else(dash, |all| number(pick(all)));
        let server =
            |pick: fn(&Spent) -> f64| self.server.as_ref().map_or_else(dash, |all| number(pick(all)));
        [
            self.name.clone(),
            self.jobs.to_string(),
            number(self.jobs_per_second),
            latency(|all| all.p50_us),
            latency(|all| all.p90_us),
            latency(|all| all.p99_us),
            latency(|all| all.p99_9_us),
            latency(|all| all.max_us),
            server(|all| all.cpu_us_per_job),
            server(|all| all.jobs_per_cpu_second),
            server(|all| all.switches_per_job),
            server(|all| all.rss_after_bytes as f64 / 1e6),
            format!("{:.0} %", self.generator_busy * 100.0),
        ]
    }
}

/// Three or four significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ledger::Faults;

    fn printed(report: &Report) -> String {
        let mut out = Vec::new();
        report.print_text(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn any_fault_fails_the_run_and_is_named() {
        let mut report = Report::new("fg", "somewhere".to_owned());
        assert!(report.passed() && printed(&report).contains("every job accounted for"));
        report.faults(&Faults { lost: 3, ..Faults::default() });
        assert!(!report.passed() && printed(&report).contains("FAULT: 3 lost"));
    }

    #[test]
    fn an_aborted_run_has_failed() {
        let mut report = Report::new("fg", "somewhere".to_owned());
        report.abort(Abort("no answer".to_owned()));
        assert!(!report.passed() && printed(&report).contains("ABORTED: no answer"));
    }
}
