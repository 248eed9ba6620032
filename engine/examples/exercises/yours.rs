//! The exercises. Each function gets what an op saved and ȳ, the gradient of a loss in the op's output. Return x̄, the gradient in each
//! input. Arrays are row by row. Replace `None` by `Some(vec![…])` and run
//! `cargo run -p slpo-engine --example exercises -- NAME`.
//!
//! Begin at the top. Each derivation needs only those above it, and `slpo explain NAME` has it worked out.

/// The gradients in the inputs, in their order; `None` if the exercise is not solved yet.
pub type Answer = Option<Vec<Vec<f64>>>;

/// yᵢ = e^{xᵢ}. You have y.
pub fn exp(_y: &[f64], _y_bar: &[f64]) -> Answer {
    None
}

/// yᵢ = tanh xᵢ. You have y.
pub fn tanh(_y: &[f64], _y_bar: &[f64]) -> Answer {
    None
}

/// yᵢ = aᵢ·bᵢ. Two inputs, two gradients.
pub fn mul(_a: &[f64], _b: &[f64], _y_bar: &[f64]) -> Answer {
    None
}

/// yᵢ = aᵢ/bᵢ.
pub fn div(_a: &[f64], _b: &[f64], _y_bar: &[f64]) -> Answer {
    None
}

/// y = Σᵢ xᵢ of n numbers; ȳ is one number.
pub fn sum(_n: usize, _y_bar: f64) -> Answer {
    None
}

/// yᵢ = xᵢ + b, where the single number b is added to every element.
pub fn broadcast_add(_n: usize, _y_bar: &[f64]) -> Answer {
    None
}

/// C = A·B with A [m, k] and B [k, n]: C[i, j] = Σₗ A[i, l]·B[l, j].
pub fn matmul(_a: &[f64], _b: &[f64], _y_bar: &[f64], _sizes: [usize; 3]) -> Answer {
    None
}

/// y = ln Σⱼ e^{xⱼ}. You have x and y; ȳ is one number.
pub fn logsumexp(_x: &[f64], _y: f64, _y_bar: f64) -> Answer {
    None
}

/// yᵢ = e^{xᵢ}/Σⱼ e^{xⱼ}. You have y. The matrix of ∂yᵢ/∂xⱼ need not be formed.
pub fn softmax(_y: &[f64], _y_bar: &[f64]) -> Answer {
    None
}

/// yᵢ = xᵢ·s with s = 1/√(mean x² + ε). You have x and s; s depends on every x.
pub fn rms_norm(_x: &[f64], _s: f64, _y_bar: &[f64]) -> Answer {
    None
}

/// y = −ln softmax(x)[t]: the surprise at token t. You have p = softmax(x); ȳ is one number.
pub fn cross_entropy(_p: &[f64], _t: usize, _y_bar: f64) -> Answer {
    None
}

/// O = W·V with W = softmax(Q·Kᵀ/√d), row by row; Q, K, V are [n, d]. You have W. Return the gradients of Q, K and V.
pub fn attention(_q: &[f64], _k: &[f64], _v: &[f64], _w: &[f64], _o_bar: &[f64], _sizes: [usize; 2]) -> Answer {
    None
}
