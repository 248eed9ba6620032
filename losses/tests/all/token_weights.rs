//! Losses that read more than sums, tails, weights or divergences: their oracle values, their limits, and the mistakes in them that `verify`
//! names.

use engine::backend::Indices;
use engine::{Cpu, Tensor};
use losses::exact::soft_cross_entropy::kl_divergence;
use losses::verify::{DumpPrecision, PairProblem, Problem, Report, Results, TailProblem, TokenLogProbs, verify};
use losses::{Hyperparameters, Loss, LossError, PairInputs, TailOf, pairwise, pairwise_twin};

type World = Cpu<f64>;

/// The token log-probabilities of one pair: by the policy of the chosen and of the rejected completion, then by the reference.
const TOKENS: [&[f64]; 4] = [&[-1.0, -2.0, -0.5], &[-1.5, -1.0], &[-1.2, -2.1, -0.4], &[-1.4, -1.3]];
const SHORTER: usize = 2;

fn hyper(tail_weight: f64, tail_of: TailOf) -> Hyperparameters {
    Hyperparameters { tail_weight, tail_of, ..Hyperparameters::default() }
}

fn vector(values: &[f64]) -> Tensor<World> {
    Tensor::parameter(&World::new(), values, &[values.len()])
}

/// The pair with its tails, as a function of its tokens.
fn inputs(tokens: &[Tensor<World>; 4]) -> PairInputs<World> {
    let sum = |tokens: &Tensor<World>| tokens.sum_all().reshape(&[1]);
    let tail = |tokens: &Tensor<World>| tokens.slice(0, SHORTER, tokens.len()).sum_all().reshape(&[1]);
    let ([w, l, reference_w, reference_l], tails) = (tokens.each_ref().map(sum), tokens.each_ref().map(tail));
    PairInputs::new(&w, &l, &reference_w, &reference_l)
        .and_then(|inputs| inputs.with_tails(&tails[0], &tails[1])?.with_reference_tails(&tails[2], &tails[3]))
        .expect("numbers of one pair")
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 4e-15, "{what}: {found} for {expected}");
    }
}

/// From an independent program in numpy.
#[test]
fn the_oracles_of_weighted_tails_hold() {
    let cases = [
        (TailOf::Both, 0.6906503055566902, [-0.04987500026041602, -0.04987500026041602, -0.02493750013020801]),
        (TailOf::Policy, 0.6807253035255248, [-0.049375032550048964, -0.049375032550048964, -0.024687516275024482]),
    ];
    for (tail_of, value, chosen) in cases {
        for form in [pairwise, pairwise_twin] {
            let tokens = TOKENS.map(vector);
            let loss = form(Loss::LdDpo, &hyper(0.5, tail_of), &inputs(&tokens)).expect("tails are given").sum_all();
            assert_near(&[loss.item()], &[value], "the loss");
            let gradients = loss.backward();
            assert_near(&gradients.of(&tokens[0]).to_f64(), &chosen, "chosen tokens");
            assert_near(&gradients.of(&tokens[1]).to_f64(), &[-chosen[0], -chosen[0]], "rejected tokens");
            assert!(gradients.get(&tokens[2]).is_none(), "the reference is a constant");
        }
    }
}

#[test]
fn a_tail_of_full_weight_is_dpo_and_one_of_none_is_cut_off() {
    let value = |loss: Loss, hyper: &Hyperparameters, tokens: [&[f64]; 4]| {
        pairwise(loss, hyper, &inputs(&tokens.map(vector))).expect("tails are given").item()
    };
    for tail_of in [TailOf::Both, TailOf::Policy] {
        let whole = value(Loss::LdDpo, &hyper(1.0, tail_of), TOKENS);
        assert!(whole == value(Loss::Dpo, &Hyperparameters::default(), TOKENS));
    }
    let cut = value(Loss::Dpo, &Hyperparameters::default(), TOKENS.map(|tokens| &tokens[..SHORTER]));
    assert!((value(Loss::LdDpo, &hyper(0.0, TailOf::Both), TOKENS) - cut).abs() < 1e-15);
}

