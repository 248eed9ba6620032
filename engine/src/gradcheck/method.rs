//! The methods that check a gradient, and how much of each.

use std::fmt;

/// A way to check a gradient, with the s of its tolerance γ·s (the scales s_k and sⱼ are derived in [`gradcheck`](super#tolerances)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Central differences D(h) = (f(x + h·u) − f(x − h·u))/2h with Ridders' extrapolation to h → 0 (Ridders 1982), for each input element
    /// u.
    ///
    /// s = Σ_k |v_k|·s_k/h + sⱼ + e/γ: the rounding of the two values divided by the smallest step h that the result was made from, that of
    /// the gradient, and Ridders' own estimate e of what the extrapolation leaves, which is allowed once, not γ times. So a function that
    /// is not smooth at the scale of the step widens its own tolerance; dual numbers do not have that leniency.
    FiniteDifference,
    /// ⟨v, J·u⟩ by dual numbers, for each input element u: the function run forwards on numbers a + b·ε, ε² = 0.
    ///
    /// s = sⱼ + Σ_k |v_k|·|(J·u)_k|: the rounding of the gradient and that of the sum over the values.
    ForwardMode,
    /// ⟨v, J·u⟩ = ⟨Jᵀ·v, u⟩ for random u over all inputs at once: what one input's gradient borrows from another shows here.
    ///
    /// s = Σ_k |v_k||(J·u)_k| + Σⱼ |gⱼ||uⱼ| + √Σⱼ (uⱼ·sⱼ)²: the roundings of both sums, and of the gradient's elements under u's random
    /// signs, whose errors add in mean square.
    Adjoint,
    /// The function against the same mathematics written another way, usually fused against composed: values and gradients. Only where
    /// the sample has a twin.
    ///
    /// s = s_k and sⱼ: both ways err by roundings of the same kind.
    Twin,
    /// The CPU's kernels against the reference defaults, both in f64: values and gradients.
    ///
    /// s = s_k and sⱼ, as for a twin: two orders of the same sums.
    Reference,
    /// f32 against f64 at inputs that f32 holds exactly: values and gradients.
    ///
    /// s = s_k and sⱼ with f32's u in γ: what f64 adds is 2⁻²⁹ of that.
    Precision,
    /// H·u by forward-over-reverse (the reverse pass on dual numbers), against Ridders' differences of the gradient, and symmetry
    /// ⟨w, H·u⟩ = ⟨u, H·w⟩. It differentiates every vector-Jacobian product once more, so one that is right at the point but wrong as a
    /// function fails here.
    ///
    /// s = sⱼ/h + sⱼ + |(H·u)ⱼ| + e/γ for an element (|u| ≤ 1), as for the differences of a value; for the symmetry
    /// Σⱼ |wⱼ|·(sⱼ + |(H·u)ⱼ|) and the same with u and w exchanged.
    SecondOrder,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 7] =
        [Self::FiniteDifference, Self::ForwardMode, Self::Adjoint, Self::Twin, Self::Reference, Self::Precision, Self::SecondOrder];

    /// The method's name in reports, such as `finite_difference`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FiniteDifference => "finite_difference",
            Self::ForwardMode => "forward_mode",
            Self::Adjoint => "adjoint",
            Self::Twin => "twin",
            Self::Reference => "reference",
            Self::Precision => "precision",
            Self::SecondOrder => "second_order",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much to check.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Functions of at most this many input elements are checked element by element, larger ones in random directions.
    pub element_limit: usize,
    /// The roundings on the longest path from an input to a result, apart from those of its sums: the r of γ = (r + 4√N)·u, where N is
    /// the number of elements of inputs and output. A sum of N terms errs by about √N roundings and hardly ever by four times that
    /// (Higham and Mary 2019, theorem 2.4).
    pub roundings: f64,
    /// The methods to use, in this order.
    pub methods: Vec<Method>,
    /// True if each [`Check`](super::Check) lists every number it compared ([`Check::comparisons`](super::Check::comparisons)), for heat
    /// maps. The list takes memory.
    pub comparisons: bool,
}

impl Default for Settings {
    /// 96 elements, every method, no list of comparisons, and 32 roundings: two elementary functions of at most 4 units in the last place,
    /// a unit being two roundings, and 16 products, quotients and sums.
    fn default() -> Self {
        Self { element_limit: 96, roundings: 32.0, methods: Method::ALL.to_vec(), comparisons: false }
    }
}
