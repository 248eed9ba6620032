//! The sequences that are packed into one batch: which rows belong together, and which keys a query sees.

use crate::scalar::Scalar;
use std::ops::Range;
use std::sync::Arc;

/// The boundaries of the sequences that are packed into one batch, in queries and in keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    queries: Arc<[usize]>,
    /// The rows of each segment's keys, ascending.
    keys: Arc<[Range<usize>]>,
    /// The number of rows of K and V.
    key_rows: usize,
    window: Option<usize>,
}

impl Segments {
    /// Segments of these lengths that attend to themselves.
    pub fn of_lengths(lengths: &[usize]) -> Self {
        Self::of_queries_and_keys(lengths, lengths)
    }

    /// Segments with fewer queries than keys, the queries being the last positions: for generation with a cache.
    ///
    /// # Panics
    /// If the lists differ in length or a segment has more queries than keys.
    #[track_caller]
    pub fn of_queries_and_keys(queries: &[usize], keys: &[usize]) -> Self {
        let fits = queries.len() == keys.len() && queries.iter().zip(keys).all(|(q, k)| q <= k);
        assert!(fits, "segments: queries {queries:?} and keys {keys:?}");
        let ends = bounds(keys);
        let places: Vec<Range<usize>> = ends.windows(2).map(|ends| ends[0]..ends[1]).collect();
        Self::of_queries_and_places(queries, &places, ends[keys.len()])
    }

    /// The same with the keys of each segment at these rows of K and V, which have `rows` rows: for a cache with room behind each sequence.
    /// Nothing reads the rows between, and their cotangents are 0.
    ///
    /// # Panics
    /// If the lists differ in length, a segment has more queries than keys, or the places do not ascend within the rows.
    #[track_caller]
    pub fn of_queries_and_places(queries: &[usize], keys: &[Range<usize>], rows: usize) -> Self {
        let fits = queries.len() == keys.len() && queries.iter().zip(keys).all(|(&q, k)| k.start <= k.end && q <= k.len());
        let ascend = keys.windows(2).all(|two| two[0].end <= two[1].start) && keys.last().is_none_or(|last| last.end <= rows);
        assert!(fits && ascend, "segments: queries {queries:?} and keys {keys:?} of {rows} rows");
        Self { queries: bounds(queries), keys: keys.into(), key_rows: rows, window: None }
    }

    /// The same with each query seeing only the last `window` keys, its own position included.
    ///
    /// # Panics
    /// For a window of 0.
    #[track_caller]
    pub fn with_window(mut self, window: Option<usize>) -> Self {
        assert!(window != Some(0), "segments: a window of 0 keys");
        self.window = window;
        self
    }

    /// The number of segments.
    pub fn len(&self) -> usize {
        self.queries.len() - 1
    }
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The rows of Q that belong to a segment.
    pub fn queries(&self, segment: usize) -> Range<usize> {
        self.queries[segment]..self.queries[segment + 1]
    }
    /// The rows of K and V that belong to a segment.
    pub fn keys(&self, segment: usize) -> Range<usize> {
        self.keys[segment].clone()
    }
    /// The number of keys a query sees, where it is limited.
    pub fn window(&self) -> Option<usize> {
        self.window
    }
    /// The number of rows of Q, and of K and V.
    pub fn totals(&self) -> (usize, usize) {
        (self.queries[self.len()], self.key_rows)
    }
    /// True if rows of K and V belong to no segment.
    pub fn leave_rows(&self) -> bool {
        self.keys.iter().map(Range::len).sum::<usize>() < self.key_rows
    }

    /// 0 where query i of a segment sees key j, −∞ elsewhere, row-major.
    pub(crate) fn mask<T: Scalar>(&self, segment: usize) -> Vec<T> {
        let (queries, keys) = (self.queries(segment).len(), self.keys(segment).len());
        let sees = |i: usize, j: usize| {
            let position = i + keys - queries;
            j <= position && self.window.is_none_or(|window| j + window > position)
        };
        (0..queries * keys).map(|ij| if sees(ij / keys, ij % keys) { T::zero() } else { T::neg_infinity() }).collect()
    }
}

fn bounds(lengths: &[usize]) -> Arc<[usize]> {
    let ends = lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}
