//! What a pairwise loss is checked and explained on: log-probabilities down to −1e4, margins up to ±1e4, and two pairs worked out.

use super::pair::{Pair, PairInputs, PairLoss};
use crate::hyperparameters::Reduction;
use crate::preference_loss::Need;
use crate::weights::Weights;
use engine::explain::Example;
use engine::gradcheck::{Draw, Function, Input, Sample};
use engine::{Backend, Tensor};

/// What the file of every pairwise loss uses.
pub(crate) mod prelude {
    pub(crate) use super::{
        Domain, PAIRS, any_reduction, any_weights, log_probabilities, near_reference, pair_example, pair_sample, small_probabilities,
    };
    pub(crate) use crate::hyperparameters::{Hyperparameters, Reduction, Setting};
    pub(crate) use crate::pairwise::dialect::{Dialect, Kink, other_reduction};
    pub(crate) use crate::pairwise::pair::{Pair, PairInputs, PairLoss};
    pub(crate) use crate::preference_loss::{Need, PreferenceLoss};
    pub(crate) use engine::explain::Example;
    pub(crate) use engine::gradcheck::{Draw, Sample};
    pub(crate) use engine::{Backend, Scalar, Tensor};
}

/// Log-probabilities of a batch of pairs. They are numbers of f32 too, so that both precisions see the same inputs.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    pub chosen: Vec<f64>,
    pub rejected: Vec<f64>,
    pub reference_chosen: Vec<f64>,
    pub reference_rejected: Vec<f64>,
    pub lengths: (Vec<usize>, Vec<usize>),
}

impl Domain {
    /// Two pairs of the losses that are worked out.
    pub fn of_example([chosen, rejected, reference_chosen, reference_rejected]: [[f64; 2]; 4]) -> Self {
        let [chosen, rejected, reference_chosen, reference_rejected] =
            [chosen, rejected, reference_chosen, reference_rejected].map(Vec::from);
        Self { chosen, rejected, reference_chosen, reference_rejected, lengths: (LENGTHS[0].to_vec(), LENGTHS[1].to_vec()) }
    }
    pub fn len(&self) -> usize {
        self.chosen.len()
    }
    pub fn pairs(&self) -> Vec<Pair<f64>> {
        let mean = self.lengths.0.iter().sum::<usize>() as f64 / self.len() as f64;
        let pair = |i: usize| {
            let (n_w, n_l) = (self.lengths.0[i] as f64, self.lengths.1[i] as f64);
            Pair::from([self.chosen[i], self.rejected[i], self.reference_chosen[i], self.reference_rejected[i], n_w, n_l, mean])
        };
        (0..self.len()).map(pair).collect()
    }
    pub fn rounded(mut self) -> Self {
        for x in [&mut self.chosen, &mut self.rejected, &mut self.reference_chosen, &mut self.reference_rejected] {
            x.iter_mut().for_each(|x| *x = *x as f32 as f64);
        }
        self
    }
}

/// The policy from −1e-3 to −1e4; the reference at 0 to 2 times that, so that its rounding is no larger than the policy's.
pub(crate) fn log_probabilities(draw: &mut Draw) -> Domain {
    let n = draw.extent();
    let (chosen, rejected) = (draw.log_probabilities(&[n]).data, draw.log_probabilities(&[n]).data);
    let mut times = |x: &[f64]| x.iter().zip(draw.uniform(&[n], 0.0, 2.0).data).map(|(x, c)| x * c).collect();
    let (reference_chosen, reference_rejected) = (times(&chosen), times(&rejected));
    let lengths = ((0..n).map(|_| draw.extent()).collect(), (0..n).map(|_| draw.extent()).collect());
    Domain { chosen, rejected, reference_chosen, reference_rejected, lengths }.rounded()
}

/// Both models independent of each other, with probabilities below e^{−3/2}: chosen and rejected together stay away from 1, also where a
/// finite difference steps.
pub(crate) fn small_probabilities(draw: &mut Draw) -> Domain {
    let mut domain = log_probabilities(draw);
    for x in [&mut domain.chosen, &mut domain.rejected, &mut domain.reference_chosen, &mut domain.reference_rejected] {
        *x = draw.log_probabilities(&[x.len()]).data.into_iter().map(|x| x - 1.5).collect();
    }
    domain.rounded()
}

