//! Checks a loss that another program computed, with its gradients. Where they are wrong, names the worst element and the known mistake that
//! explains it.
//!
//! The loss is computed again in f64 from the same inputs. Where a quantity differs by more than rounding can explain, the loss is computed
//! once more under each known mistake; the first mistake under which everything agrees is the explanation.

mod evaluation;
mod exact;
mod pair_mistakes;
mod pairs;
mod precision;
mod sums;
mod token_mistakes;
mod tokens;

pub use exact::ExactProblem;
pub use pairs::PairProblem;
pub use precision::Precision;
pub use sums::{SumCheck, TokenLogProbs, check_sums};
pub use tokens::TokenProblem;

use crate::error::LossError;
use evaluation::{Estimate, Evaluation};

/// Inputs of a loss, and which loss of them is to be checked. Losses are means: over pairs, or over the positions that count.
#[derive(Clone, Debug)]
pub enum Problem {
    /// A function of sequence log-probabilities.
    Pairs(PairProblem),
    /// One of the token forms.
    Tokens(TokenProblem),
    /// Towards the exact target.
    Exact(ExactProblem),
}

impl Problem {
    /// Names of the gradients that can be checked.
    pub fn gradient_names(&self) -> &'static [&'static str] {
        match self {
            Self::Pairs(_) => &["grad_policy_chosen_logps", "grad_policy_rejected_logps"],
            Self::Tokens(_) | Self::Exact(_) => &["grad_logits"],
        }
    }

    fn right(&self, precision: Precision) -> Result<Evaluation, LossError> {
        match self {
            Self::Pairs(pairs) => pairs.evaluate(precision),
            Self::Tokens(tokens) => tokens.evaluate(precision),
            Self::Exact(exact) => exact.evaluate(precision),
        }
    }

    fn mistakes(&self, precision: Precision) -> Vec<Mistake<'_>> {
        match self {
            Self::Pairs(pairs) => pair_mistakes::all(pairs, precision),
            Self::Tokens(tokens) => token_mistakes::all(tokens, precision),
            Self::Exact(exact) => exact::mistakes(exact, precision),
        }
    }
}

/// A known mistake: what to say of it, and the loss that it makes.
struct Mistake<'a> {
    words: String,
    evaluate: Box<dyn Fn() -> Result<Evaluation, LossError> + 'a>,
}

/// What the other program computed. What it did not is left out.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The batch's loss.
    pub loss: Option<f64>,
    /// In the order of [`Problem::gradient_names`]; flat, in row-major order.
    pub gradients: Vec<Option<Vec<f64>>>,
}

/// Two values of one quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossCheck {
    /// The other program's.
    pub theirs: f64,
    /// Ours.
    pub ours: f64,
    /// |theirs − ours|.
    pub abs_error: f64,
    /// The largest difference that rounding explains.
    pub tolerance: f64,
    /// True if the difference is no larger.
    pub passed: bool,
}

/// A gradient against ours.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientCheck {
    /// The gradient's name in a dump.
    pub name: &'static str,
    /// The largest |theirs − ours|.
    pub max_abs_error: f64,
    /// The largest |theirs − ours|/max(|theirs|, |ours|); 0 where both are 0.
    pub max_rel_error: f64,
    /// The element whose difference is the largest part of its tolerance: its flat index, in row-major order.
    pub worst_index: usize,
    /// The worst element as the other program has it.
    pub theirs: f64,
    /// The worst element as it is here.
    pub ours: f64,
    /// The worst element's tolerance.
    pub tolerance: f64,
    /// True if every element is within its tolerance.
    pub passed: bool,
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The loss, where it was given.
    pub loss: Option<LossCheck>,
    /// The gradients that were given.
    pub gradients: Vec<GradientCheck>,
    /// The first known mistake that explains all that differs, in words.
    pub explanation: Option<String>,
    /// True if everything that was given is right.
    pub passed: bool,
}

/// Checks what another program computed at `precision`, the coarsest type among its inputs and results.
///
/// # Errors
/// If an input is of the wrong shape, out of range or not finite, a result is not finite or of the wrong length, a hyper-parameter is out
/// of its range, or the completions of a pair do not part.
pub fn verify(problem: &Problem, results: &Results, precision: Precision) -> Result<Report, LossError> {
    let right = problem.right(precision)?;
    check_results(problem, results, &right)?;
    let loss = results.loss.map(|theirs| check_loss(theirs, right.loss));
    let named = problem.gradient_names().iter().zip(&results.gradients).zip(&right.gradients);
    let gradients: Vec<GradientCheck> =
        named.filter_map(|((name, theirs), ours)| theirs.as_ref().map(|theirs| check_gradient(name, theirs, ours))).collect();
    let passed = loss.is_none_or(|loss| loss.passed) && gradients.iter().all(|gradient| gradient.passed);
    let explanation = if passed { None } else { explain(problem, results, &right, precision) };
    Ok(Report { loss, gradients, explanation, passed })
}

