//! The pairwise losses from plain numbers, with their condition.
//!
//! A loss f of four log-probabilities x_j, each rounded to a relative u, may err by about u(|f| + Σ_j |∂f/∂x_j · x_j|). The same holds for
//! its gradient with the second derivatives. Forward mode measures both, in one pass over the batch for each of the four inputs.

use super::check::check_finite;
use super::evaluation::{Estimate, Evaluation};
use super::precision::DumpPrecision;
use crate::error::LossError;
use crate::hyperparameters::Hyperparameters;
use crate::loss::{Loss, Visitor, check_lengths};
use crate::pairwise::arrangement::Arrangement;
use crate::pairwise::dialect::Second;
use crate::pairwise::pair::{Pair, PairLoss};
use crate::preference_loss::Need;
use engine::Dual;

/// Sequence log-probabilities of B pairs, and a loss of them.
#[derive(Clone, Debug)]
pub struct PairProblem {
    /// The losses whose sum is checked, each with its weight; pairwise ones.
    pub terms: Vec<(Loss, f64)>,
    /// Their hyper-parameters.
    pub hyper: Hyperparameters,
    /// l_w of each pair, in nats.
    pub policy_chosen: Vec<f64>,
    /// l_l of each pair.
    pub policy_rejected: Vec<f64>,
    /// ln π_w of each pair.
    pub reference_chosen: Vec<f64>,
    /// ln π_l of each pair.
    pub reference_rejected: Vec<f64>,
    /// Tokens in each chosen and each rejected completion, at least 1, if they are known.
    pub lengths: Option<(Vec<usize>, Vec<usize>)>,
    /// W_w and W_l of each pair, for the loss whose pairs have weights.
    pub weights: Option<(Vec<f64>, Vec<f64>)>,
    /// K_w and K_l of each pair in nats, for the losses that read the divergences along the completions.
    pub divergences: Option<(Vec<f64>, Vec<f64>)>,
}

impl PairProblem {
    /// Returns the number of pairs B.
    pub(super) fn pairs(&self) -> usize {
        self.policy_chosen.len()
    }

    fn inputs(&self) -> [(&'static str, &[f64]); 4] {
        [
            ("policy_chosen_logps", &self.policy_chosen),
            ("policy_rejected_logps", &self.policy_rejected),
            ("reference_chosen_logps", &self.reference_chosen),
            ("reference_rejected_logps", &self.reference_rejected),
        ]
    }

    /// Evaluates the right loss.
    pub(super) fn evaluate(&self, precision: DumpPrecision) -> Result<Evaluation, LossError> {
        for (loss, _) in &self.terms {
            loss.validate(&self.hyper)?;
            check_lengths(*loss, &self.hyper, self.lengths.is_some())?;
        }
        self.check_columns()?;
        if self.pairs() == 0 {
            return Err(LossError::EmptyBatch);
        }
        for (what, values) in self.inputs() {
            check_finite(what, values)?;
        }
        Ok(self.partials(precision)?.policy())
    }

    /// Refuses weights and divergences that are needed and missing, of the wrong number, or not finite.
    fn check_columns(&self) -> Result<(), LossError> {
        let weights = (Need::PairWeights, &self.weights, "the weights of the completions", ["chosen_weights", "rejected_weights"]);
        let names = ["chosen_divergences", "rejected_divergences"];
        let divergences = (Need::Divergences, &self.divergences, "the divergences along the completions", names);
        for (need, columns, what, names) in [weights, divergences] {
            let Some((chosen, rejected)) = columns else {
                match self.terms.iter().find(|(loss, _)| loss.needs(need, &self.hyper)) {
                    Some((loss, _)) => return Err(LossError::Missing { loss: loss.name(), what }),
                    None => continue,
                }
            };
            for (what, column) in names.into_iter().zip([chosen, rejected]) {
                if column.len() != self.pairs() {
                    return Err(LossError::Count { what, found: column.len(), expected: self.pairs() });
                }
                check_finite(what, column)?;
            }
        }
        Ok(())
    }

    /// W = W_w W_l of pair i.
    fn weight(&self, i: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |(chosen, rejected)| chosen[i] * rejected[i])
    }

