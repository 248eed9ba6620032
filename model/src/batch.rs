//! The input of a training step: packed tokens, with the positions whose next token is to be predicted.

use crate::boundary::Sequence;
use crate::decoder::{Decoder, ForwardOptions, Packed, SharedStart};
use engine::backend::Indices;
use engine::{Backend, Tensor};
use std::ops::Range;

/// Pairs share their common beginnings if these are at least 1/`LEAST_SHARED` of all tokens. Gathering the keys costs more than a smaller
/// saving.
const LEAST_SHARED: usize = 16;

/// Returns the tokens from which the next one is predicted: all but the last.
fn input(tokens: &[u32]) -> &[u32] {
    &tokens[..tokens.len().saturating_sub(1)]
}

/// Counts the tokens that a and b share at the start. The last token of b does not count, because it keeps a row of its own.
fn common_start(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(&b[..b.len().saturating_sub(1)]).take_while(|(a, b)| a == b).count()
}

/// A sequence in a batch.
struct Part<'a> {
    tokens: &'a [u32],
    /// The first token that is to be predicted.
    start: usize,
    /// Later tokens that are not to be predicted.
    context: &'a [Range<usize>],
}

impl<'a> Part<'a> {
    fn of(sequence: &'a Sequence) -> Self {
        Self { tokens: &sequence.tokens, start: sequence.completion_start, context: &sequence.context }
    }

    /// Returns the positions of the tokens that are to be predicted.
    fn targets(&self) -> impl Iterator<Item = usize> {
        (self.start.max(1)..self.tokens.len()).filter(|position| !self.context.iter().any(|range| range.contains(position)))
    }
}

/// Packed inputs, with the rows of the hidden states that predict tokens, those tokens and their sequences.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The input tokens of all sequences.
    pub inputs: Packed,
    /// Rows of the hidden states that predict a token. A row that sequences share may occur once for each of them.
    pub rows: Indices,
    /// The token that each of those rows should predict.
    pub targets: Indices,
    /// The sequence each of those rows belongs to.
    pub groups: Indices,
    /// The number of sequences.
    pub sequences: usize,
}

impl Batch {
    /// Packs sequences, with their learned tokens as targets. Tokens of prompts and of other speakers' later turns are never targets.
    pub fn of_sequences<'a>(sequences: impl IntoIterator<Item = &'a Sequence>) -> Self {
        Self::sharing(sequences.into_iter().map(|sequence| (Part::of(sequence), None)).collect())
    }

    /// Packs the first sequences of all pairs, then the second ones. The common beginning of a pair is computed once if that saves enough.
    pub fn of_pairs<'a>(pairs: impl IntoIterator<Item = (&'a Sequence, &'a Sequence)>) -> Self {
        let (first, second): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let shared: Vec<usize> = first.iter().zip(&second).map(|(a, b)| common_start(input(&a.tokens), input(&b.tokens))).collect();
        let all: usize = first.iter().chain(&second).map(|s| input(&s.tokens).len()).sum();
        let pays = shared.iter().sum::<usize>() * LEAST_SHARED >= all;
        let starts = shared.iter().enumerate().map(|(of, &tokens)| pays.then_some(SharedStart { of, tokens }));
        let starts = first.iter().map(|_| None).chain(starts);
        let sequences = first.iter().chain(&second).zip(starts);
        Self::sharing(sequences.map(|(sequence, shared)| (Part::of(sequence), shared)).collect())
    }

    /// Packs windows of running text: every token but the first is to be predicted.
    pub fn of_windows<'a>(windows: impl IntoIterator<Item = &'a [u32]>) -> Self {
        Self::sharing(windows.into_iter().map(|window| (Part { tokens: window, start: 1, context: &[] }, None)).collect())
    }

    /// Packs sequences, each with the start that it shares with another, if any.
    fn sharing(sequences: Vec<(Part<'_>, Option<SharedStart>)>) -> Self {
        let (mut rows, mut targets, mut groups, mut first_rows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut offset = 0;
        for (group, (part, shared)) in sequences.iter().enumerate() {
            first_rows.push(offset);
            let own_from = shared.map_or(0, |shared| shared.tokens);
            for position in part.targets() {
                let row = match shared {
                    Some(shared) if position - 1 < own_from => first_rows[shared.of] + position - 1,
                    _ => offset + position - 1 - own_from,
                };
                rows.push(row as u32);
                targets.push(part.tokens[position]);
                groups.push(group as u32);
            }
            offset += input(part.tokens).len() - own_from;
        }
        let inputs: Vec<(&[u32], Option<SharedStart>)> = sequences.iter().map(|(part, shared)| (input(part.tokens), *shared)).collect();
        let plain = inputs.iter().all(|(_, shared)| shared.is_none());
        let packed = if plain { Packed::new(inputs.into_iter().map(|(input, _)| input)) } else { Packed::sharing(&inputs) };
        Self { inputs: packed, rows: rows.into(), targets: targets.into(), groups: groups.into(), sequences: sequences.len() }
    }

    /// Returns the number of tokens to be predicted.
    pub fn target_count(&self) -> usize {
        self.targets.len()
    }

    /// Returns the number of targets of each sequence.
    pub fn target_lengths(&self) -> Vec<usize> {
        let mut lengths = vec![0; self.sequences];
        self.groups.iter().for_each(|&group| lengths[group as usize] += 1);
        lengths
    }

    /// Computes the hidden states of the rows that predict a token, [M, D].
    pub fn hidden<B: Backend>(&self, decoder: &Decoder<B>, options: &ForwardOptions) -> Tensor<B> {
        let hidden = decoder.hidden(&self.inputs, options);
        let every_row = self.rows.iter().map(|&row| row as usize).eq(0..self.inputs.tokens().len());
        if every_row { hidden } else { hidden.embedding(&self.rows) }
    }

    /// Computes the log-probability of every target, \[M\], in nats.
    pub fn token_log_probs<B: Backend>(&self, decoder: &Decoder<B>, options: &ForwardOptions) -> Tensor<B> {
        self.hidden(decoder, options).linear_log_prob(decoder.head_weight(), &self.targets)
    }

    /// Computes −Σ of the log-probability of every target, in nats: the loss of language modelling as a sum.
    pub fn loss<B: Backend>(&self, decoder: &Decoder<B>, options: &ForwardOptions) -> Tensor<B> {
        self.hidden(decoder, options).linear_cross_entropy(decoder.head_weight(), &self.targets)
    }

    /// Computes the log-probability of every sequence's targets given the tokens before them, \[sequences\], in nats.
    pub fn sequence_log_probs<B: Backend>(&self, decoder: &Decoder<B>, options: &ForwardOptions) -> Tensor<B> {
        self.token_log_probs(decoder, options).group_sum(&self.groups, self.sequences)
    }
}
