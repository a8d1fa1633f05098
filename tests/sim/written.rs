//! What the model learns when a shard writes to a connection.

use gearshard::protocol::decode::{Frame, decode};
use gearshard::protocol::packet::{Command, Magic, Packet};

use crate::ask::{Admin, Grab, Load, Unique, parse_function, parse_payload};
use crate::link::{Asked, Expected, LinkId, News};
use crate::model::{Fate, Job, Model, Passed, Run, State, SubmitId, Suspect, tell};
use crate::rules::{broken, ensure};

const BODY_BYTES_MAX: u32 = 1 << 24;

impl Model {
    /// Bytes for a connection; whole packets and lines are understood at once.
    pub(crate) fn written(&mut self, link: LinkId, parts: [&[u8]; 2]) {
        let mut bytes = std::mem::take(&mut self.links[link].partial);
        bytes.extend_from_slice(parts[0]);
        bytes.extend_from_slice(parts[1]);
        let mut at = 0;
        loop {
            match decode(&bytes[at..], BODY_BYTES_MAX) {
                Ok(Some((frame, used))) => {
                    self.frame(link, frame);
                    at += used;
                }
                Ok(None) => break,
                Err(error) => broken!(RepliesInOrder, "link {link} was sent nonsense: {error}"),
            }
        }
        bytes.drain(..at);
        self.links[link].partial = bytes;
    }

    fn frame(&mut self, link: LinkId, frame: Frame<'_>) {
        let tick = self.next_tick();
        let packet = match frame {
            Frame::Line(line) => return self.line(link, line),
            Frame::Binary(packet) => packet,
        };
        tell!(self, "written: link {link} {}", describe(&packet));
        ensure!(packet.magic == Magic::Response, RepliesInOrder, "link {link} got a request");
        let news = match packet.command {
            Command::Noop => self.noop(link),
            Command::WorkData
            | Command::WorkWarning
            | Command::WorkStatus
            | Command::WorkComplete
            | Command::WorkFail
            | Command::WorkException => self.news(link, &packet),
            _ => self.reply(link, &packet, tick),
        };
        self.links[link].unflushed.push(news);
    }

    fn noop(&mut self, at: LinkId) -> News {
        let link = &mut self.links[at];
        ensure!(link.asleep, NoopOnlyToSleepers, "link {at} is awake");
        ensure!(!link.registered.is_empty(), NoopOnlyToSleepers, "link {at} serves nothing");
        ensure!(!link.woken, OneNoopForOneSleep, "link {at} got its second NOOP");
        link.woken = true;
        self.noops += 1;
        News::Noop
    }

    fn reply(&mut self, link: LinkId, packet: &Packet<'_>, tick: u64) -> News {
        let not_found = packet.command == Command::Error && packet.args[0] == b"JOB_NOT_FOUND";
        if not_found && self.not_found(link) {
            return News::NotFound;
        }
        let expected = loop {
            match self.links[link].expected.pop_front() {
                None => broken!(NoReplyWithoutRequest, "link {link} got {}", describe(packet)),
                Some(Expected::WorkError { must }) => {
                    ensure!(!must, WorkOnlyFromHolder, "link {link} got no JOB_NOT_FOUND");
                }
                Some(expected) => break expected,
            }
        };
        ensure!(
            !not_found,
            HolderIsKnown,
            "link {link} got JOB_NOT_FOUND for its job instead of {expected:?}"
        );
        let fits = match (&expected, packet.command) {
            (Expected::Submit(submit), Command::JobCreated) => return self.created(*submit, packet),
            (Expected::Submit(submit), Command::Error) => return self.refused(*submit, packet),
            (Expected::Grab(grab), Command::NoJob) => return self.no_job(grab, tick),
            (Expected::Grab(grab), Command::JobAssign | Command::JobAssignUniq | Command::JobAssignAll) => {
                return self.assigned(link, grab, packet, tick);
            }
            (Expected::Status { number }, Command::StatusRes) => self.status(*number, packet),
            (Expected::StatusUnique { unique }, Command::StatusResUnique) => {
                self.status_unique(*unique, packet)
            }
            (Expected::Echo(number), Command::EchoRes) => packet.data == number.to_string().as_bytes(),
            (Expected::Option, Command::OptionRes) => packet.args[0] == b"exceptions",
            _ => false,
        };
        ensure!(fits, RepliesInOrder, "link {link} got {} for {expected:?}", describe(packet));
        News::Other
    }

