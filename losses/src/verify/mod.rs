//! Checks a loss and its gradients that another program computed. For a wrong one it names the worst element, and a known mistake that
//! explains it.
//!
//! The loss is computed again in f64 from the same inputs. If a quantity differs by more than rounding can explain, the loss is computed
//! once more under each known mistake. The explanation is the first mistake under which everything agrees.

mod check;
mod evaluation;
mod exact;
mod labelled;
mod labelled_mistakes;
mod pair_mistakes;
mod pairs;
mod precision;
mod sums;
mod tails;
mod token_mistakes;
mod tokens;

pub use check::{GradientCheck, LossCheck};
pub use exact::ExactProblem;
pub use labelled::RowProblem;
pub use pairs::PairProblem;
pub use precision::DumpPrecision;
pub use sums::{SumCheck, TokenLogProbs, check_sums};
pub use tails::TailProblem;
pub use tokens::TokenProblem;

use crate::error::LossError;
use check::{check_finite, check_gradient, check_loss};
use evaluation::{Estimate, Evaluation, Mistake};

/// The inputs of a loss to check, and which loss. Losses are means: over pairs, over rows, or over the positions that count.
#[derive(Clone, Debug)]
pub enum Problem {
    /// A function of sequence log-probabilities.
    Pairs(PairProblem),
    /// LD-DPO of token log-probabilities.
    Tails(Box<TailProblem>),
    /// A function of the sequence log-probabilities of labelled rows.
    Rows(RowProblem),
    /// One of the token forms.
    Tokens(TokenProblem),
    /// The loss towards the exact target.
    Exact(ExactProblem),
}

impl Problem {
    /// Returns the shape of the gradient of this name.
    pub fn gradient_shape(&self, name: &str) -> Vec<usize> {
        match self {
            Self::Pairs(pairs) => vec![pairs.policy_chosen.len()],
            Self::Tails(tails) => {
                let [chosen, rejected] = tails.shapes();
                match name {
                    "grad_policy_chosen_token_logps" => chosen.to_vec(),
                    "grad_policy_rejected_token_logps" => rejected.to_vec(),
                    _ => vec![chosen[0]],
                }
            }
            Self::Rows(rows) => vec![rows.policy.len()],
            Self::Tokens(tokens) => tokens.shape.to_vec(),
            Self::Exact(exact) => exact.shape.to_vec(),
        }
    }

    /// Returns the names of the gradients that can be checked.
    pub fn gradient_names(&self) -> &'static [&'static str] {
        match self {
            Self::Pairs(_) => &["grad_policy_chosen_logps", "grad_policy_rejected_logps"],
            Self::Tails(_) => &[
                "grad_policy_chosen_logps",
                "grad_policy_rejected_logps",
                "grad_policy_chosen_token_logps",
                "grad_policy_rejected_token_logps",
            ],
            Self::Rows(_) => &["grad_policy_logps"],
            Self::Tokens(_) | Self::Exact(_) => &["grad_logits"],
        }
    }

    fn right(&self, precision: DumpPrecision) -> Result<Evaluation, LossError> {
        match self {
            Self::Pairs(pairs) => pairs.evaluate(precision),
            Self::Tails(tails) => tails.evaluate(precision),
            Self::Rows(rows) => rows.evaluate(precision),
            Self::Tokens(tokens) => tokens.evaluate(precision),
            Self::Exact(exact) => exact.evaluate(precision),
        }
    }

    fn mistakes(&self, precision: DumpPrecision) -> Vec<Mistake<'_>> {
        match self {
            Self::Pairs(pairs) => pair_mistakes::all(pairs, precision),
            Self::Tails(problem) => tails::mistakes(problem, precision),
            Self::Rows(rows) => labelled_mistakes::all(rows, precision),
            Self::Tokens(tokens) => token_mistakes::all(tokens, precision),
            Self::Exact(exact) => exact::mistakes(exact, precision),
        }
    }
}

