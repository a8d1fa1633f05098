//! A storm of connections: each connects, asks one question, and is closed or
//! kept once it has the answer.
//!
//! The time from the connect, or from when it was due, to the answer is what a
//! client waits that has no connection yet.

use std::io::{self, ErrorKind, Read, Write};
use std::iter::Peekable;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::load::{Pace, report_lateness};
use super::{Measure, new_run};
use crate::abort::Abort;
use crate::engine::alarm::{ALARM, Alarm};
use crate::engine::arrivals::Schedule;
use crate::engine::conversation::Greeting;
use crate::engine::fleet::{Extent, Outcome, Target};
use crate::engine::ledger::Fault;
use crate::engine::payload::STAMP_BYTES;
use crate::engine::plan::Picks;
use crate::engine::progress::{Began, Latencies, Tally};
use crate::engine::run::{Run, Uniques};
use crate::options::Common;
use crate::options::values::{count, positive};
use crate::process::Meter;
use crate::report::Report;

/// `connect`
#[derive(Args, Debug)]
pub(crate) struct Connect {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Connections that may be under way at once
    #[arg(long, value_name = "C", default_value_t = 64, value_parser = positive, help_heading = "Clients and workers")]
    pub(crate) concurrency: u32,
    /// Keep the connections open until the end
    #[arg(long, help_heading = "Clients and workers")]
    pub(crate) keep: bool,
    /// Connections to make
    #[arg(long, value_name = "N", default_value = "10000", value_parser = count, help_heading = "Extent")]
    pub(crate) count: u64,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

/// How long to wait at most before looking at the clock again.
const TICK: Duration = Duration::from_millis(20);

impl Measure for Connect {
    fn common(&self) -> &Common {
        &self.common
    }

    fn greeting(&self) -> Result<Greeting, Abort> {
        match self.common.threads {
            1 => Ok(Greeting::gearman()),
            _ => Err(Abort("a storm blows from one thread; start several instead of --threads".to_owned())),
        }
    }

    fn run(&self, target: Target, report: &mut Report) -> Result<(), Abort> {
        let run = Arc::new(new_run(Picks::one(STAMP_BYTES), Picks::one(Vec::new()), Uniques::None));
        let steps = self.steps(target, &run, report);
        report.faults(&run.ledger.faults());
        steps
    }
}

impl Connect {
    /// What the server keeps for each connection that is still open.
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    fn report_memory(&self, report: &mut Report, outcome: &Outcome) {
        if let (true, Some(server)) = (self.keep, &outcome.used.server) {
            let grown = server.rss_after_bytes.saturating_sub(server.rss_before_bytes) as f64;
            report.figure("server memory a connection", grown / outcome.jobs.max(1) as f64, "B");
        }
    }

    fn steps(&self, target: Target, run: &Arc<Run>, report: &mut Report) -> Result<(), Abort> {
        const NAME: &str = "connect and first answer";
        let Some(schedules) = self.pace.schedules(Extent::Jobs(self.count))? else {
            let outcome = storm(self, target, run, self.count, None)?;
            report.phase(NAME, &outcome);
            self.report_memory(report, &outcome);
            return Ok(());
        };
        for schedule in schedules {
            let name = report.name_of_its_own(format!("{NAME} at {}", schedule.slope()));
            let count = schedule.jobs().unwrap_or_default();
            let outcome = storm(self, target, run, count, Some(schedule))?;
            report.phase(name.as_str(), &outcome);
            report_lateness(report, &name, &outcome, "a processor of its own, or a lower --rate");
            if outcome.held {
                report.warn(format!(
                    "{name}: the server did not keep up: {} connections were under way (--concurrency), and later ones had to wait",
                    self.concurrency
                ));
            }
        }
        Ok(())
    }
}

fn storm(
    options: &Connect,
    target: Target,
    run: &Arc<Run>,
    count: u64,
    schedule: Option<Schedule>,
) -> Result<Outcome, Abort> {
    let began = SystemTime::now();
    let meter = Meter::read(target.process)?;
    let offered_per_second = schedule.as_ref().map(Schedule::mean_rate);
    let mut storm = Storm::new(options, target, Arc::clone(run), count, schedule)?;
    let started = Instant::now();
    storm.blow(started)?;
    let elapsed = started.elapsed();
    let Latencies { latency, uncorrected, lateness, .. } = storm.tally.latencies;
    Ok(Outcome {
        began,
        jobs: storm.answered,
        elapsed,
        latency,
        parts: Vec::new(),
        used: meter.since(storm.answered)?,
        busy: storm.busy.as_secs_f64() / elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
        offered_per_second,
        uncorrected: offered_per_second.map(|_| uncorrected),
        lateness: offered_per_second.map(|_| lateness),
        unsent: 0,
        held: storm.held.is_some(),
        intervals: Vec::new(),
    })
}

/// A connection that has not been answered.
struct Attempt {
    socket: TcpStream,
    /// When it began, and should have.
    at: Began,
    begun: Instant,
    asked: bool,
    question: Vec<u8>,
    /// What the answer must be, and how much of it has come.
    expected: Vec<u8>,
    received: Vec<u8>,
}

struct Storm {
    server: SocketAddr,
    patience: Duration,
    schedule: Option<Peekable<Schedule>>,
    /// Connections that were due until then had to wait for room.
    held: Option<Instant>,
    keep: bool,
    count: u64,
    begun: u64,
    ended: u64,
    answered: u64,
    poll: Poll,
    alarm: Alarm,
    attempts: Vec<Option<Attempt>>,
    free: Vec<usize>,
    kept: Vec<TcpStream>,
    run: Arc<Run>,
    tally: Tally,
    busy: Duration,
}

impl Storm {
    fn new(
        options: &Connect,
        target: Target,
        run: Arc<Run>,
        count: u64,
        schedule: Option<Schedule>,
    ) -> Result<Self, Abort> {
        let concurrency = options.concurrency as usize;
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry())?;
        Ok(Self {
            server: target.server,
            patience: target.patience,
            schedule: schedule.map(Iterator::peekable),
            held: None,
            keep: options.keep,
            count,
            begun: 0,
            ended: 0,
            answered: 0,
            poll,
            alarm,
            attempts: (0..concurrency).map(|_| None).collect(),
            free: (0..concurrency).rev().collect(),
            kept: Vec::new(),
            run,
            tally: Tally::new(),
            busy: Duration::ZERO,
        })
    }

