//! Jobs and where they wait: functions, priorities, the unique index.
//!
//! A [`Queue`] holds all jobs of one shard. It knows in which order they are
//! served and which of them are the same; it knows nothing of packets,
//! connections' roles or other shards, and it is told the time.
//!
//! Kept at all times: a job is in exactly one [`State`]; a job that can be
//! coalesced with is in the unique index, a dead one never; the counters of a
//! function equal its jobs; a running job's body is shared, not packed, and
//! spilled only until its workload has been read back; a dead letter has no
//! place among the jobs but its number, its body and its list.

pub mod body;
pub mod buffer;
pub mod change;
mod dead;
pub mod function;
pub mod job;
pub mod lane;
pub mod name;
mod numbers;
mod packed;
pub mod slab;
mod uniques;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::num::NonZeroU32;

use foldhash::fast::SeedableRandomState;

use body::Body;
use function::Functions;
use job::{
    Clients, Halves, Job, NO_PARTIES, Parties, Party, Priority, Running, Standing, State, Stored, workload_at,
};
use numbers::Numbers;
use packed::{PACKED_BYTES_MAX, Packed, Place};
use slab::Slab;
use uniques::Uniques;
pub use view::JobView;

/// Bookkeeping of one job outside its body: its entry, its places in the two
/// tables and the head of its body. For the memory ceiling.
const JOB_OVERHEAD_BYTES: usize = size_of::<Job>() + 36;
/// The index of fewer jobs stays in the processor's caches.
const FETCHED_FROM_JOBS: usize = 20_000;
/// In a queue of fewer jobs no body is packed.
const PACKED_FROM_JOBS: usize = 1024;
/// Nor is that of a job with fewer jobs before it in its lane.
const PACKED_FROM_PLACE: usize = 4;

/// What is needed to add a job.
#[derive(Debug)]
pub struct NewJob {
    /// Index of the function.
    pub function: u32,
    /// The number for its handle.
    pub number: u64,
    /// Unique, reducer if any, and workload, with a NUL between each two.
    pub body: Body,
    /// Length of the unique in `body`.
    pub unique_bytes: u16,
    /// Length of the reducer behind it; 0 for none.
    pub reducer_bytes: u16,
    /// Its lane.
    pub priority: Priority,
    /// Foreground or background.
    pub standing: Standing,
    /// Unix seconds before which it is not run; 0 for at once.
    pub not_before_s: u64,
    /// What [`Queue::filing`] says of it.
    pub filing: Filing,
}

/// Under which hash a job is filed in the unique index; `None` when nothing
/// ever coalesces with it.
pub type Filing = Option<NonZeroU32>;

/// All jobs of one shard.
#[derive(Default)]
pub struct Queue {
    /// The functions.
    pub functions: Functions,
    jobs: Slab<Job>,
    parties: Slab<Parties>,
    packed: Packed,
    /// What is kept of spilled jobs. Beside whole bodies, most of which go soon,
    /// it would stay in segments that are nearly empty.
    heads: Packed,
    by_number: Numbers,
    by_unique: Uniques,
    /// Seeded at random: uniques are chosen by peers.
    hasher: SeedableRandomState,
    /// (due time, sequence) of jobs that are not runnable yet.
    scheduled: BTreeMap<(u64, u64), u32>,
    /// (deadline, job) of running jobs that have a deadline.
    deadlines: BTreeSet<(u64, u32)>,
    /// (function, time of death, number) of dead letters.
    dead: BTreeMap<(u32, u64, u64), u32>,
    sequence: u64,
    body_bytes: usize,
    /// Jobs whose workloads are in the store only.
    spilled: usize,
}

impl Queue {
    /// An empty queue that files its jobs under the same hashes in every
    /// process. Only for counting instructions: a peer that knows the hashes
    /// can choose uniques that share one.
    #[must_use]
    pub fn with_known_hashes() -> Self {
        Self { hasher: SeedableRandomState::fixed(), ..Self::default() }
    }

