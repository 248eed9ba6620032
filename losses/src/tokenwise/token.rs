//! What the two token forms of SLPO share: three classes at each position, and one pass over the vocabulary.
//!
//! At each position the vocabulary falls into the winning token w, the losing token l (the same class where l = w) and all others o, with
//! c = ln Σ_{v ∉ {w, l}} e^{z_v}. With target masses w_w, w_l and u = 1 − w_w − w_l:
//!
//! forward  y = −w_w ln p_w − w_l ln p_l − u ln p_o, each ln p from the other two classes: ln p_o = −softplus(ln(e^{z_w} + e^{z_l}) − c)
//! vjp      z̄_w = ȳ(p_w − w_w), z̄_l = ȳ(p_l − w_l), z̄_v = ȳ e^{z_v − c}(p_o − u) elsewhere      (saves z and the classes' logarithms)
//!
//! The last is the audit's p_v(1 − u/p_o) without the division, which would be 0/0 where p_o underflows.
//!
//! That pass is the host's. On a device with a queue the forms are compositions of ops: tokens and mask, which the host knows, go there as
//! indices, and the masses are made there.

use crate::error::{LossError, all_below};
use crate::numeric::{logaddexp, times_log};
use crate::preference_loss::PreferenceLoss;
use crate::rows::{logsumexp_parts, map_rows};
use crate::weights::{Shares, Weights};
use engine::backend::Indices;
use engine::shape::count;
use engine::tape::Operation;
use engine::{Backend, Scalar, Tensor, vectorised};

/// Target masses of the winning and the losing token at N positions, each `[N]`; constants. Where the two tokens are the same, their one
/// class has the sum of both.
#[derive(Clone, Debug)]
pub struct TokenWeights<B: Backend> {
    /// w_w.
    pub(crate) chosen: Tensor<B>,
    /// w_l.
    pub(crate) rejected: Tensor<B>,
}

impl<B: Backend> TokenWeights<B> {
    /// Given masses w_w and, where there are any, w_l, each of N elements.
    ///
    /// # Errors
    /// If the two have different numbers of elements.
    pub fn given(chosen: &Tensor<B>, rejected: Option<&Tensor<B>>) -> Result<Self, LossError> {
        let flat = |masses: &Tensor<B>| masses.detach().reshape(&[masses.len()]);
        let chosen = flat(chosen);
        let rejected = rejected.map_or_else(|| Tensor::full(chosen.backend(), 0.0, chosen.shape()), flat);
        if rejected.len() != chosen.len() {
            return Err(LossError::Count { what: "w_l", found: rejected.len(), expected: chosen.len() });
        }
        Ok(Self { chosen, rejected })
    }

    /// A rule for sequences used at each position, with the reference's next-token probabilities p(w) and p(l) in place of π_w and π_l.
    /// Where w = l the class has mass p(w) (mends claim I6 of the audit).
    ///
    /// # Errors
    /// If a token is not below V or there is not one of each for every row of the reference's logits [.., V].
    pub fn from_reference(weights: Weights, logits: &Tensor<B>, chosen: &Indices, rejected: &Indices) -> Result<Self, LossError> {
        let [w, l] = reference_log_probs(logits, chosen, rejected)?;
        let same: Vec<f64> = chosen.iter().zip(&rejected[..]).map(|(w, l)| if w == l { 1.0 } else { 0.0 }).collect();
        let same = Tensor::constant(w.backend(), &same, w.shape());
        let (apart, shares) = (Tensor::full(w.backend(), 1.0, &[]).sub(&same), weights.shares_of(&w, &l));
        Ok(Self { chosen: shares.chosen.mul(&apart).add(&w.exp().mul(&same)), rejected: shares.rejected.mul(&apart) })
    }

    /// The listing's w_w as its text has it: p(w) + p(l), also where w = l. There it can exceed 1 (claim I6 of the audit).
    ///
    /// # Errors
    /// As [`TokenWeights::from_reference`].
    pub fn literal(logits: &Tensor<B>, chosen: &Indices, rejected: &Indices) -> Result<Self, LossError> {
        let [w, l] = reference_log_probs(logits, chosen, rejected)?;
        Ok(Self { chosen: w.exp().add(&l.exp()), rejected: Tensor::full(w.backend(), 0.0, w.shape()) })
    }
}

