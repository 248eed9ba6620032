//! Results of other programs, written here from closed forms: right ones pass, and each planted mistake is named.

use losses::verify::{DumpPrecision, PairProblem, Problem, Report, Results, TokenProblem, verify};
use losses::{Hyperparameters, Loss, WeightRule};

const CHOSEN: [f64; 4] = [-11.25, -7.5, -30.0, -4.0];
const REJECTED: [f64; 4] = [-13.5, -6.25, -28.0, -9.0];
const REFERENCE_CHOSEN: [f64; 4] = [-12.0, -7.0, -35.5, -4.5];
const REFERENCE_REJECTED: [f64; 4] = [-13.0, -8.0, -27.0, -6.0];

fn pairs(loss: Loss, hyper: Hyperparameters) -> PairProblem {
    PairProblem {
        terms: vec![(loss, 1.0)],
        hyper,
        policy_chosen: CHOSEN.to_vec(),
        policy_rejected: REJECTED.to_vec(),
        reference_chosen: REFERENCE_CHOSEN.to_vec(),
        reference_rejected: REFERENCE_REJECTED.to_vec(),
        lengths: Some((vec![4, 3, 12, 2], vec![5, 2, 9, 4])),
        weights: None,
        divergences: None,
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The loss of one pair and its two derivatives, from (l_w, l_l, ln π_w, ln π_l).
type Form = fn([f64; 4]) -> (f64, f64, f64);

const BETA: f64 = 0.1;
const EPSILON: f64 = 0.1;

fn margin([w, l, ref_w, ref_l]: [f64; 4]) -> f64 {
    (w - ref_w) - (l - ref_l)
}

fn dpo_at(x: [f64; 4], beta: f64) -> (f64, f64, f64) {
    let h = beta * margin(x);
    (-sigmoid(h).ln(), -beta * sigmoid(-h), beta * sigmoid(-h))
}

fn dpo(x: [f64; 4]) -> (f64, f64, f64) {
    dpo_at(x, BETA)
}

fn cdpo(x: [f64; 4]) -> (f64, f64, f64) {
    let h = BETA * margin(x);
    let slope = -BETA * ((1.0 - EPSILON) * sigmoid(-h) - EPSILON * sigmoid(h));
    (-(1.0 - EPSILON) * sigmoid(h).ln() - EPSILON * sigmoid(-h).ln(), slope, -slope)
}

fn robust(x: [f64; 4]) -> (f64, f64, f64) {
    let h = BETA * margin(x);
    let scale = 1.0 - 2.0 * EPSILON;
    let slope = -BETA * ((1.0 - EPSILON) * sigmoid(-h) + EPSILON * sigmoid(h)) / scale;
    ((-(1.0 - EPSILON) * sigmoid(h).ln() + EPSILON * sigmoid(-h).ln()) / scale, slope, -slope)
}

fn hinge(x: [f64; 4]) -> (f64, f64, f64) {
    let h = BETA * margin(x);
    if h < 1.0 { (1.0 - h, -BETA, BETA) } else { (0.0, 0.0, 0.0) }
}

fn ipo(x: [f64; 4]) -> (f64, f64, f64) {
    let d = margin(x) - 1.0 / (2.0 * BETA);
    (d * d, 2.0 * d, -2.0 * d)
}

fn slpo_at([w, l, ref_w, ref_l]: [f64; 4], alpha: f64) -> (f64, f64, f64) {
    let m = ref_w.exp() + ref_l.exp();
    let others = 1.0 - w.exp() - l.exp();
    let value = -alpha * m * w - (1.0 - alpha) * m * l - (1.0 - m) * others.ln();
    (value, -alpha * m + (1.0 - m) * w.exp() / others, -(1.0 - alpha) * m + (1.0 - m) * l.exp() / others)
}

fn slpo(x: [f64; 4]) -> (f64, f64, f64) {
    slpo_at(x, 1.0)
}

fn slpo_gkl([w, l, ref_w, ref_l]: [f64; 4]) -> (f64, f64, f64) {
    let log_m = (ref_w.exp() + ref_l.exp()).ln();
    let (u, v) = (w - log_m, l - log_m);
    (u.exp() + v.exp() - u, u.exp() - 1.0, v.exp())
}

/// The batch's mean of a form, over the four vectors.
fn results(form: impl Fn([f64; 4]) -> (f64, f64, f64)) -> Results {
    let each: Vec<_> = (0..4).map(|i| form([CHOSEN[i], REJECTED[i], REFERENCE_CHOSEN[i], REFERENCE_REJECTED[i]])).collect();
    let gradient = |of: fn(&(f64, f64, f64)) -> f64| Some(each.iter().map(|x| of(x) / 4.0).collect());
    Results { loss: Some(each.iter().map(|x| x.0).sum::<f64>() / 4.0), gradients: vec![gradient(|x| x.1), gradient(|x| x.2)] }
}

fn scaled(mut results: Results, loss: f64, gradients: f64) -> Results {
    results.loss = results.loss.map(|x| x * loss);
    results.gradients.iter_mut().flatten().flatten().for_each(|x| *x *= gradients);
    results
}

/// Rounded to f32, as a program that computes in it would at least.
fn narrowed(mut results: Results) -> Results {
    let narrow = |x: f64| f64::from(x as f32);
    results.loss = results.loss.map(narrow);
    results.gradients.iter_mut().flatten().flatten().for_each(|x| *x = narrow(*x));
    results
}

#[track_caller]
fn report(problem: &Problem, results: &Results, precision: DumpPrecision) -> Report {
    verify(problem, results, precision).expect("inputs that can be checked")
}

/// Checks that the mistake is named at both precisions.
#[track_caller]
fn named(problem: &Problem, results: &Results, words: &str) {
    for (results, precision) in [(results.clone(), DumpPrecision::F64), (narrowed(results.clone()), DumpPrecision::F32)] {
        let report = report(problem, &results, precision);
        assert!(!report.passed, "{words}: passes at {precision:?}");
        let explanation = report.explanation.unwrap_or_default();
        assert!(explanation.contains(words), "{words:?} at {precision:?}, but it says {explanation:?}");
    }
}

#[test]
fn right_losses_pass_in_both_precisions() {
    let forms: [(Loss, Form); 7] = [
        (Loss::Dpo, dpo),
        (Loss::Cdpo, cdpo),
        (Loss::Robust, robust),
        (Loss::Hinge, hinge),
        (Loss::IpoSum, ipo),
        (Loss::Slpo, slpo),
        (Loss::SlpoGkl, slpo_gkl),
    ];
    for (loss, form) in forms {
        let problem = Problem::Pairs(pairs(loss, Hyperparameters::default()));
        for (results, precision) in [(results(form), DumpPrecision::F64), (narrowed(results(form)), DumpPrecision::F32)] {
            let report = report(&problem, &results, precision);
            assert!(report.passed && report.explanation.is_none(), "{loss} at {precision:?}: {report:?}");
            assert_eq!(report.gradients.len(), 2);
        }
    }
}

#[test]
fn any_subset_of_the_results_can_be_checked() {
    let problem = Problem::Pairs(pairs(Loss::Dpo, Hyperparameters::default()));
    let only_rejected = Results { loss: None, gradients: vec![None, results(dpo).gradients[1].clone()] };
    let found = report(&problem, &only_rejected, DumpPrecision::F64);
    assert!(found.passed && found.loss.is_none() && found.gradients[0].name == "grad_policy_rejected_logps", "{found:?}");
    let only_loss = Results { gradients: vec![None, None], ..results(dpo) };
    assert!(report(&problem, &only_loss, DumpPrecision::F64).gradients.is_empty());
}

#[test]
fn the_worst_element_is_named() {
    let problem = Problem::Pairs(pairs(Loss::Dpo, Hyperparameters::default()));
    let mut wrong = results(dpo);
    wrong.gradients[0].as_mut().expect("given")[2] += 1e-3;
    let found = report(&problem, &wrong, DumpPrecision::F32);
    assert!(!found.passed && found.loss.is_some_and(|loss| loss.passed) && found.gradients[1].passed);
    assert_eq!((found.gradients[0].worst_index, found.gradients[0].passed), (2, false));
    assert!((found.gradients[0].max_abs_error - 1e-3).abs() < 1e-12 && found.gradients[0].tolerance < 1e-5);
    assert_eq!(found.explanation, None, "no known mistake moves one element");
}

#[test]
fn mistakes_in_pairwise_losses_are_named() {
    let of = |loss| Problem::Pairs(pairs(loss, Hyperparameters::default()));
    let reversed = |[w, l, ref_w, ref_l]: [f64; 4]| [l, w, ref_l, ref_w];
    let exchanged = |[w, l, ref_w, ref_l]: [f64; 4]| [ref_w, ref_l, w, l];
    named(&of(Loss::Dpo), &scaled(results(dpo), 4.0, 4.0), "a sum over the batch instead of a mean");
    named(&of(Loss::Dpo), &scaled(results(dpo), 4.0, 1.0), "in loss only; the rest is right");
    named(&of(Loss::Dpo), &results(|x| dpo_at(x, 1.0)), "β is missing");
    named(&of(Loss::Dpo), &results(|x| dpo_at(x, BETA * BETA)), "β is applied twice");
    named(&of(Loss::Dpo), &scaled(results(dpo), 1.0, 10.0), "β is missing in the gradient");
    named(&of(Loss::Dpo), &scaled(results(dpo), 1.0, 0.1), "the gradient has the factor β twice");
    named(&of(Loss::Dpo), &scaled(results(dpo), 1.0, -1.0), "the gradient has the wrong sign");
    named(&of(Loss::Dpo), &scaled(results(dpo), -1.0, -1.0), "the sign is wrong");
    let swapped = |x| {
        let (value, rejected, chosen) = dpo(reversed(x));
        (value, chosen, rejected)
    };
    named(&of(Loss::Dpo), &results(swapped), "chosen and rejected are swapped");
    let models = |x| {
        let (value, chosen, rejected) = dpo(exchanged(x));
        (value, -chosen, -rejected)
    };
    named(&of(Loss::Dpo), &results(models), "policy and reference are swapped (either turns the margin's sign)");
    named(&of(Loss::Dpo), &results(|[w, l, _, _]| dpo([w, l, 0.0, 0.0])), "the reference is ignored");
    named(&of(Loss::Dpo), &results(hinge), "this is hinge, not dpo");
    named(&of(Loss::Cdpo), &results(dpo), "the label smoothing is ignored");
    named(&of(Loss::Robust), &results(dpo), "the label smoothing is ignored");
    named(&of(Loss::Robust), &scaled(results(robust), 0.8, 0.8), "1 − 2ε");
}

/// The derivatives of Eq 6, L = −m·l_w − (1 − m) ln π_o with m = π_w + π_l, in ln π_w and ln π_l of the reference.
fn slpo_in_reference([w, l, ref_w, ref_l]: [f64; 4]) -> (f64, f64, f64) {
    let slope = -(w - (-w.exp() - l.exp()).ln_1p());
    (slpo([w, l, ref_w, ref_l]).0, ref_w.exp() * slope, ref_l.exp() * slope)
}

#[test]
fn a_gradient_that_is_missing_is_said_before_any_other_mistake() {
    for (loss, form) in [(Loss::Dpo, dpo as Form), (Loss::Ipo, ipo), (Loss::Slpo, slpo)] {
        let problem = Problem::Pairs(pairs(loss, Hyperparameters { alpha: 1.0, ..Hyperparameters::default() }));
        let right = results(form);
        let without = |places: &[usize]| {
            let mut results = right.clone();
            places.iter().for_each(|&place| results.gradients[place].as_mut().unwrap().fill(0.0));
            report(&problem, &results, DumpPrecision::F64).explanation.unwrap()
        };
        assert!(without(&[0]).starts_with("no gradient reaches policy_chosen_logps"), "{}", without(&[0]));
        if right.gradients[1].as_ref().unwrap().iter().any(|x| x.abs() > 1e-6) {
            assert!(without(&[1]).starts_with("no gradient reaches policy_rejected_logps"), "{}", without(&[1]));
            let of_all = without(&[0, 1]);
            assert!(of_all.starts_with("no gradient reaches the policy: every element is exactly 0"), "{of_all}");
            // The reference's gradient is the policy's with the other sign, which takes it away.
            assert!(loss != Loss::Dpo || of_all.contains("; or else the reference is not detached"), "{of_all}");
        }
    }
}

#[test]
fn a_reference_that_is_differentiated_is_named() {
    let of = |loss| Problem::Pairs(pairs(loss, Hyperparameters::default()));
    let in_place = "the reference is differentiated instead of the policy";
    for (loss, form) in [(Loss::Dpo, dpo as Form), (Loss::Cdpo, cdpo), (Loss::Robust, robust), (Loss::Hinge, hinge), (Loss::IpoSum, ipo)] {
        named(&of(loss), &scaled(results(form), 1.0, -1.0), in_place);
        named(&of(loss), &scaled(results(form), 1.0, 0.0), "the reference is not detached");
    }
    named(&of(Loss::Slpo), &results(slpo_in_reference), in_place);
    let both = |x| {
        let ((value, chosen, rejected), (_, in_chosen, in_rejected)) = (slpo(x), slpo_in_reference(x));
        (value, chosen + in_chosen, rejected + in_rejected)
    };
    named(&of(Loss::Slpo), &results(both), "the reference is not detached");
}

#[test]
fn mistakes_of_single_losses_are_named() {
    let lengths = [(4.0, 5.0), (3.0, 2.0), (12.0, 9.0), (2.0, 4.0)];
    let mut mean = results(dpo);
    let (mut value, mut chosen, mut rejected) = (0.0, vec![], vec![]);
    for (i, (n_w, n_l)) in lengths.into_iter().enumerate() {
        let d = (CHOSEN[i] - REFERENCE_CHOSEN[i]) / n_w - (REJECTED[i] - REFERENCE_REJECTED[i]) / n_l - 0.5 / BETA;
        value += d * d / 4.0;
        chosen.push(2.0 * d / n_w / 4.0);
        rejected.push(-2.0 * d / n_l / 4.0);
    }
    (mean.loss, mean.gradients) = (Some(value), vec![Some(chosen), Some(rejected)]);
    let sums = Hyperparameters::default();
    assert!(report(&Problem::Pairs(pairs(Loss::Ipo, sums)), &mean, DumpPrecision::F64).passed);
    named(&Problem::Pairs(pairs(Loss::IpoSum, sums)), &mean, "are means over the tokens instead of sums");
    named(&Problem::Pairs(pairs(Loss::Ipo, sums)), &results(ipo), "are sums over the tokens instead of means");
    let alpha = Hyperparameters { alpha: 0.75, ..sums };
    named(&Problem::Pairs(pairs(Loss::Slpo, alpha)), &results(|x| slpo_at(x, 0.25)), "α and 1 − α are swapped");
    named(&Problem::Pairs(pairs(Loss::Slpo, alpha)), &results(slpo), "α is ignored");
    let shift = Hyperparameters { weights: WeightRule::Shift, ..alpha };
    named(&Problem::Pairs(pairs(Loss::Slpo, shift)), &results(|x| slpo_at(x, 0.75)), "the weights follow the rule eq7 instead of shift");
}

const SHAPE: [usize; 3] = [2, 3, 5];

/// Six positions of five tokens; at the second y_w = y_l.
fn tokens(loss: Loss) -> TokenProblem {
    let logits = (0..30).map(|i| f64::from((i * 7) % 13) / 4.0 - 1.5).collect();
    let (w_w, w_l) = (vec![0.5, 0.25, 0.125, 0.375, 0.5, 0.25], vec![0.125, 0.0625, 0.25, 0.125, 0.25, 0.5]);
    let (chosen, rejected) = (vec![0, 1, 2, 3, 4, 0], vec![1, 1, 4, 0, 2, 3]);
    TokenProblem { loss, logits, shape: SHAPE, chosen, rejected, w_w, w_l: Some(w_l), keep: None }
}

/// The loss of one position and its gradient in the logits, by differences of the closed form (`log_others` given p, w and l).
type Others = fn(&[f64], usize, usize) -> f64;

fn right_others(p: &[f64], w: usize, l: usize) -> f64 {
    p.iter().enumerate().filter(|(v, _)| *v != w && *v != l).map(|(_, p)| p).sum::<f64>().ln()
}

fn token_results(problem: &TokenProblem, log_others: Others, use_w_l: bool) -> Results {
    let v = SHAPE[2];
    let at = |logits: &[f64], n: usize| -> f64 {
        let z = &logits[n * v..(n + 1) * v];
        let total: f64 = z.iter().map(|z| z.exp()).sum();
        let p: Vec<f64> = z.iter().map(|z| z.exp() / total).collect();
        let (w, l) = (problem.chosen[n] as usize, problem.rejected[n] as usize);
        let (w_w, w_l) = (problem.w_w[n], problem.w_l.as_ref().filter(|_| use_w_l).map_or(0.0, |w_l| w_l[n]));
        -(w_w * p[w].ln() + w_l * p[l].ln() + (1.0 - w_w - w_l) * log_others(&p, w, l))
    };
    let loss = (0..6).map(|n| at(&problem.logits, n)).sum::<f64>() / 6.0;
    let slope = |i: usize| {
        let moved = |by: f64| {
            let mut logits = problem.logits.clone();
            logits[i] += by;
            at(&logits, i / v)
        };
        let h = 1e-3;
        let (one, two, three) = (moved(h) - moved(-h), moved(2.0 * h) - moved(-2.0 * h), moved(3.0 * h) - moved(-3.0 * h));
        (45.0 * one - 9.0 * two + three) / (60.0 * h) / 6.0
    };
    Results { loss: Some(loss), gradients: vec![Some((0..30).map(slope).collect())] }
}

/// As [`named`], at f32 only: the gradients are differences.
#[track_caller]
fn token_named(problem: &TokenProblem, results: &Results, words: &str) {
    let report = report(&Problem::Tokens(problem.clone()), &narrowed(results.clone()), DumpPrecision::F32);
    let explanation = report.explanation.unwrap_or_default();
    assert!(!report.passed && explanation.contains(words), "{words:?}, but it says {explanation:?}");
}

#[test]
fn right_token_forms_pass() {
    for (loss, use_w_l) in [(Loss::SlpoToken, true), (Loss::SlpoLiteral, false)] {
        let problem = tokens(loss);
        let results = token_results(&problem, right_others, use_w_l);
        let found = report(&Problem::Tokens(problem.clone()), &narrowed(results.clone()), DumpPrecision::F32);
        assert!(found.passed, "{loss}: {found:?}");
        let only_loss = Results { loss: results.loss, gradients: vec![None] };
        assert!(report(&Problem::Tokens(problem), &only_loss, DumpPrecision::F64).passed, "{loss}");
    }
}

#[test]
fn mistakes_in_token_forms_are_named() {
    let problem = tokens(Loss::SlpoToken);
    let right = token_results(&problem, right_others, true);
    token_named(&problem, &scaled(right.clone(), 6.0, 6.0), "a sum over all positions");
    token_named(&problem, &scaled(right.clone(), 3.0, 3.0), "a mean over B only");
    token_named(&problem, &scaled(right.clone(), 1.0, -1.0), "the gradient has the wrong sign");
    token_named(&problem, &token_results(&problem, right_others, false), "w_l is missing");
    token_named(&tokens(Loss::SlpoLiteral), &right, "this is slpo-token, not slpo-literal");
    let of_probabilities: Others =
        |p, w, l| p.iter().enumerate().filter(|(v, _)| *v != w && *v != l).map(|(_, p)| p.exp()).sum::<f64>().ln();
    token_named(&problem, &token_results(&problem, of_probabilities, true), "claim I2");
    token_named(&problem, &token_results(&problem, |p, w, _| (1.0 - p[w]).ln(), true), "the rejected token is not masked out");
    let zeros: Others = |p, w, l| p.iter().enumerate().map(|(v, p)| if v == w || v == l { 1.0 } else { *p }).sum::<f64>().ln();
    token_named(&problem, &token_results(&problem, zeros, true), "set to 0 instead of −∞");
    token_named(
        &problem,
        &token_results(&problem, |p, w, l| (1.0 - p[w] - p[l]).ln(), true),
        "the token's probability is subtracted twice",
    );
    let mut doubled = problem.clone();
    doubled.w_w[1] *= 2.0;
    token_named(&problem, &token_results(&doubled, right_others, true), "the token's mass is counted twice");
    // The second position's gradient at its only token, 1 of 5, is p − w_l in place of p − w_w − w_l.
    let mut overwritten = right.clone();
    overwritten.gradients[0].as_mut().unwrap()[5 + 1] += problem.w_w[1] / 6.0;
    token_named(&problem, &overwritten, "the gradient at the rejected token overwrites");
    let mut exchanged = problem.clone();
    std::mem::swap(&mut exchanged.chosen, &mut exchanged.rejected);
    token_named(&problem, &token_results(&exchanged, right_others, true), "chosen and rejected tokens are swapped");
    let masked = TokenProblem { keep: Some(vec![true, true, false, true, true, false]), ..problem };
    token_named(&masked, &right, "masked positions are counted");
}

#[test]
fn inputs_that_make_no_loss_are_named() {
    let message = |problem: Problem, results: Results| verify(&problem, &results, DumpPrecision::F64).expect_err("refused").to_string();
    let good = pairs(Loss::Dpo, Hyperparameters::default());
    let mut nan = good.clone();
    nan.reference_chosen[3] = f64::NAN;
    assert!(message(Problem::Pairs(nan), results(dpo)).contains("reference_chosen_logps[3] is NaN"));
    assert!(message(Problem::Pairs(good.clone()), scaled(results(dpo), f64::NAN, 1.0)).contains("loss[0] is NaN"));
    let short = Results { loss: None, gradients: vec![Some(vec![0.0; 3]), None] };
    assert!(message(Problem::Pairs(good.clone()), short).contains("grad_policy_chosen_logps has 3 entries"));
    assert!(message(Problem::Pairs(PairProblem { terms: vec![(Loss::SlpoExact, 1.0)], ..good }), results(dpo)).contains("slpo-exact"));
    let mut out = tokens(Loss::SlpoToken);
    out.rejected[4] = 5;
    assert!(message(Problem::Tokens(out), Results::default()).contains("y_l[4] is 5, but must be below 5"));
    let nothing = TokenProblem { keep: Some(vec![false; 6]), ..tokens(Loss::SlpoToken) };
    assert!(message(Problem::Tokens(nothing), Results::default()).contains("the mask keeps no position"));
}
