//! Training towards the exact autoregressive target Q\* (claim S6 of the audit; [`exact_target`](crate::exact_target)).
//!
//! value     L = Σ_t ω_t·KL(q_t ‖ p_t), over the positions of the chosen completion and those of the rejected one after the fork
//! gradient  ∂L/∂z_t = ω_t·(p_t − q_t): convex in the logits, with its minimum 0 at the target
//!
//! The positions that both completions share, the fork among them, count once. ω_t is the share of its reference mass that the prefix keeps
//! under Q\*, at most 1: 1 on the shared prefix and along the chosen completion, Q\*(l_<t)/π(l_<t) = 1 − μ/π(l_<t) along the rejected one.
//! Without it, a prefix whose mass is nearly all moved away would pull as hard as any other towards the few continuations left of it, which
//! the reference itself holds to be all but impossible. Weighting with the probability of the whole prefix instead would give KL(Q\*‖π)
//! over completions, whose gradient vanishes with their length as Eq 6's does. What is reported is cross-entropy less the target's entropy.
#![doc = include_str!("explain/text/slpo_exact.md")]
#![cfg_attr(doc, doc = include_str!("../../engine/docs/katex.html"))]

use crate::error::{LossError, all_below};
use crate::exact_target::{Branch, exact_target, fork};
use crate::numeric::where_they_are;
use crate::soft_cross_entropy::{kl_divergence, kl_divergence_composed};
use crate::target_on_device::target_on_device;
use engine::backend::Indices;
use engine::gradcheck::{Draw, Sample};
use engine::{Backend, Cpu, Scalar, Tensor, function};
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

/// Targets for N rows of logits: ln q, the rows' weights, and the pair each belongs to.
#[derive(Clone, Debug)]
pub struct ExactTargets<B: Backend> {
    log_target: Tensor<B>,
    weights: Tensor<B>,
    pairs: Indices,
    pair_count: usize,
}

impl<B: Backend> ExactTargets<B> {
    /// The targets from the reference's logits [N, V], with the part `moved` in [0, 1] of each loser's mass moved to its winner. Rows that
    /// belong to no completion weigh 0. On a device with a queue they are formed there, and the host does not wait for them.
    ///
    /// # Errors
    /// If there are no pairs, rows or tokens are out of range, two completions share a row, or the completions of a pair do not part.
    pub fn from_reference(logits: &Tensor<B>, pairs: &[PairRows], moved: f64) -> Result<Self, LossError> {
        let [n, vocabulary] = *logits.shape() else {
            return Err(LossError::Shape { what: "reference logits", found: logits.shape().to_vec(), expected: vec![1, 1] });
        };
        if pairs.is_empty() {
            return Err(LossError::EmptyBatch);
        }
        let forks = pairs.iter().enumerate().map(|(number, pair)| pair.check(number, n, vocabulary)).collect::<Result<Vec<_>, _>>()?;
        let owners = owners(pairs, n)?;
        let (on_host, on_device) = (|| target_on_host(logits, pairs, moved), || Ok(target_on_device(logits, pairs, &forks, moved)));
        let (log_target, weights) = where_they_are(logits.backend(), on_host, on_device)?;
        Ok(Self { log_target, weights, pairs: owners, pair_count: pairs.len() })
    }

    /// ln q for each row, [N, V].
    pub fn log_target(&self) -> &Tensor<B> {
        &self.log_target
    }
    /// The rows' weights ω, `[N]`, each in [0, 1].
    pub fn weights(&self) -> &Tensor<B> {
        &self.weights
    }

    /// The same targets on another backend: what f32 trains towards may be computed in f64.
    pub fn to<C: Backend>(&self, backend: &C) -> ExactTargets<C> {
        let constant = |x: &Tensor<B>| Tensor::constant(backend, &x.to_f64(), x.shape());
        let (log_target, weights) = (constant(&self.log_target), constant(&self.weights));
        ExactTargets { log_target, weights, pairs: self.pairs.clone(), pair_count: self.pair_count }
    }

    /// The same with other weights of the rows, `[N]`.
    pub(crate) fn with_weights(self, weights: &[f64]) -> Self {
        let weights = Tensor::constant(self.log_target.backend(), weights, &[weights.len()]);
        Self { weights, ..self }
    }

    fn by_pair(&self, by_row: &Tensor<B>) -> Tensor<B> {
        by_row.mul(&self.weights).group_sum(&self.pairs, self.pair_count)
    }
}

impl PairRows {
    pub(crate) fn chosen_rows(&self) -> Range<usize> {
        self.chosen_start..self.chosen_start + self.chosen.len()
    }
    pub(crate) fn rejected_rows(&self) -> Range<usize> {
        self.rejected_start..self.rejected_start + self.rejected.len()
    }

