//! What a training step runs on: packed inputs with the positions whose next token is to be predicted.

use crate::boundary::Sequence;
use crate::decoder::{Decoder, ForwardOptions, Packed};
use engine::backend::Indices;
use engine::{Backend, Tensor};

/// Packed inputs, and which hidden states predict which tokens of which sequence.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The input tokens of all sequences.
    pub inputs: Packed,
    /// Rows of the hidden states that predict something.
    pub rows: Indices,
    /// The token that each of those rows should predict.
    pub targets: Indices,
    /// The sequence each of those rows belongs to.
    pub groups: Indices,
    /// The number of sequences.
    pub sequences: usize,
}

impl Batch {
    /// Sequences of which the tokens from `completion_start` on are to be predicted; prompt tokens are never targets.
    pub fn of_sequences<'a>(sequences: impl IntoIterator<Item = &'a Sequence>) -> Self {
        Self::new(sequences.into_iter().map(|s| (s.tokens.as_slice(), s.completion_start)))
    }

    /// Windows of running text: every token but the first is to be predicted.
    pub fn of_windows<'a>(windows: impl IntoIterator<Item = &'a [u32]>) -> Self {
        Self::new(windows.into_iter().map(|window| (window, 1)))
    }

    fn new<'a>(sequences: impl Iterator<Item = (&'a [u32], usize)>) -> Self {
        let (mut inputs, mut rows, mut targets, mut groups) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut offset = 0;
        for (group, (tokens, start)) in sequences.enumerate() {
            let input = &tokens[..tokens.len().saturating_sub(1)];
            for (position, &target) in tokens.iter().enumerate().skip(start.max(1)) {
                rows.push((offset + position - 1) as u32);
                targets.push(target);
                groups.push(group as u32);
            }
            offset += input.len();
            inputs.push(input);
        }
        let sequences = inputs.len();
        Self { inputs: Packed::new(inputs), rows: rows.into(), targets: targets.into(), groups: groups.into(), sequences }
    }

    /// The number of tokens to be predicted.
    pub fn target_count(&self) -> usize {
        self.targets.len()
    }

    /// The number of targets of each sequence.
    pub fn target_lengths(&self) -> Vec<usize> {
        let mut lengths = vec![0; self.sequences];
        self.groups.iter().for_each(|&group| lengths[group as usize] += 1);
        lengths
    }

    /// Hidden states of the rows that predict something, [M, D].
    pub fn hidden<B: Backend>(&self, decoder: &Decoder<B>, options: &ForwardOptions) -> Tensor<B> {
        let hidden = decoder.hidden(&self.inputs, options);
        let every_row = self.rows.len() == self.inputs.tokens().len();
        if every_row { hidden } else { hidden.embedding(&self.rows) }
    }

    /// The log-probability of every target, \[M\], in nats.
    pub fn token_log_probs<B: Backend>(&self, decoder: &Decoder<B>, options: &ForwardOptions) -> Tensor<B> {
        self.hidden(decoder, options).linear_log_prob(decoder.head_weight(), &self.targets)
    }

    /// −Σ of the log-probability of every target, in nats: the loss of language modelling as a sum.
    pub fn loss<B: Backend>(&self, decoder: &Decoder<B>, options: &ForwardOptions) -> Tensor<B> {
        self.hidden(decoder, options).linear_cross_entropy(decoder.head_weight(), &self.targets)
    }

    /// The log-probability of every sequence's targets given what comes before them, \[sequences\], in nats.
    pub fn sequence_log_probs<B: Backend>(&self, decoder: &Decoder<B>, options: &ForwardOptions) -> Tensor<B> {
        self.token_log_probs(decoder, options).group_sum(&self.groups, self.sequences)
    }
}
