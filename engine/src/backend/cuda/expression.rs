//! Generates CUDA C from a formula: runs the formula once on symbols instead of numbers, and turns each operation into a statement.
//!
//! A formula is thus written once, for every number type and for the GPU. [`Scalar::select`] becomes a conditional expression. Where a
//! formula branches with `if` on a symbol, it is run again for each answer. The two runs become the arms of a conditional statement.

use crate::scalar::Scalar;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// The most comparisons on one path. A formula with more is not elementwise mathematics.
const MOST_COMPARISONS: usize = 12;

/// The record of one run.
#[derive(Default)]
struct Trace {
    /// The text of each symbol: a variable, a literal, a condition, or `tK` for statement K.
    texts: Vec<String>,
    /// The right-hand sides of the statements, each once.
    statements: Vec<String>,
    /// The condition of each `if`, its answer, and how many statements came before it.
    branches: Vec<(String, bool, usize)>,
    /// The answers for the first conditions.
    answers: Vec<bool>,
}

thread_local! {
    static TRACE: RefCell<Trace> = RefCell::default();
}

/// A formula as tracing calls it: from the symbols of its variables to the symbol of its value. So tracing is compiled once for all
/// formulas.
pub type Traced<'a> = &'a dyn Fn(&[Symbol]) -> Symbol;

/// Returns the body of a function that computes `formula`, with the variables as its parameters.
pub fn of(variables: &[String], formula: Traced) -> String {
    explore(variables, formula, Vec::new(), 0)
}

/// Returns the statements from number `start` on, for the path on which the first conditions have these `answers`.
fn explore(variables: &[String], formula: Traced, answers: Vec<bool>, start: usize) -> String {
    let depth = answers.len();
    TRACE.replace(Trace { answers: answers.clone(), ..Trace::default() });
    let symbols: Vec<Symbol> = variables.iter().cloned().map(Symbol::new).collect();
    let result = formula(&symbols).text();
    let Trace { statements, branches, .. } = TRACE.take();
    assert!(branches.len() <= MOST_COMPARISONS, "a formula with {} comparisons", branches.len());
    let lines = |end: usize| (start..end).map(|k| format!("float t{k} = {};\n", statements[k])).collect::<String>();
    let Some((condition, _, before)) = branches.get(depth) else { return format!("{}return {result};\n", lines(statements.len())) };
    let arm = |answer: bool| explore(variables, formula, answers.iter().copied().chain([answer]).collect(), *before);
    format!("{}if ({condition}) {{\n{}}} else {{\n{}}}\n", lines(*before), arm(true), arm(false))
}

/// A placeholder for a number: the index of its text in this thread's `Trace`.
#[derive(Clone, Copy)]
pub struct Symbol(usize);

impl Symbol {
    fn new(text: String) -> Self {
        TRACE.with_borrow_mut(|run| {
            run.texts.push(text);
            Self(run.texts.len() - 1)
        })
    }
    fn text(self) -> String {
        TRACE.with_borrow(|run| run.texts[self.0].clone())
    }
    /// Returns the value of an expression. Equal expressions share one statement.
    fn computed(expression: String) -> Self {
        let number = TRACE.with_borrow_mut(|run| {
            run.statements.iter().position(|earlier| *earlier == expression).unwrap_or_else(|| {
                run.statements.push(expression);
                run.statements.len() - 1
            })
        });
        Self::new(format!("t{number}"))
    }
    fn call(self, function: &str) -> Self {
        Self::computed(format!("{function}({})", self.text()))
    }
    fn binary(self, operator: &str, other: Self) -> Self {
        Self::computed(format!("{} {operator} {}", self.text(), other.text()))
    }
    fn condition(self, operator: &str, other: Self) -> String {
        format!("{} {operator} {}", self.text(), other.text())
    }
    fn compare(self, operator: &str, other: Self) -> bool {
        decide(self.condition(operator, other))
    }
}

/// Answers a condition: as the same condition was answered before, else with the next of the run's `answers`, else with no.
fn decide(condition: String) -> bool {
    TRACE.with_borrow_mut(|run| {
        if let Some((_, answer, _)) = run.branches.iter().find(|(earlier, ..)| *earlier == condition) {
            return *answer;
        }
        let answer = run.answers.get(run.branches.len()).copied().unwrap_or(false);
        run.branches.push((condition, answer, run.statements.len()));
        answer
    })
}

/// A comparison of symbols.
#[derive(Clone, Copy)]
pub struct Condition(Symbol);

/// Formats a float literal of CUDA C with the value of `x` in single precision. Values without a decimal form are given by their bits.
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
    type Condition = Condition;

    fn is_below(self, other: Self) -> Condition {
        Condition(Self::new(self.condition("<", other)))
    }
    fn is_equal_to(self, other: Self) -> Condition {
        Condition(Self::new(self.condition("==", other)))
    }
    fn select(condition: Condition, then: Self, otherwise: Self) -> Self {
        Self::computed(format!("{} ? {} : {}", condition.0.text(), then.text(), otherwise.text()))
    }
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
        decide(format!("fabsf({}) < infinity()", self.text()))
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
        Self::computed(format!("powf({}, {})", self.text(), literal(p)))
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
    use crate::formula::{Add as Plus, Equal, Formula, Unary};
    use crate::functions::{Log1mexp, Relu, Scale, Tanh};

    fn of<const N: usize>(variables: [&str; N], formula: impl Fn([Symbol; N]) -> Symbol) -> String {
        super::of(&variables.map(str::to_owned), &|x| formula(x.try_into().unwrap()))
    }

    #[test]
    fn a_formula_becomes_statements() {
        assert_eq!(of(["a", "b"], |x| Plus.at(x)), "float t0 = a + b;\nreturn t0;\n");
        assert_eq!(of(["x"], |[x]| Tanh.derivative(x)), "float t0 = x * x;\nfloat t1 = (1e0f) - t0;\nreturn t1;\n");
        assert_eq!(of(["x"], |x| Scale(-0.25).at(x)), "float t0 = (-2.5e-1f) * x;\nreturn t0;\n");
    }

    #[test]
    fn a_selection_becomes_a_conditional_expression() {
        assert_eq!(of(["x"], |[x]| Relu.derivative(x)), "float t0 = (0e0f) < x ? (1e0f) : (0e0f);\nreturn t0;\n");
        assert_eq!(of(["a", "b"], |x| Equal.at(x)), "float t0 = a == b ? (1e0f) : (0e0f);\nreturn t0;\n");
    }

    #[test]
    fn what_is_asked_for_twice_is_computed_once() {
        assert_eq!(of(["x"], |[x]| x.exp() * x.exp()), "float t0 = expf(x);\nfloat t1 = t0 * t0;\nreturn t1;\n");
    }

    #[test]
    fn an_if_becomes_a_conditional_statement_after_what_both_arms_share() {
        let formula = |[x, y]: [Symbol; 2]| {
            let sum = x + y;
            if sum < x { sum.exp() } else { -sum }
        };
        let arms = "if (t0 < x) {\nfloat t1 = expf(t0);\nreturn t1;\n} else {\nfloat t1 = -(t0);\nreturn t1;\n}\n";
        assert_eq!(of(["x", "y"], formula), format!("float t0 = x + y;\n{arms}"));
    }

    /// Ten selections in a row add ten times the statements of one, not 2¹⁰ times.
    #[test]
    fn selections_do_not_double_a_formula() {
        let repeated = |times: usize| of(["x"], |[x]| (0..times).fold(x, |x, _| Log1mexp.value(x) - x)).lines().count();
        assert_eq!(repeated(10) - repeated(9), repeated(2) - repeated(1));
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
