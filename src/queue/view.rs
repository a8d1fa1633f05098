//! A job together with what is kept elsewhere of it.

use std::ops::Deref;

use super::body::Body;
use super::job::{Job, NO_PARTIES, Parties, Running, Standing, Stored, Waiting, workload_at};
use super::packed::{Packed, Place};
use super::slab::Slab;

/// A look at one job.
#[derive(Clone, Copy)]
pub struct JobView<'a> {
    pub(super) job: &'a Job,
    pub(super) parties: &'a Slab<Parties>,
    pub(super) packed: &'a Packed,
    pub(super) heads: &'a Packed,
}

impl Deref for JobView<'_> {
    type Target = Job;

    fn deref(&self) -> &Job {
        self.job
    }
}

impl<'a> JobView<'a> {
    /// Unique, reducer if any, and workload, with a NUL between each two; of a
    /// spilled job without the workload.
    #[must_use]
    pub fn body(self) -> &'a [u8] {
        match &self.job.stored {
            Stored::Shared(body) => body,
            Stored::Spilled(Place::NOWHERE) => b"\0",
            Stored::Packed(place) => self.packed.get(*place),
            Stored::Spilled(place) => self.heads.get(*place),
        }
    }

    /// Whether its workload is in the store only.
    #[must_use]
    pub fn is_spilled(self) -> bool {
        matches!(self.job.stored, Stored::Spilled(_))
    }

    /// The same, to be shared; only of a job that is given to a worker.
    #[must_use]
    pub fn shared_body(self) -> &'a Body {
        match &self.job.stored {
            Stored::Shared(body) => body,
            Stored::Packed(_) | Stored::Spilled(_) => unreachable!("the body of a running job is shared"),
        }
    }

    /// The same, shared if it is not packed; only of a job that is not spilled.
    #[must_use]
    pub fn to_body(self) -> Body {
        debug_assert!(!self.is_spilled(), "its workload is elsewhere");
        match &self.job.stored {
            Stored::Shared(body) => body.clone(),
            Stored::Packed(_) | Stored::Spilled(_) => Body::copy(self.body()),
        }
    }

    /// The unique that it was submitted with; possibly empty.
    #[must_use]
    pub fn unique(self) -> &'a [u8] {
        &self.body()[..usize::from(self.unique_bytes)]
    }

    /// The workload.
    #[must_use]
    pub fn workload(self) -> &'a [u8] {
        &self.body()[workload_at(self.unique_bytes, self.reducer_bytes)..]
    }

    /// Who waits for it, in the order they came.
    #[must_use]
    pub fn clients(self) -> &'a [Waiting] {
        self.parties().map_or(&[], |parties| parties.clients.as_slice())
    }

    /// Who has it, if a worker does.
    #[must_use]
    pub fn running(self) -> Option<&'a Running> {
        self.parties()?.running.as_ref()
    }

    /// Whether it is not to be run again when its worker is lost: cancelled,
    /// or left by all its clients.
    #[must_use]
    pub fn is_unwanted(self) -> bool {
        match self.standing {
            Standing::Foreground => self.clients().is_empty(),
            Standing::Background | Standing::Durable => false,
            Standing::Dead => true,
        }
    }

    fn parties(self) -> Option<&'a Parties> {
        (self.job.parties != NO_PARTIES).then(|| &self.parties[self.job.parties])
    }
}
