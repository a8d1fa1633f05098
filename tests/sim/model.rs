//! What clients and workers know of the jobs, gathered in one place.
//!
//! The model is told only what crosses a connection: requests at the moment a
//! shard is handed them, replies at the moment a shard writes them and at the
//! moment the peer reads them. It does not look into shards. Where several
//! outcomes are possible (a result races with a timeout), the job is unsure
//! until the next rest, when `show jobs` decides.

use std::collections::{BTreeMap, BTreeSet};

use gearshard::protocol::handle::HandlePrefix;
use gearshard::protocol::retry::RetryPolicy;
use gearshard::queue::job::Priority;
use gearshard::shard::ids::{ConnId, Now};
use gearshard::shard::settings::Retries;

use crate::ask::{Load, Unique};
use crate::link::{Link, LinkId};
use crate::options::Options;
use crate::rules::{broken, ensure};

/// Counts everything that happens; no two things have the same.
pub(crate) type Tick = u64;
pub(crate) type SubmitId = usize;
pub(crate) type RunId = usize;

/// One submit request.
#[derive(Clone, Debug)]
pub(crate) struct Submit {
    pub(crate) link: LinkId,
    pub(crate) sent: Tick,
    pub(crate) function: u8,
    pub(crate) unique: Unique,
    pub(crate) load: Load,
    pub(crate) priority: Priority,
    pub(crate) background: bool,
    pub(crate) reducer: bool,
    pub(crate) not_before_s: u64,
    pub(crate) fate: Fate,
    /// When the client read its JOB_CREATED.
    pub(crate) read: Option<Tick>,
    /// It has heard of the end.
    pub(crate) ended: bool,
    /// The last WORK_DATA that it got.
    pub(crate) data: Option<(RunId, u32)>,
    /// The highest unix time since it was sent, in microseconds.
    pub(crate) unix_max_us: u64,
}

impl Submit {
    /// What it may be coalesced by.
    pub(crate) fn key(&self) -> Option<Key> {
        match (self.unique, self.load) {
            (Unique::Empty, _) | (Unique::Dash, Load::Empty) => None,
            (Unique::Dash, load) => Some((self.function, self.unique, Some(load))),
            (Unique::Named(_), _) => Some((self.function, self.unique, None)),
        }
    }
}

pub(crate) type Key = (u8, Unique, Option<Load>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Not handed to a shard, perhaps never.
    Sent,
    Handed,
    Created(u64),
    Refused,
    /// Handed over, and its connection gone before the answer.
    Lost,
}

/// One assignment of a job.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) link: LinkId,
    /// No clock was earlier when the grab was handed over, and none later when the job was written.
    pub(crate) earliest_us: u64,
    pub(crate) latest_us: u64,
    pub(crate) timeout_us: u64,
    /// WORK_DATA sent, and handed over, so far.
    pub(crate) data_sent: u32,
    pub(crate) data_handed: u32,
    /// The server has taken the job back, as far as can be known.
    pub(crate) lost: bool,
}

impl Run {
    pub(crate) fn may_have_timed_out(&self, now: Now) -> bool {
        self.timeout_us > 0 && now.mono_us >= self.earliest_us + self.timeout_us
    }

    pub(crate) fn has_timed_out(&self, now: Now) -> bool {
        self.timeout_us > 0 && now.mono_us >= self.latest_us + self.timeout_us
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Queued or scheduled.
    Waiting,
    Running(RunId),
    /// Waiting, running or gone: the next rest decides.
    Unsure,
    Ended,
}

/// A job passed over: it breaks the rule if it turns out to have been there.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    pub(crate) by_what: Passed,
    pub(crate) answered: Tick,
    pub(crate) grab_sent: Tick,
    pub(crate) by: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    LowerPriority,
    LaterJob,
    NoJob,
}

