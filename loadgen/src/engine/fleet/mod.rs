//! The clients and workers of a run, and the phases they go through.
//!
//! A [`phase`] gives orders and waits until something has been counted often
//! enough; what was used meanwhile, here and in the server, is its [`outcome`].

mod outcome;
mod phase;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Poll, Waker};

pub(crate) use self::outcome::Outcome;
use self::phase::End;
use crate::abort::Abort;
use crate::engine::arrivals::Schedule;
use crate::engine::connection;
use crate::engine::conversation::Conversation;
use crate::engine::crew::{Command, Crew, WAKE};
use crate::engine::progress::Unit;
use crate::engine::role::Order;
use crate::engine::run::Run;
use crate::engine::watch::Show;
use crate::process::Process;

/// How often a fleet looks whether its connections have ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// How much is submitted in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// This many jobs.
    Jobs(u64),
    /// As many as can be, for this long.
    Time(Duration),
}

impl Extent {
    /// Longer than anybody waits.
    const FOREVER: Duration = Duration::from_secs(1_000_000_000);

    /// Until it is interrupted.
    pub(crate) const ENDLESS: Self = Self::Time(Self::FOREVER);
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

/// An open loop's phase.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) schedule: Schedule,
    /// Jobs that all clients together may have in flight.
    pub(crate) in_flight_max: u64,
    /// So long before a job is due its thread polls without sleeping.
    pub(crate) spin: Duration,
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
    /// Connections of earlier fleets of the run that have ended with their server.
    ended_before: u64,
}

impl Fleet {
    /// Starts the threads, with no connections yet.
    pub(crate) fn start(run: &Arc<Run>, target: Target) -> Result<Self, Abort> {
        let (report, trouble) = mpsc::channel();
        let mut threads = Vec::new();
        for index in 0..target.threads {
            let (commands, obeyed) = mpsc::channel();
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let crew = Crew::new(poll, obeyed, Arc::clone(run), report.clone())?;
            let name = format!("crew {index}");
            let handle = std::thread::Builder::new().name(name).spawn(move || crew.run())?;
            threads.push(Thread { commands: Some(commands), waker, handle: Some(handle) });
        }
        let ended_before = run.progress.total(Unit::Ended);
        Ok(Self { run: Arc::clone(run), target, threads, trouble, seats: 0, clients: 0, ended_before })
    }

    /// Connects these clients or workers; the workers have registered when it returns.
    pub(crate) fn seat<C: Conversation + 'static>(
        &mut self,
        conversations: impl IntoIterator<Item = C>,
    ) -> Result<(), Abort> {
        for conversation in conversations {
            let socket = connection::connect(self.target.server, &conversation.greeting())
                .map_err(|error| Abort(format!("cannot connect to {}: {error}", self.target.server)))?;
            let thread = &self.threads[self.seats as usize % self.threads.len()];
            let client = conversation.takes_arrivals().then_some(self.clients);
            self.clients += usize::from(client.is_some());
            thread.tell(Command::Seat(socket, Box::new(conversation), client))?;
            self.seats += 1;
        }
        self.until(Unit::Echoed, self.seats, &[Order::Echo])?;
        Ok(())
    }

    /// Gives everybody an order and waits until the server has answered a
    /// barrier behind it on every connection.
    pub(crate) fn settle(&mut self, order: Order) -> Result<Outcome, Abort> {
        self.until(Unit::Echoed, self.seats, &[order, Order::Echo])
    }

    /// Lets the clients submit `extent`, until `unit` has been counted once for
    /// every job submitted.
    pub(crate) fn submit(&mut self, extent: Extent, unit: Unit) -> Result<Outcome, Abort> {
        self.run.quota.allow(match extent {
            Extent::Jobs(jobs) => jobs,
            Extent::Time(_) => u64::MAX,
        });
        let end = self.end_of(extent, unit);
        self.phase(unit, end, &[Order::Submit], None)
    }

    /// Lets the clients submit on and on; returns once `unit` has been counted for
    /// so many jobs, or the time has passed, and leaves what is in flight so.
    pub(crate) fn submit_on(&mut self, extent: Extent, unit: Unit) -> Result<Outcome, Abort> {
        self.run.quota.allow(u64::MAX);
        let end = match extent {
            Extent::Jobs(jobs) => End::Passed(self.run.progress.total(unit) + jobs, Extent::FOREVER),
            Extent::Time(time) => End::Passed(u64::MAX, time),
        };
        self.phase(unit, end, &[Order::Submit], None)
    }

    /// Lets connections end from here on: their server is about to be killed.
    pub(crate) fn expect_the_end(&self) {
        self.run.dying.store(true, SeqCst);
    }

    /// Waits until all connections have ended, or nothing has come for as long as
    /// the run's patience.
    pub(crate) fn outlive(self) {
        let counts = || {
            let ended = self.run.progress.total(Unit::Ended) - self.ended_before;
            (ended, self.run.progress.total(Unit::Received))
        };
        let mut last = (Instant::now(), counts());
        while last.1.0 < self.seats && last.0.elapsed() < self.target.patience {
            std::thread::sleep(LOOK_INTERVAL);
            let counts = counts();
            if counts != last.1 {
                last = (Instant::now(), counts);
            }
        }
        let run = Arc::clone(&self.run);
        drop(self);
        run.dying.store(false, SeqCst);
    }

    /// Lets the clients submit jobs when they are due, until `unit` has been
    /// counted once for every job submitted.
    pub(crate) fn open(&mut self, offered: &Offered, unit: Unit) -> Result<Outcome, Abort> {
        let time = phase::LEAD + offered.schedule.time();
        let extent = offered.schedule.jobs().map_or(Extent::Time(time), Extent::Jobs);
        let end = self.end_of(extent, unit);
        self.phase(unit, end, &[], Some(offered))
    }

    /// Lets the workers run what others submit.
    pub(crate) fn serve(&mut self, extent: Extent) -> Result<Outcome, Abort> {
        let end = self.end_of(extent, Unit::Ran);
        let outcome = self.phase(Unit::Ran, end, &[Order::Work], None)?;
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
        let end = self.end_of(Extent::Jobs(count), unit);
        self.phase(unit, end, orders, None)
    }

    /// Waits until workers have run every job that was submitted.
    pub(crate) fn all_run(&mut self) -> Result<(), Abort> {
        let submitted = self.run.progress.total(Unit::Submitted);
        self.phase(Unit::Ran, End::Count(submitted), &[], None)?;
        Ok(())
    }

    fn end_of(&self, extent: Extent, unit: Unit) -> End {
        match extent {
            Extent::Jobs(jobs) => End::Count(self.run.progress.total(unit) + jobs),
            Extent::Time(time) => End::Time(time),
        }
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

    fn tell_all(&self, command: impl Fn() -> Command) -> Result<(), Abort> {
        self.threads.iter().try_for_each(|thread| thread.tell(command()))
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
