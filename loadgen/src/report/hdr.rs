//! Latencies in the two text forms of HDR histograms: the percentile spectrum
//! (`.hgrm`) that plotters draw, and the interval log (`.hlog`, V2) that other
//! tools filter, merge and convert.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriter, IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};

use super::{Phase, Report};
use crate::abort::Abort;
use crate::engine::progress::latency_histogram;

/// The spectrum is in milliseconds, as plotters take it to be.
const NS_PER_MS: f64 = 1e6;
/// Points for each halving of the distance to 100 %, as other writers have it.
const TICKS_PER_HALF: u32 = 5;

/// A distribution and what it is of: the phase, and its part or whether it is uncorrected.
pub(super) struct Spectrum {
    pub(super) name: String,
    latency: Histogram<u64>,
}

/// All distributions of a report, each with a name of its own.
pub(super) fn spectra(report: &Report) -> Result<Vec<Spectrum>, Abort> {
    let mut found: Vec<Spectrum> = Vec::new();
    for phase in &report.phases {
        let word = file_word(&phase.name);
        let whole = [(&phase.latency, ""), (&phase.uncorrected, "-uncorrected")];
        let whole =
            whole.into_iter().filter_map(|(latency, suffix)| Some((latency.as_ref()?, suffix.to_owned())));
        let parts = phase.parts.iter().map(|part| (&part.latency, format!("-{}", file_word(&part.name))));
        for (latency, suffix) in whole.chain(parts) {
            let names = std::iter::once(format!("{word}{suffix}"))
                .chain((2_u32..).map(|count| format!("{word}{suffix}-{count}")));
            let taken = |name: &String| found.iter().any(|other| other.name == *name);
            let name = names.into_iter().find(|name| !taken(name)).expect("there are more names than phases");
            found.push(Spectrum { name, latency: latency.histogram()? });
        }
    }
    Ok(found)
}

/// A phase's name with only letters, digits and dashes.
fn file_word(name: &str) -> String {
    name.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect()
}

impl Spectrum {
    /// Writes the percentile spectrum.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{:>12} {:>14} {:>10} {:>14}\n",
            "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
        )?;
        let mut total = 0;
        for step in self.latency.iter_quantiles(TICKS_PER_HALF) {
            total += step.count_since_last_iteration();
            let value = step.value_iterated_to() as f64 / NS_PER_MS;
            let quantile = step.quantile_iterated_to();
            write!(out, "{value:>12.6} {quantile:>14.12} {total:>10}")?;
            if quantile < 1.0 {
                write!(out, " {:>14.2}", 1.0 / (1.0 - quantile))?;
            }
            writeln!(out)?;
        }
        let all = &self.latency;
        let (mean, deviation) = (all.mean() / NS_PER_MS, all.stdev() / NS_PER_MS);
        writeln!(out, "#[Mean    = {mean:>12.6}, StdDeviation   = {deviation:>12.6}]")?;
        let max = all.max() as f64 / NS_PER_MS;
        writeln!(out, "#[Max     = {max:>12.6}, Total count    = {:>12}]", all.len())?;
        let halves = (all.high() as f64 / 2048.0).log2().ceil().max(0.0) + 1.0;
        writeln!(out, "#[Buckets = {halves:>12}, SubBuckets     = {:>12}]", 2048)
    }
}

/// Writes an interval log: intervals are tagged with their phase.
pub(super) fn write_log(report: &Report, out: &mut impl Write) -> Result<(), Abort> {
    let mut serializer = V2DeflateSerializer::new();
    let started = UNIX_EPOCH + Duration::from_millis(report.started_unix_ms);
    let title = format!("gearshard-loadgen {} against {}", report.scenario, report.server);
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(&title)
        .add_comment("latencies in nanoseconds, maxima in milliseconds; the tag is the phase")
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(NS_PER_MS)
        .begin_log_with(out, &mut serializer)?;
    log.write_comment(
        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"",
    )?;
    let mut end_s = 0.0;
    for phase in &report.phases {
        let begun_s = phase.start_s.unwrap_or(end_s);
        write_phase(phase, begun_s, &mut log)?;
        end_s = begun_s + phase.seconds;
    }
    Ok(())
}

