//! Servers side by side: starts them, lets a scenario run against each in turn,
//! and compares the medians.
//!
//! A run is this program again, as a child with `--json`, so a comparison
//! measures exactly what a single run does. Knows no scenario.

mod gate;
mod measure;
mod page;
mod strace;
mod table;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use serde::Serialize;

use self::gate::{Requirement, Verdict, requirement};
use self::measure::{Numbers, Summary, WHOLE, numbers};
use self::strace::Strace;
use crate::abort::Abort;
use crate::engine::stop;
use crate::options::Output;
use crate::options::values::positive;
use crate::report::Report;
use crate::server;
use crate::server::child::{Directory, LOOK_INTERVAL, Running};
use crate::server::line::{Line, labelled, line, words};

const SYSCALLS: &str = "syscalls_per_job";

/// `compare`
///
/// Exits with 0 when every --require is met, 1 when one is not, 2 when it could
/// not run or a run failed.
#[derive(Args, Debug)]
pub(crate) struct Compare {
    /// A server to start: 'ours=gearshard -t 1'. NAME=VALUE words in front of the
    /// program become its environment; {port} becomes its port. gearshard and
    /// gearmand without {port} get --listen and --port (gearmand, when we are root,
    /// --user=nobody); 'relay' is this program's relay
    #[arg(long = "server", value_name = "LABEL=COMMAND", required = true, value_parser = line, help_heading = "Servers")]
    servers: Vec<Line>,
    /// Leave the servers running between runs, instead of a new one for each
    #[arg(long, help_heading = "Servers")]
    keep: bool,
    /// Cores of the servers: 0 or 0,2
    #[arg(long, value_name = "CORES", value_delimiter = ',', help_heading = "Servers")]
    pin_server: Vec<usize>,
    /// Cores of the generator
    #[arg(long, value_name = "CORES", value_delimiter = ',', help_heading = "Runs")]
    pin_generator: Vec<usize>,
    /// Runs of each server
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = positive, help_heading = "Runs")]
    repeats: u32,
    /// Another scenario for one server: 'nats=neighbour nats --duration 2'
    #[arg(long = "run", value_name = "LABEL=SCENARIO", value_parser = labelled, help_heading = "Runs")]
    runs: Vec<(String, Vec<String>)>,
    /// Count system calls in one more run of this short scenario under strace,
    /// such as 'fg --count 20k --warmup 0': all calls of the run over the jobs of its largest phase
    #[arg(long, value_name = "SCENARIO", help_heading = "Runs")]
    syscalls: Option<String>,
    /// Server that ratios are to; the default is the first
    #[arg(long, value_name = "LABEL", help_heading = "Result")]
    base: Option<String>,
    /// Fail unless this holds: 'ours.cpu_per_job <= 1.2*relay',
    /// 'ours.drain.jobs_per_cpu_second >= 150k'. LABEL.METRIC or LABEL.PHASE.METRIC with
    /// cpu_per_job (us), jobs_per_cpu_second, jobs_per_second, p50, p90, p99, p99_9 (us), rss,
    /// peak_rss (bytes), syscalls_per_job, switches_per_job, noops_per_job, or any figure of the
    /// report with _ for blanks
    #[arg(long = "require", value_name = "REQUIREMENT", value_parser = requirement, help_heading = "Result")]
    requirements: Vec<Requirement>,
    /// Print the comparison as JSON, with the report of every run
    #[arg(long, help_heading = "Result")]
    json: bool,
    /// Write one self-contained HTML page with the servers side by side, for the screen and for paper
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    html: Option<PathBuf>,
    /// The scenario and its options, without --server and --json
    #[arg(last = true, required = true, value_name = "SCENARIO")]
    scenario: Vec<String>,
}

/// What came of a comparison.
#[derive(Serialize)]
struct Compared {
    scenario: Vec<String>,
    repeats: u32,
    base: String,
    servers: Vec<Server>,
    verdicts: Vec<Verdict>,
    warnings: Vec<String>,
}

