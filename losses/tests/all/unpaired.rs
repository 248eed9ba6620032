//! Losses of labelled rows: their oracle values, their starts, what follows from a row standing alone, and what `verify` makes of them.

use engine::{Backend, Cpu, Tensor};
use losses::verify::{DumpPrecision, Problem, Report, Results, RowProblem, verify};
use losses::{Hyperparameters, Loss, LossError, Need, Objective, RowInputs, Running, unpaired, unpaired_twin};

type World = Cpu<f64>;

const LOSSES: [Loss; 3] = [Loss::Kto, Loss::ApoZeroUnpaired, Loss::BcoUnpaired];

fn vector<B: Backend>(backend: &B, values: &[f64]) -> Tensor<B> {
    Tensor::parameter(backend, values, &[values.len()])
}

/// Rows whose log-ratios are `t`, under a reference of −12.
fn rows<B: Backend>(backend: &B, t: &[f64], labels: &[bool], divergence: f64) -> RowInputs<B> {
    let policy: Vec<f64> = t.iter().map(|t| t - 12.0).collect();
    let reference = Tensor::constant(backend, &vec![-12.0; t.len()], &[t.len()]);
    RowInputs::new(&vector(backend, &policy), &reference, labels).expect("two vectors of one length").with_divergence(divergence)
}

fn value_and_slope(loss: Loss, hyper: &Hyperparameters, inputs: &RowInputs<World>, is_twin: bool) -> (f64, Vec<f64>) {
    let values = if is_twin { unpaired_twin(loss, hyper, inputs) } else { unpaired(loss, hyper, inputs) };
    let mean = values.expect("a loss of labelled rows").mean_all();
    (mean.item(), mean.backward().of(inputs.policy()).to_f64())
}

fn settings() -> Hyperparameters {
    Hyperparameters { delta: Some(0.025), ..Hyperparameters::default() }
}

/// (t, desirable, value, slope), from an independent program in numpy: z = 0.3 for kto, δ = 0.025 for bco-unpaired.
type Oracle = (f64, bool, f64, f64);
const KTO: [Oracle; 4] = [
    (0.0, true, 0.5074994375506204, -0.024994375843642433),
    (0.0, false, 0.4925005624493797, 0.024994375843642433),
    (1.0, true, 0.48250714233361025, -0.024969399993066348),
    (-0.5, false, 0.48001065984441815, 0.024960042628014448),
];
const APO: [Oracle; 4] = [
    (0.0, true, 0.5, -0.025),
    (0.0, false, 0.5, 0.025),
    (1.0, true, 0.47502081252106, -0.024937604019289197),
    (-0.5, false, 0.48750260351578967, 0.024984381508111646),
];
const BCO: [Oracle; 4] = [
    (0.0, true, 0.7057253035255249, -0.05062496744995104),
    (0.0, false, 0.6807253035255248, 0.04937503255004896),
    (1.0, true, 0.6563501408267951, -0.048125878412146474),
    (-0.5, false, 0.6563501408267951, 0.048125878412146474),
];

#[test]
fn the_oracles_of_labelled_rows_hold() {
    for (loss, oracles) in LOSSES.into_iter().zip([KTO, APO, BCO]) {
        for (t, label, value, slope) in oracles {
            let inputs = rows(&World::new(), &[t], &[label], if loss == Loss::Kto { 0.3 } else { 0.0 });
            for is_twin in [false, true] {
                let found = value_and_slope(loss, &settings(), &inputs, is_twin);
                assert!((found.0 - value).abs() < 1e-12, "{loss} at {t}, {label}: {} for {value}", found.0);
                assert!((found.1[0] - slope).abs() < 1e-12, "{loss} at {t}, {label}: {} for {slope}", found.1[0]);
            }
        }
    }
}

#[test]
fn the_start_is_what_theory_says() {
    let hyper = Hyperparameters { desirable_weight: 1.5, undesirable_weight: 0.5, delta: Some(0.4), ..Hyperparameters::default() };
    for loss in LOSSES {
        for label in [true, false] {
            let (found, _) = value_and_slope(loss, &hyper, &rows(&World::new(), &[0.0], &[label], 0.0), false);
            let expected = loss.at_start_of_row(&hyper, label).expect("a loss of labelled rows");
            assert!((found - expected).abs() < 1e-14, "{loss}: {found} for {expected}");
        }
    }
    let usual = Hyperparameters::default();
    let starts = LOSSES.map(|loss| loss.start_value(&usual));
    assert_eq!(starts, [Some(0.5), Some(0.5), Some(std::f64::consts::LN_2)]);
    assert_eq!(Loss::Kto.start_value(&hyper), None, "it depends on the labels");
    assert_eq!((Loss::Kto.at_start_of_row(&hyper, true), Loss::Dpo.at_start_of_row(&hyper, true)), (Some(0.75), None));
}

