//! What one seed's world is made of.

use gearshard::protocol::retry::{Causes, RetryPolicy, Then};
use gearshard::shard::settings::{Retries, Wakeup};

/// Everything that a seed decides before the first event.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) events: usize,
    pub(crate) shards: u16,
    pub(crate) wakeup: Wakeup,
    pub(crate) retries: Retries,
    /// Of every function; what it allows stands in `retries`, too.
    pub(crate) policy: Option<RetryPolicy>,
    /// How many function names there are.
    pub(crate) functions: u8,
    /// How many of them a worker registers at most.
    pub(crate) functions_of_worker: u8,
    pub(crate) uniques: u8,
    pub(crate) workers: usize,
    pub(crate) clients: usize,
    pub(crate) operators: usize,
    /// Clients stop submitting when so many jobs are there.
    pub(crate) depth: usize,
    /// Workers that die, in percent of their steps.
    pub(crate) worker_loss: u8,
    pub(crate) client_loss: Loss,
    /// Workers register CAN_DO_TIMEOUT.
    pub(crate) timeouts: bool,
    pub(crate) epochs: bool,
    /// The unix clock is set now and then.
    pub(crate) clock_jumps: bool,
    /// Workers withdraw functions, also while a grab is on its way.
    pub(crate) withdrawals: bool,
    /// Workers now and then speak of jobs that they do not hold.
    pub(crate) rogues: bool,
    /// Peers send what breaks the protocol.
    pub(crate) bad_input: bool,
    /// Workers submit jobs too.
    pub(crate) mixed: bool,
    /// `cancel job`
    pub(crate) cancels: bool,
    /// `maxqueue`
    pub(crate) limits: bool,
    /// `drop function`
    pub(crate) drops: bool,
    /// Submits are refused for a while.
    pub(crate) draining: bool,
    /// Clients that read slowly have their workers paused.
    pub(crate) congestion: bool,
    pub(crate) open_replies_max: usize,
    /// Out of 100 turns so many run without another shard in between.
    pub(crate) whole_turns: u8,
    /// Out of 100 woken workers so many do not come.
    pub(crate) stalls: u8,
    /// Background jobs are stored.
    pub(crate) durable: bool,
    /// Above so many bytes of jobs on a shard, workloads are in its store only.
    pub(crate) queue_bytes: Option<usize>,
    /// How long a GRAB may wait for a job.
    pub(crate) grab_open_us: u64,
    /// Events from one rest to the next.
    pub(crate) rest_every: usize,
}

/// How clients leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Not at all.
    Never,
    /// Once every submit has been answered.
    Answered,
    /// At any moment; the server may not get the last requests.
    Crash,
}

impl Options {
    pub(crate) fn of(seed: u64, events: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x6765_6172_7368_6172);
        let r = &mut rng;
        let wide = r.u8(..20) == 0;
        let functions = if wide { 60 } else { r.u8(1..=8) };
        let options = Self {
            seed,
            events,
            shards: r.u16(1..=8),
            wakeup: match r.u8(..10) {
                0 => Wakeup::All,
                1 => Wakeup::Count(r.u32(1..=3)),
                _ => Wakeup::OnePerJob,
            },
            policy: None,
            retries: if r.u8(..3) == 0 { Retries::Attempts(r.u32(0..=3)) } else { Retries::Unlimited },
            functions,
            functions_of_worker: if wide { 60 } else { r.u8(1..=functions) },
            uniques: r.u8(1..=6),
            workers: r.usize(1..=8),
            clients: r.usize(1..=6),
            operators: r.usize(0..=1),
            depth: r.usize(2..=30),
            worker_loss: if r.bool() { 0 } else { r.u8(1..=6) },
            client_loss: [Loss::Never, Loss::Answered, Loss::Crash][r.usize(..3)],
            timeouts: r.u8(..3) == 0,
            epochs: r.u8(..3) == 0,
            clock_jumps: r.u8(..6) == 0,
            withdrawals: r.u8(..3) == 0,
            rogues: r.u8(..3) == 0,
            bad_input: r.u8(..5) == 0,
            mixed: r.u8(..3) == 0,
            cancels: r.u8(..4) == 0,
            limits: r.u8(..4) == 0,
            drops: r.u8(..4) == 0,
            draining: r.u8(..10) == 0,
            congestion: r.u8(..4) == 0,
            open_replies_max: if r.u8(..4) == 0 { r.usize(1..=4) } else { 4096 },
            whole_turns: [100, 80, 40, 0][r.usize(..4)],
            stalls: [0, 0, 20, 60][r.usize(..4)],
            rest_every: r.usize(60..=500),
            durable: r.bool(),
            queue_bytes: if r.bool() { Some([0, 0, 300, 3_000][r.usize(..4)]) } else { None },
            grab_open_us: [0, 1_000, 1_000, 20_000][r.usize(..4)],
        };
        if seed % 3 == 2 { options.with_policy(r) } else { options }
    }

    /// The same world, in which runs that come to nothing are tried again. Waits
    /// are measured, so nobody sets the clock; what would hide an attempt or a
    /// dead letter is left out.
    fn with_policy(self, r: &mut fastrand::Rng) -> Self {
        let attempts = r.u16(1..=4);
        let backoff_s = r.u32(..3);
        let policy = RetryPolicy {
            attempts,
            on: Causes { lost: true, timeout: true, fail: r.bool() },
            backoff_s,
            max_backoff_s: backoff_s + r.u32(..3),
            then: if r.u8(..4) == 0 { Then::Drop } else { Then::Dead },
        };
        Self {
            retries: Retries::Attempts(attempts.into()),
            policy: Some(policy),
            clock_jumps: false,
            mixed: false,
            limits: false,
            drops: false,
            ..self
        }
    }
}
