//! A comparison for people.

use std::io::{self, Write};

use super::gate::Verdict;
use super::measure::{Spread, WHOLE};
use super::{Compared, Server};

/// What is shown of a phase, if it is there, and how it is called.
const SHOWN: [(&str, &str, f64); 10] = [
    ("cpu_per_job", "server CPU a job, us", 1.0),
    ("jobs_per_cpu_second", "jobs a server-CPU-second", 1.0),
    ("jobs_per_second", "jobs a second", 1.0),
    ("p50", "latency p50, us", 1.0),
    ("p99", "latency p99, us", 1.0),
    ("p99_9", "latency p99.9, us", 1.0),
    ("switches_per_job", "context switches a job", 1.0),
    ("syscalls_per_job", "system calls a job", 1.0),
    ("rss", "server memory, MB", 1e-6),
    ("peak_rss", "most server memory, MB", 1e-6),
];

impl Compared {
    /// Prints a table for each phase, and the verdicts.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{}; {} runs each, in turns: median [least .. most] +-MAD xratio to {}",
            self.scenario.join(" "),
            self.repeats,
            self.base
        )?;
        let mut phases: Vec<&String> = Vec::new();
        for phase in self.servers.iter().flat_map(|server| server.summary.0.keys()) {
            if !phases.contains(&phase) {
                phases.push(phase);
            }
        }
        // What belongs to no phase comes last.
        phases.sort_by_key(|phase| phase.as_str() == WHOLE);
        for phase in phases {
            self.print_phase(out, phase)?;
        }
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        for verdict in &self.verdicts {
            let word = if verdict.met { "met" } else { "NOT MET" };
            writeln!(out, "{word}: {}", verdict.with_sides())?;
        }
        Ok(())
    }

    fn print_phase(&self, out: &mut impl Write, phase: &str) -> io::Result<()> {
        let mut metrics: Vec<(String, String, f64)> =
            SHOWN.iter().map(|&(key, name, factor)| (key.to_owned(), name.to_owned(), factor)).collect();
        if phase == WHOLE {
            for metric in self
                .servers
                .iter()
                .filter_map(|server| server.summary.0.get(phase))
                .flat_map(|all| all.keys())
            {
                if !metrics.iter().any(|(key, ..)| key == metric) {
                    metrics.push((metric.clone(), metric.replace('_', " "), 1.0));
                }
            }
        }
        let base = self.servers.iter().find(|server| server.label == self.base);
        let of = |server: &Server, key: &str| server.summary.0.get(phase)?.get(key).copied();
        let mut rows = vec![vec![if phase == WHOLE { "whole run" } else { phase }.to_owned()]];
        rows[0].extend(self.servers.iter().map(|server| server.label.clone()));
        for (key, name, factor) in metrics {
            let against = base.and_then(|base| of(base, &key));
            let cells: Vec<String> = self
                .servers
                .iter()
                .map(|server| {
                    of(server, &key).map_or_else(|| "-".to_owned(), |spread| cell(spread, against, factor))
                })
                .collect();
            if cells.iter().any(|cell| cell != "-") {
                rows.push(std::iter::once(name).chain(cells).collect());
            }
        }
        print_rows(out, &rows)
    }
}

impl Verdict {
    /// The requirement, and the figures that decided it.
    pub(super) fn with_sides(&self) -> String {
        format!("{}  ({} against {})", self.requirement, number(self.left), number(self.right))
    }
}

fn cell(spread: Spread, base: Option<Spread>, factor: f64) -> String {
    let [median, min, max, mad] =
        [spread.median, spread.min, spread.max, spread.mad].map(|value| number(value * factor));
    let ratio = match base {
        Some(base) if base.median != 0.0 => format!(" x{:.2}", spread.median / base.median),
        _ => String::new(),
    };
    format!("{median} [{min} .. {max}] +-{mad}{ratio}")
}

fn print_rows(out: &mut impl Write, rows: &[Vec<String>]) -> io::Result<()> {
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    writeln!(out)?;
    for row in rows {
        write!(out, "  {:<width$}", row[0], width = widths[0])?;
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            write!(out, "  {cell:>width$}")?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}

/// Three or four significant digits, thousands as `k`.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e7 => format!("{:.1}M", value / 1e6),
        size if size >= 1e4 => format!("{:.1}k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