/// The time between two attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) seconds: u32,
    /// It is not over before, by any clock.
    pub(crate) until_us: u64,
    /// It is over by then, in unix seconds; known from the first rest on.
    pub(crate) over_s: Option<u64>,
}

/// One job, by its handle.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) function: u8,
    pub(crate) key: Option<Key>,
    /// Submits that were answered with its handle.
    pub(crate) submits: Vec<SubmitId>,
    /// Submits that may have made it; exactly one when that is known.
    pub(crate) makers: Vec<SubmitId>,
    pub(crate) state: State,
    pub(crate) attempts: u32,
    /// Runnable and known to a peer since then.
    pub(crate) visible: Option<Tick>,
    /// First JOB_CREATED read.
    pub(crate) acknowledged: Option<Tick>,
    /// Its place in the lane is not known any more.
    pub(crate) moved: bool,
    pub(crate) suspects: Vec<Suspect>,
    /// It may have been lost by a worker that was never sent it.
    pub(crate) lost_unseen: bool,
    /// Something happened after which WORK_FAIL may come.
    pub(crate) may_fail: bool,
    /// Runs whose WORK_COMPLETE (or WORK_EXCEPTION) was handed over.
    pub(crate) completes: Vec<RunId>,
    pub(crate) exceptions: Vec<RunId>,
    /// `cancel job` or `drop function` was confirmed then.
    pub(crate) cancelled: Option<Tick>,
    /// The last WORK_STATUS.
    pub(crate) progress: (u32, u32),
    /// Its end was seen then, by a client or at rest.
    pub(crate) over: Option<Tick>,
    /// As `show jobs` said at the last rest: it runs, but nobody is told.
    pub(crate) dead: bool,
    /// It is not run before this is over.
    pub(crate) wait: Option<Wait>,
    /// It was given up, and that for certain as a background job.
    pub(crate) must_be_letter: bool,
}

impl Job {
    /// Whether a submit with its unique joins it. A job that its clients have
    /// left while it runs can be joined, a cancelled one can not.
    pub(crate) fn can_be_joined(&self) -> bool {
        self.cancelled.is_none()
    }
}

/// All that peers know.
pub(crate) struct Model {
    pub(crate) tick: Tick,
    /// The real clock; shards may be handed an older one.
    pub(crate) now: Now,
    /// The oldest clock by which a turn goes on.
    pub(crate) oldest_us: u64,
    pub(crate) shards: u16,
    pub(crate) retries_max: Option<u32>,
    pub(crate) policy: Option<RetryPolicy>,
    /// The dead letters that the last rest has shown.
    pub(crate) letters: BTreeSet<u64>,
    /// Those that have joined other jobs.
    pub(crate) letters_joined: u64,
    /// Nothing is to begin any more.
    pub(crate) ending: bool,
    pub(crate) prefix: HandlePrefix,
    pub(crate) links: Vec<Link>,
    /// Per shard and slot, the connection that was there last.
    slots: Vec<Vec<LinkId>>,
    pub(crate) submits: Vec<Submit>,
    pub(crate) runs: Vec<Run>,
    pub(crate) jobs: BTreeMap<u64, Job>,
    /// Those that have not ended.
    pub(crate) live: Vec<u64>,
    /// Submits by key, as long as they may still make a job unseen.
    pub(crate) unseen: Vec<SubmitId>,
    /// Which shard owns the function, once a handle told.
    owners: Vec<Option<u16>>,
    /// Functions on which `maxqueue` was ever used.
    pub(crate) limited: Vec<bool>,
    /// The limit in force, and how many jobs were there when it came.
    pub(crate) limits: Vec<Option<(u32, Option<usize>)>>,
    /// Functions that are known to exist.
    pub(crate) exists: Vec<bool>,
    /// Functions that an operator has tried to drop since the last rest.
    pub(crate) dropping: Vec<bool>,
    /// Functions of which a job may be on its way to a worker that has left, or back.
    pub(crate) astray: Vec<bool>,
    /// Functions of which a job may have been lost before its worker was sent it.
    pub(crate) unseen_losses: Vec<bool>,
    pub(crate) drained: bool,
    /// Nothing is on its way: answers can be compared exactly.
    pub(crate) resting: bool,
    pub(crate) noops: u64,
    pub(crate) assigned: u64,
    /// The story, kept only when a run is told again.
    pub(crate) story: Option<Vec<String>>,
}

