//! `slpo-exact` from plain numbers, with the error that rounding may cause, and its known mistakes.
//!
//! Consider logits z that were rounded to a relative u. A log-probability may err by about uS, S = 4 + ln V + 2 max|z| in the row. The
//! target's masses past the fork are products of all of the reference's probabilities along both completions. So ω·q may err by uS_p(q +
//! p_ref + 1 − ω), where S_p is the sum of the reference's S over the pair's rows.

use super::check::check_finite;
use super::evaluation::{Estimate, Evaluation, Mistake};
use super::precision::DumpPrecision;
use super::tokens::World;
use crate::error::LossError;
use crate::exact::pair_rows::PairRows;
use crate::exact::slpo_exact::{ExactTargets, slpo_exact};
use crate::hyperparameters::Hyperparameters;
use crate::loss::Loss;
use crate::weights::WeightRule;
use engine::Tensor;

/// Logits of policy and reference along the completions of B pairs.
#[derive(Clone, Debug)]
pub struct ExactProblem {
    /// The hyper-parameters. With the rule shift, α is the part of the loser's mass that is moved. With any other rule, all of it is moved.
    pub hyper: Hyperparameters,
    /// The policy's logits [2B, T, V] in row-major order: the chosen completions of all pairs, then the rejected ones.
    pub logits: Vec<f64>,
    /// The reference's logits, in the same shape.
    pub reference: Vec<f64>,
    /// [2B, T, V].
    pub shape: [usize; 3],
    /// Each pair's chosen tokens, the end token last, at most T; row t of the logits predicts token t.
    pub chosen: Vec<Vec<u32>>,
    /// Each pair's rejected tokens.
    pub rejected: Vec<Vec<u32>>,
}

/// The weights of the rows.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    Right,
    /// 1 after the fork on the rejected side, instead of the mass that the prefix keeps.
    Unweighted,
    /// The shared positions count on both sides.
    SharedTwice,
}

/// A form of the loss.
#[derive(Clone, Copy)]
struct Form {
    moved: f64,
    rows: Rows,
    /// True if the target's entropy is left in.
    entropy: bool,
}

impl ExactProblem {
    fn pairs(&self) -> usize {
        self.chosen.len()
    }

    fn right(&self) -> Form {
        let moved = if self.hyper.weights == WeightRule::Shift { self.hyper.alpha } else { 1.0 };
        Form { moved, rows: Rows::Right, entropy: false }
    }

    fn check(&self) -> Result<(), LossError> {
        Loss::SlpoExact.validate(&self.hyper)?;
        let [sequences, length, vocabulary] = self.shape;
        let count = sequences * length * vocabulary;
        if count == 0 || sequences != 2 * self.pairs() || self.rejected.len() != self.pairs() {
            let expected = vec![2 * self.pairs().max(1), length.max(1), vocabulary.max(1)];
            return Err(LossError::Shape { what: "logits", found: self.shape.to_vec(), expected });
        }
        for (what, values) in [("logits", &self.logits), ("reference_logits", &self.reference)] {
            if values.len() != count {
                return Err(LossError::Count { what, found: values.len(), expected: count });
            }
            check_finite(what, values)?;
        }
        for (what, completions) in [("y_w", &self.chosen), ("y_l", &self.rejected)] {
            for (sequence, tokens) in completions.iter().enumerate() {
                if tokens.is_empty() {
                    return Err(LossError::EmptyCompletion { sequence });
                }
                if tokens.len() > length {
                    return Err(LossError::Count { what, found: tokens.len(), expected: length });
                }
                if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
                    return Err(LossError::OutOfRange { what, index: sequence, value: token as usize, bound: vocabulary });
                }
            }
        }
        Ok(())
    }

    /// Evaluates the right loss.
    pub(super) fn evaluate(&self, precision: DumpPrecision) -> Result<Evaluation, LossError> {
        self.check()?;
        self.evaluate_form(self.right(), precision)
    }

    fn pair_rows(&self) -> Vec<PairRows> {
        let (pairs, length) = (self.pairs(), self.shape[1]);
        let rows = |b: usize| PairRows {
            chosen_start: b * length,
            chosen: self.chosen[b].clone(),
            rejected_start: (pairs + b) * length,
            rejected: self.rejected[b].clone(),
        };
        (0..pairs).map(rows).collect()
    }

    fn evaluate_form(&self, form: Form, precision: DumpPrecision) -> Result<Evaluation, LossError> {
        let shape = [self.shape[0] * self.shape[1], self.shape[2]];
        let backend = World::new();
        let logits = Tensor::parameter(&backend, &self.logits, &shape);
        let reference = Tensor::constant(&backend, &self.reference, &shape);
        let rows = self.pair_rows();
        let mut targets = ExactTargets::from_reference(&reference, &rows, form.moved)?;
        if form.rows != Rows::Right {
            let weights = reweighted(&rows, &targets.weights().to_f64(), form.rows);
            targets = targets.with_weights(&weights);
        }
        let scale = 1.0 / self.pairs() as f64;
        let losses = slpo_exact(&logits, &targets)?.sum_all().scale(scale);
        let mut value = losses.item();
        let gradient = losses.backward().of(&logits).to_f64();
        let sensitivity = self.sensitivities();
        let (log_q, weights, granted) = (targets.log_target().to_f64(), targets.weights().to_f64(), precision.granted() * scale);
        let (log_p, log_ref) = (logits.detach().log_softmax().to_f64(), reference.log_softmax().to_f64());
        let mut tolerance = 4.0 * precision.unit_roundoff() + precision.granted() * value.abs();
        let mut gradients = Vec::with_capacity(gradient.len());
        for (n, &weight) in weights.iter().enumerate() {
            for v in n * shape[1]..(n + 1) * shape[1] {
                let (p, q) = (log_p[v].exp(), log_q[v].exp());
                let of_target = sensitivity[n].1 * (q + log_ref[v].exp() * (2.0 - weight));
                let error = if weight > 0.0 { weight * sensitivity[n].0 * p + of_target } else { 0.0 };
                gradients.push(Estimate {
                    value: gradient[v],
                    tolerance: granted * error + precision.granted() * gradient[v].abs() + precision.underflow(),
                });
                if weight > 0.0 {
                    let logs = log_q[v].abs().min(ZERO_LOG) + log_p[v].abs() + 1.0;
                    tolerance += granted * (weight * q * sensitivity[n].0 + of_target * logs);
                    value += if form.entropy && q > 0.0 { -weight * q * log_q[v] * scale } else { 0.0 };
                }
            }
        }
        Ok(Evaluation { loss: Estimate { value, tolerance }, gradients: vec![gradients] })
    }

    /// Computes for each row: S of the policy's logits, and S_p of its pair.
    fn sensitivities(&self) -> Vec<(f64, f64)> {
        let [sequences, length, vocabulary] = self.shape;
        let of = |logits: &[f64]| -> Vec<f64> {
            let row = |row: &[f64]| 4.0 + (vocabulary as f64).ln() + 2.0 * row.iter().fold(0.0f64, |m, z| m.max(z.abs()));
            logits.chunks(vocabulary).map(row).collect()
        };
        let (policy, reference) = (of(&self.logits), of(&self.reference));
        let side = |s: usize| reference[s * length..(s + 1) * length].iter().sum::<f64>();
        let pair = |s: usize| side(s % self.pairs()) + side(s % self.pairs() + self.pairs());
        (0..sequences * length).map(|n| (policy[n], pair(n / length))).collect()
    }
}

