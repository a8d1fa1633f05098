//! What comes in from sockets: bytes are received, cut into frames, and the
//! shard decides on them.
//!
//! Part of the event loop, which says when. Keeps of a connection's bytes only
//! what cannot be decided on at once, and sees to it that an unfinished packet
//! gets on.

use super::{EventLoop, relieve};
use smallvec::SmallVec;

use crate::protocol::decode::{Frame, decode};
use crate::queue::body::Body;
use crate::reactor::connection::Received;
use crate::reactor::rim::Rim;
use crate::reactor::watches::Watch;
use crate::server::log::Level;
use crate::shard::Shard;
use crate::shard::ids::{ConnId, Now, ShardId};
use crate::shard::placement::home_for;

/// An unfinished packet gets on when it receives this much in the timeout.
const PACKET_PROGRESS_BYTES: usize = 64 << 10;

/// Frames that are decoded before the first of them is decided on: so many
/// look-ups of a deep queue wait for memory together and not one after the other.
const FRAMES_AHEAD: usize = 16;

impl EventLoop {
    pub(super) fn receive_from_ready(&mut self) {
        if self.finish_by_us.is_some() {
            self.rim.ready.clear();
            return;
        }
        // What becomes ready meanwhile has its turn next time.
        for conn in std::mem::take(&mut self.rim.ready) {
            self.receive_from(conn);
        }
    }

    fn receive_from(&mut self, conn: ConnId) {
        let memory_full = self.memory_full;
        if let Some(connection) = self.rim.get(conn) {
            connection.flags.in_ready = false;
            // It was resumed a moment ago: first things first.
            if connection.flags.undecided {
                self.decide_on_unread(conn);
            }
        }
        let Some(connection) = self.rim.get(conn) else { return };
        if connection.flags.is_stopped() {
            return;
        }
        if memory_full && connection.asks_for_memory() {
            if !std::mem::replace(&mut connection.flags.in_starved, true) {
                self.starved.push(conn);
            }
            return;
        }
        let received = connection.receive(&mut self.scratch);
        // Before deciding: what other shards have said by now.
        self.take_inbox();
        match received {
            Received::Scratch { count, kept } => {
                self.rim.traffic.receives += 1;
                self.linger.worked(1);
                self.rim.traffic.received_bytes += (count - kept) as u64;
                match self.better_home(conn, count) {
                    Some(to) => {
                        self.rim.hand_over(conn, to, &self.scratch[..count]);
                        self.shard.close(self.now, conn, &mut self.rim);
                    }
                    None => self.decide_on_scratch(conn, count, kept),
                }
            }
            Received::Own(count) => {
                self.rim.traffic.received_bytes += count as u64;
                self.rim.traffic.receives += 1;
                self.decide_on_unread(conn);
            }
            Received::Nothing => {}
            Received::End => self.end_of_stream(conn),
            Received::Broken(error) => {
                if let Some(connection) = self.rim.get(conn) {
                    let remote = connection.remote;
                    (self.rim.log)(Level::Debug, format_args!("Connection from {remote} broke: {error}"));
                }
                self.rim.end(conn);
            }
        }
        self.rim.recount(conn);
        let again = self.rim.get(conn).is_some_and(|c| c.flags.readable && !c.flags.is_stopped());
        if again {
            self.rim.make_ready(conn);
        }
    }

    /// Where a connection had better live, when it first names a function: with
    /// that function's owner. Jobs whose client, function and worker are on one
    /// shard cost no messages, and more of them come together in a turn.
    fn better_home(&mut self, conn: ConnId, count: usize) -> Option<ShardId> {
        let limit = self.rim.limits.packet_bytes_max;
        let shards = self.rim.shards();
        let connection = self.rim.get(conn)?;
        if connection.flags.settled || connection.flags.is_stopped() {
            return None;
        }
        if !connection.queue.is_empty() || !self.shard.is_blank(conn) {
            connection.flags.settled = true;
            return None;
        }
        let (frame, _) = decode(&self.scratch[..count], limit).ok()??;
        let home = home_for(&frame, shards)?;
        connection.flags.settled = true;
        (home != conn.shard() && self.rim.may_hand_over(home)).then_some(home)
    }

    /// The peer has sent all that it ever will. What it is owed by now still
    /// leaves (`echo status | nc -N` waits for it), if the kernel takes it.
    fn end_of_stream(&mut self, conn: ConnId) {
        let owed = self.shard.owes(conn);
        let Some(connection) = self.rim.get(conn) else { return };
        let remote = connection.remote;
        connection.flags.half_closed = owed;
        (self.rim.log)(Level::Info, format_args!("Peer connection has called close(): {remote}"));
        if owed {
            self.half_closed.push(conn);
        } else {
            self.rim.flush(conn);
            self.rim.end(conn);
        }
    }

