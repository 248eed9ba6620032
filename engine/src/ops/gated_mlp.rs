//! The gated feed-forward part of a decoder block (Shazeer 2020), without biases: a gated linear unit with silu between linear layers, as
//! one op.
//!
//! forward  G = X·Wgᵀ, U = X·Wuᵀ, H = silu(G)∘U, Y = H·Wdᵀ
//! vjp      H̄ = Ȳ·Wd, Ḡ = silu′(G)∘U∘H̄, Ū = silu(G)∘H̄, X̄ = Ḡ·Wg + Ū·Wu, W̄g = Ḡᵀ·X, W̄u = Ūᵀ·X, W̄d = Ȳᵀ·H
//!          (saves X, the weights, G and U; H is formed again)
#![doc = include_str!("../explain/text/gated_mlp.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct GatedMlp<B: Backend> {
    x: B::Array,
    /// Wg, Wu and Wd.
    weights: [B::Array; 3],
    /// G and U; `None` where the op is not recorded, so that no vjp is asked for.
    saved: Option<[B::Array; 2]>,
}

impl<B: Backend> Operation<B> for GatedMlp<B> {
    fn name(&self) -> &'static str {
        "gated_mlp"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, needed: &[bool]) -> Vec<Option<B::Array>> {
        let saved = self.saved.as_ref().expect("a recorded gated_mlp has saved its gate and up projection");
        let needed = std::array::from_fn(|parent| needed[parent]);
        backend.gated_mlp_vjp(&self.x, self.weights.each_ref(), saved, &y_bar, needed).into()
    }
}

impl<B: Backend> Tensor<B> {
    /// (silu(self·gateᵀ)∘(self·upᵀ))·downᵀ for weights gate and up [F, D] and down [E, F], on [N, D] → [N, E].
    ///
    /// # Panics
    /// If the extents do not fit.
    #[track_caller]
    pub fn gated_mlp(&self, gate: &Self, up: &Self, down: &Self) -> Self {
        let [x, g, u, d] = [self, gate, up, down].map(Self::shape);
        let fits = x.len() == 2 && g.len() == 2 && d.len() == 2 && x[1] == g[1] && g == u && d[1] == g[0];
        assert!(fits, "gated_mlp: {x:?} with gate {g:?}, up {u:?} and down {d:?}");
        let (weights, parents) = ([gate, up, down], [self, gate, up, down]);
        let (y, saved) = self.backend.gated_mlp(&self.value, weights.map(|weight| &weight.value), Self::records(&parents));
        let weights = || weights.map(|weight| weight.value.clone());
        Tensor::record(&self.backend, y, &parents, || GatedMlp { x: self.value.clone(), weights: weights(), saved })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, width, inner, out] = [draw.extent(), draw.extent(), draw.extent(), draw.extent()];
    let inputs = [draw.normal(&[n, width]), draw.normal(&[inner, width]), draw.normal(&[inner, width]), draw.normal(&[out, inner])];
    Sample::new(function!(|x| x[0].gated_mlp(&x[1], &x[2], &x[3])), inputs)
        .with_twin(function!(|x| x[0].linear(&x[1], None).swiglu(&x[0].linear(&x[2], None)).linear(&x[3], None)))
}

#[cfg(test)]
mod tests {
    use crate::watch::first_non_finite;
    use crate::{Cpu, Tensor, no_grad};

    #[test]
    fn a_value_that_overflows_is_found_recorded_or_not() {
        let cpu = Cpu::<f32>::new();
        let x = Tensor::parameter(&cpu, &[1e30], &[1, 1]);
        let weight = Tensor::constant(&cpu, &[1e30], &[1, 1]);
        let overflow = || x.gated_mlp(&weight, &weight, &weight);
        for found in [first_non_finite(overflow).1, first_non_finite(|| no_grad(overflow)).1] {
            let found = found.expect("an overflow");
            assert_eq!((found.op, found.parameters), ("gated_mlp", vec![x.id().expect("a parameter")]));
        }
    }
}
