//! Makes up the next step of a script, from a seed and what happened so far.
//!
//! The same seed against the same reference gives the same script. A step that
//! would run into an [`Exception`] is counted and another one made up.

use super::exceptions::Exception;
use super::illegal;
use super::model::{Model, State, Submission};
use super::pair::Told;
use super::script::{Outcome, Piece, Step, Who, Wire};
use fastrand::Rng;
use gearshard::protocol::packet::Command;

/// What kind of script a seed gives.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections at the start.
    pub peers: usize,
    /// Functions.
    pub functions: usize,
    /// Steps, without opening connections and the closing audit.
    pub steps: usize,
    /// Workers serve several functions; then there is one priority.
    pub several: bool,
    /// Clients leave and jobs are cancelled.
    pub loss: bool,
    /// There are jobs for the far future; then workers do not sleep.
    pub future: bool,
    /// One step in so many is illegal.
    pub illegal: usize,
}

impl Plan {
    fn new(rng: &mut Rng) -> Self {
        let kind = rng.usize(0..10);
        Self {
            peers: rng.usize(2..=4),
            functions: rng.usize(1..=4),
            steps: rng.usize(6..=24),
            several: kind < 3,
            loss: (3..7).contains(&kind),
            future: kind == 7,
            illegal: if rng.usize(0..4) == 0 { 3 } else { 12 },
        }
    }
}

/// Makes up one script.
#[derive(Debug)]
pub struct Generator {
    pub(super) rng: Rng,
    pub(super) plan: Plan,
    pub(super) model: Model,
    name: String,
    lane: usize,
    made: usize,
    /// A `maxqueue` was sent.
    limited: bool,
    auditor: Auditor,
    submissions: Vec<Submission>,
    finishing: Vec<usize>,
}

/// Where the audit at the end of a script is.
#[derive(Clone, Copy, Debug)]
enum Auditor {
    NotYet,
    Looking(Who),
    Draining(Who, usize),
    LookingAgain(Who),
    Done,
}

/// What lists say about the script is compared before and after its queues are drained.
const LISTS: [&str; 4] = ["status\n", "prioritystatus\n", "show jobs\n", "show unique jobs\n"];

const LANES: [[Command; 2]; 3] = [
    [Command::SubmitJobHigh, Command::SubmitJobHighBg],
    [Command::SubmitJob, Command::SubmitJobBg],
    [Command::SubmitJobLow, Command::SubmitJobLowBg],
];

impl Generator {
    /// Of the script with this seed, which goes by this name.
    pub fn new(seed: u64, name: &str, attempts_max: Option<u32>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::new(&mut rng);
        Self {
            plan,
            model: Model::new(attempts_max),
            name: name.to_owned(),
            lane: rng.usize(0..3),
            made: 0,
            limited: false,
            auditor: Auditor::NotYet,
            submissions: Vec::new(),
            finishing: Vec::new(),
            rng,
        }
    }

    /// The next step; `None` at the end.
    pub fn next(&mut self) -> Option<Step> {
        self.submissions.clear();
        self.finishing.clear();
        if self.model.peers.len() < self.plan.peers {
            return Some(self.open());
        }
        let auditing = !matches!(self.auditor, Auditor::NotYet);
        if auditing || self.made == self.plan.steps || self.model.open().is_empty() {
            return self.audit();
        }
        self.made += 1;
        loop {
            if let Some(step) = self.make_up() {
                return Some(step);
            }
            self.submissions.clear();
            self.finishing.clear();
        }
    }

    /// Takes in how the last step went.
    pub fn observe(&mut self, step: &Step, told: &Told) {
        let who = match step {
            Step::Open(_) => None,
            Step::Close(who) | Step::Send { who, .. } => Some(*who),
        };
        for number in std::mem::take(&mut self.finishing) {
            self.model.finish(number);
        }
        if let Step::Send { who, wires, .. } = step {
            self.sent(*who, wires, told);
        }
        self.model.observe(who, std::mem::take(&mut self.submissions), told);
        if let Auditor::Draining(whom, function) = self.auditor
            && told.iter().any(|(who, said)| *who == whom && said.iter().any(|one| one.is(Command::NoJob)))
        {
            self.auditor = Auditor::Draining(whom, function + 1);
        }
    }

