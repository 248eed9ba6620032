//! What the pairwise losses share: a closed form in (l_w, l_l) for each pair, with its two partial derivatives, as one op.
//!
//! forward  yᵢ = f(l_w, l_l; ln π_w, ln π_l) of pair i
//! vjp      l̄_w = ȳᵢ·∂f/∂l_w, l̄_l = ȳᵢ·∂f/∂l_l
//!
//! A loss is three functions: the value and the gradient of one pair, over any [`Scalar`], which the op applies to every pair on any
//! backend; and its twin, a composition of ops, which the op is checked against.

pub use super::numbers::Pair;

use super::dialect::{Dialect, Kink};
use crate::error::LossError;
use crate::hyperparameters::{Hyperparameters, Reduction};
use crate::pairwise::arrangement::Arrangement;
use crate::preference_loss::{Need, PreferenceLoss};
use crate::sequence::PairLogProbs;
use engine::backend::{Formula, Indices};
use engine::tape::Operation;
use engine::{Backend, Scalar, Tensor};

/// A loss on one pair's log-probabilities.
pub trait PairLoss: PreferenceLoss + Copy + Send + Sync + 'static {
    /// True where the loss depends on the log-ratios a and r alone: its gradient in the reference is then the policy's, negated.
    const OF_LOG_RATIOS: bool = true;

    /// The loss of one pair.
    fn value<T: Scalar>(self, pair: Pair<T>) -> T;
    /// (∂/∂l_w, ∂/∂l_l) of one pair.
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T);
    /// The loss of one pair where the policy is the reference: what training must start from. From theory, not by [`PairLoss::value`],
    /// which is held to it. Reads the log-probabilities only where the start depends on them.
    fn at_start(self, pair: &Pair<f64>) -> f64;
    /// The loss of each pair, `[B]`, as a composition of ops: the twin that value and gradient are checked against.
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B>;

    /// The mistakes of its own that are known, the likelier first. Those of β, α, sums and means are known of every loss.
    fn dialects(_: &Hyperparameters) -> Vec<Dialect> {
        Vec::new()
    }
    /// Where the slope jumps, if it does.
    fn kink(self, _: &Pair<f64>) -> Option<Kink> {
        None
    }
    /// Why the formula as it is printed gives NaN or an infinity in f32 at this pair, in words; `None` where it does not.
    fn breakdown(self, _: &Pair<f64>) -> Option<&'static str> {
        None
    }
    /// The largest slope that a program may form as 1 − σ(x), with an error relative to 1; 0 where none is.
    fn complement_slope(self) -> f64 {
        0.0
    }

    /// The loss of each pair, `[B]`, as one op with the gradient above. A loss that reads tails, weights or divergences has ops before or
    /// after it.
    fn evaluate<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        as_one_op(self, inputs)
    }
}

/// The loss of each pair, `[B]`, without tails and divergences and with weights of 1, as one op.
pub(super) fn as_one_op<L: PairLoss, B: Backend>(loss: L, inputs: &PairInputs<B>) -> Tensor<B> {
    let (backend, numbers) = (inputs.policy_chosen.backend(), inputs.numbers(loss.needs().contains(&Need::Lengths)));
    let value = backend.elementwise(Value(loss), numbers.each_ref());
    Tensor::record(backend, value, &[&inputs.policy_chosen, &inputs.policy_rejected], || OfPairs { loss, numbers })
}

/// A loss of [l_w, l_l, ln π_w, ln π_l, n_w, n_l, n̄_w].
#[derive(Clone, Copy)]
struct Value<L>(L);

impl<L: PairLoss> Formula<7> for Value<L> {
    #[inline(always)]
    fn at<T: Scalar>(self, numbers: [T; 7]) -> T {
        self.0.value(Pair::from(numbers))
    }
}

/// ȳ times a loss's slope in l_w, or in l_l, of ȳ and the same numbers.
#[derive(Clone, Copy)]
struct Slope<L> {
    loss: L,
    of_rejected: bool,
}

impl<L: PairLoss> Formula<8> for Slope<L> {
    #[inline(always)]
    fn at<T: Scalar>(self, [y_bar, numbers @ ..]: [T; 8]) -> T {
        let (chosen, rejected) = self.loss.gradient(Pair::from(numbers));
        y_bar * if self.of_rejected { rejected } else { chosen }
    }
}

struct OfPairs<L, A> {
    loss: L,
    numbers: [A; 7],
}

