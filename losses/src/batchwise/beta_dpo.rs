//! β-DPO (Wu et al. 2024): DPO whose β follows the margins of the batch, of which it leaves out some with unusual margins.
//!
//! value     L = −ln σ(β_b h), h = a − r, β_b = max(10⁻³, β[1 + c(mean h − M)]) over the batch
//! gradient  ∂L/∂l_w = −β_b σ(−β_b h), ∂L/∂l_l = +β_b σ(−β_b h): β_b is a constant
//!
//! M is the moving mean of the margins of the steps before: M ← γM + (1 − γ) mean h. Of the B pairs, K = ⌈(1 − ρ)B⌉ are drawn without
//! replacement, each with a chance in proportion to exp(−(h − M)²/(2s²)), s² the mean of (h − M)². Their losses count B/K times, those of
//! the others not. β_b follows from all pairs.
#![doc = include_str!("beta_dpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::batch::BatchLoss;
use crate::pairwise::arrangement::Arrangement;
use crate::pairwise::dpo::Dpo;
use crate::pairwise::samples::prelude::*;
use engine::Generator;

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
    /// ρ: the share of the pairs that are left out.
    pub filter_share: f64,
}

impl BatchLoss for BetaDpo {
    type Pairwise = Dpo;

    fn pairwise(self, pairs: &[Pair<f64>]) -> Dpo {
        let mean = pairs.iter().map(Pair::margin).sum::<f64>() / pairs.len() as f64;
        Dpo { beta: (self.beta * (1.0 + self.beta_scale * (mean - self.running_margin))).max(LEAST) }
    }

    fn arrange(self, pairs: &[Pair<f64>]) -> Arrangement {
        Arrangement { weights: self.weights(pairs), ..Arrangement::identity(pairs.len()) }
    }
}

impl BetaDpo {
    /// B/K for the pairs that are drawn, 0 for the others; none where all are kept.
    fn weights(self, pairs: &[Pair<f64>]) -> Option<Vec<f64>> {
        let kept = ((1.0 - self.filter_share) * pairs.len() as f64).ceil() as usize;
        if kept >= pairs.len() {
            return None;
        }
        let keys = self.keys(pairs);
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by(|&i, &j| keys[j].total_cmp(&keys[i]));
        let mut weights = vec![0.0; pairs.len()];
        order.into_iter().take(kept).for_each(|i| weights[i] = pairs.len() as f64 / kept as f64);
        Some(weights)
    }

    /// ln p − ln(−ln u) of each pair, with p its chance and u uniform: the K largest are a draw of K without replacement (Gumbel). u
    /// follows from the numbers of the pairs, so the draw is the same in a run that goes on, and in whatever order they come.
    fn keys(self, pairs: &[Pair<f64>]) -> Vec<f64> {
        let distance = |pair: &Pair<f64>| (pair.margin() - self.running_margin).powi(2);
        let variance = pairs.iter().map(distance).sum::<f64>() / pairs.len() as f64;
        let bits = |pair: &Pair<f64>| pair.chosen.to_bits().rotate_left(32) ^ pair.rejected.to_bits();
        let batch = pairs.iter().fold(0u64, |sum, pair| sum.wrapping_add(bits(pair)));
        let key = |pair: &Pair<f64>| {
            let log_chance = if variance > 0.0 { -distance(pair) / (2.0 * variance) } else { 0.0 };
            let uniform = Generator::new(batch).stream(bits(pair)).uniform();
            log_chance - (-uniform.max(f64::MIN_POSITIVE).ln()).ln()
        };
        pairs.iter().map(key).collect()
    }
}

impl PreferenceLoss for BetaDpo {
    const NAME: &'static str = "beta-dpo";
    const USES: &'static [Setting] =
        &[Setting::Beta, Setting::BetaScale, Setting::RunningMargin, Setting::MarginMomentum, Setting::FilterShare];
    const HAS_POLICY_CONSTANTS: bool = true;
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, beta_scale: hyper.beta_scale, running_margin: hyper.running_margin, filter_share: hyper.filter_share }
    }
    /// The batch's β is a constant of the gradient, so the sample has it as a constant too.
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        let loss = Self { beta: 0.1, beta_scale: 0.6, running_margin: 0.5, filter_share: 0.0 };
        pair_sample(loss.pairwise(&domain.pairs()), domain)
    }
    fn example() -> Example {
        let loss = Self { beta: 0.1, beta_scale: 0.6, running_margin: 0.5, filter_share: 0.0 };
        let [w, l, reference_w, reference_l] = PAIRS;
        let pairs = [0, 1].map(|i| Pair::from([w[i], l[i], reference_w[i], reference_l[i], 1.0, 1.0, 1.0]));
        let dpo = loss.pairwise(&pairs);
        pair_example(dpo, PAIRS, &format!("β = 0.1, c = 0.6, M = 0.5, mean h = 0, so β_b = {:.2}", dpo.beta))
    }
}
