//! The clients and workers of a run, and the phases they go through.
//!
//! A phase gives orders and waits until something has been counted often
//! enough; what was used meanwhile, here and in the server, is its outcome.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Poll, Waker};

use crate::abort::Abort;
use crate::engine::arrivals::Schedule;
use crate::engine::connection;
use crate::engine::conversation::Conversation;
use crate::engine::crew::{Command, Crew, Offer, WAKE};
use crate::engine::ledger::Fault;
use crate::engine::progress::{Latencies, Unit};
use crate::engine::role::Order;
use crate::engine::run::Run;
use crate::engine::sample::{Sample, Samples};
use crate::engine::stop;
use crate::engine::watch::{Show, Watch};
use crate::process::{Process, Spent};

/// How often a waiting phase looks for trouble.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// An open loop starts so long after it is ordered, so that no thread begins late.
const LEAD: Duration = Duration::from_millis(2);

/// A thread busier than this is a limit.
const BUSY_MAX: f64 = 0.9;

/// Shorter phases say nothing of limits.
const LIMIT_SEEN_AFTER: Duration = Duration::from_millis(500);

/// How much is submitted in a phase.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// This many jobs.
    Jobs(u64),
    /// As many as can be, for this long.
    Time(Duration),
}

/// Where the fleet goes, and how it is made up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The server.
    pub(crate) server: SocketAddr,
    /// The server's process, when it is on this machine and known.
    pub(crate) process: Option<Process>,
    /// Threads of the generator.
    pub(crate) threads: usize,
    /// A phase in which nothing comes for so long has failed.
    pub(crate) patience: Duration,
    /// Who sees how a phase is going.
    pub(crate) show: Show,
}

/// What a phase came to.
pub(crate) struct Outcome {
    /// How many were counted.
    pub(crate) jobs: u64,
    /// From the orders to the last of them.
    pub(crate) elapsed: Duration,
    /// Nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// What the server used.
    pub(crate) server: Option<Spent>,
    /// What the generator used.
    pub(crate) generator: Option<Spent>,
    /// Share of the time that the generator's busiest thread had the processor.
    pub(crate) busy: f64,
    /// Open loop: jobs a second that were to be sent.
    pub(crate) offered_per_second: Option<f64>,
    /// Open loop: nanoseconds from the real send, where `latency` is from the
    /// moment at which a job was to be sent.
    pub(crate) uncorrected: Option<Histogram<u64>>,
    /// Open loop: nanoseconds by which the generator itself was late to send.
    pub(crate) lateness: Option<Histogram<u64>>,
    /// Open loop: jobs that were due and never sent, since too many were in flight.
    pub(crate) unsent: u64,
    /// Open loop: whether jobs were held back for that reason.
    pub(crate) held: bool,
    /// The phase piece by piece.
    pub(crate) intervals: Vec<Sample>,
}

impl Outcome {
    /// The outcome of two parts of one phase.
    pub(crate) fn and(mut self, other: Self) -> Self {
        let seconds = (self.elapsed + other.elapsed).as_secs_f64().max(f64::MIN_POSITIVE);
        let mean = |one: f64, two: f64| {
            (one * self.elapsed.as_secs_f64() + two * other.elapsed.as_secs_f64()) / seconds
        };
        self.busy = mean(self.busy, other.busy);
        self.offered_per_second =
            self.offered_per_second.zip(other.offered_per_second).map(|(one, two)| mean(one, two));
        let sum = |one: Option<Histogram<u64>>, two: Option<Histogram<u64>>| {
            let mut sum = one?;
            sum.add(two?).expect("all histograms have the same bounds");
            Some(sum)
        };
        self.uncorrected = sum(self.uncorrected, other.uncorrected);
        self.lateness = sum(self.lateness, other.lateness);
        self.unsent += other.unsent;
        self.held |= other.held;
        let later = |mut piece: Sample| {
            piece.start += self.elapsed;
            piece
        };
        self.intervals.extend(other.intervals.into_iter().map(later));
        let both = |one: Option<Spent>, two: Option<Spent>| Some(one?.and(&two?));
        self.server = both(self.server, other.server);
        self.generator = both(self.generator, other.generator);
        self.jobs += other.jobs;
        self.elapsed += other.elapsed;
        self.latency.add(other.latency).expect("all histograms have the same bounds");
        self
    }

    /// In words, whether something other than the server alone limits the figures.
    pub(crate) fn limit(&self) -> Option<String> {
        if self.elapsed < LIMIT_SEEN_AFTER {
            return None;
        }
        let seconds = self.elapsed.as_secs_f64();
        let server = self.server.map(|server| server.cpu_seconds / seconds);
        let generator = self.generator.map(|generator| generator.cpu_seconds / seconds);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        limit(self.busy, generator, server, cores)
    }

    /// What was counted stands for so many operations.
    pub(crate) fn recount(&mut self, jobs: u64) {
        for spent in [&mut self.server, &mut self.generator].into_iter().flatten() {
            *spent = spent.over(jobs);
        }
        self.jobs = jobs;
    }
}

