//! What a training run minimises: a loss, or a weighted sum of pairwise losses, with settings that were checked once.

use crate::batchwise::batch::Running;
use crate::error::LossError;
use crate::hyperparameters::{Hyperparameters, Reduction, Setting};
use crate::loss::{Kind, Loss, evaluate};
use crate::pairwise::pair::{Pair, PairInputs};
use crate::preference_loss::Need;
use crate::unpaired::dispatch;
use crate::unpaired::row::RowInputs;
use engine::{Backend, Tensor};
use std::fmt;

/// One loss or more, each with its weight, and the settings of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    terms: Vec<(Loss, f64)>,
    hyper: Hyperparameters,
}

/// A sum of losses that has a name of its own.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name on the command line.
    pub name: &'static str,
    /// The losses with their weights.
    pub terms: &'static [(Loss, f64)],
    /// Gives its own defaults to the settings.
    pub defaults: fn(&mut Hyperparameters),
}

/// The sums of losses that papers name: MPO (Wang et al. 2024), IRPO (Pang et al. 2024) and RPO (Liu et al. 2024).
pub const PRESETS: [Preset; 3] = [
    Preset { name: "mpo", terms: &[(Loss::Dpo, 0.8), (Loss::Bco, 0.2), (Loss::Nll, 1.0)], defaults: |_| {} },
    Preset { name: "irpo", terms: &[(Loss::Dpo, 1.0), (Loss::Nll, 1.0)], defaults: |hyper| hyper.nll_reduction = Reduction::Pair },
    Preset { name: "rpo", terms: &[(Loss::Dpo, 1.0), (Loss::Nll, 0.005)], defaults: |hyper| hyper.beta = 0.01 },
];

impl Preset {
    /// The preset of this name, in capital or small letters.
    pub fn named(name: &str) -> Option<Self> {
        PRESETS.into_iter().find(|preset| preset.name.eq_ignore_ascii_case(name.trim()))
    }
}

impl Objective {
    /// A single loss. Settings that it does not use ([`Loss::uses`]) may be anything, except [`Hyperparameters::nll`]: a loss without a
    /// negative log-likelihood of its own gets it as a second term.
    ///
    /// # Errors
    /// [`LossError::Hyperparameter`] for the first setting out of its range; [`LossError::Combination`] for an `nll` beside a loss that is
    /// not pairwise.
    pub fn new(loss: Loss, hyper: Hyperparameters) -> Result<Self, LossError> {
        Self::combine(&[(loss, 1.0)], hyper)
    }

    /// The sum of the losses, each times its weight.
    ///
    /// # Errors
    /// As [`Objective::new`]; also [`LossError::Combination`] for no loss, a weight that is not a finite number, or several losses that are
    /// not all pairwise.
    pub fn combine(terms: &[(Loss, f64)], hyper: Hyperparameters) -> Result<Self, LossError> {
        let mut terms = terms.to_vec();
        hyper.check(Setting::Nll)?;
        if hyper.nll > 0.0 && !terms.iter().any(|(loss, _)| loss.uses().contains(&Setting::Nll)) {
            terms.push((Loss::Nll, hyper.nll));
        }
        let refuse = |reason: String| Err(LossError::Combination { reason });
        match &terms[..] {
            [] => return refuse("no loss is given".to_owned()),
            [_] => {}
            several => {
                let is_of_rows = several.iter().all(|(loss, _)| loss.is_unpaired());
                if let Some((other, _)) = several.iter().find(|(loss, _)| !is_of_rows && !loss.is_of_sequences()) {
                    let what = if other.is_unpaired() { "a loss of pairs" } else { "another loss" };
                    return refuse(format!("{other} cannot be added to {what}: only losses of sequence log-probabilities can"));
                }
            }
        }
        if let Some((loss, weight)) = terms.iter().find(|(_, weight)| !weight.is_finite()) {
            return refuse(format!("the weight of {loss} is {weight}, but must be a number"));
        }
        terms.iter().try_for_each(|(loss, _)| loss.validate(&hyper))?;
        Ok(Self { terms, hyper })
    }

