//! The foreground jobs that one client waits for.
//!
//! A ticket names a place in the table; the owner of the job sends it along
//! with all news, so that news finds its place without a look-up.

/// Room that an emptied table may keep.
const ENTRIES_KEPT: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Free {
        next: u32,
    },
    /// Submitted, not yet answered.
    Asked,
    /// The job's number.
    Known {
        number: u64,
    },
}

const NONE: u32 = u32::MAX;

/// Tickets of one connection.
#[derive(Debug)]
pub(super) struct Awaited {
    entries: Vec<Entry>,
    free: u32,
    used: usize,
}

impl Default for Awaited {
    fn default() -> Self {
        Self { entries: Vec::new(), free: NONE, used: 0 }
    }
}

impl Awaited {
    /// Whether there has never been a ticket.
    pub(super) fn is_unused(&self) -> bool {
        self.entries.is_empty()
    }

    /// A ticket for a job that is being submitted.
    pub(super) fn ask(&mut self) -> u32 {
        self.used += 1;
        if self.free == NONE {
            self.entries.push(Entry::Asked);
            return u32::try_from(self.entries.len() - 1).expect("a client waits for fewer than 2^32 jobs");
        }
        let ticket = self.free;
        if let Entry::Free { next } = std::mem::replace(&mut self.entries[ticket as usize], Entry::Asked) {
            self.free = next;
        }
        ticket
    }

    /// The job has a number now.
    pub(super) fn know(&mut self, ticket: u32, number: u64) {
        if let Some(entry @ Entry::Asked) = self.entries.get_mut(ticket as usize) {
            *entry = Entry::Known { number };
        }
    }

    /// Whether the ticket stands for this job.
    pub(super) fn is(&self, ticket: u32, number: u64) -> bool {
        self.entries.get(ticket as usize) == Some(&Entry::Known { number })
    }

    /// The job has ended, or was refused.
    pub(super) fn end(&mut self, ticket: u32) {
        let Some(entry) = self.entries.get_mut(ticket as usize) else { return };
        if matches!(entry, Entry::Free { .. }) {
            return;
        }
        *entry = Entry::Free { next: self.free };
        self.free = ticket;
        self.used -= 1;
        if self.used == 0 && self.entries.len() > ENTRIES_KEPT {
            *self = Self::default();
        }
    }

    /// Every job whose number is known, with its ticket.
    pub(super) fn known(&self) -> impl Iterator<Item = (u32, u64)> {
        (0..).zip(&self.entries).filter_map(|(ticket, entry)| match entry {
            Entry::Known { number } => Some((ticket, *number)),
            Entry::Free { .. } | Entry::Asked => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_used_again_and_stand_for_one_job() {
        let mut awaited = Awaited::default();
        let (a, b) = (awaited.ask(), awaited.ask());
        awaited.know(a, 10);
        assert_eq!(awaited.known().collect::<Vec<_>>(), [(a, 10)]);
        awaited.end(a);
        awaited.end(a);
        let c = awaited.ask();
        assert_eq!(c, a);
        assert!(!awaited.is(c, 10));
        awaited.know(c, 11);
        awaited.know(b, 12);
        assert!(awaited.is(c, 11) && awaited.is(b, 12));
    }
}
