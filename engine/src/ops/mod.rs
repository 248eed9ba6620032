//! The ops: one file each, with its formula, forward pass, vector-Jacobian product and the samples its gradient is checked on.
//!
//! Notation: y is the output, x̄ is the cotangent of x (the gradient of the final loss with respect to x), ∘ is the elementwise product.

/// Declares the ops: one line adds a file to the crate and to the gradient suite's registry.
macro_rules! ops {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// Every op by name with its samples, in the order of the files.
        pub fn registry() -> Vec<crate::gradcheck::Entry> {
            vec![$(crate::gradcheck::Entry::new(stringify!($name), $name::sample)),*]
        }

        /// Every op explained, in the order of the registry.
        pub fn explanations() -> Vec<crate::explain::Explanation> {
            vec![$(crate::explain::Explanation::new(
                stringify!($name),
                include_str!(concat!(stringify!($name), ".rs")),
                include_str!(concat!("../explain/text/", stringify!($name), ".md")),
                crate::explain::examples::$name,
            )),*]
        }
    };
}

ops! {
    add, sub, mul, div, neg, scale, exp, ln, sqrt, powf, tanh, sigmoid, log_sigmoid, softplus, log1mexp, silu, gelu, relu, swiglu,
    matmul, linear, linears, gated_mlp, reshape, permute, slice, concat, broadcast, sum, mean, max,
    softmax, log_softmax, logsumexp, layer_norm, rms_norm, rope, embedding, scatter_add_rows, gather, scatter_add,
    attention, cross_entropy, linear_log_prob, linear_cross_entropy, dropout, detach, checkpoint,
}
mod map;
mod operators;

/// What every op file uses.
mod prelude {
    pub(super) use crate::backend::{Backend, Indices};
    pub(super) use crate::function;
    pub(super) use crate::gradcheck::{Draw, Sample};
    pub(super) use crate::scalar::Scalar;
    pub(super) use crate::shape::{broadcast_or_panic, check_axis, count, with_axis};
    pub(super) use crate::tape::Operation;
    pub(super) use crate::tensor::Tensor;
}
