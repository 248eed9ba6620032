//! cal-dpo, bpo, dpo-shift, bdpo, odpo, r-dpo, chi-po, f-dpo and slpo-halves against values that were computed apart from this crate.

use engine::{Backend, Cpu, Tensor};
use losses::pairwise::slpo_halves::SlpoHalves;
use losses::verify::{DumpPrecision, PairProblem, Problem, Results, verify};
use losses::{Divergence, Hyperparameters, Loss, Pair, PairInputs, PairLoss, WeightRule, pairwise, pairwise_twin};

/// l_w, l_l, ln π_w, ln π_l.
type Numbers = [f64; 4];

/// A value with its slopes in l_w and l_l.
type Row = (f64, f64, f64);

/// One pair of 4 and 6 tokens.
fn inputs<B: Backend>(backend: &B, numbers: Numbers, lengths: (usize, usize)) -> PairInputs<B> {
    let [w, l, reference_w, reference_l] = numbers.map(|x| Tensor::parameter(backend, &[x], &[1]));
    PairInputs::new(&w, &l, &reference_w, &reference_l)
        .and_then(|inputs| inputs.with_lengths(vec![lengths.0], vec![lengths.1]))
        .expect("four vectors of one length")
}

fn evaluate<B: Backend>(backend: &B, loss: Loss, hyper: &Hyperparameters, numbers: Numbers, lengths: (usize, usize)) -> Row {
    let inputs = inputs(backend, numbers, lengths);
    let y = pairwise(loss, hyper, &inputs).expect("a pairwise loss").mean_all();
    let value = y.item();
    let gradients = y.backward();
    let slope = |x: &Tensor<B>| gradients.of(x).item();
    (value, slope(inputs.policy().0), slope(inputs.policy().1))
}

fn in_f64(loss: Loss, hyper: &Hyperparameters, numbers: Numbers) -> Row {
    evaluate(&Cpu::<f64>::new(), loss, hyper, numbers, (4, 6))
}

/// Log-ratios (a, r) under a reference of (−12, −13).
fn ratios(a: f64, r: f64) -> Numbers {
    [a - 12.0, r - 13.0, -12.0, -13.0]
}

#[track_caller]
fn close(what: &str, found: Row, expected: Row) {
    for (found, expected) in [(found.0, expected.0), (found.1, expected.1), (found.2, expected.2)] {
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{what}: {found:e} for {expected:e}");
    }
}

fn all() -> Vec<(Loss, Hyperparameters)> {
    let usual = Hyperparameters::default();
    let divergence = |divergence| (Loss::FDpo, Hyperparameters { divergence, ..usual });
    let halves = |alpha, temperature| (Loss::SlpoHalves, Hyperparameters { alpha, temperature, weights: WeightRule::Shift, ..usual });
    vec![
        (Loss::CalDpo, usual),
        (Loss::Bpo, usual),
        (Loss::DpoShift, usual),
        (Loss::Bdpo, usual),
        (Loss::Bdpo, Hyperparameters { mixture: 1.0, ..usual }),
        (Loss::Odpo, usual),
        (Loss::RDpo, usual),
        (Loss::ChiPo, usual),
        (Loss::ChiPo, Hyperparameters { clip_reward: 1.0, ..usual }),
        divergence(Divergence::ForwardKl),
        divergence(Divergence::Js),
        divergence(Divergence::Alpha),
        halves(0.5, 0.0),
        halves(1.0, 0.0),
        halves(1.0, 1.0),
        halves(0.0, 20.0),
    ]
}

