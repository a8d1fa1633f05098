//! Under which key a job stands, where several jobs could have the same.

use ::redis::{Value, from_redis_value, pipe};
use hashbrown::HashSet;

use super::keys::is_ambiguous;
use super::{ARGUMENTS, Redis};
use crate::storage::rows::{EngineError, Key, Row};

/// Where a batch changes something.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The key of each new row, in order.
    pub(super) put: Vec<Vec<u8>>,
    /// Keys of what is to be gone.
    pub(super) out: Vec<Vec<u8>>,
}

/// Function and unique of a job, with the keys that it could have.
struct Candidate<'a> {
    function: &'a [u8],
    unique: &'a [u8],
    /// gearmand's, which other jobs could have too.
    plain: Vec<u8>,
    /// Ours.
    other: Vec<u8>,
}

impl<'a> Candidate<'a> {
    fn names(&self) -> (&'a [u8], &'a [u8]) {
        (self.function, self.unique)
    }
}

/// What stands under gearmand's key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occupant {
    Nobody,
    Itself,
    Another,
}

impl Redis {
    /// Finds the keys for a batch, and watches those that it relies on.
    pub(super) fn places(&mut self, new: &[Row<'_>], gone: &[Key]) -> Result<Places, EngineError> {
        let of_new = new.iter().map(|row| (&row.function[..], &row.key[..]));
        let of_gone = gone.iter().map(|key| (&key.function[..], &key.key[..]));
        let ambiguous = of_new.clone().chain(of_gone.clone()).filter(|(f, u)| is_ambiguous(f, u));
        let candidates: Vec<Candidate<'_>> = ambiguous
            .map(|(function, unique)| Candidate {
                function,
                unique,
                plain: self.names.key(function, unique),
                other: self.names.other_key(function, unique),
            })
            .collect();
        let mut standings = self.standings(&candidates)?.into_iter().zip(&candidates);
        let mut next = || standings.next().expect("there is one for each ambiguous job");
        let mut places = Places::default();
        let mut taken: HashSet<&[u8]> = HashSet::new();
        let mut doubtful = Vec::new();
        for (function, unique) in of_new {
            if !is_ambiguous(function, unique) {
                places.put.push(self.names.key(function, unique));
                continue;
            }
            let ((occupant, beside), candidate) = next();
            if occupant != Occupant::Another && taken.insert(&candidate.plain) {
                places.put.push(candidate.plain.clone());
                // It has stood there while another one had the plain key.
                places.out.extend(beside.then(|| candidate.other.clone()));
            } else {
                if !beside {
                    doubtful.push(candidate);
                }
                places.put.push(candidate.other.clone());
            }
        }
        for (function, unique) in of_gone {
            if !is_ambiguous(function, unique) {
                places.out.push(self.names.key(function, unique));
                continue;
            }
            let ((occupant, beside), candidate) = next();
            places.out.extend((occupant == Occupant::Itself).then(|| candidate.plain.clone()));
            places.out.extend(beside.then(|| candidate.other.clone()));
        }
        let vacant = doubtful.iter().all(|candidate| taken.insert(&candidate.other));
        self.must_be_vacant(vacant, &doubtful)?;
        Ok(places)
    }

    /// Both keys of these are taken, unless nothing is there.
    fn must_be_vacant(&mut self, vacant: bool, candidates: &[&Candidate<'_>]) -> Result<(), EngineError> {
        let mut count = 0;
        for some in candidates.chunks(ARGUMENTS) {
            let mut counted = pipe();
            counted.cmd("EXISTS").arg(some.iter().map(|candidate| &candidate.other).collect::<Vec<_>>());
            let (there,): (u64,) = self.query(&counted)?;
            count += there;
        }
        if vacant && count == 0 {
            return Ok(());
        }
        let what = "other jobs have the keys of a job's function and unique, choose another unique";
        Err(EngineError::Refused(format!("{}: {what}", self.address)))
    }

    /// What stands under each one's plain key, and whether it stands under its other one itself.
    fn standings(&mut self, candidates: &[Candidate<'_>]) -> Result<Vec<(Occupant, bool)>, EngineError> {
        let plain = candidates.iter().map(|candidate| candidate.plain.clone());
        let keys: Vec<Vec<u8>> =
            plain.chain(candidates.iter().map(|candidate| candidate.other.clone())).collect();
        for some in keys.chunks(ARGUMENTS) {
            let mut watched = pipe();
            watched.cmd("WATCH").arg(some);
            self.query::<()>(&watched)?;
        }
        let notes = self.notes(&keys)?;
        let (plain_notes, other_notes) = notes.split_at(candidates.len());
        let mut occupants = vec![Occupant::Nobody; candidates.len()];
        let mut doubtful = Vec::new();
        for (at, (candidate, note)) in candidates.iter().zip(plain_notes).enumerate() {
            if note.is_some_and(|note| self.names.noted(&candidate.plain, &note) == Some(candidate.names())) {
                occupants[at] = Occupant::Itself;
            } else {
                // Nobody is there, or a job of gearmand's, or another one of ours.
                doubtful.push((at, note.is_some()));
            }
        }
        let beside: Vec<bool> = candidates
            .iter()
            .zip(other_notes)
            .map(|(candidate, note)| {
                let noted = note.and_then(|note| self.names.noted(&candidate.other, &note));
                noted == Some(candidate.names())
            })
            .collect();
        for some in doubtful.chunks(ARGUMENTS) {
            self.look(candidates, some, &mut occupants)?;
        }
        Ok(occupants.into_iter().zip(beside).collect())
    }

    /// What stands under the plain keys of some candidates that have no note of
    /// their own; beside the place of each stands whether another one has.
    fn look(
        &mut self,
        candidates: &[Candidate<'_>],
        doubtful: &[(usize, bool)],
        occupants: &mut [Occupant],
    ) -> Result<(), EngineError> {
        let mut counted = pipe();
        counted.cmd("EXISTS");
        for &(at, _) in doubtful {
            counted.arg(&candidates[at].plain);
        }
        let (count,): (u64,) = self.query(&counted)?;
        if count == 0 {
            return Ok(());
        }
        let mut asked = pipe();
        for &(at, _) in doubtful {
            asked.cmd("EXISTS").arg(&candidates[at].plain);
            asked.cmd("HMGET").arg(&candidates[at].plain).arg(&["function", "unique"]);
        }
        let answers: Vec<Value> = self.query(asked.ignore_errors())?;
        for (&(at, noted), answer) in doubtful.iter().zip(answers.chunks_exact(2)) {
            let candidate = &candidates[at];
            // Of a string there are no fields.
            let fields: Vec<Option<Vec<u8>>> = from_redis_value(answer[1].clone()).unwrap_or_default();
            let named = match &fields[..] {
                [Some(function), Some(unique)] => Some((&function[..], &unique[..])),
                _ => self.names.parse(&candidate.plain),
            };
            occupants[at] = match answer[0] {
                Value::Int(0) => Occupant::Nobody,
                _ if !noted && named == Some(candidate.names()) => Occupant::Itself,
                _ => Occupant::Another,
            };
        }
        Ok(())
    }
}
