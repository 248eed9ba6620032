//! A packed batch: the tokens of several sequences one after another, with their positions and boundaries.

use super::packed_checks::{check_length, check_tokens};
use crate::config::Config;
use crate::error::Result;
use engine::Segments;
use engine::backend::Indices;

/// Sequences without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    tokens: Indices,
    positions: Indices,
    segments: Segments,
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
        Self { tokens: tokens.into(), positions: positions.into(), segments: Segments::of_lengths(&lengths) }
    }

    /// The same tokens, each sequence starting at its own position: for the tokens that follow a cache.
    pub(super) fn shifted(mut self, starts: &[usize]) -> Self {
        let mut positions = self.positions.to_vec();
        for (segment, &start) in starts.iter().enumerate() {
            positions[self.segments.queries(segment)].iter_mut().for_each(|p| *p += start as u32);
        }
        self.positions = positions.into();
        self
    }

    /// The tokens of all sequences, N in all.
    pub fn tokens(&self) -> &Indices {
        &self.tokens
    }
    /// The position of each token within its sequence.
    pub fn positions(&self) -> &Indices {
        &self.positions
    }
    /// The boundaries.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }
    /// The number of tokens of each sequence.
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
