//! Losses of a batch: their oracle values, and what follows from seeing the pairs together.

use engine::{Cpu, Generator, Tensor};
use losses::{Hyperparameters, Loss, Objective, PairInputs, Running, pairwise, pairwise_twin};

type World = Cpu<f64>;

fn vector(values: &[f64]) -> Tensor<World> {
    Tensor::parameter(&World::new(), values, &[values.len()])
}

/// The log-probabilities of three pairs, by policy and by reference.
fn inputs() -> PairInputs<World> {
    let [w, l, reference_w, reference_l] =
        [[-5.0, -7.0, -6.0], [-6.0, -6.5, -9.0], [-6.0, -7.0, -8.0], [-5.5, -7.0, -10.0]].map(|x| vector(&x));
    PairInputs::new(&w, &l, &reference_w, &reference_l).expect("four vectors of one length")
}

/// From an independent program in numpy.
#[test]
fn the_oracles_of_the_batch_hold() {
    let smooth = |label_smoothing| Hyperparameters { label_smoothing, ..Hyperparameters::default() };
    let of_margin = Hyperparameters { running_margin: 0.5, filter_share: 0.0, ..Hyperparameters::default() };
    let cases = [
        (Loss::Aot, smooth(0.0), 0.6606468335690291, [-0.015834027084035335, -0.016666666666666666, -0.015834027084035335], None),
        (Loss::Aot, smooth(0.1), 0.6673135002356956, [-0.012500693750702, -0.013333333333333336, -0.012500693750702], None),
        (
            Loss::AotUnpaired,
            smooth(0.0),
            0.6604386520333811,
            [-0.016250086783859658, -0.016250086783859658, -0.015834027084035335],
            Some([0.016250086783859658, 0.016250086783859658, 0.015834027084035335]),
        ),
        (Loss::BetaDpo, of_margin, 0.6582435428882375, [-0.016824255501158306, -0.018837372946419687, -0.017326015507364897], None),
    ];
    for (loss, hyper, value, chosen, rejected) in cases {
        let inputs = inputs();
        for form in [pairwise, pairwise_twin] {
            let mean = form(loss, &hyper, &inputs).expect("a loss of sequences").mean_all();
            assert!((mean.item() - value).abs() < 1e-12, "{loss}: {} for {value}", mean.item());
            let gradients = mean.backward();
            let rejected = rejected.unwrap_or(chosen.map(|slope| -slope));
            for (side, expected) in [(inputs.policy().0, chosen), (inputs.policy().1, rejected)] {
                for (found, expected) in gradients.of(side).to_f64().into_iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-14, "{loss}: {found} for {expected}");
                }
            }
        }
    }
}

#[test]
fn a_batch_in_another_order_has_the_same_loss() {
    for loss in [Loss::Aot, Loss::AotUnpaired, Loss::BetaDpo] {
        let mean = |order: [usize; 3]| {
            let inputs = inputs();
            let sides = [inputs.policy().0, inputs.policy().1, inputs.reference().0, inputs.reference().1].map(Tensor::to_f64);
            let [w, l, reference_w, reference_l] = sides.map(|side| vector(&order.map(|i| side[i])));
            let inputs = PairInputs::new(&w, &l, &reference_w, &reference_l).unwrap();
            pairwise(loss, &loss.defaults(), &inputs).unwrap().mean_all().item()
        };
        assert!((mean([0, 1, 2]) - mean([2, 0, 1])).abs() < 1e-15, "{loss}");
    }
}