/// ln p(w) and ln p(l) at each position, each `[N]`, from the reference's logits [.., V]; constants.
fn reference_log_probs<B: Backend>(logits: &Tensor<B>, chosen: &Indices, rejected: &Indices) -> Result<[Tensor<B>; 2], LossError> {
    let logits = flat(logits)?.detach();
    check_tokens(&logits, chosen, rejected)?;
    let total = logits.logsumexp();
    Ok([chosen, rejected].map(|tokens| logits.gather(tokens).reshape(total.shape()).sub(&total)))
}

/// Logits [.., V] as [N, V].
fn flat<B: Backend>(logits: &Tensor<B>) -> Result<Tensor<B>, LossError> {
    match logits.shape().split_last() {
        Some((&vocabulary, lead)) if vocabulary > 0 && count(lead) > 0 => Ok(logits.reshape(&[count(lead), vocabulary])),
        _ => Err(LossError::Shape { what: "logits", found: logits.shape().to_vec(), expected: vec![1, 1] }),
    }
}

fn check_tokens<B: Backend>(logits: &Tensor<B>, chosen: &Indices, rejected: &Indices) -> Result<(), LossError> {
    let (n, vocabulary) = (logits.shape()[0], logits.shape()[1]);
    for (what, tokens) in [("y_w", chosen), ("y_l", rejected)] {
        if tokens.len() != n {
            return Err(LossError::Count { what, found: tokens.len(), expected: n });
        }
        all_below(vocabulary, what, tokens)?;
    }
    Ok(())
}

/// A loss at each position that both completions have.
pub trait TokenLoss: PreferenceLoss + Copy {
    /// Its target masses, from the reference's logits [.., V] and the tokens of the N positions.
    ///
    /// # Errors
    /// If a token is not below V or there is not one of each for every position.
    fn masses<B: Backend>(self, reference: &Tensor<B>, chosen: &Indices, rejected: &Indices) -> Result<TokenWeights<B>, LossError>;

    /// The loss of each position, [..].
    fn evaluate<B: Backend>(inputs: &TokenInputs<B>) -> Tensor<B>;
}

/// What happens where no other token is left, so that ln p_o = −∞.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum NoOthers {
    /// The term is left out.
    Dropped,
    /// It is multiplied as it stands: 0·(−∞) = NaN.
    AsPrinted,
}

/// A batch for the token forms: logits at N positions with the tokens and masses there.
#[derive(Clone, Debug)]
pub struct TokenInputs<B: Backend> {
    /// [N, V].
    pub(crate) logits: Tensor<B>,
    /// The shape of the result: the logits' without the last axis.
    shape: Vec<usize>,
    pub(crate) chosen: Indices,
    pub(crate) rejected: Indices,
    pub(crate) weights: TokenWeights<B>,
    keep: Vec<bool>,
}

impl<B: Backend> TokenInputs<B> {
    /// Logits [.., V], winning and losing tokens and masses for each of the N positions, and which positions count (all without a mask).
    ///
    /// # Errors
    /// If there are no logits, a list has not N entries, a token is not below V, or the mask keeps nothing.
    pub fn new(
        logits: &Tensor<B>,
        chosen: &Indices,
        rejected: &Indices,
        weights: TokenWeights<B>,
        keep: Option<&[bool]>,
    ) -> Result<Self, LossError> {
        let shape = logits.shape()[..logits.rank().saturating_sub(1)].to_vec();
        let logits = flat(logits)?;
        check_tokens(&logits, chosen, rejected)?;
        let expected = chosen.len();
        let keep = keep.map_or_else(|| vec![true; expected], <[bool]>::to_vec);
        for (what, found) in [("w_w", weights.chosen.len()), ("position mask", keep.len())] {
            if found != expected {
                return Err(LossError::Count { what, found, expected });
            }
        }
        if !keep.contains(&true) {
            return Err(LossError::NothingKept);
        }
        Ok(Self { logits, shape, chosen: chosen.clone(), rejected: rejected.clone(), weights, keep })
    }

