//! The exact autoregressive target Q\*: the reference with mass μ of the rejected completion moved to the chosen one, and every other
//! completion at its reference probability (claim S6 of the audit; μ = π(y_l) there, a part α of it by the rule shift).
//!
//! With u the prefix that both share and w_f ≠ l_f the tokens where they part, the next-token distributions of Q\* are the reference's on
//! u, then
//!
//! at the fork   q(w_f|u) = [π(u w_f) + μ]/π(u), q(l_f|u) = [π(u l_f) − μ]/π(u), the others as they were
//! later on w    q(v|w_<t) = π(w_<t v)/[π(w_<t) + μ], and [π(w_≤t) + μ]/[π(w_<t) + μ] for v = w_t
//! later on l    q(v|l_<t) = π(l_<t v)/[π(l_<t) − μ], and [π(l_≤t) − μ]/[π(l_<t) − μ] for v = l_t
//!
//! All in logarithms relative to the fork, so that improbable prefixes cost no precision: with d_t = ln μ/π(w_<t) and R_t = ln μ/π(l_<t),
//! ln[1 + e^{d_t}] = softplus d_t and ln[1 − e^{R_t}] = log1mexp R_t.

use crate::error::{LossError, all_below};
use crate::numeric::logaddexp;
use engine::Scalar;

/// One completion with the reference's log-probabilities of every next token along it.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a, T> {
    /// The T tokens, the end token last.
    pub tokens: &'a [u32],
    /// [T, V]: row t is ln π(· | prompt, tokens before t).
    pub log_probs: &'a [T],
}

impl<T: Scalar> Branch<'_, T> {
    /// ln π(y_t | y_<t) for each t.
    fn token_log_probs(&self, vocabulary: usize) -> Vec<T> {
        self.tokens.iter().enumerate().map(|(t, &token)| self.log_probs[t * vocabulary + token as usize]).collect()
    }

    fn check(&self, what: &'static str, vocabulary: usize) -> Result<(), LossError> {
        all_below(vocabulary, what, self.tokens)?;
        let (found, expected) = (self.log_probs.len(), self.tokens.len() * vocabulary);
        if found != expected { Err(LossError::Count { what, found, expected }) } else { Ok(()) }
    }
}

/// Q\*'s next-token distributions along both completions.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactTarget<T> {
    /// The position where the completions part, from 0.
    pub fork: usize,
    /// [T_w, V]: ln q along the chosen completion.
    pub chosen: Vec<T>,
    /// [T_l, V]: ln q along the rejected completion; rows up to the fork repeat those of `chosen`.
    pub rejected: Vec<T>,
    /// The share of its reference mass that the prefix before position t of the rejected completion keeps, Q\*(l_<t)/π(l_<t) = 1 −
    /// μ/π(l_<t) after the fork, 1 before. Where it is 0, the row is the reference's.
    pub rejected_share: Vec<T>,
}

/// The first position where two completions differ; `None` where one is the other or its beginning.
pub fn fork(chosen: &[u32], rejected: &[u32]) -> Option<usize> {
    chosen.iter().zip(rejected).position(|(w, l)| w != l)
}

/// Q\* with the part `moved` in [0, 1] of the rejected completion's mass moved to the chosen one. Up to the fork, where both tables hold
/// the same distributions, the chosen completion's is read.
///
/// # Errors
/// If a token is not below V, a table does not fit its tokens, or the completions do not part ([`LossError::NoFork`] with pair 0).
pub fn exact_target<T: Scalar>(
    chosen: Branch<'_, T>,
    rejected: Branch<'_, T>,
    vocabulary: usize,
    moved: f64,
) -> Result<ExactTarget<T>, LossError> {
    chosen.check("chosen tokens", vocabulary)?;
    rejected.check("rejected tokens", vocabulary)?;
    let fork = fork(chosen.tokens, rejected.tokens).ok_or(LossError::NoFork { pair: 0 })?;
    let remaining = remaining_mass(&rejected.token_log_probs(vocabulary), T::from_f64(moved).ln());
    let loser = fork * vocabulary + rejected.tokens[fork] as usize;
    let log_prob = chosen.log_probs[loser];
    let mut rows = chosen_rows(&chosen, fork, log_prob + remaining[fork + 1], vocabulary);
    rows[loser] = log_prob + remaining[fork + 1].log1mexp();
    let (mut rejected, rejected_share) = rejected_rows(&rejected, fork, &remaining, vocabulary);
    let shared = (fork + 1) * vocabulary;
    rejected[..shared].copy_from_slice(&rows[..shared]);
    Ok(ExactTarget { fork, chosen: rows, rejected, rejected_share })
}

/// R_t = ln(moved) + Σ_{s ≥ t} ln π(l_s | l_<s) for t = 0..=T, at most 0.
fn remaining_mass<T: Scalar>(token_log_probs: &[T], log_moved: T) -> Vec<T> {
    let mut remaining = vec![log_moved; token_log_probs.len() + 1];
    for (t, &log_prob) in token_log_probs.iter().enumerate().rev() {
        remaining[t] = remaining[t + 1] + log_prob;
    }
    remaining.into_iter().map(at_most_zero).collect()
}

/// A logarithm of a probability without the rounding that makes it positive.
#[inline(always)]
pub(crate) fn at_most_zero<T: Scalar>(log_prob: T) -> T {
    T::select(T::zero().is_below(log_prob), T::zero(), log_prob)
}

/// ln q along the chosen completion, where `moved` is ln μ/π(u); the loser's entry at the fork is left to the caller.
fn chosen_rows<T: Scalar>(branch: &Branch<'_, T>, fork: usize, moved: T, vocabulary: usize) -> Vec<T> {
    let mut rows = branch.log_probs.to_vec();
    let mut relative = moved;
    for (t, row) in rows.chunks_exact_mut(vocabulary).enumerate().skip(fork) {
        let token = branch.tokens[t] as usize;
        let log_prob = row[token];
        if t == fork {
            row[token] = logaddexp(log_prob, moved);
        } else {
            let grown = relative.softplus();
            row.iter_mut().for_each(|x| *x -= grown);
            row[token] = towards(log_prob, relative);
        }
        relative -= log_prob;
    }
    rows
}

/// ln[(p + e^d)/(1 + e^d)] from ln p: for d > 0 as ln[1 − (1 − p)/(1 + e^d)], which keeps its precision near 0.
#[inline(always)]
pub(crate) fn towards<T: Scalar>(log_prob: T, d: T) -> T {
    let grown = d.softplus();
    if d > T::zero() { (log_prob.log1mexp() - grown).log1mexp() } else { logaddexp(log_prob, d) - grown }
}

/// ln q along the rejected completion after the fork, and the share of its mass that each prefix keeps.
fn rejected_rows<T: Scalar>(branch: &Branch<'_, T>, fork: usize, remaining: &[T], vocabulary: usize) -> (Vec<T>, Vec<T>) {
    let mut rows = branch.log_probs.to_vec();
    let mut share = vec![T::one(); branch.tokens.len()];
    for (t, row) in rows.chunks_exact_mut(vocabulary).enumerate().skip(fork + 1) {
        let left = remaining[t].log1mexp();
        share[t] = -remaining[t].exp_m1();
        if left.is_finite() {
            row.iter_mut().for_each(|x| *x -= left);
            row[branch.tokens[t] as usize] += remaining[t + 1].log1mexp();
        }
    }
    (rows, share)
}