#[test]
fn a_batch_is_the_sum_of_its_parts() {
    let (t, labels) = ([1.0, -2.0, 0.5, 3.0, -1.0], [true, false, false, true, true]);
    for loss in LOSSES {
        let (whole, slopes) = value_and_slope(loss, &settings(), &rows(&World::new(), &t, &labels, 0.2), false);
        let parts = [0..2, 2..5].map(|part| {
            let inputs = rows(&World::new(), &t[part.clone()], &labels[part.clone()], 0.2);
            let (mean, slopes) = value_and_slope(loss, &settings(), &inputs, false);
            (mean * part.len() as f64, slopes.into_iter().map(|slope| slope * part.len() as f64).collect::<Vec<_>>())
        });
        assert!((whole * 5.0 - parts[0].0 - parts[1].0).abs() < 1e-14, "{loss}");
        for (slope, part) in slopes.iter().zip(parts[0].1.iter().chain(&parts[1].1)) {
            assert!((slope * 5.0 - part).abs() < 1e-15, "{loss}");
        }
    }
}

#[test]
fn values_and_slopes_stay_finite_in_f32() {
    let backend = Cpu::<f32>::new();
    for loss in LOSSES {
        let inputs = rows(&backend, &[1e4, 1e4, -1e4, -1e4], &[true, false, true, false], 0.3);
        for form in [unpaired, unpaired_twin] {
            let values = form(loss, &settings(), &inputs).unwrap();
            let slopes = values.mean_all().backward().of(inputs.policy()).to_f64();
            assert!(values.to_f64().iter().chain(&slopes).all(|x| x.is_finite()), "{loss}: {:?}, {slopes:?}", values.to_f64());
        }
    }
}

#[test]
fn apo_zero_is_kto_without_a_divergence() {
    let inputs = rows(&World::new(), &[1.0, -0.5, 2.0], &[true, false, false], 0.0);
    let [kto, apo] = [Loss::Kto, Loss::ApoZeroUnpaired].map(|loss| value_and_slope(loss, &settings(), &inputs, false));
    assert_eq!(kto, apo);
}

#[test]
fn sums_are_of_losses_of_one_kind() {
    let usual = Hyperparameters::default();
    let sum = Objective::combine(&[(Loss::Kto, 0.8), (Loss::BcoUnpaired, 0.2)], usual).unwrap();
    let inputs = rows(&World::new(), &[1.0, -0.5], &[true, false], 0.0);
    let of = |loss| unpaired(loss, &usual, &inputs).unwrap().to_f64();
    let (found, kto, bco) = (sum.unpaired(&inputs).unwrap().to_f64(), of(Loss::Kto), of(Loss::BcoUnpaired));
    (0..2).for_each(|i| assert!((found[i] - 0.8 * kto[i] - 0.2 * bco[i]).abs() < 1e-15));
    assert!(sum.is_unpaired() && sum.needs(Need::Divergence) && !Objective::new(Loss::Dpo, usual).unwrap().is_unpaired());
    let message = Objective::combine(&[(Loss::Dpo, 1.0), (Loss::Kto, 1.0)], usual).unwrap_err().to_string();
    assert!(message.contains("kto cannot be added to a loss of pairs"), "{message}");
    assert_eq!(unpaired(Loss::Dpo, &usual, &inputs).unwrap_err(), LossError::NotUnpaired { loss: "dpo" });
}

#[test]
fn a_run_remembers_the_mean_of_its_rewards() {
    let hyper = Hyperparameters { beta: 0.5, ..Hyperparameters::default() };
    let mut running = Running::default();
    running.remember_rows(2.0);
    running.remember_rows(1.0);
    assert_eq!(running.apply(&hyper).delta, Some(0.75));
    assert_eq!((running.steps, running.margin), (2, 0.0));
}

/// Four rows under kto with weights, as another program would hand them over.
fn problem(loss: Loss) -> RowProblem {
    let hyper = Hyperparameters { desirable_weight: 1.5, ..settings() };
    let (policy, reference) = (vec![-11.0, -7.0, -20.5, -6.0], vec![-12.0, -7.5, -19.0, -8.0]);
    RowProblem { terms: vec![(loss, 1.0)], hyper, policy, reference, labels: vec![true, false, false, true], divergence: 0.3 }
}