/// One server of a comparison.
#[derive(Serialize)]
struct Server {
    label: String,
    /// The medians; the phase without a name holds what belongs to the whole run.
    #[serde(rename = "phases")]
    summary: Summary,
    reports: Vec<Report>,
    #[serde(skip)]
    runs: Vec<Numbers>,
}

/// Compares, and says whether all requirements are met.
///
/// # Errors
/// When a server or a run fails.
pub(crate) fn run(options: &Compare) -> Result<bool, Abort> {
    options.check()?;
    let output = Output { html: options.html.clone(), ..Output::default() };
    output.check()?;
    stop::listen_as_parent()?;
    let compared = Comparison { options }.run()?;
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &compared).map_err(|error| Abort(error.to_string()))?;
        writeln!(out)?;
    } else {
        compared.print(&mut out)?;
    }
    out.flush()?;
    if let Some(path) = &options.html {
        page::write(&compared, options, path)?;
    }
    Ok(compared.verdicts.iter().all(|verdict| verdict.met))
}

impl Compare {
    fn base(&self) -> &str {
        self.base.as_deref().unwrap_or(&self.servers[0].label)
    }

    /// What can be known to be wrong before minutes have passed.
    fn check(&self) -> Result<(), Abort> {
        let labels: Vec<&str> = self.servers.iter().map(|line| line.label.as_str()).collect();
        if let Some(twice) = (1..labels.len()).find(|&at| labels[..at].contains(&labels[at])) {
            return Err(Abort(format!("two servers have the label {}", labels[twice])));
        }
        let named = self.requirements.iter().flat_map(Requirement::labels);
        let named = named.chain(self.runs.iter().map(|(label, _)| label.as_str())).chain([self.base()]);
        if let Some(unknown) = named.into_iter().find(|label| !labels.contains(label)) {
            return Err(Abort(format!(
                "no --server has the label {unknown}; there are {}",
                labels.join(", ")
            )));
        }
        if self.syscalls.is_none() && self.requirements.iter().any(|wanted| wanted.wants(SYSCALLS)) {
            return Err(Abort(format!("a requirement on {SYSCALLS} needs --syscalls 'SCENARIO ...'")));
        }
        for line in &self.servers {
            line.at(0, false)?;
        }
        Ok(())
    }

    fn scenario_of(&self, label: &str) -> &[String] {
        let own = self.runs.iter().find(|(of, _)| of == label);
        own.map_or(&self.scenario, |(_, words)| words)
    }
}

struct Comparison<'a> {
    options: &'a Compare,
}

