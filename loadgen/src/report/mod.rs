//! What came of a run. The [`Report`] is plain data that goes to JSON and comes
//! back from it; every other form is made of it: [`text`] for people, [`csv`]
//! for tables, [`hdr`] for tools that know histograms, [`html`] to look at, to
//! print and to keep.

mod csv;
#[cfg(test)]
mod example;
mod hdr;
pub(crate) mod html;
mod latency;
pub(crate) mod output;
pub(crate) mod stored;
mod text;
pub(crate) mod units;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::abort::Abort;
use crate::engine::fleet::Outcome;
use crate::engine::ledger::Faults;
use crate::process::Spent;
pub(crate) use latency::{Interval, Latency};

/// The version of the report's JSON: goes up when a field changes its meaning.
pub(crate) const FORMAT: u32 = 1;

/// One part of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Phase {
    pub(crate) name: String,
    /// Seconds from the start of the run; nothing in reports that were written without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start_s: Option<f64>,
    pub(crate) jobs: u64,
    pub(crate) seconds: f64,
    pub(crate) jobs_per_second: f64,
    /// Open loop only: jobs a second that were to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offered_per_second: Option<f64>,
    /// In an open loop from the moment at which the job was to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Latency>,
    /// Open loop only: from the moment at which the job was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uncorrected: Option<Latency>,
    /// Jobs of one kind, one size, or of some of the functions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<Part>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<Spent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generator: Option<Spent>,
    /// Share of the time that the generator's threads were at work.
    #[serde(default)]
    pub(crate) generator_busy: f64,
    /// The phase piece by piece, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) intervals: Vec<Interval>,
}

/// Some of the jobs of a phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) jobs: u64,
    /// As that of the phase.
    pub(crate) latency: Latency,
}

/// A single figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    #[serde(default)]
    pub(crate) unit: String,
}

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The version of this form, [`FORMAT`].
    pub(crate) format: u32,
    pub(crate) scenario: String,
    pub(crate) server: String,
    /// The generator's arguments, its own name first.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub(crate) started_unix_ms: u64,
    pub(crate) phases: Vec<Phase>,
    #[serde(default)]
    pub(crate) figures: Vec<Figure>,
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
    pub(crate) faults: Faults,
    /// Why the run ended before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) aborted: Option<String>,
}

impl Report {
    pub(crate) fn new(scenario: &'static str, server: String) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            format: FORMAT,
            scenario: scenario.to_owned(),
            server,
            command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            started_unix_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            phases: Vec::new(),
            figures: Vec::new(),
            warnings: Vec::new(),
            faults: Faults::default(),
            aborted: None,
        }
    }

    /// Adds a phase.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn phase(&mut self, name: impl Into<String>, outcome: &Outcome) {
        let name = name.into();
        let seconds = outcome.elapsed.max(Duration::from_nanos(1)).as_secs_f64();
        if let Some(limit) = outcome.limit() {
            self.warnings.push(format!("{name}: {limit}"));
        }
        let started = UNIX_EPOCH + Duration::from_millis(self.started_unix_ms);
        self.phases.push(Phase {
            name,
            // A clock that was set back meanwhile does not matter much.
            start_s: Some(outcome.began.duration_since(started).unwrap_or_default().as_secs_f64()),
            jobs: outcome.jobs,
            seconds,
            jobs_per_second: outcome.jobs as f64 / seconds,
            offered_per_second: outcome.offered_per_second,
            latency: Latency::of(&outcome.latency),
            uncorrected: outcome.uncorrected.as_ref().and_then(Latency::of),
            parts: outcome
                .parts
                .iter()
                .filter_map(|(name, latency)| {
                    let (name, jobs) = (name.clone(), latency.len());
                    Latency::of(latency).map(|latency| Part { name, jobs, latency })
                })
                .collect(),
            server: outcome.used.server,
            generator: outcome.used.generator,
            generator_busy: outcome.busy,
            intervals: outcome
                .intervals
                .iter()
                .map(|piece| {
                    let (start, length) = (piece.start.as_secs_f64(), piece.length.as_secs_f64());
                    Interval::of(start, length, piece.jobs, &piece.latency)
                })
                .collect(),
        });
    }

    /// This name, or one like it that no phase has yet.
    pub(crate) fn name_of_its_own(&self, name: String) -> String {
        let taken = |name: &str| self.phases.iter().any(|phase| phase.name == name);
        if !taken(&name) {
            return name;
        }
        let mut others = (2_u32..).map(|count| format!("{name} ({count})"));
        others.find(|other| !taken(other)).expect("there are more names than phases")
    }

    /// Adds a figure.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit: unit.to_owned() });
    }

    /// Adds what makes the figures worth less.
    pub(crate) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// Adds what went wrong.
    pub(crate) fn faults(&mut self, faults: &Faults) {
        self.faults.add(faults);
    }

    /// The run ended before its time.
    pub(crate) fn abort(&mut self, abort: Abort) {
        self.aborted = Some(abort.0);
    }

    /// Whether all went well.
    pub(crate) fn passed(&self) -> bool {
        self.aborted.is_none() && !self.faults.any()
    }
}
