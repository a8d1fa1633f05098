//! Writes the report to wherever the options say.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{Report, csv, hdr, html};
use crate::abort::Abort;
use crate::options::Output;

/// Stands for standard output.
const STDOUT: &str = "-";

impl Output {
    /// Finds out whether every file can be written, before a long run is lost for it.
    ///
    /// # Errors
    /// Names the file that cannot.
    pub(crate) fn check(&self) -> Result<(), Abort> {
        let json = self.json.as_ref().filter(|path| path.as_os_str() != STDOUT);
        let files = [&json.cloned(), &self.html, &self.csv, &self.csv_intervals, &self.hgrm, &self.hlog];
        files.into_iter().flatten().try_for_each(|path| check(path))
    }

    /// Writes the reports of one or several servers, each by its name with one
    /// report a repeat.
    ///
    /// # Errors
    /// When a file cannot be written, or would need to hold more than one report.
    pub(crate) fn write(&self, sides: &[(String, Vec<Report>)]) -> Result<(), Abort> {
        let reports: Vec<&Report> = sides.iter().flat_map(|(_, reports)| reports).collect();
        self.write_stdout(&reports)?;
        if let Some(path) = self.json.as_ref().filter(|path| path.as_os_str() != STDOUT) {
            let report = only(&reports, "--json=FILE")?;
            file(path, |out| report.write_json(out))?;
        }
        if let Some(path) = &self.html {
            let page = html::page(&html::Shown { sides, ..html::Shown::default() })?;
            file(path, |out| Ok(out.write_all(page.as_bytes())?))?;
        }
        if let Some(path) = &self.csv {
            file(path, |out| csv::phases(&reports, out))?;
        }
        if let Some(path) = &self.csv_intervals {
            file(path, |out| csv::intervals(&reports, out))?;
        }
        if let Some(path) = &self.hgrm {
            write_spectra(path, only(&reports, "--hgrm")?)?;
        }
        if let Some(path) = &self.hlog {
            let report = only(&reports, "--hlog")?;
            file(path, |out| hdr::write_log(report, out))?;
        }
        Ok(())
    }

    fn write_stdout(&self, reports: &[&Report]) -> Result<(), Abort> {
        let mut out = io::stdout().lock();
        if self.json.as_ref().is_some_and(|path| path.as_os_str() == STDOUT) {
            only(reports, "--json")?.write_json(&mut out)?;
        } else {
            for (index, report) in reports.iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                report.write_text(&mut out)?;
            }
        }
        Ok(out.flush()?)
    }
}

impl Report {
    fn write_json(&self, out: &mut impl Write) -> Result<(), Abort> {
        serde_json::to_writer_pretty(&mut *out, self).map_err(|error| Abort(error.to_string()))?;
        Ok(writeln!(out)?)
    }
}

fn only<'a>(reports: &[&'a Report], option: &str) -> Result<&'a Report, Abort> {
    match reports {
        [report] => Ok(report),
        _ => Err(Abort(format!("{option} holds one report, not {}; give one file at a time", reports.len()))),
    }
}

/// One distribution goes to the file itself, several to files of its name with
/// that of the distribution before the extension.
fn write_spectra(path: &Path, report: &Report) -> Result<(), Abort> {
    let spectra = hdr::spectra(report)?;
    if spectra.is_empty() {
        return Err(Abort(format!(
            "{} was not written: {} measures no latency",
            path.display(),
            report.scenario
        )));
    }
    for spectrum in &spectra {
        let path = if spectra.len() == 1 { path.to_owned() } else { beside(path, &spectrum.name) };
        file(&path, |out| Ok(spectrum.write(out)?))?;
    }
    Ok(())
}

/// `out.hgrm` and `drain` give `out-drain.hgrm`.
fn beside(path: &Path, name: &str) -> PathBuf {
    let mut file = path.file_stem().unwrap_or_default().to_owned();
    file.push("-");
    file.push(name);
    if let Some(extension) = path.extension() {
        file.push(".");
        file.push(extension);
    }
    path.with_file_name(file)
}

/// Writes a file, and names it when that fails.
pub(crate) fn file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), Abort>,
) -> Result<(), Abort> {
    let wrong = |error: Abort| Abort(format!("cannot write {}: {}", path.display(), error.0));
    let mut out = BufWriter::new(File::create(path).map_err(|error| wrong(error.into()))?);
    write(&mut out).map_err(wrong)?;
    out.flush().map_err(|error| wrong(error.into()))
}

/// Leaves everything as it was. Pipes and devices are not touched, their
/// readers would notice.
fn check(path: &Path) -> Result<(), Abort> {
    let is_new = match fs::metadata(path) {
        Ok(found) if found.is_file() || found.is_dir() => false,
        Ok(_) => return Ok(()),
        Err(_) => true,
    };
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|error| Abort(format!("cannot write {}: {error}", path.display())))?;
    if is_new {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    /// A directory of its own, gone at the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("loadgen-output-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn every_form_is_written_where_the_options_say() {
        let directory = Directory::new("forms");
        let path = |name: &str| Some(directory.0.join(name));
        let output = Output {
            json: path("a.json"),
            html: path("a.html"),
            csv: path("a.csv"),
            csv_intervals: path("b.csv"),
            hgrm: path("a.hgrm"),
            hlog: path("a.hlog"),
        };
        output.check().unwrap();
        assert!(directory.names().is_empty(), "the check leaves nothing behind");
        let report = example::open_loop("some phase");
        output.write(&[("server".to_owned(), vec![report.clone()])]).unwrap();
        assert_eq!(
            directory.names(),
            [
                "a-some-phase-kind-high.hgrm",
                "a-some-phase-uncorrected.hgrm",
                "a-some-phase.hgrm",
                "a.csv",
                "a.hlog",
                "a.html",
                "a.json",
                "b.csv"
            ]
        );
        let read = crate::report::stored::read(&directory.0.join("a.json")).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), serde_json::to_value(report).unwrap());
        assert!(fs::metadata(directory.0.join("a.hlog")).unwrap().len() > 0);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_found_before_the_run() {
        let directory = Directory::new("check");
        let missing = directory.0.join("missing/a.csv");
        let output = Output { csv: Some(missing.clone()), ..Output::default() };
        assert!(output.check().unwrap_err().0.contains(&missing.display().to_string()));
        let output = Output { hgrm: Some(directory.0.clone()), ..Output::default() };
        assert!(output.check().unwrap_err().0.contains("cannot write"));
    }

    #[test]
    fn one_file_does_not_hold_the_json_of_two_runs() {
        let report = example::open_loop("a");
        let output = Output { json: Some(STDOUT.into()), ..Output::default() };
        let sides = [("a".to_owned(), vec![report.clone(), report])];
        assert!(output.write(&sides).unwrap_err().0.contains("one report, not 2"));
    }
}
