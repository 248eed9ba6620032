//! Where the completions of a batch of pairs lie among rows of logits.

use super::exact_target::fork;
use crate::error::{LossError, all_below};
use engine::backend::Indices;
use std::ops::Range;

/// Where the completions of one pair lie among the N rows of logits. Rows of different completions must not overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairRows {
    /// The row whose logits predict the first chosen token; the others follow it.
    pub chosen_start: usize,
    /// The chosen tokens, the end token last.
    pub chosen: Vec<u32>,
    /// The row whose logits predict the first rejected token.
    pub rejected_start: usize,
    /// The rejected tokens, the end token last.
    pub rejected: Vec<u32>,
}

impl PairRows {
    pub(crate) fn chosen_rows(&self) -> Range<usize> {
        self.chosen_start..self.chosen_start + self.chosen.len()
    }
    pub(crate) fn rejected_rows(&self) -> Range<usize> {
        self.rejected_start..self.rejected_start + self.rejected.len()
    }

    /// The position where the completions part, if they lie within the rows and the vocabulary.
    pub(crate) fn check(&self, pair: usize, rows: usize, vocabulary: usize) -> Result<usize, LossError> {
        for (what, start, tokens) in
            [("chosen rows", self.chosen_start, &self.chosen), ("rejected rows", self.rejected_start, &self.rejected)]
        {
            let end = start.saturating_add(tokens.len());
            if end > rows {
                return Err(LossError::OutOfRange { what, index: pair, value: end - 1, bound: rows });
            }
        }
        let fork = fork(&self.chosen, &self.rejected).ok_or(LossError::NoFork { pair })?;
        all_below(vocabulary, "chosen tokens", &self.chosen)?;
        all_below(vocabulary, "rejected tokens", &self.rejected)?;
        Ok(fork)
    }
}

/// The pair that each of N rows belongs to; the first for rows of no completion.
pub(crate) fn owners(pairs: &[PairRows], n: usize) -> Result<Indices, LossError> {
    let mut owners: Vec<Option<u32>> = vec![None; n];
    for (number, pair) in pairs.iter().enumerate() {
        for row in pair.chosen_rows().chain(pair.rejected_rows()) {
            if owners[row].replace(number as u32).is_some() {
                return Err(LossError::SharedRow { pair: number, row });
            }
        }
    }
    Ok(owners.into_iter().map(|owner| owner.unwrap_or(0)).collect())
}