    /// The same losses with the settings that follow from the steps before.
    pub fn after(&self, running: &Running) -> Self {
        Self { terms: self.terms.clone(), hyper: running.apply(&self.hyper) }
    }

    /// True if the pairs of a step see each other, so that they must be run at once.
    pub fn is_of_batch(&self) -> bool {
        self.terms.iter().any(|(loss, _)| loss.kind() == Kind::Batchwise)
    }

    /// True if it is a function of labelled rows, which are no pairs.
    pub fn is_unpaired(&self) -> bool {
        self.loss().is_unpaired()
    }

    /// The first loss, after which the objective is named.
    pub fn loss(&self) -> Loss {
        self.terms[0].0
    }

    /// The losses with their weights.
    pub fn terms(&self) -> &[(Loss, f64)] {
        &self.terms
    }

    /// The settings of all terms.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hyper
    }

    /// True if a term needs it.
    pub fn needs(&self, need: Need) -> bool {
        self.terms.iter().any(|(loss, _)| loss.needs(need, &self.hyper))
    }

    /// True if sequence log-probabilities are all that the terms need of a reference, so that they can be cached.
    pub fn takes_cached_reference(&self) -> bool {
        let has_reference = |&(loss, _): &(Loss, f64)| loss.needs(Need::Reference, &self.hyper);
        let mut terms = self.terms.iter().filter(|term| has_reference(term)).peekable();
        terms.peek().is_some() && terms.all(|(loss, _)| loss.takes_cached_reference(&self.hyper))
    }

    /// The objective of each pair, `[B]`; its mean is the batch's.
    ///
    /// # Errors
    /// If a loss is not pairwise, or lengths are needed and missing.
    pub fn pairwise<B: Backend>(&self, inputs: &PairInputs<B>) -> Result<Tensor<B>, LossError> {
        self.sum(|loss| evaluate(loss, &self.hyper, inputs))
    }

    /// The objective of each labelled row, `[N]`; its mean is the batch's.
    ///
    /// # Errors
    /// If a loss is none of labelled rows.
    pub fn unpaired<B: Backend>(&self, inputs: &RowInputs<B>) -> Result<Tensor<B>, LossError> {
        self.sum(|loss| dispatch::evaluate(loss, &self.hyper, inputs))
    }

    /// The weighted sum of the terms' values.
    fn sum<B: Backend>(&self, values_of: impl Fn(Loss) -> Result<Tensor<B>, LossError>) -> Result<Tensor<B>, LossError> {
        let mut sum: Option<Tensor<B>> = None;
        for &(loss, weight) in &self.terms {
            let values = values_of(loss)?;
            let values = if weight == 1.0 { values } else { values.scale(weight) };
            sum = Some(sum.map_or_else(|| values.clone(), |sum| sum.add(&values)));
        }
        Ok(sum.expect("there is a term"))
    }

    /// The objective of one pair where the policy is the reference, from theory; `None` if a loss is not pairwise.
    pub fn at_start(&self, pair: &Pair<f64>) -> Option<f64> {
        let term = |&(loss, weight): &(Loss, f64)| Some(weight * loss.at_start(&self.hyper, pair)?);
        self.terms.iter().map(term).sum()
    }

    /// The objective of one labelled row where the policy is the reference, from theory; `None` if a loss is none of labelled rows.
    pub fn at_start_of_row(&self, is_desirable: bool) -> Option<f64> {
        let term = |&(loss, weight): &(Loss, f64)| Some(weight * loss.at_start_of_row(&self.hyper, is_desirable)?);
        self.terms.iter().map(term).sum()
    }

    /// [`Objective::at_start`] if it is the same for every pair.
    pub fn start_value(&self) -> Option<f64> {
        let term = |&(loss, weight): &(Loss, f64)| Some(weight * loss.start_value(&self.hyper)?);
        self.terms.iter().map(term).sum()
    }
}

/// The name of the loss, or `0.8·dpo + 0.2·bco + nll`.
impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let term = |&(loss, weight): &(Loss, f64)| if weight == 1.0 { loss.name().to_owned() } else { format!("{weight}·{loss}") };
        f.pad(&self.terms.iter().map(term).collect::<Vec<_>>().join(" + "))
    }
}