/// Adds a line to the story, when there is one.
macro_rules! tell {
    ($model:expr, $($text:tt)*) => {
        if $model.story.is_some() {
            $model.tell(&format!($($text)*));
        }
    };
}
pub(crate) use tell;

impl Model {
    pub(crate) fn new(options: &Options, prefix: HandlePrefix, now: Now, told: bool) -> Self {
        let functions = usize::from(options.functions);
        Self {
            tick: 0,
            now,
            oldest_us: now.mono_us,
            shards: options.shards,
            retries_max: match options.retries {
                Retries::Unlimited => None,
                Retries::Attempts(attempts) => Some(attempts.max(1)),
            },
            policy: options.policy,
            letters: BTreeSet::new(),
            letters_joined: 0,
            ending: false,
            prefix,
            links: Vec::new(),
            slots: vec![Vec::new(); usize::from(options.shards)],
            submits: Vec::new(),
            runs: Vec::new(),
            jobs: BTreeMap::new(),
            live: Vec::new(),
            unseen: Vec::new(),
            owners: vec![None; functions],
            limited: vec![false; functions],
            limits: vec![None; functions],
            exists: vec![false; functions],
            dropping: vec![false; functions],
            astray: vec![false; functions],
            unseen_losses: vec![false; functions],
            drained: false,
            resting: false,
            noops: 0,
            assigned: 0,
            story: told.then(Vec::new),
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let (tick, mono) = (self.tick, self.now.mono_us);
        if let Some(story) = &mut self.story {
            story.push(format!("{tick:>6} {mono:>10}us {line}"));
        }
    }

    pub(crate) fn next_tick(&mut self) -> Tick {
        self.tick += 1;
        self.tick
    }

    pub(crate) fn add_link(&mut self, link: Link) -> LinkId {
        let id = self.links.len();
        let slots = &mut self.slots[link.home];
        let slot = link.conn.slot();
        if slots.len() <= slot {
            slots.resize(slot + 1, usize::MAX);
        }
        slots[slot] = id;
        self.links.push(link);
        id
    }

    /// The connection that a shard means.
    pub(crate) fn link_of(&self, conn: ConnId) -> LinkId {
        let found = self.slots[conn.shard().index()].get(conn.slot()).copied().unwrap_or(usize::MAX);
        ensure!(
            found != usize::MAX && self.links[found].conn == conn && self.links[found].open,
            OutboxContract,
            "{conn:?} is spoken of, but it is gone"
        );
        found
    }

    /// The lowest and highest priority that the job can have.
    pub(crate) fn priorities(&self, job: &Job) -> (Priority, Priority) {
        let all = || job.makers.iter().map(|&maker| self.submits[maker].priority);
        (all().min().expect("a job has a maker"), all().max().expect("a job has a maker"))
    }

    /// The latest time that the job may have to wait for.
    pub(crate) fn not_before_s(&self, job: &Job) -> u64 {
        job.makers.iter().map(|&maker| self.submits[maker].not_before_s).max().unwrap_or(0)
    }

    pub(crate) fn job(&mut self, number: u64) -> &mut Job {
        self.jobs.get_mut(&number).expect("the model knows the job")
    }

    /// Submits that wait for the job and can hear of it.
    pub(crate) fn waiters<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = SubmitId> + 'a {
        job.submits.iter().copied().filter(|&submit| {
            let submit = &self.submits[submit];
            !submit.background && !submit.ended && self.links[submit.link].open
        })
    }

