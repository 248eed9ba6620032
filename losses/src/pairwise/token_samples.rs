//! What the losses that weight tokens or pairs are checked and explained on: a domain with tails and weights.

use super::pair::{PairInputs, PairLoss};
use super::samples::Domain;
use engine::explain::Example;
use engine::gradcheck::{Draw, Function, Input, Sample};
use engine::{Backend, Tensor};

/// The tails of the four log-probabilities of each pair: of the policy's chosen and rejected completions, then of the reference's.
#[derive(Clone, Debug)]
pub(super) struct Tails(pub [Vec<f64>; 4]);

impl Tails {
    /// Any part of each log-probability, rounded to f32.
    pub fn any(draw: &mut Draw, domain: &Domain) -> Self {
        let wholes = [&domain.chosen, &domain.rejected, &domain.reference_chosen, &domain.reference_rejected];
        Self(wholes.map(|whole| {
            let shares = draw.uniform(&[whole.len()], 0.0, 1.0).data;
            whole.iter().zip(shares).map(|(whole, share)| f64::from((whole * share) as f32)).collect()
        }))
    }
}

/// A weight between 0.25 and 2 for each pair, rounded to f32.
pub(super) fn weights(draw: &mut Draw, domain: &Domain) -> Vec<f64> {
    draw.uniform(&[domain.len()], 0.25, 2.0).data.into_iter().map(|weight| f64::from(weight as f32)).collect()
}

/// A loss as a function of the policy's log-probabilities, and of their tails if there are any. Weights are constants.
#[derive(Clone)]
pub(super) struct OfTokens<L> {
    loss: L,
    domain: Domain,
    tails: Option<Tails>,
    weights: Option<Vec<f64>>,
    is_twin: bool,
}

/// A loss on a domain, without tails and weights.
pub(super) fn of_tokens<L: PairLoss>(loss: L, domain: Domain) -> OfTokens<L> {
    OfTokens { loss, domain, tails: None, weights: None, is_twin: false }
}

impl<L: PairLoss> OfTokens<L> {
    pub fn with_tails(self, tails: Tails) -> Self {
        Self { tails: Some(tails), ..self }
    }
    pub fn with_weights(self, weights: Vec<f64>) -> Self {
        Self { weights: Some(weights), ..self }
    }

    /// The loss with its composition as twin.
    pub fn sample(self) -> Sample {
        let tails = self.tails.iter().flat_map(|Tails(tails)| &tails[..2]);
        let inputs: Vec<Input> =
            [&self.domain.chosen, &self.domain.rejected].into_iter().chain(tails).map(|x| Input::new(x.clone(), &[x.len()])).collect();
        let twin = Self { is_twin: true, ..self.clone() };
        Sample::new(self, inputs).with_twin(twin)
    }

    /// The loss worked out, with everything that it is given in words.
    pub fn example(self, settings: &str) -> Example {
        let Domain { reference_chosen, reference_rejected, .. } = &self.domain;
        let reference = format!("reference: ln π_w = {reference_chosen:?}, ln π_l = {reference_rejected:?}");
        let tails = self.tails.iter().map(|Tails([_, _, w, l])| format!("tails of the reference: {w:?}, {l:?}"));
        let weights = self.weights.iter().map(|weights| format!("weights: W = {weights:?}"));
        let given = std::iter::once(settings.to_owned()).chain([reference]).chain(tails).chain(weights).collect::<Vec<_>>().join("; ");
        let names: &[&str] = if self.tails.is_some() { &["l_w", "l_l", "t_w", "t_l"] } else { &["l_w", "l_l"] };
        Example::new(&format!("{}({}) of each pair", L::NAME, names.join(", ")), names, self.sample()).given(given)
    }
}

impl<L: PairLoss> Function for OfTokens<L> {
    fn call<B: Backend>(&self, x: &[Tensor<B>]) -> Tensor<B> {
        let constant = |data: &[f64]| Tensor::constant(x[0].backend(), data, &[data.len()]);
        let reference = [&self.domain.reference_chosen, &self.domain.reference_rejected].map(|data| constant(data));
        let mut inputs = PairInputs::new(&x[0], &x[1], &reference[0], &reference[1]);
        if let Some(Tails([_, _, chosen, rejected])) = &self.tails {
            inputs =
                inputs.and_then(|inputs| inputs.with_tails(&x[2], &x[3])?.with_reference_tails(&constant(chosen), &constant(rejected)));
        }
        if let Some(weights) = &self.weights {
            inputs = inputs.and_then(|inputs| inputs.with_weights(&constant(weights)));
        }
        let inputs = inputs.expect("a domain has one number for each pair");
        if self.is_twin { self.loss.twin(&inputs) } else { self.loss.evaluate(&inputs) }
    }
}
