//! The losses of labelled rows from plain numbers, with their condition, as [`pairs`](super::pairs) has it for pairs.

use super::check::check_finite;
use super::evaluation::{Estimate, Evaluation};
use super::precision::DumpPrecision;
use crate::error::LossError;
use crate::hyperparameters::Hyperparameters;
use crate::loss::{Loss, RowVisitor};
use crate::unpaired::row::{LabelledRow, RowLoss};
use engine::Dual;

/// Sequence log-probabilities of N labelled rows, and a loss of them.
#[derive(Clone, Debug)]
pub struct RowProblem {
    /// The losses whose sum is checked, each with its weight; losses of labelled rows.
    pub terms: Vec<(Loss, f64)>,
    /// Their hyper-parameters.
    pub hyper: Hyperparameters,
    /// l of each row, in nats.
    pub policy: Vec<f64>,
    /// ln π_ref of each row.
    pub reference: Vec<f64>,
    /// True for each desirable row.
    pub labels: Vec<bool>,
    /// z of the batch, or the mean that it is made of: a negative one counts as 0.
    pub divergence: f64,
}

impl RowProblem {
    /// Returns the number of rows N.
    pub(super) fn rows(&self) -> usize {
        self.policy.len()
    }

    /// Evaluates the right loss.
    pub(super) fn evaluate(&self, precision: DumpPrecision) -> Result<Evaluation, LossError> {
        self.terms.iter().try_for_each(|(loss, _)| loss.validate(&self.hyper))?;
        let expected = self.rows();
        for (what, found) in [("reference_logps", self.reference.len()), ("label", self.labels.len())] {
            if found != expected {
                return Err(LossError::Count { what, found, expected });
            }
        }
        if expected == 0 {
            return Err(LossError::EmptyBatch);
        }
        check_finite("policy_logps", &self.policy)?;
        check_finite("reference_logps", &self.reference)?;
        check_finite("kl", &[self.divergence])?;
        self.bounded().weighted(precision, |_| 1.0)
    }

    /// The same problem with z brought up to 0.
    pub(super) fn bounded(&self) -> Self {
        Self { divergence: self.divergence.max(0.0), ..self.clone() }
    }

    /// Evaluates with z as it stands, and a weight for each row. Hyper-parameters may be out of range.
    pub(super) fn weighted(&self, precision: DumpPrecision, weight: impl Fn(usize) -> f64) -> Result<Evaluation, LossError> {
        let count = self.rows() as f64;
        let zero = Estimate { value: 0.0, tolerance: 0.0 };
        let mut loss = Estimate { tolerance: 4.0 * precision.unit_roundoff(), ..zero };
        let mut gradient = vec![zero; self.rows()];
        for &(term, factor) in &self.terms {
            let rows = term.visit_row(&self.hyper, Rows { problem: self, precision })?;
            for (i, (value, slope)) in rows.into_iter().enumerate() {
                let factor = factor * weight(i) / count;
                loss = loss.plus(value.times(factor));
                gradient[i] = gradient[i].plus(slope.times(factor));
            }
        }
        Ok(Evaluation { loss, gradients: vec![gradient] })
    }

    /// Row i with a tangent of 1 in input j: l, ln π_ref or z.
    fn lifted(&self, i: usize, j: usize) -> LabelledRow<Dual<f64>> {
        let [log_prob, reference, divergence] = [0, 1, 2].map(|input| Dual::new(self.inputs(i)[input], if input == j { 1.0 } else { 0.0 }));
        let label = Dual::new(f64::from(u8::from(self.labels[i])), 0.0);
        LabelledRow { log_prob, reference, label, divergence }
    }

    fn inputs(&self, i: usize) -> [f64; 3] {
        [self.policy[i], self.reference[i], self.divergence]
    }
}

/// The value and the slope of each row under one loss, each with its rounding error.
struct Rows<'a> {
    problem: &'a RowProblem,
    precision: DumpPrecision,
}

/// A loss at one row and its slope, each with a tangent.
type Slope = (Dual<f64>, Dual<f64>);

impl RowVisitor for Rows<'_> {
    type Output = Vec<(Estimate, Estimate)>;
    fn visit<L: RowLoss>(self, loss: L) -> Self::Output {
        let granted = self.precision.granted();
        let floor = self.precision.underflow() + 4.0 * self.precision.unit_roundoff() * loss.complement_slope();
        let row = |i: usize| {
            let x = self.problem.inputs(i);
            let passes = [0, 1, 2].map(|j| self.problem.lifted(i, j)).map(|row| (loss.value(row), loss.gradient(row)));
            let estimate = |of: fn(&Slope) -> Dual<f64>, floor: f64| {
                let value = of(&passes[0]).real;
                let terms = passes.iter().zip(x).map(|(pass, x)| (of(pass).tangent * x).abs()).filter(|term| term.is_finite());
                Estimate { value, tolerance: granted * (value.abs() + terms.sum::<f64>()) + floor }
            };
            (estimate(|pass| pass.0, 0.0), estimate(|pass| pass.1, floor))
        };
        (0..self.problem.rows()).map(row).collect()
    }
}
