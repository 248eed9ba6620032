//! The token forms from plain numbers, with the error that rounding may cause.
//!
//! Consider logits z that were rounded to a relative u. A log-probability may err by about uS, S = 4 + ln V + 2 max|z| in the row, and a
//! probability relatively by the same. The loss of a position may then err by uS(|w_w| + |w_l| + |u_o|) + u(|ln p_o| + |L|), u_o = 1 − w_w
//! − w_l. Its gradient in z_v may err by uS(p_v + target_v) + u e^{z_v − c}. target_v is the mass that p_v is drawn to, and c is the
//! logsumexp of the others.

use super::check::check_finite;
use super::evaluation::{Estimate, Evaluation};
use super::precision::DumpPrecision;
use crate::error::LossError;
use crate::loss::{Kind, Loss, by_position};
use crate::rows::logsumexp_parts;
use crate::tokenwise::token::{TokenInputs, TokenWeights};
use engine::backend::Indices;
use engine::{Cpu, Tensor};

pub(super) type World = Cpu<f64>;

/// Logits at B·T positions with tokens and target masses, and a loss of them.
#[derive(Clone, Debug)]
pub struct TokenProblem {
    /// `slpo-token` or `slpo-literal`.
    pub loss: Loss,
    /// [B, T, V] in row-major order.
    pub logits: Vec<f64>,
    /// [B, T, V].
    pub shape: [usize; 3],
    /// y_w at each position, below V.
    pub chosen: Vec<u32>,
    /// y_l at each position, below V.
    pub rejected: Vec<u32>,
    /// w_w at each position.
    pub w_w: Vec<f64>,
    /// w_l at each position; taken as 0 if `None`. The listing as printed does not use it.
    pub w_l: Option<Vec<f64>>,
    /// Which positions count; all if `None`.
    pub keep: Option<Vec<bool>>,
}

/// The engine's tensors of a problem.
pub(super) struct Tensors {
    pub logits: Tensor<World>,
    pub chosen: Indices,
    pub rejected: Indices,
}

