//! The sum of cross-entropies under the vocabulary projection: projection, log-softmax, gather and sum in one op whose gradient is formed
//! in the same sweep, so that logits exist for one chunk of rows and are never formed twice.
//!
//! forward  z = hidden·weightᵀ, y = Σ_n (logsumexp z\\[n\\] − z[n, target n])
//! vjp      z̄[n, v] = ȳ·(e^{z[n, v] − logsumexp z\\[n\\]} − [v = target n]), hidden̅ = z̄·weight, weight̅ = z̄ᵀ·hidden
//!          (saves hidden̅ and weight̅ for ȳ = 1; formed in the forward pass)
#![doc = include_str!("../explain/text/linear_cross_entropy.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct LinearCrossEntropy<B: Backend> {
    /// hidden̅ and weight̅ for ȳ = 1.
    gradients: [B::Array; 2],
}

impl<B: Backend> Operation<B> for LinearCrossEntropy<B> {
    fn name(&self) -> &'static str {
        "linear_cross_entropy"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, needed: &[bool]) -> Vec<Option<B::Array>> {
        let scaled = |gradient: &B::Array| backend.scale_by(gradient, &y_bar);
        self.gradients.iter().zip(needed).map(|(gradient, &needed)| needed.then(|| scaled(gradient))).collect()
    }
}

impl<B: Backend> Tensor<B> {
    /// −Σ_n ln softmax(self·weightᵀ)[n, target n] for hidden states [N, D] and weight [V, D]: one number, in nats.
    ///
    /// # Panics
    /// If the extents do not fit or a target is not below V.
    #[track_caller]
    pub fn linear_cross_entropy(&self, weight: &Self, targets: &Indices) -> Self {
        let (h, w) = (self.shape(), weight.shape());
        let fits = h.len() == 2 && w.len() == 2 && h[1] == w[1] && h[0] == targets.len();
        assert!(fits, "linear_cross_entropy: hidden {h:?}, weight {w:?}, {} targets", targets.len());
        super::embedding::check_indices("linear_cross_entropy", targets, w[0]);
        if !Self::records(&[self, weight]) {
            return self.linear_log_prob(weight, targets).sum_all().neg();
        }
        let (y, gradients) = self.backend.linear_cross_entropy(&self.value, &weight.value, targets);
        Tensor::record(&self.backend, y, &[self, weight], || LinearCrossEntropy { gradients })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, d, v] = [draw.extent(), draw.extent(), draw.extent() + 1];
    let targets = draw.indices(n, v);
    let twin = targets.clone();
    Sample::new(
        function!(|x; targets: Indices| x[0].linear_cross_entropy(&x[1], targets)),
        [draw.normal(&[n, d]), draw.normal(&[v, d])],
    )
    .with_twin(function!(|x; twin: Indices| x[0].matmul(&x[1].t()).cross_entropy(twin).sum_all()))
    .with_inner_magnitude(1.0)
}