    /// How many jobs there are, in any state, dead letters left out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len() - self.dead.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes the jobs and the dead letters take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body_bytes + self.jobs.len() * JOB_OVERHEAD_BYTES
    }

    /// The job with this number; no dead letter.
    #[must_use]
    pub fn find(&self, number: u64) -> Option<u32> {
        self.by_number.find(number).filter(|&at| self.jobs[at].state.death().is_none())
    }

    /// The job under an index that this queue has given out.
    #[must_use]
    pub fn job(&self, at: u32) -> JobView<'_> {
        JobView { job: &self.jobs[at], parties: &self.parties, packed: &self.packed, heads: &self.heads }
    }

    /// The same, if the job that is there now has this number.
    #[must_use]
    pub fn numbered(&self, at: u32, number: u64) -> Option<JobView<'_>> {
        let job = self.jobs.get(at).filter(|job| job.number == number)?;
        Some(JobView { job, parties: &self.parties, packed: &self.packed, heads: &self.heads })
    }

    /// The clients of a job, to add or remove some.
    pub fn clients_mut(&mut self, at: u32) -> &mut Clients {
        &mut self.parties_mut(at).clients
    }

    /// All jobs, in no promised order, dead letters left out.
    pub fn iter(&self) -> impl Iterator<Item = JobView<'_>> {
        let (parties, packed, heads) = (&self.parties, &self.packed, &self.heads);
        let living = self.jobs.iter().filter(|(_, job)| job.state.death().is_none());
        living.map(move |(_, job)| JobView { job, parties, packed, heads })
    }

    /// Under what a submit with this unique (for `-`: this workload) is filed.
    #[must_use]
    pub fn filing(&self, function: u32, unique: &[u8], workload: &[u8]) -> Filing {
        let key = if unique == b"-" { workload } else { unique };
        if key.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one((function, key));
        // One of four billion shares its place with another.
        NonZeroU32::new((hash ^ hash >> 32) as u32).or(Some(NonZeroU32::MAX))
    }

    /// The job that a submit with this unique and workload joins
    /// (gearmand-spec.md, section 5.1); `filing` is that of the submit.
    #[must_use]
    pub fn find_same(&self, function: u32, filing: Filing, unique: &[u8], workload: &[u8]) -> Option<u32> {
        let same = |at: u32| {
            let job = self.job(at);
            job.function == function
                && if unique == b"-" { job.workload() == workload } else { job.unique() == unique }
        };
        self.by_unique.find(filing?.get(), same)
    }

    /// Whether it is worth while to [`fetch`](Self::fetch) what submits are looked up in.
    #[must_use]
    pub fn is_deep(&self) -> bool {
        self.jobs.len() >= FETCHED_FROM_JOBS
    }

    /// Has the processor fetch what [`find_same`](Self::find_same) will look at
    /// first, to be called for several submits in advance.
    pub fn fetch(&self, function: u32, unique: &[u8], workload: &[u8]) {
        if let Some(hash) = self.filing(function, unique, workload) {
            self.by_unique.fetch(hash.get());
        }
    }

    /// The newest job with this unique, whatever its function.
    #[must_use]
    pub fn find_unique(&self, unique: &[u8]) -> Option<u32> {
        // The index is by function too, so that one unique in many functions
        // cannot slow submits down; this rare question tries every function.
        let with_jobs = self.functions.iter().filter(|(_, function)| function.total() > 0);
        let found = with_jobs.filter_map(|(at, _)| {
            let filing = self.filing(at, unique, b"");
            self.find_same(at, filing, unique, b"")
        });
        found.max_by_key(|&at| self.jobs[at].number)
    }

    /// Adds a job: scheduled when its time is still to come, else to the tail
    /// of its lane.
    pub fn add(&mut self, new: NewJob, now_s: u64) -> u32 {
        self.sequence += 1;
        self.body_bytes += new.body.len();
        let packs = self.is_far_from_its_turn(&new, now_s);
        let at = self.jobs.insert(Job {
            number: new.number,
            sequence: self.sequence,
            stored: Stored::Shared(new.body),
            state: State::Placed,
            parties: NO_PARTIES,
            function: new.function,
            filing: new.filing,
            losses: 0,
            unique_bytes: new.unique_bytes,
            reducer_bytes: new.reducer_bytes,
            priority: new.priority,
            standing: new.standing,
        });
        if packs {
            self.pack(at);
        }
        self.by_number.insert(new.number, at);
        if let Some(hash) = new.filing {
            self.by_unique.insert(hash.get(), at);
        }
        let function = &mut self.functions[new.function];
        function.waiting[new.priority.index()] += 1;
        if new.not_before_s > now_s {
            self.jobs[at].state = State::Scheduled { due_s: Halves::new(new.not_before_s) };
            self.scheduled.insert((new.not_before_s, self.sequence), at);
        } else {
            function.lanes[new.priority.index()].append(&mut self.jobs, at);
        }
        at
    }

    /// Gives the next job of a function and priority to a worker.
    pub fn take(
        &mut self,
        function: u32,
        priority: Priority,
        worker: Party,
        deadline_us: u64,
    ) -> Option<u32> {
        let entry = &mut self.functions[function];
        let at = entry.first(priority, &self.jobs)?;
        entry.lanes[priority.index()].remove(&mut self.jobs, at);
        entry.waiting[priority.index()] -= 1;
        entry.running += 1;
        self.share(at);
        self.jobs[at].state = State::Running;
        self.parties_mut(at).running = Some(Running { worker, deadline_us, numerator: 0, denominator: 0 });
        if deadline_us != u64::MAX {
            self.deadlines.insert((deadline_us, at));
        }
        Some(at)
    }

    /// Remembers a job's progress while it runs.
    pub fn set_progress(&mut self, at: u32, numerator: u32, denominator: u32) {
        if let Some(running) = &mut self.parties_mut(at).running {
            (running.numerator, running.denominator) = (numerator, denominator);
        }
    }

    /// Puts a running job to the tail of its lane, one loss the more.
    pub fn requeue(&mut self, at: u32) {
        self.count_loss(at);
        let (function, lane) = (self.jobs[at].function, self.jobs[at].priority.index());
        self.functions[function].lanes[lane].append(&mut self.jobs, at);
    }

    /// The same, but it is not run before its time. Its place in the lane is
    /// then that which it would have had by now.
    pub fn requeue_later(&mut self, at: u32, due_s: u64) {
        self.count_loss(at);
        let job = &mut self.jobs[at];
        job.state = State::Scheduled { due_s: Halves::new(due_s) };
        self.scheduled.insert((due_s, job.sequence), at);
    }

    /// A running job waits, behind all others, one loss the more.
    fn count_loss(&mut self, at: u32) {
        self.stop_running(at);
        self.sequence += 1;
        let job = &mut self.jobs[at];
        job.losses = job.losses.saturating_add(1);
        job.sequence = self.sequence;
        self.functions[job.function].waiting[job.priority.index()] += 1;
    }

    /// Puts a running job back to where it was taken from: no worker saw it.
    pub fn restore(&mut self, at: u32) {
        self.stop_running(at);
        let (function, lane) = (self.jobs[at].function, self.jobs[at].priority.index());
        self.functions[function].waiting[lane] += 1;
        self.functions[function].lanes[lane].place(&mut self.jobs, at);
    }

    /// For a cancelled job: from now on nothing coalesces with this running
    /// job, nobody is told of it, and it is not run again.
    pub fn kill_running(&mut self, at: u32) {
        self.unfile(at);
        debug_assert!(self.jobs[at].state == State::Running, "a job that waits is removed instead");
        self.jobs[at].standing = Standing::Dead;
        *self.clients_mut(at) = Clients::None;
    }

    /// For whom the job is run from now on.
    pub fn set_standing(&mut self, at: u32, standing: Standing) {
        debug_assert!(standing != Standing::Dead, "a job that is cancelled is not there to be found");
        self.jobs[at].standing = standing;
    }

    /// How many workers have lost a job that comes from a store.
    pub fn set_losses(&mut self, at: u32, losses: u16) {
        self.jobs[at].losses = losses;
    }

    /// Takes a job out, in whatever state it is.
    pub fn remove(&mut self, at: u32) {
        self.leave(at);
        self.body_bytes -= self.job(at).body().len();
        let job = self.jobs.remove(at).expect("the index names a job");
        self.by_number.remove(job.number);
        if job.parties != NO_PARTIES {
            self.parties.remove(job.parties);
        }
        match job.stored {
            Stored::Packed(place) => self.unpack(place),
            Stored::Spilled(place) => {
                self.spilled -= 1;
                self.remove_head(place);
            }
            Stored::Shared(_) => {}
        }
    }

    /// A job is not where it was any more, nor in the unique index.
    fn leave(&mut self, at: u32) {
        self.unfile(at);
        let job = &self.jobs[at];
        let (function, lane) = (job.function, job.priority.index());
        match job.state {
            State::Running => {
                let running = self.parties[job.parties].running.expect("a running job has a worker");
                self.functions[function].running -= 1;
                self.forget_deadline(running, at);
            }
            State::Scheduled { due_s } => {
                self.scheduled.remove(&(due_s.whole(), job.sequence));
                self.functions[function].waiting[lane] -= 1;
            }
            State::Queued { .. } | State::Placed => {
                self.functions[function].lanes[lane].remove(&mut self.jobs, at);
                self.functions[function].waiting[lane] -= 1;
            }
            State::DeadLetter { at_s, .. } => {
                self.dead.remove(&(function, at_s.whole(), job.number));
                self.functions[function].dead -= 1;
                // It had ended before.
                return;
            }
        }
        self.functions[function].ended += 1;
    }

    /// The smallest number of a function's jobs that could run at once. Of every priority only the one
    /// that is served next is looked at: one that a worker lost stands behind younger ones.
    #[must_use]
    pub fn oldest_runnable(&self, function: u32) -> Option<u64> {
        let first = |priority| self.functions[function].first(priority, &self.jobs);
        Priority::FROM_HIGH.into_iter().filter_map(first).map(|at| self.jobs[at].number).min()
    }

    /// Unix seconds at which the next scheduled job falls due.
    #[must_use]
    pub fn next_due_s(&self) -> Option<u64> {
        self.scheduled.first_key_value().map(|(&(due_s, _), _)| due_s)
    }

    /// Makes one job runnable whose time has come, at the place that its age
    /// gives it, and tells its function.
    pub fn release_due(&mut self, now_s: u64) -> Option<u32> {
        let entry = self.scheduled.first_entry()?;
        if entry.key().0 > now_s {
            return None;
        }
        let at = entry.remove();
        let (function, lane) = (self.jobs[at].function, self.jobs[at].priority.index());
        self.functions[function].lanes[lane].place(&mut self.jobs, at);
        Some(function)
    }

    /// Monotonic microseconds at which the next running job is out of time.
    #[must_use]
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.deadlines.first().map(|&(deadline_us, _)| deadline_us)
    }

    /// A running job that is out of time. It stays where it is.
    #[must_use]
    pub fn overdue(&self, now_us: u64) -> Option<u32> {
        self.deadlines.first().filter(|&&(deadline_us, _)| deadline_us <= now_us).map(|&(_, at)| at)
    }

    /// All jobs of a function, dead letters too, in no promised order. Looks at
    /// every job of the shard.
    #[must_use]
    pub fn jobs_of(&self, function: u32) -> Vec<u32> {
        self.jobs.iter().filter(|(_, job)| job.function == function).map(|(at, _)| at).collect()
    }

    /// Jobs whose workloads are in the store only.
    #[must_use]
    pub fn spilled(&self) -> usize {
        self.spilled
    }

    /// Leaves the workload of a job that does not run to the store, which has it.
    pub fn spill(&mut self, at: u32) {
        let job = self.job(at);
        debug_assert!(job.running().is_none() && !job.is_spilled(), "the workload of this job is in use");
        let (head, workload) = job.body().split_at(workload_at(job.unique_bytes, job.reducer_bytes));
        let (head, workload_bytes) = ((head.len() > 1).then(|| Body::copy(head)), workload.len());
        self.body_bytes -= workload_bytes;
        self.spilled += 1;
        if let Stored::Packed(place) = self.jobs[at].stored {
            self.unpack(place);
        }
        self.jobs[at].stored = Stored::Spilled(Place::NOWHERE);
        if let Some(head) = head {
            let place =
                self.heads.push(at, &head, &mut |job, to| self.jobs[job].stored = Stored::Spilled(to));
            self.jobs[at].stored = Stored::Spilled(place);
        }
    }

    /// The body of a spilled job is back.
    pub fn unspill(&mut self, at: u32, body: Body) {
        let Stored::Spilled(place) = self.jobs[at].stored else {
            unreachable!("only a spilled job is unspilled")
        };
        self.body_bytes += body.len() - self.job(at).body().len();
        self.spilled -= 1;
        self.remove_head(place);
        self.jobs[at].stored = Stored::Shared(body);
    }

    /// The jobs of a function and priority to be served next, so many at most.
    pub fn ahead(&self, function: u32, priority: Priority, most: usize) -> impl Iterator<Item = u32> {
        self.functions[function].lanes[priority.index()].ahead(&self.jobs, most)
    }

    /// The time by which a running job must end, in monotonic microseconds.
    pub fn set_deadline(&mut self, at: u32, deadline_us: u64) {
        let running = self.parties_mut(at).running.as_mut().expect("only a running job has a deadline");
        let before = std::mem::replace(running, Running { deadline_us, ..*running });
        self.forget_deadline(before, at);
        if deadline_us != u64::MAX {
            self.deadlines.insert((deadline_us, at));
        }
    }

    /// Whether a body had better be packed than lie in an allocation of its own
    /// until its job is run.
    fn is_far_from_its_turn(&self, new: &NewJob, now_s: u64) -> bool {
        self.jobs.len() >= PACKED_FROM_JOBS
            && new.body.len() <= PACKED_BYTES_MAX
            && (new.not_before_s > now_s
                || self.functions[new.function].lanes[new.priority.index()].len() >= PACKED_FROM_PLACE)
    }

    fn pack(&mut self, at: u32) {
        let stored = std::mem::replace(&mut self.jobs[at].stored, Stored::Packed(Place::NOWHERE));
        let Stored::Shared(body) = stored else { unreachable!("a body is packed once") };
        let place = self.packed.push(at, &body, &mut |job, to| self.jobs[job].stored = Stored::Packed(to));
        self.jobs[at].stored = Stored::Packed(place);
    }

    /// Puts a packed body into an allocation of its own.
    fn share(&mut self, at: u32) {
        let Stored::Packed(place) = self.jobs[at].stored else { return };
        self.jobs[at].stored = Stored::Shared(Body::copy(self.packed.get(place)));
        self.unpack(place);
    }

    fn unpack(&mut self, place: Place) {
        self.packed.remove(place, &mut |job, to| self.jobs[job].stored = Stored::Packed(to));
    }

    fn remove_head(&mut self, place: Place) {
        if place != Place::NOWHERE {
            self.heads.remove(place, &mut |job, to| self.jobs[job].stored = Stored::Spilled(to));
        }
    }

    /// The parties of a job, which has some from now on.
    fn parties_mut(&mut self, at: u32) -> &mut Parties {
        let job = &mut self.jobs[at];
        if job.parties == NO_PARTIES {
            job.parties = self.parties.insert(Parties::default());
        }
        &mut self.parties[job.parties]
    }

    fn stop_running(&mut self, at: u32) {
        let parties = self.parties_mut(at);
        let running = parties.running.take().expect("only a running job is stopped");
        self.forget_deadline(running, at);
        let job = &mut self.jobs[at];
        self.functions[job.function].running -= 1;
        if self.parties[job.parties].clients.as_slice().is_empty() {
            self.parties.remove(job.parties);
            job.parties = NO_PARTIES;
        }
    }

    fn forget_deadline(&mut self, running: Running, at: u32) {
        if running.deadline_us != u64::MAX {
            self.deadlines.remove(&(running.deadline_us, at));
        }
    }

    fn unfile(&mut self, at: u32) {
        if let Some(hash) = self.jobs[at].filing.take() {
            self.by_unique.remove(hash.get(), at);
        }
    }
}

#[cfg(test)]
mod tests;
