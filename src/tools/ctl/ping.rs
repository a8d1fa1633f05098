//! `gearctl ping`: how long servers take to answer.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::failure::Failure;
use super::fleet::Servers;
use super::interrupt::Interrupts;
use super::table::{Heading, Side, aligned, table};
use super::text::duration;
use crate::client::{Client, ServerAddress};

/// How wide the longest bar of a histogram is, in characters.
const BAR: u64 = 40;

/// Measure how long servers take to echo, and show the distribution
#[derive(Args, Debug)]
pub(super) struct Options {
    /// How often; 0 is until interrupted
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    count: u64,

    /// How long to pause between two
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    interval: Duration,

    /// How many bytes to send each time
    #[arg(long, value_name = "BYTES", default_value_t = 32, value_parser = clap::value_parser!(u32).range(..=1 << 30))]
    size: u32,

    /// Print the summary only
    #[arg(short, long)]
    quiet: bool,

    /// Print the summary as JSON, and nothing else
    #[arg(long)]
    json: bool,
}

/// The times of one server, in nanoseconds.
struct Times {
    server: ServerAddress,
    client: Client,
    sent: u64,
    taken: Histogram<u64>,
}

#[derive(Serialize)]
struct Summary {
    server: String,
    sent: u64,
    lost: u64,
    min_us: f64,
    mean_us: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    max_us: f64,
    /// How many took at most so long, and longer than the bucket before allows.
    buckets: Vec<Bucket>,
}

#[derive(Serialize)]
struct Bucket {
    up_to_us: f64,
    count: u64,
}

pub(super) fn run(options: &Options, servers: &Servers) -> Result<(), Failure> {
    let interrupts = Interrupts::new()?;
    let mut all = Vec::new();
    for server in servers.addresses()? {
        let client = servers.client_of(&server)?;
        let taken = Histogram::new(3).expect("three digits are a precision that histograms have");
        all.push(Times { server, client, sent: 0, taken });
    }
    let data = vec![b'x'; options.size as usize];
    let mut round = 0;
    let mut last = None;
    'rounds: while options.count == 0 || round < options.count {
        round += 1;
        for times in &mut all {
            if let Err(failure) = times.echo(&data, round, options) {
                last = Some(failure.told());
            }
        }
        let pause = if round == options.count { Duration::ZERO } else { options.interval };
        if interrupts.within(pause) {
            break 'rounds;
        }
    }
    let summaries: Vec<_> = all.iter().map(Times::summary).collect();
    let mut out = io::stdout().lock();
    if options.json {
        let text = serde_json::to_string_pretty(&summaries)
            .map_err(|error| Failure::Refused(format!("cannot write JSON: {error}")))?;
        writeln!(out, "{text}")?;
    } else {
        out.write_all(text(&summaries).as_bytes())?;
    }
    last.map_or(Ok(()), Err)
}

impl Times {
    fn echo(&mut self, data: &[u8], round: u64, options: &Options) -> Result<(), Failure> {
        self.sent += 1;
        let taken = self.client.echo(data)?;
        let nanoseconds = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        self.taken.record(nanoseconds).expect("a histogram without bounds grows with its values");
        if !options.quiet && !options.json {
            let (server, bytes, ms) = (&self.server, data.len(), taken.as_secs_f64() * 1e3);
            writeln!(io::stdout().lock(), "{server}: {bytes} bytes, {round}, {ms:.3} ms")?;
        }
        Ok(())
    }

    fn summary(&self) -> Summary {
        let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        let taken = &self.taken;
        let log = |value: u64| taken.iter_log(value, 2.0);
        // From a power of two microseconds to the next.
        let mut buckets: Vec<_> = log(1000)
            .map(|step| Bucket {
                up_to_us: us(step.value_iterated_to() + 1),
                count: step.count_since_last_iteration(),
            })
            .collect();
        let first = buckets.iter().position(|bucket| bucket.count > 0).unwrap_or(buckets.len());
        buckets.drain(..first);
        Summary {
            server: self.server.to_string(),
            sent: self.sent,
            lost: self.sent - taken.len(),
            min_us: us(taken.min()),
            mean_us: taken.mean() / 1e3,
            p50_us: us(taken.value_at_quantile(0.5)),
            p90_us: us(taken.value_at_quantile(0.9)),
            p99_us: us(taken.value_at_quantile(0.99)),
            max_us: us(taken.max()),
            buckets,
        }
    }
}

fn text(summaries: &[Summary]) -> String {
    const HEADINGS: &[Heading] = &[
        ("SERVER", Side::Left),
        ("SENT", Side::Right),
        ("LOST", Side::Right),
        ("MIN ms", Side::Right),
        ("MEAN", Side::Right),
        ("P50", Side::Right),
        ("P90", Side::Right),
        ("P99", Side::Right),
        ("MAX", Side::Right),
    ];
    let row = |summary: &Summary| {
        let times =
            [summary.min_us, summary.mean_us, summary.p50_us, summary.p90_us, summary.p99_us, summary.max_us];
        let start = [summary.server.clone(), summary.sent.to_string(), summary.lost.to_string()];
        start.into_iter().chain(times.map(|us| format!("{:.3}", us / 1e3))).collect()
    };
    let mut text = table(HEADINGS, &summaries.iter().map(row).collect::<Vec<_>>());
    for summary in summaries.iter().filter(|summary| !summary.buckets.is_empty()) {
        let most = summary.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0).max(1);
        text.push_str(&format!("\n{}\n", summary.server));
        for bucket in &summary.buckets {
            let bar = "#".repeat(usize::try_from((bucket.count * BAR).div_ceil(most)).unwrap_or(0));
            let up_to = aligned(&format!("{:.3}", bucket.up_to_us / 1e3), Side::Right, 10);
            let count = aligned(&bucket.count.to_string(), Side::Right, 8);
            text.push_str(format!("{up_to} ms  {count}  {bar}").trim_end());
            text.push('\n');
        }
    }
    text
}
