//! The inboxes of the shards, and how a sleeping shard is woken.
//!
//! Messages are staged during a turn and leave at its end. A wake is
//! a system call, so a shard that is awake is never woken: it says when it is
//! about to park, and the first sender after that wakes it, once. Knows
//! nothing of what a message means.
//!
//! # No wake-up is lost
//!
//! The owner of an inbox and a sender each write one thing and then read what
//! the other writes (Dekker's pattern):
//!
//! ```text
//! owner                               sender
//! parked := true                      put a batch into the inbox
//! fence(SeqCst)                       fence(SeqCst)
//! inbox empty? park : go on           parked? clear it and wake : nothing
//! ```
//!
//! The two fences are in one total order. If the owner's comes first, the
//! sender behind its own fence sees `parked` set and wakes. If the sender's
//! comes first, the owner behind its own fence sees the batch and does not
//! park. Weaker orderings would let both reads be done before both writes,
//! and the batch would wait beside a sleeping shard. The waker's signal stays
//! pending until the next poll, so it may also come before the owner parks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_channel::{Receiver, Sender};

use crate::shard::ids::ShardId;
use crate::shard::message::Leaves;

/// Something that can end another thread's poll.
pub(crate) trait Wake: Send + Sync {
    /// Ends the poll under way, or the next one.
    fn wake(&self) -> io::Result<()>;
}

impl Wake for mio::Waker {
    fn wake(&self) -> io::Result<()> {
        Self::wake(self)
    }
}

/// The sending end of one inbox; shared by everyone who may send.
pub(crate) struct Address<T> {
    // Unbounded, because no shard may ever wait for another. What lies here is
    // bounded by the replies that connections may be owed and by the bytes
    // that one turn reads.
    sender: Sender<T>,
    parked: Arc<Parked>,
}

struct Parked {
    // A line of its own: senders read it once a batch, the owner writes it.
    flag: CacheLine<AtomicBool>,
    waker: Box<dyn Wake>,
}

#[repr(align(128))]
struct CacheLine<T>(T);

/// The receiving end; belongs to one thread.
pub(crate) struct Inbox<T> {
    receiver: Receiver<T>,
    parked: Arc<Parked>,
}

/// An inbox whose owner is woken by `waker`.
pub(crate) fn inbox<T>(waker: impl Wake + 'static) -> (Address<T>, Inbox<T>) {
    let (sender, receiver) = crossbeam_channel::unbounded();
    let parked = Arc::new(Parked { flag: CacheLine(AtomicBool::new(false)), waker: Box::new(waker) });
    (Address { sender, parked: Arc::clone(&parked) }, Inbox { receiver, parked })
}

impl<T> Clone for Address<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), parked: Arc::clone(&self.parked) }
    }
}

impl<T> Address<T> {
    /// Puts `item` into the inbox and wakes its owner if it is parked.
    /// Returns whether the owner still exists.
    pub(crate) fn send(&self, item: T) -> bool {
        if self.sender.send(item).is_err() {
            return false;
        }
        fence(Ordering::SeqCst);
        let flag = &self.parked.flag.0;
        // The swap lets exactly one of several senders do the system call.
        if flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Relaxed) {
            // The event descriptor is ours and open, so only a broken kernel fails here,
            // and a shard that cannot be woken must not live on.
            self.parked.waker.wake().expect("a waker wakes as long as its poll exists");
        }
        true
    }
}

impl<T> Inbox<T> {
    /// Takes the next item, if there is one.
    pub(crate) fn try_take(&self) -> Option<T> {
        // A shard holds its own address, too, so its inbox is never disconnected.
        self.receiver.try_recv().ok()
    }

    /// How many items wait now.
    pub(crate) fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Announces that the owner will park. When this is false, something is
    /// in the inbox and the owner must not park.
    pub(crate) fn park(&self) -> bool {
        self.parked.flag.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.receiver.is_empty() {
            return true;
        }
        self.unpark();
        false
    }