fn check_results(problem: &Problem, results: &Results, right: &Evaluation) -> Result<(), LossError> {
    let loss = results.loss.as_ref().map(|loss| ("loss", std::slice::from_ref(loss), 1));
    let named = problem.gradient_names().iter().zip(&results.gradients).zip(&right.gradients);
    let gradients = named.filter_map(|((name, theirs), ours)| theirs.as_ref().map(|theirs| (*name, &theirs[..], ours.len())));
    for (what, values, expected) in loss.into_iter().chain(gradients) {
        if values.len() != expected {
            return Err(LossError::Count { what, found: values.len(), expected });
        }
        check_finite(what, values)?;
    }
    Ok(())
}

/// Refuses numbers that are not finite.
fn check_finite(what: &'static str, values: &[f64]) -> Result<(), LossError> {
    match values.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(LossError::NotFinite { what, index, value: values[index] }),
        None => Ok(()),
    }
}

fn check_loss(theirs: f64, ours: Estimate) -> LossCheck {
    let abs_error = (theirs - ours.value).abs();
    LossCheck { theirs, ours: ours.value, abs_error, tolerance: ours.tolerance, passed: ours.agrees(theirs) }
}

fn check_gradient(name: &'static str, theirs: &[f64], ours: &[Estimate]) -> GradientCheck {
    let (mut max_abs_error, mut max_rel_error, mut worst_index, mut worst) = (0.0f64, 0.0f64, 0, -1.0);
    for (index, (&theirs, ours)) in theirs.iter().zip(ours).enumerate() {
        let error = (theirs - ours.value).abs();
        let size = theirs.abs().max(ours.value.abs());
        max_abs_error = max_abs_error.max(error);
        max_rel_error = max_rel_error.max(if size > 0.0 { error / size } else { 0.0 });
        let badness = if error.is_nan() { f64::INFINITY } else { error / ours.tolerance };
        if badness > worst {
            (worst, worst_index) = (badness, index);
        }
    }
    let passed = theirs.iter().zip(ours).all(|(&theirs, ours)| ours.agrees(theirs));
    let Estimate { value, tolerance } = ours[worst_index];
    GradientCheck { name, max_abs_error, max_rel_error, worst_index, theirs: theirs[worst_index], ours: value, tolerance, passed }
}

/// Whether the loss (first) and each gradient that was given agree with an evaluation; `None` for what was not given.
fn agreement(results: &Results, evaluation: &Evaluation) -> Vec<Option<bool>> {
    let loss = results.loss.map(|theirs| evaluation.loss.agrees(theirs));
    let gradient = |(theirs, ours): (&Option<Vec<f64>>, &Vec<Estimate>)| {
        theirs.as_ref().map(|theirs| theirs.iter().zip(ours).all(|(&theirs, ours)| ours.agrees(theirs)))
    };
    std::iter::once(loss).chain(results.gradients.iter().zip(&evaluation.gradients).map(gradient)).collect()
}

/// The first mistake with which everything agrees; failing that, the first with which all that differs agrees, the rest being right.
fn explain(problem: &Problem, results: &Results, right: &Evaluation, precision: Precision) -> Option<String> {
    let ours = agreement(results, right);
    let mut in_part = None;
    for mistake in problem.mistakes(precision) {
        let Ok(evaluation) = (mistake.evaluate)() else { continue };
        let under = agreement(results, &evaluation);
        if under.iter().all(|&agrees| agrees != Some(false)) {
            return Some(mistake.words);
        }
        let differing_agree = ours.iter().zip(&under).all(|(&ours, &under)| ours != Some(false) || under == Some(true));
        if differing_agree && in_part.is_none() {
            in_part = Some(mistake.words);
        }
    }
    let names: Vec<&str> = std::iter::once("loss").chain(problem.gradient_names().iter().copied()).collect();
    let differing: Vec<&str> = names.iter().zip(&ours).filter(|(_, agrees)| **agrees == Some(false)).map(|(name, _)| *name).collect();
    in_part.map(|words| format!("{words} (in {} only; the rest is right)", differing.join(" and ")))
}