    /// Whether JOB_NOT_FOUND is due here; of several, one that must come is meant.
    fn not_found(&mut self, link: LinkId) -> bool {
        let expected = &mut self.links[link].expected;
        let errors = expected.iter().take_while(|due| matches!(due, Expected::WorkError { .. })).count();
        let must =
            expected.iter().take(errors).position(|due| matches!(due, Expected::WorkError { must: true }));
        errors > 0 && expected.remove(must.unwrap_or(0)).is_some()
    }

    fn created(&mut self, submit: SubmitId, packet: &Packet<'_>) -> News {
        let number = self.number(packet.args[0]);
        self.unseen.retain(|&unseen| unseen != submit);
        let sent = self.submits[submit].sent;
        let key = self.submits[submit].key();
        if !self.jobs.contains_key(&number) {
            self.add_job(number, &[submit]);
        }
        self.submits[submit].fate = Fate::Created(number);
        let job = self.job(number);
        ensure!(
            job.function == self.submits[submit].function && self.jobs[&number].key == key,
            JoinsOnlyItsOwnUnique,
            "submit {submit} was given job {number} of another function or unique"
        );
        let job = &self.jobs[&number];
        if key.is_none() {
            ensure!(
                job.submits.is_empty() && job.makers.contains(&submit),
                JoinsOnlyItsOwnUnique,
                "submit {submit} has nothing to coalesce by, but joined job {number}"
            );
        }
        // A job that a rest found gone, or whose end a client has heard of, must not be joined.
        let over = job.state == State::Ended && job.over.is_some_and(|over| over < sent);
        ensure!(!over, HandleNotReused, "submit {submit} was given job {number}, which had ended");
        let job = self.job(number);
        job.submits.push(submit);
        if key.is_none() {
            job.makers = vec![submit];
        }
        News::Created(submit)
    }

    fn refused(&mut self, submit: SubmitId, packet: &Packet<'_>) -> News {
        self.unseen.retain(|&unseen| unseen != submit);
        let function = usize::from(self.submits[submit].function);
        ensure!(
            self.drained || self.limited[function],
            RefusedOnlyWithReason,
            "submit {submit} got {}",
            describe(packet)
        );
        self.submits[submit].fate = Fate::Refused;
        News::Refused
    }

    fn no_job(&mut self, grab: &Asked, tick: u64) -> News {
        self.suspect(grab, tick, None);
        News::NoJob
    }

    fn assigned(&mut self, link: LinkId, grab: &Asked, packet: &Packet<'_>, tick: u64) -> News {
        let number = self.number(packet.args[0]);
        let function = parse_function(packet.args[1]);
        let served = grab.functions.iter().find(|&&(served, _)| Some(served) == function);
        let Some(&(function, timeout_ms)) = served else {
            broken!(AssignedOnlyWhatIsServed, "link {link} got {}", describe(packet));
        };
        let load = Load::parse(packet.data);
        if !self.jobs.contains_key(&number) {
            self.discover(number, function, load);
        }
        self.check_run(link, grab, number, tick);
        self.check_contents(grab, number, load, packet);
        let job = &self.jobs[&number];
        if job.visible.is_some_and(|visible| visible > grab.sent) || !job.suspects.is_empty() {
            let late = job.suspects.iter().position(|suspect| suspect.answered < grab.sent);
            if late.is_some() {
                self.judge(job, &format!("but was assigned to the grab sent at {}", grab.sent));
            }
        }
        self.suspect(grab, tick, Some(number));
        let run = self.runs.len();
        self.runs.push(Run {
            number,
            link,
            earliest_us: grab.handed_us,
            latest_us: self.now.mono_us,
            timeout_us: if timeout_ms == 0 { 0 } else { u64::from(timeout_ms.max(1000)) * 1000 },
            data_sent: 0,
            data_handed: 0,
            lost: false,
        });
        let job = self.job(number);
        job.state = State::Running(run);
        job.wait = None;
        job.attempts += 1;
        job.visible = None;
        job.progress = (0, 0);
        job.suspects.clear();
        self.assigned += 1;
        News::Assigned { number, run }
    }

