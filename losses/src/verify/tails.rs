//! LD-DPO from plain token log-probabilities: its sums with weighted tails, its gradients in sums and tokens, and its known mistakes.
//!
//! All log-probabilities have one sign, so a weighted sum is as exact as its terms. The errors are those of the pairwise loss of the sums.

use super::evaluation::{Estimate, Evaluation, Mistake};
use super::pair_mistakes;
use super::pairs::PairProblem;
use super::precision::DumpPrecision;
use super::sums::{SumCheck, TokenLogProbs, check_sums};
use crate::error::LossError;
use crate::hyperparameters::{Hyperparameters, TailOf};
use crate::loss::Loss;

/// Token log-probabilities of B pairs, and the pairwise problem of their weighted sums.
#[derive(Clone, Debug)]
pub struct TailProblem {
    hyper: Hyperparameters,
    /// Of the policy's chosen and rejected completions, then of the reference's.
    tokens: [TokenLogProbs; 4],
    lengths: (Vec<usize>, Vec<usize>),
    sums: PairProblem,
}

/// The weights of the tokens: up to the length of the shorter completion, and past it.
#[derive(Clone, Copy)]
struct Form {
    policy: [f64; 2],
    reference: [f64; 2],
    /// By how many tokens the tails begin too late.
    late: isize,
}

impl Form {
    /// Weighs all log-probabilities alike.
    fn same(weights: [f64; 2]) -> Self {
        Self { policy: weights, reference: weights, late: 0 }
    }

    fn right(hyper: &Hyperparameters) -> Self {
        let weighted = Self::same([1.0, hyper.tail_weight]);
        match hyper.tail_of {
            TailOf::Both => weighted,
            TailOf::Policy => Self { reference: [1.0, 1.0], ..weighted },
        }
    }
}

/// LD-DPO with the other choice of models whose tails are weighted.
fn other_dialect(hyper: &Hyperparameters) -> (&'static str, Hyperparameters) {
    let (words, tail_of) = match hyper.tail_of {
        TailOf::Both => (
            "this is LD-DPO as LLaMA-Factory computes it: the policy's tail is weighted, the reference's is not (--tail-of policy)",
            TailOf::Policy,
        ),
        TailOf::Policy => {
            ("this is LD-DPO as TRL computes it: the tails of policy and reference are both weighted (--tail-of both)", TailOf::Both)
        }
    };
    (words, Hyperparameters { tail_of, ..*hyper })
}

impl TailProblem {
    /// Forms the sums. `tokens` are those of the policy's chosen and rejected completions, then of the reference's.
    ///
    /// # Errors
    /// If the lists do not have the same pairs, a completion has no tokens, or a setting is out of its range.
    pub fn new(hyper: Hyperparameters, tokens: [TokenLogProbs; 4]) -> Result<Self, LossError> {
        Loss::LdDpo.validate(&hyper)?;
        let pairs = tokens[0].keep.len() / tokens[0].length.max(1);
        tokens.iter().try_for_each(|tokens| tokens.check_shape(pairs))?;
        let lengths = |tokens: &TokenLogProbs| -> Vec<usize> {
            tokens.keep.chunks(tokens.length).map(|row| row.iter().filter(|&&keep| keep).count()).collect()
        };
        let lengths = (lengths(&tokens[0]), lengths(&tokens[1]));
        let sums = PairProblem {
            terms: vec![(Loss::LdDpo, 1.0)],
            hyper,
            policy_chosen: Vec::new(),
            policy_rejected: Vec::new(),
            reference_chosen: Vec::new(),
            reference_rejected: Vec::new(),
            lengths: Some(lengths.clone()),
            weights: None,
            divergences: None,
        };
        let mut problem = Self { hyper, tokens, lengths, sums };
        problem.sums = problem.with_sums(Form::right(&hyper));
        Ok(problem)
    }

    /// Returns the shape of the token log-probabilities of the chosen and of the rejected completions.
    pub fn shapes(&self) -> [[usize; 2]; 2] {
        [0, 1].map(|side| [self.lengths.0.len(), self.tokens[side].length])
    }

    /// Checks the sums of one name, such as `policy_chosen_logps`, that another program computed.
    ///
    /// # Errors
    /// As [`check_sums`](super::check_sums).
    ///
    /// # Panics
    /// If no token log-probabilities have this name.
    pub fn check_sums(&self, name: &str, sums: &[f64], precision: DumpPrecision) -> Result<SumCheck, LossError> {
        let input = self.tokens.iter().position(|tokens| tokens.name == name).expect("a name of token log-probabilities");
        let weighted = |form: Form| {
            let mut tokens = self.tokens[input].clone();
            let weights = self.weights(input, form);
            tokens.values.iter_mut().zip(weights).zip(&tokens.keep).filter(|(_, keep)| **keep).for_each(|((x, weight), _)| *x *= weight);
            check_sums(sums, &tokens, precision)
        };
        let mut found = weighted(Form::right(&self.hyper))?;
        if !found.check.passed {
            let (dialect, other) = other_dialect(&self.hyper);
            let is_plain = weighted(Form::same([1.0, 1.0]))?.check.passed;
            let is_of_dialect = input >= 2 && weighted(Form::right(&other))?.check.passed;
            let plain = is_plain.then(|| format!("the tail is not weighted (in {name})"));
            found.explanation = is_of_dialect.then(|| dialect.to_owned()).or(plain).or(found.explanation);
        }
        Ok(found)
    }