fn write_phase<W: Write>(
    phase: &Phase,
    begun_s: f64,
    log: &mut IntervalLogWriter<'_, '_, W, V2DeflateSerializer>,
) -> Result<(), Abort> {
    let word = file_word(&phase.name);
    let mut write = |latency: &Histogram<u64>, start_s: f64, seconds: f64| {
        let written = log.write_histogram(latency, span(start_s)?, span(seconds)?, Tag::new(&word));
        written.map_err(|error| match error {
            IntervalLogWriterError::IoError(error) => error.into(),
            IntervalLogWriterError::SerializeError(error) => Abort(error.to_string()),
        })
    };
    if let (true, Some(latency)) = (phase.intervals.is_empty(), &phase.latency) {
        return write(&latency.histogram()?, begun_s, phase.seconds);
    }
    for interval in &phase.intervals {
        // A second in which nothing came back is part of the course.
        let latency = interval.histogram()?.unwrap_or_else(latency_histogram);
        write(&latency, begun_s + interval.start_s, interval.seconds)?;
    }
    Ok(())
}

fn span(seconds: f64) -> Result<Duration, Abort> {
    Duration::try_from_secs_f64(seconds).map_err(|error| Abort(format!("{seconds} is no time: {error}")))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::report::example;

    #[test]
    fn the_spectrum_says_what_the_histogram_says() {
        let report = example::open_loop("first phase");
        let spectra = spectra(&report).unwrap();
        let names: Vec<_> = spectra.iter().map(|spectrum| spectrum.name.as_str()).collect();
        assert_eq!(names, ["first-phase", "first-phase-uncorrected", "first-phase-kind-high"]);
        let mut out = Vec::new();
        spectra[0].write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let latency = &spectra[0].latency;
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        assert!(rows.len() > 10);
        for row in &rows[..rows.len() - 1] {
            // To the digits that are written, of the quantile and of the value.
            let at = |quantile: f64| latency.value_at_quantile(quantile) as f64 / NS_PER_MS;
            let (least, most) = (at((row[1] - 1e-9).max(0.0)) * 0.999, at(row[1] + 1e-9) * 1.001);
            assert!((least..=most).contains(&row[0]), "{row:?}");
            assert!((row[3] - 1.0 / (1.0 - row[1])).abs() < 0.01 * row[3], "{row:?}");
        }
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][2] <= pair[1][2]));
        let last = rows.last().unwrap();
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, latency.len() as f64));
        assert!(text.contains(&format!("Total count    = {:>12}]", latency.len())));
    }

    #[test]
    fn two_phases_of_one_name_are_two_spectra() {
        let mut report = example::open_loop("at 1/s");
        report.phases.extend(example::open_loop("at 1.s").phases);
        let spectra = spectra(&report).unwrap();
        let names: Vec<_> = spectra.iter().map(|spectrum| spectrum.name.as_str()).collect();
        assert_eq!(names[..3], ["at-1-s", "at-1-s-uncorrected", "at-1-s-kind-high"]);
        assert_eq!(names[3..], ["at-1-s-2", "at-1-s-uncorrected-2", "at-1-s-kind-high-2"]);
    }

    #[test]
    fn the_log_is_read_back_interval_by_interval() {
        let report = example::open_loop("first phase");
        let mut out = Vec::new();
        write_log(&report, &mut out).unwrap();
        let mut starts = Vec::new();
        let mut intervals = report.phases[0].intervals.iter();
        for entry in IntervalLogIterator::new(&out) {
            match entry.unwrap() {
                LogEntry::StartTime(start) | LogEntry::BaseTime(start) => starts.push(start),
                LogEntry::Interval(read) => {
                    let interval = intervals.next().unwrap();
                    assert_eq!(read.tag().unwrap().as_str(), "first-phase");
                    assert_eq!(read.start_timestamp().as_secs_f64(), 1.5 + interval.start_s);
                    assert_eq!(read.duration().as_secs_f64(), interval.seconds);
                    let engine = base64::engine::general_purpose::STANDARD;
                    let bytes = engine.decode(read.encoded_histogram()).unwrap();
                    let read: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
                    assert_eq!(read, interval.histogram().unwrap().unwrap_or_else(latency_histogram));
                }
            }
        }
        assert_eq!(starts, [Duration::from_millis(report.started_unix_ms); 2]);
        assert!(intervals.next().is_none(), "all intervals are in the log");
    }

    #[test]
    fn a_phase_without_intervals_is_one_interval() {
        let mut report = example::open_loop("first phase");
        report.phases[0].intervals.clear();
        let mut out = Vec::new();
        write_log(&report, &mut out).unwrap();
        let intervals =
            IntervalLogIterator::new(&out).filter(|entry| matches!(entry, Ok(LogEntry::Interval(_)))).count();
        assert_eq!(intervals, 1);
    }
}