    /// The position where the completions part, if they lie within the rows and the vocabulary.
    fn check(&self, pair: usize, rows: usize, vocabulary: usize) -> Result<usize, LossError> {
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
fn owners(pairs: &[PairRows], n: usize) -> Result<Indices, LossError> {
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

/// ln q for each row, [N, V], and the rows' weights, `[N]`, from the reference's logits, pair by pair.
pub(crate) fn target_on_host<B: Backend>(logits: &Tensor<B>, pairs: &[PairRows], moved: f64) -> Result<(Tensor<B>, Tensor<B>), LossError> {
    let (backend, n, vocabulary) = (logits.backend(), logits.shape()[0], logits.shape()[1]);
    let mut log_target = backend.to_vec(&backend.log_softmax(logits.array()));
    let mut weights = vec![B::Scalar::zero(); n];
    for pair in pairs {
        let (w, l) = (pair.chosen_rows(), pair.rejected_rows());
        let branch = |rows: &Range<usize>| log_target[rows.start * vocabulary..rows.end * vocabulary].to_vec();
        let (chosen, rejected) = (branch(&w), branch(&l));
        let chosen = Branch { tokens: &pair.chosen, log_probs: &chosen };
        let target = exact_target(chosen, Branch { tokens: &pair.rejected, log_probs: &rejected }, vocabulary, moved)?;
        log_target[w.start * vocabulary..w.end * vocabulary].copy_from_slice(&target.chosen);
        log_target[l.start * vocabulary..l.end * vocabulary].copy_from_slice(&target.rejected);
        weights[w].fill(B::Scalar::one());
        for (t, row) in l.enumerate().skip(target.fork + 1) {
            weights[row] = target.rejected_share[t];
        }
    }
    Ok((Tensor::from_vec(backend, log_target, &[n, vocabulary]), Tensor::from_vec(backend, weights, &[n])))
}

/// The loss of each pair, `[B]`, for the policy's logits [N, V]; its mean is the batch's loss.
///
/// # Errors
/// If the logits have not the targets' shape.
pub fn slpo_exact<B: Backend>(logits: &Tensor<B>, targets: &ExactTargets<B>) -> Result<Tensor<B>, LossError> {
    Ok(targets.by_pair(&kl_divergence(logits, &targets.log_target)?))
}

/// The same as a composition of ops.
///
/// # Errors
/// As [`slpo_exact`].
pub fn slpo_exact_composed<B: Backend>(logits: &Tensor<B>, targets: &ExactTargets<B>) -> Result<Tensor<B>, LossError> {
    Ok(targets.by_pair(&kl_divergence_composed(logits, &targets.log_target)?))
}

/// Reference logits and pairs for a sample.
#[derive(Clone)]
struct Plain {
    reference: Vec<f64>,
    shape: [usize; 2],
    pairs: Vec<PairRows>,
    moved: f64,
}

impl Plain {
    fn draw(draw: &mut Draw) -> Self {
        let vocabulary = draw.extent() + 2;
        let (mut pairs, mut n) = (Vec::new(), 0);
        for _ in 0..draw.extent() {
            let prefix = draw.below(3);
            let shared = draw.indices(prefix, vocabulary).to_vec();
            let mut tail = |first: u32| {
                let rest = draw.extent() - 1;
                let rest = draw.indices(rest, vocabulary);
                [&shared[..], &[first], &rest].concat()
            };
            let (chosen, rejected) = (tail(0), tail(1));
            let (chosen_start, rejected_start) = (n, n + chosen.len());
            n = rejected_start + rejected.len();
            pairs.push(PairRows { chosen_start, chosen, rejected_start, rejected });
        }
        let moved = if draw.coin() { 1.0 } else { draw.uniform(&[], 0.0, 1.0).data[0] };
        Self { reference: draw.logits(&[n, vocabulary]).data, shape: [n, vocabulary], pairs, moved }
    }

    fn targets<B: Backend>(&self, backend: &B) -> ExactTargets<B> {
        let reference = Tensor::constant(&Cpu::<f64>::new(), &self.reference, &self.shape);
        let targets = ExactTargets::from_reference(&reference, &self.pairs, self.moved);
        targets.expect("a sample's pairs part and lie inside its rows").to(backend)
    }
}

pub(crate) fn sample(draw: &mut Draw) -> Sample {
    let plain = Plain::draw(draw);
    let (twin, logits) = (plain.clone(), draw.logits(&plain.shape));
    let shapes = "the logits have the reference's shape";
    Sample::new(
        function!(|x; plain: Plain, shapes: &'static str| slpo_exact(&x[0], &plain.targets(x[0].backend())).expect(shapes)),
        [logits],
    )
    .with_twin(function!(|x; twin: Plain, shapes: &'static str| {
        slpo_exact_composed(&x[0], &twin.targets(x[0].backend())).expect(shapes)
    }))
    .with_inner_magnitude(1.0)
}