/// Upper limit of |ln q| in the tolerance, for a mass that rounding may have made 0.
const ZERO_LOG: f64 = 40.0;

fn reweighted(pairs: &[PairRows], right: &[f64], rows: Rows) -> Vec<f64> {
    let mut weights = right.to_vec();
    for pair in pairs {
        let fork = crate::exact::exact_target::fork(&pair.chosen, &pair.rejected).unwrap_or(0);
        let start = pair.rejected_start;
        match rows {
            Rows::Right => {}
            Rows::Unweighted => weights[start + fork + 1..start + pair.rejected.len()].fill(1.0),
            Rows::SharedTwice => weights[start..=start + fork].fill(1.0),
        }
    }
    weights
}

/// Lists the known mistakes of this loss, the likelier first.
pub(super) fn mistakes(problem: &ExactProblem, precision: DumpPrecision) -> Vec<Mistake<'_>> {
    let (pairs, right) = (problem.pairs() as f64, problem.right());
    let tokens: usize = problem.chosen.iter().chain(&problem.rejected).map(Vec::len).sum();
    let scaled = move |words: &str, loss: f64, gradient: f64| {
        let evaluate = move || Ok(problem.evaluate_form(right, precision)?.scaled(loss, gradient));
        Mistake { words: words.to_owned(), evaluate: Box::new(evaluate) }
    };
    let form =
        |words: &str, form: Form| Mistake { words: words.to_owned(), evaluate: Box::new(move || problem.evaluate_form(form, precision)) };
    let changed = |words: &str, change: fn(&mut ExactProblem)| {
        let evaluate = move || {
            let mut other = problem.clone();
            change(&mut other);
            let evaluation = other.evaluate_form(right, precision)?;
            Ok(if other.shape == problem.shape && other.chosen == problem.rejected { sides_swapped(evaluation) } else { evaluation })
        };
        Mistake { words: words.to_owned(), evaluate: Box::new(evaluate) }
    };
    let per_token = pairs / tokens as f64;
    vec![
        scaled("the loss is a sum over the batch instead of a mean", pairs, pairs),
        scaled("the loss is a mean over 2B completions instead of B pairs: it is half as large", 0.5, 0.5),
        scaled("the loss is a mean over the tokens of both completions instead of a sum for each pair", per_token, per_token),
        scaled("the sign is wrong: loss and gradient are negated (the loss is maximised)", -1.0, -1.0),
        scaled("the gradient has the wrong sign", 1.0, -1.0),
        form(
            "the target's entropy is not taken off: this is the cross-entropy, whose minimum is not 0 (claim P1)",
            Form { entropy: true, ..right },
        ),
        form(
            "the rows after the fork on the rejected side are not weighted with the mass that their prefix keeps",
            Form { rows: Rows::Unweighted, ..right },
        ),
        form("the positions that both completions share are counted twice", Form { rows: Rows::SharedTwice, ..right }),
        form("no mass is moved: the target is the reference itself", Form { moved: 0.0, ..right }),
        changed("chosen and rejected are swapped", swap_sides),
        changed("policy and reference are swapped", |x| std::mem::swap(&mut x.logits, &mut x.reference)),
    ]
}

fn swap_sides(x: &mut ExactProblem) {
    std::mem::swap(&mut x.chosen, &mut x.rejected);
    for logits in [&mut x.logits, &mut x.reference] {
        let half = logits.len() / 2;
        logits.rotate_left(half);
    }
}

fn sides_swapped(mut x: Evaluation) -> Evaluation {
    for gradients in &mut x.gradients {
        let half = gradients.len() / 2;
        gradients.rotate_left(half);
    }
    x
}