    /// Announces that the owner is awake again.
    pub(crate) fn unpark(&self) {
        self.parked.flag.0.store(false, Ordering::Relaxed);
    }
}

/// What one shard has for the others, staged until the end of its turn.
///
/// Messages for one destination leave as one batch, in the order in which they
/// were staged. A job is announced to the homes of its workers before any
/// client's home is told that it exists, because nobody who acts on the second
/// may run ahead of the first. So a destination with announcements is sent its
/// batch before the others; if there are several, each is first sent all but
/// what leaves last.
pub(crate) struct Staging<M, T> {
    own: ShardId,
    addresses: Vec<Address<T>>,
    /// By destination.
    staged: Vec<Staged<M>>,
    /// Destinations with something staged, by their first message.
    destinations: Vec<ShardId>,
    /// Destinations with something that leaves first.
    announced: usize,
    leaves: fn(&M) -> Leaves,
    pack: fn(ShardId, Vec<M>) -> T,
    batches: u64,
}

struct Staged<M> {
    batch: Vec<M>,
    /// Something in it leaves first.
    announces: bool,
}

impl<M, T> Staging<M, T> {
    /// `addresses` are those of all shards, `own` included; `pack` makes one
    /// inbox item of a batch from `own`.
    pub(crate) fn new(
        own: ShardId,
        addresses: Vec<Address<T>>,
        leaves: fn(&M) -> Leaves,
        pack: fn(ShardId, Vec<M>) -> T,
    ) -> Self {
        let staged = addresses.iter().map(|_| Staged { batch: Vec::new(), announces: false }).collect();
        Self { own, addresses, staged, destinations: Vec::new(), announced: 0, leaves, pack, batches: 0 }
    }

    /// Adds a message for `to`.
    pub(crate) fn stage(&mut self, to: ShardId, message: M) {
        assert!(to != self.own, "a shard loops messages to itself back internally");
        let staged = &mut self.staged[to.index()];
        if staged.batch.is_empty() {
            self.destinations.push(to);
        }
        if (self.leaves)(&message) == Leaves::First && !std::mem::replace(&mut staged.announces, true) {
            self.announced += 1;
        }
        staged.batch.push(message);
    }

    /// Sends everything staged.
    pub(crate) fn dispatch(&mut self) {
        if self.destinations.is_empty() {
            return;
        }
        let destinations = std::mem::take(&mut self.destinations);
        let announced = std::mem::take(&mut self.announced);
        if announced > 0 {
            for &to in &destinations {
                if std::mem::take(&mut self.staged[to.index()].announces) {
                    self.announce(to, announced == 1);
                }
            }
        }
        for &to in &destinations {
            self.send(to, std::mem::take);
        }
        self.destinations = destinations;
        self.destinations.clear();
    }

    /// Sends to `to` what is staged, if not `all` then without what leaves last.
    fn announce(&mut self, to: ShardId, all: bool) {
        let leaves = self.leaves;
        self.send(to, |batch| {
            if all {
                return std::mem::take(batch);
            }
            let last = batch.extract_if(.., |message| leaves(message) == Leaves::Last).collect();
            std::mem::replace(batch, last)
        });
    }

    fn send(&mut self, to: ShardId, part: impl FnOnce(&mut Vec<M>) -> Vec<M>) {
        let batch = part(&mut self.staged[to.index()].batch);
        if !batch.is_empty() {
            self.batches += 1;
            // A shard that is gone means that the server stops: nobody waits for this batch.
            self.addresses[to.index()].send((self.pack)(self.own, batch));
        }
    }

    /// Sends `item` at once, counted as a batch of its own. What is staged stays so.
    pub(crate) fn hand_over(&mut self, to: ShardId, item: T) {
        self.batches += 1;
        // As in `send`.
        self.addresses[to.index()].send(item);
    }