#[test]
fn the_start_is_that_of_a_policy_equal_to_the_reference() {
    let same = [TOKENS[2], TOKENS[3], TOKENS[2], TOKENS[3]].map(vector);
    for (tail_of, is_one_number) in [(TailOf::Both, true), (TailOf::Policy, false)] {
        let (hyper, inputs) = (hyper(0.25, tail_of), inputs(&same));
        let value = pairwise(Loss::LdDpo, &hyper, &inputs).expect("tails are given").item();
        let start = Loss::LdDpo.at_start(&hyper, &inputs.pairs()[0]).expect("a pairwise loss");
        assert!((value - start).abs() < 1e-15, "{value} for {start}");
        assert_eq!(Loss::LdDpo.start_value(&hyper).is_some(), is_one_number);
    }
    // The chosen completion is longer by a token of −0.4: x = β·0.75·0.4.
    let start = (1.0 + (-0.1 * 0.75 * 0.4f64).exp()).ln();
    let inputs = inputs(&same);
    assert!((Loss::LdDpo.at_start(&hyper(0.25, TailOf::Policy), &inputs.pairs()[0]).expect("a pairwise loss") - start).abs() < 1e-15);
}

/// W(y) from logits, with p̃ ∝ p² as logits twice as large.
fn weight(logits: &[[f64; 3]], tokens: &[u32]) -> f64 {
    let logits = Tensor::constant(&World::new(), logits.as_flattened(), &[tokens.len(), 3]);
    let tokens: Indices = tokens.iter().copied().collect();
    let at = |logits: &Tensor<World>| logits.log_softmax().gather(&tokens);
    at(&logits.scale(2.0)).sub(&at(&logits)).mean_all().exp().item()
}

/// From an independent program in numpy: two pairs of logits, and a reference with half of them.
#[test]
fn the_oracles_of_weighted_pairs_hold() {
    let weights = [weight(&[[1.0, 0.0, -1.0], [0.5, -0.5, 0.0]], &[0, 2]), weight(&[[0.0, 1.0, 0.5], [2.0, 0.0, -1.0]], &[1, 1])];
    assert_near(&weights, &[1.018844376784822, 0.45428264589880507], "the weights");
    // The log-ratios of the same pair, to the digits that the program prints.
    let (a, r) = (0.2117321, -0.5164088);
    let (chosen, rejected) = (vector(&[a - 3.0]), vector(&[r - 4.0]));
    let inputs = PairInputs::new(&chosen, &rejected, &vector(&[-3.0]), &vector(&[-4.0])).expect("numbers of one pair");
    let inputs = inputs.with_weights(&vector(&[weights[0] * weights[1]])).expect("one weight");
    for form in [pairwise, pairwise_twin] {
        let loss = form(Loss::Wpo, &Hyperparameters::default(), &inputs).expect("weights are given").sum_all();
        let gradients = loss.clone().backward();
        for (found, expected) in
            [(loss.item(), 0.3042744587001176), (gradients.of(&chosen).item(), -0.0223000), (gradients.of(&rejected).item(), 0.0223000)]
        {
            assert!((found - expected).abs() < 5e-8, "{found} for {expected}");
        }
    }
}

/// Logits of policy, and the tokens, of the chosen and of the rejected completion. The reference has half the logits.
const LOGITS: [([f64; 6], [u32; 2]); 2] = [([1.0, 0.0, -1.0, 0.5, -0.5, 0.0], [0, 2]), ([0.0, 1.0, 0.5, 2.0, 0.0, -1.0], [1, 1])];

