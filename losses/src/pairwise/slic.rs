//! Sequence likelihood calibration with human feedback, SLiC-HF (Zhao et al. 2023): a hinge on the log-probabilities themselves.
//!
//! value     L = max(0, δ − l_w + l_l) − λ l_w
//! gradient  ∂L/∂l_w = −1 − λ where l_w − l_l < δ, else −λ; ∂L/∂l_l = 1 where l_w − l_l < δ, else 0
//!
//! At l_w − l_l = δ the hinge's subgradient 0 is taken. Both terms are sums over the tokens, and no reference is read. The paper's second
//! term is the likelihood of a target of supervised fine-tuning; a pair has none beside its chosen completion. `hinge.rs` is RSO's form, on
//! log-ratios to a reference.
#![doc = include_str!("slic.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::dialect::Second;
use super::samples::prelude::*;

/// max(0, δ − l_w + l_l) − λ l_w.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slic {
    /// Margin δ ≥ 0 of the log-probabilities, in nats.
    pub margin: f64,
    /// Weight λ ≥ 0 of the negative log-likelihood.
    pub nll: f64,
}

impl Slic {
    /// δ − l_w + l_l: what the pair lacks to the margin.
    fn shortfall<T: Scalar>(self, pair: &Pair<T>) -> T {
        T::from_f64(self.margin) - (pair.chosen - pair.rejected)
    }
}

impl PairLoss for Slic {
    const OF_LOG_RATIOS: bool = false;

    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let short = self.shortfall(&pair);
        T::select(short.is_below(T::zero()), T::zero(), short) - T::from_f64(self.nll) * pair.chosen
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let slope = T::select(T::zero().is_below(self.shortfall(&pair)), T::one(), T::zero());
        (-slope - T::from_f64(self.nll), slope)
    }
    /// max(λ|l_w|, δ + l_l − (1 + λ) l_w): the larger of the two lines.
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        let (past, before) = (-self.nll * pair.chosen, self.margin + pair.rejected - (1.0 + self.nll) * pair.chosen);
        if past > before { past } else { before }
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (l_w, l_l) = inputs.policy();
        Tensor::full(l_w.backend(), self.margin, &[]).sub(l_w).add(l_l).relu().sub(&l_w.scale(self.nll))
    }
    fn kink(self, pair: &Pair<f64>) -> Option<Kink> {
        let size = self.margin + pair.chosen.abs() + pair.rejected.abs();
        Some(Kink { distance: self.shortfall(pair).abs(), size, jump: 1.0 })
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![
            Dialect::formula("the hinge is on log-ratios to a reference, as in RSO, instead of log-probabilities", |hyper, pair| {
                let short = Second::from_f64(hyper.margin) - pair.margin();
                short.maximum(Second::zero()) - Second::from_f64(hyper.nll) * pair.chosen
            }),
            Dialect::with("the negative log-likelihood is missing (as if its weight were 0)", Hyperparameters { nll: 0.0, ..*hyper }),
        ]
    }
}

impl PreferenceLoss for Slic {
    const NAME: &'static str = "slic";
    const ALIASES: &'static [&'static str] = &["slic-hf"];
    const USES: &'static [Setting] = &[Setting::Margin, Setting::Nll];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { margin: hyper.margin, nll: hyper.nll }
    }
    fn defaults() -> Hyperparameters {
        Hyperparameters { margin: 1.0, nll: 0.1, ..Hyperparameters::default() }
    }
    fn needs(&self) -> &'static [Need] {
        &[]
    }
    /// Pairs on either side of the kink, and away from it by more than a finite difference reaches.
    fn sample(draw: &mut Draw) -> Sample {
        let loss = Slic { margin: 1.0, nll: 0.1 };
        let mut domain = log_probabilities(draw);
        for (&chosen, rejected) in domain.chosen.iter().zip(&mut domain.rejected) {
            if (loss.margin - chosen + *rejected).abs() < 0.5 {
                *rejected -= 1.0;
            }
        }
        pair_sample(loss, domain.rounded())
    }
    fn example() -> Example {
        let settings = "δ = 1, λ = 0.1; the first pair is past the kink";
        pair_example(Self { margin: 1.0, nll: 0.1 }, PAIRS, settings)
    }
}
