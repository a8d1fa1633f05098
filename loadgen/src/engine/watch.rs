//! A line on the terminal that tells how a phase is going.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::engine::sample::Sample;

/// Who wants to see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Show {
    /// A person at a terminal.
    #[default]
    OnTerminal,
    /// Everybody, a line a second when it is not a terminal.
    Always,
    Never,
}

/// Shorter phases are over before anybody could read it.
const FIRST: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_secs(1);

/// Writes the line of one phase; gone when dropped.
pub(crate) struct Watch {
    terminal: bool,
    next: Option<Instant>,
    written: bool,
}

impl Watch {
    pub(crate) fn new(show: Show, started: Instant) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let wanted = show == Show::Always || (show == Show::OnTerminal && terminal);
        Self { terminal, next: wanted.then_some(started + FIRST), written: false }
    }

    /// Shows `sample` when the last line is old enough.
    pub(crate) fn show(&mut self, now: Instant, sample: &Sample, in_flight: u64) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        let interval = if self.terminal { FIRST } else { INTERVAL };
        self.next = Some(now + interval);
        let line = line(sample, in_flight);
        let mut out = std::io::stderr().lock();
        // Who closed stderr does not want to see it.
        let _ = if self.terminal { write!(out, "\r{line}\x1b[K") } else { writeln!(out, "{line}") };
        let _ = out.flush();
        self.written = self.terminal;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.written {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn line(sample: &Sample, in_flight: u64) -> String {
    let elapsed = (sample.start + sample.length).as_secs_f64();
    let rate = sample.jobs as f64 / sample.length.as_secs_f64().max(1e-9);
    let mut line = format!("{elapsed:6.1} s  {rate:9.0} a second  {in_flight:7} in flight");
    if !sample.latency.is_empty() {
        let p99 = sample.latency.value_at_quantile(0.99) as f64 / 1e3;
        line.push_str(&format!("  p99 {p99:.0} us"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_the_rate_and_the_latency_of_the_last_piece() {
        let mut latency = crate::engine::progress::latency_histogram();
        let length = Duration::from_millis(500);
        let mut sample = Sample { start: length, length, jobs: 1000, latency: latency.clone() };
        assert_eq!(
            line(&sample, 7).split_whitespace().collect::<Vec<_>>().join(" "),
            "1.0 s 2000 a second 7 in flight"
        );
        latency.record_n(250_000, 1000).unwrap();
        sample.latency = latency;
        assert!(line(&sample, 7).ends_with("p99 250 us"), "{}", line(&sample, 7));
    }
}
