//! Latencies as a report carries them: the usual percentiles to be read, and
//! the whole histogram to be plotted, merged with others, or written out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use crate::abort::Abort;

/// Latency in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    pub(crate) max_us: f64,
    /// Nanoseconds; HDR histogram V2, deflated, in base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) histogram: String,
}

impl Latency {
    /// Nothing when nothing was recorded.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn of(latency: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
        (!latency.is_empty()).then(|| Self {
            mean_us: latency.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: latency.max() as f64 / 1e3,
            histogram: pack(latency),
        })
    }

    /// All that was recorded, in nanoseconds.
    ///
    /// # Errors
    /// When the text is not a histogram.
    pub(crate) fn histogram(&self) -> Result<Histogram<u64>, Abort> {
        unpack(&self.histogram)
    }
}

/// A piece of a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// Seconds from the start of the phase.
    pub(crate) start_s: f64,
    /// How long it was.
    pub(crate) seconds: f64,
    pub(crate) jobs: u64,
    /// As [`Latency::histogram`]; empty when nothing was recorded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) histogram: String,
}

impl Interval {
    /// A piece with its latencies in nanoseconds.
    pub(crate) fn of(start_s: f64, seconds: f64, jobs: u64, latency: &Histogram<u64>) -> Self {
        let histogram = if latency.is_empty() { String::new() } else { pack(latency) };
        Self { start_s, seconds, jobs, histogram }
    }

    /// The rate while it lasted.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn jobs_per_second(&self) -> f64 {
        self.jobs as f64 / self.seconds.max(1e-9)
    }

    /// All that was recorded, in nanoseconds; nothing when there was nothing.
    ///
    /// # Errors
    /// When the text is not a histogram.
    pub(crate) fn histogram(&self) -> Result<Option<Histogram<u64>>, Abort> {
        (!self.histogram.is_empty()).then(|| unpack(&self.histogram)).transpose()
    }
}

fn pack(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    let packed = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    packed.expect("memory takes every histogram of ours");
    STANDARD.encode(bytes)
}

fn unpack(text: &str) -> Result<Histogram<u64>, Abort> {
    let wrong = |reason: String| Abort(format!("a latency histogram cannot be read: {reason}"));
    let bytes = STANDARD.decode(text).map_err(|error| wrong(error.to_string()))?;
    let histogram = Deserializer::new().deserialize(&mut bytes.as_slice());
    histogram.map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::progress::latency_histogram;

    #[test]
    fn a_histogram_comes_back_as_it_was() {
        let mut histogram = latency_histogram();
        assert_eq!(Latency::of(&histogram), None);
        for ns in [150, 90_000, 90_000, 4_000_000_000] {
            histogram.record(ns).unwrap();
        }
        let latency = Latency::of(&histogram).unwrap();
        assert_eq!(latency.histogram().unwrap(), histogram);
        let interval = Interval::of(1.0, 0.5, 4, &histogram);
        assert_eq!(interval.histogram().unwrap(), Some(histogram));
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let mut latency = Interval { start_s: 0.0, seconds: 1.0, jobs: 0, histogram: String::new() };
        assert_eq!(latency.histogram().unwrap(), None);
        for text in ["~", "AAAA", "HISTFAAA"] {
            latency.histogram = text.to_owned();
            assert!(latency.histogram().unwrap_err().0.contains("cannot be read"), "{text}");
        }
    }
}
