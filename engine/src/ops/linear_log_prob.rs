//! Log-probabilities of given tokens under the vocabulary projection: projection, log-softmax and gather in one op, so that logits of a
//! large batch never exist together.
//!
//! forward  z = hidden·weightᵀ, y\[n\] = z[n, target n] − logsumexp z\[n\]
//! vjp      z̄[n, v] = ȳ\[n\]·([v = target n] − e^{z[n, v] − logsumexp z\[n\]}), hidden̅ = z̄·weight, weight̅ = z̄ᵀ·hidden
//!          (saves hidden, weight and the logsumexp; z is formed again, a chunk of rows at a time, or saved too, on processors, where it is
//!          not large)
#![doc = include_str!("../explain/text/linear_log_prob.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct LinearLogProb<B: Backend> {
    hidden: B::Array,
    weight: B::Array,
    /// What the backend saved for the vjp.
    saved: B::Array,
    targets: Indices,
}

impl<B: Backend> Operation<B> for LinearLogProb<B> {
    fn name(&self) -> &'static str {
        "linear_log_prob"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let (hidden, weight) = backend.linear_log_prob_vjp(&self.hidden, &self.weight, &self.targets, &self.saved, &y_bar);
        vec![Some(hidden), Some(weight)]
    }
}

impl<B: Backend> Tensor<B> {
    /// ln softmax(self·weightᵀ)[n, target n] for hidden states [N, D] and weight [V, D]: \[N\], in nats.
    ///
    /// # Panics
    /// If the extents do not fit or a target is not below V.
    #[track_caller]
    pub fn linear_log_prob(&self, weight: &Self, targets: &Indices) -> Self {
        let (h, w) = (self.shape(), weight.shape());
        let fits = h.len() == 2 && w.len() == 2 && h[1] == w[1] && h[0] == targets.len();
        assert!(fits, "linear_log_prob: hidden {h:?}, weight {w:?}, {} targets", targets.len());
        super::embedding::check_indices("linear_log_prob", targets, w[0]);
        let (y, saved) = self.backend.linear_log_prob(&self.value, &weight.value, targets, Self::records(&[self, weight]));
        Tensor::record(&self.backend, y, &[self, weight], || LinearLogProb {
            hidden: self.value.clone(),
            weight: weight.value.clone(),
            saved,
            targets: targets.clone(),
        })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, d, v] = [draw.extent(), draw.extent(), draw.extent() + 1];
    let targets = draw.indices(n, v);
    let twin = targets.clone();
    Sample::new(function!(|x; targets: Indices| x[0].linear_log_prob(&x[1], targets)), [draw.normal(&[n, d]), draw.normal(&[v, d])])
        .with_twin(function!(|x; twin: Indices| x[0].matmul(&x[1].t()).cross_entropy(twin).neg()))
        .with_inner_magnitude(1.0)
}
