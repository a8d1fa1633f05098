//! `gearshard wal`: looks at a log that no server uses, and repairs it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::config::show_size;
use crate::queue::change::StoredJob;
use crate::queue::job::Priority;
use crate::storage::StoreError;
use crate::storage::log::Inspection;
use crate::storage::logs;

const USAGE: &str = "\
usage: gearshard wal COMMAND DIR

Looks at the log of --wal-dir=DIR while no server uses it.

  check   reads all of it; says what is damaged, and then ends with 1
  stat    files, bytes, jobs and functions
  dump    a line for each job: number, function, unique, priority, times lost,
          unix time before which it is not run, length of the workload
  repair  puts what can be read of a damaged log in its place, and keeps the
          damaged one beside it. Jobs whose records are damaged are gone; jobs
          whose end is damaged run again.
";

#[derive(Clone, Copy)]
enum Command {
    Check,
    Stat,
    Dump,
    Repair,
}

/// Does what the words behind `wal` say.
///
/// # Errors
/// When the words are wrong, the log cannot be read, or is damaged and not repaired.
pub(super) fn run(words: &[OsString]) -> Result<(), String> {
    let (command, directory) = match words {
        [word, ..] if ["--help", "-h", "help"].iter().any(|help| word == help) => {
            return print(USAGE).map_err(|error| error.to_string());
        }
        [command, directory] => (command, PathBuf::from(directory)),
        _ => return Err(format!("wal needs a command and a directory\n\n{USAGE}")),
    };
    let command = match command.to_string_lossy().as_ref() {
        "check" => Command::Check,
        "stat" => Command::Stat,
        "dump" => Command::Dump,
        "repair" => Command::Repair,
        other => return Err(format!("wal knows no command {other}\n\n{USAGE}")),
    };
    if !directory.is_dir() {
        return Err(format!("{} is no directory; name that of --wal-dir", directory.display()));
    }
    let (mut logs, mut problems) = (0, 0);
    let looked = logs::inspect(&directory, |number, found| {
        logs += 1;
        problems += found.problems.len();
        let text = match command {
            Command::Check => check(number, &found),
            Command::Stat => stat(number, &found),
            Command::Dump => found.jobs.iter().map(line).collect(),
            Command::Repair => repair(&directory, number, found)?,
        };
        print(&text)
    });
    looked.map_err(|error| error.to_string())?;
    if logs == 0 {
        return Err(format!("there is no log in {}; name the directory of --wal-dir", directory.display()));
    }
    match command {
        Command::Check if problems > 0 => {
            Err(format!("damaged places: {problems}; `gearshard wal repair` goes on without them"))
        }
        _ => Ok(()),
    }
}

fn print(text: &str) -> Result<(), StoreError> {
    let out = StoreError::io("write to", "standard output");
    io::stdout().lock().write_all(text.as_bytes()).map_err(out)
}

fn check(number: u16, found: &Inspection) -> String {
    let mut text = format!(
        "log {number:04}: {} batches, {} jobs in {} files of {}\n",
        found.batches,
        found.jobs.len(),
        found.segments,
        show_size(found.bytes)
    );
    if found.dropped_bytes > 0 {
        let bytes = found.dropped_bytes;
        text += &format!("  {bytes} bytes of an unfinished last write; nobody was told that they are safe\n");
    }
    for problem in &found.problems {
        text += &format!("  {problem}\n");
    }
    text
}

fn stat(number: u16, found: &Inspection) -> String {
    let mut functions: Vec<&[u8]> = found.jobs.iter().map(|job| &*job.function).collect();
    functions.sort_unstable();
    functions.dedup();
    let job_bytes: u64 = found.jobs.iter().map(|job| job.body.len() as u64).sum();
    let facts = [
        ("files", format!("{} of {}", found.segments, show_size(found.bytes))),
        ("batches", found.batches.to_string()),
        ("jobs", format!("{}, {job_bytes} bytes with their uniques", found.jobs.len())),
        ("functions", functions.len().to_string()),
        ("damaged", found.problems.len().to_string()),
    ];
    let facts: String = facts.iter().map(|(name, text)| format!("  {name:<12}{text}\n")).collect();
    format!("log {number:04}\n{facts}")
}

fn line(job: &StoredJob) -> String {
    let priority = match job.priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    };
    let (function, unique) = (job.function.escape_ascii(), job.unique().escape_ascii());
    let (losses, not_before, bytes) = (job.losses, job.not_before_s, job.workload().len());
    format!("{}\t{function}\t{unique}\t{priority}\t{losses}\t{not_before}\t{bytes}\n", job.number)
}

fn repair(directory: &Path, number: u16, found: Inspection) -> Result<String, StoreError> {
    if found.problems.is_empty() {
        return Ok(format!("log {number:04} is whole\n"));
    }
    let (jobs, problems) = (found.jobs.len(), found.problems.len());
    let kept = logs::replace(directory, number, found.jobs)?;
    let kept = kept.display();
    Ok(format!(
        "log {number:04}: {problems} damaged places left out, {jobs} jobs kept; the old one is {kept}\n"
    ))
}
