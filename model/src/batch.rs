//! What a training step runs on: packed inputs with the positions whose next token is to be predicted.

use crate::boundary::Sequence;
use crate::decoder::{Decoder, ForwardOptions, Packed, SharedStart};
use engine::backend::Indices;
use engine::{Backend, Tensor};

/// Pairs share what they begin with where that is at least one in this many of all tokens: less would not pay for gathering the keys.
const LEAST_SHARED: usize = 16;

/// The tokens that something is predicted from: all but the last.
fn input(tokens: &[u32]) -> &[u32] {
    &tokens[..tokens.len().saturating_sub(1)]
}

/// How many tokens both begin with, the last of b left out: it keeps a row of its own.
fn common_start(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(&b[..b.len().saturating_sub(1)]).take_while(|(a, b)| a == b).count()
}

/// Packed inputs, and which hidden states predict which tokens of which sequence.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The input tokens of all sequences.
    pub inputs: Packed,
    /// Rows of the hidden states that predict something; a row that sequences share may be there for each of them.
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

    /// The first sequences of pairs, then the second ones. What both of a pair begin with is computed once, where that saves enough.
    pub fn of_pairs<'a>(pairs: impl IntoIterator<Item = (&'a Sequence, &'a Sequence)>) -> Self {
        let (first, second): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let shared: Vec<usize> = first.iter().zip(&second).map(|(a, b)| common_start(input(&a.tokens), input(&b.tokens))).collect();
        let all: usize = first.iter().chain(&second).map(|s| input(&s.tokens).len()).sum();
        let pays = shared.iter().sum::<usize>() * LEAST_SHARED >= all;
        let starts = shared.iter().enumerate().map(|(of, &tokens)| pays.then_some(SharedStart { of, tokens }));
        let starts = first.iter().map(|_| None).chain(starts);
        let sequences = first.iter().chain(&second).zip(starts);
        Self::sharing(sequences.map(|(s, shared)| (s.tokens.as_slice(), s.completion_start, shared)).collect())
    }

    /// Windows of running text: every token but the first is to be predicted.
    pub fn of_windows<'a>(windows: impl IntoIterator<Item = &'a [u32]>) -> Self {
        Self::new(windows.into_iter().map(|window| (window, 1)))
    }

    fn new<'a>(sequences: impl Iterator<Item = (&'a [u32], usize)>) -> Self {
        Self::sharing(sequences.map(|(tokens, start)| (tokens, start, None)).collect())
    }

    /// From (tokens, completion start, shared start) of each sequence.
    fn sharing(sequences: Vec<(&[u32], usize, Option<SharedStart>)>) -> Self {
        let (mut rows, mut targets, mut groups, mut first_rows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut offset = 0;
        for (group, &(tokens, start, shared)) in sequences.iter().enumerate() {
            first_rows.push(offset);
            let own_from = shared.map_or(0, |shared| shared.tokens);
            for (position, &target) in tokens.iter().enumerate().skip(start.max(1)) {
                let row = match shared {
                    Some(shared) if position - 1 < own_from => first_rows[shared.of] + position - 1,
                    _ => offset + position - 1 - own_from,
                };
                rows.push(row as u32);
                targets.push(target);
                groups.push(group as u32);
            }
            offset += input(tokens).len() - own_from;
        }
        let inputs: Vec<(&[u32], Option<SharedStart>)> = sequences.iter().map(|&(tokens, _, shared)| (input(tokens), shared)).collect();
        let plain = inputs.iter().all(|(_, shared)| shared.is_none());
        let packed = if plain { Packed::new(inputs.into_iter().map(|(input, _)| input)) } else { Packed::sharing(&inputs) };
        Self { inputs: packed, rows: rows.into(), targets: targets.into(), groups: groups.into(), sequences: sequences.len() }
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
        let every_row = self.rows.iter().map(|&row| row as usize).eq(0..self.inputs.tokens().len());
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