/// From an independent program in numpy: loss, K_w and K_l, and the gradients in both completions' logits.
#[test]
fn the_oracles_of_divergences_hold() {
    let cases = [
        (
            Loss::Tdpo1,
            0.661255945550068,
            [
                -0.023876350127360807,
                0.014862056931818322,
                0.009014293195542485,
                0.020282187476948516,
                0.0123017685508089,
                -0.03258395602775742,
            ],
            [
                -0.012301768550808901,
                0.028097552040257445,
                -0.015795783489448552,
                -0.030408200853766713,
                0.037193187580093295,
                -0.006784986726326587,
            ],
        ),
        (
            Loss::Tdpo2,
            0.6593273464635949,
            [
                -0.01616219633747737,
                0.011815512282015276,
                0.004346684055462092,
                0.02445291818857487,
                0.00899572587822392,
                -0.033448644066798795,
            ],
            [
                -0.010636077844034022,
                0.02593342409545316,
                -0.01529734625141914,
                -0.03554202586598844,
                0.03994165635212777,
                -0.004399630486139327,
            ],
        ),
    ];
    let cpu = World::new();
    for (loss, value, chosen, rejected) in cases {
        for form in [pairwise, pairwise_twin] {
            let logits = LOGITS.map(|(logits, _)| Tensor::parameter(&cpu, &logits, &[2, 3]));
            let reference = LOGITS.map(|(logits, _)| Tensor::constant(&cpu, &logits.map(|z| z / 2.0), &[2, 3]).log_softmax());
            let sum = |rows: Tensor<World>| rows.sum_all().reshape(&[1]);
            let log_prob = |rows: &Tensor<World>, side: usize| sum(rows.gather(&LOGITS[side].1.iter().copied().collect()));
            let divergence = |side: usize| sum(kl_divergence(&logits[side], &reference[side]).expect("rows of one shape"));
            let policy = logits.each_ref().map(Tensor::log_softmax);
            let inputs = PairInputs::new(
                &log_prob(&policy[0], 0),
                &log_prob(&policy[1], 1),
                &log_prob(&reference[0], 0),
                &log_prob(&reference[1], 1),
            );
            let inputs = inputs.and_then(|inputs| inputs.with_divergences(&divergence(0), &divergence(1))).expect("one pair");
            assert_near(
                &[inputs.pairs()[0].divergences.0, inputs.pairs()[0].divergences.1],
                &[0.08695111136899097, 0.1667608593008714],
                "K",
            );
            let loss = form(loss, &loss.defaults(), &inputs).expect("divergences are given").sum_all();
            assert_near(&[loss.item()], &[value], "the loss");
            let gradients = loss.backward();
            assert_near(&gradients.of(&logits[0]).to_f64(), &chosen, "chosen logits");
            assert_near(&gradients.of(&logits[1]).to_f64(), &rejected, "rejected logits");
        }
    }
}

#[test]
fn divergences_are_verified_and_those_of_the_wrong_sign_are_named() {
    let divergences = ([0.5, 1.25], [1.5, 0.25]);
    let problem = |loss: Loss| PairProblem {
        terms: vec![(loss, 1.0)],
        hyper: loss.defaults(),
        policy_chosen: vec![-11.0, -7.0],
        policy_rejected: vec![-13.5, -6.0],
        reference_chosen: vec![-12.0, -7.5],
        reference_rejected: vec![-13.0, -8.0],
        lengths: None,
        weights: None,
        divergences: Some((divergences.0.to_vec(), divergences.1.to_vec())),
    };
    let results = |of_chosen: f64, of_rejected: f64| {
        let x = [0, 1].map(|i| 0.1 * ([1.5, -1.5][i] + of_chosen * divergences.0[i] - of_rejected * divergences.1[i]));
        let slopes = x.map(|x| 0.05 / (1.0 + x.exp()));
        let loss = Some(x.iter().map(|x| (-x).exp().ln_1p() / 2.0).sum());
        Results { loss, gradients: vec![Some(slopes.map(|slope| -slope).to_vec()), Some(slopes.to_vec())] }
    };
    let report =
        |loss, results: &Results| verify(&Problem::Pairs(problem(loss)), results, DumpPrecision::F64).expect("a problem that fits");
    assert!(report(Loss::Tdpo1, &results(1.0, 1.0)).passed && report(Loss::Tdpo2, &results(0.5, 0.5)).passed);
    let cases = [
        (Loss::Tdpo1, results(-1.0, -1.0), "the divergences have the wrong sign"),
        (Loss::Tdpo1, results(0.0, 1.0), "the divergence along the chosen completion is left out"),
        (Loss::Tdpo2, results(0.5, 0.0), "the divergence along the rejected completion is left out"),
        (Loss::Tdpo1, results(0.5, 0.5), "this is tdpo2, not tdpo1"),
        (Loss::Tdpo2, results(0.0, 0.0), "this is dpo, not tdpo2"),
    ];
    for (loss, results, words) in cases {
        let explanation = report(loss, &results).explanation.unwrap_or_default();
        assert!(explanation.contains(words), "{loss}: {words}: {explanation}");
    }
    let bare = PairProblem { divergences: None, ..problem(Loss::Tdpo1) };
    let message = verify(&Problem::Pairs(bare), &results(1.0, 1.0), DumpPrecision::F64).expect_err("refused").to_string();
    assert!(message.contains("tdpo1 needs the divergences along the completions"), "{message}");
}

