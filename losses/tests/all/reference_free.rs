//! The losses without a reference: against values that were computed apart from this crate, at log-probabilities that overflow, and the
//! mistakes of other programs in them.

use engine::{Backend, Cpu, Tensor};
use losses::verify::{DumpPrecision, PairProblem, Problem, Results, verify};
use losses::{Hyperparameters, Loss, Need, Pair, PairInputs, pairwise, pairwise_twin};

/// One pair of (l_w, l_l) and (n_w, n_l).
fn pair<B: Backend>(backend: &B, logps: (f64, f64), lengths: (usize, usize)) -> PairInputs<B> {
    let vector = |x: f64| Tensor::parameter(backend, &[x], &[1]);
    PairInputs::without_reference(&vector(logps.0), &vector(logps.1))
        .and_then(|inputs| inputs.with_lengths(vec![lengths.0], vec![lengths.1]))
        .expect("vectors of one length")
}

/// The loss and its slopes in l_w and l_l.
fn evaluate<B: Backend>(loss: Loss, hyper: &Hyperparameters, inputs: &PairInputs<B>) -> [f64; 3] {
    let y = pairwise(loss, hyper, inputs).expect("a pairwise loss").mean_all();
    let value = y.item();
    let gradients = y.backward();
    let slope = |x: &Tensor<B>| gradients.of(x).item();
    [value, slope(inputs.policy().0), slope(inputs.policy().1)]
}

/// A loss with settings, lengths and log-probabilities, and its value and slopes there.
type Row = (Loss, Hyperparameters, (usize, usize), (f64, f64), [f64; 3]);

/// With one token a sum is a mean.
const ONE: (usize, usize) = (1, 1);

fn table() -> Vec<Row> {
    let usual = Hyperparameters::default();
    let simpo = Hyperparameters { beta: 2.0, gamma: 1.0, ..usual };
    let alphapo = Hyperparameters { reward_alpha: 0.25, ..simpo };
    let cpo = Loss::Cpo.defaults();
    let cpo_simpo = Hyperparameters { nll: 1.0, ..simpo };
    let slic = Loss::Slic.defaults();
    let (right, wrong) = ((-2.0, -3.0), (-3.0, -2.0));
    vec![
        (Loss::SimPo, simpo, ONE, right, [0.31326168751822286, -0.5378828427399902, 0.5378828427399902]),
        (Loss::SimPo, simpo, ONE, wrong, [3.048587351573742, -1.9051482536448667, 1.9051482536448667]),
        (Loss::SimPo, usual, ONE, right, [0.9130152523999526, -0.0598687660112452, 0.0598687660112452]),
        (Loss::SimPo, usual, ONE, wrong, [1.0374879504858856, -0.06456563062257954, 0.06456563062257954]),
        (Loss::AlphaPo, alphapo, ONE, right, [0.06219451943581, -0.19883552447602207, 0.25530986716764986]),
        (Loss::AlphaPo, alphapo, ONE, wrong, [4.754876848971424, -4.197546965751656, 3.2690528639063894]),
        (Loss::Orpo, usual, ONE, right, [2.028875078434462, -1.0290055903641526, 0.026394200438522707]),
        (Loss::Orpo, usual, ONE, (-0.1, -0.001), [0.56645548994909, -2.040930729165631, 99.10719291583378]),
        (Loss::Cpo, cpo, (4, 6), (-8.0, -18.0), [2.313261687518223, -0.27689414213699953, 0.026894142136999512]),
        (Loss::Cpo, cpo, (4, 6), (-18.0, -8.0), [5.813261687518223, -0.3231058578630005, 0.07310585786300049]),
        (Loss::CpoSimPo, cpo_simpo, ONE, right, [2.313261687518223, -1.5378828427399902, 0.5378828427399902]),
        (Loss::TpoL, cpo_simpo, ONE, right, [2.313261687518223, -1.5378828427399902, 0.5378828427399902]),
        (Loss::Slic, slic, ONE, (-2.0, -2.5), [0.7, -1.1, 1.0]),
        (Loss::Slic, slic, ONE, (-2.0, -4.0), [0.2, -0.1, 0.0]),
    ]
}

#[track_caller]
fn assert_close(what: &str, found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{what}: {found:e} for {expected:e}");
}

