//! exo, nca, bco, sppo, both forms of apo, discopop, dpo-norm and dpop: against values from independent formulas in double precision, far
//! from the reference in single precision, and `verify` on what other trainers compute.

use engine::{Backend, Cpu, Tensor};
use losses::verify::{DumpPrecision, PairProblem, Problem, Results, verify};
use losses::{Hyperparameters, Loss, PairInputs, pairwise, pairwise_twin};
use std::f64::consts::LN_2;

const LOSSES: [Loss; 9] =
    [Loss::Exo, Loss::Nca, Loss::Bco, Loss::Sppo, Loss::ApoZero, Loss::ApoDown, Loss::Discopop, Loss::DpoNorm, Loss::Dpop];

/// One pair of 4 and 6 tokens, from [l_w, l_l, ln π_w, ln π_l].
fn one_pair<B: Backend + Default>(numbers: [f64; 4]) -> PairInputs<B> {
    let backend = B::default();
    let [w, l, reference_w, reference_l] = numbers.map(|x| Tensor::constant(&backend, &[x], &[1]).to_parameter());
    PairInputs::new(&w, &l, &reference_w, &reference_l).and_then(|inputs| inputs.with_lengths(vec![4], vec![6])).expect("one pair")
}

/// The value and the slopes in l_w and l_l.
fn evaluated<B: Backend>(loss: Loss, hyper: &Hyperparameters, inputs: &PairInputs<B>) -> [f64; 3] {
    let y = pairwise(loss, hyper, inputs).expect("a pairwise loss").mean_all();
    let value = y.to_f64()[0];
    let gradients = y.backward();
    let (w, l) = inputs.policy();
    [value, gradients.of(w).to_f64()[0], gradients.of(l).to_f64()[0]]
}

/// [value, ∂L/∂a, ∂L/∂r] at (a, r) = (0, 0), (1, −½) and (−2, −3).
type Rows = [[f64; 3]; 3];
const POINTS: [(f64, f64); 3] = [(0.0, 0.0), (1.0, -0.5), (-2.0, -3.0)];

#[test]
#[rustfmt::skip]
fn values_and_slopes_are_those_of_independent_formulas() {
    let usual = Hyperparameters::default();
    let table: [(Loss, Hyperparameters, Rows); 11] = [
        (Loss::Exo, Hyperparameters { label_smoothing: 1e-3, ..usual }, [
            [2.761230709097915, -0.17266886946621385, 0.17266886946621385],
            [2.5055165554778713, -0.16797225263357723, 0.16797225263357723],
            [2.5899540258452562, -0.16974415532634213, 0.16974415532634213],
        ]),
        (Loss::Nca, usual, [
            [1.3862943611198906, -0.025, 0.025],
            [1.3508248141169994, -0.021253121878159, 0.024375130175789485],
            [1.3743859263066511, -0.03247509959687169, 0.02127787415941705],
        ]),
        (Loss::Bco, usual, [
            [1.3862943611198906, -0.05, 0.05],
            [1.3128563080868572, -0.047502081252106004, 0.04875026035157897],
            [1.352494113850119, -0.0549833997312478, 0.0425557483188341],
        ]),
        (Loss::Sppo, usual, [
            [50.0, -10.0, 10.0],
            [36.25, -8.0, 9.0],
            [53.0, -14.0, 4.0],
        ]),
        (Loss::Sppo, Hyperparameters { win_probability: 0.8, ..usual }, [
            [18.000000000000007, -6.000000000000001, 6.000000000000001],
            [10.250000000000004, -4.000000000000001, 5.000000000000001],
            [25.0, -10.0, 8.881784197001252e-16],
        ]),
        (Loss::ApoZero, usual, [
            [1.0, -0.025, 0.025],
            [0.9625234160368497, -0.024937604019289197, 0.024984381508111646],
            [0.975391480500819, -0.024751657271186, 0.02444583116907459],
        ]),
        (Loss::ApoDown, usual, [
            [1.0, 0.0, 0.025],
            [0.9875493421351904, 7.770335153489683e-05, 0.0248599006677543],
            [0.925186815208582, -0.00018594674810319678, 0.024937604019289197],
        ]),
        (Loss::Discopop, usual, [
            [0.8465735902799727, 0.07842640972002735, -0.07842640972002735],
            [0.8493375792893855, -0.06252030201199109, 0.06252030201199109],
            [0.8737921186731876, -0.03067098434513953, 0.03067098434513953],
        ]),
        (Loss::DpoNorm, usual, [
            [LN_2, -0.0125, 0.008333333333333333],
            [0.6766193963526026, -0.012291685954647018, 0.008194457303098012],
            [LN_2, -0.0125, 0.008333333333333333],
        ]),
        (Loss::Dpop, usual, [
            [LN_2, -0.05, 0.05],
            [0.6209570477895321, -0.04625701546562505, 0.04625701546562505],
            [9.900050173423349, -5.0997441219601125, 0.09999498278353162],
        ]),
        // softplus(δ − βa) + softplus(βr − δ) in 30 digits, rounded
        (Loss::Bco, Hyperparameters { delta: Some(0.25), ..usual }, BCO_SHIFTED),
    ];
    for (loss, hyper, rows) in table {
        for ((a, r), expected) in POINTS.into_iter().zip(rows) {
            let inputs = one_pair::<Cpu<f64>>([a - 12.0, r - 13.0, -12.0, -13.0]);
            let found = evaluated(loss, &hyper, &inputs);
            for (found, expected) in found.into_iter().zip(expected) {
                // a slope that vanishes is the difference of two of order 1
                let allowed = 1e-12 * expected.abs() + 1e-15;
                assert!((found - expected).abs() <= allowed, "{loss} at ({a}, {r}): {found:e} for {expected:e}");
            }
            let twin = pairwise_twin(loss, &hyper, &inputs).expect("a pairwise loss").item();
            assert!((twin - expected[0]).abs() <= 1e-12 * expected[0].abs(), "{loss} at ({a}, {r}): its twin is {twin:e}");
        }
    }
}