/// A dump in f32 of a loss as it is printed, at pairs where it has no value.
#[test]
fn results_that_break_down_are_explained() {
    let problem = |loss: Loss, chosen: f64, rejected: f64| PairProblem {
        terms: vec![(loss, 1.0)],
        hyper: loss.defaults(),
        policy_chosen: vec![chosen],
        policy_rejected: vec![rejected],
        reference_chosen: vec![0.0],
        reference_rejected: vec![0.0],
        lengths: Some((vec![2], vec![2])),
        weights: None,
        divergences: None,
    };
    let message = |problem: PairProblem, precision| {
        let results = Results { loss: Some(f64::NAN), gradients: vec![None, None] };
        verify(&Problem::Pairs(problem), &results, precision).expect_err("refused").to_string()
    };
    let discopop = problem(Loss::Discopop, -1000.0, 0.0);
    assert!(message(discopop.clone(), DumpPrecision::F32).contains("loss[0] is NaN: probably m·e^{−x} is formed as a product, 0·∞"));
    assert!(message(problem(Loss::Orpo, -4.0, -2e-9), DumpPrecision::F32).contains("formed as log1p(−exp(m))"));
    for (problem, precision) in [
        (discopop, DumpPrecision::F64),
        (problem(Loss::Discopop, -800.0, 0.0), DumpPrecision::F32),
        (problem(Loss::Orpo, -4.0, -1.0), DumpPrecision::F32),
        (problem(Loss::Dpo, -1000.0, 0.0), DumpPrecision::F32),
    ] {
        assert!(message(problem, precision).ends_with("loss[0] is NaN, not a finite number"));
    }
}

#[test]
fn what_is_missing_or_does_not_fit_is_named() {
    let bare = PairInputs::new(&vector(&[-1.0]), &vector(&[-2.0]), &vector(&[-1.5]), &vector(&[-2.5])).expect("numbers of one pair");
    let message = |loss: Loss, hyper: &Hyperparameters, inputs: &PairInputs<World>| pairwise(loss, hyper, inputs).unwrap_err().to_string();
    assert!(message(Loss::Wpo, &Hyperparameters::default(), &bare).contains("wpo needs the weights"));
    assert!(message(Loss::Tdpo2, &Hyperparameters::default(), &bare).contains("tdpo2 needs the divergences"));
    let both = hyper(0.5, TailOf::Both);
    assert!(message(Loss::LdDpo, &both, &bare).contains("ld-dpo needs the log-probabilities past"));
    let tailed = bare.clone().with_tails(&vector(&[-0.5]), &vector(&[0.0])).expect("a tail for each");
    assert!(message(Loss::LdDpo, &both, &tailed).contains("the reference's log-probabilities past"));
    assert!(pairwise(Loss::LdDpo, &hyper(0.5, TailOf::Policy), &tailed).is_ok());
    assert!(message(Loss::LdDpo, &hyper(1.5, TailOf::Both), &tailed).contains("tail-weight is 1.5"));
    assert!(matches!(bare.with_weights(&vector(&[1.0, 2.0])), Err(LossError::Shape { .. })));
}

