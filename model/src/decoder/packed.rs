//! A packed batch: the tokens of several sequences one after another, with their positions and boundaries. Sequences with a common
//! beginning may share its rows. The shared rows are computed once, and the later tokens of each sequence attend to them.

use super::packed_checks::{check_length, check_tokens};
use crate::config::Config;
use crate::error::Result;
use engine::backend::Indices;
use engine::{Backend, Segments, Tensor};

/// A batch of sequences without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    tokens: Indices,
    positions: Indices,
    segments: Segments,
    /// The row of each key, segment by segment, if sequences share rows. If `None`, key n is row n.
    key_rows: Option<Indices>,
}

/// A beginning that a sequence shares with an earlier sequence of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedStart {
    /// Index of the earlier sequence, which may share nothing itself.
    pub of: usize,
    /// Number of tokens that both begin with.
    pub tokens: usize,
}

/// The segments and keys that the queries of a batch attend to.
#[derive(Clone, Debug)]
pub(super) struct Attended {
    pub segments: Segments,
    key_rows: Option<Indices>,
}

impl Attended {
    /// Gathers the keys or values of every segment, [M, H_kv, D], from those of every token, [N, H_kv, D].
    pub fn rows<B: Backend>(&self, of_tokens: Tensor<B>) -> Tensor<B> {
        let Some(rows) = &self.key_rows else { return of_tokens };
        let (heads, width) = (of_tokens.shape()[1], of_tokens.shape()[2]);
        let table = of_tokens.reshape(&[of_tokens.shape()[0], heads * width]);
        table.embedding(rows).reshape(&[rows.len(), heads, width])
    }
}

impl Packed {
    /// Packs sequences; each starts at position 0. Empty ones are allowed.
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let (mut tokens, mut positions, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for sequence in sequences {
            tokens.extend_from_slice(sequence);
            positions.extend(0..sequence.len() as u32);
            lengths.push(sequence.len());
        }
        Self { tokens: tokens.into(), positions: positions.into(), segments: Segments::of_lengths(&lengths), key_rows: None }
    }

    /// Packs sequences of which some share their beginning with an earlier one. Only the tokens after a shared beginning get new rows.
    ///
    /// # Panics
    /// If the tokens declared as shared differ, or if the earlier sequence comes later or shares its own beginning.
    #[track_caller]
    pub fn sharing(sequences: &[(&[u32], Option<SharedStart>)]) -> Self {
        let (mut tokens, mut positions, mut key_rows) = (Vec::new(), Vec::new(), Vec::new());
        let (mut queries, mut keys, mut first_rows) = (Vec::new(), Vec::new(), Vec::new());
        for &(sequence, shared) in sequences {
            let start = shared.map_or(0, |shared| {
                let (earlier, own) = sequences[shared.of];
                let fits = shared.of < first_rows.len() && own.is_none() && earlier.get(..shared.tokens) == sequence.get(..shared.tokens);
                assert!(fits && shared.tokens <= sequence.len(), "packed: sequence {} does not begin as {shared:?} says", first_rows.len());
                key_rows.extend((first_rows[shared.of]..).take(shared.tokens));
                shared.tokens
            });
            first_rows.push(tokens.len() as u32);
            key_rows.extend((tokens.len() as u32..).take(sequence.len() - start));
            tokens.extend_from_slice(&sequence[start..]);
            positions.extend(start as u32..sequence.len() as u32);
            queries.push(sequence.len() - start);
            keys.push(sequence.len());
        }
        let segments = Segments::of_queries_and_keys(&queries, &keys);
        Self { tokens: tokens.into(), positions: positions.into(), segments, key_rows: Some(key_rows.into()) }
    }

    /// Returns what each token attends to: at most the last `window` tokens if there is a window.
    pub(super) fn attended(&self, window: Option<usize>) -> Attended {
        Attended { segments: self.segments.clone().with_window(window), key_rows: self.key_rows.clone() }
    }

    /// Shifts the positions of each sequence by its entry of `starts`, for tokens that follow a cache.
    pub(super) fn shifted(mut self, starts: &[usize]) -> Self {
        let mut positions = self.positions.to_vec();
        for (segment, &start) in starts.iter().enumerate() {
            positions[self.segments.queries(segment)].iter_mut().for_each(|p| *p += start as u32);
        }
        self.positions = positions.into();
        self
    }

    /// Returns the tokens of all sequences, N in total.
    pub fn tokens(&self) -> &Indices {
        &self.tokens
    }
    /// Returns the position of each token within its sequence.
    pub fn positions(&self) -> &Indices {
        &self.positions
    }
    /// Returns the boundaries: the rows of each sequence's own tokens, and of all tokens it attends to.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }
    /// Returns the number of each sequence's own tokens.
    pub fn lengths(&self) -> Vec<usize> {
        (0..self.segments.len()).map(|s| self.segments.queries(s).len()).collect()
    }

    /// Checks that a decoder of this configuration can run the batch.
    ///
    /// # Errors
    /// [`crate::Error::TokenOutOfRange`]; [`crate::Error::BadConfig`] where a sequence is longer than the learned positions.
    pub fn check(&self, config: &Config) -> Result<()> {
        check_tokens(&self.tokens, config)?;
        check_length(self.positions.iter().max().map_or(0, |&p| p as usize + 1), config)
    }
}
