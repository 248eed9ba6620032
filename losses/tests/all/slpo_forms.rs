//! What the audit says of SLPO's forms, on the losses themselves.

use engine::backend::Indices;
use engine::{Cpu, Tensor};
use losses::pairwise::slpo::Slpo;
use losses::pairwise::slpo_gkl::SlpoGkl;
use losses::tokenwise::slpo_literal::{slpo_literal, slpo_literal_composed};
use losses::tokenwise::slpo_token::{slpo_token, slpo_token_composed};
use losses::{LossError, PairInputs, PairLoss, TokenInputs, TokenWeights, Weights};

type World = Cpu<f64>;
const EQ6: Weights = Weights::Eq7 { alpha: 1.0 };

fn tensor(data: &[f64], shape: &[usize]) -> Tensor<World> {
    Tensor::parameter(&World::new(), data, shape)
}

/// (value, ∂/∂l_w, ∂/∂l_l) of one pair.
fn at(loss: impl PairLoss, policy: (f64, f64), reference: (f64, f64)) -> (f64, f64, f64) {
    let scalar = |x: f64| tensor(&[x], &[1]);
    let inputs = PairInputs::new(&scalar(policy.0), &scalar(policy.1), &scalar(reference.0), &scalar(reference.1)).expect("vectors");
    let y = loss.evaluate(&inputs).mean_all();
    let value = y.item();
    let gradients = y.backward();
    (value, gradients.of(inputs.policy().0).item(), gradients.of(inputs.policy().1).item())
}

#[test]
fn at_the_start_eq_6_pushes_with_the_losers_probability() {
    for (w, l) in [(0.3f64, 0.1f64), (0.01, 0.2), (1e-6, 1e-5)] {
        let reference = (w.ln(), l.ln());
        let (_, chosen, rejected) = at(Slpo { weights: EQ6 }, reference, reference);
        assert!((chosen + l).abs() < 1e-15 && (rejected - l).abs() < 1e-15, "{chosen} {rejected} for {l}");
    }
}

#[test]
fn eq_7_can_lower_the_winner_and_the_shift_does_not() {
    let reference = (0.27f64.ln(), 0.03f64.ln());
    let (_, chosen, _) = at(Slpo { weights: Weights::Eq7 { alpha: 0.7 } }, reference, reference);
    assert!((chosen - 0.06).abs() < 1e-12, "{chosen}");
    let (_, chosen, rejected) = at(Slpo { weights: Weights::Shift { alpha: 0.7 } }, reference, reference);
    assert!((chosen + 0.7 * 0.03).abs() < 1e-12 && (rejected - 0.7 * 0.03).abs() < 1e-12, "{chosen} {rejected}");
}

#[test]
fn sequence_slpo_is_least_at_its_weights() {
    let reference = (0.2f64.ln(), 0.3f64.ln());
    let loss = Slpo { weights: Weights::Eq7 { alpha: 0.8 } };
    let (value, chosen, rejected) = at(loss, (0.4f64.ln(), 0.1f64.ln()), reference);
    let entropy = -(0.4 * 0.4f64.ln() + 0.1 * 0.1f64.ln() + 0.5 * 0.5f64.ln());
    assert!((value - entropy).abs() < 1e-15 && chosen.abs() < 1e-15 && rejected.abs() < 1e-15, "{value} {chosen} {rejected}");
}

#[test]
fn a_pair_with_all_the_mass_gives_finite_numbers() {
    let half = 0.5f64.ln();
    let (value, chosen, rejected) = at(Slpo { weights: EQ6 }, (half, half), (-1.0, -2.0));
    assert!(value.is_finite() && value > 18.0, "{value}");
    assert!(chosen.is_finite() && rejected.is_finite() && rejected > 1e15, "{chosen} {rejected}");
}

#[test]
fn gkl_is_slpo_over_the_pairs_mass_with_an_error_of_order_m() {
    let (w, l, u, v) = (0.7f64.ln(), 0.3f64.ln(), -0.1, -2.0);
    for weights in [EQ6, Weights::Eq7 { alpha: 0.8 }, Weights::Shift { alpha: 0.6 }] {
        let mut last = None;
        for log_m in [-4.0f64, -8.0, -12.0] {
            let (policy, reference, m) = ((u + log_m, v + log_m), (w + log_m, l + log_m), log_m.exp());
            let ((_, full, _), (_, limit, _)) = (at(Slpo { weights }, policy, reference), at(SlpoGkl { weights }, policy, reference));
            let error = (full / m - limit).abs();
            let first_order = m * u.exp() * (u.exp() + v.exp() - 1.0).abs();
            assert!((error / first_order - 1.0).abs() < 0.1, "{weights:?}: {error:e} for {first_order:e}");
            assert!(last.is_none_or(|last| error < last), "{weights:?}: {error:e} after {last:?}");
            last = Some(error);
        }
    }
}

