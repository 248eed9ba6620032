//! Efficient exact optimisation on a pair (Ji et al. 2024): a KL divergence from the smoothed labels, weighted by the model.
//!
//! value     L = σ(x)[ln σ(x) − ln(1 − ε)] + σ(−x)[ln σ(−x) − ln ε], x = β(a − r)
//! gradient  ∂L/∂l_w = β σ(x) σ(−x) [x − ln((1 − ε)/ε)], ∂L/∂l_l = −∂L/∂l_w; zero where σ(x) = 1 − ε
#![doc = include_str!("exo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;
use crate::error::LossError;

/// KL((σ(x), σ(−x)) ‖ (1 − ε, ε)), x = β(a − r); −ln 2 − ½ ln(ε(1 − ε)) at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exo {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// Probability ε in (0, 0.5) that a label is flipped.
    pub label_smoothing: f64,
}

/// The ε of the paper's experiments. Some trainers put it in the place of 0, where the loss is infinite.
const USUAL_SMOOTHING: f64 = 1e-3;

impl Exo {
    /// (ln(1 − ε), ln ε).
    fn log_labels(self) -> (f64, f64) {
        ((-self.label_smoothing).ln_1p(), self.label_smoothing.ln())
    }
}

impl PairLoss for Exo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let x = T::from_f64(self.beta) * pair.margin();
        let (kept, flipped) = self.log_labels();
        x.sigmoid() * (-(-x).softplus() - T::from_f64(kept)) + (-x).sigmoid() * (-x.softplus() - T::from_f64(flipped))
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let beta = T::from_f64(self.beta);
        let x = beta * pair.margin();
        let (kept, flipped) = self.log_labels();
        let slope = beta * x.sigmoid() * (-x).sigmoid() * (x - T::from_f64(kept - flipped));
        (slope, -slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        -std::f64::consts::LN_2 - 0.5 * (self.label_smoothing * (1.0 - self.label_smoothing)).ln()
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let x = inputs.margins(self.beta);
        let divergence = |log_p: Tensor<B>, q: f64| log_p.exp().mul(&log_p.sub(&Tensor::full(x.backend(), q.ln(), &[])));
        divergence(x.log_sigmoid(), 1.0 - self.label_smoothing).add(&divergence(x.neg().log_sigmoid(), self.label_smoothing))
    }
    /// Far on the wrong side 1 − σ(−x) is multiplied by ln σ(−x) − ln ε, which is near −ln ε there.
    fn complement_slope(self) -> f64 {
        self.beta * (1.0 - self.label_smoothing.ln())
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        let smoothed = |label_smoothing| Hyperparameters { label_smoothing, ..*hyper };
        vec![
            Dialect::with("the label smoothing is not applied: it is 0.001 whatever is asked for", smoothed(USUAL_SMOOTHING)),
            Dialect::with("the smoothed labels are swapped: ε is the chosen completion's", smoothed(1.0 - hyper.label_smoothing)),
            Dialect::formula("the KL divergence is weighted by the labels instead of the model", labels_from_model),
        ]
    }
}

/// KL((1 − ε, ε) ‖ (σ(x), σ(−x))), which is cdpo less a constant.
fn labels_from_model<T: Scalar>(hyper: &Hyperparameters, pair: Pair<T>) -> T {
    let x = T::from_f64(hyper.beta) * pair.margin();
    let [kept, flipped] = [1.0 - hyper.label_smoothing, hyper.label_smoothing];
    let negative_entropy = kept * kept.ln() + flipped * flipped.ln();
    T::from_f64(kept) * (-x).softplus() + T::from_f64(flipped) * x.softplus() + T::from_f64(negative_entropy)
}

impl PreferenceLoss for Exo {
    const NAME: &'static str = "exo";
    const ALIASES: &'static [&'static str] = &["exo-pair"];
    const USES: &'static [Setting] = &[Setting::Beta, Setting::LabelSmoothing];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, label_smoothing: hyper.label_smoothing }
    }
    fn defaults() -> Hyperparameters {
        Hyperparameters { label_smoothing: USUAL_SMOOTHING, ..Hyperparameters::default() }
    }
    fn check(hyper: &Hyperparameters) -> Result<(), LossError> {
        if hyper.label_smoothing > 0.0 {
            return Ok(());
        }
        let setting = Setting::LabelSmoothing;
        let requirement = "above 0 for exo: its divergence from labels without doubt is infinite".to_owned();
        Err(LossError::Hyperparameter { name: setting.name(), value: hyper.text(setting), requirement })
    }
    /// Near the reference: far from it the value is flat, and differences of it are lost in its rounding. At σ(x) = 1 − ε the value is 0,
    /// the sum of terms as large as ε ln(1/ε).
    fn sample(draw: &mut Draw) -> Sample {
        let domain = near_reference(draw);
        let beta = if draw.coin() { 0.1 } else { 2.0 };
        let label_smoothing = if draw.coin() { USUAL_SMOOTHING } else { 0.1 };
        pair_sample(Exo { beta, label_smoothing }, domain).with_inner_magnitude(-label_smoothing * label_smoothing.ln())
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, label_smoothing: USUAL_SMOOTHING }, PAIRS, "ε = 0.001, β = 0.1")
    }
}
