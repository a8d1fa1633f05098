//! The measured part of a scenario, in a closed loop or an open one.

use std::fmt::Write;
use std::time::Duration;

use clap::Args;

use crate::abort::Abort;
use crate::engine::arrivals::{Arrivals, Rate, Schedule, Slope};
use crate::engine::client::Client;
use crate::engine::fleet::{Extent, Fleet, Offered, Outcome};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::run::Run;
use crate::engine::stop;
use crate::engine::worker::Worker;
use crate::options::values::count;
use crate::report::Report;

/// A generator this late to send, at the 99th percentile, tells of itself.
const LATENESS_MAX: Duration = Duration::from_millis(1);

/// What a fleet that is late needs.
const REMEDY: &str = "a processor of its own and --spin, more --threads, or a lower --rate";

/// When things are due, if that is not up to the server.
#[derive(Args, Clone, Debug)]
pub(crate) struct Pace {
    /// Submit so many jobs (or begin so many connections) a second in all, whatever the server
    /// does, and count latency from when each was due: 5000, a ramp 1000..20000, a ramp in
    /// steps 1000..20000/5, or several with commas between; each is a phase, and they share
    /// the extent equally. Without it a new one begins when one is answered
    #[arg(long, value_name = "JOBS/S", help_heading = "Open loop")]
    pub(crate) rate: Option<Rate>,
    /// How the times between jobs are spread
    #[arg(long, value_enum, default_value = "constant", requires = "rate", help_heading = "Open loop")]
    pub(crate) arrivals: Arrivals,
    /// Where chance begins; the same number gives the same times
    #[arg(long, value_name = "N", default_value_t = 1, requires = "rate", help_heading = "Open loop")]
    pub(crate) seed: u64,
}

/// An open loop, if one is wanted.
#[derive(Args, Clone, Debug)]
pub(crate) struct Open {
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// Most jobs unanswered over all clients; more than that wait, and count as waiting
    #[arg(long, value_name = "N", default_value = "100000", value_parser = count, requires = "rate", help_heading = "Open loop")]
    pub(crate) max_inflight: u64,
    /// Do not sleep for so many microseconds before a job is due, so as not to be late to wake; answers are
    /// then taken at once, too. For a generator with processors of its own: at 1000000 / rate it never sleeps
    #[arg(long, value_name = "US", default_value = "0", value_parser = count, requires = "rate", help_heading = "Open loop")]
    pub(crate) spin: u64,
}

impl Pace {
    /// The schedules of all phases, if there are any.
    ///
    /// # Errors
    /// When the rate is to change over a time without end.
    pub(super) fn schedules(&self, extent: Extent) -> Result<Option<Vec<Schedule>>, Abort> {
        let Some(rate) = &self.rate else { return Ok(None) };
        let changes = |slope: &Slope| slope.from < slope.to || slope.to < slope.from;
        if extent == Extent::ENDLESS && (rate.0.len() > 1 || rate.0.iter().any(changes)) {
            return Err(Abort(
                "a --rate that changes needs a --duration or --count that it changes over".to_owned(),
            ));
        }
        Ok(Some(rate.schedules(extent, self.arrivals, self.seed)))
    }

    /// One steady schedule at the rate at the start.
    fn steady(&self, extent: Extent) -> Option<Schedule> {
        let &Slope { from, to } = self.rate.as_ref()?.0.first()?;
        let rate = if from > 0.0 { from } else { f64::midpoint(from, to) };
        Rate(vec![Slope { from: rate, to: rate }]).schedules(extent, self.arrivals, self.seed).pop()
    }
}

impl Open {
    /// Measures and reports phases called `name`: `unit` is counted once for every
    /// job submitted. Returns their names and what they came to.
    pub(super) fn measure(
        &self,
        fleet: &mut Fleet,
        report: &mut Report,
        name: &str,
        unit: Unit,
        extent: Extent,
    ) -> Result<Vec<(String, Outcome)>, Abort> {
        let Some(schedules) = self.pace.schedules(extent)? else {
            let outcome = fleet.submit(extent, unit)?;
            report.phase(name, &outcome);
            return Ok(vec![(name.to_owned(), outcome)]);
        };
        let mut phases = Vec::new();
        for schedule in schedules {
            if stop::requested() {
                break;
            }
            let name = report.name_of_its_own(format!("{name} at {}", schedule.slope()));
            let outcome = fleet.open(&self.offered(schedule), unit)?;
            report.phase(name.as_str(), &outcome);
            report_lateness(report, &name, &outcome, REMEDY);
            if outcome.held {
                self.report_held(report, &name, &outcome);
            }
            phases.push((name, outcome));
        }
        Ok(phases)
    }