    /// Returns the weight of every token of one of the four lists; 0 outside of the completion.
    fn weights(&self, input: usize, form: Form) -> Vec<f64> {
        let tokens = &self.tokens[input];
        let [head, tail] = if input < 2 { form.policy } else { form.reference };
        let mut weights = Vec::with_capacity(tokens.values.len());
        for (row, (n_w, n_l)) in tokens.keep.chunks(tokens.length).zip(self.lengths.0.iter().zip(&self.lengths.1)) {
            let end = n_w.min(n_l).saturating_add_signed(form.late);
            let mut place = 0;
            weights.extend(row.iter().map(|&keep| {
                place += usize::from(keep);
                match keep {
                    false => 0.0,
                    true if place <= end => head,
                    true => tail,
                }
            }));
        }
        weights
    }

    /// Returns the pairwise problem of the sums with these weights.
    fn with_sums(&self, form: Form) -> PairProblem {
        let [policy_chosen, policy_rejected, reference_chosen, reference_rejected] = std::array::from_fn(|input| {
            let (tokens, weights) = (&self.tokens[input], self.weights(input, form));
            let rows = tokens.values.chunks(tokens.length).zip(weights.chunks(tokens.length));
            // What the mask drops may be NaN.
            let term = |(value, weight): (&f64, &f64)| if *weight == 0.0 { 0.0 } else { value * weight };
            rows.map(|(values, weights)| values.iter().zip(weights).map(term).sum()).collect()
        });
        PairProblem { policy_chosen, policy_rejected, reference_chosen, reference_rejected, ..self.sums.clone() }
    }

    /// Evaluates the right loss.
    pub(super) fn evaluate(&self, precision: DumpPrecision) -> Result<Evaluation, LossError> {
        Ok(self.by_token(self.sums.evaluate(precision)?, Form::right(&self.hyper), precision))
    }

    /// Evaluates the loss with other weights.
    fn evaluate_form(&self, form: Form, precision: DumpPrecision) -> Result<Evaluation, LossError> {
        Ok(self.by_token(self.with_sums(form).evaluate(precision)?, form, precision))
    }

    /// Adds the gradients in the policy's token log-probabilities to those in the sums.
    fn by_token(&self, mut x: Evaluation, form: Form, precision: DumpPrecision) -> Evaluation {
        for side in 0..2 {
            let token = |(i, weight): (usize, f64)| {
                let of_sum = x.gradients[side][i / self.tokens[side].length].times(weight);
                Estimate { tolerance: of_sum.tolerance + precision.underflow(), ..of_sum }
            };
            let of_tokens = self.weights(side, form).into_iter().enumerate().map(token).collect();
            x.gradients.push(of_tokens);
        }
        x
    }
}

/// Lists the known mistakes: first those in the weights, then those of every pairwise loss.
pub(super) fn mistakes(problem: &TailProblem, precision: DumpPrecision) -> Vec<Mistake<'_>> {
    let (right, alpha) = (Form::right(&problem.hyper), problem.hyper.tail_weight);
    let (dialect, other) = other_dialect(&problem.hyper);
    let forms = [
        (dialect, Form::right(&other)),
        ("the tails are not weighted: this is dpo, not ld-dpo", Form::same([1.0, 1.0])),
        ("the tails are left out (as if α = 0)", Form::same([1.0, 0.0])),
        ("α and 1 − α are swapped", Form::right(&Hyperparameters { tail_weight: 1.0 - alpha, ..problem.hyper })),
        ("the tokens up to the length of the shorter completion are weighted, not those past it", Form::same([alpha, 1.0])),
        ("the tails begin one token too late", Form { late: 1, ..right }),
        ("the tails begin one token too early", Form { late: -1, ..right }),
    ];
    let of_weights = forms
        .into_iter()
        .map(|(words, form)| Mistake { words: words.to_owned(), evaluate: Box::new(move || problem.evaluate_form(form, precision)) });
    let of_pairs = pair_mistakes::all(&problem.sums, precision).into_iter().map(|Mistake { words, evaluate }| Mistake {
        words,
        evaluate: Box::new(move || Ok(problem.by_token(evaluate()?, right, precision))),
    });
    of_weights.chain(of_pairs).collect()
}
