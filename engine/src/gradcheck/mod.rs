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
//! A function of more than [`Settings::element_limit`] input elements is checked in random directions, one for each input tensor,
//! instead of element by element.
//!
//! # Checking your own function
//!
//! A function of tensors, three lines:
//!
//! ```
//! use engine::{function, gradcheck::{Input, Sample, check}};
//! let point = [Input::new(vec![0.5, -1.0, 2.0], &[3])];
//! check("my loss", &Sample::new(function!(|x| x[0].mul(&x[0]).sum_all().exp()), point)).assert();
//! ```
//!
//! An op of one's own is an [`Operation`](crate::tape::Operation) with a vector-Jacobian product written by hand. Here y = x·tanh x, whose
//! derivative is tanh x + x·(1 − tanh² x):
//!
//! ```
//! use engine::backend::{Add, Backend, Mul, Sub};
//! use engine::gradcheck::{Draw, Input, Method, Sample, check};
//! use engine::functions::Tanh;
//! use engine::{Tensor, function, tape::Operation};
//!
//! struct XTanh<B: Backend> { x: B::Array, complete: bool }
//!
//! impl<B: Backend> Operation<B> for XTanh<B> {
//!     fn name(&self) -> &'static str { "x_tanh" }
//!     fn vjp(&self, backend: &B, cotangent: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
//!         let tanh = backend.map(Tanh, &self.x);
//!         let rest = backend.zip(Sub, &backend.full(1.0, &[]), &backend.zip(Mul, &tanh, &tanh));
//!         let slope = backend.zip(Add, &tanh, &backend.zip(Mul, &self.x, &rest));
//!         // The mistake: the product rule's second term is forgotten.
//!         vec![Some(backend.zip(Mul, if self.complete { &slope } else { &tanh }, &cotangent))]
//!     }
//! }
//!
//! fn x_tanh<B: Backend>(x: &Tensor<B>, complete: bool) -> Tensor<B> {
//!     let y = x.backend().zip(Mul, x.array(), &x.backend().map(Tanh, x.array()));
//!     Tensor::record(x.backend(), y, &[x], || XTanh { x: x.array().clone(), complete })
//! }
//!
//! let point = [Input::new(vec![0.5, -1.0, 2.0], &[3])];
//! let right = Sample::new(function!(|x| x_tanh(&x[0], true)), point.clone());
//! check("x_tanh", &right.with_twin(function!(|x| x[0].mul(&x[0].tanh())))).assert();
//!
//! let report = check("x_tanh", &Sample::new(function!(|x| x_tanh(&x[0], false)), point));
//! assert!(!report.passed());
//! let message = report.to_string();
//! for part in [
//!     "x_tanh by finite_difference: FAILED",
//!     "x_tanh by forward_mode: FAILED",
//!     "x_tanh by adjoint: FAILED",
//!     "derivative of input 0 at [",
//!     "the input there is ",
//!     "inputs of shapes [[3]]",
//! ] {
//!     assert!(message.contains(part), "{message}");
//! }
//! ```
//!
//! The report of the wrong one says, for each method that saw it, where it is worst (each by the size of its error in units of what is
//! allowed there):
//!
//! ```text
//! x_tanh by forward_mode: FAILED: error 4.200e-1, relative to scale 2.002e-1, allowed 4.640e-15
//!   derivative of input 0 at [1]: expected -1.1815…e0, got -7.6159…e-1; the input there is -1.0
//!   inputs of shapes [[3]]; scale: Σ_k |v_k||J_kj| + Σ_l |H_jl||x_l| + max_k |v_k|(|f_k| + m)
//! ```
//!
//! # A function of another program
//!
//! [`check_outside`] holds a gradient that another program computed to differences of that program's values. `slpo gradcheck --program`
//! runs such programs.
//!
//! # Tolerances
//!
//! A comparison passes where its error is at most γ·s. No tolerance is tuned: γ counts roundings, s is what one of them can do, and each
//! method's s is stated at [`Method`] and repeated in every [`Check::tolerance_reason`].
//!
//! **γ = (r + 4√N)·u**, with u the unit round-off (2⁻⁵³, or 2⁻²⁴ where f32 is compared), r = [`Settings::roundings`] the roundings on the
//! longest path from an input to a result apart from those of its sums, and N the number of elements of inputs and output. A sum of N terms
//! errs in the worst case by N·u; with roundings that are independent and of mean zero it errs by √N·u, and by λ√N·u with a probability
//! that falls as 2·exp(−λ²/2) (Higham and Mary 2019, theorem 2.4): 4√N is passed in one sum of 1500.
//!
//! **s** comes from the first-order effect of a rounding anywhere between x and f(x), which acts like a relative change of an input or of
//! the result. With the Jacobian J and the Hessian H of ⟨v, f⟩, both taken from dual numbers and not from the gradient that is checked,
//!
//! - a value errs by u·s_k, s_k = |f_k| + m + Σⱼ |J_kj|·|xⱼ|;
//! - a gradient element gⱼ = Σ_k v_k·J_kj is a sum of terms which are functions of x themselves, and errs by u·sⱼ,
//!   sⱼ = Σ_k |v_k|·|J_kj| + Σ_l |H_jl|·|x_l| + max_k |v_k|·(|f_k| + m). The last term stands for gradients formed from saved values, such
//!   as y·(1 − y), which cancel.
//!
//! m is what cancels inside f, where the sample says so ([`Sample::with_inner_magnitude`]); 0 otherwise. In random directions (large
//! functions) the sums over j and l are estimated by products with x under random signs, whose mean square is the sum of squares, and
//! one scale serves a whole tensor. Where results underflow, an error of the smallest normal number is allowed besides.

mod adjoint;
mod device;
mod finite_difference;
mod forward_mode;
mod method;
pub mod mutation;
mod outside;
mod precision;
mod problem;
mod reference;
mod report;
mod sample;
mod scales;
mod second_order;
mod twin;

pub use device::{check_entry_on, check_on};
pub use finite_difference::{Estimate, ridders};
pub use method::{Method, Settings};
pub use outside::{Judged, Outside, Verdict, check_outside};
pub use problem::fixed_cotangent;
pub use report::{Arithmetic, Check, Comparison, Report, Worst};
pub(crate) use sample::Worlds;
pub use sample::{Draw, Entry, Function, Input, Sample};

use problem::Problem;
use scales::Analysis;

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