/// In processors: the generator's `busiest` thread, all of the `generator`, and the `server`.
#[allow(clippy::cast_precision_loss, reason = "a few processors")]
fn limit(busiest: f64, generator: Option<f64>, server: Option<f64>, cores: usize) -> Option<String> {
    if busiest > BUSY_MAX {
        let busy = busiest * 100.0;
        return Some(match server {
            Some(server) if server > BUSY_MAX => format!(
                "the generator's busiest thread was busy {busy:.0} % of the time, and the server used {server:.2} processors: either may be the limit; give the generator more --threads to find out"
            ),
            _ => format!(
                "the generator and not the server is the limit: its busiest thread was busy {busy:.0} % of the time; give it more --threads, or believe only the server's processor time"
            ),
        });
    }
    let (generator, server) = (generator?, server?);
    (generator + server > BUSY_MAX * cores as f64 && generator > server / 2.0).then(|| {
        format!(
            "the generator ({generator:.2} processors) and the server ({server:.2}) filled this machine's {cores} between them: they slow each other; pin them apart, run one elsewhere, or believe only the server's processor time"
        )
    })
}

/// An open loop's phase.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) schedule: Schedule,
    /// Jobs that all clients together may have in flight.
    pub(crate) in_flight_max: u64,
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
    closed: bool,
    unsent: u64,
    held: bool,
    /// Counted up to the last cut.
    counted: u64,
    latencies: Latencies,
    samples: Samples,
    watch: Watch,
}

struct Thread {
    commands: Option<Sender<Command>>,
    waker: Waker,
    handle: Option<JoinHandle<()>>,
}

/// A running fleet.
pub(crate) struct Fleet {
    run: Arc<Run>,
    target: Target,
    threads: Vec<Thread>,
    trouble: Receiver<String>,
    seats: u64,
    /// Seats that take arrivals.
    clients: usize,
}

impl Fleet {
    /// Starts the threads, with no connections yet.
    pub(crate) fn start(run: Arc<Run>, target: Target) -> Result<Self, Abort> {
        let (report, trouble) = mpsc::channel();
        let mut threads = Vec::new();
        for index in 0..target.threads {
            let (commands, obeyed) = mpsc::channel();
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let crew = Crew::new(poll, obeyed, Arc::clone(&run), report.clone())?;
            let name = format!("crew {index}");
            let handle = std::thread::Builder::new().name(name).spawn(move || crew.run())?;
            threads.push(Thread { commands: Some(commands), waker, handle: Some(handle) });
        }
        Ok(Self { run, target, threads, trouble, seats: 0, clients: 0 })
    }

    /// Connects one more client or worker.
    pub(crate) fn seat(&mut self, conversation: impl Conversation + 'static) -> Result<(), Abort> {
        let socket = connection::connect(self.target.server, &conversation.greeting())
            .map_err(|error| Abort(format!("cannot connect to {}: {error}", self.target.server)))?;
        let thread = &self.threads[self.seats as usize % self.threads.len()];
        let client = conversation.takes_arrivals().then_some(self.clients);
        self.clients += usize::from(client.is_some());
        thread.tell(Command::Seat(socket, Box::new(conversation), client))?;
        self.seats += 1;
        Ok(())
    }

    /// Gives everybody an order and waits until the server has answered a
    /// barrier behind it on every connection.
    pub(crate) fn settle(&mut self, order: Order) -> Result<Outcome, Abort> {
        self.until(Unit::Echoed, self.seats, &[order, Order::Echo])
    }

    /// Lets the clients submit `extent`, workers following `orders`, until
    /// `unit` has been counted once for every job submitted.
    pub(crate) fn submit(&mut self, extent: Extent, unit: Unit, orders: &[Order]) -> Result<Outcome, Abort> {
        let orders = [orders, &[Order::Submit]].concat();
        match extent {
            Extent::Jobs(jobs) => {
                self.run.quota.allow(jobs);
            }
            Extent::Time(_) => {
                self.run.quota.allow(u64::MAX);
            }
        }
        self.phase(unit, extent, &orders, None)
    }

    /// Lets the clients submit jobs when they are due, until `unit` has been
    /// counted once for every job submitted.
    pub(crate) fn open(&mut self, offered: &Offered, unit: Unit) -> Result<Outcome, Abort> {
        let extent = offered
            .schedule
            .jobs()
            .map_or_else(|| Extent::Time(LEAD + offered.schedule.time()), Extent::Jobs);
        self.phase(unit, extent, &[], Some(offered))
    }

    /// Lets the workers run what others submit.
    pub(crate) fn serve(&mut self, extent: Extent) -> Result<Outcome, Abort> {
        let outcome = self.phase(Unit::Ran, extent, &[Order::Work], None)?;
        self.rest()?;
        Ok(outcome)
    }

    /// Lets the workers finish what they have, and take no more.
    pub(crate) fn rest(&mut self) -> Result<(), Abort> {
        // What is assigned before the first answer is finished before the second.
        self.settle(Order::Rest)?;
        self.settle(Order::Rest)?;
        Ok(())
    }

