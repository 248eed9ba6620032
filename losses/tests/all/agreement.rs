//! Every loss: fused against composed, hand-derived gradient against forward mode and differences, symmetric Hessian, f32 against f64, at
//! ordinary inputs and at log-probabilities and margins of ±1e4.

use crate::common::{check, check_differences};
use engine::backend::Indices;
use engine::gradcheck::{Draw, Input};
use engine::{Backend, Tensor, function};
use losses::exact::slpo_exact::{slpo_exact, slpo_exact_composed};
use losses::tokenwise::slpo_literal::{slpo_literal, slpo_literal_composed};
use losses::tokenwise::slpo_token::{slpo_token, slpo_token_composed};
use losses::{
    ExactTargets, Hyperparameters, Loss, PairInputs, PairRows, Reduction, TokenInputs, TokenWeights, WeightRule, pairwise, pairwise_twin,
};

/// Policy and reference log-probabilities of some pairs, as numbers that f32 has too.
#[derive(Clone)]
struct Pairs {
    policy: [Vec<f64>; 2],
    reference: [Vec<f64>; 2],
}

impl Pairs {
    fn new(rows: &[[f64; 4]]) -> Self {
        let column = |i: usize| rows.iter().map(|row| f64::from(row[i] as f32)).collect();
        Self { policy: [column(0), column(1)], reference: [column(2), column(3)] }
    }
    fn inputs<B: Backend>(&self, x: &[Tensor<B>]) -> PairInputs<B> {
        let n = self.policy[0].len();
        let [w, l] = self.reference.each_ref().map(|data| Tensor::constant(x[0].backend(), data, &[n]));
        let weights = Tensor::full(x[0].backend(), 0.75, &[n]);
        PairInputs::new(&x[0], &x[1], &w, &l)
            .and_then(|inputs| inputs.with_lengths(vec![4; n], vec![6; n])?.with_tails(&x[0].scale(0.25), &x[1].scale(0.75)))
            .and_then(|inputs| inputs.with_reference_tails(&w.scale(0.25), &l.scale(0.75))?.with_weights(&weights))
            .and_then(|inputs| inputs.with_divergences(&weights, &x[1].scale(-0.25)))
            .expect("vectors of one length")
    }
    fn points(&self) -> Vec<Input> {
        self.policy.iter().map(|data| Input::new(data.clone(), &[data.len()])).collect()
    }
}

/// The second pair is one at the start: `start` leaves it out for losses with a kink there.
fn ordinary(start: bool) -> Pairs {
    let second = if start { [-0.7, -1.5, -0.7, -1.5] } else { [-0.7, -1.5, -0.8, -1.75] };
    Pairs::new(&[[-1.0, -2.0, -1.5, -1.25], second, [-12.0, -7.5, -9.0, -8.0], [-3.0, -0.9, -2.0, -1.0], [-20.25, -21.0, -20.0, -22.0]])
}

fn extreme() -> Pairs {
    Pairs::new(&[
        [-1e4, -1e4, -1e4, -1e4],
        [-1e4, -1.0, -1.0, -1e4],
        [-1.0, -1e4, -1e4, -1.0],
        [-9.99e3, -120.0, -1e4, -121.0],
        [-1e-3, -8.0, -2e-3, -7.0],
        [-9e-4, -1e4, -1e4, -1e-3],
        [-700.0, -745.0, -709.0, -750.0],
        [-88.0, -104.0, -87.5, -103.0],
    ])
}

/// Losses with a kink where the policy is the reference: no derivative is unique there.
const WITH_A_KINK_AT_THE_START: [Loss; 2] = [Loss::Dpop, Loss::Bpo];

/// Losses of powers of probabilities, which no number holds for the extreme ones; and of BPO the extremes have its kink, where the order of
/// the terms decides.
const WITHOUT_EXTREMES: [Loss; 4] = [Loss::AlphaPo, Loss::ChiPo, Loss::FDpo, Loss::Bpo];

#[test]
fn pairwise_losses_agree_with_their_compositions_and_derivatives() {
    let base = Hyperparameters::default();
    let shift = Hyperparameters { alpha: 0.7, weights: WeightRule::Shift, ..base };
    let variants = [base, Hyperparameters { alpha: 0.75, ..base }, shift, Hyperparameters { nll_reduction: Reduction::Pair, ..base }];
    for loss in Loss::ALL.into_iter().filter(|loss| loss.is_pairwise()) {
        for hyper in variants {
            for (pairs, moderate) in [(ordinary(!WITH_A_KINK_AT_THE_START.contains(&loss)), true), (extreme(), false)] {
                if !moderate && WITHOUT_EXTREMES.contains(&loss) {
                    continue;
                }
                let (points, twin) = (pairs.points(), pairs.clone());
                let fused = function!(|x; pairs: Pairs, loss: Loss, hyper: Hyperparameters| {
                    pairwise(*loss, hyper, &pairs.inputs(x)).expect("a pairwise loss")
                });
                let composed = function!(|x; twin: Pairs, loss: Loss, hyper: Hyperparameters| {
                    pairwise_twin(*loss, hyper, &twin.inputs(x)).expect("a pairwise loss")
                });
                check(loss.name(), &fused, &composed, &points);
                if moderate {
                    check_differences(loss.name(), &fused, &points);
                }
            }
        }
    }
}