/// What a program computes that has this problem in mind.
fn results(problem: &RowProblem) -> Results {
    let world = World::new();
    let reference = Tensor::constant(&world, &problem.reference, &[4]);
    let inputs = RowInputs::new(&vector(&world, &problem.policy), &reference, &problem.labels).unwrap();
    let (loss, gradient) = value_and_slope(problem.terms[0].0, &problem.hyper, &inputs.with_divergence(problem.divergence), false);
    Results { loss: Some(loss), gradients: vec![Some(gradient)] }
}

fn check(problem: &RowProblem, results: &Results) -> Report {
    verify(&Problem::Rows(problem.clone()), results, DumpPrecision::F64).expect("a problem that is well formed")
}

#[test]
fn a_right_dump_passes_and_one_with_z_below_0_has_it_at_0() {
    for loss in LOSSES {
        let right = problem(loss);
        assert!(check(&right, &results(&right)).passed, "{loss}");
    }
    let [below, at] = [-0.3, 0.0].map(|divergence| RowProblem { divergence, ..problem(Loss::Kto) });
    assert!(check(&below, &results(&at)).passed);
    let report = check(&below, &results(&below));
    assert!(!report.passed && report.explanation.unwrap().contains("not brought up to 0"));
}

#[test]
fn a_wrong_dump_is_named() {
    let right = problem(Loss::Kto);
    let hyper = |change: fn(&mut Hyperparameters)| {
        let mut wrong = right.clone();
        change(&mut wrong.hyper);
        results(&wrong)
    };
    let scaled = |loss: f64, gradient: f64| {
        let Results { loss: value, gradients } = results(&right);
        let gradients = gradients.into_iter().map(|part| part.map(|part| part.into_iter().map(|x| x * gradient).collect()));
        Results { loss: value.map(|value| value * loss), gradients: gradients.collect() }
    };
    let cases = [
        (hyper(|hyper| hyper.beta = 1.0), "β is missing"),
        (
            hyper(|hyper| (hyper.desirable_weight, hyper.undesirable_weight) = (1.0, 1.5)),
            "weights of desirable and undesirable rows are swapped",
        ),
        (hyper(|hyper| hyper.desirable_weight = 1.0), "are ignored"),
        (results(&RowProblem { labels: vec![false, true, true, false], ..right.clone() }), "desirable and undesirable rows are swapped"),
        (results(&RowProblem { divergence: 0.0, ..right.clone() }), "z is ignored"),
        (results(&RowProblem { divergence: -0.3, ..right.clone() }), "added to the log-ratio"),
        (results(&RowProblem { reference: vec![0.0; 4], ..right.clone() }), "the reference is ignored"),
        (scaled(4.0, 4.0), "a sum over the batch"),
        (scaled(1.0, -1.0), "wrong sign"),
        (scaled(1.0, 10.0), "the factor β is missing in the gradient"),
        (
            results(&RowProblem { hyper: Hyperparameters { delta: None, ..right.hyper }, ..problem(Loss::BcoUnpaired) }),
            "this is bco-unpaired, not kto",
        ),
    ];
    for (results, words) in cases {
        let report = check(&right, &results);
        let explanation = report.explanation.unwrap_or_default();
        assert!(!report.passed && explanation.contains(words), "{words}: {explanation}");
    }
    let bco = problem(Loss::BcoUnpaired);
    let ignored = RowProblem { hyper: Hyperparameters { delta: Some(0.0), ..bco.hyper }, ..bco.clone() };
    assert!(check(&bco, &results(&ignored)).explanation.unwrap().contains("δ is ignored"));
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |problem: RowProblem| verify(&Problem::Rows(problem), &Results::default(), DumpPrecision::F64).unwrap_err();
    let right = problem(Loss::Kto);
    assert!(matches!(refused(RowProblem { labels: vec![true], ..right.clone() }), LossError::Count { what: "label", .. }));
    assert!(matches!(refused(RowProblem { divergence: f64::NAN, ..right.clone() }), LossError::NotFinite { what: "kl", .. }));
    assert!(matches!(refused(RowProblem { policy: vec![f64::NAN; 4], ..right.clone() }), LossError::NotFinite { .. }));
    let world = World::new();
    let (two, three) = (vector(&world, &[1.0; 2]), vector(&world, &[1.0; 3]));
    assert!(matches!(RowInputs::new(&two, &three, &[true; 2]), Err(LossError::Shape { what: "reference_logps", .. })));
}
