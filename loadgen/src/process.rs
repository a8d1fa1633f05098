//! What a process costs, read from `/proc`: processor time, switches, memory.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// A server process on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

/// Totals since the process started, and its memory at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time of all threads that are alive.
    pub(crate) cpu_ns: u64,
    /// Times that a thread gave the processor up.
    pub(crate) voluntary: u64,
    /// Times that a thread was made to give it up.
    pub(crate) involuntary: u64,
    /// Resident memory.
    pub(crate) rss_bytes: u64,
}

/// What was used between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// Processor microseconds a job.
    pub(crate) cpu_us_per_job: f64,
    /// Jobs a processor second.
    pub(crate) jobs_per_cpu_second: f64,
    /// Context switches a job, both kinds.
    pub(crate) switches_per_job: f64,
    /// Processor seconds.
    pub(crate) cpu_seconds: f64,
    /// Voluntary context switches.
    pub(crate) voluntary: u64,
    /// Involuntary context switches.
    pub(crate) involuntary: u64,
    /// Resident memory at the start.
    pub(crate) rss_before_bytes: u64,
    /// Resident memory at the end.
    pub(crate) rss_after_bytes: u64,
    jobs: u64,
}

impl Process {
    /// Reads everything.
    pub(crate) fn usage(self) -> io::Result<Usage> {
        let mut usage = Usage { rss_bytes: self.rss_bytes()?, ..Usage::default() };
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            let thread = thread?.path();
            // A thread may end while we look.
            let Ok(status) = fs::read_to_string(thread.join("status")) else { continue };
            usage.voluntary += field(&status, "voluntary_ctxt_switches:");
            usage.involuntary += field(&status, "nonvoluntary_ctxt_switches:");
            // First word: nanoseconds on a processor.
            let schedstat = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
            usage.cpu_ns += schedstat.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        }
        if usage.cpu_ns == 0 {
            usage.cpu_ns = self.cpu_ns_by_ticks()?;
        }
        Ok(usage)
    }

    /// The processors that its threads may run on.
    fn cores(self) -> io::Result<BTreeSet<u32>> {
        let mut cores = BTreeSet::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            // A thread may end while we look.
            let Ok(status) = fs::read_to_string(thread?.path().join("status")) else { continue };
            let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            cores.extend(list.map(ranges).into_iter().flatten().flatten());
        }
        Ok(cores)
    }

    fn rss_bytes(self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        Ok(field(&status, "VmRSS:") * 1024)
    }

    /// For kernels without `schedstat`: to a hundredth of a second.
    fn cpu_ns_by_ticks(self) -> io::Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The command's name, in brackets, may hold spaces; utime and stime are
        // the 12th and 13th word after it, in ticks of a hundredth of a second.
        let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        Ok(ticks * 10_000_000)
    }
}

/// Reads `0-3,8`.
fn ranges(list: &str) -> impl Iterator<Item = std::ops::RangeInclusive<u32>> {
    list.split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    })
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok()).unwrap_or(0)
}

impl Usage {
    /// What was used since `before`, over so many jobs.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn since(&self, before: &Self, jobs: u64) -> Spent {
        let used = Spent {
            cpu_seconds: self.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e9,
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
            rss_before_bytes: before.rss_bytes,
            rss_after_bytes: self.rss_bytes,
            ..Spent::default()
        };
        used.over(jobs)
    }
}

impl Spent {
    /// The same, spent on so many jobs.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn over(self, jobs: u64) -> Self {
        let count = jobs.max(1) as f64;
        Self {
            jobs,
            cpu_us_per_job: self.cpu_seconds * 1e6 / count,
            jobs_per_cpu_second: if self.cpu_seconds > 0.0 { jobs as f64 / self.cpu_seconds } else { 0.0 },
            switches_per_job: (self.voluntary + self.involuntary) as f64 / count,
            ..self
        }
    }

    /// This and what was spent after it.
    pub(crate) fn and(self, later: &Self) -> Self {
        let both = Self {
            cpu_seconds: self.cpu_seconds + later.cpu_seconds,
            voluntary: self.voluntary + later.voluntary,
            involuntary: self.involuntary + later.involuntary,
            rss_after_bytes: later.rss_after_bytes,
            ..self
        };
        both.over(self.jobs + later.jobs)
    }
}

