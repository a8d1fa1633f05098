//! How a run goes: lives under load that end with a kill, then all that is left is
//! run, and after a last kill nothing may come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Durable;
use super::audit::Audit;
use super::books::Books;
use super::client::Client;
use super::lives::{chance, parts};
use super::victim::Victim;
use crate::abort::Abort;
use crate::engine::fleet::{Extent, Fleet, Outcome, Target};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::run::Run;
use crate::engine::stop;
use crate::engine::worker::Worker;
use crate::report::Report;

/// A kill comes up to so long after the jobs of its life were acknowledged, or for as long
/// as those took: not always in the moment behind an acknowledgement.
const DELAY_MAX: Duration = Duration::from_millis(50);

/// How often a server is asked whether it has jobs left.
const ASK_INTERVAL: Duration = Duration::from_millis(5);

/// Lets the delays of the kills not follow from what their lives are long.
const DELAY_SEED: u64 = 0x6465_6c61;

/// A run that is going on.
pub(super) struct Course<'a> {
    options: &'a Durable,
    target: Target,
    victim: Victim,
    run: Arc<Run>,
    books: Arc<Books>,
    submitted: Option<Outcome>,
    restarts: Vec<Duration>,
    /// Whether what has not run by then is lost.
    should_run: bool,
}

impl<'a> Course<'a> {
    pub(super) fn new(
        options: &'a Durable,
        target: Target,
        victim: Victim,
        run: Arc<Run>,
        books: Arc<Books>,
    ) -> Self {
        Self { options, target, victim, run, books, submitted: None, restarts: Vec::new(), should_run: false }
    }

    /// Whether a job that has not run is lost: the run has come to the end, or the
    /// server did not come back.
    pub(super) const fn all_should_have_run(&self) -> bool {
        self.should_run
    }

    /// How long the server took to answer each time that it was started again.
    pub(super) fn restarts(&self) -> &[Duration] {
        &self.restarts
    }

    pub(super) fn run(&mut self, cycles: u32, report: &mut Report) -> Result<(), Abort> {
        let lived = self.live(cycles);
        if let Some(submitted) = &self.submitted {
            report.phase("submit", submitted);
        }
        lived?;
        self.drain(cycles > 0, report)
    }

    /// Submits under all kills.
    fn live(&mut self, cycles: u32) -> Result<(), Abort> {
        let extent = self.options.length.extent();
        if cycles == 0 {
            return self.live_undisturbed(extent);
        }
        for (life, part) in parts(extent, cycles, self.options.seed).into_iter().enumerate() {
            let mut fleet = self.fleet(self.options.work.beside(life))?;
            let submitted = fleet.submit_on(part, Unit::Accepted);
            self.victim.check()?;
            let submitted = submitted?;
            // This signal ends the lives; the next one ends what follows.
            let stops = stop::take();
            let delay = DELAY_MAX.min(submitted.elapsed);
            self.submitted = Some(match self.submitted.take() {
                Some(before) => before.and(submitted),
                None => submitted,
            });
            if matches!(part, Extent::Jobs(_)) {
                std::thread::sleep(delay.mul_f64(chance(self.options.seed ^ DELAY_SEED, life as u64)));
            }
            self.kill(fleet)?;
            if stops {
                break;
            }
        }
        Ok(())
    }

    fn live_undisturbed(&mut self, extent: Extent) -> Result<(), Abort> {
        let mut fleet = self.fleet(self.options.work.beside(0))?;
        if let Some(warmup) = self.options.length.warmup() {
            fleet.submit(warmup, Unit::Accepted)?;
        }
        self.submitted = Some(fleet.submit(extent, Unit::Accepted)?);
        fleet.rest()?;
        stop::take();
        Ok(())
    }

    /// Clients, and workers beside them if there are to be any.
    fn fleet(&self, works: bool) -> Result<Fleet, Abort> {
        let mut fleet = Fleet::start(&self.run, self.target())?;
        if works {
            self.seat_workers(&mut fleet, || Audit::new(Arc::clone(&self.books)))?;
            fleet.settle(Order::Work)?;
        }
        let clients = &self.options.clients;
        fleet.seat((0..clients.clients).map(|_| Client::new(clients.inflight, Arc::clone(&self.books))))?;
        Ok(fleet)
    }

    fn seat_workers(&self, fleet: &mut Fleet, audit: impl Fn() -> Audit) -> Result<(), Abort> {
        let workers = &self.options.workers;
        let functions = 0..self.run.functions.values().len();
        fleet.seat(
            (0..workers.workers)
                .map(|_| Worker::checked_by(audit(), functions.clone(), workers.grab, workers.grabs)),
        )
    }

    fn target(&self) -> Target {
        Target { server: self.victim.address(), process: self.victim.process(), ..self.target }
    }

    /// Kills the server under a fleet, and starts it again.
    fn kill(&mut self, fleet: Fleet) -> Result<(), Abort> {
        fleet.expect_the_end();
        let at = Instant::now();
        self.victim.kill()?;
        fleet.outlive();
        self.books.killed(at);
        let started = self.victim.start_again(self.target.patience);
        // All that it has acknowledged is gone if it does not come back.
        self.should_run = started.is_err() && !stop::requested();
        self.restarts.push(started?);
        Ok(())
    }

    /// Runs all that is left, and sees that it does not come back.
    fn drain(&mut self, kills: bool, report: &mut Report) -> Result<(), Abort> {
        let mut fleet = Fleet::start(&self.run, self.target())?;
        let functions = self.run.functions.values().len();
        self.seat_workers(&mut fleet, || Audit::by_priority(Arc::clone(&self.books), functions))?;
        let missing = self.books.sums().missing;
        let drained = fleet.until(Unit::Ran, missing, &[Order::Work]);
        self.should_run = !stop::requested();
        let drained = drained.map_err(|abort| self.explained(abort))?;
        if missing > 0 {
            report.phase("drain", &drained);
        }
        self.wait_until_empty()?;
        fleet.rest()?;
        if !kills {
            return Ok(());
        }
        self.kill(fleet)?;
        self.should_run = true;
        let mut fleet = Fleet::start(&self.run, self.target())?;
        self.seat_workers(&mut fleet, || Audit::new(Arc::clone(&self.books)))?;
        fleet.settle(Order::Work)?;
        self.wait_until_empty()?;
        fleet.rest()
    }

    /// Says of a phase that waited in vain what that means.
    fn explained(&self, abort: Abort) -> Abort {
        match self.books.sums().missing {
            0 => abort,
            missing => {
                Abort(format!("{missing} acknowledged jobs did not run, and no more came: {}", abort.0))
            }
        }
    }

    /// Waits until the server has no job of ours any more; those that were not
    /// acknowledged are run, too.
    fn wait_until_empty(&self) -> Result<(), Abort> {
        let mut last = (Instant::now(), self.run.progress.total(Unit::Received));
        loop {
            let left = self.victim.jobs_left(self.run.functions.values())?;
            if left == 0 {
                return Ok(());
            }
            stop::check()?;
            let received = self.run.progress.total(Unit::Received);
            if received != last.1 {
                last = (Instant::now(), received);
            } else if last.0.elapsed() > self.target.patience {
                return Err(Abort(format!(
                    "the server has {left} jobs that no worker gets, and nothing came for {} s",
                    self.target.patience.as_secs()
                )));
            }
            std::thread::sleep(ASK_INTERVAL);
        }
    }
}