#[test]
fn values_and_slopes_are_those_of_the_table() {
    for (loss, hyper, lengths, logps, expected) in table() {
        let inputs = pair(&Cpu::<f64>::new(), logps, lengths);
        for (found, expected) in evaluate(loss, &hyper, &inputs).into_iter().zip(expected) {
            assert_close(&format!("{loss} at {logps:?}"), found, expected);
        }
        let twin = pairwise_twin(loss, &hyper, &inputs).expect("a pairwise loss").item();
        assert_close(&format!("{loss} at {logps:?}, composed"), twin, expected[0]);
    }
}

#[test]
fn the_start_is_the_value_at_the_reference() {
    for (loss, hyper, lengths, (chosen, rejected), expected) in table() {
        let [n_w, n_l] = [lengths.0, lengths.1].map(|n| n as f64);
        let start = loss.at_start(&hyper, &Pair::from([chosen, rejected, chosen, rejected, n_w, n_l, n_w]));
        assert_close(&format!("{loss} at the start"), start.expect("a pairwise loss"), expected[0]);
        assert_eq!(loss.start_value(&hyper), None, "{loss} starts where the model does");
    }
}

#[test]
fn the_odds_ratio_alone_is_what_the_likelihood_leaves() {
    let hyper = Hyperparameters { beta: 1.0, ..Hyperparameters::default() };
    let rows = [
        ((-2.0, -3.0), [0.2887507843446179, -0.29005590364152634, 0.2639420043852271]),
        ((-0.1, -0.001), [4.6645548994909, -10.409307291656308, 991.0719291583378]),
    ];
    for (logps, [value, chosen, rejected]) in rows {
        let found = evaluate(Loss::Orpo, &hyper, &pair(&Cpu::<f64>::new(), logps, ONE));
        for (found, expected) in found.into_iter().zip([value - logps.0, chosen - 1.0, rejected]) {
            assert_close(&format!("orpo at {logps:?}"), found, expected);
        }
    }
}

#[test]
fn a_length_divides_the_slopes_and_scales_the_log_probability() {
    let (n_w, n_l) = (4, 6);
    for (loss, hyper, lengths, (chosen, rejected), [value, slope_w, slope_l]) in table() {
        if lengths != ONE || !loss.needs(Need::Lengths, &hyper) {
            continue;
        }
        let logps = (chosen * n_w as f64, rejected * n_l as f64);
        let found = evaluate(loss, &hyper, &pair(&Cpu::<f64>::new(), logps, (n_w, n_l)));
        for (found, expected) in found.into_iter().zip([value, slope_w / n_w as f64, slope_l / n_l as f64]) {
            assert_close(&format!("{loss} of {n_w} and {n_l} tokens"), found, expected);
        }
    }
}

#[test]
fn a_shape_of_zero_is_simpo_and_a_small_one_nearly() {
    let backend = Cpu::<f64>::new();
    let hyper = Hyperparameters { beta: 2.0, gamma: 1.0, ..Hyperparameters::default() };
    for logps in [(-2.0, -3.0), (-3.0, -2.0), (-2.5, -2.5), (-700.0, -1.0)] {
        let simpo = evaluate(Loss::SimPo, &hyper, &pair(&backend, logps, ONE));
        let shaped = |reward_alpha| evaluate(Loss::AlphaPo, &Hyperparameters { reward_alpha, ..hyper }, &pair(&backend, logps, ONE));
        assert_eq!(shaped(0.0), simpo);
        assert_eq!(shaped(1e-300), simpo);
        for reward_alpha in [1e-18, -1e-18] {
            for (found, expected) in shaped(reward_alpha).into_iter().zip(simpo) {
                assert_close(&format!("alphapo with α = {reward_alpha:e} at {logps:?}"), found, expected);
            }
        }
    }
}

#[test]
fn means_of_probability_one_give_finite_slopes() {
    for logps in [(0.0, -1.0), (-1.0, 0.0), (0.0, 0.0), (1e-7, -1e-8)] {
        let found = evaluate(Loss::Orpo, &Hyperparameters::default(), &pair(&Cpu::<f32>::new(), logps, ONE));
        assert!(found.iter().all(|x| x.is_finite()), "{found:?} at {logps:?}");
    }
}

