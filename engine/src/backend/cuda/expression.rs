//! CUDA C from a formula: an elementwise function is run once on symbols instead of numbers, and what it did is its kernel's expression.
//!
//! So each formula stays written once, in its op's file, for every number type and the GPU. Where the formula compares, it is run again for
//! either answer, and the two expressions become the arms of a conditional.

use crate::scalar::Scalar;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// A formula that compares more often than this on one path is not elementwise mathematics.
const MOST_COMPARISONS: usize = 12;

/// What one run has done so far.
#[derive(Default)]
struct Run {
    /// The expression of each symbol.
    expressions: Vec<String>,
    /// The conditions met, and the answers given.
    conditions: Vec<(String, bool)>,
    /// The answers to give first.
    answers: Vec<bool>,
}

thread_local! {
    static RUN: RefCell<Run> = RefCell::default();
}

/// The expression of `formula`, whose variables are given by name.
pub fn of<const N: usize>(variables: [&str; N], formula: impl Fn([Symbol; N]) -> Symbol) -> String {
    explore(variables, &formula, Vec::new())
}

/// The expression where the first comparisons turn out as `answers` says.
fn explore<const N: usize>(variables: [&str; N], formula: &impl Fn([Symbol; N]) -> Symbol, answers: Vec<bool>) -> String {
    let depth = answers.len();
    RUN.replace(Run { answers: answers.clone(), ..Run::default() });
    let result = formula(variables.map(|name| Symbol::new(name.to_owned()))).text();
    let conditions = RUN.take().conditions;
    assert!(conditions.len() <= MOST_COMPARISONS, "a formula with {} comparisons", conditions.len());
    let Some((condition, _)) = conditions.get(depth) else { return result };
    let arm = |answer: bool| explore(variables, formula, answers.iter().copied().chain([answer]).collect());
    format!("({condition} ? {} : {})", arm(true), arm(false))
}

/// A number that is not there yet: its expression, by its place in this thread's run.
#[derive(Clone, Copy)]
pub struct Symbol(usize);

impl Symbol {
    fn new(text: String) -> Self {
        RUN.with_borrow_mut(|run| {
            run.expressions.push(text);
            Self(run.expressions.len() - 1)
        })
    }
    fn text(self) -> String {
        RUN.with_borrow(|run| run.expressions[self.0].clone())
    }
    fn call(self, function: &str) -> Self {
        Self::new(format!("{function}({})", self.text()))
    }
    fn binary(self, operator: &str, other: Self) -> Self {
        Self::new(format!("({} {operator} {})", self.text(), other.text()))
    }
    fn compare(self, operator: &str, other: Self) -> bool {
        decide(format!("({} {operator} {})", self.text(), other.text()))
    }
}

/// The answer to a condition: the one that was given to the same condition before, the one that is asked for, or no.
fn decide(condition: String) -> bool {
    RUN.with_borrow_mut(|run| {
        if let Some((_, answer)) = run.conditions.iter().find(|(earlier, _)| *earlier == condition) {
            return *answer;
        }
        let answer = run.answers.get(run.conditions.len()).copied().unwrap_or(false);
        run.conditions.push((condition, answer));
        answer
    })
}

/// A float literal of CUDA C with the value of `x` rounded to single precision, by its bits where it has no decimal form.
pub fn literal(x: f64) -> String {
    let x = x as f32;
    if x.is_finite() { format!("({x:e}f)") } else { format!("__int_as_float({})", x.to_bits() as i32) }
}

