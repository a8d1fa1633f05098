//! Reports that were stored as JSON, read again and written in other forms.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::{FORMAT, Report};
use crate::abort::Abort;
use crate::options::Output;

/// No report comes near this; a file beyond it is something else.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// `report`
#[derive(Args, Debug)]
pub(crate) struct Stored {
    /// Files that --json wrote. NAME= before one names its server; files of the same name are repeats of one measurement
    #[arg(required = true, value_name = "[NAME=]FILE")]
    files: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// Reads the files and writes what the options ask for; whether all runs were good.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn show(stored: &Stored) -> Result<bool, Abort> {
    stored.output.check()?;
    let mut sides: Vec<(String, Vec<Report>)> = Vec::new();
    for file in &stored.files {
        let (name, path) = named(file);
        let report = read(&path)?;
        match sides.iter_mut().find(|side| side.0 == name) {
            Some(side) => side.1.push(report),
            None => sides.push((name, vec![report])),
        }
    }
    stored.output.write(&sides)?;
    Ok(sides.iter().flat_map(|(_, reports)| reports).all(Report::passed))
}

/// The name of a server, and the file of its report.
fn named(file: &str) -> (String, PathBuf) {
    match file.split_once('=') {
        Some((name, path)) if !Path::new(file).exists() => (name.to_owned(), path.into()),
        _ => {
            let stem = Path::new(file).file_stem().unwrap_or_default();
            (stem.to_string_lossy().into_owned(), file.into())
        }
    }
}

/// Reads one report.
///
/// # Errors
/// When the file is none, or was written in another format.
pub(crate) fn read(path: &Path) -> Result<Report, Abort> {
    let wrong = |reason: String| Abort(format!("cannot read {}: {reason}", path.display()));
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong("it is too large for a report".to_owned()));
    }
    parse(&text).map_err(wrong)
}

fn parse(text: &[u8]) -> Result<Report, String> {
    #[derive(Deserialize)]
    struct Format {
        format: Option<u32>,
    }
    let Format { format } =
        serde_json::from_slice(text).map_err(|error| format!("it is not the JSON of a report: {error}"))?;
    match format {
        Some(FORMAT) => {}
        Some(other) => {
            return Err(format!(
                "its format is {other}, this program reads {FORMAT}; use the program that wrote it"
            ));
        }
        None => return Err("it has no field \"format\"; give a file that --json wrote".to_owned()),
    }
    let report: Report =
        serde_json::from_slice(text).map_err(|error| format!("it is not a whole report: {error}"))?;
    for phase in &report.phases {
        let parts = phase.parts.iter().map(|part| &part.latency);
        for latency in [&phase.latency, &phase.uncorrected].into_iter().flatten().chain(parts) {
            latency.histogram().map_err(|error| error.0)?;
        }
        for interval in &phase.intervals {
            interval.histogram().map_err(|error| error.0)?;
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn a_report_comes_back_as_it_was_written() {
        let report = example::open_loop("a");
        let text = serde_json::to_vec(&report).unwrap();
        let read = parse(&text).unwrap();
        assert_eq!(serde_json::to_vec(&read).unwrap(), text);
    }

    #[test]
    fn what_is_no_report_is_refused_with_the_reason() {
        let mut report = serde_json::to_value(example::open_loop("a")).unwrap();
        let refused = |report: &serde_json::Value| parse(report.to_string().as_bytes()).unwrap_err();
        report["format"] = 2.into();
        assert!(refused(&report).contains("its format is 2, this program reads 1"));
        report["format"] = FORMAT.into();
        report["phases"][0]["latency"]["histogram"] = "AAAA".into();
        assert!(refused(&report).contains("histogram cannot be read"));
        report["phases"] = "none".into();
        assert!(refused(&report).contains("not a whole report"));
        report.as_object_mut().unwrap().remove("format");
        assert!(refused(&report).contains("no field \"format\""));
        assert!(parse(b"<html>").unwrap_err().contains("not the JSON"));
        assert!(read(Path::new("/nonexistent")).unwrap_err().0.contains("/nonexistent"));
    }

    #[test]
    fn a_file_may_be_given_the_name_of_its_server() {
        assert_eq!(named("ours=dir/a.json"), ("ours".to_owned(), "dir/a.json".into()));
        assert_eq!(named("dir/a.json"), ("a".to_owned(), "dir/a.json".into()));
    }
}