    /// A job that is assigned before any JOB_CREATED told of it.
    fn discover(&mut self, number: u64, function: u8, load: Option<Load>) {
        let makers: Vec<SubmitId> = self
            .unseen
            .iter()
            .copied()
            .filter(|&submit| {
                self.submits[submit].function == function && Some(self.submits[submit].load) == load
            })
            .collect();
        ensure!(
            !makers.is_empty(),
            NoJobOutOfNothing,
            "job {number} of f{function} with {load:?} was submitted by nobody, or has run before"
        );
        self.add_job(number, &makers);
    }

    fn check_run(&mut self, link: LinkId, grab: &Asked, number: u64, tick: u64) {
        let now = self.now;
        self.check_wait(number);
        let job = &self.jobs[&number];
        match job.state {
            State::Ended => broken!(
                NotRunAfterItsEnd,
                "job {number} is assigned to link {link}, answer {tick}, after its end"
            ),
            State::Running(run) => {
                let held = &self.runs[run];
                ensure!(
                    held.may_have_timed_out(now),
                    NotRunTwice,
                    "job {number} is assigned to link {link} while link {} runs it",
                    held.link
                );
                self.job(number).moved = true;
            }
            State::Waiting | State::Unsure => {}
        }
        let job = &self.jobs[&number];
        ensure!(
            job.cancelled.is_none_or(|cancelled| grab.sent <= cancelled),
            CancelledIsGone,
            "job {number} is assigned to a grab sent after it was cancelled"
        );
        if let Some(max) = self.retries_max {
            ensure!(
                job.attempts < max,
                RetriesObeyed,
                "job {number} is given its attempt {}",
                job.attempts + 1
            );
        }
    }

    fn check_contents(&mut self, grab: &Asked, number: u64, load: Option<Load>, packet: &Packet<'_>) {
        let job = &self.jobs[&number];
        let makers: Vec<SubmitId> =
            job.makers.iter().copied().filter(|&maker| Some(self.submits[maker].load) == load).collect();
        let Some(&maker) = makers.first() else {
            broken!(AssignedAsSubmitted, "job {number} carries {load:?}, which none of its submits had");
        };
        let exact = matches!(load, Some(Load::Tag(_)));
        let submit = &self.submits[maker];
        let reduced = grab.kind == Grab::All && makers.iter().any(|&maker| self.submits[maker].reducer);
        let fits = match packet.command {
            Command::JobAssign => grab.kind == Grab::Plain,
            Command::JobAssignUniq => {
                grab.kind == Grab::Uniq
                    || (grab.kind == Grab::All && makers.iter().any(|&maker| !self.submits[maker].reducer))
            }
            _ => reduced && packet.args[3] == b"reducer",
        };
        let unique = packet.command == Command::JobAssign || packet.args[2] == submit.unique.bytes();
        ensure!(fits && unique, AssignedAsSubmitted, "{:?} got {}", grab.kind, describe(packet));
        let due = makers.iter().any(|&maker| {
            let submit = &self.submits[maker];
            submit.not_before_s * 1_000_000 <= submit.unix_max_us.max(self.now.unix_us)
        });
        ensure!(due, EpochNotEarly, "job {number} is assigned before {}", submit.not_before_s);
        if exact {
            self.job(number).makers = makers;
        }
    }

