//! `gearshard import`: brings the jobs of one of gearmand's stores into a log.
//!
//! No server may use the log; the store is only read. What was imported is
//! remembered beside the log ([`Imported`]), so that a run that was cut short
//! can be repeated, and a job that is over does not come back.

use std::io::{self, Write};
use std::path::Path;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::log::{reason, tell_stderr};
use super::options::EngineOptions;
use super::progress::Progress;
use super::{engines, shard_count};
use crate::config::ImportRequest;
use crate::queue::change::{Change, StoredJob};
use crate::reactor::Clock;
use crate::shard::placement::owner_of;
use crate::storage::imported::{Given, Imported, fingerprint};
use crate::storage::logs::{self, Logs};
use crate::storage::rows::job::job_of;
use crate::storage::rows::{BadRow, Row};
use crate::storage::{Store, StoreError};

const USAGE: &str = "\
usage: gearshard import --queue-type=NAME OPTIONS --wal-dir=DIR [--threads=N]

Brings every job of one of gearmand's stores into the log of --wal-dir=DIR, which
is made if it is not there. Stop gearmand and gearshard first. The options of the
store are those of the server, and so is --threads; --config-file is read, too.

The store is left as it is. What was imported is remembered in DIR/imported:
after an import that was cut short, run it again. To import jobs that were
submitted again with the same unique and data, remove that file first.

Ends with 1 when something was not imported.
";

/// Jobs and bytes that are written at once.
const BATCH: (usize, usize) = (8192, 8 << 20);
/// The unique that compares workloads.
const BY_DATA: &[u8] = b"-";

/// Does what the words behind `import` say.
///
/// # Errors
/// When not everything was imported; why.
pub(super) fn run(request: ImportRequest) -> Result<(), String> {
    let (source, directory, threads) = match request {
        ImportRequest::Help => return print(USAGE),
        ImportRequest::Import { source, directory, threads } => (source, directory, threads),
    };
    // Opening it would make it.
    if let EngineOptions::Sqlite { file, .. } = &source
        && !file.is_file()
    {
        return Err(format!("there is no file {}; name that of gearmand's --libsqlite3-db", file.display()));
    }
    let mut engine = engines::open(&source).map_err(|error| error.to_string())?;
    let shards = shard_count(threads).map_err(|error| error.to_string())?;
    let mut import = Import::open(&directory, name_of(&source), shards).map_err(|error| error.to_string())?;
    let read = engine.read(&mut |row| import.take(row));
    if let Some(error) = import.failed {
        return Err(format!("{error}; run the import again, it goes on from here"));
    }
    import.flush().and_then(|()| import.imported.end()).map_err(|error| error.to_string())?;
    let Counts { read: rows, given, known, bad } = import.counts;
    print(&format!("read {rows}, imported {given}, already there {known}, not imported {bad}\n"))?;
    read.map_err(|error| format!("not everything was read: {error}"))?;
    match bad {
        0 => Ok(()),
        _ => Err(format!("rows that were not imported: {bad}")),
    }
}

fn print(text: &str) -> Result<(), String> {
    let printed = io::stdout().lock().write_all(text.as_bytes());
    printed.map_err(|error| format!("cannot write to standard output: {}", reason(&error)))
}

/// What tells a store from all others, as far as its options do.
fn name_of(source: &EngineOptions) -> String {
    let host = |name: &str| {
        if name.eq_ignore_ascii_case("localhost") { "127.0.0.1".into() } else { name.to_owned() }
    };
    let queue_type = source.queue_type();
    let place = match source {
        EngineOptions::Sqlite { file, table, .. } => {
            let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.clone());
            format!("{}\0{table}", file.display())
        }
        EngineOptions::Postgres { conninfo, table } => {
            // A password may change.
            let words = conninfo.split_whitespace().filter(|word| !word.starts_with("password="));
            format!("{}\0{table}", words.collect::<Vec<_>>().join(" "))
        }
        EngineOptions::MySql { host: name, port, database, table, .. } => {
            format!("{}\0{port}\0{database}\0{table}", host(name))
        }
        EngineOptions::Redis { server, port, prefix, .. } => format!("{}\0{port}\0{prefix}", host(server)),
        EngineOptions::Memcached { servers, prefix } => format!("{servers}\0{prefix}"),
    };
    format!("{queue_type}\0{place}")
}

