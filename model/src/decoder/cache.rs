//! The keys and values of the tokens seen so far, so that generating a token costs one token's work. Each sequence has rows of its own with
//! room behind them, so that new tokens are written in place.

use engine::{Backend, Segments, Tensor};
use std::ops::Range;

/// Keys and values in one layer, each [R, H_kv, D_head] for the R rows of all rooms.
type KeysAndValues<B> = [Tensor<B>; 2];

/// Keys and values for each layer and sequence.
pub struct Cache<B: Backend> {
    /// By layer; `None` before the first token.
    layers: Vec<Option<KeysAndValues<B>>>,
    /// The rows that each sequence may fill, ascending.
    rooms: Vec<Range<usize>>,
    /// Number of tokens seen of each sequence.
    lengths: Vec<usize>,
    /// Number of rows R.
    rows: usize,
}

impl<B: Backend> Cache<B> {
    pub(super) fn new(layers: usize, sequences: usize) -> Self {
        Self { layers: vec![None; layers], rooms: vec![0..0; sequences], lengths: vec![0; sequences], rows: 0 }
    }

    /// Returns the number of tokens seen of each sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Keeps only these sequences.
    ///
    /// # Panics
    /// If they do not ascend, or there is no such sequence.
    pub fn select(&mut self, sequences: &[usize]) {
        assert!(sequences.is_sorted_by(|a, b| a < b), "cache: sequences {sequences:?} do not ascend");
        self.rooms = sequences.iter().map(|&sequence| self.rooms[sequence].clone()).collect();
        self.lengths = sequences.iter().map(|&sequence| self.lengths[sequence]).collect();
    }

    /// Drops all but the first `length` tokens of a sequence. Does nothing if the sequence is not longer.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn truncate(&mut self, sequence: usize, length: usize) {
        self.lengths[sequence] = length.min(self.lengths[sequence]);
    }

    /// Makes room for `new[i]` more tokens of sequence i, and returns which keys they attend to. Where a room is too small, every sequence
    /// gets a room of twice its length, so that many tokens move old ones seldom.
    pub(super) fn make_room(&mut self, new: &[usize]) -> Segments {
        let lengths: Vec<usize> = self.lengths.iter().zip(new).map(|(old, new)| old + new).collect();
        if self.rooms.iter().zip(&lengths).any(|(room, &length)| room.len() < length) {
            let old = self.seen();
            let rooms = Segments::of_lengths(&lengths.iter().map(|length| 2 * length).collect::<Vec<_>>());
            self.rooms = (0..rooms.len()).map(|sequence| rooms.keys(sequence)).collect();
            self.rows = rooms.totals().1;
            let moved = self.seen();
            for layer in &mut self.layers {
                *layer = layer.take().map(|layer| layer.map(|x| moved_rows(&x, &old, &moved, self.rows)));
            }
        }
        let keys: Vec<_> = self.rooms.iter().zip(&lengths).map(|(room, length)| room.start..room.start + length).collect();
        Segments::of_queries_and_places(new, &keys, self.rows)
    }

    /// The rows of the tokens seen of each sequence.
    fn seen(&self) -> Vec<Range<usize>> {
        self.rooms.iter().zip(&self.lengths).map(|(room, length)| room.start..room.start + length).collect()
    }

    /// Writes the packed keys and values of new tokens, `new[i]` of sequence i, into the room made for them. Returns those of all rows.
    pub(super) fn extend(&mut self, layer: usize, new: &[usize], keys: Tensor<B>, values: Tensor<B>) -> (Tensor<B>, Tensor<B>) {
        let places: Vec<_> = self.seen().iter().zip(new).map(|(seen, new)| seen.end..seen.end + new).collect();
        let [old_keys, old_values] = self.layers[layer].take().unwrap_or_else(|| [&keys, &values].map(|x| empty_rows(x, self.rows)));
        let all = [written(old_keys, &keys, &places), written(old_values, &values, &places)];
        self.layers[layer].insert(all).clone().into()
    }

    /// Counts the tokens that every layer has written.
    pub(super) fn count(&mut self, new: &[usize]) {
        self.lengths.iter_mut().zip(new).for_each(|(length, new)| *length += new);
    }
}

/// Zeros for this number of rows like those of x.
fn empty_rows<B: Backend>(x: &Tensor<B>, rows: usize) -> Tensor<B> {
    Tensor::full(x.backend(), 0.0, &[rows, x.shape()[1], x.shape()[2]])
}

/// Copies the rows of x at `old` to those at `new` of as many rows as are asked for.
fn moved_rows<B: Backend>(x: &Tensor<B>, old: &[Range<usize>], new: &[Range<usize>], rows: usize) -> Tensor<B> {
    old.iter()
        .zip(new)
        .fold(empty_rows(x, rows), |moved, (old, new)| written(moved, &x.slice(0, old.start, old.end), std::slice::from_ref(new)))
}

/// Writes rows, in the storage of x where nothing else reads it.
fn written<B: Backend>(x: Tensor<B>, rows: &Tensor<B>, places: &[Range<usize>]) -> Tensor<B> {
    let backend = x.backend().clone();
    let array = backend.write_rows(x.into_array(), rows.array(), places);
    Tensor::from_array(&backend, array)
}