    /// The mean over the positions that count (over B·T without a mask) of a loss by position.
    pub fn mean(&self, by_position: &Tensor<B>) -> Tensor<B> {
        let kept = self.keep.iter().filter(|&&keep| keep).count();
        by_position.sum_all().scale(1.0 / kept as f64)
    }

    /// Classes and masses at each position, read on the host; with w_l = 0 for the listing as printed, which has none.
    fn positions(&self, no_others: NoOthers) -> Vec<Position<B::Scalar>> {
        let zero = B::Scalar::zero();
        let (w_w, w_l) = (self.weights.chosen.to_vec(), self.weights.rejected.to_vec());
        let position = |n: usize| {
            let (w_w, w_l) = (w_w[n], if no_others == NoOthers::AsPrinted { zero } else { w_l[n] });
            let others = B::Scalar::one() - w_w - w_l;
            let masses = Shares { chosen: w_w, rejected: w_l, others };
            let masses = if self.keep[n] { masses } else { Shares { chosen: zero, rejected: zero, others: zero } };
            Position { chosen: self.chosen[n] as usize, rejected: self.rejected[n] as usize, keep: self.keep[n], masses, no_others }
        };
        (0..self.keep.len()).map(position).collect()
    }

    /// The winning and the losing token of each position, one after the other.
    pub(crate) fn both_tokens(&self) -> Indices {
        self.chosen.iter().zip(&self.rejected[..]).flat_map(|(&w, &l)| [w, l]).collect()
    }

    /// The loss of each position as a composition of ops, which `by_row` makes of the positions that count, `[K]`: the others are not read,
    /// and their loss is 0.
    pub(crate) fn of_kept_rows(&self, by_row: impl FnOnce(&Self) -> Tensor<B>) -> Tensor<B> {
        let n = self.keep.len();
        let kept: Indices = (0..n as u32).filter(|&n| self.keep[n as usize]).collect();
        if kept.len() == n {
            return by_row(self).reshape(&self.shape);
        }
        let losses = by_row(&self.only(&kept)).reshape(&[kept.len(), 1]);
        losses.scatter_add_rows(&kept, n).reshape(&self.shape)
    }

    /// These positions alone.
    fn only(&self, kept: &Indices) -> Self {
        let tokens = |tokens: &Indices| kept.iter().map(|&n| tokens[n as usize]).collect();
        let masses = |masses: &Tensor<B>| masses.reshape(&[masses.len(), 1]).embedding(kept).reshape(&[kept.len()]);
        Self {
            logits: self.logits.embedding(kept),
            shape: vec![kept.len()],
            chosen: tokens(&self.chosen),
            rejected: tokens(&self.rejected),
            weights: TokenWeights { chosen: masses(&self.weights.chosen), rejected: masses(&self.weights.rejected) },
            keep: vec![true; kept.len()],
        }
    }

    /// The loss of each position, [..]. A CPU makes one pass over the vocabulary; a GPU runs `composed`, because reading the logits back
    /// would stall its queue.
    pub(crate) fn evaluate(&self, name: &'static str, no_others: NoOthers, composed: impl FnOnce(&Self) -> Tensor<B>) -> Tensor<B> {
        if self.logits.backend().is_queued() { composed(self) } else { self.fused(name, no_others) }
    }

    /// The loss of each position as one op, whose rows the host reads.
    fn fused(&self, name: &'static str, no_others: NoOthers) -> Tensor<B> {
        let backend = self.logits.backend();
        let positions = self.positions(no_others);
        let mut z = backend.to_vec(self.logits.array());
        let classes = map_rows(
            &mut z,
            self.logits.shape()[1],
            #[inline(always)]
            |n, z| Classes::of(&positions[n], z),
        );
        let losses = positions.iter().zip(&classes).map(|(position, classes)| position.loss(classes)).collect();
        let value = backend.from_vec(losses, &[positions.len()]);
        let logits = self.logits.array().clone();
        Tensor::record(backend, value, &[&self.logits], || Fused::<B> { name, logits, positions, classes }).reshape(&self.shape)
    }
}

