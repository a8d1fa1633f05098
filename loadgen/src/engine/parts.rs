//! Jobs whose latency is kept apart, beside that of all: by kind, by size, and by
//! how often their function is asked for.

use crate::engine::plan::{Kind, Picks};

/// Which parts there are. A job counts in one for each thing it is told apart by.
#[derive(Default)]
pub(crate) struct Parts {
    names: Vec<String>,
    /// Where the parts of each thing begin; nothing when jobs do not differ in it.
    kinds: Option<usize>,
    sizes: Option<usize>,
    functions: Option<usize>,
}

impl Parts {
    /// The parts of jobs that are picked so; functions that are often asked for come first.
    pub(crate) fn of(kinds: &Picks<Kind>, sizes: &Picks<usize>, functions: &Picks<Vec<u8>>) -> Self {
        let mut parts = Self::default();
        parts.kinds = parts.begin(kinds.values().iter().map(|kind| format!("kind {}", kind.name())));
        parts.sizes = parts.begin(sizes.values().iter().map(|bytes| format!("{bytes} bytes")));
        let last = functions.values().len();
        parts.functions = parts.begin((0..=rank(last - 1)).map(|rank| {
            let (from, to) = (10_usize.pow(rank).div_ceil(10) + usize::from(rank > 1), 10_usize.pow(rank));
            match rank {
                0 => "function 1".to_owned(),
                1 => format!("functions 2 to {}", to.min(last)),
                _ => format!("functions {from} to {}", to.min(last)),
            }
        }));
        parts
    }

    /// Adds parts unless there is only one.
    fn begin(&mut self, names: impl Iterator<Item = String>) -> Option<usize> {
        let first = self.names.len();
        self.names.extend(names);
        if self.names.len() == first + 1 {
            self.names.pop();
            return None;
        }
        Some(first)
    }

    /// Their names.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The parts of a job with these places among kinds, sizes and functions.
    pub(crate) fn with(&self, places: impl FnOnce() -> [usize; 3]) -> impl Iterator<Item = usize> {
        let found = (!self.names.is_empty()).then(|| {
            let [kind, size, function] = places();
            let of = |first: Option<usize>, place| first.map(|first| first + place);
            [of(self.kinds, kind), of(self.sizes, size), of(self.functions, rank(function) as usize)]
        });
        found.into_iter().flatten().flatten()
    }
}

/// Functions by the decade of their place: the first, the next 9, the next 90.
fn rank(place: usize) -> u32 {
    if place == 0 { 0 } else { place.ilog10() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_told_apart_by_what_they_differ_in() {
        let functions = Picks::in_turn((0..150_u32).map(|name| name.to_be_bytes().to_vec()).collect());
        let kinds = Picks::in_turn(vec![Kind::FOREGROUND, Kind::BACKGROUND]);
        let parts = Parts::of(&kinds, &Picks::one(64), &functions);
        let names = ["kind fg", "kind bg", "function 1", "functions 2 to 10", "functions 11 to 100"];
        assert_eq!(parts.names()[..5], names);
        assert_eq!(parts.names()[5..], ["functions 101 to 150"]);
        let of = |kind, function| parts.with(|| [kind, 0, function]).collect::<Vec<_>>();
        assert_eq!((of(0, 0), of(1, 1), of(0, 9)), (vec![0, 2], vec![1, 3], vec![0, 3]));
        assert_eq!(
            (of(0, 10), of(0, 99), of(0, 100), of(0, 149)),
            (vec![0, 4], vec![0, 4], vec![0, 5], vec![0, 5])
        );
    }

    #[test]
    fn jobs_that_do_not_differ_have_no_parts() {
        let parts = Parts::of(&Picks::one(Kind::FOREGROUND), &Picks::one(16), &Picks::one(Vec::new()));
        assert!(parts.names().is_empty());
        assert_eq!(parts.with(|| unreachable!("nobody asks")).count(), 0);
    }
}