/// The policy a few nats from a reference that may be anywhere down to −1e4.
pub(crate) fn near_reference(draw: &mut Draw) -> Domain {
    let mut domain = small_probabilities(draw);
    let steps = draw.normal(&[2, domain.len()]).data;
    for i in 0..domain.len() {
        domain.reference_rejected[i] = domain.reference_chosen[i] + 3.0 * steps[i];
        domain.chosen[i] = domain.reference_chosen[i] + steps[i];
        domain.rejected[i] = domain.reference_rejected[i] + steps[domain.len() + i];
    }
    domain.rounded()
}

/// One of SLPO's rules with α between 0.5 and 1, often 1.
pub(crate) fn any_weights(draw: &mut Draw) -> Weights {
    let alpha = if draw.coin() { 1.0 } else { draw.uniform(&[], 0.5, 1.0).data[0] };
    if draw.coin() { Weights::Eq7 { alpha } } else { Weights::Shift { alpha } }
}

/// One of the two ways in which negative log-likelihoods are averaged.
pub(crate) fn any_reduction(draw: &mut Draw) -> Reduction {
    if draw.coin() { Reduction::Pair } else { Reduction::Token }
}

/// A pairwise loss, as it is trained with or as its twin, as a function of the policy's log-probabilities.
struct OfPolicy<L> {
    loss: L,
    domain: Domain,
    is_twin: bool,
}

impl<L: PairLoss> Function for OfPolicy<L> {
    fn call<B: Backend>(&self, x: &[Tensor<B>]) -> Tensor<B> {
        let constant = |data: &[f64]| Tensor::constant(x[0].backend(), data, &[data.len()]);
        let reference = [constant(&self.domain.reference_chosen), constant(&self.domain.reference_rejected)];
        let (chosen, rejected) = self.domain.lengths.clone();
        let inputs = PairInputs::new(&x[0], &x[1], &reference[0], &reference[1]).and_then(|inputs| inputs.with_lengths(chosen, rejected));
        let inputs = inputs.expect("a domain's vectors have one length and no completion is empty");
        if self.is_twin { self.loss.twin(&inputs) } else { self.loss.evaluate(&inputs) }
    }
}

/// A pairwise loss with its composition as twin.
pub(crate) fn pair_sample<L: PairLoss>(loss: L, domain: Domain) -> Sample {
    let inputs = [&domain.chosen, &domain.rejected].map(|x| Input::new(x.clone(), &[domain.len()]));
    let twin = OfPolicy { loss, domain: domain.clone(), is_twin: true };
    Sample::new(OfPolicy { loss, domain, is_twin: false }, inputs).with_twin(twin)
}

/// Two pairs [l_w, l_l, ln π_w, ln π_l]: one that the model has the right way round by more than the reference, and one the wrong way
/// round.
pub(crate) const PAIRS: [[f64; 2]; 4] = [[-11.0, -7.0], [-13.5, -6.0], [-12.0, -7.5], [-13.0, -8.0]];

/// The numbers of tokens of the completions of [`PAIRS`].
const LENGTHS: [[usize; 2]; 2] = [[4, 5], [6, 3]];

/// A pairwise loss worked out on two pairs [l_w, l_l, ln π_w, ln π_l]. `settings` says which loss it is. The reference and the lengths are
/// named after it if the loss reads them.
pub(crate) fn pair_example<L: PairLoss>(loss: L, pairs: [[f64; 2]; 4], settings: &str) -> Example {
    let [_, _, [w_1, w_2], [l_1, l_2]] = pairs;
    let reference = format!("reference: ln π_w = [{w_1}, {w_2}], ln π_l = [{l_1}, {l_2}]");
    let lengths = format!("tokens: n_w = {:?}, n_l = {:?}", LENGTHS[0], LENGTHS[1]);
    let reads = |need: Need| loss.needs().contains(&need);
    let named = [(true, settings.to_owned()), (reads(Need::Reference), reference), (reads(Need::Lengths), lengths)];
    let given =
        named.into_iter().filter(|(is_read, text)| *is_read && !text.is_empty()).map(|(_, text)| text).collect::<Vec<_>>().join("; ");
    let sample = pair_sample(loss, Domain::of_example(pairs));
    Example::new(&format!("{}(l_w, l_l) of each pair", L::NAME), &["l_w", "l_l"], sample).given(given)
}