impl TokenProblem {
    /// Returns B·T.
    pub(super) fn positions(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// Returns the number of positions that count.
    pub(super) fn counted(&self) -> usize {
        self.keep.as_ref().map_or(self.positions(), |keep| keep.iter().filter(|&&keep| keep).count())
    }

    /// True if position n counts.
    pub(super) fn counts(&self, n: usize) -> bool {
        self.keep.as_ref().is_none_or(|keep| keep[n])
    }

    /// Returns w_l at position n, as the loss uses it.
    pub(super) fn rejected_mass(&self, n: usize) -> f64 {
        let used = self.w_l.as_ref().filter(|_| self.loss != Loss::SlpoLiteral);
        used.map_or(0.0, |w_l| w_l[n])
    }

    /// Refuses lists of wrong lengths, and numbers that are not finite.
    fn check(&self) -> Result<(), LossError> {
        if self.loss.kind() != Kind::Tokenwise {
            return Err(LossError::NotTokenwise { loss: self.loss.name() });
        }
        let (n, v) = (self.positions(), self.shape[2]);
        if n * v == 0 {
            return Err(LossError::Shape { what: "logits", found: self.shape.to_vec(), expected: vec![1, 1, 1] });
        }
        let mut numbers = vec![("logits", &self.logits, n * v), ("w_w", &self.w_w, n)];
        numbers.extend(self.w_l.as_ref().map(|w_l| ("w_l", w_l, n)));
        for (what, values, expected) in numbers {
            if values.len() != expected {
                return Err(LossError::Count { what, found: values.len(), expected });
            }
            check_finite(what, values)?;
        }
        Ok(())
    }

    /// Returns the logits [B·T, V] as a parameter, and the tokens.
    pub(super) fn tensors(&self) -> Tensors {
        let logits = Tensor::parameter(&World::new(), &self.logits, &[self.positions(), self.shape[2]]);
        Tensors { logits, chosen: self.chosen.clone().into(), rejected: self.rejected.clone().into() }
    }

    /// Evaluates the right loss.
    pub(super) fn evaluate(&self, precision: DumpPrecision) -> Result<Evaluation, LossError> {
        self.check()?;
        let Tensors { logits, chosen, rejected } = self.tensors();
        let mass = |x: &[f64]| Tensor::constant(logits.backend(), x, &[x.len()]);
        let weights = TokenWeights::given(&mass(&self.w_w), self.w_l.as_deref().map(mass).as_ref())?;
        let inputs = TokenInputs::new(&logits, &chosen, &rejected, weights, self.keep.as_deref())?;
        Ok(self.estimates(&by_position(self.loss, &inputs)?, &logits, precision))
    }

    /// Computes the mean of the losses of the positions, `[B·T]`, and its gradient in the logits, with tolerances.
    pub(super) fn estimates(&self, losses: &Tensor<World>, logits: &Tensor<World>, precision: DumpPrecision) -> Evaluation {
        let by_position = losses.to_f64();
        let scale = 1.0 / self.counted() as f64;
        let gradient = losses.sum_all().scale(scale).backward().of(logits).to_f64();
        let granted = precision.granted() * scale;
        let mut value = Estimate { value: by_position.iter().sum::<f64>() * scale, tolerance: 4.0 * precision.unit_roundoff() };
        let mut gradients = Vec::with_capacity(gradient.len());
        for (n, (z, gradient)) in self.logits.chunks(self.shape[2]).zip(gradient.chunks(self.shape[2])).enumerate() {
            let row = TokenRow::of(self, n, z);
            value.tolerance += granted * (row.value_error + by_position[n].abs());
            let floor = precision.underflow() * scale;
            let estimate = |(v, (&value, &z)): (usize, (&f64, &f64))| {
                let tolerance = if self.counts(n) { granted * (row.gradient_error(v, z) + value.abs() / scale) + floor } else { floor };
                Estimate { value, tolerance }
            };
            gradients.extend(gradient.iter().zip(z).enumerate().map(estimate));
        }
        Evaluation { loss: value, gradients: vec![gradients] }
    }
}

/// The parts of the errors of one position, in units of u.
struct TokenRow {
    sensitivity: f64,
    total: f64,
    others: f64,
    tokens: [(usize, f64); 2],
    mass_of_others: f64,
    value_error: f64,
}

impl TokenRow {
    fn of(problem: &TokenProblem, n: usize, z: &[f64]) -> Self {
        let (w, l) = (problem.chosen[n] as usize, problem.rejected[n] as usize);
        let (w_w, w_l) = (problem.w_w[n], problem.rejected_mass(n));
        let mass_of_others = (1.0 - w_w - w_l).abs();
        let logsumexp = |row: &[f64]| {
            let (m, rest) = logsumexp_parts(row);
            m + rest
        };
        let total = logsumexp(z);
        let mut left = z.to_vec();
        (left[w], left[l]) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
        let others = logsumexp(&left);
        let largest = z.iter().fold(0.0f64, |m, z| m.max(z.abs()));
        let sensitivity = 4.0 + (z.len() as f64).ln() + 2.0 * largest;
        let log_others = if others.is_finite() { (others - total).abs() } else { 0.0 };
        let value_error = sensitivity * (w_w.abs() + w_l.abs() + mass_of_others) + log_others;
        Self { sensitivity, total, others, tokens: [(w, w_w), (l, w_l)], mass_of_others, value_error }
    }

    fn gradient_error(&self, v: usize, z: f64) -> f64 {
        let masses: f64 = self.tokens.iter().filter(|(token, _)| *token == v).map(|(_, mass)| mass.abs()).sum();
        let own = self.sensitivity * ((z - self.total).exp() + masses);
        if self.tokens.iter().any(|(token, _)| *token == v) {
            return own;
        }
        let share = (z - self.others).exp();
        own + share * (1.0 + self.sensitivity * self.mass_of_others)
    }
}
