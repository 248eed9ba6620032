//! The keys and values of the tokens seen so far, so that generating a token costs one token's work.

use engine::{Backend, Segments, Tensor};

/// Keys and values of one sequence in one layer, each [T, H_kv, D_head].
type KeysAndValues<B> = (Tensor<B>, Tensor<B>);

/// Keys and values for each layer and sequence.
pub struct Cache<B: Backend> {
    /// By layer, then by sequence; `None` before the first token.
    layers: Vec<Vec<Option<KeysAndValues<B>>>>,
    /// Number of tokens seen of each sequence.
    pub(super) lengths: Vec<usize>,
}

impl<B: Backend> Cache<B> {
    pub(super) fn new(layers: usize, sequences: usize) -> Self {
        Self { layers: vec![vec![None; sequences]; layers], lengths: vec![0; sequences] }
    }

    /// Returns the number of tokens seen of each sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Keeps only the sequences at `rows`, in that order.
    pub fn select(&mut self, rows: &[usize]) {
        for layer in &mut self.layers {
            *layer = rows.iter().map(|&row| layer[row].clone()).collect();
        }
        self.lengths = rows.iter().map(|&row| self.lengths[row]).collect();
    }

    /// Drops all but the first `length` tokens of the sequence at `row`. Does nothing if the sequence is not longer.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn truncate(&mut self, row: usize, length: usize) {
        if length >= self.lengths[row] {
            return;
        }
        for layer in &mut self.layers {
            let cut = |(keys, values): KeysAndValues<B>| (keys.slice(0, 0, length), values.slice(0, 0, length));
            layer[row] = layer[row].take().filter(|_| length > 0).map(cut);
        }
        self.lengths[row] = length;
    }

    /// Appends the packed keys and values of new tokens, `lengths[i]` of sequence i. Returns all keys and values so far, packed.
    pub(super) fn extend(&mut self, layer: usize, lengths: &[usize], keys: Tensor<B>, values: Tensor<B>) -> (Tensor<B>, Tensor<B>) {
        let segments = Segments::of_lengths(lengths);
        for (sequence, entry) in self.layers[layer].iter_mut().enumerate() {
            let rows = segments.queries(sequence);
            let [new_keys, new_values] = [&keys, &values].map(|x| x.slice(0, rows.start, rows.end));
            *entry = Some(match entry.take() {
                Some((k, v)) => (Tensor::concat(&[&k, &new_keys], 0), Tensor::concat(&[&v, &new_values], 0)),
                None => (new_keys, new_values),
            });
        }
        let all = |part: fn(&KeysAndValues<B>) -> &Tensor<B>| {
            let parts: Vec<&Tensor<B>> = self.layers[layer].iter().flatten().map(part).collect();
            Tensor::concat(&parts, 0)
        };
        (all(|entry| &entry.0), all(|entry| &entry.1))
    }
}
