//! The clients and workers of a run, and the phases they go through.
//!
//! A phase gives orders and waits until something has been counted often
//! enough; what was used meanwhile, here and in the server, is its outcome.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Poll, Waker};

use crate::abort::Abort;
use crate::engine::connection;
use crate::engine::crew::{Command, Crew, WAKE};
use crate::engine::ledger::Fault;
use crate::engine::progress::{Unit, latency_histogram};
use crate::engine::role::{Order, Role};
use crate::engine::run::Run;
use crate::process::{Process, Spent};

/// How often a waiting phase looks for trouble.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

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
    /// Share of the time that the generator's threads were at work.
    pub(crate) busy: f64,
}

impl Outcome {
    /// The outcome of two parts of one phase.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.busy = (self.busy * self.elapsed.as_secs_f64() + other.busy * other.elapsed.as_secs_f64())
            / (self.elapsed + other.elapsed).as_secs_f64().max(f64::MIN_POSITIVE);
        let both = |one: Option<Spent>, two: Option<Spent>| Some(one?.and(&two?));
        self.server = both(self.server, other.server);
        self.generator = both(self.generator, other.generator);
        self.jobs += other.jobs;
        self.elapsed += other.elapsed;
        self.latency.add(other.latency).expect("all histograms have the same bounds");
        self
    }

    /// What was counted stands for so many operations.
    pub(crate) fn recount(&mut self, jobs: u64) {
        for spent in [&mut self.server, &mut self.generator].into_iter().flatten() {
            *spent = spent.over(jobs);
        }
        self.jobs = jobs;
    }
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
    busy_ns: Arc<AtomicU64>,
    seats: u64,
}

impl Fleet {
    /// Starts the threads, with no connections yet.
    pub(crate) fn start(run: Arc<Run>, target: Target) -> Result<Self, Abort> {
        let (report, trouble) = mpsc::channel();
        let busy_ns = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for index in 0..target.threads {
            let (commands, obeyed) = mpsc::channel();
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let crew = Crew::new(poll, obeyed, Arc::clone(&run), report.clone(), Arc::clone(&busy_ns));
            let name = format!("crew {index}");
            let handle = std::thread::Builder::new().name(name).spawn(move || crew.run())?;
            threads.push(Thread { commands: Some(commands), waker, handle: Some(handle) });
        }
        Ok(Self { run, target, threads, trouble, busy_ns, seats: 0 })
    }

    /// Connects one more client or worker.
    pub(crate) fn seat(&mut self, role: impl Role + 'static) -> Result<(), Abort> {
        let socket = connection::connect(self.target.server)
            .map_err(|error| Abort(format!("cannot connect to {}: {error}", self.target.server)))?;
        let thread = &self.threads[self.seats as usize % self.threads.len()];
        thread.tell(Command::Seat(socket, Box::new(role)))?;
        self.seats += 1;
        Ok(())
    }

    /// Sends every role an order and waits until the server has answered an
    /// ECHO_REQ behind it on every connection.
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
                self.until(unit, jobs, &orders)
            }
            Extent::Time(time) => {
                self.run.quota.allow(u64::MAX);
                self.phase(unit, None, Some(time), &orders)
            }
        }
    }

    /// Gives `orders` and waits until `unit` has been counted `count` times.
    pub(crate) fn until(&mut self, unit: Unit, count: u64, orders: &[Order]) -> Result<Outcome, Abort> {
        self.phase(unit, Some(count), None, orders)
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
        count: Option<u64>,
        time: Option<Duration>,
        orders: &[Order],
    ) -> Result<Outcome, Abort> {
        let itself = Process(std::process::id());
        let server_before = self.target.process.map(Process::usage).transpose()?;
        let itself_before = itself.usage();
        let done_before = self.run.progress.total(unit);
        let taken_before = self.run.quota.taken();
        let busy_before = self.busy_ns.load(Relaxed);

        let started = Instant::now();
        let (report, reached) = mpsc::channel();
        self.run.progress.aim(unit, count.map_or(u64::MAX, |count| done_before + count), report);
        for &order in orders {
            for thread in &self.threads {
                thread.tell(Command::Order(order))?;
            }
        }
        if let Some(time) = time {
            self.work_for(time)?;
            self.run.quota.close();
            self.run.progress.move_goal(done_before + self.run.quota.taken() - taken_before);
        }
        let ended = self.wait(&reached, unit, count.map(|count| done_before + count))?;

        let jobs = self.run.progress.total(unit) - done_before;
        let elapsed = ended.saturating_duration_since(started);
        let server = match (self.target.process, server_before) {
            (Some(process), Some(before)) => Some(process.usage()?.since(&before, jobs)),
            _ => None,
        };
        // Without /proc the generator's own cost stays unknown.
        let generator = match (itself.usage(), itself_before) {
            (Ok(after), Ok(before)) => Some(after.since(&before, jobs)),
            _ => None,
        };
        let busy = Duration::from_nanos(self.busy_ns.load(Relaxed) - busy_before);
        let busy = busy.as_secs_f64() / (elapsed.as_secs_f64() * self.threads.len() as f64);
        Ok(Outcome { jobs, elapsed, latency: self.collect()?, server, generator, busy: busy.min(1.0) })
    }

    fn work_for(&self, time: Duration) -> Result<(), Abort> {
        match self.trouble.recv_timeout(time) {
            Ok(trouble) => Err(Abort(trouble)),
            Err(_) => Ok(()),
        }
    }

    /// Waits for the goal; a server that says nothing for too long has lost something.
    fn wait(&self, reached: &Receiver<Instant>, unit: Unit, goal: Option<u64>) -> Result<Instant, Abort> {
        let mut last = (Instant::now(), self.run.progress.total(Unit::Received));
        loop {
            match reached.recv_timeout(LOOK_INTERVAL) {
                Ok(at) => return Ok(at),
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("the goal keeps its sender until reached")
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Ok(trouble) = self.trouble.try_recv() {
                return Err(Abort(trouble));
            }
            let received = self.run.progress.total(Unit::Received);
            if received != last.1 {
                last = (Instant::now(), received);
            } else if last.0.elapsed() > self.target.patience {
                return Err(self.stalled(unit, goal));
            }
        }
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

    fn collect(&self) -> Result<Histogram<u64>, Abort> {
        let (answer, answers) = mpsc::channel();
        for thread in &self.threads {
            thread.tell(Command::Collect(answer.clone()))?;
        }
        drop(answer);
        let mut all = latency_histogram();
        for part in answers {
            all.add(part).expect("all histograms have the same bounds");
        }
        Ok(all)
    }
}

impl Thread {
    fn tell(&self, command: Command) -> Result<(), Abort> {
        let commands = self.commands.as_ref().expect("commands are open until the fleet is dropped");
        commands.send(command).map_err(|_| Abort("a thread of the generator has ended".to_owned()))?;
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