    /// Notes every visible job that this answer passes over. Each breaks its
    /// rule if it turns out that it was there all the time.
    fn suspect(&mut self, grab: &Asked, answered: u64, by: Option<u64>) {
        let taken = by.map(|number| &self.jobs[&number]);
        let taken =
            taken.map(|job| (job.number, job.function, self.priorities(job), self.earliest_sent(job)));
        for at in 0..self.live.len() {
            let job = &self.jobs[&self.live[at]];
            if job.state != State::Waiting || by == Some(job.number) {
                continue;
            }
            let by_what = match taken {
                None => self.visible_to(job, grab).then_some(Passed::NoJob),
                Some((_, function, priorities, sent)) => {
                    if self.visible_to(job, grab) && self.priorities(job).0 > priorities.1 {
                        Some(Passed::LowerPriority)
                    } else if job.function == function
                        && self.is_before(job, sent)
                        && self.priorities(job) == priorities
                        && priorities.0 == priorities.1
                    {
                        Some(Passed::LaterJob)
                    } else {
                        None
                    }
                }
            };
            if let Some(by_what) = by_what {
                let number = job.number;
                let suspect = Suspect { by_what, answered, grab_sent: grab.sent, by };
                self.job(number).suspects.push(suspect);
            }
        }
    }

    fn visible_to(&self, job: &Job, grab: &Asked) -> bool {
        job.visible.is_some_and(|visible| visible < grab.sent)
            && grab.functions.iter().any(|&(served, _)| served == job.function)
    }

    /// When the job can have been sent at the earliest, and by whom if that is known.
    fn earliest_sent(&self, job: &Job) -> (u64, Option<LinkId>) {
        let sent = job.makers.iter().map(|&maker| self.submits[maker].sent).min().unwrap_or(0);
        let link = if let [maker] = job.makers[..] { Some(self.submits[maker].link) } else { None };
        (sent, link)
    }

    fn is_before(&self, job: &Job, (sent, link): (u64, Option<LinkId>)) -> bool {
        if job.moved || job.attempts > 0 || self.not_before_s(job) > 0 {
            return false;
        }
        let same_link =
            link.is_some() && self.earliest_sent(job).1 == link && self.earliest_sent(job).0 < sent;
        same_link || job.acknowledged.is_some_and(|acknowledged| acknowledged < sent)
    }

    fn news(&mut self, link: LinkId, packet: &Packet<'_>) -> News {
        let number = self.number(packet.args[0]);
        let Some(job) = self.jobs.get(&number) else {
            broken!(NewsOnlyWhileAwaited, "link {link} hears of job {number} before JOB_CREATED");
        };
        let waiting = |submit: &SubmitId| {
            let submit = &self.submits[*submit];
            submit.link == link && !submit.background && !submit.ended
        };
        let mut awaited = job.submits.iter().copied().filter(waiting);
        let Some(submit) = awaited.next() else {
            broken!(
                NewsOnlyWhileAwaited,
                "link {link} hears of job {number} before JOB_CREATED or after the end: {}",
                describe(packet)
            );
        };
        let alone = awaited.next().is_none();
        let run = parse_payload(packet.data);
        let spoken = run.filter(|&(run, _)| self.runs.get(run).is_some_and(|run| run.number == number));
        match packet.command {
            Command::WorkStatus => {}
            Command::WorkFail => {
                let out_of_time = || {
                    let last = self.runs.iter().rfind(|run| run.number == number);
                    self.retries_max.is_some_and(|max| job.attempts >= max)
                        && last.is_some_and(|run| run.may_have_timed_out(self.now))
                };
                ensure!(
                    job.may_fail || out_of_time(),
                    NewsOnlyWhileAwaited,
                    "job {number} failed without a reason"
                );
            }
            Command::WorkComplete => ensure!(
                spoken.is_some_and(|(run, _)| job.completes.contains(&run)),
                WorkOnlyFromHolder,
                "job {number} was completed by {run:?}"
            ),
            Command::WorkException => {
                ensure!(
                    spoken.is_some_and(|(run, _)| job.exceptions.contains(&run)),
                    WorkOnlyFromHolder,
                    "job {number} got an exception from {run:?}"
                );
                ensure!(self.links[link].exceptions, ExceptionsOnlyWhenAsked, "link {link} did not ask");
            }
            _ => ensure!(spoken.is_some(), WorkOnlyFromHolder, "job {number} got data from {run:?}"),
        }
        if matches!(packet.command, Command::WorkFail | Command::WorkComplete | Command::WorkException) {
            self.heard_the_end(number, submit, packet.command);
        } else if let (Command::WorkData, Some(spoken), true) = (packet.command, spoken, alone) {
            self.heard_data(submit, spoken);
        }
        News::Other
    }