    // Sleep and registrations follow from what was sent.
    fn sent(&mut self, who: Who, wires: &[Wire], told: &Told) {
        for wire in wires {
            let Wire::Packet { magic: [0, b'R', b'E', b'Q'], number, body } = wire else {
                continue;
            };
            let function = match body.first() {
                Some(Piece::Bytes(name)) => (0..self.plan.functions).find(|&f| self.function(f) == *name),
                _ => None,
            };
            let noop =
                told.iter().any(|(whom, said)| *whom == who && said.iter().any(|one| one.is(Command::Noop)));
            let peer = self.model.peer(who);
            match (Command::from_number(*number), function) {
                (Some(Command::CanDo | Command::CanDoTimeout), Some(function)) => {
                    peer.functions.push(function)
                }
                (Some(Command::CantDo), Some(function)) => {
                    peer.functions.retain(|served| *served != function);
                    self.model.lose(who, |of| of == function);
                }
                (Some(Command::ResetAbilities), _) => {
                    peer.functions.clear();
                    self.model.lose(who, |_| true);
                }
                (Some(Command::PreSleep), _) => peer.asleep |= !noop,
                (Some(Command::GrabJob | Command::GrabJobUniq | Command::GrabJobAll), _) => {
                    peer.asleep = false;
                    peer.woken = false;
                }
                _ => {}
            }
        }
    }

    fn open(&mut self) -> Step {
        self.model.peers.push(super::model::Peer { open: true, ..Default::default() });
        Step::Open(Who(self.model.peers.len() - 1))
    }

    fn audit(&mut self) -> Option<Step> {
        match self.auditor {
            Auditor::NotYet => {
                let step = self.open();
                self.auditor = Auditor::Looking(Who(self.model.peers.len() - 1));
                Some(step)
            }
            Auditor::Looking(who) => {
                self.auditor = Auditor::Draining(who, 0);
                let haunted = (0..self.plan.functions).any(|function| self.model.haunted(function));
                if Exception::DeadJobListed.avoid(haunted) {
                    return self.audit();
                }
                Some(self.look(who))
            }
            Auditor::Draining(who, function) if function == self.plan.functions => {
                self.auditor = Auditor::LookingAgain(who);
                self.audit()
            }
            Auditor::Draining(who, function) => {
                let mut wires = Vec::new();
                for number in self.model.held(who) {
                    wires.push(Wire::request(Command::WorkComplete, &[Piece::Handle(number)], b"drained"));
                    self.finishing.push(number);
                }
                wires.push(Wire::request(Command::ResetAbilities, &[], b""));
                wires.push(Wire::request(Command::CanDo, &[self.function_piece(function)], b""));
                let queued = self
                    .model
                    .numbers(|job| job.state == State::Queued && job.submission.function == function);
                wires.extend(vec![Wire::request(Command::GrabJobAll, &[], b""); queued.len() + 1]);
                Some(say(who, wires))
            }
            Auditor::LookingAgain(who) => {
                self.auditor = Auditor::Done;
                // Jobs of a distant future are left over; every other queue is empty.
                Some(self.look(who))
            }
            Auditor::Done => None,
        }
    }

    fn make_up(&mut self) -> Option<Step> {
        if self.rng.usize(0..self.plan.illegal) == 0 {
            return illegal::make_up(self);
        }
        let who = self.anyone();
        match self.rng.usize(0..100) {
            0..26 => self.submits(who),
            26..36 => self.registers(who),
            36..52 => self.grabs(who),
            52..60 => self.sleeps(who),
            60..78 => self.works(who),
            78..84 => self.asks(who),
            84..92 => self.administers(who),
            92..95 => self.unregisters(who),
            95..98 => self.may_lose(who).then_some(Step::Close(who)),
            _ => (self.model.peers.len() < 5).then(|| self.open()),
        }
    }

    /// Some open connection.
    pub(super) fn anyone(&mut self) -> Who {
        let open = self.model.open();
        self.one_of(&open)
    }