    /// Says why a loss as it is printed is NaN or infinite in f32 at one of the pairs, if a reason is known.
    pub(super) fn breakdown(&self) -> Option<&'static str> {
        let of = |&(loss, _): &(Loss, f64)| (0..self.pairs()).find_map(|i| loss.visit(&self.hyper, Breakdown(self.pair(i))).ok().flatten());
        self.terms.iter().find_map(of)
    }

    /// Evaluates the loss with its derivatives in all four inputs. Hyper-parameters may be out of range.
    pub(super) fn partials(&self, precision: DumpPrecision) -> Result<Partials, LossError> {
        let mut sum: Option<Partials> = None;
        for &(loss, weight) in &self.terms {
            let own = self.term(loss, precision)?.scaled(weight);
            sum = Some(match sum {
                None => own,
                Some(sum) => sum.plus(&own),
            });
        }
        Ok(sum.expect("an objective has a term"))
    }

    /// The partials of one loss. The pairs of a loss of the batch are arranged first, and their gradients put back.
    fn term(&self, loss: Loss, precision: DumpPrecision) -> Result<Partials, LossError> {
        let pairs: Vec<Pair<f64>> = (0..self.pairs()).map(|i| self.pair(i)).collect();
        loss.visit_in_batch(&self.hyper, &pairs, |arrangement| Term { problem: self, arrangement, precision })
    }

    /// The same numbers in other pairs.
    fn arranged(&self, Arrangement { references, rejected, .. }: &Arrangement) -> Self {
        let gather = |x: &[f64], from: &dyn Fn(usize) -> usize| (0..x.len()).map(|i| x[from(i)]).collect();
        let lengths = |(n_w, n_l): &(Vec<usize>, Vec<usize>)| (n_w.clone(), rejected.iter().map(|&i| n_l[i]).collect());
        Self {
            policy_rejected: gather(&self.policy_rejected, &|i| rejected[i]),
            reference_chosen: gather(&self.reference_chosen, &|i| references[i]),
            reference_rejected: gather(&self.reference_rejected, &|i| references[rejected[i]]),
            lengths: self.lengths.as_ref().map(lengths),
            ..self.clone()
        }
    }

    /// Like [`PairProblem::partials`] for another formula than that of a loss in the table.
    pub(super) fn partials_of_formula(&self, precision: DumpPrecision, formula: fn(&Hyperparameters, Pair<Second>) -> Second) -> Partials {
        let slope = |pair: Pair<Dual<f64>>, of_rejected: bool| formula(&self.hyper, seeded(pair, of_rejected));
        let at = |pair| {
            let (chosen, rejected) = (slope(pair, false), slope(pair, true));
            Slopes { value: chosen.real, chosen: chosen.tangent, rejected: rejected.tangent }
        };
        self.partials_of(precision, &vec![precision.underflow(); self.pairs()], at)
    }

    fn partials_of(&self, precision: DumpPrecision, allowances: &[f64], mut at: impl FnMut(Pair<Dual<f64>>) -> Slopes) -> Partials {
        let passes: Vec<Vec<Slopes>> = (0..4).map(|j| (0..self.pairs()).map(|i| at(self.lifted(i, j))).collect()).collect();
        let x: Vec<&[f64]> = self.inputs().into_iter().map(|(_, x)| x).collect();
        let count = self.pairs() as f64;
        let spread = |i: usize, of: fn(&Slopes) -> Dual<f64>| -> f64 {
            let terms = passes.iter().zip(&x).map(|(pass, x)| (of(&pass[i]).tangent * x[i]).abs());
            of(&passes[0][i]).real.abs() + terms.filter(|term| term.is_finite()).sum::<f64>()
        };
        let granted = precision.granted();
        let gradient = |of: fn(&Slopes) -> Dual<f64>| -> Vec<Estimate> {
            let tolerance = |i: usize| granted * spread(i, of) + allowances[i];
            (0..x[0].len()).map(|i| Estimate { value: of(&passes[0][i]).real / count, tolerance: tolerance(i) / count }).collect()
        };
        let policy = vec![gradient(|slopes| slopes.chosen), gradient(|slopes| slopes.rejected)];
        let reference = (2..4).map(|j| {
            let numbers = passes[j].iter().zip(&policy[j - 2]).map(|(slopes, own)| {
                let value = slopes.value.tangent / count;
                Estimate { value, tolerance: own.tolerance + granted * value.abs() }
            });
            numbers.collect()
        });
        let reference = reference.collect();
        let sizes = (0..x[0].len()).map(|i| spread(i, |slopes| slopes.value));
        let tolerance = granted * sizes.sum::<f64>() / count + 4.0 * precision.unit_roundoff();
        let value = passes[0].iter().map(|slopes| slopes.value.real).sum::<f64>() / count;
        Partials { loss: Estimate { value, tolerance }, policy, reference }
    }

    /// Pair i with a tangent of 1 in input j.
    fn lifted(&self, i: usize, j: usize) -> Pair<Dual<f64>> {
        let pair = self.pair(i);
        let numbers = [pair.chosen, pair.rejected, pair.reference_chosen, pair.reference_rejected];
        let [chosen, rejected, reference_chosen, reference_rejected] =
            std::array::from_fn(|input| Dual::new(numbers[input], if input == j { 1.0 } else { 0.0 }));
        let [n_w, n_l, mean] = [pair.lengths.0, pair.lengths.1, pair.mean_chosen_length].map(|x| Dual::new(x, 0.0));
        let numbers = [chosen, rejected, reference_chosen, reference_rejected, n_w, n_l, mean];
        let divergences = (Dual::new(pair.divergences.0, 0.0), Dual::new(pair.divergences.1, 0.0));
        Pair { weight: Dual::new(pair.weight, 0.0), divergences, ..Pair::from(numbers) }
    }

    pub(super) fn pair(&self, i: usize) -> Pair<f64> {
        let [chosen, rejected, reference_chosen, reference_rejected] = self.inputs().map(|(_, x)| x[i]);
        let (n_w, n_l) = self.lengths.as_ref().map_or((1.0, 1.0), |(w, l)| (w[i] as f64, l[i] as f64));
        let numbers = [chosen, rejected, reference_chosen, reference_rejected, n_w, n_l, self.mean_chosen_length()];
        let divergences = self.divergences.as_ref().map_or((0.0, 0.0), |(chosen, rejected)| (chosen[i], rejected[i]));
        Pair { weight: self.weight(i), divergences, ..Pair::from(numbers) }
    }

    fn mean_chosen_length(&self) -> f64 {
        self.lengths.as_ref().map_or(1.0, |(chosen, _)| chosen.iter().sum::<usize>() as f64 / chosen.len() as f64)
    }
}