    /// Goes before the measurement: an open loop at the rate that it starts with.
    pub(super) fn warm_up(&self, fleet: &mut Fleet, unit: Unit, warmup: Option<Extent>) -> Result<(), Abort> {
        let Some(warmup) = warmup else { return Ok(()) };
        match self.pace.steady(warmup) {
            Some(schedule) => fleet.open(&self.offered(schedule), unit)?,
            None => fleet.submit(warmup, unit)?,
        };
        Ok(())
    }

    fn offered(&self, schedule: Schedule) -> Offered {
        let spin = Duration::from_micros(self.spin);
        Offered { schedule, in_flight_max: self.max_inflight.max(1), spin }
    }

    fn report_held(&self, report: &mut Report, name: &str, outcome: &Outcome) {
        let mut text = format!(
            "{name}: the server did not keep up: {} jobs were in flight (--max-inflight), and later ones had to wait",
            self.max_inflight
        );
        if outcome.unsent > 0 {
            let unsent = outcome.unsent;
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "; {unsent} were still not sent at the end, and count in the latency with the time they had waited until then"
            );
        }
        report.warn(text);
    }
}

/// Tells by how much the generator itself was late, and what would help it.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn report_lateness(report: &mut Report, name: &str, outcome: &Outcome, remedy: &str) {
    let Some(lateness) = outcome.lateness.as_ref().filter(|lateness| !lateness.is_empty()) else { return };
    let p99 = lateness.value_at_quantile(0.99);
    for (at, ns) in [("p50", lateness.value_at_quantile(0.5)), ("p99", p99)] {
        report.figure(format!("{name}: sent late by the generator itself, {at}"), ns as f64 / 1e3, "us");
    }
    if u128::from(p99) > LATENESS_MAX.as_nanos() {
        report.warn(format!(
            "{name}: the generator itself was {:.1} ms late to send, at the 99th percentile, which is part of the latency; give it {remedy}",
            p99 as f64 / 1e6
        ));
    }
}

/// Which sides of a scenario run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Side {
    /// Clients and workers.
    Both,
    /// Clients; the workers run elsewhere.
    Client,
    /// Workers, for clients elsewhere: checks and answers the jobs of any run with the same options for jobs.
    Worker,
}

impl Side {
    pub(super) const fn submits(self) -> bool {
        matches!(self, Self::Both | Self::Client)
    }

    pub(super) const fn works(self) -> bool {
        matches!(self, Self::Both | Self::Worker)
    }

    /// Seats who runs here, and lets the workers work. Workers alone run what comes, for
    /// `extent`, and that was all: false then.
    pub(super) fn begin(
        self,
        fleet: &mut Fleet,
        report: &mut Report,
        workers: impl IntoIterator<Item = Worker>,
        clients: impl IntoIterator<Item = Client>,
        extent: Extent,
    ) -> Result<bool, Abort> {
        if self.works() {
            fleet.seat(workers)?;
        }
        if !self.submits() {
            report.phase("work", &fleet.serve(extent)?);
            return Ok(false);
        }
        fleet.seat(clients)?;
        fleet.settle(Order::Work)?;
        Ok(true)
    }

    /// A run for this side; workers alone take the jobs of any.
    pub(super) fn run(self, mut run: Run) -> Run {
        if self == Self::Worker {
            run.any_run = true;
        }
        run
    }
}

/// Refuses to check an order that nobody promises.
pub(super) fn fifo_can_be_checked(clients: u32, workers: u32, side: Side) -> Result<(), Abort> {
    if clients != 1 || workers != 1 || side != Side::Both {
        let why = "jobs are in order for one client and one worker only; --fifo needs --clients 1 --workers 1 and both sides";
        return Err(Abort(why.to_owned()));
    }
    Ok(())
}

/// NOOPs up to a moment, and jobs.
pub(super) struct Woken {
    noops: u64,
    jobs: u64,
}

impl Woken {
    pub(super) fn count(run: &Run, unit: Unit) -> Self {
        Self { noops: run.progress.total(Unit::Woken), jobs: run.progress.total(unit) }
    }

    /// Adds how many there have been for each job since then.
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(super) fn report(self, run: &Run, unit: Unit, report: &mut Report) {
        let now = Self::count(run, unit);
        let jobs = (now.jobs - self.jobs).max(1);
        report.figure("NOOPs", (now.noops - self.noops) as f64 / jobs as f64, "a job");
    }
}