    pub(super) fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(0..of.len())].clone()
    }

    /// The name of a function.
    pub(super) fn function(&self, index: usize) -> Vec<u8> {
        // Names are bytes; a tab in one would only break the lists for everybody.
        match index {
            0 => format!("{}reverse", self.name).into_bytes(),
            1 => [self.name.as_bytes(), b"\xff\x80::resize"].concat(),
            2 => format!("{}{}", self.name, "long".repeat(100)).into_bytes(),
            _ => format!("{}f{index}", self.name).into_bytes(),
        }
    }

    pub(super) fn function_piece(&self, index: usize) -> Piece {
        Piece::Bytes(self.function(index))
    }

    pub(super) fn some_function(&mut self) -> usize {
        self.rng.usize(0..self.plan.functions)
    }

    /// A unique: none, the workload's, one of a few, or one of its own.
    pub(super) fn unique(&mut self) -> Vec<u8> {
        match self.rng.usize(0..10) {
            0..3 => Vec::new(),
            3 => b"-".to_vec(),
            4..8 => format!("{}u{}", self.name, self.rng.usize(0..3)).into_bytes(),
            _ => format!("{}#{}", self.name, self.rng.u32(..)).into_bytes(),
        }
    }

    fn data(&mut self) -> Vec<u8> {
        match self.rng.usize(0..40) {
            0..4 => Vec::new(),
            4..20 => format!("data{}", self.rng.usize(0..3)).into_bytes(),
            20..39 => (0..self.rng.usize(1..60)).map(|_| self.rng.u8(..)).collect(),
            _ => {
                let length = self.rng.usize(4000..100_000);
                (0..length).map(|at| (at % 251) as u8).collect()
            }
        }
    }

    /// Whether a connection may go without running into an exception.
    pub(super) fn may_lose(&mut self, who: Who) -> bool {
        let background = self
            .model
            .jobs
            .iter()
            .any(|job| job.state != State::Over && job.background && job.waiting.contains(&who));
        let orphaned = self.model.jobs.iter().any(|job| {
            job.state == State::Queued
                && !job.background
                && !job.waiting.is_empty()
                && job.waiting.iter().all(|waiting| *waiting == who)
        });
        !Exception::BackgroundJobJoined.avoid(background)
            && (self.plan.loss || !Exception::DeadJobListed.avoid(orphaned))
            && self.may_lose_worker(who, |_| true)
    }

    fn look(&self, who: Who) -> Step {
        let lists = LISTS.iter().filter(|list| !list.starts_with("show jobs") || !self.joined());
        say(who, lists.map(|list| line(list)).collect())
    }

    // Whether `show jobs` would show a job that a background submit joined.
    fn joined(&self) -> bool {
        Exception::JoinedJobListed.avoid(
            self.model
                .jobs
                .iter()
                .any(|job| job.state != State::Over && job.background && !job.submission.background),
        )
    }

    fn may_lose_worker(&self, who: Who, lost: impl Fn(usize) -> bool) -> bool {
        let dead = self.model.jobs.iter().any(|job| {
            job.state == State::Running(who)
                && lost(job.submission.function)
                && !job.background
                && job.waiting.iter().all(|waiting| *waiting == who)
        });
        !Exception::DeadJobOfLostWorker.avoid(dead)
    }

    fn submits(&mut self, who: Who) -> Option<Step> {
        let many = if self.rng.usize(0..6) == 0 { self.rng.usize(2..6) } else { 1 };
        let mut wires = Vec::new();
        if self.rng.usize(0..5) == 0 {
            wires.push(Wire::request(Command::OptionReq, &[Piece::from("exceptions")], b""));
        }
        for _ in 0..many {
            let function = self.some_function();
            let data = self.data();
            let unique = self.unique();
            wires.push(self.submit(function, unique, &data)?);
        }
        Some(self.perhaps_split(who, wires))
    }

    /// A submit, of any kind that fits the plan.
    pub(super) fn submit(&mut self, function: usize, unique: Vec<u8>, data: &[u8]) -> Option<Wire> {
        let lane = if self.plan.several {
            // One priority, or 1.1.20 and 2.0 choose differently.
            let other = self.rng.usize(0..3) != self.lane;
            Exception::PriorityAcrossFunctions.avoid(other);
            self.lane
        } else {
            let lane = self.rng.usize(0..3);
            let hidden = Exception::FutureJobHides.avoid(self.plan.future && lane == 2);
            if hidden { 1 } else { lane }
        };
        let normal = !self.plan.several || self.lane == 1;
        let mut args = vec![self.function_piece(function), Piece::Bytes(unique.clone())];
        let (command, background) = match self.rng.usize(0..12) {
            0 if normal => {
                args.push(self.epoch());
                (Command::SubmitJobEpoch, true)
            }
            1 if normal => {
                args.push(Piece::from(self.one_of(&["", "reducer", "a\u{fc}-reducer"])));
                args.push(Piece::from(self.one_of(&["", "0", "anything"])));
                let background = self.rng.bool();
                let command =
                    if background { Command::SubmitReduceJobBackground } else { Command::SubmitReduceJob };
                (command, background)
            }
            _ => {
                let background = self.rng.usize(0..5) < 2;
                (LANES[lane][usize::from(background)], background)
            }
        };
        let submission = Submission { function, unique, data: data.to_vec(), background };
        let dead = self.model.twin(&submission).is_some_and(|twin| twin.dead);
        let counted = self.limited && self.model.haunted(function);
        if Exception::DeadJobListed.avoid(dead || counted) {
            return None;
        }
        self.submissions.push(submission);
        Some(Wire::request(command, &args, data))
    }

    fn epoch(&mut self) -> Piece {
        if self.plan.future && self.rng.bool() {
            return Piece::from(self.one_of(&["32503680000", "4102444800"]));
        }
        Piece::from(self.one_of(&["0", "1", "1000000000", "-5", "soon", "12x", ""]))
    }

    fn perhaps_split(&mut self, who: Who, wires: Vec<Wire>) -> Step {
        let split = (self.rng.usize(0..8) == 0).then(|| self.rng.usize(1..80));
        Step::Send { who, wires, split, outcome: Outcome::Stays }
    }

    fn registers(&mut self, who: Who) -> Option<Step> {
        let function = self.some_function();
        let peer = self.model.peer(who);
        if Exception::RegisteredTwice.avoid(peer.functions.contains(&function))
            || Exception::RegisterAsleep.avoid(peer.asleep)
        {
            return None;
        }
        if !peer.functions.is_empty() && !self.plan.several {
            return None;
        }
        let name = self.function_piece(function);
        let wire = if self.rng.usize(0..4) == 0 {
            Exception::WorkerTimeout.applied();
            let ms = self.one_of(&["0", "3600000", "-1", "never", "", "7200000ms"]);
            Wire::request(Command::CanDoTimeout, &[name, Piece::from(ms)], b"")
        } else {
            Wire::request(Command::CanDo, &[name], b"")
        };
        let mut wires = vec![wire];
        if self.rng.bool() {
            wires.push(self.grab());
        }
        Some(self.perhaps_split(who, wires))
    }

    fn grab(&mut self) -> Wire {
        let command = self.one_of(&[Command::GrabJob, Command::GrabJobUniq, Command::GrabJobAll]);
        Wire::request(command, &[], b"")
    }

    fn grabs(&mut self, _: Who) -> Option<Step> {
        let who = self.worker()?;
        let wires = (0..self.rng.usize(1..3)).map(|_| self.grab()).collect();
        Some(self.perhaps_split(who, wires))
    }

    // Mostly a connection that serves something.
    fn worker(&mut self) -> Option<Who> {
        let mut open = self.model.open();
        if self.rng.usize(0..10) > 0 {
            open.retain(|who| !self.model.peers[who.0].functions.is_empty());
        }
        (!open.is_empty()).then(|| self.one_of(&open))
    }

    fn sleeps(&mut self, _: Who) -> Option<Step> {
        let who = self.worker()?;
        if Exception::EpochTimer.avoid(self.plan.future) {
            return None;
        }
        if Exception::SleepAfterNoop.avoid(self.model.peer(who).woken) {
            return None;
        }
        let many = self.rng.usize(1..3);
        Some(say(who, vec![Wire::request(Command::PreSleep, &[], b""); many]))
    }

    fn works(&mut self, _: Who) -> Option<Step> {
        let busy: Vec<Who> =
            self.model.open().into_iter().filter(|who| !self.model.held(*who).is_empty()).collect();
        if busy.is_empty() {
            return None;
        }
        let who = self.one_of(&busy);
        let held = self.model.held(who);
        let number = self.one_of(&held);
        let mut wires = Vec::new();
        for _ in 0..self.rng.usize(0..3) {
            wires.push(self.news(number));
        }
        if self.rng.usize(0..4) > 0 {
            wires.push(self.end(number));
            self.finishing.push(number);
            if self.rng.usize(0..4) == 0 {
                // Too late: the job is gone.
                wires.push(if self.rng.bool() { self.end(number) } else { self.news(number) });
            }
            if self.rng.bool() {
                wires.push(self.grab());
            }
        }
        (!wires.is_empty()).then(|| self.perhaps_split(who, wires))
    }

    /// WORK_DATA, WORK_WARNING or WORK_STATUS of a job.
    pub(super) fn news(&mut self, number: usize) -> Wire {
        let handle = Piece::Handle(number);
        match self.rng.usize(0..3) {
            0 => Wire::request(Command::WorkData, &[handle], &self.data()),
            1 => Wire::request(Command::WorkWarning, &[handle], &self.data()),
            _ => {
                let numbers = ["0", "1", "50", "100", "-5", "ten", "12x", " 7", "", "2147483647"];
                let numerator = Piece::from(self.one_of(&numbers));
                let denominator = Piece::from(self.one_of(&numbers));
                Wire::request(Command::WorkStatus, &[handle, numerator, denominator], b"")
            }
        }
    }

    /// The end of a job.
    pub(super) fn end(&mut self, number: usize) -> Wire {
        let handle = Piece::Handle(number);
        match self.rng.usize(0..6) {
            0 => {
                Exception::FailWithNul.applied();
                Wire::Packet {
                    magic: *b"\0REQ",
                    number: Command::WorkFail as u32,
                    body: vec![handle, Piece::from(self.one_of(&["", "", "\0"]))],
                }
            }
            1 => Wire::request(Command::WorkException, &[handle], &self.data()),
            _ => Wire::request(Command::WorkComplete, &[handle], &self.data()),
        }
    }

    fn asks(&mut self, who: Who) -> Option<Step> {
        let wire = match self.rng.usize(0..8) {
            0..3 => {
                let alive = self.model.numbers(|job| !(job.dead && job.state == State::Queued));
                Exception::DeadJobListed.avoid(alive.len() < self.model.jobs.len());
                let mut handle = match self.rng.usize(0..6) {
                    0 => vec![Piece::from(self.one_of(&["", "H:nobody:1", "x", ":", "H:"]))],
                    _ if alive.is_empty() => return None,
                    _ => vec![Piece::Handle(self.one_of(&alive))],
                };
                if self.rng.usize(0..6) == 0 {
                    handle.push(Piece::from(self.one_of(&["\0", "\0more", "x", " "])));
                }
                Wire::Packet { magic: *b"\0REQ", number: Command::GetStatus as u32, body: handle }
            }
            3..5 => {
                // Scripts share the jobs without a name of their own.
                let unique = Some(self.unique()).filter(|unique| unique != b"-").unwrap_or_default();
                let dead = self
                    .model
                    .jobs
                    .iter()
                    .any(|job| job.dead && job.state == State::Queued && job.submission.unique == unique);
                let bearers =
                    self.model.numbers(|job| job.state != State::Over && job.submission.unique == unique);
                if Exception::DeadJobListed.avoid(dead) || Exception::SharedUnique.avoid(bearers.len() > 1) {
                    return None;
                }
                Wire::request(Command::GetStatusUnique, &[Piece::Bytes(unique)], b"")
            }
            5 => Wire::request(Command::EchoReq, &[], &self.data()),
            6 => {
                let option = self.one_of(&["exceptions", "EXCEPTIONS", "Exceptions", "exception", "", "x"]);
                Wire::request(Command::OptionReq, &[Piece::from(option)], b"")
            }
            _ => {
                let long = "i".repeat(200);
                let rest = self.one_of(&["worker", "with some spaces", &long]);
                let id = format!("{}{rest}", self.name);
                Wire::request(Command::SetClientId, &[Piece::Bytes(id.into_bytes())], b"")
            }
        };
        Some(self.perhaps_split(who, vec![wire]))
    }

    fn unregisters(&mut self, _: Who) -> Option<Step> {
        let who = self.worker()?;
        let wakes_itself = self.model.peer(who).asleep && !self.model.held(who).is_empty();
        if Exception::UnregisterAsleep.avoid(wakes_itself) {
            return None;
        }
        if self.rng.usize(0..3) == 0 {
            return self
                .may_lose_worker(who, |_| true)
                .then(|| say(who, vec![Wire::request(Command::ResetAbilities, &[], b"")]));
        }
        let function = self.some_function();
        let name = self.function_piece(function);
        self.may_lose_worker(who, |of| of == function)
            .then(|| say(who, vec![Wire::request(Command::CantDo, &[name], b"")]))
    }

    fn administers(&mut self, who: Who) -> Option<Step> {
        let function = self.some_function();
        let name = self.function(function);
        let haunted = (0..self.plan.functions).any(|function| self.model.haunted(function));
        let pieces = match self.rng.usize(0..16) {
            kind @ 0..6 => {
                if Exception::DeadJobListed.avoid(haunted) {
                    return None;
                }
                Exception::OwnNumbers.applied();
                let list = self.one_of(&["status", "prioritystatus", "show jobs", "show unique jobs"]);
                if list == "show jobs" && self.joined() {
                    return None;
                }
                let list = if kind == 0 { list.to_uppercase() } else { list.to_owned() };
                vec![Piece::Bytes(list.into_bytes())]
            }
            6 | 7 => vec![Piece::from("workers")],
            8 => vec![Piece::from(self.one_of(&[
                "version",
                "getpid",
                "verbose",
                "VERSION more words",
                "Verbose",
            ]))],
            9 | 10 => {
                if Exception::DeadJobListed.avoid(haunted) {
                    return None;
                }
                let limits = self.one_of(&["", " 0", " 1", " 2", " 3 1", " 1 2 3", " -1", " many", " 5 0 0"]);
                self.limited = true;
                vec![Piece::from("maxqueue "), Piece::Bytes(name), Piece::from(limits)]
            }
            11 | 12 => {
                Exception::CreateWithBareLf.applied();
                vec![Piece::from("create function "), Piece::Bytes(name), Piece::from("\r")]
            }
            13 => {
                let jobs = self
                    .model
                    .jobs
                    .iter()
                    .any(|job| job.state == State::Queued && job.submission.function == function);
                if Exception::DropWithJobs.avoid(jobs) {
                    return None;
                }
                vec![Piece::from("drop function "), Piece::Bytes(name)]
            }
            _ => return self.cancels(who),
        };
        let mut pieces = pieces;
        pieces.push(Piece::from(self.one_of(&["\n", "\n", "\r\n"])));
        Some(self.perhaps_split(who, vec![Wire::Line(pieces)]))
    }

    fn cancels(&mut self, who: Who) -> Option<Step> {
        if self.rng.usize(0..3) == 0 {
            let bogus = self.one_of(&["H:nobody:1", "x", ""]);
            return Some(say(who, vec![line(&format!("cancel job {bogus}\n"))]));
        }
        let running = self.model.numbers(|job| matches!(job.state, State::Running(_)));
        Exception::CancelRunning.avoid(!running.is_empty());
        let queued = self.model.numbers(|job| job.state == State::Queued && !job.dead);
        if !self.plan.loss || queued.is_empty() {
            return None;
        }
        let number = self.one_of(&queued);
        self.model.cancel(number);
        let pieces = vec![Piece::from("cancel job "), Piece::Handle(number), Piece::from("\n")];
        Some(say(who, vec![Wire::Line(pieces)]))
    }
}

/// A step in one piece after which the connection stays.
pub(super) fn say(who: Who, wires: Vec<Wire>) -> Step {
    Step::Send { who, wires, split: None, outcome: Outcome::Stays }
}

/// A text line; `text` has its line end.
pub(super) fn line(text: &str) -> Wire {
    Wire::Line(vec![Piece::from(text)])
}
