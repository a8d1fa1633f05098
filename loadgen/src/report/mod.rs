//! What came of a run. The [`Report`] is plain data that goes to JSON and comes
//! back from it; every other form is made of it: [`text`] for people.

mod text;

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::abort::Abort;
use crate::engine::fleet::Outcome;
use crate::engine::ledger::Faults;
use crate::process::Spent;

/// A generator busier than this holds the server back.
const BUSY_MAX: f64 = 0.9;

/// Latency in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    mean_us: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    max_us: f64,
}

impl Latency {
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn of(latency: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
        (!latency.is_empty()).then(|| Self {
            mean_us: latency.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: latency.max() as f64 / 1e3,
        })
    }
}

/// One part of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Phase {
    name: String,
    jobs: u64,
    seconds: f64,
    jobs_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Spent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generator: Option<Spent>,
    generator_busy: f64,
}

/// A single figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: String,
}

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    scenario: String,
    server: String,
    phases: Vec<Phase>,
    figures: Vec<Figure>,
    warnings: Vec<String>,
    faults: Faults,
    /// Why the run ended before its time.
    aborted: Option<String>,
}

impl Report {
    pub(crate) fn new(scenario: &'static str, server: String) -> Self {
        Self {
            scenario: scenario.to_owned(),
            server,
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
        if outcome.busy > BUSY_MAX && outcome.elapsed > Duration::from_millis(500) {
            let busy = outcome.busy * 100.0;
            self.warnings.push(format!(
                "{name}: the generator was busy {busy:.0} % of the time; give it more --threads, or believe only the server's processor time"
            ));
        }
        self.phases.push(Phase {
            name,
            jobs: outcome.jobs,
            seconds,
            jobs_per_second: outcome.jobs as f64 / seconds,
            latency: Latency::of(&outcome.latency),
            server: outcome.server,
            generator: outcome.generator,
            generator_busy: outcome.busy,
        });
    }

    /// Adds a figure.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit: unit.to_owned() });
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
