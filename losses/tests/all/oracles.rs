//! The pairwise losses against the audit's table of oracle values, and what their users know of them.

use engine::{Cpu, Tensor};
use losses::{Hyperparameters, Loss, LossError, PairInputs, WeightRule, pairwise, pairwise_twin};
use std::f64::consts::LN_2;

type World = Cpu<f64>;

fn vector(data: &[f64]) -> Tensor<World> {
    Tensor::parameter(&World::new(), data, &[data.len()])
}

/// Pairs whose log-ratios are (a, r), under a reference of (−12, −13), of 4 and 6 tokens.
fn pairs(a: &[f64], r: &[f64]) -> PairInputs<World> {
    let shifted = |x: &[f64], by: f64| vector(&x.iter().map(|x| x + by).collect::<Vec<_>>());
    let n = a.len();
    PairInputs::new(&shifted(a, -12.0), &shifted(r, -13.0), &vector(&vec![-12.0; n]), &vector(&vec![-13.0; n]))
        .and_then(|inputs| inputs.with_lengths(vec![4; n], vec![6; n]))
        .expect("four vectors of one length")
}

/// The same pairs with halves of their log-probabilities as tails, with weights and with divergences.
fn with_everything(inputs: PairInputs<World>) -> PairInputs<World> {
    let [(w, l), (reference_w, reference_l)] = [inputs.policy(), inputs.reference()].map(|(w, l)| (w.scale(0.5), l.scale(0.5)));
    let weights = vector(&vec![0.75; inputs.len()]);
    inputs
        .with_tails(&w, &l)
        .and_then(|inputs| inputs.with_reference_tails(&reference_w, &reference_l)?.with_weights(&weights))
        .and_then(|inputs| inputs.with_divergences(&weights, &weights))
        .expect("vectors of one length")
}

fn value_and_gradient(loss: Loss, hyper: &Hyperparameters, inputs: &PairInputs<World>) -> (f64, f64, f64) {
    let y = pairwise(loss, hyper, inputs).expect("a pairwise loss").mean_all();
    let value = y.item();
    let gradients = y.backward();
    (value, gradients.of(inputs.policy().0).item(), gradients.of(inputs.policy().1).item())
}

#[test]
fn the_table_of_oracles_holds() {
    let sum = Hyperparameters::default();
    let table = [
        (Loss::Dpo, sum, LN_2, (-0.05, 0.05), 0.620_957_0),
        (Loss::Cdpo, sum, LN_2, (-0.04, 0.04), 0.635_957_0),
        (Loss::Robust, sum, LN_2, (-0.0625, 0.0625), 0.602_207_0),
        (Loss::Hinge, sum, 1.0, (-0.1, 0.1), 0.85),
        (Loss::Ipo, sum, 25.0, (-2.5, 1.666_666_7), 21.777_778),
        (Loss::IpoSum, sum, 25.0, (-10.0, 10.0), 12.25),
    ];
    for (loss, hyper, start, (d_a, d_r), moved) in table {
        let (value, chosen, rejected) = value_and_gradient(loss, &hyper, &pairs(&[0.0], &[0.0]));
        for (found, expected) in [(value, start), (chosen, d_a), (rejected, d_r)] {
            assert!((found - expected).abs() < 1e-7, "{loss} at the start: {found} for {expected}");
        }
        assert!((loss.start_value(&hyper).expect("known") - value).abs() < 1e-12, "{loss}: the start value");
        for form in [pairwise, pairwise_twin] {
            let value = form(loss, &hyper, &pairs(&[1.0], &[-0.5])).expect("a pairwise loss").item();
            assert!((value - moved).abs() < 1e-6, "{loss} at (1, −.5): {value} for {moved}");
        }
    }
}

#[test]
fn the_overflow_probe_stays_finite() {
    let (policy, reference) = ((vector(&[410.0, 0.1]), vector(&[810.5, 0.2])), (vector(&[-610.0, -0.1]), vector(&[110.6, 0.5])));
    let inputs = PairInputs::new(&policy.0, &policy.1, &reference.0, &reference.1).expect("four vectors of one length");
    let inputs = with_everything(inputs.with_lengths(vec![3, 4], vec![5, 2]).expect("a length for each"));
    for loss in Loss::ALL.into_iter().filter(|loss| loss.is_pairwise()) {
        let y = pairwise(loss, &Hyperparameters::default(), &inputs).expect("a pairwise loss").mean_all();
        assert!(y.item().is_finite(), "{loss}: {}", y.item());
        let gradients = y.backward();
        for side in [&policy.0, &policy.1] {
            assert!(gradients.of(side).to_f64().iter().all(|x| x.is_finite()), "{loss}: {:?}", gradients.of(side));
        }
    }
}

