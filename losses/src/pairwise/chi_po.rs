//! χ²-preference optimisation: a link that punishes a large probability ratio itself, not only its logarithm (Huang et al. 2024,
//! "Correcting the Mythos of KL-Regularization").
//!
//! value     L = −ln σ(clip(x)), x = β(φ(e^a) − φ(e^r)), φ(z) = z + ln z, clip to [−2R, 2R]
//! gradient  ∂L/∂l_w = −β(1 + e^a) σ(−x), ∂L/∂l_l = +β(1 + e^r) σ(−x); both 0 where |x| ≥ 2R
//!
//! R = 0 stands for no bound. Then a rejected completion far above its reference has a loss of about βe^r, which is beyond f32 for r > 88
//! and beyond f64 for r > 709: value and slopes are infinite there. A chosen completion may rise as far as it likes.
#![doc = include_str!("chi_po.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::dialect::Second;
use super::samples::Domain;
use super::samples::prelude::*;
use crate::numeric::{exp_difference, times_log};

/// −ln σ(clip(β(e^a + a − e^r − r))); ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChiPo {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// R: the margin is clipped to ±2R; 0 for no bound.
    pub clip_reward: f64,
}

impl ChiPo {
    /// 2R, where the margin is clipped.
    fn bound(self) -> Option<f64> {
        (self.clip_reward > 0.0).then_some(2.0 * self.clip_reward)
    }
    /// x, before it is clipped.
    fn margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        T::from_f64(self.beta) * (pair.margin() + exp_difference(pair.chosen_log_ratio(), pair.rejected_log_ratio()))
    }
}

impl PairLoss for ChiPo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let x = self.margin(&pair);
        let clipped = self.bound().map_or(x, |bound| {
            let (low, high) = (T::from_f64(-bound), T::from_f64(bound));
            let x = T::select(x.is_below(low), low, x);
            T::select(high.is_below(x), high, x)
        });
        (-clipped).softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let x = self.margin(&pair);
        let slope = T::from_f64(self.beta) * (-x).sigmoid();
        let slope = self.bound().map_or(slope, |bound| T::select(x.abs().is_below(T::from_f64(bound)), slope, T::zero()));
        let link = |log_ratio: T| T::one() + log_ratio.exp();
        (-times_log(slope, link(pair.chosen_log_ratio())), times_log(slope, link(pair.rejected_log_ratio())))
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        std::f64::consts::LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let x = a.exp().add(&a).sub(&r.exp().add(&r)).scale(self.beta);
        let clipped = self.bound().map_or(x.clone(), |bound| {
            let bound = Tensor::full(x.backend(), bound, &[]);
            x.add(&bound).relu().sub(&x.sub(&bound).relu()).sub(&bound)
        });
        clipped.log_sigmoid().neg()
    }
    fn kink(self, pair: &Pair<f64>) -> Option<Kink> {
        let (bound, x) = (self.bound()?, self.margin(pair));
        let (w, l) = (1.0 + pair.chosen_log_ratio().exp(), 1.0 + pair.rejected_log_ratio().exp());
        let size = bound + self.beta * (w + l) * (1.0 + pair.size());
        let kink = Kink { distance: (x.abs() - bound).abs(), size, jump: self.beta * w.max(l) * (-x).sigmoid() };
        x.is_finite().then_some(kink)
    }
    /// That of the start. Where the link is steeper, the slope itself is larger too.
    fn complement_slope(self) -> f64 {
        2.0 * self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![
            Dialect::with("the margin is not clipped", Hyperparameters { clip_reward: 0.0, ..*hyper }),
            Dialect::with("the margin is clipped to ±R instead of ±2R", Hyperparameters { clip_reward: hyper.clip_reward / 2.0, ..*hyper }),
            Dialect::formula("the logarithm is missing in φ: φ(z) = z", |hyper, pair| {
                let ratios = exp_difference(pair.chosen_log_ratio(), pair.rejected_log_ratio());
                (-(Second::from_f64(hyper.beta) * ratios)).softplus()
            }),
        ]
    }
}

/// Margins well within ±0.5 for β = 0.1, and some well beyond it on either side: a few tenths of a nat from the reference, and one of the
/// two completions sometimes three nats above it.
fn inside_and_beyond(draw: &mut Draw) -> Domain {
    let mut domain = near_reference(draw);
    let steps = draw.uniform(&[2, domain.len()], -0.5, 0.5).data;
    for i in 0..domain.len() {
        let (up_w, up_l) = [(0.0, 0.0), (3.0, 0.0), (0.0, 3.0)][draw.below(3)];
        domain.chosen[i] = domain.reference_chosen[i] + steps[i] + up_w;
        domain.rejected[i] = domain.reference_rejected[i] + steps[domain.len() + i] + up_l;
    }
    domain.rounded()
}

impl PreferenceLoss for ChiPo {
    const NAME: &'static str = "chi-po";
    const ALIASES: &'static [&'static str] = &["chipo"];
    const USES: &'static [Setting] = &[Setting::Beta, Setting::ClipReward];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, clip_reward: hyper.clip_reward }
    }
    /// Policies near the reference: e^a and e^r overflow elsewhere.
    fn sample(draw: &mut Draw) -> Sample {
        let (clip_reward, domain) = if draw.coin() { (0.0, near_reference(draw)) } else { (0.25, inside_and_beyond(draw)) };
        pair_sample(ChiPo { beta: 0.1, clip_reward }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, clip_reward: 0.0 }, PAIRS, "no bound, β = 0.1")
    }
}
