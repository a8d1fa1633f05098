//! `gearshard wal`: looks at a log that no server uses, and repairs it.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hashbrown::HashSet;

use crate::config::show_size;
use crate::queue::change::StoredJob;
use crate::queue::job::Priority;
use crate::server::progress::Progress;
use crate::storage::StoreError;
use crate::storage::disk::RealDisk;
use crate::storage::log::Inspection;
use crate::storage::logs;

const USAGE: &str = "\
usage: gearshard wal COMMAND DIR

Looks at the log of --wal-dir=DIR while no server uses it.

  check   reads all of it; says what is damaged, and then ends with 1
  stat    files, bytes, jobs and functions
  dump    a line for each job: number, function, unique, priority, times lost,
          unix time before which it is not run, length of the workload; of a dead
          letter also what killed it and the unix time when
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
    let mut progress = Progress::start();
    let looked = logs::inspect(
        &directory,
        |read, total| show(&mut progress, read, total),
        |number, found| {
            logs += 1;
            problems += found.problems().len();
            match command {
                Command::Check => print(&check(number, &found)),
                Command::Stat => print(&stat(number, &found)?),
                Command::Dump => dump(&found),
                Command::Repair => print(&repair(&directory, number, &found)?),
            }
        },
    );
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

fn show(progress: &mut Progress, read: u64, total: u64) {
    let share = 100 * read / total.max(1);
    progress.tell(|| format!("read {} of {} ({share} %)", show_size(read), show_size(total)));
}

fn print(text: &str) -> Result<(), StoreError> {
    let out = StoreError::io("write to", "standard output");
    io::stdout().lock().write_all(text.as_bytes()).map_err(out)
}

fn check(number: u16, found: &Inspection<RealDisk>) -> String {
    let mut text = format!(
        "log {number:04}: {} batches, {} jobs in {} files of {}\n",
        found.batches(),
        found.jobs(),
        found.segments(),
        show_size(found.bytes())
    );
    if found.dropped_bytes() > 0 {
        let bytes = found.dropped_bytes();
        text += &format!("  {bytes} bytes of an unfinished last write; nobody was told that they are safe\n");
    }
    for problem in found.problems() {
        text += &format!("  {problem}\n");
    }
    text
}

fn stat(number: u16, found: &Inspection<RealDisk>) -> Result<String, StoreError> {
    let mut functions = HashSet::new();
    let (mut job_bytes, mut dead) = (0, 0);
    found.replay::<StoreError>(|job| {
        job_bytes += job.body.len();
        dead += u64::from(job.death.is_some());
        functions.insert(job.function.to_vec());
        Ok(())
    })?;
    let facts = [
        ("files", format!("{} of {}", found.segments(), show_size(found.bytes()))),
        ("batches", found.batches().to_string()),
        ("jobs", format!("{}, {job_bytes} bytes with their uniques", found.jobs())),
        ("dead", dead.to_string()),
        ("functions", functions.len().to_string()),
        ("damaged", found.problems().len().to_string()),
    ];
    let facts: String = facts.iter().map(|(name, text)| format!("  {name:<12}{text}\n")).collect();
    Ok(format!("log {number:04}\n{facts}"))
}

fn dump(found: &Inspection<RealDisk>) -> Result<(), StoreError> {
    let failed = || StoreError::io("write to", "standard output");
    let mut out = BufWriter::new(io::stdout().lock());
    found.replay(|job| out.write_all(line(&job).as_bytes()).map_err(failed()))?;
    out.flush().map_err(failed())
}

fn line(job: &StoredJob) -> String {
    let priority = match job.priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    };
    let (function, unique) = (job.function.escape_ascii(), job.unique().escape_ascii());
    let (losses, not_before, bytes) = (job.losses, job.not_before_s, job.workload().len());
    let death = job.death.map(|death| format!("\t{}\t{}", death.cause, death.at_s)).unwrap_or_default();
    format!("{}\t{function}\t{unique}\t{priority}\t{losses}\t{not_before}\t{bytes}{death}\n", job.number)
}

fn repair(directory: &Path, number: u16, found: &Inspection<RealDisk>) -> Result<String, StoreError> {
    let problems = found.problems().len();
    if problems == 0 {
        return Ok(format!("log {number:04} is whole\n"));
    }
    let kept = logs::replace(directory, number, found)?;
    let (jobs, kept) = (found.jobs(), kept.display());
    Ok(format!(
        "log {number:04}: {problems} damaged places left out, {jobs} jobs kept; the old one is {kept}\n"
    ))
}
