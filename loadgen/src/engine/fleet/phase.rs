//! A phase: orders are given, then it goes on until its goal is reached.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use super::{Extent, Fleet, Offered, Outcome, ended};
use crate::abort::Abort;
use crate::engine::crew::{Command, Offer};
use crate::engine::ledger::Fault;
use crate::engine::progress::{Latencies, Unit};
use crate::engine::role::Order;
use crate::engine::sample::Samples;
use crate::engine::stop;
use crate::engine::watch::Watch;
use crate::process::Meter;

/// How often a waiting phase looks for trouble.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// An open loop starts so long after it is ordered, so that no thread begins late.
pub(super) const LEAD: Duration = Duration::from_millis(2);

/// What ends a phase.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// Its unit has been counted so often since the run began.
    Count(u64),
    /// All that was submitted in this time has been counted.
    Time(Duration),
    /// Its unit has been counted so often since the run began, this time has passed,
    /// or the run is to stop: what is in flight then stays so.
    Passed(u64, Duration),
}

/// A phase that is going on.
struct Course {
    unit: Unit,
    started: Instant,
    /// What had been counted and submitted when it started.
    done_before: u64,
    submitted_before: u64,
    /// What is to be counted by the end, if that is known.
    goal: Option<u64>,
    /// When no more is to be submitted, if that is not up to a count.
    closes: Option<Instant>,
    /// When it ends, whatever has been counted.
    passes: Option<Instant>,
    closed: bool,
    unsent: u64,
    held: bool,
    /// Counted up to the last cut.
    counted: u64,
    latencies: Latencies,
    samples: Samples,
    watch: Watch,
}

impl Fleet {
    /// Gives `orders`, lets jobs be due as offered, and waits for the `end`.
    pub(super) fn phase(
        &mut self,
        unit: Unit,
        end: End,
        orders: &[Order],
        offer: Option<&Offered>,
    ) -> Result<Outcome, Abort> {
        let cpu_before = self.cut(&mut Latencies::new())?;
        let began = SystemTime::now();
        let meter = Meter::read(self.target.process)?;
        let started = Instant::now();
        let mut course = Course::new(self, unit, end, started);

        let (report, reached) = mpsc::channel();
        self.run.progress.aim(unit, course.goal.unwrap_or(u64::MAX), report);
        if let Some(offered) = offer {
            self.offer(offered, started)?;
        }
        for &order in orders {
            self.tell_all(|| Command::Order(order))?;
        }
        let ended = self.follow(&mut course, &reached)?;
        if offer.is_some() && !course.closed {
            self.close(&mut course)?;
        }

        let elapsed = ended.saturating_duration_since(started);
        let cpu_after = self.cut_piece(&mut course, elapsed)?;
        let jobs = course.counted;
        let used = meter.since(jobs)?;
        let at_work = cpu_after.iter().zip(&cpu_before).map(|(after, before)| after.saturating_sub(*before));
        let busiest = at_work.max().unwrap_or_default().as_secs_f64();
        let Latencies { latency, uncorrected, lateness, parts } = course.latencies;
        let parts = self.run.parts.names().iter().cloned().zip(parts);
        Ok(Outcome {
            began,
            jobs,
            elapsed,
            latency,
            parts: parts.filter(|(_, latency)| !latency.is_empty()).collect(),
            offered_per_second: offer.map(|offered| offered.schedule.mean_rate()),
            uncorrected: offer.map(|_| uncorrected),
            lateness: offer.map(|_| lateness),
            unsent: course.unsent,
            held: course.held,
            intervals: course.samples.finish(),
            used,
            busy: (busiest / elapsed.as_secs_f64().max(1e-9)).min(1.0),
        })
    }

