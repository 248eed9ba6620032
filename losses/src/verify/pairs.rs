//! The pairwise losses from plain numbers, with their condition.
//!
//! A loss f of four log-probabilities x_j, each rounded to a relative u, may err by about u(|f| + Σ_j |∂f/∂x_j · x_j|). The same holds for
//! its gradient with the second derivatives. Forward mode measures both, in one pass over the batch for each of the four inputs.

use super::check::check_finite;
use super::evaluation::{Estimate, Evaluation};
use super::precision::DumpPrecision;
use crate::error::LossError;
use crate::hyperparameters::Hyperparameters;
use crate::loss::{Evaluate, Loss, Visitor, check_inputs};
use crate::pairwise::pair::{Pair, PairInputs, PairLoss};
use engine::{Cpu, Dual, Tensor};

type Forward = Cpu<Dual<f64>>;

/// Sequence log-probabilities of B pairs, and a loss of them.
#[derive(Clone, Debug)]
pub struct PairProblem {
    /// The loss; a pairwise one.
    pub loss: Loss,
    /// Its hyper-parameters.
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
        check_inputs(self.loss, &self.hyper, self.lengths.is_some())?;
        if self.pairs() == 0 {
            return Err(LossError::EmptyBatch);
        }
        for (what, values) in self.inputs() {
            check_finite(what, values)?;
        }
        Ok(self.partials(precision)?.policy())
    }

    /// Evaluates the loss with its derivatives in all four inputs. Hyper-parameters may be out of range.
    pub(super) fn partials(&self, precision: DumpPrecision) -> Result<Partials, LossError> {
        let passes = (0..4).map(|j| self.pass(j)).collect::<Result<Vec<_>, _>>()?;
        let x: Vec<&[f64]> = self.inputs().into_iter().map(|(_, x)| x).collect();
        let count = self.pairs() as f64;
        let spread = |i: usize, of: fn(&BackwardPass) -> &[Dual<f64>]| -> f64 {
            let terms = passes.iter().zip(&x).map(|(pass, x)| (of(pass)[i].tangent * x[i]).abs());
            of(&passes[0])[i].real.abs() + terms.filter(|term| term.is_finite()).sum::<f64>()
        };
        let (granted, allowances) = (precision.granted(), self.allowances(precision)?);
        let gradient = |of: fn(&BackwardPass) -> &[Dual<f64>]| -> Vec<Estimate> {
            let tolerance = |i: usize| granted * spread(i, of) + allowances[i];
            (0..x[0].len()).map(|i| Estimate { value: of(&passes[0])[i].real / count, tolerance: tolerance(i) / count }).collect()
        };
        let policy = vec![gradient(|pass| &pass.chosen), gradient(|pass| &pass.rejected)];
        let reference = (2..4).map(|j| {
            let numbers = passes[j].value.iter().zip(&policy[j - 2]).map(|(value, own)| {
                let value = value.tangent / count;
                Estimate { value, tolerance: own.tolerance + granted * value.abs() }
            });
            numbers.collect()
        });
        let reference = reference.collect();
        let sizes = (0..x[0].len()).map(|i| spread(i, |pass| &pass.value));
        let tolerance = granted * sizes.sum::<f64>() / count + 4.0 * precision.unit_roundoff();
        let value = passes[0].value.iter().map(|value| value.real).sum::<f64>() / count;
        Ok(Partials { loss: Estimate { value, tolerance }, policy, reference })
    }

    fn pair(&self, i: usize) -> Pair<f64> {
        let [chosen, rejected, reference_chosen, reference_rejected] = self.inputs().map(|(_, x)| x[i]);
        let lengths = self.lengths.as_ref().map_or((1.0, 1.0), |(w, l)| (w[i] as f64, l[i] as f64));
        Pair { chosen, rejected, reference_chosen, reference_rejected, lengths }
    }

    /// Computes further allowances for another program's gradient of each pair: the jump of a slope whose side depends on the rounding, and
    /// the rounding of a slope computed as 1 − σ(x).
    fn allowances(&self, precision: DumpPrecision) -> Result<Vec<f64>, LossError> {
        let pairs = (0..self.pairs()).map(|i| self.pair(i)).collect();
        self.loss.visit(&self.hyper, Allowances { pairs, precision })
    }

    /// Computes values and gradients with their derivatives in input j.
    fn pass(&self, j: usize) -> Result<BackwardPass, LossError> {
        let backend = Forward::new();
        let lift = |(i, (_, x)): (usize, (&str, &[f64]))| {
            let data = x.iter().map(|&x| Dual::new(x, if i == j { 1.0 } else { 0.0 })).collect();
            let tensor = Tensor::from_vec(&backend, data, &[x.len()]);
            if i < 2 { tensor.to_parameter() } else { tensor }
        };
        let x: Vec<Tensor<Forward>> = self.inputs().into_iter().enumerate().map(lift).collect();
        let mut inputs = PairInputs::new(&x[0], &x[1], &x[2], &x[3])?;
        if let Some((chosen, rejected)) = &self.lengths {
            inputs = inputs.with_lengths(chosen.clone(), rejected.clone())?;
        }
        let losses = self.loss.visit(&self.hyper, Evaluate(&inputs))?;
        let value = losses.to_vec();
        let gradients = losses.sum_all().backward();
        Ok(BackwardPass { value, chosen: gradients.of(&x[0]).to_vec(), rejected: gradients.of(&x[1]).to_vec() })
    }
}

struct Allowances {
    pairs: Vec<Pair<f64>>,
    precision: DumpPrecision,
}

impl Visitor for Allowances {
    type Output = Vec<f64>;
    fn visit<L: PairLoss>(self, loss: L) -> Vec<f64> {
        let floor = self.precision.underflow() + 4.0 * self.precision.unit_roundoff() * loss.complement_slope();
        let jump = |pair: &Pair<f64>| match loss.kink(pair) {
            Some(kink) if kink.distance <= self.precision.granted() * kink.size => kink.jump,
            _ => 0.0,
        };
        self.pairs.iter().map(|pair| floor + jump(pair)).collect()
    }
}

/// Results for each pair, with a tangent: the loss, and its gradients in l_w and l_l.
struct BackwardPass {
    value: Vec<Dual<f64>>,
    chosen: Vec<Dual<f64>>,
    rejected: Vec<Dual<f64>>,
}

/// A batch's loss with its derivatives in policy and reference: chosen, then rejected.
pub(super) struct Partials {
    pub loss: Estimate,
    pub policy: Vec<Vec<Estimate>>,
    pub reference: Vec<Vec<Estimate>>,
}

impl Partials {
    /// Returns the loss and its gradients in the policy's log-probabilities.
    pub fn policy(self) -> Evaluation {
        Evaluation { loss: self.loss, gradients: self.policy }
    }
}