/// What the server and the generator had used by a moment.
pub(crate) struct Meter {
    server: Option<(Process, Usage)>,
    /// Without /proc the generator's own cost stays unknown.
    generator: Option<Usage>,
}

/// What the server, where it is known, and the generator have used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) server: Option<Spent>,
    pub(crate) generator: Option<Spent>,
    /// The processors that the two may run on; nothing when no processor is
    /// open to both, or that is not known.
    pub(crate) cores_shared: Option<usize>,
}

/// This very process.
fn itself() -> Process {
    Process(std::process::id())
}

impl Meter {
    /// Reads both.
    ///
    /// # Errors
    /// When the server's usage cannot be read.
    pub(crate) fn read(server: Option<Process>) -> io::Result<Self> {
        let server = server.map(|process| Ok::<_, io::Error>((process, process.usage()?))).transpose()?;
        Ok(Self { server, generator: itself().usage().ok() })
    }

    /// What was used since then, over so many jobs.
    ///
    /// # Errors
    /// When the server's usage cannot be read.
    pub(crate) fn since(&self, jobs: u64) -> io::Result<Used> {
        let generator = self.generator.and_then(|before| Some(itself().usage().ok()?.since(&before, jobs)));
        let Some((process, before)) = &self.server else {
            return Ok(Used { server: None, generator, cores_shared: None });
        };
        let server = Some(process.usage()?.since(before, jobs));
        let (theirs, ours) = (process.cores()?, itself().cores()?);
        let shared = !theirs.is_disjoint(&ours);
        Ok(Used { server, generator, cores_shared: shared.then(|| theirs.union(&ours).count()) })
    }
}

impl Used {
    /// The same, spent on so many jobs.
    pub(crate) fn over(self, jobs: u64) -> Self {
        let over = |spent: Option<Spent>| spent.map(|spent| spent.over(jobs));
        Self { server: over(self.server), generator: over(self.generator), ..self }
    }

    /// This and what was used after it.
    pub(crate) fn and(self, later: &Self) -> Self {
        let both = |one: Option<Spent>, two: Option<Spent>| Some(one?.and(&two?));
        Self {
            server: both(self.server, later.server),
            generator: both(self.generator, later.generator),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let process = Process(std::process::id());
        // Again when another test has given memory back meanwhile: all are this process.
        let grows = || {
            let before = process.usage().unwrap();
            assert!(before.rss_bytes > 0);
            let mut block = vec![0u8; 64 << 20];
            while process.usage().unwrap().cpu_ns < before.cpu_ns + 1_000_000 {
                for byte in block.iter_mut().step_by(4096) {
                    *byte = byte.wrapping_add(1);
                }
            }
            let spent = process.usage().unwrap().since(&before, 10);
            assert!(spent.cpu_us_per_job >= 100.0);
            std::hint::black_box(&block);
            spent.rss_after_bytes >= spent.rss_before_bytes + (32 << 20)
        };
        assert!((0..100).any(|_| grows()));
    }

    #[test]
    fn processes_that_share_processors_are_told_from_those_that_do_not() {
        let of = |list| ranges(list).flatten().collect::<Vec<_>>();
        assert_eq!((of("\t0-2,8"), of(" 5\n")), (vec![0, 1, 2, 8], vec![5]));
        let cores = itself().cores().unwrap().len();
        assert!(cores > 0);
        let used = Meter::read(Some(itself())).unwrap().since(1).unwrap();
        assert_eq!(used.cores_shared, Some(cores));
        assert_eq!(Meter::read(None).unwrap().since(1).unwrap().cores_shared, None);
    }

    #[test]
    fn ticks_are_read_where_there_is_no_schedstat() {
        assert!(Process(std::process::id()).cpu_ns_by_ticks().is_ok());
        assert!(Process(u32::MAX).usage().is_err());
    }
}
