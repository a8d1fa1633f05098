//! One thread with its connections: polls them, and lets each act.
//!
//! A turn is: poll, read every ready connection and let its conversation go on, write,
//! add up the counts. Commands from the scenario come through a channel.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::engine::alarm::{ALARM, Alarm};
use crate::engine::arrivals::{Agenda, Due, Schedule};
use crate::engine::connection::{Broken, Connection};
use crate::engine::conversation::Conversation;
use crate::engine::ledger::Fault;
use crate::engine::progress::{Latencies, Tally, Unit};
use crate::engine::role::{Order, Turn};
use crate::engine::run::Run;

/// Room to read into, shared by a thread's connections.
const SCRATCH_BYTES: usize = 256 * 1024;

/// The token that wakes a crew for a command.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// A poll that does not wait is over by then; what is beyond, somebody else had the processor.
const SPIN_TURN_MAX: Duration = Duration::from_micros(10);

/// What a crew is told.
pub(crate) enum Command {
    /// Take over this connected socket; it is the client with this place among
    /// those of all threads, if it takes arrivals.
    Seat(std::net::TcpStream, Box<dyn Conversation>, Option<usize>),
    /// Give an order to everybody.
    Order(Order),
    /// Submit jobs as they are due.
    Offer(Box<Offer>),
    /// Submit no more jobs, and say what was left to submit.
    Close(Sender<Closed>),
    /// Hand over the latencies recorded so far and begin afresh.
    Cut(Sender<Part>),
    /// Say how many jobs are in flight.
    InFlight(Sender<u64>),
}

/// Jobs to submit when they are due.
#[derive(Clone)]
pub(crate) struct Offer {
    pub(crate) schedule: Schedule,
    /// When the schedule starts.
    pub(crate) started: Instant,
    /// The number of its first job.
    pub(crate) first: u64,
    /// Clients of all threads.
    pub(crate) clients: u64,
    /// Jobs that a client may have in flight.
    pub(crate) in_flight_max: u64,
    /// So long before a job is due the thread does not sleep.
    pub(crate) spin: Duration,
}

/// How an open loop ended on a thread.
#[derive(Default)]
pub(crate) struct Closed {
    /// Jobs that were due and not sent, since too many were in flight.
    pub(crate) unsent: u64,
    /// Whether jobs were held back for that reason.
    pub(crate) held: bool,
    /// The number after that of the last job.
    pub(crate) end: u64,
}

/// What a thread has recorded.
pub(crate) struct Part {
    pub(crate) latencies: Latencies,
    /// Processor time of the thread since it started, but for spinning.
    pub(crate) cpu: Duration,
}

struct Seat {
    connection: Connection,
    conversation: Box<dyn Conversation>,
}

/// One thread's state.
pub(crate) struct Crew {
    poll: Poll,
    commands: Receiver<Command>,
    run: Arc<Run>,
    /// Where a broken connection is reported; the text says why.
    trouble: Sender<String>,
    seats: Vec<Option<Seat>>,
    /// The seat of each of all threads' clients that is here.
    arrive_at: Vec<Option<usize>>,
    agenda: Option<Agenda>,
    in_flight_max: u64,
    spin: Duration,
    /// How long it has spun in vain.
    spun: Duration,
    alarm: Alarm,
    /// Jobs in flight that clients were given in turns.
    dealt: u64,
    /// The client whose turn is next, by its place in `arrive_at`.
    turn_of: usize,
    /// Seats that have to send what has just been due.
    unflushed: Vec<usize>,
    tally: Tally,
    scratch: Vec<u8>,
}

