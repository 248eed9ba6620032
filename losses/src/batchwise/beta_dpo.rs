//! β-DPO (Wu et al. 2024): DPO whose β follows the margins of the batch, without the paper's filter of pairs.
//!
//! value     L = −ln σ(β_b h), h = a − r, β_b = max(10⁻³, β[1 + c(mean h − M)]) over the batch
//! gradient  ∂L/∂l_w = −β_b σ(−β_b h), ∂L/∂l_l = +β_b σ(−β_b h): β_b is a constant
//!
//! M is the moving mean of the margins of the steps before: M ← γM + (1 − γ) mean h.
#![doc = include_str!("beta_dpo.md")]
#![cfg_attr(doc, doc = include_str!("../../../engine/docs/katex.html"))]

use super::batch::BatchLoss;
use crate::pairwise::dpo::Dpo;
use crate::pairwise::samples::prelude::*;

/// The least β of a batch.
const LEAST: f64 = 1e-3;

/// dpo with the batch's β; ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BetaDpo {
    /// β of a batch whose mean margin is M.
    pub beta: f64,
    /// c: how much β changes for each nat of the mean margin.
    pub beta_scale: f64,
    /// M, in nats.
    pub running_margin: f64,
}

impl BatchLoss for BetaDpo {
    type Pairwise = Dpo;

    fn pairwise(self, pairs: &[Pair<f64>]) -> Dpo {
        let mean = pairs.iter().map(Pair::margin).sum::<f64>() / pairs.len() as f64;
        Dpo { beta: (self.beta * (1.0 + self.beta_scale * (mean - self.running_margin))).max(LEAST) }
    }
}

impl PreferenceLoss for BetaDpo {
    const NAME: &'static str = "beta-dpo";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::BetaScale, Setting::RunningMargin, Setting::MarginMomentum];
    const HAS_POLICY_CONSTANTS: bool = true;
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, beta_scale: hyper.beta_scale, running_margin: hyper.running_margin }
    }
    /// The batch's β is a constant of the gradient, so the sample has it as a constant too.
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        let loss = Self { beta: 0.1, beta_scale: 0.6, running_margin: 0.5 };
        pair_sample(loss.pairwise(&domain.pairs()), domain)
    }
    fn example() -> Example {
        let loss = Self { beta: 0.1, beta_scale: 0.6, running_margin: 0.5 };
        let [w, l, reference_w, reference_l] = PAIRS;
        let pairs = [0, 1].map(|i| Pair::from([w[i], l[i], reference_w[i], reference_l[i], 1.0, 1.0, 1.0]));
        let dpo = loss.pairwise(&pairs);
        pair_example(dpo, PAIRS, &format!("β = 0.1, c = 0.6, M = 0.5, mean h = 0, so β_b = {:.2}", dpo.beta))
    }
}
