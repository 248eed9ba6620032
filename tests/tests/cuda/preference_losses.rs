//! The losses where the logits are, with all that they make of the reference's.

use crate::{devices, in_bf16};
use engine::gradcheck::{Draw, Entry, Function, Sample, check_entry_on, check_on};
use engine::{Backend, Tensor, function};
use losses::exact::slpo_exact::slpo_exact;
use losses::exact::soft_cross_entropy::{kl_divergence, soft_cross_entropy};
use losses::tokenwise::slpo_literal::slpo_literal;
use losses::tokenwise::slpo_token::slpo_token;
use losses::{ExactTargets, Hyperparameters, Loss, Objective, PairRows, TokenInputs, TokenWeights, WeightRule, Weights};
use model::align::total;
use model::boundary::Sequence;
use model::data::PreferencePair;
use model::decoder::ForwardOptions;
use model::gradcheck::{decoder, llama, parameters};
use model::preference::{PairBatch, Scored};
use std::sync::Arc;

#[test]
fn every_loss_on_random_shapes() {
    for entry in losses::registry() {
        let seeds = |device| if in_bf16(device) { 0..2 } else { 0..6 };
        devices().iter().for_each(|device| check_entry_on(device, &entry, seeds(device), 5).assert());
    }
}

/// Three pairs with prompts and completions of different lengths, which part after one token, at once, and after one.
pub fn preference_pairs() -> PairBatch {
    let pair = |line, prompt: &[u32], chosen: &[u32], rejected: &[u32]| {
        let sequence = |completion: &[u32]| Sequence::new([prompt, completion].concat(), prompt.len());
        PreferencePair { line, chosen: sequence(chosen), rejected: sequence(rejected) }
    };
    PairBatch::new(&[
        pair(1, &[1, 2, 3], &[4, 5, 6, 7, 0], &[4, 8, 5, 0]),
        pair(2, &[3], &[9], &[10, 2, 0]),
        pair(3, &[5, 1], &[7, 7, 0], &[7, 0]),
    ])
}

/// The default settings, and others that change what is made from the reference and the lengths; every loss is defined under both.
pub fn hyperparameters() -> [Hyperparameters; 2] {
    let shift = Hyperparameters { alpha: 0.75, weights: WeightRule::Shift, ..Hyperparameters::default() };
    [Hyperparameters::default(), shift]
}

/// The losses of pairs, one for each set of things that they read: the others differ by formulas, which are checked alone.
pub fn losses_by_inputs() -> impl Iterator<Item = Loss> {
    Loss::one_of_each_input().into_iter().filter(|loss| !loss.is_unpaired())
}

/// The mean loss of an alignment step from the parameters of the policy and of the reference.
fn aligned<B: Backend>(parameters: &[Tensor<B>], objective: &Objective, pairs: &PairBatch) -> Tensor<B> {
    let (policy, reference) = parameters.split_at(parameters.len() / 2);
    let (policy, reference) = (decoder(policy, &llama()), decoder(reference, &llama()));
    let (policy, reference) = (Scored::policy(pairs, &policy, &ForwardOptions::default()), Scored::reference(pairs, &reference));
    let (sum, count) = total(objective, &policy, &reference, None).unwrap();
    sum.scale(1.0 / count)
}

/// What cancels inside is of order 1, as in every decoder's log-probabilities.
#[test]
fn losses_from_the_weights_of_two_decoders() {
    for (loss, hyper) in losses_by_inputs().flat_map(|loss| hyperparameters().map(|hyper| (loss, hyper))) {
        let (objective, pairs) = (Objective::new(loss, hyper).unwrap(), preference_pairs());
        let inputs: Vec<_> = (0..2).flat_map(|seed| parameters(&mut Draw::new(seed, 4), &llama())).collect();
        let total = function!(|x; objective: Objective, pairs: PairBatch| aligned(x, objective, pairs));
        let sample = Sample::new(total, inputs).with_inner_magnitude(1.0);
        devices().iter().for_each(|device| check_on(device, loss.name(), &sample).assert());
    }
}

