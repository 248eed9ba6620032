//! What the losses of a batch are checked and explained on.

use super::batch::BatchLoss;
use crate::pairwise::pair::{PairInputs, PairLoss};
use crate::pairwise::samples::{Domain, PAIRS};
use engine::explain::Example;
use engine::gradcheck::{Draw, Function, Input, Sample};
use engine::{Backend, Tensor};

/// Chosen and rejected completions whose log-probabilities differ by l_w − l_l, and whose log-ratios a and r, all have gaps of `gap` from
/// pair to pair, in a random order. A finite difference then changes no order.
pub(super) fn with_gaps(draw: &mut Draw) -> Domain {
    let n = draw.extent();
    let gap = 10f64.powf(draw.uniform(&[], 0.0, 3.0).data[0]);
    let mut ranks = || {
        let keys = draw.normal(&[n]).data;
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| keys[i].total_cmp(&keys[j]));
        order.into_iter().map(|rank| gap * (rank as f64 - 0.5 * (n as f64 - 1.0))).collect::<Vec<f64>>()
    };
    let (difference, a, r) = (ranks(), ranks(), ranks());
    let middle = -(0.25 * gap * n as f64 + 1.0);
    let chosen: Vec<f64> = difference.iter().map(|u| middle + 0.5 * u).collect();
    let rejected: Vec<f64> = difference.iter().map(|u| middle - 0.5 * u).collect();
    let reference = |policy: &[f64], ratios: &[f64]| policy.iter().zip(ratios).map(|(l, ratio)| l - ratio).collect();
    let (reference_chosen, reference_rejected) = (reference(&chosen, &a), reference(&rejected, &r));
    Domain { chosen, rejected, reference_chosen, reference_rejected, lengths: (vec![1; n], vec![1; n]) }.rounded()
}

/// A loss of a batch as a function of the policy's log-probabilities.
struct OfPolicy<L> {
    loss: L,
    domain: Domain,
    is_twin: bool,
}

impl<L: BatchLoss> Function for OfPolicy<L> {
    fn call<B: Backend>(&self, x: &[Tensor<B>]) -> Tensor<B> {
        let constant = |data: &[f64]| Tensor::constant(x[0].backend(), data, &[data.len()]);
        let reference = [constant(&self.domain.reference_chosen), constant(&self.domain.reference_rejected)];
        let inputs = PairInputs::new(&x[0], &x[1], &reference[0], &reference[1]).expect("a domain's vectors have one length");
        let pairs = inputs.pairs();
        let (loss, inputs) = (self.loss.pairwise(&pairs), inputs.arranged(&self.loss.arrange(&pairs)));
        if self.is_twin { loss.twin(&inputs) } else { loss.evaluate(&inputs) }
    }
}

/// A loss of a batch with its composition as twin.
pub(super) fn batch_sample<L: BatchLoss>(loss: L, domain: Domain) -> Sample {
    let inputs = [&domain.chosen, &domain.rejected].map(|x| Input::new(x.clone(), &[domain.len()]));
    let twin = OfPolicy { loss, domain: domain.clone(), is_twin: true };
    Sample::new(OfPolicy { loss, domain, is_twin: false }, inputs).with_twin(twin)
}

/// A loss of a batch worked out on the two pairs of the pairwise losses.
pub(super) fn batch_example<L: BatchLoss>(loss: L, settings: &str) -> Example {
    let [_, _, [w_1, w_2], [l_1, l_2]] = PAIRS;
    let given = format!("{settings}; reference: ln π_w = [{w_1}, {w_2}], ln π_l = [{l_1}, {l_2}]");
    let [chosen, rejected, reference_chosen, reference_rejected] = PAIRS.map(Vec::from);
    let domain = Domain { chosen, rejected, reference_chosen, reference_rejected, lengths: (vec![1, 1], vec![1, 1]) };
    Example::new(&format!("{}(l_w, l_l) of each pair of a batch", L::NAME), &["l_w", "l_l"], batch_sample(loss, domain)).given(given)
}
