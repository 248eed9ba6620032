//! SLPO on tokens exactly as the paper's listing (section 6.1) prints it.
//!
//! value     L = −mean_{B·T}[w_w ln p_w + (1 − w_w) ln Σ_{v ∉ {w, l}} p_v]
//! gradient  of each position: ∂/∂z_v = p_v − w_w at v = w, p_v at v = l ≠ w, p_v(1 − (1 − w_w)/p_o) elsewhere
//!
//! Both tokens are masked out of the last term, there is no w_l, and where the vocabulary holds no other token the listing's
//! 0·(−∞) = NaN is kept (claims I1, I6 and I7 of the audit). Use [`slpo_token`](crate::tokenwise::slpo_token) to train.
#![doc = include_str!("slpo_literal.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::slpo_token::{Plain, worked_tokens};
use super::token::{NoOthers, TokenInputs, TokenLoss, TokenWeights};
use crate::error::LossError;
use crate::hyperparameters::{Hyperparameters, Setting};
use crate::preference_loss::{Need, PreferenceLoss};
use engine::backend::Indices;
use engine::explain::Example;
use engine::gradcheck::{Draw, Sample};
use engine::{Backend, Tensor, function};

/// The loss of each position, [..]; its mean over B·T ([`TokenInputs::mean`] without a mask) is what the listing returns. The masses w_l
/// are not used.
pub fn slpo_literal<B: Backend>(inputs: &TokenInputs<B>) -> Tensor<B> {
    inputs.evaluate("slpo_literal", NoOthers::AsPrinted, slpo_literal_composed)
}

/// The listing line by line, as a composition of ops.
pub fn slpo_literal_composed<B: Backend>(inputs: &TokenInputs<B>) -> Tensor<B> {
    inputs.of_kept_rows(|rows| {
        let w_w = &rows.weights.chosen;
        let log_probs = rows.logits.log_softmax();
        let log_prob_w = log_probs.gather(&rows.chosen).reshape(w_w.shape());
        let log_prob_o = log_probs.logsumexp_without(&rows.both_tokens());
        let rest = Tensor::full(w_w.backend(), 1.0, &[]).sub(w_w);
        w_w.mul(&log_prob_w).add(&rest.mul(&log_prob_o)).neg()
    })
}

/// The listing as printed, with its own masses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlpoLiteral;

impl TokenLoss for SlpoLiteral {
    fn masses<B: Backend>(self, reference: &Tensor<B>, chosen: &Indices, rejected: &Indices) -> Result<TokenWeights<B>, LossError> {
        TokenWeights::literal(reference, chosen, rejected)
    }
    fn evaluate<B: Backend>(inputs: &TokenInputs<B>) -> Tensor<B> {
        slpo_literal(inputs)
    }
}

impl PreferenceLoss for SlpoLiteral {
    const NAME: &'static str = "slpo-literal";
    const USES: &'static [Setting] = &[];
    fn of(_: &Hyperparameters) -> Self {
        Self
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Reference, Need::Logits]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let [b, t, v] = [draw.extent(), draw.extent(), draw.extent() + 2];
        let plain = Plain::draw(draw, b * t, v, false);
        let twin = plain.clone();
        let logits = draw.logits(&[b, t, v]);
        let largest = logits.data.iter().fold(0.0f64, |m, z| m.max(z.abs()));
        Sample::new(function!(|x; plain: Plain| slpo_literal(&plain.with(&x[0]))), [logits])
            .with_twin(function!(|x; twin: Plain| slpo_literal_composed(&twin.with(&x[0]))))
            .with_inner_magnitude(largest)
    }
    fn example() -> Example {
        let (plain, logits) = worked_tokens();
        let twin = plain.clone();
        let sample = Sample::new(function!(|x; plain: Plain| slpo_literal(&plain.with(&x[0]))), [logits])
            .with_twin(function!(|x; twin: Plain| slpo_literal_composed(&twin.with(&x[0]))));
        Example::new("slpo_literal(z) at each position", &["z"], sample)
            .given("y_w = [0, 2], y_l = [1, 2], w_w = [0.5, 0.25]; there is no w_l")
    }
}