/// The pair with a second tangent of 1 in l_w, or in l_l.
fn seeded(pair: Pair<Dual<f64>>, of_rejected: bool) -> Pair<Second> {
    let [zero, one] = [0.0, 1.0].map(|x| Dual::new(x, 0.0));
    let constant = |x: Dual<f64>| Second::new(x, zero);
    let variable = |x: Dual<f64>, is_seeded: bool| Second::new(x, if is_seeded { one } else { zero });
    let numbers = [
        variable(pair.chosen, !of_rejected),
        variable(pair.rejected, of_rejected),
        constant(pair.reference_chosen),
        constant(pair.reference_rejected),
        constant(pair.lengths.0),
        constant(pair.lengths.1),
        constant(pair.mean_chosen_length),
    ];
    let divergences = (constant(pair.divergences.0), constant(pair.divergences.1));
    Pair { weight: constant(pair.weight), divergences, ..Pair::from(numbers) }
}

/// Computes the partials of one loss of the arranged pairs.
struct Term<'a> {
    problem: &'a PairProblem,
    arrangement: Arrangement,
    precision: DumpPrecision,
}

impl Visitor for Term<'_> {
    type Output = Partials;
    fn visit<L: PairLoss>(self, loss: L) -> Partials {
        let arranged = self.problem.arranged(&self.arrangement);
        let allowances: Vec<f64> = (0..arranged.pairs()).map(|i| allowance(loss, &arranged.pair(i), self.precision)).collect();
        let at = |pair: Pair<Dual<f64>>| {
            let (chosen, rejected) = loss.gradient(pair);
            Slopes { value: loss.value(pair), chosen, rejected }
        };
        arranged.partials_of(self.precision, &allowances, at).put_back(&self.arrangement)
    }
}

