//! An explanation as JSON.

use super::text::prose;
use super::unicode::unicode;
use crate::output::{Number, numbers};
use engine::explain::{Element, Explanation, GraphValue, Worked};
use engine::gradcheck::{Check, Input};
use serde::Serialize;

/// Writes the whole explanation. Formulas are given as LaTeX and as text.
#[derive(Serialize)]
pub struct Explained<'a> {
    name: &'static str,
    summary: String,
    formulas: Vec<Formula>,
    derivation: Vec<String>,
    example: Example<'a>,
    gradient: Gradient<'a>,
    graphs: Vec<Drawn<'a>>,
}

#[derive(Serialize)]
struct Formula {
    latex: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Example<'a> {
    call: &'a str,
    given: String,
    inputs: Vec<Values<'a>>,
    output: Values<'a>,
}

#[derive(Serialize)]
struct Values<'a> {
    name: &'static str,
    shape: &'a [usize],
    data: Vec<Number>,
}

#[derive(Serialize)]
struct Gradient<'a> {
    cotangent: Vec<Number>,
    elements: Vec<ElementLine<'a>>,
    adjoint: [Number; 2],
    checks: Vec<CheckLine>,
    passed: bool,
}

#[derive(Serialize)]
struct ElementLine<'a> {
    input: &'static str,
    index: &'a [usize],
    x: Number,
    reverse: Number,
    forward: Number,
    difference: Number,
    difference_error: Number,
    reference: Number,
    single: Number,
    composed: Option<Number>,
}

#[derive(Serialize)]
struct CheckLine {
    method: &'static str,
    max_abs_error: Number,
    max_rel_error: Number,
    tolerance: Number,
    passed: bool,
}

#[derive(Serialize)]
struct Drawn<'a> {
    title: &'static str,
    values: Vec<Node<'a>>,
}

#[derive(Serialize)]
struct Node<'a> {
    id: usize,
    label: &'a str,
    shape: &'a [usize],
    parents: &'a [usize],
    value: Option<Vec<Number>>,
    gradient: Option<Vec<Number>>,
}

impl<'a> Explained<'a> {
    /// An explanation with its example.
    pub fn new(explanation: &Explanation, worked: &'a Worked) -> Self {
        let formula = |latex| Formula { latex, text: unicode(latex) };
        let step = |step: &Vec<_>| prose(step).split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            name: explanation.name,
            summary: explanation.summary(),
            formulas: explanation.formulas().into_iter().map(formula).collect(),
            derivation: explanation.derivation().iter().map(step).collect(),
            example: Example {
                call: &worked.call,
                given: worked.given.clone(),
                inputs: worked.inputs.iter().map(|(name, input)| values(name, input)).collect(),
                output: values("y", &worked.output),
            },
            gradient: Gradient {
                cotangent: numbers(&worked.cotangent),
                elements: worked.elements.iter().map(|x| element(worked, x)).collect(),
                adjoint: [Number(worked.adjoint.0), Number(worked.adjoint.1)],
                checks: worked.report.checks.iter().map(check).collect(),
                passed: worked.report.passed(),
            },
            graphs: worked.graphs.iter().map(|g| Drawn { title: g.title, values: g.values.iter().map(node).collect() }).collect(),
        }
    }
}

fn values<'a>(name: &'static str, input: &'a Input) -> Values<'a> {
    Values { name, shape: &input.shape, data: numbers(&input.data) }
}

fn element<'a>(worked: &Worked, x: &'a Element) -> ElementLine<'a> {
    ElementLine {
        input: worked.inputs[x.input].0,
        index: &x.index,
        x: Number(x.x),
        reverse: Number(x.reverse),
        forward: Number(x.forward),
        difference: Number(x.difference),
        difference_error: Number(x.difference_error),
        reference: Number(x.reference),
        single: Number(x.single),
        composed: x.composed.map(Number),
    }
}

fn check(check: &Check) -> CheckLine {
    CheckLine {
        method: check.method.name(),
        max_abs_error: Number(check.max_abs_error),
        max_rel_error: Number(check.max_rel_error),
        tolerance: Number(check.tolerance),
        passed: check.passed,
    }
}

fn node(value: &GraphValue) -> Node<'_> {
    Node {
        id: value.id,
        label: &value.label,
        shape: &value.shape,
        parents: &value.parents,
        value: value.value.as_deref().map(numbers),
        gradient: value.gradient.as_deref().map(numbers),
    }
}