/// The losses whose masses and targets are made from the reference's logits, as functions of both models' logits [N, 5]: far ones among
/// them, whose size is that of what cancels inside. At the third and the last position the tokens of the two completions are the same.
fn losses_of_two_models() -> Vec<Entry> {
    fn sample(draw: &mut Draw, rows: usize, f: impl Function) -> Sample {
        let logits = [draw.logits(&[rows, 5]), draw.logits(&[rows, 5])];
        let largest = logits.iter().flat_map(|x| &x.data).fold(1.0f64, |m, z| m.max(z.abs()));
        Sample::new(f, logits).with_inner_magnitude(largest)
    }
    fn tokens() -> [Arc<[u32]>; 2] {
        [[0, 4, 2, 1, 3, 0].into(), [1, 0, 2, 4, 2, 0].into()]
    }
    let weights = |draw: &mut Draw| if draw.coin() { Weights::Eq7 { alpha: 0.75 } } else { Weights::Shift { alpha: 0.75 } };
    let token = move |draw: &mut Draw| {
        let (weights, keep) = (weights(draw), (0..6).map(|i| i == 0 || draw.coin()).collect::<Vec<_>>());
        let loss = function!(|x; weights: Weights, keep: Vec<bool>| {
            let [w, l] = tokens();
            let masses = TokenWeights::from_reference(*weights, &x[1], &w, &l).unwrap();
            slpo_token(&TokenInputs::new(&x[0], &w, &l, masses, Some(keep)).unwrap())
        });
        sample(draw, 6, loss)
    };
    let literal = |draw: &mut Draw| {
        let loss = function!(|x| {
            let [w, l] = tokens();
            slpo_literal(&TokenInputs::new(&x[0], &w, &l, TokenWeights::literal(&x[1], &w, &l).unwrap(), None).unwrap())
        });
        sample(draw, 6, loss)
    };
    let exact = |draw: &mut Draw| {
        let moved = if draw.coin() { 1.0 } else { 0.4 };
        let loss = function!(|x; moved: f64| {
            let short = PairRows { chosen_start: 0, chosen: vec![1, 0, 4], rejected_start: 4, rejected: vec![1, 2] };
            let long = PairRows { chosen_start: 15, chosen: vec![2, 3, 1, 1, 0], rejected_start: 6, rejected: vec![2, 0, 1, 4, 2, 3, 3, 0] };
            slpo_exact(&x[0], &ExactTargets::from_reference(&x[1], &[short, long], *moved).unwrap()).unwrap()
        });
        sample(draw, 20, loss)
    };
    vec![Entry::new("slpo-token", token), Entry::new("slpo-literal", literal), Entry::new("slpo-exact", exact)]
}

/// What the mask drops may be anything, and a logit of −∞ weighs nothing where its token shall have no mass.
#[test]
fn masked_rows_and_tokens_without_mass_do_no_harm_on_the_device() {
    let (nan, infinite) = (f64::NAN, f64::NEG_INFINITY);
    for device in devices() {
        let logits = Tensor::parameter(device, &[0.1, infinite, 0.3, nan, 0.0, 0.0], &[2, 3]);
        let masses = |data: &[f64]| Tensor::constant(device, data, &[2]);
        let weights = TokenWeights::given(&masses(&[0.5, 0.5]), None).unwrap();
        let inputs = TokenInputs::new(&logits, &[0, 0].into(), &[1, 1].into(), weights, Some(&[true, false])).unwrap();
        let loss = inputs.mean(&slpo_token(&inputs));
        let expected = -0.5 * (1.0 / (1.0 + 0.2f64.exp())).ln() - 0.5 * (1.0 / (1.0 + (-0.2f64).exp())).ln();
        assert!((loss.item() - expected).abs() < 1e-6, "{} for {expected}", loss.item());
        let gradient = loss.backward().of(&logits).to_f64();
        assert!(gradient[..3].iter().all(|g| g.is_finite()) && gradient[3..] == [0.0; 3], "{gradient:?}");
        let (row, target) = ([0.1, infinite, 0.3], [0.5f64.ln(), infinite, 0.5f64.ln()]);
        let [row, target] = [row, target].map(|data| Tensor::parameter(device, &data, &[1, 3]));
        for (form, expected) in [(soft_cross_entropy(&row, &target), expected), (kl_divergence(&row, &target), expected - 2f64.ln())] {
            let loss = form.unwrap().sum_all();
            assert!((loss.item() - expected).abs() < 1e-6, "{} for {expected}", loss.item());
            assert!(loss.backward().of(&row).to_f64().iter().all(|g| g.is_finite()));
        }
    }
}

#[test]
fn masses_and_targets_made_from_the_reference_on_the_device() {
    for entry in losses_of_two_models() {
        devices().iter().for_each(|device| check_entry_on(device, &entry, 0..12, 5).assert());
    }
}