/// Log-probabilities at which a power or a difference may overflow, with the tokens of each completion.
const EXTREMES: [((f64, f64), usize); 6] =
    [((1020.0, -700.0), 1), ((-1e4, -1.0), 100), ((-1.0, -1e4), 1), ((-1.0, -1e4), 100), ((-1e4, -1e4), 100), ((-1e4, -9.99e3), 100)];

#[test]
fn extreme_log_probabilities_give_finite_values_and_slopes() {
    fn check<B: Backend>(backend: &B) {
        for loss in [Loss::SimPo, Loss::Cpo, Loss::CpoSimPo, Loss::AlphaPo, Loss::Orpo, Loss::TpoL, Loss::Slic] {
            let defaults = loss.defaults();
            for hyper in
                [defaults, Hyperparameters { beta: 2.0, gamma: 1.0, ..defaults }, Hyperparameters { reward_alpha: -0.5, ..defaults }]
            {
                for (logps, n) in EXTREMES {
                    let found = evaluate(loss, &hyper, &pair(backend, logps, (n, n)));
                    assert!(found.iter().all(|x| x.is_finite()), "{loss} with {hyper:?} at {logps:?} of {n} tokens: {found:?}");
                }
            }
        }
    }
    check(&Cpu::<f32>::new());
    check(&Cpu::<f64>::new());
}

/// One pair of a dump.
#[derive(Clone, Copy)]
struct Numbers {
    logps: (f64, f64),
    reference: (f64, f64),
    lengths: (usize, usize),
}

impl Numbers {
    fn means(self) -> (f64, f64) {
        (self.logps.0 / self.lengths.0 as f64, self.logps.1 / self.lengths.1 as f64)
    }
}

/// Three pairs; the last one has probabilities close to 1.
const DUMP: [Numbers; 3] = [
    Numbers { logps: (-11.25, -13.5), reference: (-12.0, -13.0), lengths: (4, 5) },
    Numbers { logps: (-7.5, -6.25), reference: (-7.0, -8.0), lengths: (3, 2) },
    Numbers { logps: (-0.75, -0.0009765625), reference: (-0.5, -0.5), lengths: (6, 8) },
];

/// The mean of n_w.
const MEAN_LENGTH: f64 = 13.0 / 3.0;

/// ℓ(x) = −ln σ(x) and its slope.
fn log_loss(x: f64) -> (f64, f64) {
    ((-x).exp().ln_1p(), -1.0 / (1.0 + x.exp()))
}

/// Checks that another program's value and slopes of each pair are taken for this mistake of the loss.
#[track_caller]
fn assert_named(loss: Loss, hyper: Hyperparameters, precision: DumpPrecision, words: &str, of_pair: impl Fn(Numbers) -> [f64; 3]) {
    let column = |of: fn(&Numbers) -> f64| DUMP.iter().map(of).collect::<Vec<_>>();
    let problem = PairProblem {
        terms: vec![(loss, 1.0)],
        hyper,
        policy_chosen: column(|x| x.logps.0),
        policy_rejected: column(|x| x.logps.1),
        reference_chosen: column(|x| x.reference.0),
        reference_rejected: column(|x| x.reference.1),
        lengths: Some(DUMP.iter().map(|x| x.lengths).unzip()),
        weights: None,
        divergences: None,
    };
    let each = DUMP.map(of_pair);
    let [loss_sum, chosen, rejected] = [0, 1, 2].map(|i| each.iter().map(|x| x[i] / 3.0).collect::<Vec<_>>());
    let results = Results { loss: Some(loss_sum.iter().sum()), gradients: vec![Some(chosen), Some(rejected)] };
    let report = verify(&Problem::Pairs(problem), &results, precision).expect("inputs that can be checked");
    assert!(!report.passed, "{words}: passes");
    let explanation = report.explanation.unwrap_or_default();
    assert!(explanation.contains(words), "{loss}: {words:?}, but it says {explanation:?}");
}