#[rustfmt::skip]
const BCO_SHIFTED: Rows = [
    [1.4018788397576871, -0.05621765008857981, 0.043782349911420194],
    [1.3253122922580591, -0.053742984534374955, 0.0425557483188341],
    [1.3987414274607926, -0.061063923394922205, 0.036586440898919936],
];

#[test]
fn the_start_is_known() {
    let variants = [
        Hyperparameters { label_smoothing: 1e-3, ..Hyperparameters::default() },
        Hyperparameters { beta: 0.5, win_probability: 0.7, delta: Some(-3.0), temperature_tau: 2.0, ..Hyperparameters::default() },
    ];
    for (loss, hyper) in LOSSES.into_iter().flat_map(|loss| variants.map(|hyper| (loss, hyper))) {
        let [value, ..] = evaluated(loss, &hyper, &one_pair::<Cpu<f64>>([-12.0, -13.0, -12.0, -13.0]));
        let start = loss.start_value(&hyper).expect("the same for every pair");
        assert!((start - value).abs() <= 1e-12 * value.abs(), "{loss}: {start:e} for {value:e}");
    }
}

/// Pairs far from the reference in either direction, and completions of thousands of nats.
const FAR: [[f64; 4]; 6] = [
    [410.0, -590.0, -610.0, 110.0],
    [-590.0, 410.0, 110.0, -610.0],
    [-1e4, -1e4, -1e4, -1e4],
    [-1e4, -1.0, -1.0, -1e4],
    [-1.0, -1e4, -1e4, -1.0],
    [-1e4, -1e4, -1.0, -1.0],
];

#[test]
fn single_precision_stays_finite_far_from_the_reference() {
    for (loss, numbers) in LOSSES.into_iter().flat_map(|loss| FAR.map(|numbers| (loss, numbers))) {
        for hyper in [loss.defaults(), Hyperparameters { label_smoothing: 0.1, temperature_tau: 1.0, ..loss.defaults() }] {
            let narrow = evaluated(loss, &hyper, &one_pair::<Cpu<f32>>(numbers));
            let wide = evaluated(loss, &hyper, &one_pair::<Cpu<f64>>(numbers));
            for (narrow, wide) in narrow.into_iter().zip(wide) {
                assert!(narrow.is_finite() && wide.is_finite(), "{loss} at {numbers:?}: {narrow} in f32, {wide} in f64");
                assert!((narrow - wide).abs() <= 1e-3 * wide.abs() + 1e-30, "{loss} at {numbers:?}: {narrow} in f32, {wide} in f64");
            }
        }
    }
}

#[test]
fn exo_refuses_labels_without_doubt() {
    let certain = Hyperparameters { label_smoothing: 0.0, ..Hyperparameters::default() };
    let error = Loss::Exo.validate(&certain).expect_err("refused").to_string();
    assert!(error.contains("label-smoothing is 0, but must be above 0"), "{error}");
    assert_eq!(Loss::Exo.defaults().label_smoothing, 1e-3);
}

