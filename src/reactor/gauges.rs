//! What a shard lets the other threads see.
//!
//! Each shard writes its own gauges, once a turn, without locks; the acceptor
//! balances connections by them, the shards add up the memory in use, and a
//! drain waits for them to come to rest. The one gauge with several writers is
//! `connections`: whoever hands a connection over counts it before.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::shard::counts::Counts;

/// What the reactor of one shard has done, beside the shard's own [`Counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Turns of the event loop.
    pub turns: u64,
    /// Calls that received something.
    pub receives: u64,
    /// Calls that sent something.
    pub sends: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes held for unfinished packets and unsent replies.
    pub buffer_bytes: u64,
    /// Batches of messages sent to other shards.
    pub batches_sent: u64,
    /// Batches of messages taken in from other shards.
    pub batches_received: u64,
    /// Connections handed over to the owners of their functions.
    pub moved: u64,
    /// Connections cut because they did not take what was written to them.
    pub cut_stalled: u64,
    /// Connections cut because more was written to them than may wait.
    pub cut_overflow: u64,
    /// Connections cut because they got on too slowly with a packet.
    pub cut_incomplete: u64,
}

const TRAFFIC_FIELDS: usize = 11;
const COUNTS_FIELDS: usize = 21;

fn traffic_fields(traffic: &mut Traffic) -> [&mut u64; TRAFFIC_FIELDS] {
    let Traffic {
        turns,
        receives,
        sends,
        received_bytes,
        buffer_bytes,
        batches_sent,
        batches_received,
        moved,
        cut_stalled,
        cut_overflow,
        cut_incomplete,
    } = traffic;
    [
        turns,
        receives,
        sends,
        received_bytes,
        buffer_bytes,
        batches_sent,
        batches_received,
        moved,
        cut_stalled,
        cut_overflow,
        cut_incomplete,
    ]
}

fn counts_fields(counts: &mut Counts) -> [&mut u64; COUNTS_FIELDS] {
    let Counts {
        connections,
        jobs,
        dead,
        job_bytes,
        open_replies,
        submitted,
        coalesced,
        refused,
        assigned,
        completed,
        failed,
        requeued,
        dropped,
        died,
        revived,
        purged,
        abandoned,
        cancelled,
        noops,
        missed,
        bad_input,
    } = counts;
    [
        connections,
        jobs,
        dead,
        job_bytes,
        open_replies,
        submitted,
        coalesced,
        refused,
        assigned,
        completed,
        failed,
        requeued,
        dropped,
        died,
        revived,
        purged,
        abandoned,
        cancelled,
        noops,
        missed,
        bad_input,
    ]
}

/// The gauges of one shard.
#[derive(Default)]
pub(crate) struct Gauges {
    connections: Shared,
    // Monotonic microseconds plus one at which it was last found busy; 0 for never.
    busy: AtomicU64,
    // Odd during a turn, even between two: see `Rest`.
    turn: Own,
    traffic: [AtomicU64; TRAFFIC_FIELDS],
    counts: [AtomicU64; COUNTS_FIELDS],
}

#[repr(align(128))]
#[derive(Default)]
struct Shared(AtomicUsize);

#[repr(align(128))]
#[derive(Default)]
struct Own(AtomicU64);

impl Gauges {
    /// Connections of the shard, those on their way to it included.
    pub(crate) fn connections(&self) -> usize {
        self.connections.0.load(Ordering::Relaxed)
    }

    /// The shard has been at work for most of a while that ends now.
    pub(crate) fn found_busy(&self, now_us: u64) {
        self.busy.store(now_us + 1, Ordering::Relaxed);
    }

    /// Whether the shard was found busy since then.
    pub(crate) fn was_busy_since(&self, since_us: u64) -> bool {
        self.busy.load(Ordering::Relaxed) > since_us
    }