impl Default for Symbol {
    fn default() -> Self {
        Self::from_f64(0.0)
    }
}
impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}
impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}
impl PartialEq for Symbol {
    fn eq(&self, other: &Self) -> bool {
        self.compare("==", *other)
    }
    #[allow(clippy::partialeq_ne_impl)]
    fn ne(&self, other: &Self) -> bool {
        self.compare("!=", *other)
    }
}
impl PartialOrd for Symbol {
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        unreachable!("formulas compare with <, <=, > and >=")
    }
    fn lt(&self, other: &Self) -> bool {
        self.compare("<", *other)
    }
    fn le(&self, other: &Self) -> bool {
        self.compare("<=", *other)
    }
    fn gt(&self, other: &Self) -> bool {
        self.compare(">", *other)
    }
    fn ge(&self, other: &Self) -> bool {
        self.compare(">=", *other)
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $operator:literal;)*) => {$(
        impl $trait for Symbol {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.binary($operator, other)
            }
        }
    )*};
}
operators! { Add add "+"; Sub sub "-"; Mul mul "*"; Div div "/"; }

macro_rules! assignments {
    ($($trait:ident $method:ident $operator:literal;)*) => {$(
        impl $trait for Symbol {
            fn $method(&mut self, other: Self) {
                *self = self.binary($operator, other);
            }
        }
    )*};
}
assignments! { AddAssign add_assign "+"; SubAssign sub_assign "-"; MulAssign mul_assign "*"; }

impl Neg for Symbol {
    type Output = Self;
    fn neg(self) -> Self {
        self.call("-")
    }
}
impl Sum for Symbol {
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        terms.fold(Self::from_f64(0.0), |a, b| a + b)
    }
}

impl Scalar for Symbol {
    const NAME: &'static str = "symbol";
    const UNIT_ROUNDOFF: f64 = <f32 as Scalar>::UNIT_ROUNDOFF;

    fn from_f64(x: f64) -> Self {
        Self::new(literal(x))
    }
    fn to_f64(self) -> f64 {
        unreachable!("a symbol has no value: {self}")
    }
    fn real_part(self) -> Self {
        self
    }
    fn is_finite(self) -> bool {
        decide(format!("(fabsf({}) < infinity())", self.text()))
    }
    fn exp(self) -> Self {
        self.call("expf")
    }
    fn exp_m1(self) -> Self {
        self.call("expm1f")
    }
    fn ln(self) -> Self {
        self.call("logf")
    }
    fn ln_1p(self) -> Self {
        self.call("log1pf")
    }
    fn sqrt(self) -> Self {
        self.call("sqrtf")
    }
    fn powf(self, p: f64) -> Self {
        Self::new(format!("powf({}, {})", self.text(), literal(p)))
    }
    fn tanh(self) -> Self {
        self.call("tanhf")
    }
    fn erfc(self) -> Self {
        self.call("erfcf")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Add as Plus, Binary, Equal, Unary};
    use crate::ops::relu::Relu;
    use crate::ops::scale::Scale;
    use crate::ops::tanh::Tanh;

    #[test]
    fn a_formula_becomes_an_expression() {
        assert_eq!(of(["a", "b"], |[a, b]| Plus.value(a, b)), "(a + b)");
        assert_eq!(of(["x"], |[x]| Tanh.derivative(x)), "((1e0f) - (x * x))");
        assert_eq!(of(["x"], |[x]| Scale(-0.25).value(x)), "((-2.5e-1f) * x)");
    }

    #[test]
    fn a_comparison_becomes_a_conditional() {
        assert_eq!(of(["x"], |[x]| Relu.derivative(x)), "((x > (0e0f)) ? (1e0f) : (0e0f))");
        assert_eq!(of(["a", "b"], |[a, b]| Equal.value(a, b)), "((a == b) ? (1e0f) : (0e0f))");
    }

    #[test]
    fn literals_keep_the_value_in_single_precision() {
        for x in [0.0, 1.0, -1.0, 0.1, 1e-30, 6.02e23, 20.0, 1.0 / 3.0, f32::MIN_POSITIVE as f64] {
            let text = literal(x);
            assert_eq!(text.trim_matches(['(', ')']).trim_end_matches('f').parse::<f32>().unwrap(), x as f32, "{text}");
        }
        assert_eq!(literal(f64::NEG_INFINITY), format!("__int_as_float({})", f32::NEG_INFINITY.to_bits() as i32));
    }
}