impl<B: Backend, L: PairLoss> Operation<B> for OfPairs<L, B::Array> {
    fn name(&self) -> &'static str {
        L::NAME
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, needed: &[bool]) -> Vec<Option<B::Array>> {
        let [w, l, reference_w, reference_l, n_w, n_l, mean] = &self.numbers;
        let slope = |of_rejected| {
            let slope = Slope { loss: self.loss, of_rejected };
            backend.elementwise(slope, [&y_bar, w, l, reference_w, reference_l, n_w, n_l, mean])
        };
        [false, true].into_iter().zip(needed).map(|(of_rejected, &needed)| needed.then(|| slope(of_rejected))).collect()
    }
}

/// Sequence log-probabilities of a batch of pairs, each `[B]`, under policy and reference.
#[derive(Clone, Debug)]
pub struct PairInputs<B: Backend> {
    pub(crate) policy_chosen: Tensor<B>,
    pub(crate) policy_rejected: Tensor<B>,
    pub(crate) reference_chosen: Tensor<B>,
    pub(crate) reference_rejected: Tensor<B>,
    lengths: Option<(Vec<usize>, Vec<usize>)>,
    mean_chosen_length: f64,
    tails: Option<[Tensor<B>; 2]>,
    reference_tails: Option<[Tensor<B>; 2]>,
    weights: Option<Tensor<B>>,
    divergences: Option<[Tensor<B>; 2]>,
    constants: Option<Box<Self>>,
}

impl<B: Backend> PairInputs<B> {
    /// Four vectors `[B]` of sequence log-probabilities, in nats. The reference's are taken as constants.
    ///
    /// # Errors
    /// If they are not vectors of one length, or that is 0.
    pub fn new(
        policy_chosen: &Tensor<B>,
        policy_rejected: &Tensor<B>,
        reference_chosen: &Tensor<B>,
        reference_rejected: &Tensor<B>,
    ) -> Result<Self, LossError> {
        let inputs = Self {
            policy_chosen: policy_chosen.clone(),
            policy_rejected: policy_rejected.clone(),
            reference_chosen: reference_chosen.detach(),
            reference_rejected: reference_rejected.detach(),
            lengths: None,
            mean_chosen_length: 1.0,
            tails: None,
            reference_tails: None,
            weights: None,
            divergences: None,
            constants: None,
        };
        let expected = vec![policy_chosen.len()];
        if let Some((what, tensor)) = inputs.named().into_iter().find(|(_, tensor)| tensor.shape() != expected) {
            return Err(LossError::Shape { what, found: tensor.shape().to_vec(), expected });
        }
        if inputs.is_empty() { Err(LossError::EmptyBatch) } else { Ok(inputs) }
    }

    /// [`PairInputs::new`] for losses without a reference, whose log-probabilities are then 0.
    ///
    /// # Errors
    /// As [`PairInputs::new`].
    pub fn without_reference(policy_chosen: &Tensor<B>, policy_rejected: &Tensor<B>) -> Result<Self, LossError> {
        let zeros = Tensor::full(policy_chosen.backend(), 0.0, policy_chosen.shape());
        Self::new(policy_chosen, policy_rejected, &zeros, &zeros)
    }