impl Comparison<'_> {
    fn run(&self) -> Result<Compared, Abort> {
        let lines = &self.options.servers;
        let mut kept = Vec::new();
        if self.options.keep {
            for line in lines {
                kept.push(self.start(line)?);
            }
        }
        let mut servers: Vec<Server> = lines
            .iter()
            .map(|line| Server {
                label: line.label.clone(),
                summary: Summary::default(),
                reports: Vec::new(),
                runs: Vec::new(),
            })
            .collect();
        for round in 1..=self.options.repeats {
            for (index, line) in lines.iter().enumerate() {
                eprintln!("run {round} of {}: {}", self.options.repeats, line.label);
                let mut fresh;
                let running = match kept.get_mut(index) {
                    Some(running) => running,
                    None => {
                        fresh = self.start(line)?;
                        &mut fresh
                    }
                };
                let server = &mut servers[index];
                let report = self.once(line, running, self.options.scenario_of(&line.label))?;
                server.runs.push(self.measured(&report, running)?);
                server.reports.push(report);
            }
        }
        drop(kept);
        for (line, server) in lines.iter().zip(&mut servers) {
            self.count_calls(line, server)?;
            server.summary = Summary::of(&server.runs);
        }
        self.judge(servers)
    }

    fn start(&self, line: &Line) -> Result<server::Server, Abort> {
        server::Server::start(line, None, &self.options.pin_server)
    }

    /// Runs a scenario against a server, as a child of its own.
    fn once(&self, line: &Line, server: &mut server::Server, scenario: &[String]) -> Result<Report, Abort> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(scenario).arg(format!("--server={}", server.address));
        command.arg(format!("--server-pid={}", server.pid())).arg("--json");
        let mut generator = Running::start(command, Directory::new()?, &self.options.pin_generator)?;
        let status = loop {
            if let Some(status) = generator.ended()? {
                break status;
            }
            stop::check()?;
            server.check()?;
            std::thread::sleep(LOOK_INTERVAL);
        };
        server.check()?;
        let failed = |why: &str| {
            Abort(format!("{} against {}: {why}:{}", scenario.join(" "), line.label, generator.last_lines()))
        };
        let report = generator.read("stdout")?;
        let report: Report = match serde_json::from_str(&report) {
            Ok(report) => report,
            Err(_) if status.success() => return Err(failed("its report cannot be read")),
            Err(_) => return Err(failed(&format!("could not run ({status})"))),
        };
        if !report.passed() {
            let faults = report.faults.list().into_iter().filter(|(_, count)| *count > 0);
            let mut reasons: Vec<String> = faults.map(|(name, count)| format!("{count} {name}")).collect();
            reasons.extend(report.aborted.clone());
            let what = reasons.join(", ");
            return Err(Abort(format!("{} against {} failed: {what}", scenario.join(" "), line.label)));
        }
        Ok(report)
    }

    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn measured(&self, report: &Report, server: &server::Server) -> Result<Numbers, Abort> {
        let mut numbers = numbers(report);
        let whole = numbers.entry(WHOLE.to_owned()).or_default();
        whole.insert("peak_rss".to_owned(), server.memory_bytes("VmHWM:")? as f64);
        Ok(numbers)
    }

    /// Counts system calls where wanted, apart from the runs that are timed.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn count_calls(&self, line: &Line, server: &mut Server) -> Result<(), Abort> {
        let Some(scenario) = &self.options.syscalls else { return Ok(()) };
        // A server with a scenario of its own has none that could be counted alike.
        if self.options.runs.iter().any(|(label, _)| *label == line.label) {
            return Ok(());
        }
        let scenario = words(scenario).map_err(|error| Abort(format!("--syscalls: {error}")))?;
        eprintln!("counting system calls: {}", line.label);
        let mut running = self.start(line)?;
        let strace = Strace::attach(running.pid())?;
        let report = self.once(line, &mut running, &scenario)?;
        let calls = strace.finish()?;
        let jobs = report.phases.iter().map(|phase| phase.jobs).max().unwrap_or(0);
        let each = calls as f64 / jobs.max(1) as f64;
        for run in &mut server.runs {
            run.entry(WHOLE.to_owned()).or_default().insert(SYSCALLS.to_owned(), each);
        }
        Ok(())
    }

    fn judge(&self, servers: Vec<Server>) -> Result<Compared, Abort> {
        let median = |name: &gate::Name| {
            let server = servers.iter().find(|server| server.label == name.label);
            server.expect("labels were checked").summary.median(name)
        };
        let verdicts =
            self.options.requirements.iter().map(|wanted| wanted.judge(median)).collect::<Result<_, _>>()?;
        let mut warnings = Vec::new();
        for server in &servers {
            for warning in server.reports.iter().flat_map(|report| &report.warnings) {
                let (what, _) = warning.split_once(':').unwrap_or((warning, ""));
                let known = |text: &String| text.starts_with(&format!("{}: {what}:", server.label));
                if !warnings.iter().any(known) {
                    warnings.push(format!("{}: {warning}", server.label));
                }
            }
        }
        Ok(Compared {
            scenario: self.options.scenario.clone(),
            repeats: self.options.repeats,
            base: self.options.base().to_owned(),
            servers,
            verdicts,
            warnings,
        })
    }
}
