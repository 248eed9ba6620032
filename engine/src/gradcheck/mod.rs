//! Gradient checking: every gradient against everything that can tell whether it is true.
//!
//! | method | the reverse-mode gradient of ⟨v, f(x)⟩ (v a fixed random cotangent) is held to |
//! |---|---|
//! | [`FiniteDifference`](Method::FiniteDifference) | central differences with Ridders' extrapolation, which know their own error |
//! | [`ForwardMode`](Method::ForwardMode) | dual numbers, exact but for rounding, one input element at a time |
//! | [`Adjoint`](Method::Adjoint) | the identity ⟨v, J·u⟩ = ⟨Jᵀ·v, u⟩ in random directions u over all inputs at once |
//! | [`Twin`](Method::Twin) | the same function written another way |
//! | [`Reference`](Method::Reference) | the readable kernels of [`Reference`](crate::Reference) |
//! | [`Precision`](Method::Precision) | f32 against f64 |
//! | [`SecondOrder`](Method::SecondOrder) | Hessian-vector products by forward-over-reverse: differences of the gradient, and symmetry |
//!
//! Each tolerance is γ times a scale: γ, in units of the unit round-off, counts roundings, and the scale bounds what one rounding can do
//! (see [`Check::tolerance_reason`]). No tolerance is tuned.
//!
//! A function of more than [`Settings::element_limit`] input elements is checked in random directions, one for each input tensor,
//! instead of element by element.

mod adjoint;
mod finite_difference;
mod forward_mode;
mod precision;
mod problem;
mod reference;
mod report;
mod sample;
mod scales;
mod second_order;
mod twin;

pub use finite_difference::{Estimate, ridders};
pub use report::{Check, Report, Worst};
pub(crate) use sample::Worlds;
pub use sample::{Draw, Entry, Function, Input, Sample};

use problem::Problem;
use scales::Analysis;
use std::fmt;

/// A way to check a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Central differences with Ridders' extrapolation.
    FiniteDifference,
    /// Dual numbers.
    ForwardMode,
    /// ⟨v, J·u⟩ = ⟨Jᵀ·v, u⟩.
    Adjoint,
    /// The fused function against the composed one; only where the sample has a twin.
    Twin,
    /// The CPU's kernels against the reference defaults.
    Reference,
    /// f32 against f64.
    Precision,
    /// Hessian-vector products.
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
}

impl Default for Settings {
    /// 96 elements, 32 roundings, every method.
    fn default() -> Self {
        Self { element_limit: 96, roundings: 32.0, methods: Method::ALL.to_vec() }
    }
}

/// Checks a function at a sample's inputs by every method.
///
/// ```
/// use engine::{function, gradcheck::{Input, Sample, check}};
/// let inputs = [Input::new(vec![1.0, 2.0], &[2]), Input::new(vec![3.0, -1.0], &[2])];
/// let report = check("product", &Sample::new(function!(|x| x[0].mul(&x[1])), inputs));
/// report.assert();
/// assert_eq!(report.checks.len(), 6); // all but `twin`: the sample has none
/// ```
pub fn check(name: &str, sample: &Sample) -> Report {
    check_with(name, sample, &Settings::default())
}

/// Checks a function at a sample's inputs as the settings say.
pub fn check_with(name: &str, sample: &Sample, settings: &Settings) -> Report {
    let problem = Problem::new(name, None, sample, settings);
    check_problem(&problem, settings)
}

/// Checks the samples of an entry for each seed, with extents of at most `size`: one check a method, the worst of all seeds.
pub fn check_entry(entry: &Entry, seeds: impl IntoIterator<Item = u64>, size: usize) -> Report {
    check_entry_with(entry, seeds, size, &Settings::default())
}

/// As [`check_entry`], as the settings say.
pub fn check_entry_with(entry: &Entry, seeds: impl IntoIterator<Item = u64>, size: usize, settings: &Settings) -> Report {
    let mut report = Report { name: entry.name.to_string(), checks: Vec::new() };
    for seed in seeds {
        let sample = entry.sample(seed, size);
        let problem = Problem::new(entry.name, Some(seed), &sample, settings);
        report.merge(check_problem(&problem, settings));
    }
    report
}

fn check_problem(problem: &Problem<'_>, settings: &Settings) -> Report {
    let analysis = Analysis::new(problem);
    let checks = settings.methods.iter().filter_map(|method| match method {
        Method::FiniteDifference => Some(finite_difference::check(problem, &analysis)),
        Method::ForwardMode => Some(forward_mode::check(problem, &analysis)),
        Method::Adjoint => Some(adjoint::check(problem, &analysis)),
        Method::Twin => twin::check(problem, &analysis),
        Method::Reference => Some(reference::check(problem, &analysis)),
        Method::Precision => Some(precision::check(problem, &analysis)),
        Method::SecondOrder => Some(second_order::check(problem, &analysis)),
    });
    Report { name: problem.name.to_string(), checks: checks.collect() }
}
