//! What is due next on one thread: each takes the arrivals of its own clients out
//! of a schedule that all threads play, and passes over the others.

use std::time::Instant;

use super::schedule::Schedule;

/// What is due next on one thread, out of a schedule that all threads play.
pub(crate) struct Agenda {
    schedule: Schedule,
    started: Instant,
    /// Number of the schedule's first job.
    first: u64,
    /// Clients on all threads; job N goes to client N modulo that.
    clients: u64,
    /// Jobs passed over and given out so far.
    passed: u64,
    /// The next job that is for this thread.
    next: Option<Due>,
    /// Jobs that were due until then waited for others, not for this thread.
    held_until: Option<Instant>,
}

/// A job that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) number: u64,
    pub(crate) at: Instant,
    /// The connection it goes to.
    pub(crate) seat: usize,
}

impl Agenda {
    /// The part of `schedule` for a thread whose clients have these seats;
    /// those of other threads have none.
    pub(crate) fn new(
        schedule: Schedule,
        started: Instant,
        first: u64,
        clients: u64,
        seats: &[Option<usize>],
    ) -> Self {
        let mut agenda = Self { schedule, started, first, clients, passed: 0, next: None, held_until: None };
        agenda.advance(seats);
        agenda
    }

    /// The next job.
    pub(crate) const fn next(&self) -> Option<Due> {
        self.next
    }

    /// Goes on to the job after the next.
    pub(crate) fn advance(&mut self, seats: &[Option<usize>]) {
        self.next = loop {
            let Some(after) = self.schedule.next() else { break None };
            let index = self.passed;
            self.passed += 1;
            let client = usize::try_from(index % self.clients).expect("a client's place fits");
            if let Some(seat) = seats.get(client).copied().flatten() {
                break Some(Due { number: self.first + index, at: self.started + after, seat });
            }
        };
    }

    /// The next job must wait for answers to others.
    pub(crate) fn hold(&mut self, now: Instant) {
        self.held_until = Some(now);
    }

    /// Whether it is by this thread alone that `due` was not sent earlier.
    pub(crate) fn late_by_itself(&self, due: &Due) -> bool {
        self.held_until.is_none_or(|held| due.at > held)
    }

    /// The number after that of the last job passed over or given out.
    pub(crate) const fn end(&self) -> u64 {
        self.first + self.passed
    }

    /// Whether a job has had to wait for others.
    pub(crate) const fn was_held(&self) -> bool {
        self.held_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::arrivals::{Arrivals, Rate};
    use crate::engine::fleet::Extent;

    fn schedule(rate: &str, extent: Extent, arrivals: Arrivals) -> Schedule {
        rate.parse::<Rate>().unwrap().schedules(extent, arrivals, 7).remove(0)
    }

    #[test]
    fn threads_share_a_schedule_without_gaps() {
        let started = Instant::now();
        let mut sent = Vec::new();
        for seats in [vec![Some(0), None, Some(1)], vec![None, Some(5)]] {
            let schedule = schedule("100", Extent::Jobs(10), Arrivals::Poisson);
            let mut agenda = Agenda::new(schedule, started, 1000, 3, &seats);
            while let Some(due) = agenda.next() {
                sent.push((due.number, due.at, due.seat));
                agenda.advance(&seats);
            }
        }
        sent.sort_unstable();
        let numbers: Vec<u64> = sent.iter().map(|one| one.0).collect();
        assert_eq!(numbers, (1000..1010).collect::<Vec<_>>());
        assert!(sent.is_sorted_by_key(|one| one.1), "times rise with the numbers");
        assert_eq!(sent.iter().map(|one| one.2).take(4).collect::<Vec<_>>(), [0, 5, 1, 0]);
    }

    #[test]
    fn only_jobs_due_after_a_hold_are_late_by_the_thread_itself() {
        let started = Instant::now();
        let schedule = schedule("1", Extent::Jobs(3), Arrivals::Constant);
        let mut agenda = Agenda::new(schedule, started, 0, 1, &[Some(0)]);
        let first = agenda.next().unwrap();
        assert!(agenda.late_by_itself(&first) && !agenda.was_held());
        agenda.hold(started + Duration::from_millis(1500));
        agenda.advance(&[Some(0)]);
        assert!(!agenda.late_by_itself(&agenda.next().unwrap()) && agenda.was_held());
        agenda.advance(&[Some(0)]);
        assert!(agenda.late_by_itself(&agenda.next().unwrap()));
    }
}