impl Crew {
    pub(crate) fn new(
        poll: Poll,
        commands: Receiver<Command>,
        run: Arc<Run>,
        trouble: Sender<String>,
    ) -> std::io::Result<Self> {
        let alarm = Alarm::new(poll.registry())?;
        Ok(Self {
            poll,
            commands,
            run,
            trouble,
            seats: Vec::new(),
            arrive_at: Vec::new(),
            agenda: None,
            in_flight_max: 0,
            spin: Duration::ZERO,
            spun: Duration::ZERO,
            alarm,
            dealt: 0,
            turn_of: 0,
            unflushed: Vec::new(),
            tally: Tally::new(),
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// Runs until the other end of the commands is gone.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        // Not read again unless something is going to be due.
        let mut now = Instant::now();
        loop {
            let timeout = self.timeout(now);
            let spins = timeout.as_ref().is_ok_and(|timeout| *timeout == Some(Duration::ZERO));
            let polled = timeout.and_then(|timeout| self.poll.poll(&mut events, timeout));
            if let Err(error) = polled {
                if error.kind() == std::io::ErrorKind::Interrupted {
                    continue;
                }
                return self.report(format!("poll: {error}"));
            }
            for event in &events {
                // Read for each: a turn with many connections takes long enough to matter.
                let now = Instant::now();
                self.send_what_is_due(now);
                match event.token() {
                    WAKE => {
                        if !self.commanded(now) {
                            return;
                        }
                    }
                    ALARM => {}
                    Token(index) => self.ready(index, now),
                }
            }
            if self.agenda.is_some() {
                let before = std::mem::replace(&mut now, Instant::now());
                if spins && events.is_empty() {
                    self.spun += (now - before).min(SPIN_TURN_MAX);
                }
                self.send_what_is_due(now);
            }
            self.run.progress.add(&mut self.tally);
        }
    }

    /// How long to poll; the alarm is set to what is due next, or to when spinning begins.
    fn timeout(&mut self, now: Instant) -> std::io::Result<Option<Duration>> {
        match self.agenda.as_ref().and_then(Agenda::next) {
            Some(due) if !self.is_full(&due) => {
                let left = due.at.saturating_duration_since(now);
                if left <= self.spin {
                    Ok(Some(Duration::ZERO))
                } else {
                    self.alarm.at(now + (left - self.spin))
                }
            }
            // Answers come before more can be sent.
            _ => Ok(None),
        }
    }

    fn is_full(&self, due: &Due) -> bool {
        self.seats[due.seat].as_ref().is_some_and(|seat| seat.conversation.in_flight() >= self.in_flight_max)
    }

    fn send_what_is_due(&mut self, now: Instant) {
        while let Some(due) = self.agenda.as_ref().and_then(Agenda::next).filter(|due| due.at <= now) {
            let full = self.is_full(&due);
            let agenda = self.agenda.as_mut().expect("it has something due");
            if full {
                agenda.hold(now);
                break;
            }
            if agenda.late_by_itself(&due) {
                self.tally.late(due.at, now);
            }
            agenda.advance(&self.arrive_at);
            let Some(seat) = &mut self.seats[due.seat] else { continue };
            let output = seat.connection.output();
            let mut turn = Turn { run: &self.run, tally: &mut self.tally, now, output };
            seat.conversation.arrival(&mut turn, due.number, due.at);
            // Flushing one twice costs nothing.
            if self.unflushed.last() != Some(&due.seat) {
                self.unflushed.push(due.seat);
            }
        }
        while let Some(index) = self.unflushed.pop() {
            let Some(seat) = &mut self.seats[index] else { continue };
            if let Err(broken) = seat.connection.flush() {
                self.lose(index, &broken);
            }
        }
    }

    fn offer(&mut self, offer: Offer) {
        self.in_flight_max = offer.in_flight_max;
        self.spin = offer.spin;
        let Offer { schedule, started, first, clients, .. } = offer;
        self.agenda = Some(Agenda::new(schedule, started, first, clients, &self.arrive_at));
    }

    /// Submits no more. Jobs that were due but held back have waited for so long, at least.
    fn close(&mut self, now: Instant) -> Closed {
        self.tally.chunk = 0..0;
        let closed = self.agenda.take().map_or_else(Closed::default, |mut agenda| {
            let (mut unsent, held) = (0, agenda.was_held());
            while let Some(due) = agenda.next().filter(|due| due.at <= now) {
                self.tally.never_sent(due.at, now);
                unsent += 1;
                agenda.advance(&self.arrive_at);
            }
            Closed { unsent, held, end: agenda.end() }
        });
        self.run.progress.add(&mut self.tally);
        closed
    }

    /// Obeys the commands that have come; false when there will be no more.
    fn commanded(&mut self, now: Instant) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Seat(socket, conversation, client)) => {
                    self.seat(now, socket, conversation, client);
                }
                Ok(Command::Offer(offer)) => self.offer(*offer),
                Ok(Command::Order(order)) => self.order(now, order),
                // Whoever asked may have given up waiting.
                Ok(Command::Close(answer)) => {
                    let _ = answer.send(self.close(now));
                }
                Ok(Command::Cut(answer)) => {
                    self.run.progress.add(&mut self.tally);
                    let cpu = thread_cpu().saturating_sub(self.spun);
                    let _ = answer.send(Part { latencies: self.tally.latencies.take(), cpu });
                }
                Ok(Command::InFlight(answer)) => {
                    let _ = answer
                        .send(self.seats.iter().flatten().map(|seat| seat.conversation.in_flight()).sum());
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn seat(
        &mut self,
        now: Instant,
        socket: std::net::TcpStream,
        conversation: Box<dyn Conversation>,
        client: Option<usize>,
    ) {
        let mut connection = Connection::new(socket);
        let token = Token(self.seats.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(connection.socket(), token, interest) {
            return self.report(format!("registering a connection: {error}"));
        }
        if let Some(client) = client {
            self.arrive_at.resize(self.arrive_at.len().max(client + 1), None);
            self.arrive_at[client] = Some(self.seats.len());
        }
        let index = self.seats.len();
        self.seats.push(Some(Seat { connection, conversation }));
        self.act(index, now, |conversation, turn| conversation.seated(turn));
    }

    /// Lets one act, and sends what it has to say.
    fn act(&mut self, index: usize, now: Instant, act: impl FnOnce(&mut dyn Conversation, &mut Turn<'_>)) {
        let Some(Seat { connection, conversation }) = &mut self.seats[index] else { return };
        act(
            conversation.as_mut(),
            &mut Turn { run: &self.run, tally: &mut self.tally, now, output: connection.output() },
        );
        if let Err(broken) = connection.flush() {
            self.lose(index, &broken);
        }
    }

    fn order(&mut self, now: Instant, order: Order) {
        for index in 0..self.seats.len() {
            self.act(index, now, |conversation, turn| {
                if order == Order::Echo {
                    conversation.barrier(turn);
                } else {
                    conversation.order(turn, order);
                }
            });
        }
        if order == Order::Submit {
            self.deal(now);
        }
    }

    /// Gives jobs to clients in turns until as many as shall be are in flight.
    fn deal(&mut self, now: Instant) {
        let here = self.arrive_at.len();
        while self.dealt < self.run.together && here > 0 {
            let client = self.turn_of;
            self.turn_of = (client + 1) % here;
            let Some(index) = self.arrive_at[client] else { continue };
            let Some(Seat { connection, conversation }) = &mut self.seats[index] else { return };
            let output = connection.output();
            let mut turn = Turn { run: &self.run, tally: &mut self.tally, now, output };
            let Some(number) = turn.next_number() else { return };
            conversation.arrival(&mut turn, number, now);
            self.dealt += 1;
            if let Err(broken) = connection.flush() {
                self.lose(index, &broken);
            }
        }
    }

    fn ready(&mut self, index: usize, now: Instant) {
        let Some(Some(Seat { connection, conversation })) = self.seats.get_mut(index) else { return };
        let before = conversation.in_flight();
        let (run, tally) = (&*self.run, &mut self.tally);
        let receive = |output: &mut Vec<u8>, bytes: &[u8]| {
            conversation.receive(&mut Turn { run, tally, now, output }, bytes)
        };
        let outcome = connection.read(&mut self.scratch, receive).and_then(|()| connection.flush());
        let done = before.saturating_sub(conversation.in_flight());
        if let Err(broken) = outcome {
            self.lose(index, &broken);
        }
        if self.run.together > 0 && done > 0 {
            self.dealt = self.dealt.saturating_sub(done);
            self.deal(now);
        }
    }

    fn lose(&mut self, index: usize, broken: &Broken) {
        let seat = self.seats[index].take();
        if self.run.dying.load(SeqCst) && !matches!(broken, Broken::Protocol(_)) {
            if let Some(Seat { mut connection, mut conversation }) = seat {
                // A send may have failed before all that the server had said was read.
                let (run, tally, now) = (&*self.run, &mut self.tally, Instant::now());
                let _ = connection.read(&mut self.scratch, |output, bytes| {
                    conversation.receive(&mut Turn { run, tally, now, output }, bytes)
                });
                self.tally.count(Unit::Ended);
            }
            return;
        }
        self.run.ledger.fault(Fault::disconnected, 1);
        self.report(broken.to_string());
    }

    fn report(&self, text: String) {
        // The scenario may have ended.
        let _ = self.trouble.send(text);
    }
}

/// Processor time of the calling thread.
fn thread_cpu() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
