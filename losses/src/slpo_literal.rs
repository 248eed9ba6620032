//! SLPO on tokens exactly as the paper's listing (section 6.1) prints it.
//!
//! value     L = −mean_{B·T}[w_w ln p_w + (1 − w_w) ln Σ_{v ∉ {w, l}} p_v]
//! gradient  of each position: ∂/∂z_v = p_v − w_w at v = w, p_v at v = l ≠ w, p_v(1 − (1 − w_w)/p_o) elsewhere
//!
//! Both tokens are masked out of the last term, there is no w_l, and where the vocabulary holds no other token the listing's
//! 0·(−∞) = NaN is kept (claims I1, I6 and I7 of the audit). Use [`slpo_token`](crate::slpo_token) to train.
#![doc = include_str!("explain/text/slpo_literal.md")]
#![cfg_attr(doc, doc = include_str!("../../engine/docs/katex.html"))]

use crate::slpo_token::{Plain, others};
use crate::token::{NoOthers, TokenInputs};
use engine::gradcheck::{Draw, Sample};
use engine::{Backend, Tensor, function};

/// The loss of each position, [..], as one op; its mean over B·T ([`TokenInputs::mean`] without a mask) is what the listing returns.
/// The masses w_l are not used.
pub fn slpo_literal<B: Backend>(inputs: &TokenInputs<B>) -> Tensor<B> {
    inputs.fused("slpo_literal", NoOthers::AsPrinted)
}

/// The listing line by line, as a composition of ops.
pub fn slpo_literal_composed<B: Backend>(inputs: &TokenInputs<B>) -> Tensor<B> {
    let positions = inputs.positions(NoOthers::AsPrinted);
    let n = positions.len();
    let mass = |part| inputs.mass(&positions, part);
    let log_probs = inputs.logits.log_softmax();
    let log_prob_w = log_probs.gather(&inputs.chosen).reshape(&[n]);
    let log_prob_o = log_probs.masked_logsumexp(&others(inputs));
    inputs.shaped(&mass(|m| m.chosen).mul(&log_prob_w).add(&mass(|m| m.others).mul(&log_prob_o)).neg())
}

pub(crate) fn sample(draw: &mut Draw) -> Sample {
    let [b, t, v] = [draw.extent(), draw.extent(), draw.extent() + 2];
    let plain = Plain::draw(draw, b * t, v, false);
    let twin = plain.clone();
    let logits = draw.logits(&[b, t, v]);
    let largest = logits.data.iter().fold(0.0f64, |m, z| m.max(z.abs()));
    Sample::new(function!(|x; plain: Plain| slpo_literal(&plain.with(&x[0]))), [logits])
        .with_twin(function!(|x; twin: Plain| slpo_literal_composed(&twin.with(&x[0]))))
        .with_inner_magnitude(largest)
}
