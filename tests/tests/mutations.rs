//! The checks checked: ops with a mistake planted in them, each of which must be caught, by the methods that can see it and by name.

use engine::backend::{Backend, Mul};
use engine::gradcheck::{Function, Input, Method, Report, Sample, check};
use engine::tape::Operation;
use engine::{Scalar, Tensor, function, no_grad};
use slpo_tests::normal;

/// A mistake in a vector-Jacobian product.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    Nothing,
    /// −2x·ȳ for x².
    WrongSign,
    /// x·ȳ for x².
    WrongFactor,
    /// 2x·ȳ·(1 + 1e-9) for x².
    SlightlyWrongFactor,
    /// y∘ȳ for softmax, without −y·Σ ȳ∘y.
    MissingTerm,
    /// ȳ where x > −1 for relu.
    WrongMask,
    /// The cotangent of a slice, one row late.
    OffByOne,
    /// Ȳ·B for A·B, B square.
    NotTransposed,
    /// 2x·ȳ for x² with x cut from its own derivative: right at every point, wrong as a function.
    FrozenSlope,
}

struct Mutant<B: Backend> {
    mistake: Mistake,
    /// x, or what the mistake is about: softmax's y, the product's B.
    saved: B::Array,
}

impl<B: Backend> Operation<B> for Mutant<B> {
    fn name(&self) -> &'static str {
        "mutant"
    }
    fn vjp(&self, backend: &B, cotangent: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let scaled = |factor: f64| backend.scale(&backend.zip(Mul, &self.saved, &cotangent), factor);
        let mapped = |f: &dyn Fn(B::Scalar) -> B::Scalar| {
            let data = backend.to_vec(&self.saved).into_iter().map(f).collect();
            backend.zip(Mul, &backend.from_vec(data, backend.shape(&self.saved)), &cotangent)
        };
        vec![Some(match self.mistake {
            Mistake::Nothing => scaled(2.0),
            Mistake::WrongSign => scaled(-2.0),
            Mistake::WrongFactor | Mistake::MissingTerm => scaled(1.0),
            Mistake::SlightlyWrongFactor => scaled(2.0 + 2e-9),
            Mistake::WrongMask => mapped(&|x| if x.to_f64() > -1.0 { B::Scalar::one() } else { B::Scalar::zero() }),
            Mistake::FrozenSlope => mapped(&|x| B::Scalar::from_f64(2.0 * x.to_f64())),
            Mistake::NotTransposed => backend.matmul(&cotangent, &self.saved),
            Mistake::OffByOne => {
                let row = backend.full(0.0, &[1, 3]);
                backend.concat(&[&row, &row, &row, &cotangent], 0)
            }
        })]
    }
}

/// The op of a mistake: its forward pass is right.
fn mutant<B: Backend>(mistake: Mistake, x: &Tensor<B>) -> Tensor<B> {
    let constant = Tensor::constant(x.backend(), &normal(9, 9), &[3, 3]);
    let y = no_grad(|| match mistake {
        Mistake::MissingTerm => x.softmax(),
        Mistake::WrongMask => x.relu(),
        Mistake::OffByOne => x.slice(0, 2, 3),
        Mistake::NotTransposed => x.matmul(&constant),
        _ => x.mul(x),
    });
    let saved = match mistake {
        Mistake::MissingTerm => &y,
        Mistake::NotTransposed => &constant,
        _ => x,
    };
    let saved = saved.array().clone();
    Tensor::record(x.backend(), y.array().clone(), &[x], || Mutant { mistake, saved })
}

fn report_of(name: &str, function: impl Function, twin: Option<Mistake>) -> Report {
    let away_from_kinks = normal(1, 12).into_iter().map(|x| x + 0.2f64.copysign(x)).collect();
    let sample = Sample::new(function, [Input::new(away_from_kinks, &[4, 3])]);
    let sample = match twin {
        Some(mistake) => sample.with_twin(function!(|x; mistake: Mistake| mutant(*mistake, &x[0]))),
        None => sample,
    };
    check(name, &sample)
}