/// 200 batches of ten pairs, nine with margins near 0 and one with a margin of 30.
#[test]
fn a_filter_leaves_out_a_share_of_the_pairs_and_unusual_ones_first() {
    let mut generator = Generator::new(7);
    let hyper = Hyperparameters { filter_share: 0.25, ..Loss::BetaDpo.defaults() };
    let mut left_out = [0; 10];
    for _ in 0..200 {
        let margins: [f64; 10] = std::array::from_fn(|i| if i == 3 { 30.0 } else { generator.normal() });
        let zeros = vector(&[0.0; 10]);
        let inputs = PairInputs::new(&vector(&margins), &zeros, &zeros, &zeros).unwrap();
        let values = pairwise(Loss::BetaDpo, &hyper, &inputs).unwrap().to_f64();
        assert_eq!(values, pairwise_twin(Loss::BetaDpo, &hyper, &inputs).unwrap().to_f64(), "the draw follows from the pairs");
        let whole = pairwise(Loss::BetaDpo, &Hyperparameters { filter_share: 0.0, ..hyper }, &inputs).unwrap().to_f64();
        assert_eq!(values.iter().filter(|&&value| value != 0.0).count(), 8, "⌈0.75 · 10⌉ pairs are kept");
        for (i, (value, whole)) in values.into_iter().zip(whole).enumerate() {
            left_out[i] += usize::from(value == 0.0);
            assert!(value == 0.0 || (value - 1.25 * whole).abs() < 1e-15);
        }
    }
    // The unusual pair lies √10 widths from M, so its chance beside another is e^{−5}. An ordinary pair is left out once in nine times.
    assert!(left_out[3] > 190, "{left_out:?}");
    assert!(left_out.iter().enumerate().all(|(i, &count)| i == 3 || (5..50).contains(&count)), "{left_out:?}");
}

#[test]
fn what_a_run_remembers_are_its_means() {
    let hyper = Hyperparameters { beta: 0.5, margin_momentum: 0.75, ..Hyperparameters::default() };
    let mut running = Running::default();
    assert_eq!((running.apply(&hyper).delta, running.apply(&hyper).running_margin), (Some(0.0), 0.0));
    // Means over the pairs of a and of a − r: the mean of all log-ratios is 1.5, then 0.5.
    running.remember(2.0, 1.0, &hyper);
    running.remember(1.0, 1.0, &hyper);
    let next = running.apply(&hyper);
    assert_eq!((next.delta, next.running_margin), (Some(0.5), 0.25 * 0.75 + 0.25));
    let fixed = Hyperparameters { delta: Some(3.0), ..hyper };
    assert_eq!(running.apply(&fixed).delta, Some(3.0), "a constant δ stays");
}

#[test]
fn a_sum_of_losses_is_the_sum_of_their_values() {
    let inputs = inputs().with_lengths(vec![4, 2, 3], vec![1, 2, 3]).unwrap();
    let hyper = Hyperparameters { beta: 0.3, ..Hyperparameters::default() };
    let of = |loss| pairwise(loss, &hyper, &inputs).unwrap().to_f64();
    let terms = [(Loss::Dpo, 0.8), (Loss::Aot, 0.2), (Loss::Nll, 1.0)];
    let sum = Objective::combine(&terms, hyper).unwrap();
    let values = sum.pairwise(&inputs).unwrap().to_f64();
    for (i, value) in values.into_iter().enumerate() {
        let expected: f64 = terms.iter().map(|&(loss, weight)| weight * of(loss)[i]).sum();
        assert!((value - expected).abs() < 1e-14);
    }
    assert_eq!(sum.to_string(), "0.8·dpo + 0.2·aot + nll");
    // −Σ l_w / Σ n_w of the batch: 18 nats over 9 tokens.
    assert!((of(Loss::Nll).iter().sum::<f64>() / 3.0 - 2.0).abs() < 1e-15);
    let short = Objective::new(Loss::Dpo, Hyperparameters { nll: 0.5, ..hyper }).unwrap();
    assert_eq!(short.terms(), [(Loss::Dpo, 1.0), (Loss::Nll, 0.5)]);
    for (terms, words) in [
        (&[][..], "no loss"),
        (&[(Loss::Dpo, 1.0), (Loss::SlpoToken, 1.0)], "slpo-token cannot be added"),
        (&[(Loss::Dpo, f64::NAN)], "the weight of dpo is NaN"),
    ] {
        let message = Objective::combine(terms, hyper).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