    /// Makes all the connections.
    fn blow(&mut self, started: Instant) -> Result<(), Abort> {
        let mut events = Events::with_capacity(1024);
        let mut looked = started;
        while self.ended < self.count {
            let awake = Instant::now();
            let next_due = self.begin_what_is_due(started)?;
            self.busy += awake.elapsed();
            let tick = Instant::now() + TICK;
            let wait = self.alarm.at(next_due.map_or(tick, |due| due.min(tick)))?;
            if let Err(error) = self.poll.poll(&mut events, wait) {
                if error.kind() == ErrorKind::Interrupted {
                    continue;
                }
                return Err(error.into());
            }
            let awake = Instant::now();
            for event in events.iter().filter(|event| event.token() != ALARM) {
                self.ready(event.token().0);
            }
            if looked.elapsed() > TICK {
                looked = Instant::now();
                self.give_up_the_overdue();
            }
            self.busy += awake.elapsed();
        }
        Ok(())
    }

    /// Begins connections as far as they are due and there is room; says when the next one is due.
    fn begin_what_is_due(&mut self, started: Instant) -> Result<Option<Instant>, Abort> {
        while self.begun < self.count {
            let now = Instant::now();
            let due = match &mut self.schedule {
                Some(schedule) => started + *schedule.peek().expect("it has as many as are counted"),
                None => now,
            };
            if due > now {
                return Ok(Some(due));
            }
            let Some(place) = self.free.pop() else {
                self.held = Some(now);
                return Ok(None);
            };
            let at = match &mut self.schedule {
                Some(schedule) => {
                    schedule.next();
                    if self.held.is_none_or(|held| due > held) {
                        self.tally.late(due, now);
                    }
                    Began::late(due, now)
                }
                None => now.into(),
            };
            let number = self.begun;
            self.begun += 1;
            let mut socket = TcpStream::connect(self.server).map_err(|error| cannot_connect(&error))?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(place), interest)?;
            let (mut question, mut expected) = (Vec::new(), Vec::new());
            encode(&mut question, Magic::Request, Command::EchoReq, &[], &number.to_be_bytes());
            encode(&mut expected, Magic::Response, Command::EchoRes, &[], &number.to_be_bytes());
            self.attempts[place] = Some(Attempt {
                socket,
                at,
                begun: now,
                asked: false,
                question,
                expected,
                received: Vec::new(),
            });
        }
        Ok(None)
    }

    fn ready(&mut self, place: usize) {
        let Some(attempt) = &mut self.attempts[place] else { return };
        match attempt.proceed() {
            Ok(false) => {}
            Ok(true) => {
                if attempt.received == attempt.expected {
                    self.tally.took(attempt.at, Instant::now());
                    self.answered += 1;
                } else {
                    self.run.ledger.fault(Fault::damaged, 1);
                }
                self.end(place, self.keep);
            }
            Err(_) => {
                self.run.ledger.fault(Fault::disconnected, 1);
                self.end(place, false);
            }
        }
    }

    fn give_up_the_overdue(&mut self) {
        for place in 0..self.attempts.len() {
            let overdue =
                self.attempts[place].as_ref().is_some_and(|attempt| attempt.begun.elapsed() > self.patience);
            if overdue {
                self.run.ledger.fault(Fault::lost, 1);
                self.end(place, false);
            }
        }
    }

    fn end(&mut self, place: usize, keep: bool) {
        if let Some(mut attempt) = self.attempts[place].take() {
            if keep {
                // A failure would only bring events that nobody looks at.
                let _ = self.poll.registry().deregister(&mut attempt.socket);
                self.kept.push(attempt.socket);
            }
            self.free.push(place);
            self.ended += 1;
        }
    }
}

impl Attempt {
    /// Asks when connected, and reads; true when the answer is complete.
    fn proceed(&mut self) -> io::Result<bool> {
        if !self.asked {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            match self.socket.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(error),
            }
            // A fresh socket takes so little at once.
            self.socket.write_all(&self.question)?;
            self.asked = true;
        }
        let mut chunk = [0; 64];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(self.received.len() >= self.expected.len());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.received.len() >= self.expected.len() {
                return Ok(true);
            }
        }
    }
}

/// What of this machine was in the way, for it is not the server's fault.
fn cannot_connect(error: &io::Error) -> Abort {
    match error.kind() {
        ErrorKind::AddrNotAvailable => Abort(
            "no local port is left: make fewer connections, or more slowly, or widen net.ipv4.ip_local_port_range"
                .to_owned(),
        ),
        _ => Abort(format!("cannot open a connection: {error}")),
    }
}
