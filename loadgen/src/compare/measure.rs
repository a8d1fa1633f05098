//! A run's report as named numbers, and many runs of them as medians.

use std::collections::BTreeMap;

use serde::Serialize;

use super::gate::Name;
use crate::abort::Abort;
use crate::report::{Latency, Phase, Report};

/// Where figures that belong to no phase are kept.
pub(super) const WHOLE: &str = "";

/// The numbers of one run: by phase, then by metric.
pub(super) type Numbers = BTreeMap<String, BTreeMap<String, f64>>;

/// Many runs of one number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// Median of the distances from the median.
    pub(super) mad: f64,
}

impl Spread {
    /// Of at least one value.
    pub(super) fn of(values: &[f64]) -> Self {
        let mid = median(values);
        let distances: Vec<f64> = values.iter().map(|value| (value - mid).abs()).collect();
        Self {
            median: mid,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mad: median(&distances),
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[half - 1], sorted[half]) } else { sorted[half] }
}

/// Medians of many runs: by phase, then by metric.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Summary(pub(super) BTreeMap<String, BTreeMap<String, Spread>>);

impl Summary {
    pub(super) fn of(runs: &[Numbers]) -> Self {
        let mut values: BTreeMap<String, BTreeMap<String, Vec<f64>>> = BTreeMap::new();
        for run in runs {
            for (phase, metrics) in run {
                let phase = values.entry(phase.clone()).or_default();
                for (metric, &value) in metrics {
                    phase.entry(metric.clone()).or_default().push(value);
                }
            }
        }
        let spread = |metrics: BTreeMap<String, Vec<f64>>| {
            metrics.into_iter().map(|(metric, values)| (metric, Spread::of(&values))).collect()
        };
        Self(values.into_iter().map(|(phase, metrics)| (phase, spread(metrics))).collect())
    }

    /// The median that a requirement names.
    pub(super) fn median(&self, name: &Name) -> Result<f64, Abort> {
        let in_phase = |phase: &str| Some(self.0.get(phase)?.get(&name.metric)?.median);
        if let Some(phase) = &name.phase {
            // A figure of the whole run is that of each of its phases.
            return in_phase(phase).or_else(|| in_phase(WHOLE)).ok_or_else(|| self.unknown(name));
        }
        if let Some(median) = in_phase(WHOLE) {
            return Ok(median);
        }
        let phases: Vec<&str> =
            self.0.keys().map(String::as_str).filter(|phase| in_phase(phase).is_some()).collect();
        match phases.as_slice() {
            [] => Err(self.unknown(name)),
            [phase] => Ok(in_phase(phase).expect("it was just found")),
            several => Err(Abort(format!(
                "{name} could be that of {}; write for instance {}.{}.{}",
                several.join(", "),
                name.label,
                several[several.len() - 1],
                name.metric
            ))),
        }
    }

    fn unknown(&self, name: &Name) -> Abort {
        let each = self.0.iter().flat_map(|(phase, metrics)| {
            metrics.keys().map(move |metric| match phase.as_str() {
                WHOLE => metric.clone(),
                phase => format!("{phase}.{metric}"),
            })
        });
        Abort(format!("there is no {name}; {} has {}", name.label, each.collect::<Vec<_>>().join(", ")))
    }
}

/// All numbers of a report.
pub(super) fn numbers(report: &Report) -> Numbers {
    let mut numbers = Numbers::new();
    for phase in &report.phases {
        numbers.insert(word(&phase.name), of_phase(phase));
    }
    let whole = numbers.entry(WHOLE.to_owned()).or_default();
    for figure in &report.figures {
        whole.insert(word(&figure.name), figure.value);
        if figure.unit == "a job" {
            whole.insert(word(&format!("{} {}", figure.name, figure.unit)), figure.value);
        }
    }
    numbers
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn of_phase(phase: &Phase) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::new();
    let mut put = |name: &str, value| metrics.insert(name.to_owned(), value);
    put("jobs_per_second", phase.jobs_per_second);
    put("generator_busy", phase.generator_busy);
    if let Some(Latency { mean_us, p50_us, p90_us, p99_us, p99_9_us, max_us, .. }) = &phase.latency {
        let named = [
            ("mean", mean_us),
            ("p50", p50_us),
            ("p90", p90_us),
            ("p99", p99_us),
            ("p99_9", p99_9_us),
            ("max", max_us),
        ];
        for (name, value) in named {
            put(name, *value);
        }
    }
    for part in &phase.parts {
        let Latency { p50_us, p99_us, p99_9_us, .. } = part.latency;
        for (name, value) in [("p50", p50_us), ("p99", p99_us), ("p99_9", p99_9_us)] {
            put(&format!("{}_{name}", word(&part.name)), value);
        }
    }
    if let Some(spent) = &phase.server {
        put("cpu_per_job", spent.cpu_us_per_job);
        put("jobs_per_cpu_second", spent.jobs_per_cpu_second);
        put("switches_per_job", spent.switches_per_job);
        put("rss", spent.rss_after_bytes as f64);
    }
    metrics
}

/// A name as one word: `NOOPs a job` is `noops_per_job`.
fn word(name: &str) -> String {
    let name = name.to_ascii_lowercase().replace(" a job", " per job");
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spread() {
        let spread = Spread::of(&[5.0, 1.0, 2.0, 100.0]);
        assert_eq!(spread, Spread { median: 3.5, min: 1.0, max: 100.0, mad: 2.0 });
        assert_eq!(Spread::of(&[7.0]), Spread { median: 7.0, min: 7.0, max: 7.0, mad: 0.0 });
    }

    #[test]
    fn names_are_one_word() {
        assert_eq!(word("NOOPs a job"), "noops_per_job");
        assert_eq!(word("enqueue to 1000"), "enqueue_to_1000");
        assert_eq!(word("share of it, kept"), "share_of_it_kept");
    }

    #[test]
    fn a_metric_without_its_phase_must_be_the_only_one() {
        let run = |phases: &[&str]| -> Numbers {
            phases.iter().map(|&phase| (phase.to_owned(), [("p50".to_owned(), 4.0)].into())).collect()
        };
        let name = |phase: Option<&str>, metric: &str| Name {
            label: "ours".to_owned(),
            phase: phase.map(str::to_owned),
            metric: metric.to_owned(),
        };
        let one = Summary::of(&[run(&["drain"])]);
        assert_eq!(one.median(&name(None, "p50")).unwrap(), 4.0);
        let two = Summary::of(&[run(&["drain", "enqueue"])]);
        assert!(two.median(&name(None, "p50")).unwrap_err().0.contains("ours.enqueue.p50"));
        assert_eq!(two.median(&name(Some("drain"), "p50")).unwrap(), 4.0);
        assert!(two.median(&name(None, "p77")).unwrap_err().0.contains("drain.p50"));
    }
}
