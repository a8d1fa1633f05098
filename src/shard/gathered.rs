//! Answers of several shards to one question.

use super::ids::ShardId;

/// Answers that several owners give to one question.
#[derive(Debug)]
pub(super) struct Gathered<T> {
    parts: Vec<(ShardId, T)>,
    missing: usize,
}

impl<T> Gathered<T> {
    pub(super) fn new(expected: usize) -> Self {
        Self { parts: Vec::with_capacity(expected), missing: expected }
    }

    /// Adds an answer; all of them, in the order of the shards, with the last.
    pub(super) fn add(&mut self, from: ShardId, part: T) -> Option<Vec<T>> {
        self.parts.push((from, part));
        self.missing -= 1;
        if self.missing > 0 {
            return None;
        }
        self.parts.sort_by_key(|&(from, _)| from);
        Some(std::mem::take(&mut self.parts).into_iter().map(|(_, part)| part).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_gathered_in_the_order_of_the_shards() {
        let mut gathered = Gathered::new(3);
        assert_eq!(gathered.add(ShardId(2), "c"), None);
        assert_eq!(gathered.add(ShardId(0), "a"), None);
        assert_eq!(gathered.add(ShardId(1), "b"), Some(vec!["a", "b", "c"]));
    }
}
