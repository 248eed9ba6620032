//! The known mistakes of pairwise losses, each as the loss and gradients that it produces; the likelier first.

use super::evaluation::{Estimate, Evaluation, Mistake};
use super::pairs::{PairProblem, Partials};
use super::precision::DumpPrecision;
use crate::error::LossError;
use crate::hyperparameters::{Hyperparameters, Reduction, Setting};
use crate::loss::{Loss, Visitor};
use crate::pairwise::dialect::{Change, Dialect};
use crate::pairwise::pair::PairLoss;
use crate::preference_loss::Need;
use crate::weights::WeightRule;
use std::mem::swap;

/// The properties of a loss that the mistakes depend on.
#[derive(Default)]
struct Known {
    of_log_ratios: bool,
    needs_reference: bool,
    needs_lengths: bool,
    dialects: Vec<Dialect>,
}

struct Ask(Hyperparameters);

impl Visitor for Ask {
    type Output = Known;
    fn visit<L: PairLoss>(self, loss: L) -> Known {
        Known {
            of_log_ratios: L::OF_LOG_RATIOS,
            needs_reference: loss.needs().contains(&Need::Reference),
            needs_lengths: loss.needs().contains(&Need::Lengths),
            dialects: L::dialects(&self.0),
        }
    }
}

/// Collects the mistakes of one problem.
struct Catalogue<'a> {
    right: &'a PairProblem,
    loss: Known,
    precision: DumpPrecision,
    mistakes: Vec<Mistake<'a>>,
}

/// Lists all mistakes that apply to the problem.
pub(super) fn all(problem: &PairProblem, precision: DumpPrecision) -> Vec<Mistake<'_>> {
    let loss = match problem.terms[..] {
        [(loss, _)] => loss.visit_in_batch(&problem.hyper, &[problem.pair(0)], |_| Ask(problem.hyper)).unwrap_or_default(),
        _ => Known { needs_reference: true, ..Known::default() },
    };
    let mut catalogue = Catalogue { right: problem, loss, precision, mistakes: Vec::new() };
    catalogue.scales();
    catalogue.dialects();
    catalogue.hyperparameters();
    catalogue.slots();
    if catalogue.loss.needs_reference {
        catalogue.reference();
    }
    catalogue.lengths();
    catalogue.weights();
    catalogue.divergences();
    catalogue.terms();
    catalogue.mistakes
}

impl<'a> Catalogue<'a> {
    fn add(&mut self, words: impl Into<String>, evaluate: impl Fn(Partials) -> Evaluation + 'a) {
        self.changed(words, |_| {}, evaluate);
    }

    /// Adds a mistake: a change of the problem, and the evaluation made from its derivatives.
    fn changed(
        &mut self,
        words: impl Into<String>,
        change: impl Fn(&mut PairProblem) + 'a,
        evaluate: impl Fn(Partials) -> Evaluation + 'a,
    ) {
        let (right, precision) = (self.right, self.precision);
        let evaluate = move || -> Result<Evaluation, LossError> {
            let mut problem = right.clone();
            change(&mut problem);
            Ok(evaluate(problem.partials(precision)?))
        };
        self.mistakes.push(Mistake { words: words.into(), evaluate: Box::new(evaluate) });
    }

    fn hyper(&mut self, words: impl Into<String>, hyper: Hyperparameters) {
        if hyper != self.right.hyper {
            self.changed(words, move |problem| problem.hyper = hyper, Partials::policy);
        }
    }

    fn scales(&mut self) {
        let count = self.right.pairs() as f64;
        let pairs = self.right.pairs();
        self.add(format!("the loss is a sum over the batch instead of a mean: it is {pairs} times too large"), move |x| {
            x.policy().scaled(count, count)
        });
        self.add("the sign is wrong: loss and gradients are negated (the loss is maximised)", |x| x.policy().scaled(-1.0, -1.0));
        let reversed = if self.loss.of_log_ratios {
            "the gradient has the wrong sign, or else the reference is differentiated instead of the policy (either gives the same numbers)"
        } else {
            "the gradient has the wrong sign"
        };
        self.add(reversed, |x| x.policy().scaled(1.0, -1.0));
        self.add("the loss is a mean over 2B completions instead of B pairs: it is half as large", |x| x.policy().scaled(0.5, 0.5));
        self.add("a pair's loss is divided by the batch size twice", move |x| x.policy().scaled(1.0 / count, 1.0 / count));
    }

    fn dialects(&mut self) {
        for Dialect { words, change } in self.loss.dialects.clone() {
            match change {
                Change::Settings(hyper) => self.hyper(words, *hyper),
                Change::Factor(factor) => self.add(words, move |x| x.policy().scaled(factor, factor)),
                Change::Formula(formula) => {
                    let (right, precision) = (self.right, self.precision);
                    let evaluate = move || Ok(right.partials_of_formula(precision, formula).policy());
                    self.mistakes.push(Mistake { words: words.to_owned(), evaluate: Box::new(evaluate) });
                }
            }
        }
    }

