//! Sequence log-probabilities: token log-probabilities summed over each completion.
//!
//! l(y) = Σ_t ln p(y_t | x, y_<t), over the positions t that the completion mask keeps (Eq 2 and Eq 4 of the SLPO paper)
//!
//! What the mask drops (the prompt, padding) is never read: a NaN there does no harm. A sequence without completion tokens is an error.

use crate::error::{LossError, all_below};
use engine::backend::Indices;
use engine::{Backend, Tensor};

/// Log-probability and number of tokens of each sequence.
#[derive(Clone, Debug)]
pub struct SequenceLogProbs<B: Backend> {
    /// Σ of the token log-probabilities, `[S]`, in nats.
    pub log_probs: Tensor<B>,
    /// Completion tokens in each sequence, at least 1.
    pub lengths: Vec<usize>,
}

/// Sums token log-probabilities `[N]` by sequence: token n belongs to sequence `sequences[n]` and counts where `keep[n]`.
///
/// # Errors
/// If the lists have not N entries, a sequence is not below `sequence_count`, or one has no completion tokens.
pub fn sequence_log_probs<B: Backend>(
    token_log_probs: &Tensor<B>,
    sequences: &Indices,
    keep: &[bool],
    sequence_count: usize,
) -> Result<SequenceLogProbs<B>, LossError> {
    let n = token_log_probs.len();
    if token_log_probs.rank() != 1 {
        return Err(LossError::Shape { what: "token log-probs", found: token_log_probs.shape().to_vec(), expected: vec![n] });
    }
    for (what, found) in [("sequence indices", sequences.len()), ("completion mask", keep.len())] {
        if found != n {
            return Err(LossError::Count { what, found, expected: n });
        }
    }
    all_below(sequence_count, "sequence indices", sequences)?;
    let kept: Indices = (0..n as u32).filter(|&i| keep[i as usize]).collect();
    let groups: Indices = kept.iter().map(|&i| sequences[i as usize]).collect();
    let mut lengths = vec![0; sequence_count];
    groups.iter().for_each(|&group| lengths[group as usize] += 1);
    if let Some(sequence) = lengths.iter().position(|&length| length == 0) {
        return Err(LossError::EmptyCompletion { sequence });
    }
    let chosen =
        if kept.len() == n { token_log_probs.clone() } else { token_log_probs.reshape(&[1, n]).gather(&kept).reshape(&[kept.len()]) };
    Ok(SequenceLogProbs { log_probs: chosen.group_sum(&groups, sequence_count), lengths })
}

/// How the sequences of a batch of B pairs are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Sequences 0..B are the chosen completions, B..2B the rejected ones.
    ChosenThenRejected,
    /// Sequence 2i is the chosen completion of pair i, 2i + 1 the rejected one.
    Interleaved,
}

/// Log-probabilities of a batch of pairs under one model, each `[B]`, in nats.
#[derive(Clone, Debug)]
pub struct PairLogProbs<B: Backend> {
    /// l_w.
    pub chosen: Tensor<B>,
    /// l_l.
    pub rejected: Tensor<B>,
    /// n_w: tokens in each chosen completion.
    pub chosen_lengths: Vec<usize>,
    /// n_l: tokens in each rejected completion.
    pub rejected_lengths: Vec<usize>,
}

impl<B: Backend> PairLogProbs<B> {
    /// Takes the pairs apart.
    ///
    /// # Errors
    /// If the number of sequences is odd or 0.
    pub fn new(sequences: &SequenceLogProbs<B>, layout: Layout) -> Result<Self, LossError> {
        let count = sequences.lengths.len();
        if count == 0 {
            return Err(LossError::EmptyBatch);
        }
        if count % 2 == 1 {
            return Err(LossError::OddSequences { sequences: count });
        }
        let pairs = count / 2;
        let (table, axis) = match layout {
            Layout::ChosenThenRejected => (sequences.log_probs.reshape(&[2, pairs]), 0),
            Layout::Interleaved => (sequences.log_probs.reshape(&[pairs, 2]), 1),
        };
        let side = |side: usize| table.slice(axis, side, side + 1).reshape(&[pairs]);
        let lengths = |side: usize| -> Vec<usize> {
            let sequence = |pair: usize| if axis == 0 { side * pairs + pair } else { 2 * pair + side };
            (0..pairs).map(|pair| sequences.lengths[sequence(pair)]).collect()
        };
        Ok(Self { chosen: side(0), rejected: side(1), chosen_lengths: lengths(0), rejected_lengths: lengths(1) })
    }
}
