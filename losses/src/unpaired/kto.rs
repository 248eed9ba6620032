//! Kahneman-Tversky optimisation (Ethayarajh et al. 2024): a completion is judged against the policy's own drift from the reference.
//!
//! value     L = λ σ(s β(t − z)), t = l − ln π_ref; s = −1 and λ = λ_D if the completion is desirable, else s = +1 and λ = λ_U
//! gradient  ∂L/∂l = s λ β σ(x) σ(−x), x = β(t − z)
//!
//! z is a constant of the gradient: max(0, mean over the batch of ln π(y′)/π_ref(y′)), y′ being the next row's completion after this row's
//! prompt.
#![doc = include_str!("kto.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// λ σ(s β(t − z)); λ/2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kto {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// λ_D: the weight of desirable completions.
    pub desirable_weight: f64,
    /// λ_U: the weight of undesirable completions.
    pub undesirable_weight: f64,
}

impl Kto {
    fn weight<T: Scalar>(self, row: &LabelledRow<T>) -> T {
        row.by_label(T::from_f64(self.desirable_weight), T::from_f64(self.undesirable_weight))
    }
    fn scaled<T: Scalar>(self, row: &LabelledRow<T>) -> T {
        T::from_f64(self.beta) * (row.log_ratio() - row.divergence)
    }
}

impl RowLoss for Kto {
    fn value<T: Scalar>(self, row: LabelledRow<T>) -> T {
        self.weight(&row) * (row.sign() * self.scaled(&row)).sigmoid()
    }
    fn gradient<T: Scalar>(self, row: LabelledRow<T>) -> T {
        let x = self.scaled(&row);
        row.sign() * self.weight(&row) * T::from_f64(self.beta) * (x.sigmoid() * (-x).sigmoid())
    }
    fn at_start(self, is_desirable: bool) -> f64 {
        0.5 * if is_desirable { self.desirable_weight } else { self.undesirable_weight }
    }
    fn twin<B: Backend>(self, inputs: &RowInputs<B>) -> Tensor<B> {
        let x = inputs.log_ratios().sub(&inputs.divergence()).scale(self.beta);
        x.mul(&inputs.signs()).sigmoid().mul(&inputs.by_label(self.desirable_weight, self.undesirable_weight))
    }
    fn complement_slope(self) -> f64 {
        self.beta * self.desirable_weight.max(self.undesirable_weight)
    }
}

impl PreferenceLoss for Kto {
    const NAME: &'static str = "kto";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::DesirableWeight, Setting::UndesirableWeight];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, desirable_weight: hyper.desirable_weight, undesirable_weight: hyper.undesirable_weight }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Reference, Need::Divergence]
    }
    fn sample(draw: &mut Draw) -> Sample {
        row_sample(Self { beta: 0.1, desirable_weight: 1.0, undesirable_weight: 1.25 }, draw)
    }
    fn example() -> Example {
        row_example(Self { beta: 0.1, desirable_weight: 1.0, undesirable_weight: 1.0 }, "β = 0.1, λ_D = λ_U = 1")
    }
}
