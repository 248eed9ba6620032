//! The keys and values of the tokens seen so far, so that generating a token costs one token's work.

use engine::{Backend, Segments, Tensor};
use std::ops::Range;

/// Keys and values in one layer, each [T, H_kv, D_head]: those of all sequences, one sequence after another.
type KeysAndValues<B> = [Tensor<B>; 2];

/// Keys and values for each layer and sequence.
pub struct Cache<B: Backend> {
    /// By layer; `None` before the first token.
    layers: Vec<Option<KeysAndValues<B>>>,
    /// Number of tokens seen of each sequence.
    pub(super) lengths: Vec<usize>,
}

impl<B: Backend> Cache<B> {
    pub(super) fn new(layers: usize, sequences: usize) -> Self {
        Self { layers: vec![None; layers], lengths: vec![0; sequences] }
    }

    /// Returns the number of tokens seen of each sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Keeps only the sequences at `rows`, in that order.
    pub fn select(&mut self, rows: &[usize]) {
        if !rows.iter().copied().eq(0..self.lengths.len()) {
            let all = ranges(&self.lengths);
            self.keep(rows.iter().map(|&row| all[row].clone()).collect());
        }
    }

    /// Drops all but the first `length` tokens of the sequence at `row`. Does nothing if the sequence is not longer.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn truncate(&mut self, row: usize, length: usize) {
        if length < self.lengths[row] {
            let mut kept = ranges(&self.lengths);
            kept[row].end = kept[row].start + length;
            self.keep(kept);
        }
    }

    /// Keeps these ranges of tokens, which become the sequences.
    fn keep(&mut self, ranges: Vec<Range<usize>>) {
        self.lengths = ranges.iter().map(Range::len).collect();
        let is_empty = self.lengths.iter().sum::<usize>() == 0;
        for layer in &mut self.layers {
            *layer = layer.take().filter(|_| !is_empty).map(|layer| layer.map(|all| joined(&slices(&all, &ranges))));
        }
    }

    /// Appends the packed keys and values of new tokens, `new[i]` of sequence i. Returns all keys and values so far, packed.
    pub(super) fn extend(&mut self, layer: usize, new: &[usize], keys: Tensor<B>, values: Tensor<B>) -> (Tensor<B>, Tensor<B>) {
        let both = |old: Tensor<B>, rows: Tensor<B>| {
            if new.len() == 1 {
                return append(old, &rows);
            }
            let (old, rows) = (slices(&old, &ranges(&self.lengths)), slices(&rows, &ranges(new)));
            joined(&old.into_iter().zip(rows).flat_map(<[_; 2]>::from).collect::<Vec<_>>())
        };
        let all = match self.layers[layer].take() {
            Some([old_keys, old_values]) => [both(old_keys, keys), both(old_values, values)],
            None => [keys, values],
        };
        let [keys, values] = self.layers[layer].insert(all);
        (keys.clone(), values.clone())
    }
}

/// The packed rows of each sequence.
fn ranges(lengths: &[usize]) -> Vec<Range<usize>> {
    let segments = Segments::of_lengths(lengths);
    (0..segments.len()).map(|sequence| segments.keys(sequence)).collect()
}

/// The rows of a tensor in each of these ranges.
fn slices<B: Backend>(all: &Tensor<B>, ranges: &[Range<usize>]) -> Vec<Tensor<B>> {
    ranges.iter().map(|range| all.slice(0, range.start, range.end)).collect()
}

fn joined<B: Backend>(parts: &[Tensor<B>]) -> Tensor<B> {
    Tensor::concat(&parts.iter().collect::<Vec<_>>(), 0)
}

/// The rows of two tensors, in the storage of the first where nothing else reads it.
fn append<B: Backend>(old: Tensor<B>, new: &Tensor<B>) -> Tensor<B> {
    let backend = old.backend().clone();
    let array = backend.append_rows(old.into_array(), new.array());
    Tensor::from_array(&backend, array)
}