#[derive(Clone, Copy, Default)]
struct Counts {
    read: u64,
    given: u64,
    known: u64,
    bad: u64,
}

struct Import {
    logs: Logs,
    shards: u16,
    imported: Imported,
    source: String,
    /// The last number that was given, without its shard.
    last: u64,
    /// Jobs in the log with a unique: fingerprints of function and unique, and of their workloads.
    named: HashMap<u128, u128>,
    /// What is to be written next: the jobs of each shard, and their rows.
    changes: Vec<Vec<Change>>,
    rows: Vec<Given>,
    bytes: usize,
    counts: Counts,
    progress: Progress,
    /// Nothing more is written after it.
    failed: Option<StoreError>,
}

impl Import {
    fn open(directory: &Path, source: String, shards: u16) -> Result<Self, StoreError> {
        let mut logs = logs::open(directory, shards, |function| owner_of(function, shards).0)?;
        let imported = Imported::open(directory, |number| logs.keeps(number))?;
        let mut named = HashMap::new();
        for log in &mut logs.logs {
            log.replay(&mut |job| {
                if let Some(name) = name_of_job(&job) {
                    named.insert(name, fingerprint(&[job.workload()]));
                }
            })?;
        }
        // As an owner does it: numbers grow with time and are never used again.
        let last = Clock::start().now().unix_us.max(logs.number_max) / u64::from(shards);
        Ok(Self {
            shards,
            imported,
            source,
            last,
            named,
            changes: logs.logs.iter().map(|_| Vec::new()).collect(),
            logs,
            rows: Vec::new(),
            bytes: 0,
            counts: Counts::default(),
            progress: Progress::start(),
            failed: None,
        })
    }

    fn take(&mut self, row: Result<Row<'static>, BadRow>) {
        if self.failed.is_some() {
            return;
        }
        self.counts.read += 1;
        let taken = row.and_then(|row| {
            let name =
                format!("job \"{}\" of function \"{}\"", row.key.escape_ascii(), row.function.escape_ascii());
            let told = |what: &str| BadRow { row: name, what: what.to_owned() };
            self.take_row(&row).map_err(told)
        });
        if let Err(BadRow { row, what }) = taken {
            self.counts.bad += 1;
            tell_stderr(&format!("not imported: {row}: {what}"));
        }
        if self.rows.len() >= BATCH.0 || self.bytes >= BATCH.1 {
            self.failed = self.flush().err();
        }
        let Counts { read, given, known, .. } = self.counts;
        self.progress.tell(|| format!("read {read} rows, imported {given}, already there {known}"));
    }

    fn take_row(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let (mut job, _) = job_of(row)?;
        // What a job is changes with all of it.
        let rest = format!("{:?} {}", row.priority, row.not_before_s);
        let print =
            fingerprint(&[self.source.as_bytes(), &row.function, &row.key, &row.data, rest.as_bytes()]);
        if self.imported.knows(print) {
            self.counts.known += 1;
            return Ok(());
        }
        if let Some(name) = name_of_job(&job) {
            let data = fingerprint(&[job.workload()]);
            match self.named.entry(name) {
                Entry::Vacant(entry) => drop(entry.insert(data)),
                Entry::Occupied(entry) if *entry.get() == data => {
                    self.counts.known += 1;
                    self.rows.push((print, 0));
                    return Ok(());
                }
                Entry::Occupied(_) => {
                    return Err("the log has a job of this function and unique with another workload; \
                                import again when it is over");
                }
            }
        }
        let owner = owner_of(&job.function, self.shards);
        self.last += 1;
        job.number = self.last * u64::from(self.shards) + u64::from(owner.0);
        self.bytes += job.body.len();
        self.rows.push((print, job.number));
        self.changes[owner.index()].push(Change::Added(job));
        self.counts.given += 1;
        Ok(())
    }

    /// Writes what was taken.
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.imported.begin(&self.rows)?;
        for (log, changes) in self.logs.logs.iter_mut().zip(&mut self.changes) {
            log.write(changes)?;
            changes.clear();
        }
        for log in &mut self.logs.logs {
            log.sync()?;
        }
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// What no two jobs in a queue share, if they do not share everything.
fn name_of_job(job: &StoredJob) -> Option<u128> {
    match job.unique() {
        b"" => None,
        BY_DATA => Some(fingerprint(&[&job.function, BY_DATA, job.workload()])),
        unique => Some(fingerprint(&[&job.function, unique])),
    }
}
