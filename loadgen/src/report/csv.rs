//! The report as comma-separated values (RFC 4180), with a line of headings.
//! Times are in microseconds or seconds, memory in bytes, as the headings say;
//! what was not measured is empty.

use std::io::{self, Write};

use super::{Interval, Latency, Part, Phase, Report};
use crate::abort::Abort;

const LATENCIES: [&str; 6] = ["mean_us", "p50_us", "p90_us", "p99_us", "p99_9_us", "max_us"];

/// A row a phase, and one for each of its parts.
pub(super) fn phases(reports: &[&Report], out: &mut impl Write) -> Result<(), Abort> {
    let mut headings: Vec<String> = [
        "scenario",
        "server",
        "started_unix_ms",
        "phase",
        "jobs",
        "seconds",
        "jobs_per_second",
        "offered_per_second",
    ]
    .map(str::to_owned)
    .to_vec();
    headings.extend(LATENCIES.map(str::to_owned));
    headings.extend(LATENCIES.map(|name| format!("uncorrected_{name}")));
    for side in ["server", "generator"] {
        for name in ["cpu_seconds", "cpu_us_per_job", "jobs_per_cpu_second", "switches_per_job"] {
            headings.push(format!("{side}_{name}"));
        }
        headings.push(format!("{side}_rss_before_bytes"));
        headings.push(format!("{side}_rss_after_bytes"));
    }
    headings.push("generator_busy".to_owned());
    row(out, &headings)?;
    for report in reports {
        for phase in &report.phases {
            row(out, &phase_row(report, phase))?;
            for part in &phase.parts {
                row(out, &part_row(report, phase, part, headings.len()))?;
            }
        }
    }
    Ok(())
}

fn phase_row(report: &Report, phase: &Phase) -> Vec<String> {
    let mut cells = vec![
        report.scenario.clone(),
        report.server.clone(),
        report.started_unix_ms.to_string(),
        phase.name.clone(),
        phase.jobs.to_string(),
        phase.seconds.to_string(),
        phase.jobs_per_second.to_string(),
        phase.offered_per_second.map(|rate| rate.to_string()).unwrap_or_default(),
    ];
    cells.extend(latency_cells(phase.latency.as_ref()));
    cells.extend(latency_cells(phase.uncorrected.as_ref()));
    for spent in [&phase.server, &phase.generator] {
        cells.extend(spent.as_ref().map_or_else(Default::default, |spent| {
            [
                spent.cpu_seconds.to_string(),
                spent.cpu_us_per_job.to_string(),
                spent.jobs_per_cpu_second.to_string(),
                spent.switches_per_job.to_string(),
                spent.rss_before_bytes.to_string(),
                spent.rss_after_bytes.to_string(),
            ]
        }));
    }
    cells.push(phase.generator_busy.to_string());
    cells
}

/// A part's row says what is known of it, and is named for its phase and itself.
fn part_row(report: &Report, phase: &Phase, part: &Part, columns: usize) -> Vec<String> {
    let mut cells = vec![
        report.scenario.clone(),
        report.server.clone(),
        report.started_unix_ms.to_string(),
        format!("{} / {}", phase.name, part.name),
        part.jobs.to_string(),
        phase.seconds.to_string(),
        String::new(),
        String::new(),
    ];
    cells.extend(latency_cells(Some(&part.latency)));
    cells.resize(columns, String::new());
    cells
}

/// A row an interval.
pub(super) fn intervals(reports: &[&Report], out: &mut impl Write) -> Result<(), Abort> {
    let mut headings: Vec<String> = ["scenario", "server", "started_unix_ms", "phase"]
        .into_iter()
        .chain(["start_s", "seconds", "jobs", "jobs_per_second"])
        .map(str::to_owned)
        .collect();
    headings.extend(LATENCIES.map(str::to_owned));
    row(out, &headings)?;
    for report in reports {
        for phase in &report.phases {
            for interval in &phase.intervals {
                row(out, &interval_row(report, phase, interval)?)?;
            }
        }
    }
    Ok(())
}

fn interval_row(report: &Report, phase: &Phase, interval: &Interval) -> Result<Vec<String>, Abort> {
    let mut cells = vec![
        report.scenario.clone(),
        report.server.clone(),
        report.started_unix_ms.to_string(),
        phase.name.clone(),
        interval.start_s.to_string(),
        interval.seconds.to_string(),
        interval.jobs.to_string(),
        interval.jobs_per_second().to_string(),
    ];
    let latency = interval.histogram()?.and_then(|histogram| Latency::of(&histogram));
    cells.extend(latency_cells(latency.as_ref()));
    Ok(cells)
}

fn latency_cells(latency: Option<&Latency>) -> [String; 6] {
    latency.map_or_else(Default::default, |all| {
        [all.mean_us, all.p50_us, all.p90_us, all.p99_us, all.p99_9_us, all.max_us]
            .map(|value| value.to_string())
    })
}

fn row(out: &mut impl Write, cells: &[String]) -> io::Result<()> {
    for (index, cell) in cells.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        if cell.contains([',', '"', '\n', '\r']) {
            write!(out, "{comma}\"{}\"", cell.replace('"', "\"\""))?;
        } else {
            write!(out, "{comma}{cell}")?;
        }
    }
    out.write_all(b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    fn written(write: impl Fn(&[&Report], &mut Vec<u8>) -> Result<(), Abort>) -> Vec<Vec<String>> {
        let report = example::open_loop("a \"b\",\nc");
        let mut out = Vec::new();
        write(&[&report], &mut out).unwrap();
        read(&String::from_utf8(out).unwrap())
    }

    /// Rows and cells, quotes undone.
    fn read(text: &str) -> Vec<Vec<String>> {
        let mut rows = vec![vec![String::new()]];
        let mut quoted = false;
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            let cell = rows.last_mut().unwrap().last_mut().unwrap();
            match letter {
                '"' if quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
                '"' => quoted = !quoted,
                ',' if !quoted => rows.last_mut().unwrap().push(String::new()),
                '\r' if !quoted => assert_eq!(letters.next(), Some('\n')),
                letter => cell.push(letter),
            }
            if letter == '\r' && !quoted {
                rows.push(vec![String::new()]);
            }
        }
        assert_eq!(rows.pop(), Some(vec![String::new()]), "the last row ends too");
        rows
    }

    #[test]
    fn a_phase_is_a_row_whatever_its_name() {
        let rows = written(phases);
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row.len() == rows[0].len()));
        assert_eq!(rows[2][3], "a \"b\",\nc / kind high");
        let cell = |name| &rows[1][rows[0].iter().position(|heading| heading == name).unwrap()];
        assert_eq!(cell("phase"), "a \"b\",\nc");
        assert_eq!(cell("offered_per_second"), "500");
        assert_eq!(
            cell("max_us"),
            &example::open_loop("").phases[0].latency.as_ref().unwrap().max_us.to_string()
        );
        assert_eq!(cell("server_cpu_us_per_job"), "");
    }

    #[test]
    fn an_interval_is_a_row_and_may_be_without_latency() {
        let rows = written(intervals);
        assert_eq!(rows.len(), 4);
        assert!(rows.iter().all(|row| row.len() == rows[0].len()));
        let p99 = rows[0].iter().position(|heading| heading == "p99_us").unwrap();
        assert!(rows[1][p99].parse::<f64>().unwrap() > 0.0);
        assert_eq!(rows[3][p99], "");
    }
}