/// Results of a program that computes `form` of (a, r): value and slopes, as means over the pairs.
fn results(form: impl Fn(f64, f64) -> [f64; 3]) -> (PairProblem, Results) {
    let problem = PairProblem {
        terms: Vec::new(),
        hyper: Hyperparameters::default(),
        policy_chosen: vec![-11.25, -7.5, -30.0, -4.0],
        policy_rejected: vec![-13.5, -6.25, -28.0, -9.0],
        reference_chosen: vec![-12.0, -7.0, -35.5, -4.5],
        reference_rejected: vec![-13.0, -8.0, -27.0, -6.0],
        lengths: Some((vec![4, 3, 12, 2], vec![5, 2, 9, 4])),
        weights: None,
        divergences: None,
    };
    let log_ratio = |policy: &[f64], reference: &[f64], i: usize| policy[i] - reference[i];
    let each: Vec<[f64; 3]> = (0..4)
        .map(|i| {
            let a = log_ratio(&problem.policy_chosen, &problem.reference_chosen, i);
            form(a, log_ratio(&problem.policy_rejected, &problem.reference_rejected, i))
        })
        .collect();
    let mean = each.iter().map(|x| x[0]).sum::<f64>() / 4.0;
    let gradient = |j: usize| Some(each.iter().map(|x| x[j] / 4.0).collect());
    (problem, Results { loss: Some(mean), gradients: vec![gradient(1), gradient(2)] })
}

#[track_caller]
fn is_named(loss: Loss, hyper: Hyperparameters, words: &str, form: impl Fn(f64, f64) -> [f64; 3]) {
    let (problem, results) = results(form);
    let problem = Problem::Pairs(PairProblem { terms: vec![(loss, 1.0)], hyper, ..problem });
    let report = verify(&problem, &results, DumpPrecision::F64).expect("inputs that can be checked");
    let explanation = report.explanation.unwrap_or_default();
    assert!(!report.passed && explanation.contains(words), "{words:?}, but it says {explanation:?}");
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn mistakes_of_other_trainers_are_named() {
    let usual = Hyperparameters::default();
    let beta = usual.beta;
    is_named(Loss::Dpop, usual, "outside the sigmoid", |a, r| {
        let slope = beta * sigmoid(-beta * (a - r));
        let has_fallen = if a < 0.0 { 1.0 } else { 0.0 };
        [-sigmoid(beta * (a - r)).ln() - 50.0 * a * has_fallen, -slope - 50.0 * has_fallen, slope]
    });
    let bco = |delta: f64| {
        move |a: f64, r: f64| {
            let (u, v) = (beta * a - delta, beta * r - delta);
            [-sigmoid(u).ln() - sigmoid(-v).ln(), -beta * sigmoid(-u), beta * sigmoid(v)]
        }
    };
    let shifted = Hyperparameters { delta: Some(0.25), ..usual };
    is_named(Loss::Bco, shifted, "δ is ignored", bco(0.0));
    is_named(Loss::Bco, shifted, "added to the rewards", bco(-0.25));
    is_named(Loss::Sppo, Hyperparameters { win_probability: 0.8, ..usual }, "the hard form", |a, r| {
        let (u, v) = (a - 0.5 / beta, r + 0.5 / beta);
        [u * u + v * v, 2.0 * u, 2.0 * v]
    });
    is_named(Loss::ApoZero, usual, "constant 1 is left out", |a, r| {
        let bell = |u: f64| beta * sigmoid(u) * sigmoid(-u);
        [sigmoid(beta * r) - sigmoid(beta * a), -bell(beta * a), bell(beta * r)]
    });
    is_named(Loss::ApoDown, usual, "constant 1 is left out", |a, r| {
        let bell = |u: f64| beta * sigmoid(u) * sigmoid(-u);
        let x = beta * (a - r);
        [sigmoid(beta * a) - sigmoid(x), bell(beta * a) - bell(x), bell(x)]
    });
    is_named(Loss::Nca, usual, "weight 1 instead of ½", |a, r| {
        let (u, v) = (beta * a, beta * r);
        [-sigmoid(u).ln() - sigmoid(-u).ln() - sigmoid(-v).ln(), beta * (sigmoid(u) - sigmoid(-u)), beta * sigmoid(v)]
    });
    is_named(Loss::Exo, usual, "weighted by the labels", |a, r| {
        let (x, epsilon) = (beta * (a - r), usual.label_smoothing);
        let entropy = -(1.0 - epsilon) * (1.0 - epsilon).ln() - epsilon * epsilon.ln();
        let slope = beta * (sigmoid(x) - (1.0 - epsilon));
        [-(1.0 - epsilon) * sigmoid(x).ln() - epsilon * sigmoid(-x).ln() - entropy, slope, -slope]
    });
    is_named(Loss::Discopop, usual, "τ is ignored", |a, r| {
        let x = beta * (a - r);
        let m = sigmoid(x);
        let slope = beta * (-(1.0 - m) * sigmoid(-x) - m * (-x).exp() + m * (1.0 - m) * ((-x).exp() + m.ln()));
        [-(1.0 - m) * m.ln() + m * (-x).exp(), slope, -slope]
    });
}
