//! Runs that come to nothing under a policy: back-off, and dead letters.

use std::collections::BTreeMap;

use gearshard::protocol::retry::{Cause, Then};
use gearshard::queue::change::Death;

use crate::ask::{Admin, Ask};
use crate::link::LinkId;
use crate::model::{Model, Run, RunId, State, Wait, tell};
use crate::rules::{broken, ensure};
use crate::worker::pick;
use crate::world::World;

impl Model {
    /// A worker has said that its run came to nothing.
    pub(crate) fn failed(&mut self, number: u64, run: RunId, race: bool) {
        let job = &self.jobs[&number];
        let mind = self.policy.is_some_and(|policy| policy.on.fail);
        let surely = !race && (!mind || self.is_background(job)) && !job.lost_unseen;
        let spent = self.retries_max.is_some_and(|max| job.attempts >= max);
        let may = self.is_background(job) || self.may_be_background(job);
        let again = mind && !spent && may;
        if again && surely {
            // Nobody hears of it, so WORK_FAIL has no more reason than before.
            self.back_off(number, run);
            self.runs[run].lost = true;
            let job = self.job(number);
            (job.state, job.moved, job.visible, job.progress) = (State::Waiting, true, None, (0, 0));
            return;
        }
        if mind && surely {
            return self.given_up(number, true);
        }
        self.job(number).may_fail = true;
        // A background submit may still join it before its owner hears of this.
        if race || (mind && (may || self.jobs[&number].key.is_some())) {
            self.back_off(number, run);
            self.job(number).state = State::Unsure;
        } else {
            self.end(number);
        }
    }

    /// There is no further attempt; `surely` if nothing else can have ended the job.
    pub(crate) fn given_up(&mut self, number: u64, surely: bool) {
        let kept = self.policy.is_some_and(|policy| policy.then == Then::Dead);
        let must = kept && surely && self.is_background(&self.jobs[&number]);
        let job = self.job(number);
        job.may_fail = true;
        job.must_be_letter = must && !job.lost_unseen && job.cancelled.is_none();
        self.end(number);
    }

    /// The job waits since this run was lost, whenever that was.
    pub(crate) fn back_off(&mut self, number: u64, run: RunId) {
        let lost_us = self.lost_us(run).min(self.oldest_us);
        let wait = self.wait_after(number, lost_us);
        self.job(number).wait = wait;
    }

    /// When the run may have been out of time.
    fn lost_us(&self, run: RunId) -> u64 {
        let run = &self.runs[run];
        if run.timeout_us > 0 { run.earliest_us + run.timeout_us } else { u64::MAX }
    }

    fn wait_after(&self, number: u64, lost_us: u64) -> Option<Wait> {
        let attempts = u16::try_from(self.jobs[&number].attempts).expect("few attempts");
        let seconds = self.policy?.wait_s(attempts);
        let until_us = lost_us + u64::from(seconds) * 1_000_000;
        (seconds > 0).then_some(Wait { seconds, until_us, over_s: None })
    }

    /// The job is being assigned.
    pub(crate) fn check_wait(&self, number: u64) {
        let job = &self.jobs[&number];
        let wait = match job.state {
            // The run before it was out of time.
            State::Running(run) => self.wait_after(number, self.lost_us(run).min(self.now.mono_us)),
            _ => job.wait,
        };
        ensure!(
            wait.is_none_or(|wait| self.now.mono_us >= wait.until_us),
            BackoffNotEarly,
            "job {number} is run at {} after {wait:?}",
            self.now.mono_us
        );
    }

    /// At rest: whether a job that waits may be run by now.
    pub(crate) fn has_waited(&mut self, number: u64) -> bool {
        let unix_us = self.now.unix_us;
        let Some(wait) = &mut self.job(number).wait else { return true };
        let over_us = unix_us + u64::from(wait.seconds) * 1_000_000;
        unix_us / 1_000_000 >= *wait.over_s.get_or_insert(over_us.div_ceil(1_000_000))
    }