    fn terms_changed(&mut self, words: impl Into<String>, terms: Vec<(Loss, f64)>, hyper: Hyperparameters) {
        let change = move |problem: &mut PairProblem| {
            problem.terms = terms.clone();
            problem.hyper = hyper;
        };
        self.changed(words, change, Partials::policy);
    }

    fn hyperparameters(&mut self) {
        let hyper = self.right.hyper;
        let beta = hyper.beta;
        let uses: Vec<Setting> = self.right.terms.iter().flat_map(|(loss, _)| loss.uses().iter().copied()).collect();
        if uses.contains(&Setting::Beta) {
            self.hyper("β is missing: the log-ratios are not multiplied by it (as if β = 1)", Hyperparameters { beta: 1.0, ..hyper });
            self.hyper("β is applied twice (β² in place of β)", Hyperparameters { beta: beta * beta, ..hyper });
            self.add("the factor β is missing in the gradient", move |x| x.policy().scaled(1.0, 1.0 / beta));
            self.add("the gradient has the factor β twice", move |x| x.policy().scaled(1.0, beta));
            self.add("the loss is multiplied by β", move |x| x.policy().scaled(beta, beta));
            self.add("the loss is divided by β", move |x| x.policy().scaled(1.0 / beta, 1.0 / beta));
        }
        if uses.contains(&Setting::Alpha) {
            self.hyper("α and 1 − α are swapped", Hyperparameters { alpha: 1.0 - hyper.alpha, ..hyper });
            self.hyper("α is ignored (as if α = 1)", Hyperparameters { alpha: 1.0, ..hyper });
            let (name, weights) = match hyper.weights {
                WeightRule::Eq7 => ("shift", WeightRule::Shift),
                WeightRule::Shift => ("eq7", WeightRule::Eq7),
            };
            self.hyper(format!("the weights follow the rule {name} instead of {}", hyper.weights), Hyperparameters { weights, ..hyper });
        }
    }

    fn slots(&mut self) {
        let sides = if self.loss.of_log_ratios {
            "chosen and rejected are swapped, or else policy and reference are swapped (either turns the margin's sign)"
        } else {
            "chosen and rejected are swapped"
        };
        self.changed(sides, swap_sides, |x| {
            let x = x.policy();
            let gradients = x.gradients.iter().rev().cloned().collect();
            x.with_gradients(gradients)
        });
        self.add("the gradients of chosen and rejected are swapped", |x| {
            let x = x.policy();
            let gradients = x.gradients.iter().rev().cloned().collect();
            x.with_gradients(gradients)
        });
    }

    fn reference(&mut self) {
        self.changed("policy and reference are swapped", swap_models, |x| Evaluation { loss: x.loss, gradients: x.reference });
        self.changed("policy and reference are swapped, and the reference is differentiated", swap_models, Partials::policy);
        self.changed(
            "the reference's chosen and rejected are swapped",
            |x| swap(&mut x.reference_chosen, &mut x.reference_rejected),
            Partials::policy,
        );
        if !self.loss.of_log_ratios {
            self.add("the gradient is the reference's: the reference is differentiated instead of the policy", |x| Evaluation {
                loss: x.loss,
                gradients: x.reference,
            });
        }
        self.add("the reference is not detached: its gradient is added to the policy's", |x| {
            let sum = |(a, b): (&Vec<Estimate>, &Vec<Estimate>)| a.iter().zip(b).map(|(a, b)| a.plus(*b)).collect();
            let gradients = x.policy.iter().zip(&x.reference).map(sum).collect();
            Evaluation { loss: x.loss, gradients }
        });
        if self.loss.of_log_ratios {
            let without = |x: &mut PairProblem| {
                x.reference_chosen.fill(0.0);
                x.reference_rejected.fill(0.0);
            };
            self.changed("the reference is ignored", without, Partials::policy);
        }
    }

    fn lengths(&mut self) {
        let Some((chosen, rejected)) = &self.right.lengths else { return };
        if self.loss.needs_lengths {
            let ones = |n: &mut Vec<usize>| n.iter_mut().for_each(|n| *n = 1);
            let undivided = move |x: &mut PairProblem| x.lengths.iter_mut().for_each(|(w, l)| [w, l].into_iter().for_each(ones));
            return self.changed("the log-probabilities are sums over the tokens instead of means", undivided, Partials::policy);
        }
        let divided = move |x: &mut PairProblem| {
            let by = |x: &mut [f64], n: &[usize]| x.iter_mut().zip(n).for_each(|(x, &n)| *x /= n as f64);
            by(&mut x.policy_chosen, chosen);
            by(&mut x.reference_chosen, chosen);
            by(&mut x.policy_rejected, rejected);
            by(&mut x.reference_rejected, rejected);
        };
        self.changed("the log-probabilities are means over the tokens instead of sums", divided, move |x| {
            let mut x = x.policy();
            for (gradients, lengths) in x.gradients.iter_mut().zip([chosen, rejected]) {
                gradients.iter_mut().zip(lengths).for_each(|(x, &n)| *x = x.times(1.0 / n as f64));
            }
            x
        });
    }

