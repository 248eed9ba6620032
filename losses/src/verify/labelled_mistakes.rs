//! The known mistakes of losses of labelled rows, each as the loss and gradient that it produces; the likelier first.

use super::evaluation::{Evaluation, Mistake};
use super::labelled::RowProblem;
use super::precision::DumpPrecision;
use crate::error::LossError;
use crate::hyperparameters::{Hyperparameters, Setting};
use crate::loss::Loss;
use crate::preference_loss::Need;
use std::mem::swap;

/// Collects the mistakes of one problem.
struct Catalogue<'a> {
    right: &'a RowProblem,
    precision: DumpPrecision,
    uses: Vec<Setting>,
    mistakes: Vec<Mistake<'a>>,
}

/// Lists all mistakes that apply to the problem.
pub(super) fn all(problem: &RowProblem, precision: DumpPrecision) -> Vec<Mistake<'_>> {
    let uses = problem.terms.iter().flat_map(|(loss, _)| loss.uses().iter().copied()).collect();
    let mut catalogue = Catalogue { right: problem, precision, uses, mistakes: Vec::new() };
    catalogue.scales();
    catalogue.labels();
    catalogue.divergence();
    catalogue.delta();
    catalogue.beta();
    catalogue.reference();
    catalogue.other_losses();
    catalogue.mistakes
}

impl<'a> Catalogue<'a> {
    fn add(&mut self, words: impl Into<String>, evaluate: impl Fn(RowProblem) -> Result<Evaluation, LossError> + 'a) {
        let right = self.right;
        self.mistakes.push(Mistake { words: words.into(), evaluate: Box::new(move || evaluate(right.bounded())) });
    }

    /// Adds a mistake that is a change of the problem.
    fn changed(&mut self, words: impl Into<String>, change: impl Fn(&mut RowProblem) + 'a) {
        let precision = self.precision;
        self.add(words, move |mut problem| {
            change(&mut problem);
            problem.weighted(precision, |_| 1.0)
        });
    }

    /// Adds a mistake that multiplies the loss and the gradient.
    fn scaled(&mut self, words: impl Into<String>, loss: f64, gradient: f64) {
        let precision = self.precision;
        self.add(words, move |problem| Ok(problem.weighted(precision, |_| 1.0)?.scaled(loss, gradient)));
    }

    fn hyper(&mut self, words: impl Into<String>, hyper: Hyperparameters) {
        if hyper != self.right.hyper {
            self.changed(words, move |problem| problem.hyper = hyper);
        }
    }

    fn scales(&mut self) {
        let count = self.right.rows() as f64;
        self.scaled(format!("the loss is a sum over the batch instead of a mean: it is {count} times too large"), count, count);
        self.scaled("the sign is wrong: loss and gradients are negated (the loss is maximised)", -1.0, -1.0);
        let words = "the gradient has the wrong sign, or else the reference is differentiated instead of the policy (either gives the \
                     same numbers)";
        self.scaled(words, 1.0, -1.0);
        self.scaled("a row's loss is divided by the batch size twice", 1.0 / count, 1.0 / count);
        let precision = self.precision;
        self.add("the loss is the sum of the mean over desirable rows and the mean over undesirable rows", move |problem| {
            let of_label = |label: bool| problem.labels.iter().filter(|&&other| other == label).count() as f64;
            problem.weighted(precision, |i| count / of_label(problem.labels[i]))
        });
    }

    fn labels(&mut self) {
        let flip = |problem: &mut RowProblem| problem.labels.iter_mut().for_each(|label| *label = !*label);
        self.changed("desirable and undesirable rows are swapped", flip);
        if self.uses.contains(&Setting::DesirableWeight) {
            let hyper = self.right.hyper;
            let (desirable_weight, undesirable_weight) = (hyper.undesirable_weight, hyper.desirable_weight);
            let swapped = Hyperparameters { desirable_weight, undesirable_weight, ..hyper };
            self.hyper("the weights of desirable and undesirable rows are swapped", swapped);
            let even = Hyperparameters { desirable_weight: 1.0, undesirable_weight: 1.0, ..hyper };
            self.hyper("the weights of desirable and undesirable rows are ignored (as if both were 1)", even);
        }
    }

    /// What may be wrong with z.
    fn divergence(&mut self) {
        let (right, hyper) = (self.right, self.right.hyper);
        if !right.terms.iter().any(|(loss, _)| loss.needs(Need::Divergence, &hyper)) {
            return;
        }
        if right.divergence < 0.0 {
            return self.changed("the divergence z is not brought up to 0 where it is negative", move |problem| {
                problem.divergence = right.divergence;
            });
        }
        self.changed("the divergence z is ignored (as if z = 0)", |problem| problem.divergence = 0.0);
        self.changed("the divergence z is added to the log-ratio instead of subtracted", |problem| problem.divergence *= -1.0);
        self.changed("the divergence z is not multiplied by β", move |problem| problem.divergence /= hyper.beta);
        let count = right.rows() as f64;
        self.changed("the divergence z is divided by the batch size, as if it were a sum", move |problem| problem.divergence /= count);
    }

    /// What may be wrong with δ.
    fn delta(&mut self) {
        let hyper = self.right.hyper;
        let Some(delta) = hyper.delta.filter(|&delta| self.uses.contains(&Setting::Delta) && delta != 0.0) else { return };
        let with = |delta: f64| Hyperparameters { delta: Some(delta), ..hyper };
        self.hyper("δ is ignored (as if δ = 0)", with(0.0));
        self.hyper("δ is added to the rewards instead of subtracted", with(-delta));
        self.hyper("δ is multiplied by β: it is subtracted from the log-ratios instead of the rewards", with(delta * hyper.beta));
        self.hyper("δ is divided by β", with(delta / hyper.beta));
    }

    fn beta(&mut self) {
        let hyper = self.right.hyper;
        let beta = hyper.beta;
        self.hyper("β is missing: the log-ratios are not multiplied by it (as if β = 1)", Hyperparameters { beta: 1.0, ..hyper });
        self.hyper("β is applied twice (β² in place of β)", Hyperparameters { beta: beta * beta, ..hyper });
        self.scaled("the factor β is missing in the gradient", 1.0, 1.0 / beta);
        self.scaled("the gradient has the factor β twice", 1.0, beta);
    }

    fn reference(&mut self) {
        let swap_models = |problem: &mut RowProblem| swap(&mut problem.policy, &mut problem.reference);
        self.changed("policy and reference are swapped, and the reference is differentiated", swap_models);
        let precision = self.precision;
        self.add("policy and reference are swapped", move |mut problem| {
            swap_models(&mut problem);
            Ok(problem.weighted(precision, |_| 1.0)?.scaled(1.0, -1.0))
        });
        self.scaled("the reference is not detached: its gradient is added to the policy's", 1.0, 0.0);
        self.changed("the reference is ignored", |problem| problem.reference.fill(0.0));
    }

    /// Every other loss with its own defaults, and with the settings that it shares with the right one.
    fn other_losses(&mut self) {
        let [(right, weight)] = self.right.terms[..] else { return };
        for loss in Loss::ALL.into_iter().filter(|&loss| loss.is_unpaired() && loss != right) {
            let mut hyper = loss.defaults();
            right.uses().iter().for_each(|&setting| hyper.copy(setting, &self.right.hyper));
            self.changed(format!("this is {loss}, not {right}"), move |problem| {
                problem.terms = vec![(loss, weight)];
                problem.hyper = hyper;
            });
        }
    }
}
