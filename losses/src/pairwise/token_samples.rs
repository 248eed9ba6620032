//! What the losses that read more than sums are checked and explained on: a domain with tails, weights or divergences.

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

/// The divergences of the policy from the reference along the chosen and the rejected completion of each pair.
#[derive(Clone, Debug)]
pub(super) struct Divergences {
    pub values: [Vec<f64>; 2],
    /// True if those of the chosen completions are constants.
    pub is_chosen_constant: bool,
}

impl Divergences {
    /// From 0 to 8 nats, rounded to f32.
    pub fn any(draw: &mut Draw, domain: &Domain, is_chosen_constant: bool) -> Self {
        let mut side = || draw.uniform(&[domain.len()], 0.0, 8.0).data.into_iter().map(|x| f64::from(x as f32)).collect();
        Self { values: [side(), side()], is_chosen_constant }
    }

    fn variables(&self) -> &[Vec<f64>] {
        &self.values[usize::from(self.is_chosen_constant)..]
    }
}

/// A loss as a function of the policy's log-probabilities, and of their tails and divergences if there are any. Weights are constants.
#[derive(Clone)]
pub(super) struct OfTokens<L> {
    loss: L,
    domain: Domain,
    tails: Option<Tails>,
    weights: Option<Vec<f64>>,
    divergences: Option<Divergences>,
    is_twin: bool,
}

/// A loss on a domain, without tails, weights and divergences.
pub(super) fn of_tokens<L: PairLoss>(loss: L, domain: Domain) -> OfTokens<L> {
    OfTokens { loss, domain, tails: None, weights: None, divergences: None, is_twin: false }
}

impl<L: PairLoss> OfTokens<L> {
    pub fn with_tails(self, tails: Tails) -> Self {
        Self { tails: Some(tails), ..self }
    }
    pub fn with_weights(self, weights: Vec<f64>) -> Self {
        Self { weights: Some(weights), ..self }
    }

    pub fn with_divergences(self, divergences: Divergences) -> Self {
        Self { divergences: Some(divergences), ..self }
    }

    /// The loss with its composition as twin.
    pub fn sample(self) -> Sample {
        let tails = self.tails.iter().flat_map(|Tails(tails)| &tails[..2]);
        let divergences = self.divergences.iter().flat_map(Divergences::variables);
        let variables = [&self.domain.chosen, &self.domain.rejected].into_iter().chain(tails).chain(divergences);
        let inputs: Vec<Input> = variables.map(|x| Input::new(x.clone(), &[x.len()])).collect();
        let twin = Self { is_twin: true, ..self.clone() };
        Sample::new(self, inputs).with_twin(twin)
    }

    /// The loss worked out, with everything that it is given in words.
    pub fn example(self, settings: &str) -> Example {
        let Domain { reference_chosen, reference_rejected, .. } = &self.domain;
        let reference = format!("reference: ln π_w = {reference_chosen:?}, ln π_l = {reference_rejected:?}");
        let tails = self.tails.iter().map(|Tails([_, _, w, l])| format!("tails of the reference: {w:?}, {l:?}"));
        let weights = self.weights.iter().map(|weights| format!("weights: W = {weights:?}"));
        let constants = self.divergences.iter().filter(|divergences| divergences.is_chosen_constant);
        let constants = constants.map(|divergences| format!("K_w = {:?}", divergences.values[0]));
        let given = std::iter::once(settings.to_owned()).chain([reference]).chain(tails).chain(weights).chain(constants);
        let given = given.collect::<Vec<_>>().join("; ");
        let more: &[&str] = match (&self.tails, &self.divergences) {
            (Some(_), _) => &["t_w", "t_l"],
            (_, Some(Divergences { is_chosen_constant: true, .. })) => &["K_l"],
            (_, Some(_)) => &["K_w", "K_l"],
            (None, None) => &[],
        };
        let names = [&["l_w", "l_l"], more].concat();
        Example::new(&format!("{}({}) of each pair", L::NAME, names.join(", ")), &names, self.sample()).given(given)
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
        if let Some(Divergences { values: [chosen, _], is_chosen_constant }) = &self.divergences {
            let chosen = if *is_chosen_constant { constant(chosen) } else { x[2].clone() };
            inputs = inputs.and_then(|inputs| inputs.with_divergences(&chosen, &x[x.len() - 1]));
        }
        let inputs = inputs.expect("a domain has one number for each pair");
        if self.is_twin { self.loss.twin(&inputs) } else { self.loss.evaluate(&inputs) }
    }
}