#[test]
fn the_example_has_margins_0_1_and_2() {
    let inputs = PairInputs::new(
        &vector(&[-0.5, -10.0, -1.0]),
        &vector(&[-0.1, -30.0, -21.0]),
        &vector(&[-0.5, -10.1, -0.1]),
        &vector(&[-0.1, -20.1, -0.1]),
    );
    let margins = inputs.expect("four vectors of one length").margins(0.1).to_f64();
    for (found, expected) in margins.iter().zip([0.0, 1.0, 2.0]) {
        assert!((found - expected).abs() < 1e-12, "{margins:?}");
    }
}

#[test]
fn conservative_dpo_rests_where_the_sigmoid_is_one_less_epsilon() {
    let hyper = Hyperparameters::default();
    let h = ((1.0 - hyper.label_smoothing) / hyper.label_smoothing).ln() / hyper.beta;
    let (_, chosen, rejected) = value_and_gradient(Loss::Cdpo, &hyper, &pairs(&[h], &[0.0]));
    assert!(chosen.abs() < 1e-15 && rejected.abs() < 1e-15, "{chosen} {rejected}");
}

#[test]
fn no_gradient_flows_into_the_reference() {
    let (chosen, rejected) = (vector(&[-1.0]), vector(&[-2.0]));
    let inputs = PairInputs::new(&vector(&[-1.5]), &vector(&[-2.5]), &chosen, &rejected).expect("four vectors of one length");
    let inputs = with_everything(inputs.with_lengths(vec![2], vec![3]).expect("a length for each"));
    for loss in Loss::ALL.into_iter().filter(|loss| loss.is_pairwise()) {
        for form in [pairwise, pairwise_twin] {
            let gradients = form(loss, &Hyperparameters::default(), &inputs).expect("a pairwise loss").mean_all().backward();
            assert!(gradients.get(&chosen).is_none() && gradients.get(&rejected).is_none(), "{loss}");
        }
    }
}

#[test]
fn bad_input_is_named() {
    let error = "slop".parse::<Loss>().expect_err("no such loss").to_string();
    assert!(error.contains("`slop`") && Loss::ALL.iter().all(|loss| error.contains(loss.name())), "{error}");
    for loss in Loss::ALL {
        assert_eq!(loss.to_string().parse(), Ok(loss));
    }
    let inputs = pairs(&[0.0], &[0.0]);
    let message = |loss, hyper: &Hyperparameters| pairwise(loss, hyper, &inputs).expect_err("refused").to_string();
    let good = Hyperparameters::default();
    assert!(message(Loss::Dpo, &Hyperparameters { beta: 0.0, ..good }).contains("beta is 0"));
    assert!(message(Loss::Dpo, &Hyperparameters { beta: f64::NAN, ..good }).contains("beta is NaN"));
    assert!(message(Loss::Robust, &Hyperparameters { label_smoothing: 0.5, ..good }).contains("label-smoothing is 0.5"));
    assert!(message(Loss::Slpo, &Hyperparameters { alpha: 0.5, ..good }).contains("alpha is 0.5"));
    assert!(pairwise(Loss::Slpo, &Hyperparameters { alpha: 0.5, weights: WeightRule::Shift, ..good }, &inputs).is_ok());
    assert!(message(Loss::SlpoToken, &good).contains("slpo-token"));
    let bare = PairInputs::new(&vector(&[-1.0]), &vector(&[-1.0]), &vector(&[-1.0]), &vector(&[-1.0])).expect("four vectors");
    assert_eq!(pairwise(Loss::Ipo, &good, &bare).expect_err("refused"), LossError::MissingLengths { loss: "ipo" });
    let short = PairInputs::new(&vector(&[-1.0, -2.0]), &vector(&[-1.0]), &vector(&[-1.0, -2.0]), &vector(&[-1.0, -2.0]));
    assert!(short.expect_err("refused").to_string().contains("policy_rejected_logps has shape [1]"));
    let nan = PairInputs::new(&vector(&[-1.0]), &vector(&[f64::NAN]), &vector(&[-1.0]), &vector(&[-1.0])).expect("four vectors");
    assert!(nan.check_finite().expect_err("refused").to_string().contains("policy_rejected_logps[0] is NaN"));
}