    /// Lets the phase go on until its goal is reached.
    fn follow(&self, course: &mut Course, reached: &Receiver<Instant>) -> Result<Instant, Abort> {
        let mut last = (Instant::now(), self.run.progress.total(Unit::Received));
        loop {
            let now = Instant::now();
            match reached.recv_timeout(course.look_again(now)) {
                Ok(at) => return Ok(at),
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("the goal keeps its sender until reached")
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Ok(trouble) = self.trouble.try_recv() {
                return Err(Abort(trouble));
            }
            let now = Instant::now();
            if course.passes.is_some_and(|passes| now >= passes || stop::requested()) {
                return Ok(now);
            }
            if stop::requested() {
                course.interrupt(now)?;
            }
            if !course.closed && course.closes.is_some_and(|closes| now >= closes) {
                self.close(course)?;
                let submitted = self.run.progress.total(Unit::Submitted) - course.submitted_before;
                self.run.progress.move_goal(course.done_before + submitted);
                last.0 = now;
            }
            let elapsed = now.saturating_duration_since(course.started);
            if elapsed >= course.samples.next_cut() {
                self.cut_piece(course, elapsed)?;
                if let Some(piece) = course.samples.last() {
                    let done = self.run.progress.total(course.unit);
                    let in_flight = self.run.progress.total(Unit::Submitted).saturating_sub(done);
                    course.watch.show(now, piece, in_flight);
                }
            }
            let received = self.run.progress.total(Unit::Received);
            let due_to_come = course.closed || course.closes.is_none();
            if received != last.1 || !due_to_come {
                last = (now, received);
            } else if last.0.elapsed() > self.target.patience {
                return Err(self.stalled(course.unit, course.goal));
            }
        }
    }

    fn offer(&self, offered: &Offered, started: Instant) -> Result<(), Abort> {
        let clients = self.clients as u64;
        if clients == 0 {
            return Err(Abort("an open loop needs a client".to_owned()));
        }
        let offer = Offer {
            schedule: offered.schedule.clone(),
            started: started + LEAD,
            first: self.run.quota.numbered(),
            clients,
            in_flight_max: offered.in_flight_max.div_ceil(clients),
            spin: offered.spin,
        };
        self.tell_all(|| Command::Offer(Box::new(offer.clone())))
    }

    /// Lets no more jobs be submitted.
    fn close(&self, course: &mut Course) -> Result<(), Abort> {
        self.run.quota.close();
        let (answer, answers) = mpsc::channel();
        self.tell_all(|| Command::Close(answer.clone()))?;
        drop(answer);
        for closed in answers {
            course.unsent += closed.unsent;
            course.held |= closed.held;
            self.run.quota.skip_to(closed.end);
        }
        course.closed = true;
        Ok(())
    }

    /// Ends a piece of the phase `elapsed` after its start.
    fn cut_piece(&self, course: &mut Course, elapsed: Duration) -> Result<Vec<Duration>, Abort> {
        let mut piece = Latencies::new();
        let cpu = self.cut(&mut piece)?;
        let counted = self.run.progress.total(course.unit) - course.done_before;
        let jobs = counted - course.counted;
        course.counted = counted;
        course.latencies.add(&piece);
        course.samples.cut(elapsed, jobs, piece.latency);
        Ok(cpu)
    }

    /// Takes what the threads have recorded; returns their processor times.
    fn cut(&self, into: &mut Latencies) -> Result<Vec<Duration>, Abort> {
        self.threads
            .iter()
            .map(|thread| {
                let (answer, answers) = mpsc::channel();
                thread.tell(Command::Cut(answer))?;
                let part = answers.recv().map_err(|_| ended())?;
                into.add(&part.latencies);
                Ok(part.cpu)
            })
            .collect()
    }

    fn stalled(&self, unit: Unit, goal: Option<u64>) -> Abort {
        let done = self.run.progress.total(unit);
        let missing = match goal {
            Some(goal) => goal - done,
            None => self.in_flight(),
        };
        self.run.ledger.fault(Fault::lost, missing);
        Abort(format!(
            "nothing came for {} s; {missing} are missing ({unit:?}, {done} in all)",
            self.target.patience.as_secs()
        ))
    }

    fn in_flight(&self) -> u64 {
        let (answer, answers) = mpsc::channel();
        let asked =
            self.threads.iter().filter(|thread| thread.tell(Command::InFlight(answer.clone())).is_ok());
        answers.iter().take(asked.count()).sum()
    }
}

impl Course {
    fn new(fleet: &Fleet, unit: Unit, end: End, started: Instant) -> Self {
        let done_before = fleet.run.progress.total(unit);
        let (goal, closes, passes) = match end {
            End::Count(count) => (Some(count), None, None),
            End::Time(time) => (None, Some(time), None),
            End::Passed(count, time) => (Some(count), None, Some(time)),
        };
        Self {
            unit,
            started,
            done_before,
            submitted_before: fleet.run.progress.total(Unit::Submitted),
            goal,
            closes: closes.map(|time| started + time),
            passes: passes.map(|time| started + time),
            closed: false,
            unsent: 0,
            held: false,
            counted: 0,
            latencies: Latencies::new(),
            samples: Samples::new(closes.or(passes.filter(|time| *time < Extent::FOREVER))),
            watch: Watch::new(fleet.target.show, started),
        }
    }

    /// How long nothing is to be done.
    fn look_again(&self, now: Instant) -> Duration {
        let cut = self.started + self.samples.next_cut();
        let closes = self.closes.filter(|_| !self.closed).or(self.passes).unwrap_or(cut);
        cut.min(closes).saturating_duration_since(now).clamp(Duration::from_micros(100), LOOK_INTERVAL)
    }

    fn interrupt(&mut self, now: Instant) -> Result<(), Abort> {
        match &mut self.closes {
            Some(closes) => {
                *closes = now.min(*closes);
                Ok(())
            }
            None => Err(Abort("interrupted".to_owned())),
        }
    }
}