    fn heard_the_end(&mut self, number: u64, submit: SubmitId, command: Command) {
        let link = self.submits[submit].link;
        let job = &self.jobs[&number];
        let excused = self.links[link].exceptions && command == Command::WorkFail;
        ensure!(
            !excused
                || job.exceptions.is_empty()
                || job.attempts > 1
                || job.cancelled.is_some()
                || job.completes.is_empty(),
            ExceptionsOnlyWhenAsked,
            "link {link} asked for exceptions and got WORK_FAIL"
        );
        self.submits[submit].ended = true;
        let tick = self.tick;
        let job = self.job(number);
        job.over.get_or_insert(tick);
        match (command, job.state) {
            (_, State::Ended) => {}
            // Cancelled: the worker that has it, or is about to, goes on unheard.
            (Command::WorkFail, state) => {
                job.cancelled.get_or_insert(tick);
                job.suspects.clear();
                job.visible = None;
                if state == State::Waiting {
                    job.state = State::Unsure;
                }
            }
            _ => self.end(number),
        }
    }

    fn heard_data(&mut self, submit: SubmitId, (run, sequence): (usize, u32)) {
        let last = self.submits[submit].data.filter(|&(before, _)| before == run);
        if let Some((_, last)) = last {
            // What it says of a lost run is heard again once the worker has been
            // assigned the same job anew: the two have one handle.
            let Run { number, link, .. } = self.runs[run];
            let anew = |later: &Run| later.number == number && later.link == link;
            let resumed = sequence > last && self.runs[run + 1..].iter().any(anew);
            ensure!(
                sequence == last + 1 || resumed,
                DataInOrder,
                "submit {submit} got data {sequence} of run {run} after {last}"
            );
        }
        self.submits[submit].data = Some((run, sequence));
    }

    fn status(&self, number: u64, packet: &Packet<'_>) -> bool {
        if packet.args[0] != self.prefix.handle(number).as_bytes() {
            return false;
        }
        if self.resting {
            let job = self.jobs.get(&number).filter(|job| job.state != State::Ended);
            let running = job.is_some_and(|job| matches!(job.state, State::Running(_)));
            let (numerator, denominator) = job.filter(|_| running).map_or((0, 0), |job| job.progress);
            let expected = [
                u32::from(job.is_some()).to_string(),
                u32::from(running).to_string(),
                numerator.to_string(),
                denominator.to_string(),
            ];
            let timed = job.is_some_and(|job| match job.state {
                State::Running(run) => self.runs[run].timeout_us > 0,
                _ => false,
            });
            // Of a job whose time may be up, it is not known which progress counts.
            let equal = expected
                .iter()
                .take(if timed { 2 } else { 4 })
                .zip(&packet.args[1..])
                .all(|(text, arg)| text.as_bytes() == *arg);
            ensure!(equal, StatusOfJobIsTrue, "job {number}: {} instead of {expected:?}", describe(packet));
        }
        true
    }

    fn status_unique(&self, unique: Unique, packet: &Packet<'_>) -> bool {
        if packet.args[0] != unique.bytes() {
            return false;
        }
        if self.resting {
            let named = matches!(unique, Unique::Named(_));
            let mut of_unique = self
                .live
                .iter()
                .map(|number| &self.jobs[number])
                .filter(|job| named && job.can_be_joined() && job.key.is_some_and(|key| key.1 == unique))
                .peekable();
            let known = packet.args[1] == b"1";
            ensure!(
                known == of_unique.peek().is_some() || !self.unseen.is_empty(),
                StatusOfJobIsTrue,
                "{unique:?}: {}",
                describe(packet)
            );
            let like = |job: &Job| {
                let running = matches!(job.state, State::Running(_));
                packet.args[2] == u32::from(running).to_string().as_bytes()
                    && packet.args[5] == self.waiters(job).count().to_string().as_bytes()
            };
            ensure!(
                !known || of_unique.any(like) || !self.unseen.is_empty(),
                StatusOfJobIsTrue,
                "{unique:?}: {}",
                describe(packet)
            );
        }
        true
    }

