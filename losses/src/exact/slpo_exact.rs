//! Training towards the exact autoregressive target Q\* (claim S6 of the audit; [`exact_target`](super::exact_target)).
//!
//! value     L = Σ_t ω_t·KL(q_t ‖ p_t), over the positions of the chosen completion and those of the rejected one after the fork
//! gradient  ∂L/∂z_t = ω_t·(p_t − q_t): convex in the logits, with its minimum 0 at the target
//!
//! The positions that both completions share, the fork among them, count once. ω_t is the share of its reference mass that the prefix keeps
//! under Q\*, at most 1: 1 on the shared prefix and along the chosen completion, Q\*(l_<t)/π(l_<t) = 1 − μ/π(l_<t) along the rejected one.
//! Without it, a prefix whose mass is nearly all moved away would pull as hard as any other towards the few continuations left of it, which
//! the reference itself holds to be all but impossible. Weighting with the probability of the whole prefix instead would give KL(Q\*‖π)
//! over completions, whose gradient vanishes with their length as Eq 6's does. What is reported is cross-entropy less the target's entropy.
#![doc = include_str!("slpo_exact.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::pair_rows::{PairRows, owners};
use super::soft_cross_entropy::{kl_divergence, kl_divergence_composed};
use super::target_on_device::target_on_device;
use super::target_on_host::target_on_host;
use crate::error::LossError;
use crate::hyperparameters::{Hyperparameters, Setting};
use crate::preference_loss::{Need, PreferenceLoss};
use crate::weights::WeightRule;
use engine::backend::Indices;
use engine::explain::Example;
use engine::gradcheck::{Draw, Input, Sample};
use engine::{Backend, Cpu, Tensor, function};

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
        let (log_target, weights) = if logits.backend().is_queued() {
            target_on_device(logits, pairs, &forks, moved)
        } else {
            target_on_host(logits, pairs, moved)?
        };
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

/// Completions [0, 2] and [1, 2] over three tokens, of which 2 ends them; the loser's mass is moved.
fn exact_targets<B: Backend>(backend: &B) -> ExactTargets<B> {
    let reference = [0.5, 1.0, -1.0, 0.0, 0.5, 2.0, 0.5, 1.0, -1.0, 1.0, 0.0, 1.5];
    let reference = Tensor::constant(&Cpu::<f64>::new(), &reference, &[4, 3]);
    let pair = PairRows { chosen_start: 0, chosen: vec![0, 2], rejected_start: 2, rejected: vec![1, 2] };
    ExactTargets::from_reference(&reference, &[pair], 1.0).expect("the two completions part").to(backend)
}

/// The loss towards Q\*, with the part of the loser's mass that is moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlpoExact {
    /// The part of the loser's mass that is moved, in [0, 1].
    pub moved: f64,
}

impl PreferenceLoss for SlpoExact {
    const NAME: &'static str = "slpo-exact";
    const USES: &'static [Setting] = &[Setting::Alpha, Setting::Weights];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { moved: hyper.alpha }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Reference, Need::Logits]
    }
    fn check(hyper: &Hyperparameters) -> Result<(), LossError> {
        if hyper.weights == WeightRule::Shift || hyper.alpha == 1.0 {
            return Ok(());
        }
        let requirement = "1 for slpo-exact unless --weights shift says that a part α of the loser's mass is moved".to_owned();
        Err(LossError::Hyperparameter { name: Setting::Alpha.name(), value: hyper.text(Setting::Alpha), requirement })
    }
    fn sample(draw: &mut Draw) -> Sample {
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
    fn example() -> Example {
        let shapes = "the logits have the reference's shape";
        let logits = Input::new(vec![0.0, 1.0, -0.5, 0.5, 0.0, 1.0, 0.0, 1.0, -0.5, 1.0, -1.0, 0.5], &[4, 3]);
        let sample =
            Sample::new(function!(|x; shapes: &'static str| slpo_exact(&x[0], &exact_targets(x[0].backend())).expect(shapes)), [logits])
                .with_twin(function!(|x; shapes: &'static str| {
                    slpo_exact_composed(&x[0], &exact_targets(x[0].backend())).expect(shapes)
                }))
                .with_inner_magnitude(1.0);
        Example::new("slpo_exact(z, &targets)", &["z"], sample)
            .given("y_w = [0, 2] on rows 0 and 1, y_l = [1, 2] on rows 2 and 3; row 2 is the fork again and does not count twice")
    }
}