    /// Gives `orders` and waits until `unit` has been counted `count` times.
    pub(crate) fn until(&mut self, unit: Unit, count: u64, orders: &[Order]) -> Result<Outcome, Abort> {
        self.phase(unit, Extent::Jobs(count), orders, None)
    }

    /// Waits until nothing has been received for `silence`.
    pub(crate) fn quiet(&self, silence: Duration) {
        let mut last = (Instant::now(), self.run.progress.total(Unit::Received));
        while last.0.elapsed() < silence {
            std::thread::sleep(silence / 10);
            let received = self.run.progress.total(Unit::Received);
            if received != last.1 {
                last = (Instant::now(), received);
            }
        }
    }

    /// The server's memory, once it has stopped shrinking for a second.
    pub(crate) fn rss_at_rest(&self) -> Result<Option<u64>, Abort> {
        let Some(process) = self.target.process else { return Ok(None) };
        let mut least = process.usage()?.rss_bytes;
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(100));
            let rss = process.usage()?.rss_bytes;
            if rss < least {
                (least, since) = (rss, Instant::now());
            }
        }
        Ok(Some(least))
    }

    fn phase(
        &mut self,
        unit: Unit,
        extent: Extent,
        orders: &[Order],
        offer: Option<&Offered>,
    ) -> Result<Outcome, Abort> {
        let itself = Process(std::process::id());
        let cpu_before = self.cut(&mut Latencies::new())?;
        let server_before = self.target.process.map(Process::usage).transpose()?;
        let itself_before = itself.usage();
        let started = Instant::now();
        let mut course = Course::new(self, unit, extent, started);

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
        let server = match (self.target.process, server_before) {
            (Some(process), Some(before)) => Some(process.usage()?.since(&before, jobs)),
            _ => None,
        };
        // Without /proc the generator's own cost stays unknown.
        let generator = match (itself.usage(), itself_before) {
            (Ok(after), Ok(before)) => Some(after.since(&before, jobs)),
            _ => None,
        };
        let at_work = cpu_after.iter().zip(&cpu_before).map(|(after, before)| after.saturating_sub(*before));
        let busiest = at_work.max().unwrap_or_default().as_secs_f64();
        let Latencies { latency, uncorrected, lateness } = course.latencies;
        Ok(Outcome {
            jobs,
            elapsed,
            latency,
            offered_per_second: offer.map(|offered| offered.schedule.mean_rate()),
            uncorrected: offer.map(|_| uncorrected),
            lateness: offer.map(|_| lateness),
            unsent: course.unsent,
            held: course.held,
            intervals: course.samples.finish(),
            server,
            generator,
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

    fn tell_all(&self, command: impl Fn() -> Command) -> Result<(), Abort> {
        self.threads.iter().try_for_each(|thread| thread.tell(command()))
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
    fn new(fleet: &Fleet, unit: Unit, extent: Extent, started: Instant) -> Self {
        let done_before = fleet.run.progress.total(unit);
        let (goal, time) = match extent {
            Extent::Jobs(jobs) => (Some(done_before + jobs), None),
            Extent::Time(time) => (None, Some(time)),
        };
        Self {
            unit,
            started,
            done_before,
            submitted_before: fleet.run.progress.total(Unit::Submitted),
            goal,
            closes: time.map(|time| started + time),
            closed: false,
            unsent: 0,
            held: false,
            counted: 0,
            latencies: Latencies::new(),
            samples: Samples::new(time),
            watch: Watch::new(fleet.target.show, started),
        }
    }

    /// How long nothing is to be done.
    fn look_again(&self, now: Instant) -> Duration {
        let cut = self.started + self.samples.next_cut();
        let closes = self.closes.filter(|_| !self.closed).unwrap_or(cut);
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

fn ended() -> Abort {
    Abort("a thread of the generator has ended".to_owned())
}

impl Thread {
    fn tell(&self, command: Command) -> Result<(), Abort> {
        let commands = self.commands.as_ref().expect("commands are open until the fleet is dropped");
        commands.send(command).map_err(|_| ended())?;
        Ok(self.waker.wake()?)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.commands = None;
            // A thread that cannot be woken has ended.
            let _ = thread.waker.wake();
            if let Some(handle) = thread.handle.take() {
                // Its panic has been printed.
                let _ = handle.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_whoever_is_busy() {
        assert_eq!(limit(0.5, Some(0.5), Some(0.99), 2), None);
        assert_eq!(limit(0.5, None, None, 2), None);
        assert!(limit(0.95, Some(0.95), Some(0.4), 4).unwrap().contains("and not the server"));
        assert!(limit(0.95, Some(0.95), None, 4).unwrap().contains("and not the server"));
        assert!(limit(0.95, Some(0.95), Some(0.95), 4).unwrap().contains("either"));
        // Two threads on two processors that a server wants, too.
        assert!(limit(0.6, Some(1.2), Some(0.75), 2).unwrap().contains("between them"));
    }
}