    fn line(&mut self, link: LinkId, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        tell!(self, "written: link {link} line {line:?}");
        while let Some(Expected::WorkError { must }) = self.links[link].expected.front() {
            ensure!(!must, WorkOnlyFromHolder, "link {link} got no JOB_NOT_FOUND");
            self.links[link].expected.pop_front();
        }
        let Some(Expected::Admin { admin, handed }) = self.links[link].expected.front().cloned() else {
            broken!(RepliesInOrder, "link {link} got the line {line:?}");
        };
        let listed = admin.is_list() && line != ".";
        self.links[link].list.push(line);
        if listed {
            return;
        }
        self.links[link].expected.pop_front();
        let lines = std::mem::take(&mut self.links[link].list);
        self.answered(admin, handed, &lines);
        self.links[link].unflushed.push(News::Text(lines));
    }

    fn answered(&mut self, admin: Admin, handed: u64, lines: &[String]) {
        let tick = self.tick;
        let confirmed = lines[0].starts_with("OK");
        match admin {
            Admin::Version | Admin::Create(_) | Admin::Maxqueue(..) => {
                ensure!(confirmed, RepliesInOrder, "{admin:?} got {lines:?}");
                if let Admin::Maxqueue(function, limit) = admin {
                    // Only a function that is there can be limited.
                    let exists = self.exists[usize::from(function)];
                    let limit = limit.filter(|&limit| limit > 0 && exists);
                    self.limits[usize::from(function)] = limit.map(|limit| (limit, None));
                }
            }
            Admin::Unknown => {
                ensure!(lines[0].starts_with("ERR UNKNOWN_COMMAND"), RepliesInOrder, "{lines:?}");
            }
            Admin::Cancel(number) if confirmed => {
                let job = self.job(number);
                job.cancelled.get_or_insert(tick);
                if job.state == State::Waiting {
                    job.state = State::Unsure;
                    job.visible = None;
                    job.suspects.clear();
                }
            }
            Admin::RequeueDead(number) => self.requeued(number, &lines[0]),
            Admin::PurgeDead(which) => self.purged(which, &lines[0]),
            Admin::Drop(function) if confirmed => self.dropped(function, handed),
            Admin::Cancel(_) | Admin::Drop(_) => {
                ensure!(lines[0].starts_with("ERR "), RepliesInOrder, "{admin:?} got {lines:?}");
            }
            _ => {}
        }
    }

    fn dropped(&mut self, function: u8, handed: u64) {
        self.limits[usize::from(function)] = None;
        let tick = self.tick;
        for at in (0..self.live.len()).rev() {
            let number = self.live[at];
            let job = self.job(number);
            if job.function == function {
                let known_before = job.acknowledged.is_some_and(|acknowledged| acknowledged < handed);
                job.suspects.clear();
                job.visible = None;
                job.may_fail = true;
                if known_before && job.state == State::Waiting {
                    job.cancelled.get_or_insert(tick);
                }
                if job.state == State::Waiting {
                    job.state = State::Unsure;
                }
            }
        }
    }

    fn number(&self, handle: &[u8]) -> u64 {
        match self.prefix.parse(handle) {
            Some(number) => number,
            None => broken!(RepliesInOrder, "{:?} is no handle", String::from_utf8_lossy(handle)),
        }
    }
}

/// A packet in words, for messages.
fn describe(packet: &Packet<'_>) -> String {
    let args: Vec<_> = packet.args[..packet.command.argc()]
        .iter()
        .map(|arg| String::from_utf8_lossy(arg).into_owned())
        .collect();
    format!("{} {args:?} {:?}", packet.command.name(), String::from_utf8_lossy(packet.data))
}