/// Asks a loss for its breakdown at a pair.
struct Breakdown(Pair<f64>);

impl Visitor for Breakdown {
    type Output = Option<&'static str>;
    fn visit<L: PairLoss>(self, loss: L) -> Self::Output {
        loss.breakdown(&self.0)
    }
}

/// A further allowance for another program's gradient of a pair: the jump of a slope whose side depends on the rounding, and the rounding
/// of a slope computed as 1 − σ(x).
fn allowance<L: PairLoss>(loss: L, pair: &Pair<f64>, precision: DumpPrecision) -> f64 {
    let floor = precision.underflow() + 4.0 * precision.unit_roundoff() * loss.complement_slope();
    match loss.kink(pair) {
        Some(kink) if kink.distance <= precision.granted() * kink.size => floor + kink.jump,
        _ => floor,
    }
}

/// A loss at one pair and its slopes in l_w and l_l, each with a tangent.
#[derive(Clone, Copy, Default)]
struct Slopes {
    value: Dual<f64>,
    chosen: Dual<f64>,
    rejected: Dual<f64>,
}

/// A batch's loss with its derivatives in policy and reference: chosen, then rejected.
pub(super) struct Partials {
    pub loss: Estimate,
    pub policy: Vec<Vec<Estimate>>,
    pub reference: Vec<Vec<Estimate>>,
}

impl Partials {
    fn map(self, change: impl Fn(Estimate) -> Estimate) -> Self {
        let all = |parts: Vec<Vec<Estimate>>| parts.into_iter().map(|part| part.into_iter().map(&change).collect()).collect();
        Self { loss: change(self.loss), policy: all(self.policy), reference: all(self.reference) }
    }

    /// Multiplies by the weight of a term.
    fn scaled(self, weight: f64) -> Self {
        if weight == 1.0 { self } else { self.map(|estimate| estimate.times(weight)) }
    }

    fn plus(self, other: &Self) -> Self {
        let sum = |a: Vec<Vec<Estimate>>, b: &[Vec<Estimate>]| {
            a.into_iter().zip(b).map(|(a, b)| a.into_iter().zip(b).map(|(a, b)| a.plus(*b)).collect()).collect()
        };
        Self { loss: self.loss.plus(other.loss), policy: sum(self.policy, &other.policy), reference: sum(self.reference, &other.reference) }
    }

    /// Gives each completion the gradient that it has in the pair to which it was moved.
    fn put_back(self, Arrangement { references, rejected, .. }: &Arrangement) -> Self {
        let scatter = |x: &[Estimate], to: &dyn Fn(usize) -> usize| {
            let mut back = x.to_vec();
            (0..x.len()).for_each(|i| back[to(i)] = x[i]);
            back
        };
        let policy = vec![self.policy[0].clone(), scatter(&self.policy[1], &|i| rejected[i])];
        let reference = vec![scatter(&self.reference[0], &|i| references[i]), scatter(&self.reference[1], &|i| references[rejected[i]])];
        Self { loss: self.loss, policy, reference }
    }

    /// Returns the loss and its gradients in the policy's log-probabilities.
    pub fn policy(self) -> Evaluation {
        Evaluation { loss: self.loss, gradients: self.policy }
    }
}