#[test]
fn only_a_loss_of_sums_takes_a_cached_reference() {
    let usual = Hyperparameters::default();
    assert!(!Loss::LdDpo.takes_cached_reference(&usual));
    assert!(Loss::LdDpo.takes_cached_reference(&hyper(0.5, TailOf::Policy)));
    assert!(Loss::Wpo.takes_cached_reference(&usual) && Loss::Dpo.takes_cached_reference(&usual));
    assert!(!Loss::Tdpo1.takes_cached_reference(&usual));
    assert!(!Loss::SlpoExact.takes_cached_reference(&usual) && !Loss::Nll.takes_cached_reference(&usual));
}

/// Two pairs with prompts and padding, whose masked positions hold NaN.
fn problem(hyper: Hyperparameters) -> TailProblem {
    let names = ["policy_chosen_logps", "policy_rejected_logps", "reference_chosen_logps", "reference_rejected_logps"];
    let rows: [[&[f64]; 2]; 4] = [
        [&[-1.0, -2.0, -0.5], &[-3.0]],
        [&[-1.5, -1.0], &[-0.25, -4.0, -1.0]],
        [&[-1.2, -2.1, -0.4], &[-2.5]],
        [&[-1.4, -1.3], &[-0.5, -3.5, -1.5]],
    ];
    let of = |(name, rows): (&'static str, [&[f64]; 2])| {
        let mut tokens = TokenLogProbs { name, values: Vec::new(), keep: Vec::new(), length: 5 };
        for row in rows {
            tokens.values.extend([&[f64::NAN], row, &vec![f64::NAN; 4 - row.len()]].concat());
            tokens.keep.extend((0..5).map(|place| (1..=row.len()).contains(&place)));
        }
        tokens
    };
    let mut named = names.into_iter().zip(rows).map(of);
    TailProblem::new(hyper, std::array::from_fn(|_| named.next().expect("four lists"))).expect("a whole problem")
}

/// LD-DPO of that problem by an implementation with these weights: loss, gradients of the sums and of the tokens.
fn results([policy, reference]: [f64; 2], gradient_factor: f64) -> Results {
    let margin = |i: usize| {
        let sums = [[[-3.0, -0.5, -3.3, -0.4], [-2.5, 0.0, -2.7, 0.0]], [[-3.0, 0.0, -2.5, 0.0], [-0.25, -5.0, -0.5, -5.0]]][i];
        let ratio = |[head, tail, ref_head, ref_tail]: [f64; 4]| head + policy * tail - ref_head - reference * ref_tail;
        0.1 * (ratio(sums[0]) - ratio(sums[1]))
    };
    let slopes = [0, 1].map(|i| gradient_factor * 0.1 / (1.0 + margin(i).exp()) / 2.0);
    let tokens = |sign: f64, counts: [&[f64]; 2]| {
        let row = |i: usize| (0..5).map(move |place| (place, i));
        let weight =
            |(place, i): (usize, usize)| sign * slopes[i] * place.checked_sub(1).and_then(|t| counts[i].get(t)).copied().unwrap_or(0.0);
        (0..2).flat_map(row).map(weight).collect()
    };
    let chosen = tokens(-1.0, [&[1.0, 1.0, policy], &[1.0]]);
    let rejected = tokens(1.0, [&[1.0, 1.0], &[1.0, policy, policy]]);
    let gradients = vec![Some(slopes.map(|x| -x).to_vec()), Some(slopes.to_vec()), Some(chosen), Some(rejected)];
    Results { loss: Some((0..2).map(|i| (-margin(i)).exp().ln_1p()).sum::<f64>() / 2.0), gradients }
}

fn report(hyper: Hyperparameters, results: &Results) -> Report {
    verify(&Problem::Tails(Box::new(problem(hyper))), results, DumpPrecision::F64).expect("a problem that fits")
}