/// At (a, r) = (0, 0), (1, −½) and (−2, −3).
#[test]
fn losses_of_two_log_ratios_have_the_oracles_values() {
    let usual = Hyperparameters::default();
    let ln_2 = std::f64::consts::LN_2;
    let divergence = |divergence| Hyperparameters { divergence, ..usual };
    let table: [(Loss, Hyperparameters, [Row; 3]); 9] = [
        (
            Loss::CalDpo,
            usual,
            [
                (25.693147180559944, -5.5, 5.5),
                (18.326413277982752, -4.182425523806356, 4.682425523806356),
                (26.813261687518224, -7.268941421369995, 2.268941421369995),
            ],
        ),
        (
            Loss::Bpo,
            usual,
            [(ln_2, -0.025, 0.025), (0.6684596480132863, 0.0, 0.04875026035157897), (0.7981388693815918, -0.0549833997312478, 0.0)],
        ),
        (
            Loss::DpoShift,
            usual,
            [
                (ln_2, -0.05, 0.037500000000000006),
                (0.6267586024536783, -0.046567905633069534, 0.03492592922480215),
                (0.6807253035255248, -0.04937503255004896, 0.037031274412536716),
            ],
        ),
        (
            Loss::Bdpo,
            usual,
            [
                (ln_2, -0.05, 0.025),
                (0.6340501867523284, -0.046956093282013736, 0.01772783486183957),
                (0.7632139558270536, -0.05338342194308651, 0.002531755398857356),
            ],
        ),
        (
            Loss::Odpo,
            usual,
            [
                (0.9740769841801067, -0.06224593312018546, 0.06224593312018546),
                (0.883382155418777, -0.058661757891733016, 0.058661757891733016),
                (0.9130152523999526, -0.0598687660112452, 0.0598687660112452),
            ],
        ),
        (
            Loss::ChiPo,
            usual,
            [
                (ln_2, -0.1, 0.1),
                (0.528777690636319, -0.1527005884719301, 0.06597621924693739),
                (0.6403420657813846, -0.05368863335607166, 0.04964316167015604),
            ],
        ),
        (
            Loss::FDpo,
            divergence(Divergence::ForwardKl),
            [
                (ln_2, -0.05, 0.05),
                (0.6311543835721054, -0.01721759144283989, 0.07716389138692173),
                (0.24758674256047425, -0.16205493148573255, 0.44051097546984236),
            ],
        ),
        (
            Loss::FDpo,
            divergence(Divergence::Js),
            [
                (ln_2, -0.025, 0.025),
                (0.6606521625101546, -0.013002931165217325, 0.030095013983100504),
                (0.6481256578505652, -0.042011802177760925, 0.04543538662457091),
            ],
        ),
        (
            Loss::FDpo,
            divergence(Divergence::Alpha),
            [
                (ln_2, -0.05, 0.05),
                (0.6276909470685578, -0.02827506405771638, 0.059858311079910013),
                (0.5322745634601405, -0.1121922787810165, 0.18497379643458053),
            ],
        ),
    ];
    for (loss, hyper, rows) in table {
        for ((a, r), expected) in [(0.0, 0.0), (1.0, -0.5), (-2.0, -3.0)].into_iter().zip(rows) {
            close(&format!("{loss} at ({a}, {r})"), in_f64(loss, &hyper, ratios(a, r)), expected);
            let twin = pairwise_twin(loss, &hyper, &inputs(&Cpu::<f64>::new(), ratios(a, r), (4, 6))).expect("a pairwise loss").item();
            assert!((twin - expected.0).abs() <= 1e-12 * expected.0, "{loss}'s twin at ({a}, {r}): {twin} for {}", expected.0);
        }
    }
}

/// Margins of 0, 1.5 and 1 nats, and a chosen completion that is two tokens longer than the rejected one: it counts less than in dpo.
#[test]
fn a_longer_chosen_completion_counts_less() {
    let usual = Hyperparameters::default();
    let rows = [
        (0.6831971797266342, -0.04950001666600003, 0.04950001666600003),
        (0.6117553388706229, -0.045760205922564905, 0.045760205922564905),
        (0.6349461015956135, -0.04700359482354283, 0.04700359482354283),
    ];
    for ((a, r), expected) in [(0.0, 0.0), (1.0, -0.5), (-2.0, -3.0)].into_iter().zip(rows) {
        let at = |lengths| evaluate(&Cpu::<f64>::new(), Loss::RDpo, &usual, ratios(a, r), lengths);
        close("r-dpo of 6 and 4 tokens", at((6, 4)), expected);
        let negative = Hyperparameters { length_penalty: -usual.length_penalty, ..usual };
        close(
            "r-dpo of 4 and 6 tokens, with the other sign",
            evaluate(&Cpu::<f64>::new(), Loss::RDpo, &negative, ratios(a, r), (4, 6)),
            expected,
        );
        let dpo = in_f64(Loss::Dpo, &usual, ratios(a, r));
        assert!(at((6, 4)).2 < dpo.2 && dpo.2 < at((4, 6)).2);
        close("r-dpo of one length", at((5, 5)), dpo);
    }
}