    /// The answer to `requeue dead`, of a letter that there was at rest.
    pub(crate) fn requeued(&mut self, number: u64, answer: &str) {
        let key = self.jobs[&number].key;
        let mut same = self.live.iter().map(|number| &self.jobs[number]);
        let same = same.find(|job| key.is_some() && job.key == key && job.can_be_joined());
        let same = same.map(|job| (job.number, self.is_background(job)));
        let stays = matches!(same, Some((_, false)));
        let expected = if stays { "OK 0" } else { "OK 1" };
        ensure!(
            answer.trim_end() == expected,
            DeadLettersKept,
            "requeued {number} beside {same:?}: {answer:?}"
        );
        if stays {
            return;
        }
        self.letters.remove(&number);
        if same.is_some() {
            self.letters_joined += 1;
            return;
        }
        let job = self.job(number);
        (job.state, job.attempts, job.wait, job.moved) = (State::Waiting, 0, None, true);
        (job.may_fail, job.cancelled, job.over, job.must_be_letter) = (false, None, None, false);
        (job.visible, job.progress) = (None, (0, 0));
        self.live.push(number);
    }

    /// The answer to `purge dead`.
    pub(crate) fn purged(&mut self, which: Option<u64>, answer: &str) {
        let before = self.letters.len();
        self.letters.retain(|&number| which.is_some_and(|which| which != number));
        let expected = format!("OK {}", before - self.letters.len());
        ensure!(answer.trim_end() == expected, DeadLettersKept, "purged {which:?}: {answer:?}");
    }
}

/// The lines of `show dead`.
pub(crate) fn read(model: &Model, lines: &[String]) -> BTreeMap<u64, (u16, Death)> {
    let letter = |line: &String| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [handle, _, _, attempts, cause, at_s, _] = fields[..] else { panic!("seven columns: {line}") };
        let number = model.prefix.parse(handle.as_bytes()).expect("a handle");
        let cause = Cause::ALL.into_iter().find(|known| known.name() == cause).expect("a cause");
        let at_s = at_s.parse().expect("a time");
        (number, (attempts.parse().expect("a number"), Death { cause, at_s }))
    };
    lines.iter().map(letter).collect()
}

/// Every letter has a reason and stays, and every job that must be one is.
pub(crate) fn compare(model: &mut Model, letters: &BTreeMap<u64, (u16, Death)>) {
    for number in &model.letters {
        ensure!(letters.contains_key(number), DeadLettersKept, "{number} is no letter any more");
    }
    for (number, &(attempts, death)) in letters {
        let Some(job) = model.jobs.get(number) else {
            broken!(DeadLettersKept, "job {number} was never run");
        };
        let policy = model.policy.expect("without a policy nothing is a letter");
        let out_of_time = |run: &Run| run.number == *number && run.may_have_timed_out(model.now);
        let reason = job.may_fail || model.runs.iter().any(out_of_time);
        let background = model.is_background(job) || model.may_be_background(job);
        let may = job.state == State::Ended && reason && background;
        let minded = policy.on.has(death.cause) && policy.then == Then::Dead;
        ensure!(
            may && minded && attempts == policy.attempts && job.attempts <= attempts.into(),
            DeadLettersKept,
            "{attempts}, {death:?}: {job:?}"
        );
    }
    for (number, job) in model.jobs.iter_mut().filter(|(_, job)| job.must_be_letter) {
        ensure!(letters.contains_key(number), DeadLettersKept, "job {number} is nowhere: {job:?}");
        job.must_be_letter = false;
    }
    model.letters = letters.keys().copied().collect();
}

/// Now and then the auditor requeues a letter, or purges one.
pub(crate) fn order(world: &mut World, auditor: LinkId) {
    if world.model.ending {
        return;
    }
    let letters: Vec<u64> = world.model.letters.iter().copied().collect();
    let Some(number) = pick(&mut world.rng, &letters) else { return };
    let key = world.model.jobs[&number].key;
    let admin = match world.rng.u8(..4) {
        // A job that nobody knows of may have its unique.
        0 | 1 if world.model.unseen_of(key).next().is_none() => Admin::RequeueDead(number),
        2 => Admin::PurgeDead(Some(number)),
        _ => return,
    };
    tell!(world.model, "order: {admin:?}");
    world.send(auditor, Ask::Admin(admin));
    world.run_until_quiet();
    while world.read(auditor).is_some() {}
}

/// Nothing is left but letters.
pub(crate) fn purge_all(world: &mut World, auditor: LinkId) {
    world.send(auditor, Ask::Admin(Admin::PurgeDead(None)));
    world.run_until_quiet();
    while world.read(auditor).is_some() {}
    ensure!(world.model.letters.is_empty(), DeadLettersKept, "{:?} are left", world.model.letters);
}