/// The results of the other program. `None` stands for a result that it did not compute.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The batch's loss.
    pub loss: Option<f64>,
    /// In the order of [`Problem::gradient_names`]; flat, in row-major order.
    pub gradients: Vec<Option<Vec<f64>>>,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The loss, if it was given.
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
/// If an input is of the wrong shape, out of range or not finite, or a hyper-parameter is out of its range. If a result is not finite or of
/// the wrong length. If the completions of a pair do not part.
pub fn verify(problem: &Problem, results: &Results, precision: DumpPrecision) -> Result<Report, LossError> {
    let right = problem.right(precision)?;
    check_results(problem, results, &right).map_err(|error| explain_breakdown(problem, error, precision))?;
    let loss = results.loss.map(|theirs| check_loss(theirs, right.loss));
    let named = problem.gradient_names().iter().zip(&results.gradients).zip(&right.gradients);
    let gradients: Vec<GradientCheck> =
        named.filter_map(|((name, theirs), ours)| theirs.as_ref().map(|theirs| check_gradient(name, theirs, ours))).collect();
    let passed = loss.is_none_or(|loss| loss.passed) && gradients.iter().all(|gradient| gradient.passed);
    let explain = || match missing_gradients(problem, results, &right) {
        Missing::None => explain(problem, results, &right, precision),
        Missing::Some(names) => Some(format!("no gradient reaches {names}: it is exactly 0, as behind a detach")),
        Missing::All => {
            let cause = explain(problem, results, &right, precision).map_or_else(String::new, |words| format!("; or else {words}"));
            Some(format!("no gradient reaches the policy: every element is exactly 0, as behind a detach{cause}"))
        }
    };
    let explanation = if passed { None } else { explain() };
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

/// Adds the reason to a result that is not finite, where it is known: how the loss breaks down in f32 or a coarser type.
fn explain_breakdown(problem: &Problem, error: LossError, precision: DumpPrecision) -> LossError {
    let why = match problem {
        Problem::Pairs(pairs) if precision != DumpPrecision::F64 => pairs.breakdown(),
        _ => None,
    };
    match (error, why) {
        (LossError::NotFinite { what, index, value }, Some(why)) => LossError::Breakdown { what, index, value, why },
        (error, _) => error,
    }
}

/// Tells for the loss (first) and each gradient whether it agrees with an evaluation; `None` if it was not given.
fn agreement(results: &Results, evaluation: &Evaluation) -> Vec<Option<bool>> {
    let loss = results.loss.map(|theirs| evaluation.loss.agrees(theirs));
    let gradient = |(theirs, ours): (&Option<Vec<f64>>, &Vec<Estimate>)| {
        theirs.as_ref().map(|theirs| theirs.iter().zip(ours).all(|(&theirs, ours)| ours.agrees(theirs)))
    };
    std::iter::once(loss).chain(results.gradients.iter().zip(&evaluation.gradients).map(gradient)).collect()
}

/// The gradients of the other program that are 0 everywhere though they should not be.
enum Missing {
    None,
    /// What they are taken with respect to.
    Some(String),
    All,
}

fn missing_gradients(problem: &Problem, results: &Results, right: &Evaluation) -> Missing {
    let is_zero = |theirs: &[f64]| theirs.iter().all(|&x| x == 0.0);
    let given = problem.gradient_names().iter().zip(&results.gradients).zip(&right.gradients);
    let given: Vec<(&str, bool)> = given
        .filter_map(|((name, theirs), ours)| {
            let theirs = theirs.as_deref()?;
            Some((*name, is_zero(theirs) && ours.iter().any(|ours| !ours.agrees(0.0))))
        })
        .collect();
    let missing: Vec<&str> = given.iter().filter(|(_, is_missing)| *is_missing).map(|(name, _)| name.trim_start_matches("grad_")).collect();
    match missing.len() {
        0 => Missing::None,
        count if count == given.len() => Missing::All,
        _ => Missing::Some(missing.join(" and ")),
    }
}

/// Finds the first mistake under which everything agrees. Failing that, finds the first under which every differing result agrees; then the
/// rest is right.
fn explain(problem: &Problem, results: &Results, right: &Evaluation, precision: DumpPrecision) -> Option<String> {
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

impl From<ExactProblem> for Problem {
    fn from(problem: ExactProblem) -> Self {
        Self::Exact(problem)
    }
}