/// Probabilities (0.2, 0.1) under a reference of (0.25, 0.15); the start there; and a start at ln π = (−83, −85).
#[test]
fn slpo_in_two_halves_has_the_oracles_values() {
    let reference = [0.25f64.ln(), 0.15f64.ln()];
    let near = [0.2f64.ln(), 0.1f64.ln(), reference[0], reference[1]];
    let start = [reference[0], reference[1], reference[0], reference[1]];
    let far = [-83.0, -85.0, -83.0, -85.0];
    let table = [
        (near, 0.5, 1.0, (0.01171902149557044, -0.0390625, 0.006944444444444451)),
        (near, 0.5, 20.0, (4.126772675065704e-5, -0.0001279166813152581, 5.451215643481005e-5)),
        (near, 1.0, 20.0, (0.16000625414075362, -0.00019146257133611418, 0.006563365053279437)),
        (start, 0.5, 1.0, (0.010094895816716066, -0.025, 0.022058823529411766)),
        (start, 0.5, 20.0, (5.766064936027036e-5, -7.656873962949307e-5, 0.0001425538165493953)),
        (start, 1.0, 20.0, (0.16271805585857604, -0.00014435102231840624, 0.007034280413208412)),
        (far, 0.5, 1.0, (5.1676362052011645e-39, -1.520124124066032e-38, 1.520124124066032e-38)),
        (far, 0.5, 20.0, (2.056172979424955e-6, -6.262479916234931e-7, 5.906848001210411e-6)),
        (far, 1.0, 20.0, (0.003540941472053763, -1.215808919240098e-6, 0.00017579533804056843)),
    ];
    for (numbers, alpha, temperature, expected) in table {
        let hyper = Hyperparameters { alpha, temperature, weights: WeightRule::Shift, ..Hyperparameters::default() };
        close(&format!("α = {alpha}, T = {temperature} at {numbers:?}"), in_f64(Loss::SlpoHalves, &hyper, numbers), expected);
        let by_tokens = Hyperparameters { temperature: 0.0, ..hyper };
        let tokens = temperature as usize;
        let found = evaluate(&Cpu::<f64>::new(), Loss::SlpoHalves, &by_tokens, numbers, (tokens, tokens));
        close("T the number of tokens", found, expected);
    }
}

#[test]
fn slpo_in_two_halves_is_least_at_its_targets() {
    let (alpha, reference) = (0.3f64, [-2.0f64, -3.0]);
    let target = [(reference[0].exp() + alpha * reference[1].exp()).ln(), reference[1] + (1.0 - alpha).ln()];
    for temperature in [1.0, 7.0, 300.0] {
        let loss = SlpoHalves { alpha, temperature };
        let pair = Pair::from([target[0], target[1], reference[0], reference[1], 4.0, 6.0, 4.0]);
        let (value, (chosen, rejected)) = (loss.value(pair), loss.gradient(pair));
        assert!(value.abs() < 1e-16 && chosen.abs() < 1e-15 && rejected.abs() < 1e-15, "{value} {chosen} {rejected}");
    }
}

#[test]
fn the_start_is_what_theory_says() {
    for (loss, hyper) in all() {
        for reference in [[-12.0, -13.0], [-1.5, -0.75], [-9e3, -1e4]] {
            let numbers = [reference[0], reference[1], reference[0], reference[1]];
            let value = in_f64(loss, &hyper, numbers).0;
            let pair = Pair::from([numbers[0], numbers[1], numbers[2], numbers[3], 4.0, 6.0, 4.0]);
            let start = loss.at_start(&hyper, &pair).expect("a pairwise loss");
            assert!((value - start).abs() <= 1e-12 * (1e-3 + start.abs()), "{loss} with {hyper:?}: {value} for {start}");
            assert!(loss.start_value(&hyper).is_none_or(|fixed| fixed == start), "{loss}");
        }
    }
}

#[test]
fn large_log_ratios_and_long_completions_stay_finite() {
    let points = [
        [-100.0, -1120.0, -1120.0, -420.0],
        [-1e4, -1e4, -1e4, -1e4],
        [-1e4, -1.0, -1e4, -1.0],
        [-1e-3, -1e4, -2e-3, -9.99e3],
        [0.0, 0.0, 0.0, 0.0],
    ];
    for (loss, hyper) in all() {
        for numbers in points {
            let found =
                [evaluate(&Cpu::<f64>::new(), loss, &hyper, numbers, (4, 6)), evaluate(&Cpu::<f32>::new(), loss, &hyper, numbers, (4, 6))];
            for (value, chosen, rejected) in found {
                let finite = [value, chosen, rejected].iter().all(|x| x.is_finite());
                assert!(finite, "{loss} with {hyper:?} at {numbers:?}: {value} {chosen} {rejected}");
            }
        }
    }
}

#[test]
fn some_settings_give_dpo() {
    let usual = Hyperparameters::default();
    let cases = [
        (Loss::DpoShift, Hyperparameters { shift: 1.0, ..usual }),
        (Loss::Bdpo, Hyperparameters { mixture: 1.0, ..usual }),
        (Loss::Odpo, Hyperparameters { margin: 0.0, ..usual }),
        (Loss::RDpo, Hyperparameters { length_penalty: 0.0, ..usual }),
    ];
    for (loss, hyper) in cases {
        for (a, r) in [(0.0, 0.0), (1.0, -0.5), (-2.0, -3.0), (1020.0, -700.0), (-700.0, 1020.0)] {
            close(&format!("{loss} at ({a}, {r})"), in_f64(loss, &hyper, ratios(a, r)), in_f64(Loss::Dpo, &usual, ratios(a, r)));
        }
    }
}