    /// Whether the job has to stay though nobody waits for it.
    pub(crate) fn is_background(&self, job: &Job) -> bool {
        job.submits.iter().any(|&submit| self.submits[submit].background)
    }

    /// Whether a background submit that was never answered may keep the job.
    pub(crate) fn may_be_background(&self, job: &Job) -> bool {
        job.makers.iter().any(|&maker| self.submits[maker].background)
            || self.unseen_of(job.key).any(|submit| self.submits[submit].background)
    }

    /// Submits with this key that may have come to something unseen.
    pub(crate) fn unseen_of(&self, key: Option<Key>) -> impl Iterator<Item = SubmitId> + '_ {
        self.unseen.iter().copied().filter(move |&submit| key.is_some() && self.submits[submit].key() == key)
    }

    /// A job seen for the first time. Who made it is one of the unanswered
    /// submits with its key, or `known`.
    pub(crate) fn add_job(&mut self, number: u64, known: &[SubmitId]) {
        let first = &self.submits[known[0]];
        let (function, key) = (first.function, first.key());
        let mut makers = known.to_vec();
        makers.extend(self.unseen_of(key).filter(|submit| !known.contains(submit)));
        let owner = u16::try_from(number % u64::from(self.shards)).expect("shards fit");
        let told = self.owners[usize::from(function)].get_or_insert(owner);
        ensure!(
            *told == owner,
            HandleNamesItsOwner,
            "f{function} had owner {told}, job {number} says {owner}"
        );
        let lost_unseen = self.unseen_losses[usize::from(function)];
        let dropping = self.dropping[usize::from(function)] || (lost_unseen && self.retries_max.is_some());
        let job = Job {
            number,
            function,
            key,
            submits: Vec::new(),
            makers,
            state: if dropping { State::Unsure } else { State::Waiting },
            attempts: 0,
            visible: None,
            acknowledged: None,
            moved: self.astray[usize::from(function)],
            suspects: Vec::new(),
            lost_unseen,
            may_fail: dropping,
            completes: Vec::new(),
            exceptions: Vec::new(),
            cancelled: None,
            progress: (0, 0),
            over: None,
            dead: false,
            wait: None,
            must_be_letter: false,
        };
        self.jobs.insert(number, job);
        self.live.push(number);
    }

    pub(crate) fn end(&mut self, number: u64) {
        let job = self.job(number);
        job.state = State::Ended;
        job.suspects.clear();
        job.visible = None;
        self.live.retain(|&live| live != number);
    }

    /// The worker has lost the job, and that for certain.
    pub(crate) fn lose(&mut self, number: u64) {
        let retries_max = self.retries_max;
        let job = self.job(number);
        let State::Running(run) = job.state else { unreachable!("only a running job is lost") };
        let attempts = job.attempts;
        let cancelled = job.cancelled.is_some();
        let surely = !job.may_fail;
        job.moved = true;
        job.visible = None;
        job.progress = (0, 0);
        job.state = State::Waiting;
        self.runs[run].lost = true;
        tell!(self, "  model: {number} lost by run {run}, attempt {attempts}");
        self.back_off(number, run);
        if retries_max.is_some_and(|max| attempts >= max) {
            self.given_up(number, surely);
        } else if cancelled {
            self.end(number);
        } else if retries_max.is_some() && self.jobs[&number].lost_unseen {
            // An attempt that nobody saw may have been the last but this one.
            let job = self.job(number);
            job.may_fail = true;
            job.state = State::Unsure;
        } else {
            self.orphan(number);
        }
    }

    /// Nobody may want the waiting job any more.
    pub(crate) fn orphan(&mut self, number: u64) {
        let job = &self.jobs[&number];
        if job.state == State::Waiting && !self.is_background(job) && self.waiters(job).next().is_none() {
            let job = self.job(number);
            job.state = State::Unsure;
            job.visible = None;
            job.suspects.clear();
        }
    }

    /// An assignment of these functions may be on its way and come back.
    /// Held back behind another reply, a job is lost without having been sent.
    pub(crate) fn disturb(&mut self, functions: &[(u8, u32)], held_back: bool) {
        for &(function, _) in functions {
            self.astray[usize::from(function)] = true;
            self.unseen_losses[usize::from(function)] |= held_back;
        }
        let limited = held_back && self.retries_max.is_some();
        for at in 0..self.live.len() {
            let number = self.live[at];
            let job = self.jobs.get_mut(&number).expect("live jobs are known");
            let waits = matches!(job.state, State::Waiting | State::Unsure);
            if waits && functions.iter().any(|&(served, _)| served == job.function) {
                job.moved = true;
                job.visible = None;
                job.suspects.clear();
                job.lost_unseen |= held_back;
                if limited {
                    job.may_fail = true;
                    job.state = State::Unsure;
                }
            }
        }
    }

    /// The peer has read JOB_CREATED.
    pub(crate) fn created_read(&mut self, submit: SubmitId) {
        let tick = self.next_tick();
        self.submits[submit].read = Some(tick);
        let Fate::Created(number) = self.submits[submit].fate else {
            broken!(RepliesInOrder, "submit {submit} was not answered");
        };
        let plain = self.not_before_s(&self.jobs[&number]) == 0;
        let job = self.job(number);
        job.acknowledged.get_or_insert(tick);
        if plain && job.state == State::Waiting && job.attempts == 0 && !job.moved {
            job.visible.get_or_insert(tick);
        }
    }

    /// The server has been told that a connection is gone.
    pub(crate) fn gone(&mut self, link: LinkId) {
        tell!(self, "gone: link {link}");
        self.links[link].open = false;
        let registered = self.links[link].registered.clone();
        let owes_a_grab = self.links[link].owes_a_grab();
        self.lose_runs(link, |_| true);
        if owes_a_grab {
            let first = self.links[link].expected.front();
            let held_back = !matches!(first, Some(crate::link::Expected::Grab(_)));
            self.disturb(&registered, held_back);
        }
        let expected = std::mem::take(&mut self.links[link].expected);
        for due in expected {
            if let crate::link::Expected::Submit(submit) = due {
                self.submits[submit].fate = Fate::Lost;
            }
        }
        for submit in 0..self.submits.len() {
            if self.submits[submit].link == link
                && let Fate::Created(number) = self.submits[submit].fate
            {
                self.orphan(number);
            }
        }
        let link = &mut self.links[link];
        link.registered = std::rc::Rc::default();
        link.asleep = false;
        link.outbound.clear();
        link.inbound.clear();
        link.unflushed.clear();
    }

    /// The worker gives up what it holds of some functions.
    pub(crate) fn lose_runs(&mut self, link: LinkId, of: impl Fn(u8) -> bool) {
        for at in (0..self.live.len()).rev() {
            let number = self.live[at];
            let job = &self.jobs[&number];
            if let State::Running(run) = job.state
                && self.runs[run].link == link
                && of(job.function)
            {
                self.lose(number);
            }
        }
    }

    /// A job turned out to be there although it was passed over.
    pub(crate) fn judge(&self, job: &Job, evidence: &str) {
        let Some(suspect) = job.suspects.first() else { return };
        let Suspect { answered, grab_sent, by, .. } = suspect;
        let text = format!(
            "job {} of f{} was passed over by {by:?} in the answer at {answered} to the grab sent at {grab_sent}, {evidence}",
            job.number, job.function
        );
        match suspect.by_what {
            Passed::LowerPriority => broken!(HighestPriorityFirst, "{text}"),
            Passed::LaterJob => broken!(FifoWithinLane, "{text}"),
            Passed::NoJob => broken!(NoFalseNoJob, "{text}"),
        }
    }
}