    /// The acceptor, or another shard, hands a connection to the shard.
    pub(crate) fn connection_handed_over(&self) {
        self.connections.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The shard has closed a connection or handed it over, or never opened it.
    pub(crate) fn connection_closed(&self) {
        self.connections.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The shard takes up its next turn.
    pub(crate) fn begin_turn(&self) {
        self.turn.0.store(self.turn.0.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// The shard has ended its turn with these figures.
    pub(crate) fn end_turn(&self, mut counts: Counts, mut traffic: Traffic) {
        // Release, so that who sees a figure of this turn sees its beginning, too.
        for (published, value) in self.counts.iter().zip(counts_fields(&mut counts)) {
            published.store(*value, Ordering::Release);
        }
        for (published, value) in self.traffic.iter().zip(traffic_fields(&mut traffic)) {
            published.store(*value, Ordering::Release);
        }
        self.turn.0.store(self.turn.0.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// The shard's counters as of its last turn.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (published, value) in self.counts.iter().zip(counts_fields(&mut counts)) {
            *value = published.load(Ordering::Acquire);
        }
        counts
    }

    /// The reactor's counters as of the shard's last turn.
    pub(crate) fn traffic(&self) -> Traffic {
        let mut traffic = Traffic::default();
        for (published, value) in self.traffic.iter().zip(traffic_fields(&mut traffic)) {
            *value = published.load(Ordering::Acquire);
        }
        traffic
    }

    /// Bytes of jobs and buffers as of the shard's last turn.
    pub(crate) fn memory_bytes(&self) -> u64 {
        const BUFFER_BYTES: usize = 4;
        self.job_bytes() + self.traffic[BUFFER_BYTES].load(Ordering::Relaxed)
    }

    /// Bytes of jobs as of the shard's last turn.
    pub(crate) fn job_bytes(&self) -> u64 {
        const JOB_BYTES: usize = 3;
        self.counts[JOB_BYTES].load(Ordering::Relaxed)
    }
}

/// Tells when no job is left anywhere.
///
/// One look at the gauges is not enough: a job may be on its way from a shard
/// already looked at to one not looked at yet. But when every shard stands
/// between the same two turns in two looks one after the other, then all of
/// them stood still at one moment in between, with just these figures; and
/// when as many batches were taken in as were sent, none was on its way.
#[derive(Default)]
pub(crate) struct Rest {
    turns: Vec<u64>,
    idle_looks: u32,
}

/// Looks without any job after which traffic that never rests (someone asks
/// for the status all the time) is not waited for any longer.
const IDLE_LOOKS: u32 = 40;

impl Rest {
    /// Looks once more. True when no job is left, no reply is owed and no
    /// message is on its way.
    pub(crate) fn look<'a>(&mut self, gauges: impl Iterator<Item = &'a Gauges>) -> bool {
        let mut turns = Vec::with_capacity(self.turns.len());
        let (mut jobs, mut busy, mut in_flight) = (0, false, 0_u64);
        for gauges in gauges {
            let turn = gauges.turn.0.load(Ordering::Acquire);
            let (counts, traffic) = (gauges.counts(), gauges.traffic());
            jobs += counts.jobs;
            busy |= turn % 2 == 1 || counts.open_replies > 0;
            in_flight = in_flight.wrapping_add(traffic.batches_sent).wrapping_sub(traffic.batches_received);
            turns.push(turn);
        }
        let unchanged = turns == self.turns;
        self.turns = turns;
        self.idle_looks = if jobs == 0 { self.idle_looks + 1 } else { 0 };
        jobs == 0 && (unchanged && !busy && in_flight == 0 || self.idle_looks >= IDLE_LOOKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_published_under_its_own_name() {
        let mut counts = Counts::default();
        for (value, field) in (1..).zip(counts_fields(&mut counts)) {
            *field = value;
        }
        let mut traffic = Traffic::default();
        for (value, field) in (100..).zip(traffic_fields(&mut traffic)) {
            *field = value;
        }
        let gauges = Gauges::default();
        gauges.begin_turn();
        gauges.end_turn(counts, traffic);
        assert_eq!((gauges.counts(), gauges.traffic()), (counts, traffic));
        assert_eq!(gauges.memory_bytes(), counts.job_bytes + traffic.buffer_bytes);
    }

    fn turn(gauges: &Gauges, jobs: u64, sent: u64, received: u64) {
        gauges.begin_turn();
        gauges.end_turn(
            Counts { jobs, ..Counts::default() },
            Traffic { batches_sent: sent, batches_received: received, ..Traffic::default() },
        );
    }

    #[test]
    fn rest_needs_two_looks_without_a_turn_in_between() {
        let shards = [Gauges::default(), Gauges::default()];
        let mut rest = Rest::default();
        turn(&shards[0], 1, 0, 0);
        assert!(!rest.look(shards.iter()));
        assert!(!rest.look(shards.iter()), "a job is left");
        turn(&shards[0], 0, 1, 0);
        assert!(!rest.look(shards.iter()));
        assert!(!rest.look(shards.iter()), "a batch is on its way");
        turn(&shards[1], 0, 0, 1);
        assert!(!rest.look(shards.iter()), "the first look after a turn");
        shards[0].begin_turn();
        assert!(!rest.look(shards.iter()), "a turn is under way");
        shards[0].end_turn(Counts::default(), Traffic { batches_sent: 1, ..Traffic::default() });
        assert!(!rest.look(shards.iter()));
        assert!(rest.look(shards.iter()));
    }

    #[test]
    fn traffic_without_jobs_does_not_put_rest_off_for_ever() {
        let shards = [Gauges::default()];
        let mut rest = Rest::default();
        let looks = (1..).find(|_| {
            turn(&shards[0], 0, 0, 0);
            rest.look(shards.iter())
        });
        assert_eq!(looks, Some(IDLE_LOOKS));
    }
}