    /// Lets the half-closed connections go that have been told all that they were owed.
    pub(super) fn let_go(&mut self) {
        if self.half_closed.is_empty() {
            return;
        }
        for conn in std::mem::take(&mut self.half_closed) {
            if self.shard.owes(conn) {
                self.half_closed.push(conn);
            } else {
                self.rim.flush(conn);
                self.rim.end(conn);
            }
        }
    }

    fn decide_on_scratch(&mut self, conn: ConnId, count: usize, kept: usize) {
        let mut start = 0;
        if self.rim.get(conn).is_some_and(|connection| !connection.flags.is_stopped()) {
            start = decide(&mut self.shard, &mut self.rim, self.now, conn, &self.scratch[..count], None);
        }
        let Some(connection) = self.rim.get(conn) else { return };
        if start < count && !connection.flags.closing {
            connection.unread.keep(&self.scratch[start..count]);
            connection.flags.undecided = connection.flags.held;
        }
        connection.unread.note_small(count - kept);
        if start < count {
            self.watch_packet(conn, start > 0 || kept == 0);
        }
    }

    /// Decides on what lies in the connection's own buffer.
    pub(super) fn decide_on_unread(&mut self, conn: ConnId) {
        let Some(connection) = self.rim.get(conn) else { return };
        if connection.flags.is_stopped() || connection.unread.is_empty() || connection.unread.is_incomplete()
        {
            return;
        }
        connection.flags.undecided = false;
        connection.flags.settled = true;
        if let Some(packet) = connection.unread.take_packet() {
            let packet = Body::from(packet);
            decide(&mut self.shard, &mut self.rim, self.now, conn, &packet, Some(&packet));
            return;
        }
        let (bytes, start) = connection.unread.take();
        let used = decide(&mut self.shard, &mut self.rim, self.now, conn, &bytes[start..], None);
        let Some(connection) = self.rim.get(conn) else { return };
        if !connection.flags.closing {
            connection.flags.undecided = connection.flags.held && start + used < bytes.len();
            connection.unread.put_back(bytes, start + used);
            self.watch_packet(conn, used > 0);
        }
    }

    /// Sees to it that an unfinished packet gets on. `fresh`: it is not the
    /// one that was unfinished before.
    fn watch_packet(&mut self, conn: ConnId, fresh: bool) {
        let Some(timeout_us) = self.rim.limits.packet_timeout_us else { return };
        let now_us = self.now.mono_us;
        let Some(connection) = self.rim.get(conn) else { return };
        if connection.unread.is_empty() {
            return;
        }
        if fresh {
            connection.packet_since_us = now_us;
            connection.packet_progress = 0;
            self.rim.watches.set(now_us + timeout_us, Watch::Packet, conn.slot());
        }
    }

    pub(super) fn look_at_packet(&mut self, conn: ConnId) {
        let Some(timeout_us) = self.rim.limits.packet_timeout_us else { return };
        let now_us = self.now.mono_us;
        let Some(connection) = self.rim.get(conn) else { return };
        if connection.unread.is_empty() || connection.flags.closing {
            return;
        }
        let mut due_us = connection.packet_since_us + timeout_us;
        // A held connection is not received from, so that it cannot get on.
        if due_us <= now_us && (connection.flags.held || connection.packet_progress >= PACKET_PROGRESS_BYTES)
        {
            connection.packet_since_us = now_us;
            connection.packet_progress = 0;
            due_us = now_us + timeout_us;
        }
        if due_us > now_us {
            self.rim.watches.set(due_us, Watch::Packet, conn.slot());
        } else {
            self.rim.traffic.cut_incomplete += 1;
            self.rim.cut(conn, "it does not finish its packet");
        }
    }
}

/// Hands frames to the shard until the bytes run out, the rest is incomplete,
/// or the connection is stopped. Returns how many bytes were decided on. What
/// the shard keeps of `bytes` is shared with `received`, if they are these.
fn decide(
    shard: &mut Shard,
    rim: &mut Rim,
    now: Now,
    conn: ConnId,
    bytes: &[u8],
    received: Option<&Body>,
) -> usize {
    let limit = rim.limits.packet_bytes_max;
    let mut at = 0;
    let mut frames = SmallVec::<[(Frame<'_>, usize); FRAMES_AHEAD]>::new();
    loop {
        let mut end = at;
        let last = loop {
            if frames.len() == FRAMES_AHEAD {
                break Ok(true);
            }
            match decode(&bytes[end..], limit) {
                Ok(Some((frame, used))) => {
                    end += used;
                    frames.push((frame, end));
                }
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        if frames.len() > 1 {
            shard.foresee(frames.iter().map(|(frame, _)| frame));
        }
        for (frame, end) in frames.drain(..) {
            shard.frame_within(now, conn, frame, received, rim);
            relieve(shard, rim, now);
            at = end;
            if rim.get(conn).is_none_or(|connection| connection.flags.is_stopped()) {
                return at;
            }
        }
        match last {
            Ok(true) => {}
            Ok(false) => return at,
            Err(error) => {
                shard.bad_input(now, conn, &error, rim);
                relieve(shard, rim, now);
                return bytes.len();
            }
        }
    }
}
