//! Products of matrices beyond one A·B: layers, sums and lists of products, the gated feed-forward part.

use super::core::Core;
use crate::formula::{Add, Mul};
use crate::functions::Silu;

/// Products that a device may do better than one [`Core::matmul`] after another.
pub trait Products: Core {
    /// As [`Core::matmul`], for sums over many rows such as a weight's gradient: a device that stores activations in fewer bits than its
    /// element type has stores this in full.
    fn matmul_wide(&self, a: &Self::Array, b: &Self::Array) -> Self::Array {
        self.matmul(a, b)
    }

    /// X·Wᵀ + b for X [N, in], W [out, in] and b \[out\].
    fn linear(&self, x: &Self::Array, weight: &Self::Array, bias: &Self::Array) -> Self::Array {
        linear_by_product(self, x, weight, bias)
    }

    /// X·Wᵢᵀ + bᵢ for X [N, in] and each Wᵢ [outᵢ, in] and bᵢ \[outᵢ\], where there is one.
    fn linears(&self, x: &Self::Array, weights: &[&Self::Array], biases: &[Option<&Self::Array>]) -> Vec<Self::Array> {
        linears_one_by_one(self, x, weights, biases)
    }

    /// Σ_i Aᵢ·Bᵢ for Aᵢ [N, kᵢ] and Bᵢ [kᵢ, D].
    ///
    /// # Panics
    /// If there are none.
    fn sum_of_products(&self, products: &[(&Self::Array, &Self::Array)]) -> Self::Array {
        let product = |&(a, b): &(&Self::Array, &Self::Array)| self.matmul(a, b);
        let (first, rest) = products.split_first().expect("a sum of at least one product");
        rest.iter().fold(product(first), |sum, next| self.accumulate(sum, &product(next)))
    }

    /// Aᵢᵀ·B for each Aᵢ [N, outᵢ] and B [N, in], as [`Products::matmul_wide`].
    fn products_of_transposed(&self, a: &[&Self::Array], b: &Self::Array) -> Vec<Self::Array> {
        a.iter().map(|a| self.matmul_wide(&self.transpose(a), b)).collect()
    }

    /// silu(gate)∘up.
    fn swiglu(&self, gate: &Self::Array, up: &Self::Array) -> Self::Array {
        self.zip(Mul, &self.map(Silu, gate), up)
    }

    /// (silu′(gate)∘up∘ȳ, silu(gate)∘ȳ).
    fn swiglu_vjp(&self, gate: &Self::Array, up: &Self::Array, cotangent: &Self::Array) -> (Self::Array, Self::Array) {
        let gate_cotangent = self.map_vjp(Silu, gate, &self.zip(Mul, cotangent, up));
        (gate_cotangent, self.zip(Mul, cotangent, &self.map(Silu, gate)))
    }

    /// The gated feed-forward part for X [N, D] and the weights Wg and Wu [F, D] and Wd [E, F]: Y = (silu(G)∘U)·Wdᵀ with G = X·Wgᵀ and U =
    /// X·Wuᵀ, and G and U where `keep` (the vjp will be asked for).
    fn gated_mlp(&self, x: &Self::Array, weights: [&Self::Array; 3], keep: bool) -> (Self::Array, Option<[Self::Array; 2]>) {
        gated_mlp_by_products(self, x, weights, keep)
    }

    /// The cotangents of X, Wg, Wu and Wd, those that are needed, from what [`Products::gated_mlp`] kept: with H = silu(G)∘U and H̄ = Ȳ·Wd,
    /// Ḡ = silu′(G)∘U∘H̄ and Ū = silu(G)∘H̄, X̄ = Ḡ·Wg + Ū·Wu, W̄g = Ḡᵀ·X, W̄u = Ūᵀ·X, W̄d = Ȳᵀ·H.
    fn gated_mlp_vjp(
        &self,
        x: &Self::Array,
        weights: [&Self::Array; 3],
        saved: &[Self::Array; 2],
        cotangent: &Self::Array,
        needed: [bool; 4],
    ) -> [Option<Self::Array>; 4] {
        let ([gate, up, down], [g, u], [x_needed, gate_needed, up_needed, down_needed]) = (weights, saved, needed);
        let down_bar = down_needed.then(|| self.products_of_transposed(&[cotangent], &self.swiglu(g, u)).swap_remove(0));
        if !(x_needed || gate_needed || up_needed) {
            return [None, None, None, down_bar];
        }
        let (g_bar, u_bar) = self.swiglu_vjp(g, u, &self.matmul(cotangent, down));
        let x_bar = x_needed.then(|| self.sum_of_products(&[(&g_bar, gate), (&u_bar, up)]));
        let [gate_bar, up_bar] = products_of_needed(self, [&g_bar, &u_bar], x, [gate_needed, up_needed]);
        [x_bar, gate_bar, up_bar, down_bar]
    }
}

/// Those of [`Products::products_of_transposed`] that are needed.
pub(super) fn products_of_needed<B: Products>(backend: &B, a: [&B::Array; 2], b: &B::Array, needed: [bool; 2]) -> [Option<B::Array>; 2] {
    let wanted: Vec<_> = a.into_iter().zip(needed).filter_map(|(a, needed)| needed.then_some(a)).collect();
    let mut products = backend.products_of_transposed(&wanted, b).into_iter();
    needed.map(|needed| if needed { products.next() } else { None })
}

/// [`Products::linears`] layer by layer.
pub(super) fn linears_one_by_one<B: Products>(
    backend: &B,
    x: &B::Array,
    weights: &[&B::Array],
    biases: &[Option<&B::Array>],
) -> Vec<B::Array> {
    let layer = |(weight, bias): (&&B::Array, &Option<&B::Array>)| match bias {
        Some(bias) => backend.linear(x, weight, bias),
        None => backend.matmul(x, &backend.transpose(weight)),
    };
    weights.iter().zip(biases).map(layer).collect()
}

/// [`Products::linear`] as a product and a sum.
pub(super) fn linear_by_product<B: Products>(backend: &B, x: &B::Array, weight: &B::Array, bias: &B::Array) -> B::Array {
    backend.zip(Add, &backend.matmul(x, &backend.transpose(weight)), bias)
}

/// [`Products::gated_mlp`] product by product.
pub(super) fn gated_mlp_by_products<B: Products>(
    backend: &B,
    x: &B::Array,
    weights: [&B::Array; 3],
    keep: bool,
) -> (B::Array, Option<[B::Array; 2]>) {
    let [gate, up, down] = weights;
    let projections: [B::Array; 2] =
        backend.linears(x, &[gate, up], &[None, None]).try_into().unwrap_or_else(|_| unreachable!("a value of each layer"));
    let [g, u] = &projections;
    let y = backend.matmul(&backend.swiglu(g, u), &backend.transpose(down));
    (y, keep.then_some(projections))
}
