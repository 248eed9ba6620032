//! An op of your own, right and wrong, and which checks see a forgotten term.
//!
//! mish(x) = x·tanh(ln(1 + eˣ)) (Misra 2019). An op of one variable is a value and a derivative; the tape, every backend and every check
//! follow from them.
//!
//! It prints:
//! ```text
//! mish: 7 methods agree
//! the wrong one forgets the term x·σ(x)·(1 − t²); these methods see it:
//!   finite_difference        derivative at [0]: expected -0.0379, got 0.0441
//!   forward_mode             derivative at [0]: expected -0.0379, got 0.0441
//!   adjoint                  ⟨Jᵀv, u⟩ at []: expected -0.3088, got -0.1035
//!   twin                     gradient at [0]: expected -0.0379, got 0.0441
//! ```

use engine::backend::{Saves, Unary};
use engine::gradcheck::{Input, Sample, check};
use engine::{Scalar, function};

/// t = tanh(ln(1 + eˣ)) = 1 − 2/((1 + eˣ)² + 1), and σ(x).
fn parts<T: Scalar>(x: T) -> (T, T) {
    let (one, two) = (T::one(), T::from_f64(2.0));
    let e = x.exp();
    let square = (one + e) * (one + e);
    (one - two / (square + one), e / (one + e))
}

#[derive(Clone, Copy, Debug)]
struct Mish;

impl Unary for Mish {
    const NAME: &'static str = "mish";
    const SAVES: Saves = Saves::Input;
    fn value<T: Scalar>(self, x: T) -> T {
        x * parts(x).0
    }
    fn derivative<T: Scalar>(self, x: T) -> T {
        let (t, sigma) = parts(x);
        t + x * sigma * (T::one() - t * t)
    }
}

/// The product rule has two terms; this derivative has one.
#[derive(Clone, Copy, Debug)]
struct Forgetful;

impl Unary for Forgetful {
    const NAME: &'static str = "forgetful mish";
    const SAVES: Saves = Saves::Input;
    fn value<T: Scalar>(self, x: T) -> T {
        Mish.value(x)
    }
    fn derivative<T: Scalar>(self, x: T) -> T {
        parts(x).0
    }
}

fn main() {
    let points = || [Input::new(vec![-2.0, -0.4, 0.3, 1.7], &[4])];
    // The twin is the same function made of the engine's own ops.
    let right = Sample::new(function!(|x| x[0].map(Mish)), points()).with_twin(function!(|x| x[0].mul(&x[0].softplus().tanh())));
    let report = check("mish", &right);
    report.assert();
    println!("{report}");

    println!("the wrong one forgets the term x·σ(x)·(1 − t²); these methods see it:");
    let wrong = Sample::new(function!(|x| x[0].map(Forgetful)), points()).with_twin(function!(|x| x[0].mul(&x[0].softplus().tanh())));
    for check in check("forgetful mish", &wrong).checks.iter().filter(|check| !check.passed) {
        let worst = check.worst.as_ref().expect("a failed check has a worst element");
        println!(
            "  {:<24} {} at {:?}: expected {:.4}, got {:.4}",
            check.method.to_string(),
            worst.quantity,
            worst.index,
            worst.expected,
            worst.got
        );
    }
}