#[test]
fn right_results_with_weighted_tails_pass_and_mistakes_are_named() {
    let (both, policy) = (hyper(0.25, TailOf::Both), hyper(0.25, TailOf::Policy));
    for (hyper, weights) in [(both, [0.25, 0.25]), (policy, [0.25, 1.0])] {
        let report = report(hyper, &results(weights, 1.0));
        assert!(report.passed && report.gradients.len() == 4, "{report:?}");
    }
    let cases = [
        (both, [0.25, 1.0], 1.0, "this is LD-DPO as LLaMA-Factory computes it"),
        (policy, [0.25, 0.25], 1.0, "this is LD-DPO as TRL computes it"),
        (both, [1.0, 1.0], 1.0, "the tails are not weighted"),
        (both, [0.0, 0.0], 1.0, "the tails are left out"),
        (both, [0.75, 0.75], 1.0, "α and 1 − α are swapped"),
        (both, [0.25, 0.25], -1.0, "the gradient has the wrong sign"),
    ];
    for (hyper, weights, factor, words) in cases {
        let report = report(hyper, &results(weights, factor));
        let explanation = report.explanation.unwrap_or_default();
        assert!(!report.passed && explanation.contains(words), "{words}: {explanation}");
    }
}

#[test]
fn sums_are_checked_with_their_weights() {
    let problem = problem(hyper(0.25, TailOf::Both));
    let check = |name: &str, sums: &[f64]| problem.check_sums(name, sums, DumpPrecision::F64).expect("sums that fit");
    assert!(check("policy_chosen_logps", &[-3.125, -3.0]).check.passed);
    let cases = [
        ("policy_chosen_logps", [-3.5, -3.0], "the tail is not weighted (in policy_chosen_logps)"),
        ("reference_chosen_logps", [-3.7, -2.5], "this is LD-DPO as LLaMA-Factory computes it"),
    ];
    for (name, sums, words) in cases {
        let found = check(name, &sums);
        let explanation = found.explanation.unwrap_or_default();
        assert!(!found.check.passed && explanation.contains(words), "{words}: {explanation}");
    }
}

#[test]
fn weighted_pairs_are_verified_and_weights_that_are_not_detached_are_named() {
    let (weights_w, weights_l) = ([1.25, 0.5], [0.75, 0.5]);
    let problem = Problem::Pairs(PairProblem {
        terms: vec![(Loss::Wpo, 1.0)],
        hyper: Hyperparameters::default(),
        policy_chosen: vec![-11.0, -7.0],
        policy_rejected: vec![-13.5, -6.0],
        reference_chosen: vec![-12.0, -7.5],
        reference_rejected: vec![-13.0, -8.0],
        lengths: Some((vec![4, 5], vec![6, 3])),
        weights: Some((weights_w.to_vec(), weights_l.to_vec())),
        divergences: None,
    });
    let dpo = [1.5, -1.5].map(|h: f64| ((-0.1 * h).exp().ln_1p(), 0.1 / (1.0 + (0.1 * h).exp())));
    let results = |weight: &dyn Fn(usize) -> f64, lengths: Option<[[f64; 2]; 2]>| {
        let of_weight = |side: usize, i: usize| lengths.map_or(0.0, |lengths| dpo[i].0 / lengths[side][i]);
        let gradient = |side: usize, sign: f64| Some((0..2).map(|i| weight(i) * (sign * dpo[i].1 + of_weight(side, i)) / 2.0).collect());
        let loss = Some((0..2).map(|i| weight(i) * dpo[i].0 / 2.0).sum());
        Results { loss, gradients: vec![gradient(0, -1.0), gradient(1, 1.0)] }
    };
    let report = |results: &Results| verify(&problem, results, DumpPrecision::F64).expect("a problem that fits");
    let right = |i: usize| weights_w[i] * weights_l[i];
    assert!(report(&results(&right, None)).passed);
    let cases = [
        (results(&right, Some([[4.0, 5.0], [6.0, 3.0]])), "the weights are not detached"),
        (results(&|_| 1.0, None), "this is dpo, not wpo"),
        (results(&|i| weights_w[i], None), "the weights of the rejected completions are left out"),
        (results(&|_| (right(0) + right(1)) / 2.0, None), "the weights are broadcast over the losses"),
    ];
    for (results, words) in cases {
        let explanation = report(&results).explanation.unwrap_or_default();
        assert!(explanation.contains(words), "{words}: {explanation}");
    }
}