    fn weights(&mut self) {
        if self.right.weights.is_none() {
            return;
        }
        let rejected = |x: &mut PairProblem| x.weights.iter_mut().for_each(|(_, rejected)| rejected.fill(1.0));
        let chosen = |x: &mut PairProblem| x.weights.iter_mut().for_each(|(chosen, _)| chosen.fill(1.0));
        self.changed("the weights of the rejected completions are left out", rejected, Partials::policy);
        self.changed("the weights of the chosen completions are left out", chosen, Partials::policy);
        let mean = |x: &mut PairProblem| {
            let Some((chosen, rejected)) = &mut x.weights else { return };
            let mean = chosen.iter().zip(&*rejected).map(|(w, l)| w * l).sum::<f64>() / chosen.len() as f64;
            chosen.fill(mean);
            rejected.fill(1.0);
        };
        let words = "the weights are broadcast over the losses ([B, 1] times [B]): every pair has the batch's mean weight";
        self.changed(words, mean, Partials::policy);
    }

    fn divergences(&mut self) {
        if self.right.divergences.is_none() {
            return;
        }
        let swapped = |x: &mut PairProblem| x.divergences.iter_mut().for_each(|(chosen, rejected)| swap(chosen, rejected));
        let rejected = |x: &mut PairProblem| x.divergences.iter_mut().for_each(|(_, rejected)| rejected.fill(0.0));
        let chosen = |x: &mut PairProblem| x.divergences.iter_mut().for_each(|(chosen, _)| chosen.fill(0.0));
        self.changed("the divergences have the wrong sign (K_l − K_w is added, not subtracted)", swapped, Partials::policy);
        self.changed("the divergence along the rejected completion is left out", rejected, Partials::policy);
        self.changed("the divergence along the chosen completion is left out", chosen, Partials::policy);
    }

    fn terms(&mut self) {
        let (right, hyper) = (self.right.terms.clone(), self.right.hyper);
        match right[..] {
            [(loss, weight)] => {
                self.other_losses(loss, weight);
                self.likelihood_added(loss);
            }
            _ => {
                let even = right.iter().map(|&(loss, _)| (loss, 1.0)).collect();
                self.terms_changed("the weights of the losses are ignored (as if all were 1)", even, hyper);
                for (place, (loss, _)) in right.iter().enumerate() {
                    let mut others = right.clone();
                    others.remove(place);
                    self.terms_changed(format!("the term {loss} is missing"), others, hyper);
                }
            }
        }
    }

    /// Every other loss with its own defaults, and with the settings that it shares with the right one.
    fn other_losses(&mut self, right: Loss, weight: f64) {
        for loss in Loss::ALL.into_iter().filter(|&loss| loss.is_of_sequences() && loss != right) {
            let mut hyper = loss.defaults();
            right.uses().iter().for_each(|&setting| hyper.copy(setting, &self.right.hyper));
            self.terms_changed(format!("this is {loss}, not {right}"), vec![(loss, weight)], hyper);
        }
    }

    /// A negative log-likelihood that nobody asked for, as trainers add it to some losses.
    fn likelihood_added(&mut self, right: Loss) {
        if self.right.lengths.is_none() || right == Loss::Nll || right.uses().contains(&Setting::Nll) {
            return;
        }
        for (nll_reduction, mean) in [(Reduction::Token, "the batch's tokens"), (Reduction::Pair, "each completion's tokens")] {
            let words = format!("the negative log-likelihood of the chosen completions, a mean over {mean}, is added with weight 1");
            self.terms_changed(words, vec![(right, 1.0), (Loss::Nll, 1.0)], Hyperparameters { nll_reduction, ..self.right.hyper });
        }
    }
}

fn swap_sides(x: &mut PairProblem) {
    swap(&mut x.policy_chosen, &mut x.policy_rejected);
    swap(&mut x.reference_chosen, &mut x.reference_rejected);
    if let Some((chosen, rejected)) = &mut x.lengths {
        swap(chosen, rejected);
    }
    if let Some((chosen, rejected)) = &mut x.divergences {
        swap(chosen, rejected);
    }
}

fn swap_models(x: &mut PairProblem) {
    swap(&mut x.policy_chosen, &mut x.reference_chosen);
    swap(&mut x.policy_rejected, &mut x.reference_rejected);
}
