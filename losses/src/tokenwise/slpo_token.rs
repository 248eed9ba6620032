//! SLPO on tokens: the paper's listing (section 6.1) with its defects mended.
//!
//! value     L_t = −w_w ln p_w − w_l ln p_l − u ln p_o, u = 1 − w_w − w_l
//! gradient  ∂L_t/∂z_v = p_v − w_w at v = w, p_v − w_l at v = l, p_v(1 − u/p_o) elsewhere
//!
//! w and l are the winning and the losing token at position t, o all other tokens. Mended against the listing (claims I6 and I7 of the
//! audit): w_l is there, w and l are one class where they are the same token, positions can be masked, and where no other token is left
//! the last term is dropped instead of giving 0·(−∞). The rest of the audit's objections stay: y_l is scored under y_w's prefix.
#![doc = include_str!("slpo_token.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::token::{NoOthers, TokenInputs, TokenLoss, TokenWeights};
use crate::error::LossError;
use crate::hyperparameters::{Hyperparameters, Setting};
use crate::numeric::times_log_of;
use crate::preference_loss::{Need, PreferenceLoss};
use crate::weights::Weights;
use engine::backend::Indices;
use engine::explain::Example;
use engine::functions::FiniteOrZero;
use engine::gradcheck::{Draw, Input, Sample};
use engine::{Backend, Tensor, function};

/// The loss of each position, [..]; 0 where masked. [`TokenInputs::mean`] gives the batch's loss.
pub fn slpo_token<B: Backend>(inputs: &TokenInputs<B>) -> Tensor<B> {
    inputs.evaluate("slpo_token", NoOthers::Dropped, slpo_token_composed)
}

/// The same as a composition of ops.
pub fn slpo_token_composed<B: Backend>(inputs: &TokenInputs<B>) -> Tensor<B> {
    inputs.of_kept_rows(|rows| {
        let (w_w, w_l) = (&rows.weights.chosen, &rows.weights.rejected);
        let u = Tensor::full(w_w.backend(), 1.0, &[]).sub(w_w).sub(w_l);
        let log_probs = rows.logits.log_softmax();
        let token = |tokens: &Indices| log_probs.gather(tokens).reshape(w_w.shape());
        let log_others = log_probs.logsumexp_without(&rows.both_tokens()).map(FiniteOrZero);
        w_w.mul(&token(&rows.chosen)).add(&times_log_of(w_l, &token(&rows.rejected))).add(&u.mul(&log_others)).neg()
    })
}

/// Tokens, masses and mask for a sample, as plain numbers.
#[derive(Clone)]
pub(crate) struct Plain {
    pub chosen: Indices,
    pub rejected: Indices,
    pub w_w: Vec<f64>,
    pub w_l: Vec<f64>,
    pub keep: Option<Vec<bool>>,
}

impl Plain {
    /// N positions of V tokens; the tokens agree at some. With `masked`, a mask in half of the draws that keeps at least the first
    /// position.
    pub fn draw(draw: &mut Draw, n: usize, vocabulary: usize, masked: bool) -> Self {
        let (chosen, rejected) = (draw.indices(n, vocabulary), draw.indices(n, vocabulary));
        let mass = draw.uniform(&[n], 0.0, 1.0).data;
        let part = draw.uniform(&[n], 0.5, 1.0).data;
        let w_w = mass.iter().zip(&part).map(|(m, p)| m * p).collect();
        let w_l = mass.iter().zip(&part).map(|(m, p)| m * (1.0 - p)).collect();
        let keep = (masked && draw.coin()).then(|| (0..n).map(|i| i == 0 || draw.coin()).collect());
        Self { chosen, rejected, w_w, w_l, keep }
    }

    /// The inputs with these logits.
    pub fn with<B: Backend>(&self, logits: &Tensor<B>) -> TokenInputs<B> {
        let mass = |data: &[f64]| Tensor::constant(logits.backend(), data, &[data.len()]);
        let weights = TokenWeights::given(&mass(&self.w_w), Some(&mass(&self.w_l)));
        let inputs = weights.and_then(|weights| TokenInputs::new(logits, &self.chosen, &self.rejected, weights, self.keep.as_deref()));
        inputs.expect("a sample's lists have one length and its tokens are below V")
    }
}

/// Two positions of four tokens to work out; at the second, both completions have the same token.
pub(crate) fn worked_tokens() -> (Plain, Input) {
    let plain = Plain { chosen: [0, 2].into(), rejected: [1, 2].into(), w_w: vec![0.5, 0.25], w_l: vec![0.125, 0.125], keep: None };
    (plain, Input::new(vec![1.0, 2.0, 0.5, -1.0, 0.0, 1.0, -0.5, 0.5], &[1, 2, 4]))
}

/// The mended listing with the masses of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlpoToken {
    /// The rule for the target masses.
    pub weights: Weights,
}

impl TokenLoss for SlpoToken {
    fn masses<B: Backend>(self, reference: &Tensor<B>, chosen: &Indices, rejected: &Indices) -> Result<TokenWeights<B>, LossError> {
        TokenWeights::from_reference(self.weights, reference, chosen, rejected)
    }
    fn evaluate<B: Backend>(inputs: &TokenInputs<B>) -> Tensor<B> {
        slpo_token(inputs)
    }
}

impl PreferenceLoss for SlpoToken {
    const NAME: &'static str = "slpo-token";
    const USES: &'static [Setting] = &[Setting::Alpha, Setting::Weights];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { weights: hyper.weights() }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Reference, Need::Logits]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let [b, t, v] = [draw.extent(), draw.extent(), draw.extent() + 1];
        let plain = Plain::draw(draw, b * t, v, true);
        let twin = plain.clone();
        let logits = draw.logits(&[b, t, v]);
        let largest = logits.data.iter().fold(0.0f64, |m, z| m.max(z.abs()));
        Sample::new(function!(|x; plain: Plain| slpo_token(&plain.with(&x[0]))), [logits])
            .with_twin(function!(|x; twin: Plain| slpo_token_composed(&twin.with(&x[0]))))
            .with_inner_magnitude(largest)
    }
    fn example() -> Example {
        let (plain, logits) = worked_tokens();
        let twin = plain.clone();
        let sample = Sample::new(function!(|x; plain: Plain| slpo_token(&plain.with(&x[0]))), [logits])
            .with_twin(function!(|x; twin: Plain| slpo_token_composed(&twin.with(&x[0]))));
        Example::new("slpo_token(z) at each position", &["z"], sample)
            .given("y_w = [0, 2], y_l = [1, 2], w_w = [0.5, 0.25], w_l = [0.125, 0.125]; at the second position the tokens collide")
    }
}