    /// Batches sent so far.
    pub(crate) fn batches(&self) -> u64 {
        self.batches
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::{Duration, Instant};

    use mio::{Events, Poll, Token, Waker};

    use super::*;

    struct CountedWakes(Arc<AtomicU64>);

    impl Wake for CountedWakes {
        fn wake(&self) -> io::Result<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn only_a_parked_owner_is_woken_and_only_once() {
        let wakes = Arc::new(AtomicU64::new(0));
        let (address, inbox) = inbox(CountedWakes(Arc::clone(&wakes)));
        address.send(1);
        assert_eq!(wakes.load(Ordering::Relaxed), 0, "the owner did not say that it parks");
        assert!(!inbox.park(), "an inbox with something in it forbids parking");
        address.send(2);
        assert_eq!(wakes.load(Ordering::Relaxed), 0, "a refused park leaves the owner awake");
        assert_eq!((inbox.try_take(), inbox.try_take(), inbox.try_take()), (Some(1), Some(2), None));
        assert!(inbox.park());
        address.send(3);
        address.send(4);
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        inbox.unpark();
        address.send(5);
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(inbox.len(), 3);
    }

    /// Waits until `at` is `round`; gives way to others on a busy machine.
    fn meet(at: &AtomicU64, round: u64) {
        let mut spins = 0_u32;
        while at.load(Ordering::Acquire) != round {
            std::hint::spin_loop();
            spins += 1;
            if spins.is_multiple_of(1024) {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_send_that_meets_a_park_is_seen_by_one_of_the_two() {
        const ROUNDS: u64 = 60_000;
        let wakes = Arc::new(AtomicU64::new(0));
        let (address, inbox) = inbox(CountedWakes(Arc::clone(&wakes)));
        let (start, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let sender = std::thread::spawn({
            let (start, done) = (Arc::clone(&start), Arc::clone(&done));
            move || {
                for round in 1..=ROUNDS {
                    meet(&start, round);
                    for _ in 0..round % 13 {
                        std::hint::spin_loop();
                    }
                    address.send(round);
                    done.store(round, Ordering::Release);
                }
            }
        });
        let mut parks = 0;
        for round in 1..=ROUNDS {
            let woken_before = wakes.load(Ordering::Relaxed);
            start.store(round, Ordering::Release);
            for _ in 0..round % 17 {
                std::hint::spin_loop();
            }
            let parked = inbox.park();
            parks += u64::from(parked);
            meet(&done, round);
            let woken = wakes.load(Ordering::Relaxed) > woken_before;
            assert!(woken || !parked, "round {round}: parked beside something in the inbox");
            inbox.unpark();
            assert_eq!(inbox.try_take(), Some(round));
        }
        sender.join().unwrap();
        assert!(parks > 0, "the owner never parked");
    }

    /// Stages the letters for the destinations before them, and dispatches
    /// twice; what came to whom, in the order in which it was sent. A capital
    /// leaves first, a digit last.
    fn sent(staged: &[(u16, char)]) -> Vec<(usize, String)> {
        let leaves = |message: &char| match message {
            'A'..='Z' => Leaves::First,
            '0'..='9' => Leaves::Last,
            _ => Leaves::InOrder,
        };
        let (log, seen) = crossbeam_channel::unbounded();
        let addresses: Vec<_> = (0..4)
            .map(|to| {
                let (address, inbox) = inbox(CountedWakes(Arc::default()));
                (address, (to, inbox))
            })
            .collect();
        let (addresses, inboxes): (Vec<_>, Vec<_>) = addresses.into_iter().unzip();
        let mut staging = Staging::new(ShardId(0), addresses, leaves, |from, batch: Vec<char>| {
            assert_eq!(from, ShardId(0));
            (Instant::now(), batch)
        });
        for &(to, message) in staged {
            staging.stage(ShardId(to), message);
        }
        assert!(
            inboxes.iter().all(|(_, inbox)| inbox.len() == 0),
            "nothing leaves before the end of the turn"
        );
        staging.dispatch();
        staging.dispatch();
        for (to, inbox) in &inboxes {
            while let Some((when, batch)) = inbox.try_take() {
                log.send((when, *to, batch.into_iter().collect())).unwrap();
            }
        }
        let mut sent: Vec<(Instant, usize, String)> = seen.try_iter().collect();
        sent.sort_by_key(|&(when, ..)| when);
        assert_eq!(sent.len() as u64, staging.batches());
        sent.into_iter().map(|(_, to, batch)| (to, batch)).collect()
    }

    fn batches(expected: &[(usize, &str)]) -> Vec<(usize, String)> {
        expected.iter().map(|&(to, batch)| (to, batch.to_owned())).collect()
    }

    #[test]
    fn messages_leave_in_order_and_as_one_batch_for_each_destination() {
        let staged = [(2, 'a'), (1, 'b'), (2, '1'), (1, '2'), (2, 'c')];
        assert_eq!(sent(&staged), batches(&[(2, "a1c"), (1, "b2")]));
        assert_eq!(sent(&[]), []);
    }

    #[test]
    fn announcements_leave_before_whatever_leaves_last() {
        let staged = [(3, 'x'), (1, 'A'), (2, '1'), (2, 'B'), (1, '2'), (2, 'c'), (3, '3')];
        assert_eq!(sent(&staged), batches(&[(1, "A"), (2, "Bc"), (3, "x3"), (1, "2"), (2, "1")]));
        let staged = [(3, 'x'), (3, '1'), (1, '2'), (1, 'A'), (3, '3'), (1, '4')];
        assert_eq!(sent(&staged), batches(&[(1, "2A4"), (3, "x13")]), "there is nobody to wait for");
    }

    /// Tells a player that every token is used up.
    const OVER: u32 = u32::MAX;

    /// One thread of the token game: passes tokens on until they are used up,
    /// and parks without any timeout in between.
    fn play(own: usize, mut poll: Poll, inbox: &Inbox<u32>, players: &[Address<u32>], left: &AtomicU64) {
        let mut events = Events::with_capacity(8);
        let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(own as u64 + 1);
        loop {
            while let Some(hops) = inbox.try_take() {
                if hops == OVER {
                    return;
                }
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // Vary the moment between taking and passing on.
                for _ in 0..random % 64 {
                    std::hint::spin_loop();
                }
                if hops > 0 {
                    players[(random >> 32) as usize % players.len()].send(hops - 1);
                } else if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                    for player in players {
                        player.send(OVER);
                    }
                }
            }
            if inbox.park() {
                poll.poll(&mut events, None).unwrap();
            }
            inbox.unpark();
        }
    }

    #[test]
    fn no_wake_up_is_lost_between_threads_that_park_without_timeout() {
        for (threads, tokens, hops) in [(2, 1, 40_000), (4, 2, 30_000), (4, 40, 2_000)] {
            let mut polls = Vec::new();
            let mut addresses = Vec::new();
            for _ in 0..threads {
                let poll = Poll::new().unwrap();
                let (address, inbox) = inbox(Waker::new(poll.registry(), Token(0)).unwrap());
                addresses.push(address);
                polls.push((poll, inbox));
            }
            let left = Arc::new(AtomicU64::new(tokens));
            let players: Vec<_> = polls
                .into_iter()
                .enumerate()
                .map(|(own, (poll, inbox))| {
                    let (addresses, left) = (addresses.clone(), Arc::clone(&left));
                    std::thread::spawn(move || play(own, poll, &inbox, &addresses, &left))
                })
                .collect();
            for token in 0..tokens {
                addresses[token as usize % threads].send(hops);
            }
            let deadline = Instant::now() + Duration::from_secs(120);
            for player in players {
                while !player.is_finished() {
                    assert!(Instant::now() < deadline, "a token is stuck beside a parked thread");
                    std::thread::sleep(Duration::from_millis(1));
                }
                player.join().unwrap();
            }
        }
    }
}