#[test]
fn a_margin_taken_for_its_ratio_is_named() {
    for loss in [Loss::SimPo, Loss::CpoSimPo, Loss::TpoL] {
        let hyper = Hyperparameters { beta: 2.5, gamma: 1.375, ..loss.defaults() };
        let nll = if loss == Loss::SimPo { 0.0 } else { 1.0 };
        for (gamma, words) in [(2.5 * 1.375, "the margin is βγ instead of γ"), (1.375 / 2.5, "the margin is γ/β instead of γ")] {
            assert_named(loss, hyper, DumpPrecision::F64, words, |x| {
                let (m_w, m_l) = x.means();
                let (value, slope) = log_loss(2.5 * (m_w - m_l) - gamma);
                let (n_w, n_l) = (x.lengths.0 as f64, x.lengths.1 as f64);
                [value - nll * x.logps.0 / MEAN_LENGTH, 2.5 * slope / n_w - nll / MEAN_LENGTH, -2.5 * slope / n_l]
            });
        }
    }
}

#[test]
fn mistakes_in_cpo_are_named() {
    let cpo = |x: Numbers, nll: f64, n: f64| {
        let (value, slope) = log_loss(0.1 * (x.logps.0 - x.logps.1));
        [value - nll * x.logps.0 / n, 0.1 * slope - nll / n, -0.1 * slope]
    };
    let named = |words: &str, of_pair: &dyn Fn(Numbers) -> [f64; 3]| {
        assert_named(Loss::Cpo, Loss::Cpo.defaults(), DumpPrecision::F64, words, of_pair);
    };
    named("the negative log-likelihood is missing", &|x| cpo(x, 0.0, 1.0));
    named("the negative log-likelihood is a mean over pairs", &|x| cpo(x, 1.0, x.lengths.0 as f64));
    named("means over the tokens instead of sums", &|x| {
        let (m_w, m_l) = x.means();
        let (value, slope) = log_loss(0.1 * (m_w - m_l));
        let (n_w, n_l) = (x.lengths.0 as f64, x.lengths.1 as f64);
        [value - x.logps.0 / MEAN_LENGTH, 0.1 * slope / n_w - 1.0 / MEAN_LENGTH, -0.1 * slope / n_l]
    });
}

#[test]
fn mistakes_in_orpo_are_named() {
    let usual = Hyperparameters::default();
    let slopes = |x: Numbers, z: f64, [w, l]: [f64; 2], nll: f64| {
        let (value, slope) = log_loss(z);
        let (n_w, n_l) = (x.lengths.0 as f64, x.lengths.1 as f64);
        [0.1 * value - nll * x.logps.0 / MEAN_LENGTH, 0.1 * slope * w / n_w - nll / MEAN_LENGTH, -0.1 * slope * l / n_l]
    };
    assert_named(Loss::Orpo, usual, DumpPrecision::F64, "the odds ratio's term alone", |x| {
        let (m_w, m_l) = x.means();
        let complement = |m: f64| -m.exp_m1();
        let z = m_w - m_l - complement(m_w).ln() + complement(m_l).ln();
        slopes(x, z, [1.0 / complement(m_w), 1.0 / complement(m_l)], 0.0)
    });
    assert_named(Loss::Orpo, usual, DumpPrecision::F32, "log1p(−exp(m)) in f32", |x| {
        let (m_w, m_l) = (x.means().0 as f32, x.means().1 as f32);
        let log_complement = |m: f32| (-m.exp()).ln_1p();
        let slope = |m: f32| f64::from(1.0 + m.exp() / (1.0 - m.exp()));
        let z = (m_w - m_l) - (log_complement(m_w) - log_complement(m_l));
        slopes(x, f64::from(z), [slope(m_w), slope(m_l)], 1.0)
    });
}

#[test]
fn mistakes_in_slic_are_named() {
    let slic = |x: Numbers, difference: f64, nll: f64| {
        let (value, slope) = if difference < 1.0 { (1.0 - difference, 1.0) } else { (0.0, 0.0) };
        [value - nll * x.logps.0, -slope - nll, slope]
    };
    let hyper = Loss::Slic.defaults();
    assert_named(Loss::Slic, hyper, DumpPrecision::F64, "log-ratios to a reference, as in RSO", |x| {
        slic(x, x.logps.0 - x.reference.0 - x.logps.1 + x.reference.1, 0.1)
    });
    assert_named(Loss::Slic, hyper, DumpPrecision::F64, "the negative log-likelihood is missing", |x| slic(x, x.logps.0 - x.logps.1, 0.0));
}
