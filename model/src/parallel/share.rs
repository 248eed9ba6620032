//! The share of a batch's rows that belongs to each process.

use std::ops::Range;

/// One process's micro-batches of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Number of micro-batches of the processes before this one.
    pub before: usize,
    /// The rows of each micro-batch.
    pub micro_batches: Vec<Range<usize>>,
}

impl Share {
    /// Computes the share of process `rank` of `size` in `rows` rows. Shares are equal as far as possible and in order, cut into
    /// micro-batches of at most `at_once` rows. A single process gets all rows.
    ///
    /// # Panics
    /// If `at_once` is 0 or `rank` is not below `size`.
    pub fn of(rows: usize, at_once: usize, rank: usize, size: usize) -> Self {
        assert!(rank < size, "share: there is no process {rank} of {size}");
        let start = |rank: usize| rows * rank / size;
        let cut =
            |rank: usize| (start(rank)..start(rank + 1)).step_by(at_once).map(move |first| first..(first + at_once).min(start(rank + 1)));
        Self { before: (0..rank).map(|rank| cut(rank).count()).sum(), micro_batches: cut(rank).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_one_owner_and_micro_batches_are_numbered_through() {
        for (rows, at_once) in [(12, 4), (12, 5), (7, 2), (3, 8)] {
            for size in 1..=3 {
                let shares: Vec<Share> = (0..size).map(|rank| Share::of(rows, at_once, rank, size)).collect();
                let all: Vec<Range<usize>> = shares.iter().flat_map(|share| share.micro_batches.clone()).collect();
                assert_eq!(all.iter().cloned().flatten().collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
                assert!(all.iter().all(|part| part.len() <= at_once && !part.is_empty()));
                let before = shares.iter().scan(0, |sum, share| Some(std::mem::replace(sum, *sum + share.micro_batches.len())));
                assert!(before.eq(shares.iter().map(|share| share.before)));
            }
        }
        assert_eq!(Share::of(12, 3, 1, 2), Share { before: 2, micro_batches: vec![6..9, 9..12] }, "those of one process");
    }
}