#[test]
fn gkl_starts_with_gradients_of_order_1_at_any_length_and_rests_at_log_alpha() {
    let rho = (1.0 / (1.0 + 0.5f64.exp()), 1.0 / (1.0 + (-0.5f64).exp()));
    for depth in [-10.0, -121.0, -1e4] {
        let reference = (depth, depth + 0.5);
        let (_, chosen, rejected) = at(SlpoGkl { weights: EQ6 }, reference, reference);
        assert!((chosen + rho.1).abs() < 1e-12 && (rejected - rho.1).abs() < 1e-12, "{chosen} {rejected} at {depth}");
        let log_m = depth - rho.0.ln();
        let (_, chosen, rejected) =
            at(SlpoGkl { weights: Weights::Eq7 { alpha: 0.9 } }, (log_m + 0.9f64.ln(), log_m + 0.1f64.ln()), reference);
        assert!(chosen.abs() < 1e-11 && rejected.abs() < 1e-11, "{chosen} {rejected} at {depth}");
    }
}

fn token_inputs(logits: &Tensor<World>, y_w: &[u32], y_l: &[u32], weights: TokenWeights<World>) -> TokenInputs<World> {
    TokenInputs::new(logits, &y_w.into(), &y_l.into(), weights, None).expect("a batch that fits")
}

#[test]
fn where_the_tokens_agree_the_mended_loss_starts_at_rest_and_the_literal_one_falls_without_limit() {
    let tokens: Indices = [1].into();
    let reference = tensor(&[0.0, 2.0, -1.0], &[1, 3]);
    let p = reference.softmax().to_f64()[1];
    assert!(p > 0.5);
    let mended = TokenWeights::from_reference(EQ6, &reference, &tokens, &tokens).expect("tokens below V");
    let y = slpo_token(&token_inputs(&reference, &tokens, &tokens, mended)).mean_all();
    assert!(y.backward().of(&reference).to_f64().iter().all(|g| g.abs() < 1e-15));
    let literal = |scale: f64| {
        let weights = TokenWeights::literal(&reference, &tokens, &tokens).expect("tokens below V");
        slpo_literal(&token_inputs(&tensor(&[0.0, scale, 0.0], &[1, 3]), &tokens, &tokens, weights)).item()
    };
    assert!(literal(100.0) < -50.0 && literal(1000.0) < -500.0, "{} {}", literal(100.0), literal(1000.0));
}

#[test]
fn with_no_other_token_the_mended_loss_is_a_number_and_the_literal_one_is_not() {
    let weights = || TokenWeights::given(&tensor(&[1.0], &[1]), None).expect("a mass");
    let logits = tensor(&[0.5, -0.5], &[1, 2]);
    let y = slpo_token(&token_inputs(&logits, &[0], &[1], weights()));
    assert!((y.item() + logits.log_softmax().to_f64()[0]).abs() < 1e-15);
    let p = logits.softmax().to_f64();
    let gradient = y.mean_all().backward().of(&logits).to_f64();
    assert!((gradient[0] - (p[0] - 1.0)).abs() < 1e-15 && (gradient[1] - p[1]).abs() < 1e-15, "{gradient:?}");
    assert!(slpo_literal(&token_inputs(&logits, &[0], &[1], weights())).item().is_nan());
}

#[test]
fn token_slpo_has_the_audits_gradient() {
    let logits = tensor(&[0.3, -1.0, 0.8, 0.1], &[1, 4]);
    let weights = TokenWeights::given(&tensor(&[0.4], &[1]), Some(&tensor(&[0.1], &[1]))).expect("masses");
    let gradient = slpo_token(&token_inputs(&logits, &[2], &[0], weights)).mean_all().backward().of(&logits).to_f64();
    let p = logits.softmax().to_f64();
    let (u, p_o) = (0.5, p[1] + p[3]);
    let expected = [p[0] - 0.1, p[1] * (1.0 - u / p_o), p[2] - 0.4, p[3] * (1.0 - u / p_o)];
    assert!(gradient.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-15), "{gradient:?} for {expected:?}");
}

#[test]
fn masked_positions_neither_count_nor_receive_a_gradient() {
    let logits = tensor(&[0.1, 0.2, 0.3, f64::NAN, 0.0, 0.0], &[1, 2, 3]);
    let weights = TokenWeights::given(&tensor(&[0.5, 0.5], &[1, 2]), None).expect("masses");
    let inputs = TokenInputs::new(&logits, &[0, 0].into(), &[1, 1].into(), weights.clone(), Some(&[true, false])).expect("a batch");
    let alone =
        token_inputs(&tensor(&[0.1, 0.2, 0.3], &[1, 3]), &[0], &[1], TokenWeights::given(&tensor(&[0.5], &[1]), None).expect("a mass"));
    for form in [slpo_token, slpo_token_composed, slpo_literal, slpo_literal_composed] {
        let y = inputs.mean(&form(&inputs));
        assert_eq!(y.item(), form(&alone).item());
        assert_eq!(y.backward().of(&logits).to_f64()[3..], [0.0; 3]);
    }
    let nothing = TokenInputs::new(&logits, &[0, 0].into(), &[1, 1].into(), weights.clone(), Some(&[false, false]));
    assert_eq!(nothing.expect_err("refused"), LossError::NothingKept);
    let outside = TokenInputs::new(&logits, &[0, 3].into(), &[1, 1].into(), weights, None);
    assert!(outside.expect_err("refused").to_string().contains("y_w[1] is 3, but must be below 3"));
}
