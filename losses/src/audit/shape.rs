//! The shape of the objectives: is there a "bowl"?

use super::claim::{Check, Claim, Statement, round_off};
use super::instance::{curvature, differentiate, eq7, hessian_vector, log_distribution, loss_of_logits, normals, uniform};
use crate::hyperparameters::Hyperparameters;
use crate::loss::Loss;
use crate::slpo_token::slpo_token;
use crate::token::{TokenInputs, TokenWeights};
use engine::{Backend, Generator, Tensor};

pub const CLAIMS: &[super::Computation] = &[c1];

/// Sequences (or tokens) that are told apart, the first the winner and the second the loser.
const OUTCOMES: usize = 6;

/// A policy that gives the pair more than its target mass, so that π_o < w_o, and a direction within the others that leaves π_o unchanged.
struct Instance {
    logits: Vec<f64>,
    direction: Vec<f64>,
    /// (ln π_w, ln π_l) of the reference.
    reference: (f64, f64),
    /// (π_o − w_o)·Var_{π|o}(direction).
    predicted: f64,
}

impl Instance {
    fn draw(generator: &mut Generator) -> Self {
        let reference = (uniform(generator, 0.03, 0.1), uniform(generator, 0.03, 0.1));
        let pair = uniform(generator, 0.5, 0.8);
        let others = log_distribution(generator, OUTCOMES - 2);
        let mut logits = vec![(0.6 * pair).ln(), (0.4 * pair).ln()];
        logits.extend(others.iter().map(|x| x + (1.0 - pair).ln()));
        let mut direction = normals(generator, OUTCOMES - 2, 1.0);
        let mean: f64 = direction.iter().zip(&others).map(|(u, p)| u * p.exp()).sum();
        direction.iter_mut().for_each(|u| *u -= mean);
        let variance: f64 = direction.iter().zip(&others).map(|(u, p)| u * u * p.exp()).sum();
        let predicted = ((1.0 - pair) - (1.0 - reference.0 - reference.1)) * variance;
        let direction = [vec![0.0; 2], direction].concat();
        Self { logits, direction, reference: (reference.0.ln(), reference.1.ln()), predicted }
    }

    /// The token form with the same masses: one position, whose tokens are the outcomes.
    fn token_form<B: Backend>(&self, z: &Tensor<B>, alpha: f64) -> Tensor<B> {
        let mass = self.reference.0.exp() + self.reference.1.exp();
        let constant = |value: f64| Tensor::constant(z.backend(), &[value], &[1]);
        let weights = TokenWeights::given(&constant(alpha * mass), Some(&constant((1.0 - alpha) * mass))).expect("one of each");
        let logits = z.reshape(&[1, OUTCOMES]);
        slpo_token(&TokenInputs::new(&logits, &[0u32].into(), &[1u32].into(), weights, None).expect("two tokens of the vocabulary"))
    }
}

/// The least curvature of Eq 7 over random directions, in the logits of the three classes w, l and o, and what diag(p) − ppᵀ gives there.
fn three_classes(generator: &mut Generator, instance: &Instance, alpha: f64) -> (f64, f64) {
    let z = log_distribution(generator, 3);
    let p: Vec<f64> = z.iter().map(|x| x.exp()).collect();
    let loss = |z: &_| loss_of_logits(Loss::Slpo, &eq7(alpha), z, instance.reference);
    let (mut least, mut apart) = (f64::MAX, 0.0f64);
    for _ in 0..16 {
        let u = normals(generator, 3, 1.0);
        let mean: f64 = u.iter().zip(&p).map(|(u, p)| u * p).sum();
        let variance: f64 = u.iter().zip(&p).map(|(u, p)| (u - mean).powi(2) * p).sum();
        let found = curvature(&z, &u, loss);
        least = least.min(found);
        apart = apart.max((found - variance).abs());
    }
    (least, apart)
}

/// ⟨u, Hu⟩ = (π_o − w_o)·Var_{π|o}(u) for u within the others that keeps π_o: below 0 where π_o < w_o.
fn c1(generator: &mut Generator) -> Claim {
    let instance = Instance::draw(generator);
    let Instance { logits: z, direction: u, reference, predicted } = &instance;
    let alpha = uniform(generator, 0.6, 0.9);
    let of = |alpha: f64| curvature(z, u, |z| loss_of_logits(Loss::Slpo, &eq7(alpha), z, *reference));
    let (eq6, soft, token) = (of(1.0), of(alpha), curvature(z, u, |z| instance.token_form(z, alpha)));
    let (least, apart) = three_classes(generator, &instance, alpha);
    let dpo = |z: &_| loss_of_logits(Loss::Dpo, &Hyperparameters::default(), z, *reference);
    let any = normals(generator, OUTCOMES, 1.0);
    let hessian_dpo = hessian_vector(z, &any, |z| loss_of_logits(Loss::Dpo, &Hyperparameters::default(), z, *reference));
    let curvature_dpo: f64 = hessian_dpo.iter().zip(&any).map(|(h, u)| h * u).sum();
    let slope = differentiate(z, dpo).1[0].abs();
    let share = slope / Hyperparameters::default().beta;
    let convex = Hyperparameters::default().beta.powi(2) * share * (1.0 - share) * (any[0] - any[1]).powi(2);
    let checks = vec![
        Check::new("Eq 6's curvature along the others", eq6, *predicted, round_off(10.0)),
        Check::new("Eq 7's curvature there", soft, *predicted, round_off(10.0)),
        Check::new("the token form's curvature there", token, *predicted, round_off(10.0)),
        Check::new("three classes: distance from diag(p) − ppᵀ", apart, 0.0, round_off(10.0)),
        Check::new("DPO's curvature", curvature_dpo, convex, round_off(1.0)),
    ];
    let holds = eq6.min(soft).min(token) >= 0.0;
    let evidence = format!(
        "Along the other sequences' logits the curvature is {eq6:.5} for Eq 6, {soft:.5} for Eq 7 and {token:.5} for the token form; in the three \
         classes Eq 7's least is {least:.2e}; DPO's is {curvature_dpo:.2e}, with the slope {slope:.4}, which is zero nowhere."
    );
    Statement {
        id: "C1",
        claim: "Section 5: the objective has a natural \"bowl shape\"",
        formula: "⟨u, Hu⟩ = (π_o − w_o)·Var_{π|o}(u) for u within y_o; diag(p) − ppᵀ in the classes (w, l, o)",
        source: concat!(file!(), "::c1"),
        verdicts: ["true", "false in logits, true in the three reduced classes (Eq 7)"],
    }
    .judge(checks, holds && least >= 0.0, evidence)
}