fn failed(report: &Report) -> Vec<Method> {
    report.checks.iter().filter(|check| !check.passed).map(|check| check.method).collect()
}

#[test]
fn the_right_vjp_passes() {
    let mistake = Mistake::Nothing;
    let report = report_of("square", function!(|x; mistake: Mistake| mutant(*mistake, &x[0])), Some(Mistake::Nothing));
    report.assert();
    assert_eq!(report.checks.len(), Method::ALL.len());
}

#[test]
fn a_wrong_vjp_is_caught_by_differences_by_duals_and_by_the_adjoint_identity() {
    use Mistake::*;
    for mistake in [WrongSign, WrongFactor, SlightlyWrongFactor, MissingTerm, WrongMask, OffByOne, NotTransposed] {
        let report = report_of("planted", function!(|x; mistake: Mistake| mutant(*mistake, &x[0])), None);
        let failed = failed(&report);
        for method in [Method::FiniteDifference, Method::ForwardMode, Method::Adjoint] {
            assert!(failed.contains(&method), "{mistake:?} is not caught by {method}");
        }
        let message = report.to_string();
        for part in ["planted by finite_difference: FAILED", "input 0 at [", "expected", "shapes [[4, 3]]"] {
            assert!(message.contains(part), "{mistake:?}: no {part:?} in\n{message}");
        }
    }
}

#[test]
fn a_vjp_that_is_wrong_as_a_function_is_caught_by_second_order_alone() {
    let mistake = Mistake::FrozenSlope;
    let report = report_of("frozen", function!(|x; mistake: Mistake| mutant(*mistake, &x[0])), None);
    assert_eq!(failed(&report), [Method::SecondOrder]);
}

#[test]
fn a_twin_that_differs_is_caught_by_the_twin_alone() {
    let report = report_of("twin", function!(|x| x[0].mul(&x[0])), Some(Mistake::WrongFactor));
    assert_eq!(failed(&report), [Method::Twin]);
}

#[test]
fn a_fast_kernel_that_differs_from_its_reference_is_caught_by_reference_alone() {
    let kernel = function!(|x| {
        let fast = format!("{:?}", x[0].backend()).starts_with("Cpu");
        x[0].scale(if fast { 2.0 + 1e-12 } else { 2.0 })
    });
    assert_eq!(failed(&report_of("kernel", kernel, None)), [Method::Reference]);
}

#[test]
fn cancellation_is_caught_by_precision_alone() {
    let unstable = function!(|x| {
        let hundred = Tensor::full(x[0].backend(), 100.0, &[]);
        x[0].add(&hundred).exp().sum(1).ln().sub(&hundred)
    });
    assert_eq!(failed(&report_of("overflow", unstable, None)), [Method::Precision]);
}

/// The element in the message is the one that is wrong.
#[test]
fn the_report_points_at_the_wrong_element() {
    struct Spot<B: Backend>(B::Array);
    impl<B: Backend> Operation<B> for Spot<B> {
        fn name(&self) -> &'static str {
            "spot"
        }
        fn vjp(&self, backend: &B, cotangent: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
            vec![Some(backend.zip(Mul, &cotangent, &self.0))]
        }
    }
    let spotted = function!(|x| {
        let right: Vec<f64> = (0..12).map(|i| if i == 7 { 1.01 } else { 1.0 }).collect();
        let slope = Tensor::constant(x[0].backend(), &right, &[4, 3]);
        Tensor::record(x[0].backend(), x[0].array().clone(), &[&x[0]], || Spot(slope.into_array()))
    });
    let report = report_of("spot", spotted, None);
    let check = report.checks.iter().find(|check| check.method == Method::ForwardMode).expect("forward mode");
    let worst = check.worst.as_ref().expect("a worst element");
    assert_eq!((worst.input, worst.index.as_slice()), (Some(0), [2, 1].as_slice()));
    assert!((worst.got / worst.expected - 1.01).abs() < 1e-12, "{check}");
}
