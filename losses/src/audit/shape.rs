//! The shape of the objectives, and the claim that they have a "bowl". Hessians come from Hessian-vector products, followed by their
//! eigenvalues.

use super::claim::{Check, Claim, Statement, distance, round_off};
use super::eigen::{Matrix, asymmetry, eigenvalues, hessian};
use super::forked_pair::ForkedPair;
use super::instance::{differentiate, eq7, log_distribution, loss_of_log_probs, loss_of_logits, normals, uniform};
use crate::hyperparameters::Hyperparameters;
use crate::loss::Loss;
use crate::tokenwise::slpo_token::slpo_token;
use crate::tokenwise::token::{TokenInputs, TokenWeights};
use engine::{Backend, Generator, Tensor};

pub const CLAIMS: &[super::claim::Computation] = &[c1];

/// Number of sequences (or tokens) that are told apart; the first is the winner and the second the loser.
pub const OUTCOMES: usize = 6;

/// A policy that gives the pair more than its target mass, so that π_o < w_o.
pub struct Instance {
    /// ln π over the outcomes.
    pub logits: Vec<f64>,
    /// (ln π_w, ln π_l) of the reference.
    pub reference: (f64, f64),
    /// Eq 7's α.
    pub alpha: f64,
}

impl Instance {
    pub fn draw(generator: &mut Generator) -> Self {
        let reference = (uniform(generator, 0.03, 0.1), uniform(generator, 0.03, 0.1));
        let pair = uniform(generator, 0.5, 0.8);
        let others = log_distribution(generator, OUTCOMES - 2);
        let mut logits = vec![(0.6 * pair).ln(), (0.4 * pair).ln()];
        logits.extend(others.iter().map(|x| x + (1.0 - pair).ln()));
        Self { logits, reference: (reference.0.ln(), reference.1.ln()), alpha: uniform(generator, 0.6, 0.9) }
    }

    fn mass(&self) -> f64 {
        self.reference.0.exp() + self.reference.1.exp()
    }

    fn pi(&self) -> Vec<f64> {
        self.logits.iter().map(|x| x.exp()).collect()
    }

    /// Computes the Hessian of a pairwise loss in the outcomes' logits.
    pub fn hessian(&self, loss: Loss, alpha: f64) -> Matrix {
        hessian(&self.logits, |z| loss_of_logits(loss, &eq7(alpha), z, self.reference))
    }

    /// Computes the Hessian of Eq 7 in the logits of the three classes w, l and o, with the same masses.
    fn three_classes(&self) -> Matrix {
        let others: f64 = self.pi()[2..].iter().sum();
        let z = [self.logits[0], self.logits[1], others.ln()];
        hessian(&z, |z| loss_of_logits(Loss::Slpo, &eq7(self.alpha), z, self.reference))
    }

    /// Computes the Hessian of the token form with the same masses: one position, whose tokens are the outcomes.
    fn token_form(&self) -> Matrix {
        hessian(&self.logits, |z| token_form(z, self.alpha * self.mass(), (1.0 - self.alpha) * self.mass()))
    }

    /// diag(p) − ppᵀ − w_o·(diag(q) − qqᵀ), q = p/π_o on the others: the Hessian of all three forms, whatever α is. The logsumexp of all
    /// logits has the weight w_w + w_l + w_o = 1. That of the others' logits has the weight −w_o. The rest is linear.
    fn closed_form(&self) -> Matrix {
        let pi = self.pi();
        let pi_o: f64 = pi[2..].iter().sum();
        let q: Vec<f64> = pi.iter().enumerate().map(|(i, p)| if i < 2 { 0.0 } else { p / pi_o }).collect();
        let (all, others, w_o) = (covariance(&pi), covariance(&q), 1.0 - self.mass());
        all.iter().zip(&others).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - w_o * b).collect()).collect()
    }
}

fn token_form<B: Backend>(z: &Tensor<B>, w_w: f64, w_l: f64) -> Tensor<B> {
    let constant = |value: f64| Tensor::constant(z.backend(), &[value], &[1]);
    let weights = TokenWeights::given(&constant(w_w), Some(&constant(w_l))).expect("one of each");
    let logits = z.reshape(&[1, OUTCOMES]);
    slpo_token(&TokenInputs::new(&logits, &[0u32].into(), &[1u32].into(), weights, None).expect("two tokens of the vocabulary"))
}

/// diag(p) − ppᵀ.
fn covariance(p: &[f64]) -> Matrix {
    let entry = |i: usize, j: usize| f64::from(i == j) * p[i] - p[i] * p[j];
    (0..p.len()).map(|i| (0..p.len()).map(|j| entry(i, j)).collect()).collect()
}

/// ⟨u, Hu⟩ for u within the others that leaves π_o unchanged, and its value by theory, (π_o − w_o)·Var_{π|o}(u).
fn along_others(generator: &mut Generator, instance: &Instance, h: &Matrix) -> (f64, f64) {
    let pi = instance.pi();
    let pi_o: f64 = pi[2..].iter().sum();
    let mut u = [vec![0.0; 2], normals(generator, OUTCOMES - 2, 1.0)].concat();
    let mean: f64 = u.iter().zip(&pi).map(|(u, p)| u * p / pi_o).sum();
    u[2..].iter_mut().for_each(|u| *u -= mean);
    let variance: f64 = u.iter().zip(&pi).map(|(u, p)| u * u * p / pi_o).sum();
    let found = h.iter().zip(&u).map(|(row, u_i)| u_i * row.iter().zip(&u).map(|(h, u_j)| h * u_j).sum::<f64>()).sum();
    (found, (pi_o - (1.0 - instance.mass())) * variance)
}