/// Tokens and masses at 6 positions of 5 tokens; the tokens agree at the third and the sixth.
#[derive(Clone)]
struct Tokens;

impl Tokens {
    const SHAPE: [usize; 3] = [2, 3, 5];
    fn inputs<B: Backend>(&self, logits: &Tensor<B>, keep: Option<&[bool]>) -> TokenInputs<B> {
        let mass = |data: &[f64]| Tensor::constant(logits.backend(), data, &[2, 3]);
        let (chosen, rejected): (Indices, Indices) = ([0, 4, 2, 1, 3, 0].into(), [1, 0, 2, 4, 2, 0].into());
        let (w_w, w_l) = ([0.5, 0.25, 0.75, 1.0, 0.0, 0.125], [0.25, 0.5, 0.0, 0.0, 0.5, 0.25]);
        let weights = TokenWeights::given(&mass(&w_w), Some(&mass(&w_l))).expect("masses for each position");
        TokenInputs::new(logits, &chosen, &rejected, weights, keep).expect("a batch that fits")
    }
}

fn logits(shape: &[usize], scale: f64) -> Input {
    let mut draw = Draw::new(7, 4);
    let data = draw.normal(shape).data.into_iter().map(|x| f64::from((x * scale) as f32)).collect();
    Input::new(data, shape)
}

#[test]
fn token_losses_agree_with_their_compositions_and_derivatives() {
    let keep = [true, true, true, false, true, true];
    for (scale, moderate) in [(1.5, true), (30.0, false), (1e4, false)] {
        let points = [logits(&Tokens::SHAPE, scale)];
        let fused = function!(|x; keep: [bool; 6]| slpo_token(&Tokens.inputs(&x[0], Some(keep))));
        check(
            "slpo-token, masked",
            &fused,
            &function!(|x; keep: [bool; 6]| slpo_token_composed(&Tokens.inputs(&x[0], Some(keep)))),
            &points,
        );
        let fused = function!(|x| slpo_token(&Tokens.inputs(&x[0], None)));
        check("slpo-token", &fused, &function!(|x| slpo_token_composed(&Tokens.inputs(&x[0], None))), &points);
        let literal = function!(|x| slpo_literal(&Tokens.inputs(&x[0], None)));
        check("slpo-literal", &literal, &function!(|x| slpo_literal_composed(&Tokens.inputs(&x[0], None))), &points);
        if moderate {
            check_differences("slpo-token", &fused, &points);
            check_differences("slpo-literal", &literal, &points);
        }
    }
}

/// Two pairs in 9 rows of 4 tokens; row 3 belongs to none.
fn targets<B: Backend>(backend: &B, scale: f64, moved: f64) -> ExactTargets<B> {
    let pairs = [
        PairRows { chosen_start: 0, chosen: vec![1, 0, 3], rejected_start: 4, rejected: vec![1, 2] },
        PairRows { chosen_start: 6, chosen: vec![3], rejected_start: 7, rejected: vec![0, 3] },
    ];
    let reference = logits(&[10, 4], scale);
    let reference = Tensor::constant(backend, &reference.data[..36], &[9, 4]);
    ExactTargets::from_reference(&reference, &pairs, moved).expect("pairs that part")
}

#[test]
fn the_exact_loss_agrees_with_its_composition_and_derivatives() {
    for moved in [1.0, 0.4] {
        for (scale, moderate) in [(1.5, true), (1e3, false)] {
            let points = [Input::new(logits(&[9, 4], 0.9 * scale).data, &[9, 4])];
            let fused = function!(|x; scale: f64, moved: f64| {
                slpo_exact(&x[0], &targets(x[0].backend(), *scale, *moved)).expect("logits in the targets' shape")
            });
            let composed = function!(|x; scale: f64, moved: f64| {
                slpo_exact_composed(&x[0], &targets(x[0].backend(), *scale, *moved)).expect("logits in the targets' shape")
            });
            check("slpo-exact", &fused, &composed, &points);
            if moderate {
                check_differences("slpo-exact", &fused, &points);
            }
        }
    }
}