/// A position's tokens and target masses.
struct Position<T> {
    chosen: usize,
    rejected: usize,
    keep: bool,
    /// w_w, w_l and u.
    masses: Shares<T>,
    no_others: NoOthers,
}

/// The logarithms of the classes' probabilities, and c = ln Σ e^{z_v} over the others.
struct Classes<T> {
    log_chosen: T,
    log_rejected: T,
    log_others: T,
    /// c in two parts, to be subtracted one after the other.
    others: (T, T),
}

impl<T: Scalar> Classes<T> {
    /// Reads the row z once; the entries of the two tokens are overwritten.
    #[inline(always)]
    fn of(position: &Position<T>, z: &mut [T]) -> Self {
        let (z_w, z_l) = (z[position.chosen], z[position.rejected]);
        z[position.chosen] = T::neg_infinity();
        z[position.rejected] = T::neg_infinity();
        let parts = logsumexp_parts(z);
        let others = parts.0 + parts.1;
        let z_l = if position.chosen == position.rejected { T::neg_infinity() } else { z_l };
        let share = |own: T, a: T, b: T| -((logaddexp(a, b) - own).softplus());
        Self {
            log_chosen: share(z_w, z_l, others),
            log_rejected: share(z_l, z_w, others),
            log_others: share(others, z_w, z_l),
            others: parts,
        }
    }
}

impl<T: Scalar> Position<T> {
    fn has_others(&self, classes: &Classes<T>) -> bool {
        classes.others.0 > T::neg_infinity()
    }

    /// (w_w, w_l, u) with the tokens' masses joined where they are one class, and u dropped where it is.
    fn targets(&self, classes: &Classes<T>) -> (T, T, T) {
        let Shares { chosen: w_w, rejected: w_l, others: u } = self.masses;
        let (w_w, w_l) = if self.chosen == self.rejected { (w_w + w_l, T::zero()) } else { (w_w, w_l) };
        let dropped = self.no_others == NoOthers::Dropped && !self.has_others(classes);
        (w_w, w_l, if dropped { T::zero() } else { u })
    }

    fn loss(&self, classes: &Classes<T>) -> T {
        if !self.keep {
            return T::zero();
        }
        let (w_w, w_l, u) = self.targets(classes);
        let others = match self.no_others {
            NoOthers::Dropped => times_log(u, classes.log_others),
            NoOthers::AsPrinted => u * classes.log_others,
        };
        -(w_w * classes.log_chosen + times_log(w_l, classes.log_rejected) + others)
    }

    /// Turns the row z into its cotangent.
    fn vjp(&self, classes: &Classes<T>, y_bar: T, z: &mut [T]) {
        if !self.keep {
            return z.fill(T::zero());
        }
        let (w_w, w_l, u) = self.targets(classes);
        let total = if self.has_others(classes) { T::one() } else { w_w + w_l + u };
        if self.has_others(classes) {
            let (m, rest) = classes.others;
            let slope = y_bar * (classes.log_others.exp() - u);
            vectorised::<T, _>(
                #[inline(always)]
                || z.iter_mut().for_each(|z| *z = slope * (*z - m - rest).exp()),
            );
        } else {
            z.fill(T::zero());
        }
        z[self.rejected] = y_bar * (classes.log_rejected.exp() * total - w_l);
        z[self.chosen] = y_bar * (classes.log_chosen.exp() * total - w_w);
    }
}

struct Fused<B: Backend> {
    name: &'static str,
    logits: B::Array,
    positions: Vec<Position<B::Scalar>>,
    classes: Vec<Classes<B::Scalar>>,
}

impl<B: Backend> Operation<B> for Fused<B> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let shape = backend.shape(&self.logits).to_vec();
        let y_bar = backend.to_vec(&y_bar);
        let mut z = backend.to_vec(&self.logits);
        map_rows(&mut z, shape[1], |n, z| self.positions[n].vjp(&self.classes[n], y_bar[n], z));
        vec![Some(backend.from_vec(z, &shape))]
    }
}