/// Checks the smallest eigenvalues of the convex losses against theory: DPO, the divergence from Q\* and SLPO-GKL.
fn convex_checks(generator: &mut Generator, instance: &Instance) -> Vec<Check> {
    let beta = Hyperparameters::default().beta;
    let dpo = eigenvalues(&instance.hessian(Loss::Dpo, 1.0));
    let h = (instance.logits[0] - instance.reference.0) - (instance.logits[1] - instance.reference.1);
    let slope = differentiate(&instance.logits, |z| loss_of_logits(Loss::Dpo, &eq7(1.0), z, instance.reference)).1[0];
    let share = super::instance::sigmoid(-beta * h);
    let pair = ForkedPair::draw(generator);
    let policy = pair.tree.draw(generator);
    let exact = eigenvalues(&hessian(&policy, |z| pair.exact(z)));
    let x = [instance.logits[0], instance.logits[1]];
    let gkl = eigenvalues(&hessian(&x, |x| loss_of_log_probs(Loss::SlpoGkl, &eq7(instance.alpha), x, instance.reference)));
    let lower = (x[0].min(x[1])).exp() / instance.mass();
    vec![
        Check::new("DPO's smallest eigenvalue", dpo[0], 0.0, round_off(1.0)),
        Check::new("DPO's largest", dpo[OUTCOMES - 1], 2.0 * beta * beta * share * (1.0 - share), round_off(1.0)),
        Check::new("DPO's slope in z_w, zero nowhere", slope, -beta * share, round_off(1.0)),
        Check::new("the smallest towards Q*", exact[0], 0.0, round_off(1.0)),
        Check::new("SLPO-GKL's smallest in (l_w, l_l)", gkl[0], lower, round_off(lower.max(10.0))),
    ]
}

/// The smallest eigenvalues of Eq 6, Eq 7 and the token form, which are below 0 where π_o < w_o; that of Eq 7 in three classes; and those
/// of the convex losses.
fn c1(generator: &mut Generator) -> Claim {
    let instance = Instance::draw(generator);
    let forms = [instance.hessian(Loss::Slpo, 1.0), instance.hessian(Loss::Slpo, instance.alpha), instance.token_form()];
    let predicted = eigenvalues(&instance.closed_form())[0];
    let least = forms.each_ref().map(|h| eigenvalues(h)[0]);
    let (curvature, expected) = along_others(generator, &instance, &forms[0]);
    let three = eigenvalues(&instance.three_classes());
    let reduced = eigenvalues(&covariance(&{
        let pi = instance.pi();
        [pi[0], pi[1], pi[2..].iter().sum()]
    }));
    let mut checks = vec![
        Check::new("Eq 6's smallest eigenvalue", least[0], predicted, round_off(1.0)),
        Check::new("Eq 7's", least[1], predicted, round_off(1.0)),
        Check::new("the token form's", least[2], predicted, round_off(1.0)),
        Check::new("⟨u, Hu⟩ along the others for Eq 6", curvature, expected, round_off(10.0)),
        Check::new("how far the Hessians are from symmetric", forms.iter().map(asymmetry).fold(0.0, f64::max), 0.0, round_off(1.0)),
        Check::new("three classes: distance from diag(p) − ppᵀ", distance(&three, &reduced), 0.0, round_off(1.0)),
    ];
    checks.extend(convex_checks(generator, &instance));
    let convex_in_three = three[0] >= -round_off(1.0);
    let holds = convex_in_three && least.iter().all(|&x| x >= -round_off(1.0));
    let evidence = format!(
        "In the {OUTCOMES} sequences' logits the Hessian's smallest eigenvalue is {:.5} for Eq 6, {:.5} for Eq 7 and {:.5} for the token form. In \
         three classes Eq 7's are {:.0e}, {:.4}, {:.4}: a bowl but for the common shift. Convex are DPO (smallest {:.0e}; its slope {:.4} is zero \
         nowhere, so it has no minimiser), the divergence from Q* ({:.0e}) and SLPO-GKL in (l_w, l_l) ({:.3}).",
        least[0],
        least[1],
        least[2],
        three[0].abs(),
        three[1],
        three[2],
        checks[6].value.abs(),
        checks[8].value,
        checks[9].value.abs(),
        checks[10].value
    );
    Statement {
        id: "C1",
        claim: "Section 5: the objective has a natural \"bowl shape\"",
        formula: "H = diag(p) − ppᵀ − w_o(diag(q) − qqᵀ), q = p/π_o on y_o; diag(p) − ppᵀ in the classes (w, l, o)",
        source: concat!(file!(), "::c1"),
        verdicts: ["true", "false in logits, true in the three reduced classes (Eq 7)"],
    }
    .judge(checks, holds, evidence)
}
