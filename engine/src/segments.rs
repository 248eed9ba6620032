//! The sequences that are packed into one batch: which rows belong together, and which keys a query sees.

use crate::scalar::Scalar;
use std::ops::Range;
use std::sync::Arc;

/// The boundaries of the sequences that are packed into one batch, in queries and in keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    queries: Arc<[usize]>,
    keys: Arc<[usize]>,
    window: Option<usize>,
}

impl Segments {
    /// Segments of these lengths that attend to themselves.
    pub fn of_lengths(lengths: &[usize]) -> Self {
        let bounds = bounds(lengths);
        Self { queries: bounds.clone(), keys: bounds, window: None }
    }

    /// Segments with fewer queries than keys, the queries being the last positions: for generation with a cache.
    ///
    /// # Panics
    /// If the lists differ in length or a segment has more queries than keys.
    #[track_caller]
    pub fn of_queries_and_keys(queries: &[usize], keys: &[usize]) -> Self {
        let fits = queries.len() == keys.len() && queries.iter().zip(keys).all(|(q, k)| q <= k);
        assert!(fits, "segments: queries {queries:?} and keys {keys:?}");
        Self { queries: bounds(queries), keys: bounds(keys), window: None }
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
        self.keys[segment]..self.keys[segment + 1]
    }
    /// The number of keys a query sees, where it is limited.
    pub fn window(&self) -> Option<usize> {
        self.window
    }
    /// The number of rows of Q, and of K and V.
    pub fn totals(&self) -> (usize, usize) {
        (self.queries[self.len()], self.keys[self.len()])
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