    /// The four vectors by their names in messages.
    fn named(&self) -> [(&'static str, &Tensor<B>); 4] {
        [
            ("policy_chosen_logps", &self.policy_chosen),
            ("policy_rejected_logps", &self.policy_rejected),
            ("reference_chosen_logps", &self.reference_chosen),
            ("reference_rejected_logps", &self.reference_rejected),
        ]
    }

    /// The log-probabilities and lengths of the policy beside the reference's.
    ///
    /// # Errors
    /// As [`PairInputs::new`].
    pub fn from_log_probs(policy: &PairLogProbs<B>, reference: &PairLogProbs<B>) -> Result<Self, LossError> {
        Self::new(&policy.chosen, &policy.rejected, &reference.chosen, &reference.rejected)?
            .with_lengths(policy.chosen_lengths.clone(), policy.rejected_lengths.clone())
    }

    /// The numbers of tokens in the completions, for the losses that take means over tokens.
    ///
    /// # Errors
    /// If there is not one for each completion, or one is 0.
    pub fn with_lengths(mut self, chosen: Vec<usize>, rejected: Vec<usize>) -> Result<Self, LossError> {
        for (what, lengths) in [("chosen lengths", &chosen), ("rejected lengths", &rejected)] {
            if lengths.len() != self.len() {
                return Err(LossError::Count { what, found: lengths.len(), expected: self.len() });
            }
            if let Some(sequence) = lengths.iter().position(|&n| n == 0) {
                return Err(LossError::EmptyCompletion { sequence });
            }
        }
        self.mean_chosen_length = chosen.iter().sum::<usize>() as f64 / chosen.len() as f64;
        self.lengths = Some((chosen, rejected));
        Ok(self)
    }

    /// n̄_w of the whole batch, for a micro-batch. Without it, [`PairInputs::with_lengths`] takes the mean over these pairs.
    pub fn with_mean_chosen_length(mut self, tokens: f64) -> Self {
        self.mean_chosen_length = tokens;
        self
    }

    /// The parts of the policy's l_w and l_l past the length of the pair's shorter completion, each `[B]`.
    ///
    /// # Errors
    /// If there is not one for each pair.
    pub fn with_tails(self, chosen: &Tensor<B>, rejected: &Tensor<B>) -> Result<Self, LossError> {
        let tails = [chosen.clone(), rejected.clone()];
        self.check_vectors("tails of the policy", &tails)?;
        Ok(Self { tails: Some(tails), ..self })
    }

    /// The same parts of the reference's log-probabilities, which are taken as constants.
    ///
    /// # Errors
    /// As [`PairInputs::with_tails`].
    pub fn with_reference_tails(self, chosen: &Tensor<B>, rejected: &Tensor<B>) -> Result<Self, LossError> {
        let tails = [chosen.detach(), rejected.detach()];
        self.check_vectors("tails of the reference", &tails)?;
        Ok(Self { reference_tails: Some(tails), ..self })
    }

    /// The weight of each pair, `[B]`, which is taken as a constant.
    ///
    /// # Errors
    /// As [`PairInputs::with_tails`].
    pub fn with_weights(self, weights: &Tensor<B>) -> Result<Self, LossError> {
        let weights = weights.detach();
        self.check_vectors("weights of the pairs", std::slice::from_ref(&weights))?;
        Ok(Self { weights: Some(weights), ..self })
    }

    /// (K_w, K_l): Σ_t KL(reference ‖ policy) over the next token at every position of both completions, each `[B]`, in nats.
    ///
    /// # Errors
    /// As [`PairInputs::with_tails`].
    pub fn with_divergences(self, chosen: &Tensor<B>, rejected: &Tensor<B>) -> Result<Self, LossError> {
        let divergences = [chosen.clone(), rejected.clone()];
        self.check_vectors("divergences along the completions", &divergences)?;
        Ok(Self { divergences: Some(divergences), ..self })
    }

    /// The same inputs, but numbers that a gradient takes as constants ([`Loss::has_policy_constants`](crate::Loss::has_policy_constants))
    /// follow from `policy`: these pairs under a policy that does not change. Differences of the loss then show its gradient.
    ///
    /// # Errors
    /// [`LossError::Count`] if `policy` has another number of pairs.
    pub fn with_constants_of(self, policy: Self) -> Result<Self, LossError> {
        if policy.len() != self.len() {
            return Err(LossError::Count { what: "pairs of the constants", found: policy.len(), expected: self.len() });
        }
        Ok(Self { constants: Some(Box::new(policy)), ..self })
    }

    /// The pairs from which the constants of the gradient follow.
    pub(crate) fn constants(&self) -> &Self {
        self.constants.as_deref().unwrap_or(self)
    }

    /// Refuses tensors that have not one number for each pair.
    fn check_vectors(&self, what: &'static str, tensors: &[Tensor<B>]) -> Result<(), LossError> {
        let expected = vec![self.len()];
        match tensors.iter().find(|tensor| tensor.shape() != expected) {
            Some(tensor) => Err(LossError::Shape { what, found: tensor.shape().to_vec(), expected }),
            None => Ok(()),
        }
    }

    /// True if what a loss may need besides log-probabilities and lengths was given.
    pub(crate) fn has(&self, need: Need) -> bool {
        match need {
            Need::Tails => self.tails.is_some(),
            Need::ReferenceTails => self.reference_tails.is_some(),
            Need::PairWeights => self.weights.is_some(),
            Need::Divergences => self.divergences.is_some(),
            Need::Reference | Need::Lengths | Need::Divergence | Need::Logits => true,
        }
    }

    /// The policy's log-probabilities with `weight` times the divergences added to them. With `is_chosen_constant`, no gradient flows into
    /// K_w.
    pub(crate) fn with_divergences_added(&self, weight: f64, is_chosen_constant: bool) -> Self {
        let Some([chosen, rejected]) = &self.divergences else { return self.clone() };
        let constant = self.constants().divergences.as_ref().map(|[chosen, _]| chosen.detach()).filter(|_| is_chosen_constant);
        let chosen = constant.unwrap_or_else(|| chosen.clone());
        Self {
            policy_chosen: self.policy_chosen.add(&chosen.scale(weight)),
            policy_rejected: self.policy_rejected.add(&rejected.scale(weight)),
            divergences: None,
            ..self.clone()
        }
    }

    /// The log-probabilities with their tails times `weight`: the policy's, and with `of_both` the reference's too.
    pub(crate) fn with_tails_weighted(&self, weight: f64, of_both: bool) -> Self {
        let less =
            |whole: &Tensor<B>, tail: Option<&Tensor<B>>| tail.map_or_else(|| whole.clone(), |tail| whole.sub(&tail.scale(1.0 - weight)));
        let [chosen, rejected] = [0, 1].map(|side| self.tails.as_ref().map(|tails| &tails[side]));
        let [reference_chosen, reference_rejected] =
            [0, 1].map(|side| self.reference_tails.as_ref().filter(|_| of_both).map(|tails| &tails[side]));
        Self {
            policy_chosen: less(&self.policy_chosen, chosen),
            policy_rejected: less(&self.policy_rejected, rejected),
            reference_chosen: less(&self.reference_chosen, reference_chosen),
            reference_rejected: less(&self.reference_rejected, reference_rejected),
            tails: None,
            reference_tails: None,
            ..self.clone()
        }
    }

    /// Losses of the pairs, `[B]`, each times the weight of its pair.
    pub(crate) fn weighted(&self, losses: Tensor<B>) -> Tensor<B> {
        self.constants().weights.as_ref().map_or_else(|| losses.clone(), |weights| losses.mul(weights))
    }

    /// Refuses log-probabilities that are not finite numbers.
    ///
    /// # Errors
    /// [`LossError::NotFinite`] for the first that is not.
    pub fn check_finite(&self) -> Result<(), LossError> {
        for (what, tensor) in self.named() {
            if let Some((index, value)) = tensor.to_f64().into_iter().enumerate().find(|(_, x)| !x.is_finite()) {
                return Err(LossError::NotFinite { what, index, value });
            }
        }
        Ok(())
    }

    /// The number of pairs B.
    pub fn len(&self) -> usize {
        self.policy_chosen.len()
    }
    /// Always false: an empty batch is refused.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// (n_w, n_l): the numbers of tokens, where they were given.
    pub fn lengths(&self) -> Option<(&[usize], &[usize])> {
        self.lengths.as_ref().map(|(chosen, rejected)| (&chosen[..], &rejected[..]))
    }
    /// The policy's l_w and l_l, each `[B]`.
    pub fn policy(&self) -> (&Tensor<B>, &Tensor<B>) {
        (&self.policy_chosen, &self.policy_rejected)
    }
    /// The reference's ln π_w and ln π_l, each `[B]`; constants.
    pub fn reference(&self) -> (&Tensor<B>, &Tensor<B>) {
        (&self.reference_chosen, &self.reference_rejected)
    }
    /// The log-ratios a = l_w − ln π_w and r = l_l − ln π_l, each `[B]`. Times β they are DPO's implicit rewards.
    pub fn log_ratios(&self) -> (Tensor<B>, Tensor<B>) {
        (self.policy_chosen.sub(&self.reference_chosen), self.policy_rejected.sub(&self.reference_rejected))
    }
    /// The scaled margins β(a − r), `[B]`.
    pub fn margins(&self, beta: f64) -> Tensor<B> {
        let (a, r) = self.log_ratios();
        a.sub(&r).scale(beta)
    }

    /// What a [`Pair`] is made of, with 1 for the lengths where they are not asked for or not known.
    fn numbers(&self, with_lengths: bool) -> [B::Array; 7] {
        let full = |value: f64| self.policy_chosen.backend().full(value, &[1]);
        let one = || full(1.0);
        let [n_w, n_l] = match self.lengths().filter(|_| with_lengths) {
            Some((n_w, n_l)) => [n_w, n_l].map(|lengths| self.counts(lengths).array().clone()),
            None => [one(), one()],
        };
        let (policy, reference) = (self.policy(), self.reference());
        let [w, l, reference_w, reference_l] = [policy.0, policy.1, reference.0, reference.1].map(|x| x.array().clone());
        [w, l, reference_w, reference_l, n_w, n_l, full(self.mean_chosen_length)]
    }

    /// l_w/n_w and l_l/n_l, each `[B]`.
    pub(crate) fn means(&self) -> (Tensor<B>, Tensor<B>) {
        self.per_token(self.policy_chosen.clone(), self.policy_rejected.clone())
    }

    /// Values of the chosen and of the rejected completions, each divided by the completion's number of tokens.
    pub(crate) fn per_token(&self, chosen: Tensor<B>, rejected: Tensor<B>) -> (Tensor<B>, Tensor<B>) {
        match self.lengths() {
            Some((n_w, n_l)) => (chosen.div(&self.counts(n_w)), rejected.div(&self.counts(n_l))),
            None => (chosen, rejected),
        }
    }

    /// The negative log-likelihoods of the chosen completions, `[B]`.
    pub(crate) fn nll(&self, reduction: Reduction) -> Tensor<B> {
        match (reduction, self.lengths()) {
            (Reduction::Pair, Some(_)) => self.means().0.neg(),
            (Reduction::Pair, None) => self.policy_chosen.neg(),
            (Reduction::Token, _) => self.policy_chosen.scale(-1.0 / self.mean_chosen_length),
        }
    }

    /// Each pair's numbers, read back from the device.
    pub fn pairs(&self) -> Vec<Pair<f64>> {
        let [tails, reference_tails] =
            [&self.tails, &self.reference_tails].map(|tails| tails.as_ref().map(|tails| tails.each_ref().map(Tensor::to_f64)));
        let divergences = self.divergences.as_ref().map(|of| of.each_ref().map(Tensor::to_f64));
        let weights = self.weights.as_ref().map(Tensor::to_f64);
        let side = |sides: &Option<[Vec<f64>; 2]>, side: usize, i: usize| sides.as_ref().map_or(0.0, |sides| sides[side][i]);
        let [chosen, rejected, reference_chosen, reference_rejected] = self.named().map(|(_, tensor)| tensor.to_f64());
        let lengths = |i: usize| self.lengths().map_or((1.0, 1.0), |(n_w, n_l)| (n_w[i] as f64, n_l[i] as f64));
        let pair = |i: usize| Pair {
            chosen: chosen[i],
            rejected: rejected[i],
            reference_chosen: reference_chosen[i],
            reference_rejected: reference_rejected[i],
            lengths: lengths(i),
            mean_chosen_length: self.mean_chosen_length,
            tails: [side(&tails, 0, i), side(&tails, 1, i), side(&reference_tails, 0, i), side(&reference_tails, 1, i)],
            weight: weights.as_ref().map_or(1.0, |weights| weights[i]),
            divergences: (side(&divergences, 0, i), side(&divergences, 1, i)),
        };
        (0..self.len()).map(pair).collect()
    }

    /// The same log-probabilities in other pairs, without tails, weights and divergences.
    pub(crate) fn arranged(&self, arrangement: &Arrangement) -> Self {
        let Arrangement { references, rejected, .. } = arrangement;
        if [references, rejected].into_iter().all(|order| order.iter().copied().eq(0..self.len())) {
            return self.clone();
        }
        let gather = |tensor: &Tensor<B>, from: &[usize]| {
            let index: Indices = from.iter().map(|&i| i as u32).collect();
            tensor.gather(&index)
        };
        let references_of_rejected: Vec<usize> = rejected.iter().map(|&i| references[i]).collect();
        Self {
            policy_chosen: self.policy_chosen.clone(),
            policy_rejected: gather(&self.policy_rejected, rejected),
            reference_chosen: gather(&self.reference_chosen, references),
            reference_rejected: gather(&self.reference_rejected, &references_of_rejected),
            lengths: self.lengths.as_ref().map(|(n_w, n_l)| (n_w.clone(), rejected.iter().map(|&i| n_l[i]).collect())),
            mean_chosen_length: self.mean_chosen_length,
            tails: None,
            reference_tails: None,
            weights: None,
            divergences: None,
            constants: None,
        }
    }

    /// The numbers of tokens as a constant `[B]`.
    pub(crate) fn counts(&self, lengths: &[usize]) -> Tensor<B> {
        let lengths: Vec<f64> = lengths.iter().map(|&n| n as f64).collect();
        Tensor::constant(self.policy_chosen.backend(), &lengths, &[lengths.len()])
    }
}