#[test]
fn chi_po_has_no_slope_where_it_is_clipped() {
    let hyper = Hyperparameters { clip_reward: 1.0, ..Hyperparameters::default() };
    let loss_of = |x: f64| (1.0 + (-x).exp()).ln();
    close("far above", in_f64(Loss::ChiPo, &hyper, ratios(4.0, 0.0)), (loss_of(2.0), 0.0, 0.0));
    close("far below", in_f64(Loss::ChiPo, &hyper, ratios(0.0, 800.0)), (loss_of(-2.0), 0.0, 0.0));
    close("between", in_f64(Loss::ChiPo, &hyper, ratios(1.0, -0.5)), in_f64(Loss::ChiPo, &Hyperparameters::default(), ratios(1.0, -0.5)));
}

fn problem(loss: Loss, numbers: Numbers) -> Problem {
    let [w, l, reference_w, reference_l] = numbers.map(|x| vec![x]);
    Problem::Pairs(PairProblem {
        terms: vec![(loss, 1.0)],
        hyper: loss.defaults(),
        policy_chosen: w,
        policy_rejected: l,
        reference_chosen: reference_w,
        reference_rejected: reference_l,
        lengths: Some((vec![4], vec![6])),
        weights: None,
        divergences: None,
    })
}

fn results((loss, chosen, rejected): Row) -> Results {
    Results { loss: Some(loss), gradients: vec![Some(vec![chosen]), Some(vec![rejected])] }
}

/// The start of bpo is at its kink, where another program may take another subgradient.
#[test]
fn every_subgradient_of_bpo_is_right_at_the_start() {
    let ln_2 = std::f64::consts::LN_2;
    for (chosen, rejected) in [(-0.05, 0.0), (0.0, 0.05), (-0.025, 0.025)] {
        let report =
            verify(&problem(Loss::Bpo, ratios(0.0, 0.0)), &results((ln_2, chosen, rejected)), DumpPrecision::F64).expect("a report");
        assert!(report.passed, "{chosen} {rejected}");
    }
}

#[test]
fn known_mistakes_are_named() {
    let numbers = ratios(1.0, -0.5);
    let usual = Hyperparameters::default();
    let swapped = evaluate(&Cpu::<f64>::new(), Loss::RDpo, &usual, numbers, (6, 4));
    let halves = in_f64(Loss::SlpoHalves, &Loss::SlpoHalves.defaults(), numbers);
    let scaled = |factor: f64| (factor * halves.0, factor * halves.1, factor * halves.2);
    let shifted = {
        let (u, v, x) = (1.0 - 5.0, -0.5 + 5.0, 0.15f64);
        let push = 0.1 / (1.0 + x.exp());
        ((1.0 + (-x).exp()).ln() + 0.5 * (u * u + v * v), u - push, v + push)
    };
    let cases = [
        (Loss::RDpo, swapped, "n_l − n_w instead of n_w − n_l"),
        (Loss::CalDpo, shifted, "the margin inside the sigmoid is multiplied by β"),
        (Loss::Odpo, in_f64(Loss::Odpo, &Hyperparameters { margin: 0.05, ..usual }, numbers), "the margin Δ is multiplied by β"),
        (Loss::FDpo, in_f64(Loss::FDpo, &Hyperparameters { divergence: Divergence::Js, ..usual }, numbers), "the divergence is js"),
        (Loss::SlpoHalves, scaled(4.0), "the two divergences are summed"),
    ];
    for (loss, wrong, words) in cases {
        let report = verify(&problem(loss, numbers), &results(wrong), DumpPrecision::F64).expect("a report");
        let explanation = report.explanation.unwrap_or_default();
        assert!(!report.passed && explanation.contains(words), "{loss}: {explanation:?}");
    }
}

#[test]
fn slpo_in_two_halves_allows_every_alpha_by_default() {
    for alpha in [0.0, 0.3, 1.0] {
        let hyper = Hyperparameters { alpha, ..Loss::SlpoHalves.defaults() };
        assert_eq!(Loss::SlpoHalves.validate(&hyper), Ok(()), "{alpha}");
    }
    assert!(Loss::SlpoHalves.validate(&Hyperparameters { alpha: 1.1, ..Loss::SlpoHalves.defaults() }).is_err());
}
